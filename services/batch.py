"""Many actions at once: those of one case are judged in the order in which they happened and stored in one transaction.

However they are listed, the same items end in the same case. A refused item stops no other; what was stored before is
answered as it was then.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import UTC, datetime
from random import uniform
from typing import NamedTuple
from uuid import UUID

from services.caller import Caller
from services.case import Case
from services.casebook import entry_of
from services.commands import AnyAction, OpenCase
from services.desk import (
    Answered,
    Desk,
    Draft,
    DuplicateReference,
    KeyReused,
    NotYours,
    Render,
    Written,
    joined,
    replayed,
)
from services.docket import Docket, Entry
from services.event_log import (
    Claim,
    ClaimTaken,
    Fact,
    IdempotencyKey,
    KeysChanged,
    KeyTaken,
    Overloaded,
    Placed,
    VersionConflict,
)
from services.events import RANK
from services.rules import Malformed, Refusal
from services.sitting import Sitting

_TRIES = 200
_ASIDE = 0.01
# After so many lost races it has the case to itself, as far as this process goes.
_POLITE = 3
_OWN_TIMES = ("obtained_at", "contacted_at", "attempted_at", "occurred_at")


class Item(NamedTuple):
    """One action of an upload. `place` is that in the list; the key is the caller's own for it."""

    place: int
    key: IdempotencyKey
    command: OpenCase | AnyAction


class Outcome(NamedTuple):
    """What became of an item: the answer as if it had been sent alone, and the action's id.

    `unborn`: only a rehearsal would have opened the case.
    """

    answered: Answered
    action_id: UUID | None
    unborn: bool = False


Results = dict[int, Outcome | Exception]


class Group(NamedTuple):
    """The items about one case; `case_id` None: one of them opens it."""

    case_id: UUID | None
    items: Sequence[Item]


class _Accepted(NamedTuple):
    item: Item
    draft: Draft


class Upload:
    """One caller's batch."""

    def __init__(self, desk: Desk, caller: Caller, opened: Render, acted: Render, dry_run: bool) -> None:
        self._desk, self._caller = desk, caller
        self._opened, self._acted = opened, acted
        self._dry_run = dry_run

    async def settle(self, group: Group) -> Results:
        """Store what may be stored of a group, in one transaction; each item's outcome, or why not."""
        results: Results = {}
        ordered = sorted(group.items, key=_order)
        for tries in range(_TRIES):
            waiting = [item for item in ordered if item.place not in results]
            try:
                async with self._turn(group.case_id, tries):
                    found = await self._try(group.case_id, waiting)
            except VersionConflict:
                await asyncio.sleep(uniform(0, _ASIDE))
            except KeysChanged as changed:
                self._desk.vault.learn(changed.existing, changed.missing, changed.erased)
            except KeyTaken:
                # Somebody stored an item of ours meanwhile: most likely we, before the answer was lost.
                results |= await self._stored(waiting)
                group = group._replace(case_id=group.case_id or _opened(ordered, results))
            except ClaimTaken as claimed:
                group = group._replace(case_id=claimed.stream)
            else:
                # Judged after its own action was stored, perhaps: look before saying no.
                unsure = [item for item in waiting if not _is_new(found[item.place])]
                return {**results, **found, **await self._stored(unsure)}
        return {**{item.place: Overloaded() for item in ordered}, **results}

    def _turn(self, case_id: UUID | None, tries: int) -> AbstractAsyncContextManager[None]:
        return self._desk.turn(case_id) if case_id and tries >= _POLITE else nullcontext()

    async def _stored(self, items: Iterable[Item]) -> Results:
        """The answers of those that were stored under their keys meanwhile."""
        by_key = {item.key.key: item for item in items}
        if not by_key:
            return {}
        found: Results = {}
        for key, stored in (await self._desk.log.read.answers(self._caller.subject, list(by_key))).items():
            try:
                found[by_key[key].place] = Outcome(replayed(stored, by_key[key].key), None)
            except KeyReused as reused:
                found[by_key[key].place] = reused
        return found

    async def _try(self, case_id: UUID | None, waiting: Sequence[Item]) -> Results:
        results: Results = {}
        sitting, accepted = await self._begin(case_id, waiting, results)
        for item in waiting:
            if item.place in results or any(item is one.item for one in accepted):
                continue
            if sitting is None:
                # The opening was refused, so there is no case for the rest.
                results[item.place] = NoSuchCase()
                continue
            await self._judge(sitting, item, accepted, results)
            # Other callers have a turn between two items.
            await asyncio.sleep(0)
        if sitting and accepted:
            unborn = not sitting.versions[sitting.subject]
            results |= self._rehearsed(accepted, unborn) if self._dry_run else await self._store(sitting, accepted)
        return results

    async def _begin(
        self, case_id: UUID | None, waiting: Sequence[Item], results: Results
    ) -> tuple[Sitting | None, list[_Accepted]]:
        if case_id is not None:
            docket, _ = await self._desk.cases.fresh(case_id)
            return Sitting(docket, case_id, self._desk.cases.policies), []
        for item in waiting:
            if isinstance(item.command, OpenCase):
                try:
                    sitting, draft = await self._open(item.command)
                except Malformed as malformed:
                    results[item.place] = malformed
                else:
                    return sitting, [_Accepted(item, draft)]
        return None, []

    async def _open(self, command: OpenCase) -> tuple[Sitting, Draft]:
        region = await self._desk.region_of(command, self._caller)
        draft = await self._desk.opening(command, region, self._caller)
        stream = draft.entry.stream
        if self._dry_run and (claim := _claim(command, draft)):
            owners = await self._desk.log.read.cases_by_reference([region], [claim.reference])
            if owners:
                raise ClaimTaken(claim, owners[claim.reference].pop())
        sitting = Sitting({stream: Case(stream)}, stream, self._desk.cases.policies)
        sitting.take({stream: []})
        sitting.add(draft.entry)
        return sitting, draft

    async def _judge(self, sitting: Sitting, item: Item, accepted: list[_Accepted], results: Results) -> None:
        unborn = self._dry_run and not sitting.versions[sitting.subject]
        if isinstance(item.command, OpenCase):
            results[item.place] = OpenedTwice() if unborn else DuplicateReference(sitting.subject)
            return
        case_id = sitting.subject
        try:
            drafted = await self._desk.draft(sitting, item.command, self._caller)
        except (Refusal, Malformed, NotYours) as refused:
            results[item.place] = refused
            return
        if isinstance(drafted, Entry):
            answered = Answered(200, b"", case_id, drafted.version, drafted.position)
            never = self._dry_run and sitting.decided(case_id, drafted.version)
            results[item.place] = Outcome(answered, None if never else drafted.action.action_id, unborn)
            return
        accepted.append(_Accepted(item, drafted))
        sitting.add(drafted.entry)
        if drafted.counterpart:
            sitting.add(drafted.counterpart.entry)

    def _rehearsed(self, accepted: Sequence[_Accepted], unborn: bool) -> Results:
        """What would be stored, had it not been a rehearsal: it has no ids that anybody could use."""
        return {
            item.place: Outcome(Answered(201, b"", draft.entry.stream, draft.entry.version, 0), None, unborn)
            for item, draft in accepted
        }

    async def _store(self, sitting: Sitting, accepted: Sequence[_Accepted]) -> Results:
        drafts = [draft for one in accepted for draft in (one.draft, one.draft.counterpart) if draft]
        state: list[tuple[Docket, bool]] = []

        def after(placed: Placed) -> Docket:
            """All of it is stored at once, so each answer shows the case after all of it."""
            if not state:
                pairs = zip(placed.records, drafts, strict=True)
                state.append(
                    sitting.stored([entry_of(r, None if r.version == 1 else d.entry.action) for r, d in pairs])
                )
            return state[0][0]

        def fact(one: _Accepted) -> Fact:
            def answer(placed: Placed) -> bytes:
                case = after(placed)[placed.record.stream]
                action = None if placed.record.version == 1 else one.draft.entry.action
                written = Written(entry_of(placed.record, action), case, placed.similar)
                return self._opened(written) if isinstance(one.item.command, OpenCase) else self._acted(written)

            return self._desk.fact(one.draft, one.item.key, answer, _claim(one.item.command, one.draft))

        facts = [
            stored
            for one in accepted
            for stored in (fact(one), one.draft.counterpart and self._desk.fact(one.draft.counterpart))
            if stored
        ]
        appended = await self._desk.append(
            self._caller, sitting.versions, facts, joined(draft.seals for draft in drafts)
        )
        docket, exact = state[0]
        self._desk.remember(docket, exact)
        documents = dict(zip([(r.stream, r.version) for r in appended.records], appended.documents, strict=True))
        records = {(r.stream, r.version): r for r in appended.records}
        found: Results = {}
        for item, draft in accepted:
            place = (draft.entry.stream, draft.entry.version)
            record = records[place]
            answered = Answered(201, documents[place], record.stream, record.version, record.position)
            found[item.place] = Outcome(answered, draft.entry.action.action_id)
        return found


class OpenedTwice(Exception):
    """409: another item would open the case of that reference, which has no id yet."""


class NoSuchCase(Exception):
    """404: the item's case is not there, or its opening was refused."""


def _opened(items: Iterable[Item], results: Results) -> UUID | None:
    """The case that one of the items has opened by now."""
    outcomes = [results.get(item.place) for item in items if isinstance(item.command, OpenCase)]
    return next((one.answered.stream for one in outcomes if isinstance(one, Outcome)), None)


def _is_new(outcome: Outcome | Exception) -> bool:
    return isinstance(outcome, Outcome) and outcome.answered.status == 201


def _claim(command: OpenCase | AnyAction, draft: Draft) -> Claim | None:
    if isinstance(command, OpenCase) and command.external_ref:
        return Claim(draft.entry.region, command.external_ref, draft.entry.stream)
    return None


def _order(item: Item) -> tuple[bool, bool, datetime, int, str]:
    """As it happened: an opening first; what says no time is now, behind all that does; then as a fold would."""
    command = item.command
    happened = next((at for name in _OWN_TIMES if (at := getattr(command, name, None))), None)
    rank = -1 if isinstance(command, OpenCase) else RANK[command.type]
    return (not isinstance(command, OpenCase), happened is None, happened or _ANY, rank, item.key.key)


_ANY = datetime.max.replace(tzinfo=UTC)
