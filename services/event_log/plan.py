"""One batch decided: who is stored at which position, who lost and why. Pure; the appender does the I/O."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from services.event_log.cases import Cases, Trial
from services.event_log.proposal import (
    Appended,
    Begun,
    Claim,
    ClaimTaken,
    Fact,
    IdempotencyKey,
    KeysChanged,
    KeyTaken,
    Placed,
    Proposal,
    Rejected,
    Similar,
    StoredAnswer,
    VersionConflict,
    WrappedKey,
)
from services.event_log.record import Record, header_hash

_TICK = timedelta(microseconds=1)
_NUMBER = '{"case_no":"'


class Head(NamedTuple):
    """The end of the ledger: last position, the instant it was recorded, and the epoch (raised by a restore)."""

    position: int
    recorded_at: datetime
    epoch: int


class Found(NamedTuple):
    """What the transaction saw under the head's lock."""

    head: Head
    versions: dict[UUID, int]
    answers: dict[tuple[str, str], StoredAnswer]
    claims: dict[tuple[str, str], UUID]
    numbers: dict[str, tuple[str, int]]
    keys: dict[UUID, WrappedKey]
    persons: dict[bytes, WrappedKey]
    similar: dict[Begun, list[Similar]]
    erased: set[UUID]


class Plan:
    """The batch being laid out: counters that move only when a proposal is accepted whole."""

    def __init__(self, found: Found, now: datetime) -> None:
        self.found = found
        self.now = now
        self.position = found.head.position
        self.recorded_at = found.head.recorded_at
        self.records: list[Record] = []
        self.answers: list[tuple[IdempotencyKey, StoredAnswer]] = []
        self.claims: list[Claim] = []
        self.new_keys: list[WrappedKey] = []
        self.destroyed: list[UUID] = []
        self.cases = Cases(found.numbers, found.similar)

    def admit(self, proposal: Proposal) -> Appended:
        """Place one proposal behind those already admitted; raises `Rejected` and changes nothing if it lost."""
        _refuse_nonsense(proposal)
        self._refuse_taken_keys(proposal)
        self._refuse_stale_reads(proposal)
        self._refuse_taken_claims(proposal)
        new_keys = self._settled_keys(proposal)
        appended, trial = self._placed(proposal)
        self._keep(proposal, appended, new_keys, trial)
        return appended

    def _refuse_taken_keys(self, proposal: Proposal) -> None:
        for fact in proposal.facts:
            if fact.key and (taken := self.found.answers.get(fact.key[:2])):
                raise KeyTaken(fact.key, taken)

    def _refuse_stale_reads(self, proposal: Proposal) -> None:
        for stream, seen in proposal.reads.items():
            actual = self.found.versions.get(stream)
            # An empty stream has no version; the library counts from 0 or 1, so both beginnings are good.
            if (seen > 0) if actual is None else (actual != seen):
                raise VersionConflict(stream, actual or 0)

    def _refuse_taken_claims(self, proposal: Proposal) -> None:
        for fact in proposal.facts:
            if fact.claim and (owner := self.found.claims.get(fact.claim[:2])):
                raise ClaimTaken(fact.claim, owner)

    def _settled_keys(self, proposal: Proposal) -> list[WrappedKey]:
        """The proposal's keys that are not stored yet; refuses when a person's key is another one by now."""
        keys = self.found.keys
        strangers, unwanted = [], []
        for key in proposal.new_keys:
            other = keys.get(key.key_id) or self._key_of_person(key)
            if other and other.wrapped != key.wrapped:
                strangers.append(other)
                if other.key_id != key.key_id:
                    unwanted.append(key.key_id)
        new = [key for key in proposal.new_keys if key.key_id not in keys]
        known = {key.key_id for key in new}
        missing = [key_id for key_id in proposal.used_keys if key_id not in keys and key_id not in known]
        erased = [key.key_id for key in proposal.new_keys if key.key_id in self.found.erased]
        if strangers or missing or erased:
            raise KeysChanged(strangers, [*missing, *unwanted], erased)
        return new

    def _key_of_person(self, key: WrappedKey) -> WrappedKey | None:
        """The one that the same person has, under whichever hash."""
        return next((held for hashed in key.hashes if (held := self.found.persons.get(hashed))), None)

    def _placed(self, proposal: Proposal) -> tuple[Appended, Trial | None]:
        """The facts in their places, answered; the second is what they do to the table of cases: mostly nothing."""
        trial: Trial | None = None
        versions = dict(proposal.reads)
        recorded_at = self.recorded_at
        records: list[Record] = []
        places: list[Placed] = []
        for position, fact in enumerate(proposal.facts, start=self.position + 1):
            # Strictly rising: "as known at K" then cuts the ledger at exactly one position.
            recorded_at = max(self.now, recorded_at + _TICK)
            version = versions[fact.stream] = versions[fact.stream] + 1
            if fact.begun:
                trial = trial or Trial(self.cases)
                placed = _begin(position, version, fact, fact.begun, proposal.actor, recorded_at, trial)
            else:
                placed = Placed(_record(position, version, fact, proposal.actor, recorded_at, fact.body))
                if fact.is_open is not None:
                    trial = trial or Trial(self.cases)
                    trial.turn(fact.stream, fact.is_open)
            records.append(placed.record)
            places.append(placed)
        documents = [
            fact.answer(placed._replace(records=records)) if fact.answer else b""
            for fact, placed in zip(proposal.facts, places, strict=True)
        ]
        return Appended(records, documents), trial

    def _keep(
        self, proposal: Proposal, appended: Appended, new_keys: Iterable[WrappedKey], trial: Trial | None
    ) -> None:
        found = self.found
        self.records.extend(appended.records)
        if trial:
            self.cases.keep(trial)
        for fact, record, document in zip(proposal.facts, *appended, strict=True):
            found.versions[record.stream] = record.version
            self.position, self.recorded_at = record.position, record.recorded_at
            if fact.claim:
                self.claims.append(fact.claim)
                found.claims[fact.claim[:2]] = fact.claim.stream
            if fact.key:
                answer = StoredAnswer(
                    fact.key.digest, fact.status, record.stream, record.version, record.position, document
                )
                self.answers.append((fact.key, answer))
                found.answers[fact.key[:2]] = answer
        for key in new_keys:
            self.new_keys.append(key)
            found.keys[key.key_id] = key
            if key.person:
                found.persons[key.person] = key
        for key_id in proposal.destroyed_keys:
            self._destroy(key_id)

    def _destroy(self, key_id: UUID) -> None:
        """For this batch too: what comes behind finds it gone, and if it came with the batch, it is not stored."""
        found = self.found
        self.destroyed.append(key_id)
        self.new_keys = [key for key in self.new_keys if key.key_id != key_id]
        found.erased.add(key_id)
        gone = found.keys.pop(key_id, None)
        if gone and gone.person:
            found.persons.pop(gone.person, None)


def _refuse_nonsense(proposal: Proposal) -> None:
    """A bug of ours, which must not spoil the batch for the others."""
    facts = proposal.facts
    if not facts:
        raise ValueError("a proposal without facts")
    if len(facts) > 1:
        for names in ([f.key[:2] for f in facts if f.key], [f.claim[:2] for f in facts if f.claim]):
            if len(set(names)) < len(names):
                raise ValueError("a proposal with one key or reference twice")


def number_of(body: bytes) -> str:
    """The case number that a numbered event's body begins with."""
    return body[len(_NUMBER) : body.index(b'"', len(_NUMBER))].decode()


def _begin(
    position: int, version: int, fact: Fact, begun: Begun, actor: str, recorded_at: datetime, trial: Trial
) -> Placed:
    if version > 1:
        raise ValueError("a case begins with the first fact of its stream")
    case_no = trial.next_number(fact.region, recorded_at)
    body = f'{_NUMBER}{case_no}",'.encode() + fact.body[1:]
    record = _record(position, version, fact, actor, recorded_at, body)
    return Placed(record, trial.begin(fact, begun, case_no, recorded_at))


def _record(position: int, version: int, fact: Fact, actor: str, recorded_at: datetime, body: bytes) -> Record:
    digest = header_hash(position, fact.stream, version, fact.name, fact.schema, actor, fact.region, recorded_at, body)
    return Record(position, fact.stream, version, fact.name, fact.schema, actor, fact.region, recorded_at, body, digest)


def settle(plan: Plan, proposals: Iterable[Proposal]) -> list[Appended | Exception]:
    """Each proposal's outcome, in order. A proposal whose own answer fails loses alone."""
    outcomes: list[Appended | Exception] = []
    for proposal in proposals:
        try:
            outcomes.append(plan.admit(proposal))
        except Rejected as lost:
            outcomes.append(lost)
        except Exception as broken:
            outcomes.append(broken)
    return outcomes
