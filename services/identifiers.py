"""Ids: UUIDv7 for everything, and case numbers that can be read over the telephone."""

import os
import re
import time
import unicodedata
from functools import lru_cache
from uuid import UUID

_CASE_NO = re.compile(r"([A-Z0-9_]{1,32})-(\d{8})-(\d{1,12})", re.ASCII)
_DASHES = str.maketrans(dict.fromkeys("‐‑‒–—―−﹣ー", "-"))


def uuid7() -> UUID:
    """A new UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10))
    value = milliseconds << 80 | 0x7 << 76 | (random >> 68 & 0xFFF) << 64 | 0b10 << 62 | random & (1 << 62) - 1
    return UUID(int=value)


def parse_uuid(text: str) -> UUID | None:
    """The id in its hyphenated form, of any version and letter case; None if it is none."""
    return _uuid(text) if len(text) == 36 else None


# Of ids alone: whatever else a client writes may be long, and would be kept.
@lru_cache(maxsize=10_000)
def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def parse_case_no(text: str) -> str | None:
    """A case number as stored, from one written in any width, letter case or number of leading zeros."""
    found = _CASE_NO.fullmatch(unicodedata.normalize("NFKC", text).translate(_DASHES).strip().upper())
    if not found:
        return None
    region, day, number = found.groups()
    return f"{region}-{day}-{int(number):04d}"
