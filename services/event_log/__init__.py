"""The ledger: append, history, after. One gap-free global order on one PostgreSQL."""

from services.event_log.log import EventLog
from services.event_log.plan import Head, number_of
from services.event_log.proposal import (
    Appended,
    Begun,
    Claim,
    ClaimTaken,
    Fact,
    IdempotencyKey,
    KeysChanged,
    KeyTaken,
    Overloaded,
    Placed,
    Proposal,
    Rejected,
    Similar,
    StoredAnswer,
    Unavailable,
    VersionConflict,
    WrappedKey,
)
from services.event_log.record import Record, is_intact

__all__ = [
    "Appended",
    "Begun",
    "Claim",
    "ClaimTaken",
    "EventLog",
    "Fact",
    "Head",
    "IdempotencyKey",
    "KeyTaken",
    "KeysChanged",
    "Overloaded",
    "Placed",
    "Proposal",
    "Record",
    "Rejected",
    "Similar",
    "StoredAnswer",
    "Unavailable",
    "VersionConflict",
    "WrappedKey",
    "is_intact",
    "number_of",
]
