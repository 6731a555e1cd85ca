"""Instants as the contract writes them: RFC 3339 with an offset, at most microseconds, answered in UTC with ``Z``."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:[0-5]\d)?", re.ASCII)


def parse_instant(value: Any) -> datetime:
    """The instant in UTC; a pydantic error names what is wrong (no offset, 7th digit, no such day …)."""
    if isinstance(value, datetime) and value.tzinfo:
        return value.astimezone(UTC)
    found = _RFC3339.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise PydanticCustomError("instant_malformed", "not an RFC 3339 date and time")
    fraction, offset = found.groups()
    if not offset:
        raise PydanticCustomError("instant_without_offset", "the offset from UTC is missing")
    if fraction and len(fraction) > 7:
        raise PydanticCustomError("instant_too_fine", "more than 6 fractional digits")
    try:
        return datetime.fromisoformat(value.upper().replace(" ", "T")).astimezone(UTC)
    except (ValueError, OverflowError):
        raise PydanticCustomError("instant_malformed", "no such date or time") from None


def format_instant(instant: datetime) -> str:
    """``2026-11-23T08:00:00Z``; the fraction only where there is one."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


Instant = Annotated[
    datetime,
    PlainValidator(parse_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-23T16:05:00+08:00"]}),
]
