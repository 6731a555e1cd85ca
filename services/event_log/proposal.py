"""What a request asks the log to store, and how the log can answer it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from services.event_log.record import Record


class Begun(NamedTuple):
    """What a fact that begins a case says of it; a case is never opened later than its opening is recorded."""

    project: str
    category: str
    opened_at: datetime


class Similar(NamedTuple):
    """An open case of the same project and category."""

    stream: UUID
    case_no: str
    opened_at: datetime


class Placed(NamedTuple):
    """A fact with its place; `similar` cases only where it begins one, the newest first.

    `records` are those of all the proposal's facts, which are stored together.
    """

    record: Record
    similar: Sequence[Similar] = ()
    records: Sequence[Record] = ()


class IdempotencyKey(NamedTuple):
    """A caller's promise that this is one request: `digest` is the SHA-256 of method, path and parsed body."""

    subject: str
    key: str
    digest: bytes


class Claim(NamedTuple):
    """A reference that must be unique in its region; `stream` is the case that takes it."""

    region: str
    reference: str
    stream: UUID


class Fact(msgspec.Struct, frozen=True, gc=False):
    """One event before it has a place: `name` and `schema` say how to read `body` (compact JSON).

    `begun`: the log gives it the next case number of its region and puts it first in the body.
    `is_open`: whether the case stands open after this fact; None: as before it, and a case that is begun does.
    `answer` is called inside the transaction, with this fact placed; it gives the document to keep under `key`.
    """

    stream: UUID
    name: str
    schema: int
    region: str
    body: bytes
    begun: Begun | None = None
    key: IdempotencyKey | None = None
    answer: Callable[[Placed], bytes] | None = None
    status: int = 201
    claim: Claim | None = None
    is_open: bool | None = None


class WrappedKey(NamedTuple):
    """A data key under the master key. `person` is the keyed hash of a telephone number, if there is one.

    `others`: further hashes of that number, under which a key may be stored that is to be used instead.
    """

    key_id: UUID
    person: bytes | None
    wrapped: bytes
    others: tuple[bytes, ...] = ()

    @property
    def hashes(self) -> tuple[bytes, ...]:
        return (self.person, *self.others) if self.person else ()


class StoredAnswer(NamedTuple):
    """What was answered when the key's request was stored; `document` still holds personal data sealed."""

    digest: bytes
    status: int
    stream: UUID
    version: int
    position: int
    document: bytes


class Proposal(msgspec.Struct, frozen=True, gc=False):
    """Everything one request wants stored, in one stream or several, all of it or nothing.

    `reads` maps each stream that was read, written to or not, to the version that was seen (0: it was empty); any
    newer event in one of them makes the proposal lose, and so does one idempotency key or reference that is taken.
    `destroyed_keys` are gone for ever with it: nothing behind it can be sealed under one of them.
    """

    actor: str
    reads: Mapping[UUID, int]
    facts: Sequence[Fact]
    new_keys: Sequence[WrappedKey] = ()
    used_keys: Sequence[UUID] = ()
    destroyed_keys: Sequence[UUID] = ()


class Appended(NamedTuple):
    """The proposal is on disk. Each fact has its document, empty where it has no answer."""

    records: Sequence[Record]
    documents: Sequence[bytes]


class Rejected(Exception):
    """The proposal lost; nothing of it was stored."""


class VersionConflict(Rejected):
    """A stream that was read has moved on to `actual`."""

    def __init__(self, stream: UUID, actual: int) -> None:
        super().__init__(f"stream {stream} is at version {actual}")
        self.stream, self.actual = stream, actual


class KeyTaken(Rejected):
    """One of the idempotency keys, `key`, has been used: here is what was answered then."""

    def __init__(self, key: IdempotencyKey, stored: StoredAnswer) -> None:
        super().__init__("idempotency key taken")
        self.key, self.stored = key, stored


class ClaimTaken(Rejected):
    """One of the references, `claim`, belongs to another case of the region: `stream`."""

    def __init__(self, claim: Claim, stream: UUID) -> None:
        super().__init__(f"reference taken by {stream}")
        self.claim, self.stream = claim, stream


class KeysChanged(Rejected):
    """A person got a key elsewhere meanwhile (`existing`), or a key used here is gone or not wanted (`missing`).

    `erased`: was destroyed for ever, and cannot be made again.
    """

    def __init__(self, existing: Sequence[WrappedKey], missing: Sequence[UUID], erased: Sequence[UUID] = ()) -> None:
        super().__init__("person keys changed")
        self.existing, self.missing, self.erased = existing, missing, erased


class Overloaded(Exception):
    """The queue is full: nothing was stored, nothing was tried."""


class Unavailable(Exception):
    """The database did not answer in time. The outcome may be unknown: the same key tells it later."""
