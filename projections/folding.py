"""Folding what was appended since: from records in the ledger's order to the cases that they moved.

A case with an action that cannot be applied is parked, alone: whatever its fault, the others go on.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import perf_counter
from typing import NamedTuple
from uuid import UUID

from projections.decoding import TURN, Parked, by_stream, decoded, destroyed_by, told
from projections.grams import Grams
from projections.rows import CaseRows, FoundRows, Row, Sealed, rows_of, words
from services.docket import Docket, Entry, Files, advanced, comes_last, fold, groups, linked_streams
from services.event_log import EventLog, Record
from services.events import ACTIONS, PersonErased
from services.policies import PolicyBook
from services.vault import Vault

# What is wrong with a case that is only shown together with one that cannot be applied.
JOINED = "merged with a parked case"


class Moved(NamedTuple):
    """What a batch changed in the views."""

    rows: Sequence[FoundRows]
    parked: Sequence[Parked]
    notices: Sequence[Row]
    # Cases that are found by no text any more until they are written again.
    forgotten: Sequence[UUID] = ()


class Folder:
    """Keeps the cases folded lately, so that one more action costs one more step."""

    def __init__(
        self,
        log: EventLog,
        vault: Vault,
        policies: PolicyBook,
        grams: Grams,
        known: Callable[[UUID], Docket | None] = lambda _: None,
        kept: int = 10_000,
    ) -> None:
        """`known` tells what else in this process keeps of a case, at whatever version."""
        self._log, self._vault, self._policies, self._grams = log, vault, policies, grams
        self._known, self._kept = known, kept
        self._dockets: OrderedDict[UUID, Docket] = OrderedDict()
        self._found_by: OrderedDict[UUID, tuple[Sealed, ...]] = OrderedDict()

    def forget(self) -> None:
        """Begin anew, as after another process has led, or something was not written."""
        self._dockets.clear()
        self._found_by.clear()

    async def learn(self) -> None:
        """Know every version of the policy that is published by now, and who was forgotten."""
        await self._policies.refresh()
        self._vault.erase(await self._log.read.erased())

    async def take(self, records: Sequence[Record], parked: Iterable[UUID] = ()) -> Moved:
        """Fold a batch that follows what was folded; what lies beyond its end is not seen. `parked` cases wait."""
        end, waiting = records[-1].position, frozenset(parked)
        newer, notices = by_stream(records)
        if any(record.name not in ACTIONS for record in records):
            await self._policies.refresh()
        forgotten = self._forgotten(records)
        here = self._folded_here(newer, waiting)
        entries, faulty = await decoded(
            {stream: held for stream, held in newer.items() if stream not in waiting and stream not in here}
        )
        dockets, unfit = await self._folded(entries, end)
        rows, unshown = await self._rows([*here.values(), *await self._before([*faulty, *unfit], dockets)])
        return Moved(rows, [*faulty, *unfit, *unshown], notices, forgotten)

    def _forgotten(self, records: Sequence[Record]) -> list[UUID]:
        """Heed erasures: no text of theirs is opened again, and these cases' texts are to be found no more."""
        destroyed = [key for record in records if record.name == PersonErased.name for key in destroyed_by(record)]
        self._vault.erase(key.key_id for key in destroyed)
        cases = [key.case_id for key in destroyed if key.case_id]
        for case_id in cases:
            self._found_by.pop(case_id, None)
        return cases

    def _folded_here(self, newer: Mapping[UUID, Sequence[Record]], waiting: frozenset[UUID]) -> dict[UUID, Docket]:
        """Cases that whoever stored the last of these records has folded up to it already."""
        found: dict[UUID, Docket] = {}
        for stream, records in newer.items():
            docket = self._known(stream)
            if docket and len(docket) == 1 and stream not in waiting:
                case = docket[stream]
                if (case.version, case.position) == (records[-1].version, records[-1].position):
                    found[stream] = docket
                    self._keep(stream, docket)
        return found

    async def whole(self, streams: Iterable[UUID], end: int) -> Moved:
        """Fold these cases from their beginning up to a position."""
        dockets: list[Docket] = []
        parked: list[Parked] = []
        for stream in streams:
            # Whatever of it was written before, all of it is told.
            self._found_by.pop(stream, None)
            await self._whole({stream}, end, dockets, parked)
        rows, unshown = await self._rows(dockets)
        return Moved(rows, [*parked, *unshown], ())

    async def build(self, records: Sequence[Record], end: int) -> Moved:
        """Fold streams whose records up to a position are all here, each docket where its smallest stream is met.

        A case with what cannot be applied shows what it was before that.
        """
        newer, notices = by_stream(records)
        dockets: list[Docket] = []
        parked: list[Parked] = []
        await self._whole(set(newer), end, dockets, parked, newer)
        dockets = await self._before(parked, dockets)
        rows, unshown = await self._rows([docket for docket in dockets if _first(docket) in newer])
        return Moved(rows, [one for one in (*parked, *unshown) if one.case_id in newer], notices)

    async def together(self, streams: Iterable[UUID], end: int) -> Moved:
        """Fold many cases, and those ever merged with them, from their beginning up to a position."""
        dockets: list[Docket] = []
        parked: list[Parked] = []
        await self._whole(set(streams), end, dockets, parked)
        rows, unshown = await self._rows(dockets)
        return Moved(rows, [*parked, *unshown], ())

    async def _before(self, parked: Sequence[Parked], dockets: list[Docket]) -> list[Docket]:
        """The dockets, and those of parked cases as they were before what cannot be applied; each case once."""
        found = list(dockets)
        for one in parked:
            if one.fault != JOINED:
                await self._whole({one.case_id}, one.position - 1, found, [])
        return found if len(found) == len(dockets) else _latest(found)

    async def _folded(self, entries: Mapping[UUID, list[Entry]], end: int) -> tuple[list[Docket], list[Parked]]:
        """The dockets that the entries moved: a step further where each comes last, else folded anew."""
        parked: list[Parked] = []
        whole_here = {stream: held for stream, held in entries.items() if _is_whole(held)}
        dockets = await self._begun(whole_here, parked)
        anew: set[UUID] = set()
        turn = perf_counter()
        for stream, entry in _in_order({one: held for one, held in entries.items() if one not in whole_here}):
            known = self._dockets.get(stream)
            if stream in anew or known is None or not comes_last(known, entry.action.name, entry.at):
                anew.update(known or (stream,))
                continue
            try:
                moved = advanced(known, entry)
            except Exception as fault:
                parked.append(_parked(fault, entry))
                anew.update(known)
                continue
            for member in moved:
                dockets[member] = moved
                self._keep(member, moved)
            if perf_counter() - turn > TURN:
                await asyncio.sleep(0)
                turn = perf_counter()
        broken = {one.case_id for one in parked}
        found = [dockets[stream] for stream in dockets if stream == min(dockets[stream]) and stream not in anew]
        whole: list[Docket] = []
        if anew - broken:
            await self._whole(anew - broken, end, whole, parked)
        return [*found, *whole], parked

    async def _begun(self, entries: Mapping[UUID, list[Entry]], parked: list[Parked]) -> dict[UUID, Docket]:
        """Those of which all that was recorded is here: nothing has to be read."""
        turn = perf_counter()
        dockets: dict[UUID, Docket] = {}
        for stream, held in entries.items():
            dockets.update((stream, docket) for docket in self._fold_files([{stream: held}], parked))
            if perf_counter() - turn > TURN:
                await asyncio.sleep(0)
                turn = perf_counter()
        return dockets

    async def _whole(
        self,
        streams: set[UUID],
        end: int,
        dockets: list[Docket],
        parked: list[Parked],
        given: Mapping[UUID, list[Record]] | None = None,
    ) -> None:
        """Fold cases and those ever merged with them from all that was recorded up to the end.

        `given`: the records of the first, if they are at hand.
        """
        files: dict[UUID, list[Entry]] = {}
        wanted = set(streams)
        broken: set[UUID] = set()
        while wanted:
            newer, given = given, None
            if newer is None:
                newer, _ = by_stream(await self._log.read.histories_until(list(wanted), end))
            entries, faulty = await decoded(newer)
            parked.extend(faulty)
            broken.update(one.case_id for one in faulty)
            files.update(entries)
            linked = {one for stream in entries for one in linked_streams(entries[stream])}
            wanted = linked - files.keys() - broken
        for group in groups(files):
            if broken.isdisjoint(group):
                dockets.extend(self._fold_files([group], parked))
            else:
                parked.extend(_with(held[-1], JOINED) for held in group.values() if held)
            await asyncio.sleep(0)

    def _fold_files(self, groups: Iterable[Files], parked: list[Parked]) -> list[Docket]:
        dockets = []
        for files in groups:
            try:
                docket = fold(files, policies=self._policies.policies).docket
            except Exception as fault:
                parked.extend(_parked(fault, entries[-1]) for entries in files.values() if entries)
                continue
            dockets.append(docket)
            for member in docket:
                self._keep(member, docket)
        return dockets

    def _keep(self, stream: UUID, docket: Docket) -> None:
        self._dockets[stream] = docket
        self._dockets.move_to_end(stream)
        if len(self._dockets) > self._kept:
            self._dockets.popitem(last=False)

    async def _rows(self, dockets: Iterable[Docket]) -> tuple[list[FoundRows], list[Parked]]:
        rows: list[CaseRows] = []
        parked: list[Parked] = []
        turn = perf_counter()
        for docket in dockets:
            try:
                rows.extend(rows_of(docket))
            except Exception as fault:
                parked.extend(Parked(case.case_id, case.region, case.position, told(fault)) for case in docket.values())
            if perf_counter() - turn > TURN:
                await asyncio.sleep(0)
                turn = perf_counter()
        return list(zip(rows, await self._words(rows), strict=True)), parked

    async def _words(self, rows: Sequence[CaseRows]) -> list[Row | None]:
        """What each case is found by; its texts are opened once, unless its opening is corrected."""
        unknown = [one for one in rows if self._found_by.get(one.case_id) != one.texts]
        opened = iter(await self._vault.texts([sealed for one in unknown for sealed in one.texts]))
        found = {one.case_id: words(one, self._grams.of([next(opened) for _ in one.texts])) for one in unknown}
        for one in unknown:
            self._found_by[one.case_id] = one.texts
        while len(self._found_by) > self._kept:
            self._found_by.popitem(last=False)
        return [found.get(one.case_id) for one in rows]


def _is_whole(entries: Sequence[Entry]) -> bool:
    """From its opening on, and never merged with another case."""
    return entries[0].version == 1 and not linked_streams(entries)


def _first(docket: Docket) -> UUID:
    """The stream under which a docket is built: the smallest one that exists."""
    return min(case_id for case_id, case in docket.items() if case.version)


def _latest(dockets: Iterable[Docket]) -> list[Docket]:
    """Of dockets that share a case the one that knows most."""
    found: list[Docket] = []
    seen: set[UUID] = set()
    for docket in sorted(dockets, key=lambda one: max(case.position for case in one.values()), reverse=True):
        if seen.isdisjoint(docket):
            found.append(docket)
            seen.update(docket)
    return found


def _parked(fault: Exception, entry: Entry) -> Parked:
    return _with(entry, told(fault))


def _with(entry: Entry, fault: str) -> Parked:
    return Parked(entry.stream, entry.region, entry.position, fault)


def _in_order(entries: Mapping[UUID, list[Entry]]) -> list[tuple[UUID, Entry]]:
    found = [(stream, entry) for stream, held in entries.items() for entry in held]
    return sorted(found, key=lambda one: one[1].position)
