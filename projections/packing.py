"""Rows as COPY takes them in its binary form, packed by column type.

The driver looks up how to convert each value of each row; here it is known once for a table. Half of the time of
writing a batch was spent there (measured).
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from struct import Struct, pack
from typing import Any
from uuid import UUID

from sqlalchemy import Column
from sqlalchemy.dialects import postgresql

from services.event_log.arrays import texts

HEADER = b"PGCOPY\n\xff\r\n\0" + b"\0" * 8
TRAILER = b"\xff\xff"

Pack = Callable[[Any], bytes]

_NULL = b"\xff\xff\xff\xff"
_LENGTH = Struct(">i").pack
_INT2, _INT4, _INT8, _BOOL = Struct(">ih").pack, Struct(">ii").pack, Struct(">iq").pack, Struct(">i?").pack
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def packers(columns: Iterable[Column[Any]]) -> Sequence[Pack]:
    """How each of these columns is packed."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    return [_PACKERS[column.type.compile(dialect)] for column in columns]


def packed(packing: Sequence[Pack], rows: Iterable[Sequence[object]]) -> bytes:
    """The rows, without header and trailer."""
    begin = pack(">h", len(packing))
    return b"".join(
        [
            part
            for row in rows
            for part in (
                begin,
                *[_NULL if value is None else one(value) for one, value in zip(packing, row, strict=True)],
            )
        ]
    )


def _uuid(value: UUID) -> bytes:
    return b"\0\0\0\x10" + value.bytes


def _text(value: str) -> bytes:
    encoded = value.encode()
    return _LENGTH(len(encoded)) + encoded


def _bytes(value: bytes) -> bytes:
    return _LENGTH(len(value)) + value


def _instant(value: datetime) -> bytes:
    """Microseconds since 2000."""
    span = value - _EPOCH
    return _INT8(8, (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds)


def _texts(values: Sequence[str]) -> bytes:
    return _bytes(texts(values))


def _integers(values: Sequence[int]) -> bytes:
    """Each with its length before it, all of them in one go: a case is found by about a hundred."""
    size = len(values)
    if not size:
        return _bytes(pack(">iii", 0, 0, 23))
    elements = [4] * (2 * size)
    elements[1::2] = values
    return _LENGTH(20 + 8 * size) + pack(f">iiiii{2 * size}i", 1, 0, 23, size, 1, *elements)


_PACKERS: dict[str, Pack] = {
    "UUID": _uuid,
    "TEXT": _text,
    "BYTEA": _bytes,
    "TIMESTAMP WITH TIME ZONE": _instant,
    "SMALLINT": lambda value: _INT2(2, value),
    "INTEGER": lambda value: _INT4(4, value),
    "BIGINT": lambda value: _INT8(8, value),
    "BOOLEAN": lambda value: _BOOL(1, value),
    "TEXT[]": _texts,
    "INTEGER[]": _integers,
}
