"""Folded cases, kept in memory and brought up to date from their streams."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from services.case import Case
from services.docket import Docket, Entry, Files, Policies, advanced, comes_last, fold, linked_streams
from services.event_log import EVERYWHERE, EventLog, Head, Record
from services.events import (
    ACTIONS,
    Action,
    DutyMissed,
    LedgerRestored,
    PersonErased,
    PolicyPublished,
    ProjectDescribed,
    RegionDescribed,
    UnknownEvent,
    decode,
)
from services.gathering import Gathering
from services.policies import PolicyBook

_KEPT = 20_000
# Entries kept of cases that were asked for whole: who lost a race, or is late, asks again.
_OF_NO_CASE = RegionDescribed | ProjectDescribed | PolicyPublished | DutyMissed | LedgerRestored | PersonErased
_KEPT_ENTRIES = 20_000


def decoded_action(record: Record) -> Action:
    """The action in a record of a case's stream, texts sealed."""
    fact = decode(record.name, record.schema, record.body)
    if isinstance(fact, _OF_NO_CASE):
        raise UnknownEvent(f"{record.name} in the stream of a case")
    return fact


def entry_of(record: Record, action: Action | None = None) -> Entry:
    """A record of a case's stream, decoded unless its action is at hand."""
    return Entry(
        record.stream,
        record.version,
        record.position,
        record.recorded_at,
        record.region,
        record.actor,
        action or decoded_action(record),
    )


class Casebook:
    """Least recently used cases go first; a stale one is harmless, because every append checks versions."""

    def __init__(self, log: EventLog, policies: PolicyBook, gathering: Gathering) -> None:
        self._log, self._policies, self._gathering = log, policies, gathering
        policies.when_published(self.forget_everything)
        self._dockets: OrderedDict[UUID, Docket] = OrderedDict()
        self._files: OrderedDict[UUID, Sequence[Entry]] = OrderedDict()
        self._entries = 0

    async def last_known(self, case_id: UUID) -> Docket:
        """The case as this process knows it, read only if it doesn't; version 0: there is none."""
        known = self._dockets.get(case_id)
        if known:
            self._dockets.move_to_end(case_id)
            return known
        return (await self.fresh(case_id))[0]

    def remembered(self, case_id: UUID) -> Docket | None:
        """The case as this process remembers it, however old."""
        return self._dockets.get(case_id)

    async def fresh(self, case_id: UUID, regions: str = EVERYWHERE) -> tuple[Docket, Head]:
        """The case with every write acknowledged before, by any process, and a head that it reflects at least.

        What is remembered here is shared by all who ask; so of somebody with regions the database is asked, in the same
        round trip, whether it would show them the case. Raises `Unseen`.
        """
        known = self._dockets.get(case_id) or {case_id: Case(case_id)}
        head, records = await self._gathering.newer(_versions(known), case_id, regions)
        return await self._caught_up(case_id, known, records), head

    async def fresh_many(self, case_ids: Sequence[UUID]) -> list[Case]:
        """The cases, each up to date, in the order given: one question to the database where none was ever merged."""
        known = {case_id: self._dockets.get(case_id) or {case_id: Case(case_id)} for case_id in case_ids}
        versions: dict[UUID, int] = {}
        for docket in known.values():
            versions.update(_versions(docket))
        _, records = await self._log.read.histories(versions)
        newer: dict[UUID, list[Record]] = {}
        for record in records:
            newer.setdefault(record.stream, []).append(record)
        found = []
        for case_id, docket in known.items():
            theirs = [record for stream in docket for record in newer.get(stream, ())]
            found.append((await self._caught_up(case_id, docket, theirs))[case_id])
        return found

    async def files(self, case_id: UUID, *others: UUID) -> Files:
        """Everything ever recorded of the cases and of those that they were ever merged with."""
        files: dict[UUID, Sequence[Entry]] = {}
        wanted = {case_id, *others}
        while wanted:
            known = {stream: self._files.get(stream, ()) for stream in wanted}
            _, records = await self._log.read.histories({stream: len(held) for stream, held in known.items()})
            newer: dict[UUID, list[Entry]] = {stream: [] for stream in wanted}
            for record in records:
                if record.name in ACTIONS:
                    newer[record.stream].append(entry_of(record))
            files.update({stream: (*held, *newer[stream]) for stream, held in known.items()})
            wanted = {linked for entries in files.values() for linked in linked_streams(entries)} - files.keys()
        self._keep_files(files)
        return files

    def _keep_files(self, files: Files) -> None:
        for stream, entries in files.items():
            self._entries += len(entries) - len(self._files.pop(stream, ()))
            self._files[stream] = entries
        while self._entries > _KEPT_ENTRIES:
            self._entries -= len(self._files.popitem(last=False)[1])

    async def action_ids(self, places: Sequence[tuple[UUID, int]]) -> dict[tuple[UUID, int], UUID]:
        """The ids of the actions at these streams and versions."""
        records = await self._log.read.at_places(places)
        return {(record.stream, record.version): decoded_action(record).action_id for record in records}

    def first_of_docket(self, case_id: UUID) -> UUID:
        """One name for all cases that are judged together, as far as this process knows."""
        return min(self._dockets.get(case_id) or (case_id,))

    def keep(self, docket: Docket) -> None:
        """Remember a newer state."""
        for case_id, case in docket.items():
            known = self._dockets.get(case_id)
            if case.version and (known is None or len(known) < len(docket) or known[case_id].version < case.version):
                self._dockets[case_id] = docket
                self._dockets.move_to_end(case_id)
                if len(self._dockets) > _KEPT:
                    self._dockets.popitem(last=False)

    @property
    def policies(self) -> Policies:
        """The documents that judge."""
        return self._policies.policies

    def forget_everything(self) -> None:
        """Another document was published: which one judges a case is to be looked up again."""
        self._dockets.clear()

    def forget(self, case_ids: Iterable[UUID]) -> None:
        """What is remembered of them is to be read again."""
        for case_id in case_ids:
            self._dockets.pop(case_id, None)

    async def _caught_up(self, case_id: UUID, known: Docket, records: Sequence[Record]) -> Docket:
        if not records:
            return known
        if records[0].name not in ACTIONS:
            # Somebody asks for the directory's stream, whose id can be computed, as if it were a case.
            return known
        docket = _folded_next(known, [entry_of(record) for record in records], self.policies)
        if docket is None:
            docket = fold(await self.files(case_id), policies=self.policies).docket
        self.keep(docket)
        return docket


def _versions(docket: Docket) -> Mapping[UUID, int]:
    return {case_id: case.version for case_id, case in docket.items()}


def _folded_next(docket: Docket, entries: list[Entry], policies: Policies) -> Docket | None:
    """The docket after newer entries, if each comes last; None: everything has to be folded anew."""
    first = entries[0]
    if docket[first.stream].version == 0 and len(docket) == 1:
        # The whole stream is here: however late an entry is, it can be folded without reading more.
        return None if linked_streams(entries) else fold({first.stream: entries}, policies=policies).docket
    for entry in sorted(entries, key=lambda entry: entry.position):
        if not comes_last(docket, entry.action.name, entry.at):
            return None
        docket = advanced(docket, entry)
    return docket
