"""What a request asks the log to store, and how the log can answer it."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec

from services.event_log.record import Record


class Fact(msgspec.Struct, frozen=True, gc=False):
    """One event before it has a place: `name` and `schema` say how to read `body` (compact JSON).

    `numbered`: the log gives it the next case number of its region and puts it first in the body.
    """

    stream: UUID
    name: str
    schema: int
    region: str
    body: bytes
    numbered: bool = False


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


class WrappedKey(NamedTuple):
    """A person's data key under the master key. `person` is the keyed hash of a telephone number, if there is one."""

    key_id: UUID
    person: bytes | None
    wrapped: bytes


class StoredAnswer(NamedTuple):
    """What was answered when the key's request was stored; `document` still holds personal data sealed."""

    digest: bytes
    status: int
    stream: UUID
    version: int
    position: int
    document: bytes


class Proposal(msgspec.Struct, frozen=True, gc=False):
    """Everything one request wants stored, all of it or nothing.

    `reads` maps each stream that was read to the version that was seen (0: it was empty); any newer event in one
    of them makes the proposal lose. `answer` is called inside the transaction with the stored records and
    gives the document to keep under the idempotency key.
    """

    actor: str
    reads: Mapping[UUID, int]
    facts: Sequence[Fact]
    answer: Callable[[Sequence[Record]], bytes] | None = None
    status: int = 201
    key: IdempotencyKey | None = None
    claim: Claim | None = None
    new_keys: Sequence[WrappedKey] = ()
    used_keys: Sequence[UUID] = ()


class Appended(NamedTuple):
    """The proposal is on disk."""

    records: Sequence[Record]
    document: bytes


class Rejected(Exception):
    """The proposal lost; nothing of it was stored."""


class VersionConflict(Rejected):
    """A stream that was read has moved on to `actual`."""

    def __init__(self, stream: UUID, actual: int) -> None:
        super().__init__(f"stream {stream} is at version {actual}")
        self.stream, self.actual = stream, actual


class KeyTaken(Rejected):
    """The idempotency key has been used: here is what was answered then."""

    def __init__(self, stored: StoredAnswer) -> None:
        super().__init__("idempotency key taken")
        self.stored = stored


class ClaimTaken(Rejected):
    """The reference belongs to another case of the region."""

    def __init__(self, stream: UUID) -> None:
        super().__init__(f"reference taken by {stream}")
        self.stream = stream


class KeysChanged(Rejected):
    """A person got a key elsewhere meanwhile (`existing`), or a key used here is gone (`missing`)."""

    def __init__(self, existing: Sequence[WrappedKey], missing: Sequence[UUID]) -> None:
        super().__init__("person keys changed")
        self.existing, self.missing = existing, missing


class Overloaded(Exception):
    """The queue is full: nothing was stored, nothing was tried."""


class Unavailable(Exception):
    """The database did not answer in time. The outcome may be unknown: the same key tells it later."""
