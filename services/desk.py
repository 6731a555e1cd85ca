"""The desk: who asks, what time it is, which version they saw; then load, decide, seal, append.

The way of an action that can be stored reads nothing from the database: the case is known here, and the append itself
checks version, idempotency key and data keys under the head's lock. Whoever loses there, or would be refused on a
state that may be old, is judged again on a fresh one.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from random import uniform
from typing import NamedTuple
from uuid import UUID
from weakref import WeakValueDictionary

from msgspec.structs import replace

from services import events
from services.caller import Caller
from services.case import Case
from services.casebook import Casebook, decoded_action, step
from services.commands import Command, OpenCase
from services.decide import ActionBody, decide, open_case
from services.directory import Directory
from services.event_log import (
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
    Record,
    Similar,
    StoredAnswer,
    VersionConflict,
)
from services.events import Action, Received
from services.identifiers import uuid7
from services.rules import Fault, Malformed, Refusal
from services.vault import Seals, Vault

# Losing a race again and again would mean a caller waits for ever; the route's five seconds hold about this many tries.
_TRIES = 500
# Seconds at most to stand aside after a lost race: in step with another process, one could lose every time (seen).
_ASIDE = 0.005


class Written(NamedTuple):
    """One stored action with the case after it, texts sealed; `similar`: to a case that it opens."""

    action: Action
    record: Record
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


class DuplicateReference(Exception):
    """409: the external reference belongs to another case of the region."""

    def __init__(self, stream: UUID) -> None:
        super().__init__(str(stream))
        self.stream = stream


Render = Callable[[Written], bytes]


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
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_id: Callable[[], UUID] = uuid7,
    ) -> None:
        self._log, self._vault, self._cases, self._directory = log, vault, casebook, directory
        self._clock, self._new_id = clock, new_id
        self._running: set[tuple[str, str]] = set()
        self._turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    async def replay(self, key: IdempotencyKey | None) -> Answered | None:
        """The answer that the key's request got when it was stored; raises `KeyReused` for another request."""
        stored = await self._log.read.answer(key.subject, key.key) if key else None
        return _replayed(stored, key) if stored and key else None

    async def open(self, command: OpenCase, request: Request, render: Render) -> Answered:
        """Open a case in the project's region."""
        with self._once(request.key):
            region = await self._region_of(command, request.caller)
            for _ in range(_TRIES):
                try:
                    return await self._open(command, region, request, render)
                except KeysChanged as changed:
                    self._vault.learn(changed.existing, changed.missing)
                except KeyTaken as taken:
                    return _replayed(taken.stored, request.key)
                except (Malformed, DuplicateReference):
                    if answer := await self.replay(request.key):
                        return answer
                    raise
        raise Overloaded

    async def act(self, case: Case, command: ActionBody, request: Request, render: Render) -> Answered:
        """Append one action to a case; `case` may be an older state of it."""
        with self._once(request.key):
            async with self._turn(case.case_id):
                return await self._act_until_stored(case, command, request, render)

    async def _act_until_stored(self, case: Case, command: ActionBody, request: Request, render: Render) -> Answered:
        fresh = False
        for _ in range(_TRIES):
            case = await self._newest(case, fresh)
            try:
                return await self._act(case, command, request, render)
            except VersionConflict:
                fresh = True
                await asyncio.sleep(uniform(0, _ASIDE))
            except KeysChanged as changed:
                self._vault.learn(changed.existing, changed.missing)
            except KeyTaken as taken:
                return _replayed(taken.stored, request.key)
            except (Refusal, Malformed, VersionMismatch):
                # Judged on a state that may be old, or after one's own action was stored: look before saying no.
                if answer := await self.replay(request.key):
                    return answer
                if fresh:
                    raise
                fresh = True
        raise Overloaded

    async def _open(self, command: OpenCase, region: str, request: Request, render: Render) -> Answered:
        case_id = self._new_id()
        action = open_case(command, self._clock(), self._new_id)
        fresh = [case_id, action.about() or case_id]
        sealed, seals = await self._vault.seal(action, case_id, 1, fresh)
        claim = Claim(region, command.external_ref, case_id) if command.external_ref else None
        return await self._store(Case(case_id), sealed, seals, region, request, render, claim)

    async def _act(self, case: Case, command: ActionBody, request: Request, render: Render) -> Answered:
        if request.if_match is not None and case.version not in request.if_match:
            raise VersionMismatch(case.version)
        action = decide(case, command, self._clock(), self._new_id)
        if repeat := await self._repeated(case, action, command):
            # With a key, its own stored answer comes first: the repeat may be of this very request.
            return await self.replay(request.key) or await self._answer_repeat(repeat, case, render)
        version = case.version + 1
        sealed, seals = await self._vault.seal(action, case.case_id, version, _begun(action))
        return await self._store(case, sealed, seals, case.region, request, render)

    async def _store(
        self,
        case: Case,
        action: Action,
        seals: Seals,
        region: str,
        request: Request,
        render: Render,
        claim: Claim | None = None,
    ) -> Answered:
        body = events.encode(action)
        written: list[Written] = []

        def answer(placed: Placed) -> bytes:
            record = placed.record
            stored = action
            if case.version == 0:
                stored = decoded_action(record)
            written[:] = [Written(stored, record, step(case, record, stored), placed.similar)]
            return render(written[0])

        begun = _beginning(action)
        fact = Fact(
            stream=case.case_id,
            name=action.name,
            schema=action.schema,
            region=region,
            body=body,
            begun=begun,
            key=request.key,
            answer=answer,
            claim=claim,
            is_open=True if begun else None,
        )
        try:
            appended = await self._log.append(
                Proposal(
                    actor=request.caller.actor,
                    reads={case.case_id: case.version},
                    facts=(fact,),
                    new_keys=seals.new,
                    used_keys=seals.used,
                ),
                # The route has one clock for everything that the request does.
                patience=None,
            )
        except ClaimTaken as taken:
            raise DuplicateReference(taken.stream) from None
        self._vault.confirm(seals)
        self._cases.keep(written[0].case)
        record = appended.records[0]
        return Answered(201, appended.documents[0], record.stream, record.version, record.position)

    async def _newest(self, case: Case, fresh: bool) -> Case:
        if fresh:
            return (await self._cases.fresh(case.case_id))[0]
        return await self._cases.last_known(case.case_id)

    async def _region_of(self, command: OpenCase, caller: Caller) -> str:
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

    async def _repeated(self, case: Case, action: Action, command: ActionBody) -> Record | None:
        """The earlier action that this one repeats to the letter, if it does; a further complaint never does."""
        # Asked in the order of what it costs: the first question answers nearly every action.
        version, occurred_at = case.last.get(action.name, (0, None))
        if occurred_at != action.occurred_at or action.name == "received" or not _says_when(command):
            return None
        _, records = await self._log.read.history(case.case_id, version - 1)
        earlier = decoded_action(records[0])
        opened = await self._vault.plain(earlier, case.case_id, version)
        same = opened == replace(action, action_id=opened.action_id, case_no=opened.case_no)
        return records[0] if same else None

    async def _answer_repeat(self, record: Record, case: Case, render: Render) -> Answered:
        document = render(Written(decoded_action(record), record, case))
        return Answered(200, document, case.case_id, case.version, case.position)

    def _once(self, key: IdempotencyKey | None) -> "_Once":
        """One request at a time under one key."""
        return _Once(self._running, (key.subject, key.key) if key else None)

    def _turn(self, case_id: UUID) -> asyncio.Lock:
        """One action at a time per case in this process: a race that is foreseen need not be lost in the database."""
        return self._turns.setdefault(case_id, asyncio.Lock())


def _replayed(stored: StoredAnswer, key: IdempotencyKey | None) -> Answered:
    if key is None or stored.digest != key.digest:
        raise KeyReused
    return Answered(stored.status, stored.document, stored.stream, stored.version, stored.position, replayed=True)


def _beginning(action: Action) -> Begun | None:
    """The case that this action opens, if it does."""
    opening = action.opening
    return Begun(opening.project, opening.category, action.occurred_at) if opening else None


def _begun(action: Action) -> tuple[UUID, ...]:
    """The complaint that this action begins, whose key cannot exist yet."""
    return (action.complaint_id,) if isinstance(action, Received) else ()


def _says_when(command: Command) -> bool:
    """Whether the caller named the instant; left out it is now, which never repeats."""
    own_times = ("occurred_at", "contacted_at", "attempted_at")
    return any(getattr(command, name, None) is not None for name in own_times)
