"""The stored form of an event: a header, a body, and the hash that binds them.

Fixed for ever: a byte laid down differently would break every proof made before. The header is packed
big-endian, texts with their length before them, so that no two headers share one packing::

    "anjuan.event.1" NUL
    position u64 | stream 16 bytes | version u32 | schema u16 | recorded_at i64 (microseconds since 1970 UTC)
    u16 length + UTF-8 of each: name, actor, region
    SHA-256 of the body (32 bytes)

`header_hash` is the SHA-256 of that. It proves a body whose bytes were withheld or erased.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from struct import Struct as Packing
from uuid import UUID

import msgspec

_MAGIC = b"anjuan.event.1\0"
_FIXED = Packing(">Q16sIHq")
_LENGTH = Packing(">H")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Record(msgspec.Struct, frozen=True, gc=False):
    """One event as it is on disk.

    `position` counts 1, 2, 3 … over the whole ledger without a gap; `version` counts within the stream.
    `actor` is ``role/unit/subject``. `region` is empty for what belongs to the group.
    """

    position: int
    stream: UUID
    version: int
    name: str
    schema: int
    actor: str
    region: str
    recorded_at: datetime
    body: bytes
    header_hash: bytes


def microseconds(instant: datetime) -> int:
    """Whole microseconds since 1970-01-01T00:00Z, exact (no float on the way)."""
    return (instant - _EPOCH) // _MICROSECOND


def header_hash(
    position: int,
    stream: UUID,
    version: int,
    name: str,
    schema: int,
    actor: str,
    region: str,
    recorded_at: datetime,
    body: bytes,
) -> bytes:
    """SHA-256 over the packed header and the body's hash (module docstring); 32 bytes."""
    fixed = _FIXED.pack(position, stream.bytes, version, schema, microseconds(recorded_at))
    return sha256(_MAGIC + fixed + _texts(name, actor, region) + body_hash(body)).digest()


def body_hash(body: bytes) -> bytes:
    """SHA-256 of the stored bytes."""
    return sha256(body).digest()


# The same actor does the same things in the same region all day.
@lru_cache(maxsize=10_000)
def _texts(name: str, actor: str, region: str) -> bytes:
    return b"".join(_LENGTH.pack(len(text)) + text for text in (name.encode(), actor.encode(), region.encode()))


def is_intact(record: Record) -> bool:
    """Whether the record's hash is that of its own header and body."""
    return record.header_hash == header_hash(
        record.position,
        record.stream,
        record.version,
        record.name,
        record.schema,
        record.actor,
        record.region,
        record.recorded_at,
        record.body,
    )
