"""Forgetting a person: whose keys these are, in which cases, and the one event with which they are destroyed.

A complainant is a telephone number's person, in all cases; one without is that complaint. What names them may lie under
several keys, since a complaint may have been corrected: each key under which it named anybody goes, except one under
which another person's complaints lie.
"""

import unicodedata
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from services import events
from services.caller import Caller
from services.casebook import Casebook
from services.commands import ErasePerson
from services.desk import Answered, replayed
from services.docket import Entry, Files
from services.erasure_book import STREAM, ErasureBook
from services.event_log import (
    EventLog,
    Fact,
    IdempotencyKey,
    KeysChanged,
    KeyTaken,
    Overloaded,
    Placed,
    Proposal,
    VersionConflict,
)
from services.events import Action, Complainant, Corrected, DestroyedKey, PersonErased, Received
from services.identifiers import parse_case_no, parse_uuid, uuid7
from services.rules import Fault, Malformed
from services.vault import Vault, key_of

_TRIES = 40
# A name of one character says nobody's name where it stands.
_SHORTEST_NAME = 2
_SHORTEST_PHONE = 7


class Named(NamedTuple):
    """A complaint that the views know, and the key of the person who made it."""

    case_id: UUID
    case_no: str
    complaint_id: UUID
    person: UUID


Result = Literal["erased", "already_erased", "nothing_to_erase"]


class Erasure(NamedTuple):
    """What became of a request; `already_erased`: nothing was left, and nothing was stored."""

    result: Result
    erasure_id: UUID | None
    erased_at: datetime | None
    keys_destroyed: int
    cases: Mapping[UUID, str]


class _Found(NamedTuple):
    keys: Mapping[UUID, DestroyedKey]
    cases: Mapping[UUID, str]
    region: str


ByPerson = Callable[[Collection[UUID]], Awaitable[list[Named]]]
Render = Callable[[Erasure], bytes]


class Erasures:
    """The way of an erasure. `by_person` tells of every complaint that lies under these persons' keys."""

    def __init__(self, log: EventLog, vault: Vault, cases: Casebook, book: ErasureBook, by_person: ByPerson) -> None:
        self._log, self._vault, self._cases, self._book, self._by_person = log, vault, cases, book, by_person

    async def erase(self, command: ErasePerson, caller: Caller, key: IdempotencyKey | None, render: Render) -> Answered:
        """Forget the person of a complaint; the same again stores nothing. Raises `Malformed`."""
        for _ in range(_TRIES):
            await self._book.refresh()
            found = await self._found(command, caller)
            there = {one.key_id for one in await self._log.read.keys(list(found.keys))}
            if not there:
                # With a key, its own stored answer comes first: the repeat may be of this very request.
                stored = await self._log.read.answer(key.subject, key.key) if key else None
                return replayed(stored, key) if stored else self._done_before(found, render)
            gone = [one for key_id, one in found.keys.items() if key_id in there]
            try:
                answered = await self._store(command, caller, found, gone, key, render)
            except VersionConflict:
                continue
            except KeysChanged as changed:
                self._vault.learn(changed.existing, changed.missing, changed.erased)
                continue
            except KeyTaken as taken:
                return replayed(taken.stored, key)
            await self._book.listed(gone)
            return answered
        raise Overloaded

    def _done_before(self, found: _Found, render: Render) -> Answered:
        before = any(self._vault.is_erased(key_id) for key_id in found.keys)
        said = Erasure("already_erased" if before else "nothing_to_erase", None, None, 0, found.cases)
        return Answered(200, render(said), STREAM, self._book.version, self._book.position)

    async def _store(
        self,
        command: ErasePerson,
        caller: Caller,
        found: _Found,
        gone: list[DestroyedKey],
        key: IdempotencyKey | None,
        render: Render,
    ) -> Answered:
        version = self._book.version
        case_id = next(iter(found.cases))
        fact = PersonErased(
            erasure_id=uuid7(),
            case_id=case_id,
            complaint_id=command.complaint_id,
            destroyed=tuple(gone),
            reason=command.reason,
        )
        sealed, seals = await self._vault.seal(fact, STREAM, version + 1, [STREAM, fact.erasure_id])

        def answer(placed: Placed) -> bytes:
            return render(Erasure("erased", fact.erasure_id, placed.record.recorded_at, len(gone), found.cases))

        stored = Fact(STREAM, fact.name, fact.schema, found.region, events.encode(sealed), key=key, answer=answer)
        appended = await self._log.append(
            Proposal(
                caller.actor,
                {STREAM: version},
                (stored,),
                new_keys=seals.new,
                used_keys=seals.used,
                destroyed_keys=[one.key_id for one in gone],
            )
        )
        self._vault.confirm(seals)
        record = appended.records[0]
        return Answered(201, appended.documents[0], STREAM, record.version, record.position)

    async def _found(self, command: ErasePerson, caller: Caller) -> _Found:
        """Every key under which the person may be named, and the cases concerned, the one asked for first."""
        case_id = await self._case_id(command.case_id)
        case = (await self._cases.fresh(case_id))[0][case_id] if case_id else None
        if case is None or not case.version or not caller.sees(case.region):
            raise Malformed([Fault("/case_id", "unknown_case", command.case_id)], "unknown_case")
        said = _said(await self._cases.files(case.case_id), command.complaint_id)
        if not said:
            raise Malformed(
                [Fault("/complaint_id", "unknown_complaint", str(command.complaint_id))], "unknown_complaint"
            )
        await self._refuse_names(command.reason, said)
        persons, own, others = await self._persons(case.complaints.get(command.complaint_id), said)
        keys = {key_id: DestroyedKey(key_id) for key_id in (*persons, *own)}
        if command.texts:
            for subject in (case.case_id, said[0].stream):
                text_key = self._vault.key_of_subject(subject)
                keys[text_key] = DestroyedKey(text_key, subject)
            text_key = self._vault.key_of_subject(command.complaint_id)
            keys[text_key] = DestroyedKey(text_key)
        cases = {case.case_id: case.case_no or "", **{one.case_id: one.case_no for one in others}}
        return _Found(keys, cases, case.region)

    async def _case_id(self, written: str) -> UUID | None:
        case_id = parse_uuid(written)
        if case_id is None and (number := parse_case_no(written)):
            return await self._log.read.case_by_number(number)
        return case_id

    async def _persons(self, complaint: object, said: list[Entry]) -> tuple[set[UUID], set[UUID], list[Named]]:
        """The person's keys, the complaints' own keys that name them, and their complaints anywhere."""
        who = getattr(complaint, "complainant", None)
        now = {key_of(who.phone)} if who and who.phone else set[UUID]()
        persons, own = _keys(said)
        now = now or persons
        known = await self._by_person(persons)
        theirs = [one for one in known if one.person in now]
        for one in theirs:
            more, their_own = _keys(_said(await self._cases.files(one.case_id), one.complaint_id))
            own |= their_own
            persons |= more
        concerned = {one.complaint_id for one in theirs} | {_complaint(said[0].action)}
        former = persons - now
        shared = {one.person for one in await self._by_person(former) if one.complaint_id not in concerned}
        return now | (former - shared), own, theirs

    async def _refuse_names(self, reason: str, said: Iterable[Entry]) -> None:
        """The ledger keeps the reason: it must not keep with it whom it was to forget."""
        spoken = _plain(reason)
        digits = "".join(filter(str.isdecimal, spoken))
        for entry in said:
            who = _complainant(await self._vault.plain(entry.action, entry.stream, entry.version))
            name = _plain(who.name or "") if who else ""
            phone = "".join(filter(str.isdecimal, _plain(who.phone or ""))) if who else ""
            named = len(name) >= _SHORTEST_NAME and name in spoken
            if named or (len(phone) >= _SHORTEST_PHONE and phone.removeprefix("86") in digits):
                raise Malformed([Fault("/reason", "reason_names_person")], "reason_names_person")


def _plain(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def _said(files: Files, complaint_id: UUID) -> list[Entry]:
    """Every action that says who made a complaint, corrections included, whatever became of it."""
    found = [entry for entries in files.values() for entry in entries if _complaint(entry.action) == complaint_id]
    return sorted(found, key=lambda entry: entry.position)


def _received(action: Action) -> Received | None:
    if isinstance(action, Corrected):
        action = action.becomes.action if action.becomes else action
    return action if isinstance(action, Received) else None


def _complaint(action: Action) -> UUID | None:
    received = _received(action)
    return received.complaint_id if received else None


def _complainant(action: Action) -> Complainant | None:
    received = _received(action)
    return received.complainant if received else None


def _keys(said: Iterable[Entry]) -> tuple[set[UUID], set[UUID]]:
    """The keys of persons under which the complaint named anybody, and those of its own."""
    persons: set[UUID] = set()
    own: set[UUID] = set()
    for who in filter(None, (_complainant(entry.action) for entry in said)):
        keys = {key_of(token) for token in (who.name, who.phone, who.relation) if token}
        (persons if who.phone else own).update(keys)
    return persons, own
