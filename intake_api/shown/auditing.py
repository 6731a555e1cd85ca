"""The ledger for auditors: events, heads, proofs, keys, and who looked."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, RootModel

from intake_api.shown.common import Shown
from services.instants import Instant

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="32 bytes in hex")]


class AuditEvent(Shown):
    """An event as it is stored; `header_hash` binds all of the others, and is the tree's leaf.

    `case_id` is null for what belongs to no case. Texts in the body are sealed.
    """

    position: int
    recorded_at: Instant
    case_id: str | None
    stream: str
    version: int
    type: str
    schema_: int = Field(alias="schema")
    actor: str
    region: str
    header_hash: Sha256
    body_hash: Sha256
    body: str | None = None
    body_base64: str | None = None


class AuditHead(Shown):
    """The signed head of the tree over all events (RFC 9162); `checkpoint` is the signed text."""

    origin: str
    epoch: int
    size: int
    root: Sha256
    time: Instant
    checkpoint: str


class InclusionProof(Shown):
    """That an event is in the tree of `size` events: its leaf and the path to the root (RFC 9162, 2.1.3)."""

    position: int
    size: int
    leaf_index: int
    header_hash: Sha256
    leaf_hash: Sha256
    root: Sha256
    path: list[Sha256]


class ConsistencyProof(Shown):
    """That the tree of `to` events begins with that of `from` events (RFC 9162, 2.1.4)."""

    from_: int = Field(alias="from")
    to: int
    from_root: Sha256
    to_root: Sha256
    path: list[Sha256]


class Proof(RootModel[InclusionProof | ConsistencyProof]):
    """Of inclusion for `position`, of consistency for `from`."""


class ShownKey(Shown):
    """A public key that signs heads; `key` is the line for a verifier (c2sp.org/signed-note)."""

    origin: str
    algorithm: Literal["Ed25519"]
    key_id: str
    public_key: Sha256
    key: str


class KeyPage(Shown):
    """All that signed."""

    items: list[ShownKey]
    next_cursor: None


class Looker(Shown):
    """Whose token it was; of one that was over, no more than `sub`."""

    sub: str
    role: Literal["agent", "manager", "dashboard", "auditor", "admin"] | None
    unit: Literal["region", "property_services", "group"] | None


class ShownLook(Shown):
    """A look at personal data, or a refusal.

    `regions` holds `*` where all were looked in. `asked` says what the question was, by the values that cannot be
    personal, and of other parameters that they were given; equal `question`s are the same question.
    """

    looked_at: Instant
    actor: Looker
    operation: str
    outcome: Literal["shown", "unchanged", "refused"]
    status: int
    regions: list[str]
    cases: list[UUID]
    shown: int | None
    asked: dict[str, list[str]] | None
    question: str | None
    address: str | None


class LookPage(Shown):
    """A page of looks, newest first."""

    items: list[ShownLook]
    next_cursor: str | None
