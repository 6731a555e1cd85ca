"""The ledger: append, history, after. One gap-free global order on one PostgreSQL."""

from services.event_log.connections import TRANSIENT, Connection, connect
from services.event_log.log import EventLog
from services.event_log.plan import Head, number_of
from services.event_log.privileges import EVERYWHERE, Role
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
from services.event_log.reader import Reader
from services.event_log.record import Record, is_intact

__all__ = [
    "EVERYWHERE",
    "TRANSIENT",
    "Appended",
    "Begun",
    "Claim",
    "ClaimTaken",
    "Connection",
    "EventLog",
    "Fact",
    "Head",
    "IdempotencyKey",
    "KeyTaken",
    "KeysChanged",
    "Overloaded",
    "Placed",
    "Proposal",
    "Reader",
    "Record",
    "Rejected",
    "Role",
    "Similar",
    "StoredAnswer",
    "Unavailable",
    "VersionConflict",
    "WrappedKey",
    "connect",
    "is_intact",
    "number_of",
]
