"""One batch decided: who is stored at which position, who lost and why. Pure; the appender does the I/O."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from services.event_log.proposal import (
    Appended,
    Claim,
    ClaimTaken,
    Fact,
    IdempotencyKey,
    KeysChanged,
    KeyTaken,
    Proposal,
    Rejected,
    StoredAnswer,
    VersionConflict,
    WrappedKey,
)
from services.event_log.record import Record, header_hash

_BEIJING = ZoneInfo("Asia/Shanghai")
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
        self.moved_numbers: dict[str, tuple[str, int]] = {}
        self.case_ids: list[tuple[str, UUID]] = []

    def admit(self, proposal: Proposal) -> Appended:
        """Place one proposal behind those already admitted; raises `Rejected` and changes nothing if it lost."""
        if not proposal.facts:
            raise ValueError("a proposal without facts")
        self._refuse_taken_key(proposal)
        self._refuse_stale_reads(proposal)
        self._refuse_taken_claim(proposal)
        new_keys = self._settled_keys(proposal)
        numbers = dict(self.moved_numbers)
        records = self._placed(proposal, numbers)
        document = proposal.answer(records) if proposal.answer else b""
        self._keep(proposal, records, document, new_keys, numbers)
        return Appended(records, document)

    def _refuse_taken_key(self, proposal: Proposal) -> None:
        if proposal.key and (taken := self.found.answers.get(proposal.key[:2])):
            raise KeyTaken(taken)

    def _refuse_stale_reads(self, proposal: Proposal) -> None:
        for stream, seen in proposal.reads.items():
            actual = self.found.versions.get(stream)
            # An empty stream has no version; the library counts from 0 or 1, so both beginnings are good.
            if (seen > 0) if actual is None else (actual != seen):
                raise VersionConflict(stream, actual or 0)

    def _refuse_taken_claim(self, proposal: Proposal) -> None:
        if proposal.claim and (owner := self.found.claims.get(proposal.claim[:2])):
            raise ClaimTaken(owner)

    def _settled_keys(self, proposal: Proposal) -> list[WrappedKey]:
        """The proposal's keys that are not stored yet; refuses when a person's key is another one by now."""
        keys, persons = self.found.keys, self.found.persons
        strangers = [
            other
            for key in proposal.new_keys
            if (other := keys.get(key.key_id) or persons.get(key.person or b"")) and other.wrapped != key.wrapped
        ]
        new = [key for key in proposal.new_keys if key.key_id not in keys]
        known = {key.key_id for key in new}
        missing = [key_id for key_id in proposal.used_keys if key_id not in keys and key_id not in known]
        if strangers or missing:
            raise KeysChanged(strangers, missing)
        return new

    def _placed(self, proposal: Proposal, numbers: dict[str, tuple[str, int]]) -> list[Record]:
        versions = dict(proposal.reads)
        recorded_at = self.recorded_at
        records = []
        for offset, fact in enumerate(proposal.facts, start=1):
            # Strictly rising: "as known at K" then cuts the ledger at exactly one position.
            recorded_at = max(self.now, recorded_at + _TICK)
            version = versions[fact.stream] = versions[fact.stream] + 1
            body = self._numbered(fact, recorded_at, numbers) if fact.numbered else fact.body
            records.append(_record(self.position + offset, version, fact, proposal.actor, recorded_at, body))
        return records

    def _numbered(self, fact: Fact, recorded_at: datetime, numbers: dict[str, tuple[str, int]]) -> bytes:
        day = f"{recorded_at.astimezone(_BEIJING):%Y%m%d}"
        last_day, last = numbers.get(fact.region) or self.found.numbers.get(fact.region) or (day, 0)
        number = last + 1 if last_day == day else 1
        numbers[fact.region] = (day, number)
        return f'{_NUMBER}{fact.region}-{day}-{number:04d}",'.encode() + fact.body[1:]

    def _keep(
        self,
        proposal: Proposal,
        records: Sequence[Record],
        document: bytes,
        new_keys: Iterable[WrappedKey],
        numbers: dict[str, tuple[str, int]],
    ) -> None:
        found = self.found
        self.records.extend(records)
        self.moved_numbers = numbers
        for fact, record in zip(proposal.facts, records, strict=True):
            found.versions[record.stream] = record.version
            self.position, self.recorded_at = record.position, record.recorded_at
            if fact.numbered:
                self.case_ids.append((number_of(record.body), record.stream))
        for key in new_keys:
            self.new_keys.append(key)
            found.keys[key.key_id] = key
            if key.person:
                found.persons[key.person] = key
        if proposal.claim:
            self.claims.append(proposal.claim)
            found.claims[proposal.claim[:2]] = proposal.claim.stream
        if proposal.key:
            last = records[-1]
            answer = StoredAnswer(
                proposal.key.digest, proposal.status, last.stream, last.version, last.position, document
            )
            self.answers.append((proposal.key, answer))
            found.answers[proposal.key[:2]] = answer


def number_of(body: bytes) -> str:
    """The case number that a numbered event's body begins with."""
    return body[len(_NUMBER) : body.index(b'"', len(_NUMBER))].decode()


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
