"""Texts in XML 1.0, whatever is in them."""

import re
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from services.instants import format_instant

_ESCAPED = re.compile('[<>&"\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]')
_AS = {"<": "&lt;", ">": "&gt;", "&": "&amp;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}


@lru_cache(maxsize=10_000)
def escaped(text: str) -> str:
    """For an attribute in double quotes, or between tags. A character that XML cannot hold becomes U+FFFD."""
    return _ESCAPED.sub(_instead, text)


def spelled(value: Any) -> str:
    """A value as XML Schema writes it."""
    match value:
        case str():
            return escaped(value)
        case bool():
            return "true" if value else "false"
        case datetime():
            return format_instant(value)
        case Decimal():
            return f"{value:f}"
        case _:
            return str(value)


def _instead(found: re.Match[str]) -> str:
    char = found[0]
    # C1 controls and DEL are allowed, but only as references are they left alone by every reader.
    return _AS.get(char) or (f"&#{ord(char)};" if "\x7f" <= char <= "\x9f" else "\ufffd")
