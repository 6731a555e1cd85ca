"""The desk: who asks, what time it is, which version they saw; then load, decide, seal, append.

The way of an action that can be stored reads nothing from the database: the case is known here, and the append itself
checks versions, idempotency keys and data keys under the head's lock. Whoever loses there, or would be refused on a
state that may be old, is judged again on a fresh one. Only a late action, a correction or a merger reads everything
that was recorded of the case.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from random import uniform
from typing import NamedTuple
from uuid import UUID
from weakref import WeakValueDictionary

from msgspec.structs import replace

from services import events
from services.caller import Caller
from services.case import Case
from services.casebook import Casebook, entry_of
from services.commands import AnyAction, Command, Correct, Link, OpenCase, Unlink
from services.corrections import Shape, Target, correct
from services.decide import make, open_case
from services.directory import Directory
from services.docket import Docket, Entry, opened
from services.event_log import (
    Appended,
    Begun,
    Claim,
    ClaimTaken,
    EventLog,
    Fact,
    IdempotencyKey,
    KeysChanged,
    KeyTaken,
    Overloaded,
    Placed,
    Proposal,
    Similar,
    StoredAnswer,
    VersionConflict,
)
from services.events import Action, Corrected, Linked, PlanAnswered, Received, Unlinked
from services.households import household_key
from services.identifiers import parse_case_no, parse_uuid, uuid7
from services.rules import Fault, Malformed, Refusal
from services.sitting import Sitting
from services.vault import Seals, Vault

# Losing a race again and again would mean a caller waits for ever; the route's five seconds hold about this many tries.
_TRIES = 500
# Seconds at most to stand aside after a lost race: in step with another process, one could lose every time (seen).
_ASIDE = 0.005
# An agent may correct its own for so long (the contract's table of roles).
_AGENT_CORRECTS_FOR = timedelta(hours=24)
_TICK = timedelta(microseconds=1)
# What happens anew each time it is said, even in the same words; all else describes a state, which can be repeated.
_HAPPENS_ANEW = frozenset({"received", "chased", "contact_attempted", "responded", "noted"})


class Written(NamedTuple):
    """One stored action with the case after it; texts sealed. `similar`: cases that an opening may duplicate."""

    entry: Entry
    case: Case
    similar: Sequence[Similar] = ()


class Answered(NamedTuple):
    """What to answer: the document with texts still sealed, and what its headers say."""

    status: int
    document: bytes
    stream: UUID
    version: int
    position: int
    replayed: bool = False


class Request(NamedTuple):
    """The circumstances of a write. `if_match` is the version that the caller saw, if it says so."""

    caller: Caller
    key: IdempotencyKey | None
    if_match: frozenset[int] | None = None


class VersionMismatch(Exception):
    """412: the case is at another version than the caller saw."""

    def __init__(self, actual: int) -> None:
        super().__init__(str(actual))
        self.actual = actual


class KeyReused(Exception):
    """422: the idempotency key was used for another request."""


class StillRunning(Exception):
    """409: the first request with this key has not been answered yet."""


class NotYours(Exception):
    """403: an agent corrects only what it recorded itself, within 24 hours, on an open case."""


class DuplicateReference(Exception):
    """409: the external reference belongs to another case of the region."""

    def __init__(self, stream: UUID) -> None:
        super().__init__(str(stream))
        self.stream = stream


Render = Callable[[Written], bytes]


class Draft(NamedTuple):
    """An action that may be recorded: sealed, with what else the append has to store and to check."""

    entry: Entry
    seals: Seals
    is_open: bool | None = None
    counterpart: "Draft | None" = None


class _Once:
    """Holds a key while its request runs; raises `StillRunning` for the second."""

    __slots__ = ("_name", "_running")

    def __init__(self, running: set[tuple[str, str]], name: tuple[str, str] | None) -> None:
        self._running, self._name = running, name

    def __enter__(self) -> None:
        if self._name:
            if self._name in self._running:
                self._name = None
                raise StillRunning
            self._running.add(self._name)

    def __exit__(self, *_: object) -> None:
        if self._name:
            self._running.discard(self._name)


class Desk:
    """The write side's front."""

    def __init__(
        self,
        log: EventLog,
        vault: Vault,
        casebook: Casebook,
        directory: Directory,
        shape: Shape,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_id: Callable[[], UUID] = uuid7,
    ) -> None:
        self.log, self.vault, self.cases, self._directory, self._shape = log, vault, casebook, directory, shape
        self._clock, self.new_id = clock, new_id
        self._running: set[tuple[str, str]] = set()
        self._turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    async def replay(self, key: IdempotencyKey | None) -> Answered | None:
        """The answer that the key's request got when it was stored; raises `KeyReused` for another request."""
        stored = await self.log.read.answer(key.subject, key.key) if key else None
        return replayed(stored, key) if stored and key else None

    async def open(self, command: OpenCase, request: Request, render: Render) -> Answered:
        """Open a case in the project's region."""
        with self._once(request.key):
            region = await self.region_of(command, request.caller)
            for _ in range(_TRIES):
                try:
                    return await self._open(command, region, request, render)
                except KeysChanged as changed:
                    self.vault.learn(changed.existing, changed.missing, changed.erased)
                except KeyTaken as taken:
                    return replayed(taken.stored, request.key)
                except (Malformed, DuplicateReference):
                    if answer := await self.replay(request.key):
                        return answer
                    raise
        raise Overloaded

    async def act(self, case_id: UUID, command: AnyAction, request: Request, render: Render) -> Answered:
        """Append one action to a case that this process knows, perhaps in an older state."""
        with self._once(request.key):
            async with self.turn(case_id):
                return await self._act_until_stored(case_id, command, request, render)

    async def _act_until_stored(self, case_id: UUID, command: AnyAction, request: Request, render: Render) -> Answered:
        fresh = False
        for _ in range(_TRIES):
            docket = (await self.cases.fresh(case_id))[0] if fresh else await self.cases.last_known(case_id)
            try:
                return await self._act(docket, case_id, command, request, render)
            except VersionConflict:
                fresh = True
                await asyncio.sleep(uniform(0, _ASIDE))
            except KeysChanged as changed:
                self.vault.learn(changed.existing, changed.missing, changed.erased)
            except KeyTaken as taken:
                return replayed(taken.stored, request.key)
            except (Refusal, Malformed, VersionMismatch, NotYours):
                # Judged on a state that may be old, or after one's own action was stored: look before saying no.
                if answer := await self.replay(request.key):
                    return answer
                if fresh:
                    raise
                fresh = True
        raise Overloaded

    async def _open(self, command: OpenCase, region: str, request: Request, render: Render) -> Answered:
        draft = await self.opening(command, region, request.caller)
        entry = draft.entry
        claim = Claim(region, command.external_ref, entry.stream) if command.external_ref else None

        def answer(placed: Placed) -> bytes:
            stored = entry_of(placed.record)
            docket[:] = [opened(stored, self.cases.policies)]
            return render(Written(stored, docket[0][entry.stream], placed.similar))

        docket: list[Docket] = []
        fact = self.fact(draft, request.key, answer, claim)
        try:
            appended = await self.append(request.caller, {entry.stream: 0}, [fact], draft.seals)
        except ClaimTaken as taken:
            raise DuplicateReference(taken.stream) from None
        self.cases.keep(docket[0])
        return _answered(appended)

    async def opening(self, command: OpenCase, region: str, caller: Caller) -> Draft:
        """The first action of a new case, sealed."""
        at, case_id = self._clock(), self.new_id()
        action = open_case(command, at, self.new_id)
        sealed, seals = await self.vault.seal(action, case_id, 1, [case_id, action.about() or case_id])
        return Draft(Entry(case_id, 1, 0, at, region, caller.actor, sealed), seals)

    async def _act(
        self, docket: Docket, case_id: UUID, command: AnyAction, request: Request, render: Render
    ) -> Answered:
        case = docket[case_id]
        if request.if_match is not None and case.version not in request.if_match:
            raise VersionMismatch(case.version)
        sitting = Sitting(docket, case_id, self.cases.policies)
        drafted = await self.draft(sitting, command, request.caller)
        if isinstance(drafted, Entry):
            # With a key, its own stored answer comes first: the repeat may be of this very request.
            return await self.replay(request.key) or self._repeats(drafted, sitting.case, render)
        entry = drafted.entry
        if request.if_match is not None and entry.version - 1 not in request.if_match:
            raise VersionMismatch(entry.version - 1)

        drafts = [drafted, drafted.counterpart] if drafted.counterpart else [drafted]
        after: list[tuple[Docket, bool]] = []

        def answer(placed: Placed) -> bytes:
            stored = [
                entry_of(record, draft.entry.action) for record, draft in zip(placed.records, drafts, strict=True)
            ]
            after[:] = [sitting.stored(stored)]
            return render(Written(stored[0], after[0][0][case_id]))

        facts = [self.fact(drafted, request.key, answer), *(self.fact(draft) for draft in drafts[1:])]
        seals = joined(draft.seals for draft in drafts)
        appended = await self.append(request.caller, sitting.versions, facts, seals)
        self.remember(*after[0])
        return _answered(appended)

    def remember(self, docket: Docket, exact: bool) -> None:
        """Keep a docket as it is now; one that is not exact is to be read again."""
        if exact:
            self.cases.keep(docket)
        else:
            self.cases.forget(docket)

    async def draft(self, sitting: Sitting, command: AnyAction, caller: Caller) -> Draft | Entry:
        """The action as it may be stored, or the earlier one that it repeats to the letter; raises why it may not be.

        `sitting` has what was recorded in hand afterwards, if judging took it.
        """
        at = self.now_for(sitting)
        other = await self._linked(sitting.case, command)
        if isinstance(command, Correct):
            await self._fetch(sitting)
            action: Action = await self._correction(sitting, command, caller, at)
        else:
            action = make(command, at, self.new_id, other)
            merged = [other] if other and _merges(command) else []
            if merged or sitting.needs_files(action.name, min(action.occurred_at, at)):
                await self._fetch(sitting, *merged)
        if repeat := await self._repeated(sitting, action, command):
            return repeat
        case, case_id = sitting.case, sitting.subject
        version = case.version + 1
        entry = Entry(case_id, version, UNPLACED, at, case.region, caller.actor, action)
        sitting.judge(entry)
        sealed, seals = await self.vault.seal(action, case_id, version, _begun(action))
        counterpart = None
        if isinstance(action, Linked | Unlinked) and action.kind == "merged_into":
            counterpart = await self._counterpart(sitting, action, caller, at)
        return Draft(replace(entry, action=sealed), seals, sitting.opens_or_ends(entry), counterpart)

    def now_for(self, sitting: Sitting) -> datetime:
        """Now; never before what the case holds already, lest an action that is simply late by a clock be judged so."""
        now = self._clock()
        frontiers = [case.frontier[0] + _TICK for case in sitting.docket.values() if case.frontier]
        return max(now, *frontiers) if frontiers else now

    async def _fetch(self, sitting: Sitting, *others: UUID) -> None:
        at_hand = sitting.files or {}
        if sitting.files is not None and at_hand.keys() >= set(others):
            return
        files = await self.cases.files(sitting.subject, *at_hand, *others)
        for stream, seen in sitting.versions.items() if sitting.has_decided else ():
            # What was decided is sealed for its version: on another one, nobody could ever read its texts.
            if (actual := len(files[stream])) != seen:
                raise VersionConflict(stream, actual)
        sitting.take(files)

    async def _linked(self, case: Case, command: AnyAction) -> UUID | None:
        """The case that a link names; one of another region is as unknown as any other."""
        if not isinstance(command, Link | Unlink):
            return None
        found = parse_uuid(command.case)
        if found is None and (number := parse_case_no(command.case)):
            found = await self.log.read.case_by_number(number)
        if found and found != case.case_id:
            other = (await self.cases.fresh(found))[0][found]
            if other.version and other.region == case.region:
                return found
        raise Malformed([Fault("/case", "unknown_case", command.case)], "unknown_case")

    async def _correction(self, sitting: Sitting, command: Correct, caller: Caller, at: datetime) -> Corrected:
        assert sitting.files is not None
        by_id = {entry.action.action_id: entry for entry in sitting.files[sitting.subject]}
        named = by_id.get(command.action)
        if named is None:
            raise Malformed([Fault("/action", "unknown_action", str(command.action))], "unknown_action")
        if caller.role == "agent" and not self._may_correct(caller, named, sitting.case, at):
            raise NotYours
        root = by_id[named.action.root] if isinstance(named.action, Corrected) else named
        target = Target(await self._plain(named), await self._plain(root), root.recorded_at)
        made = correct(command, target, at, self.new_id, self._shape)
        await self._stays_in_region(made, target.root, sitting.case.region)
        return made

    def _may_correct(self, caller: Caller, named: Entry, case: Case, at: datetime) -> bool:
        recorded_by = named.actor.split("/", 2)[2]
        in_time = at - named.recorded_at <= _AGENT_CORRECTS_FOR
        return recorded_by == caller.subject and in_time and case.stands_open

    async def _stays_in_region(self, made: Corrected, root: Action, region: str) -> None:
        """A case's number and stream belong to its region: only another project of the same one can be meant."""
        becomes = made.becomes.action.opening if made.becomes else None
        if becomes is None or root.opening is None or becomes.project == root.opening.project:
            return
        entries = await self._directory.known_project(becomes.project)
        if not entries or entries[-1].fact.region != region:
            raise Malformed([Fault("/replacement/project", "unknown_project", becomes.project)], "unknown_project")

    async def _plain(self, entry: Entry) -> Action:
        return await self.vault.plain(entry.action, entry.stream, entry.version)

    async def _counterpart(self, sitting: Sitting, action: Linked | Unlinked, caller: Caller, at: datetime) -> Draft:
        """What the target's stream tells of a merger, so that its version moves and its readers look for the source."""
        target = sitting.docket[action.case]
        mirrored = replace(
            action, action_id=self.new_id(), case=sitting.subject, kind="merged_from", note=None, evidence=()
        )
        sealed, seals = await self.vault.seal(mirrored, target.case_id, target.version + 1)
        entry = Entry(target.case_id, target.version + 1, UNPLACED, at, target.region, caller.actor, sealed)
        return Draft(entry, seals)

    def fact(
        self,
        draft: Draft,
        key: IdempotencyKey | None = None,
        answer: Callable[[Placed], bytes] | None = None,
        claim: Claim | None = None,
    ) -> Fact:
        """The draft as the log stores it."""
        entry, action = draft.entry, draft.entry.action
        begun = None
        if entry.version == 1 and action.opening:
            begun = Begun(action.opening.project, action.opening.category, entry.at)
        return Fact(
            entry.stream,
            action.name,
            action.schema,
            entry.region,
            events.encode(action),
            begun=begun,
            key=key,
            answer=answer,
            claim=claim,
            is_open=True if begun else draft.is_open,
        )

    async def append(self, caller: Caller, reads: dict[UUID, int], facts: Sequence[Fact], seals: Seals) -> Appended:
        """Store facts in one transaction; the route has one clock for everything that the request does."""
        proposal = Proposal(caller.actor, reads, facts, new_keys=seals.new, used_keys=seals.used)
        appended = await self.log.append(proposal, patience=None)
        self.vault.confirm(seals)
        return appended

    async def region_of(self, command: OpenCase, caller: Caller) -> str:
        """The project's region; a project of a region that the caller doesn't see is as unknown as any other."""
        entries = await self._directory.known_project(command.project)
        if not entries or not caller.sees(entries[-1].fact.region):
            raise Malformed([Fault("/project", "unknown_project", command.project)], "unknown_project")
        region = entries[-1].fact.region
        if command.region and command.region != region:
            code = "region_differs" if caller.sees(command.region) else "unknown_region"
            if not await self._directory.known_region(command.region):
                code = "unknown_region"
            raise Malformed([Fault("/region", code, command.region)], code)
        return region

    async def _repeated(self, sitting: Sitting, action: Action, command: AnyAction) -> Entry | None:
        """The earlier action that this one repeats to the letter, if it does; a further complaint never does."""
        if action.name == "received":
            return None
        if _says_when(command):
            return await self._told_before(sitting, action)
        case = sitting.case
        version = 0 if action.name in _HAPPENS_ANEW else _last_said(case, action)
        if version == 0:
            return None
        earlier = await self._recorded(sitting, case.case_id, version)
        return earlier if await self._says_the_same(case, earlier, action, when=False) else None

    async def _told_before(self, sitting: Sitting, action: Action) -> Entry | None:
        """The same words about the same instant are the same fact, however late they come again.

        What happened after all of its type is new: that answers nearly every action.
        """
        if sitting.files is None:
            case = sitting.case
            last = case.last.get(action.name)
            # A cycle or a link that is over is no longer repeated without a time, but was told all the same.
            is_over = last is None and (case.cycles or action.name in ("linked", "unlinked"))
            if not is_over and (last is None or last[1] < action.occurred_at):
                return None
            await self._fetch(sitting)
        assert sitting.files is not None
        kind_and_time = (action.name, action.occurred_at)
        for earlier in sitting.files[sitting.subject]:
            if (earlier.action.name, earlier.action.occurred_at) == kind_and_time and await self._says_the_same(
                sitting.case, earlier, action
            ):
                return earlier
        return None

    async def _says_the_same(self, case: Case, earlier: Entry, action: Action, when: bool = True) -> bool:
        """Word for word, new ids aside; an action that was corrected says nothing any more."""
        if earlier.action.action_id in case.corrected:
            return False
        said = await self._plain(earlier)
        at = action.occurred_at if when else said.occurred_at
        return said == replace(action, action_id=said.action_id, case_no=said.case_no, occurred_at=at)

    async def _recorded(self, sitting: Sitting, case_id: UUID, version: int) -> Entry:
        if decided := sitting.decided(case_id, version):
            return decided
        _, records = await self.log.read.history(case_id, version - 1)
        return entry_of(records[0])

    def _repeats(self, earlier: Entry, case: Case, render: Render) -> Answered:
        return Answered(200, render(Written(earlier, case)), case.case_id, case.version, case.position)

    def _once(self, key: IdempotencyKey | None) -> "_Once":
        """One request at a time under one key."""
        return _Once(self._running, (key.subject, key.key) if key else None)

    def turn(self, case_id: UUID) -> asyncio.Lock:
        """One action at a time per docket in this process: a race that is foreseen need not be lost in the database."""
        return self._turns.setdefault(self.cases.first_of_docket(case_id), asyncio.Lock())


# Of an action that has no position yet: behind all that have one.
UNPLACED = 1 << 62


def replayed(stored: StoredAnswer, key: IdempotencyKey | None) -> Answered:
    """The stored answer once more; raises `KeyReused` if it was another request's."""
    if key is None or stored.digest != key.digest:
        raise KeyReused
    return Answered(stored.status, stored.document, stored.stream, stored.version, stored.position, replayed=True)


def _answered(appended: Appended) -> Answered:
    record = appended.records[0]
    return Answered(201, appended.documents[0], record.stream, record.version, record.position)


def _begun(action: Action) -> tuple[UUID, ...]:
    """The complaint that this action begins, whose key cannot exist yet."""
    return (action.complaint_id,) if isinstance(action, Received) else ()


def _merges(command: Command) -> bool:
    return isinstance(command, Link | Unlink) and command.kind == "merged_into"


def _last_said(case: Case, action: Action) -> int:
    """The version of what the action may repeat; 0: nothing."""
    if isinstance(action, PlanAnswered):
        held = {reply.version for h in action.households if (reply := case.cycle.replies.get(household_key(h)))}
        return next(iter(held)) if len(held) == 1 else 0
    return case.last[action.name][0] if action.name in case.last else 0


def _says_when(command: Command) -> bool:
    """Whether the caller named the instant; left out it is now, which never repeats."""
    own_times = ("occurred_at", "contacted_at", "attempted_at")
    return any(getattr(command, name, None) is not None for name in own_times)


def joined(seals: Iterable[Seals]) -> Seals:
    """Of several sealed facts that are stored together."""
    first, *others = seals
    for other in others:
        first = first.joined(other)
    return first
