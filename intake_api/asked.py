"""What a reader asks for, from the query: filters, order, page and cursor; what cannot be is refused by name."""

import hmac
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, get_args

from pydantic_core import PydanticCustomError

from intake_api.http import Call, LedgerRestored, UnknownParameter
from projections.filters import Asked, projects_in
from services.caller import Caller
from services.case import CLOCK_TOLERANCE, LEVELS
from services.commands import Category, Channel
from services.directory import Directory
from services.events import Stage
from services.identifiers import parse_case_no
from services.instants import parse_instant

LARGEST_PAGE = 500
_PAGE = 50
_LONGEST_WORD = 200
# Bytes of a cursor's signature: 128 bits.
_SIGNATURE = 16
STATUSES = ("void", "merged", "accounted", "closed", "open", "planned", "responded")
FILTERS = (
    *("region", "project", "city", "area", "category", "stage", "status", "grade", "breached", "escalation_level"),
    *("channel", "tag", "q", "opened_from", "opened_to", "updated_since"),
)
PAGED = ("limit", "cursor", "count", "min_position")
# What does not change which items there are, and so may differ from page to page.
_OF_THE_PAGE = frozenset({"limit", "cursor", "count", "min_position"})
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "category": get_args(Category),
    "stage": get_args(Stage),
    "status": STATUSES,
    "escalation_level": LEVELS,
    "channel": get_args(Channel),
}

Query = Mapping[str, Sequence[str]]


def asked(query: Query, caller: Caller, directory: Directory, now: datetime, grades: Sequence[str]) -> Asked:
    """The filters of a list of cases. A region that the caller doesn't see is as empty as one that isn't."""
    found = Asked(
        regions=regions(caller, query.get("region")),
        projects=projects(query, directory, now),
        categories=chosen(query, "category"),
        stages=chosen(query, "stage"),
        statuses=chosen(query, "status"),
        grades=chosen(query, "grade", grades),
        levels=chosen(query, "escalation_level"),
        channels=chosen(query, "channel"),
        tags=tuple(query.get("tag", ())),
        breached=flag(query, "breached"),
        opened_from=instant(query, "opened_from"),
        opened_to=instant(query, "opened_to"),
        updated_since=instant(query, "updated_since"),
    )
    word = one(query, "q")
    if word is None:
        return found
    if not word.strip() or len(word) > _LONGEST_WORD:
        raise UnknownParameter("invalid_parameter", "q")
    return found._replace(word=word.strip(), number=parse_case_no(word))


def regions(caller: Caller, named: Sequence[str] | None) -> tuple[str, ...] | None:
    """The regions to look in; None: all."""
    if named is None:
        return None if caller.everywhere else tuple(sorted(caller.regions))
    return tuple(sorted({region for region in named if caller.sees(region)}))


def projects(query: Query, directory: Directory, now: datetime) -> tuple[str, ...] | None:
    """Projects by code, and those that lie in a city or an area now."""
    codes = query.get("project")
    if "city" not in query and "area" not in query:
        return tuple(sorted(set(codes))) if codes is not None else None
    there = projects_in(directory, now, query.get("city", ()), query.get("area", ()))
    return tuple(sorted(set(there) if codes is None else set(there) & set(codes)))


def chosen(query: Query, name: str, choices: Sequence[str] | None = None) -> tuple[str, ...]:
    """The values of a parameter that takes some words only."""
    values = tuple(dict.fromkeys(query.get(name, ())))
    if set(values) - set(choices or _CHOICES[name]):
        raise UnknownParameter("invalid_parameter", name)
    return values


def one(query: Query, name: str) -> str | None:
    """The value of a parameter that may be given once."""
    values = query.get(name)
    if values is None:
        return None
    if len(values) != 1:
        raise UnknownParameter("invalid_parameter", name)
    return values[0]


def flag(query: Query, name: str) -> bool | None:
    """``true`` or ``false``."""
    text = one(query, name)
    if text not in (None, "true", "false"):
        raise UnknownParameter("invalid_parameter", name)
    return None if text is None else text == "true"


def instant(query: Query, name: str) -> datetime | None:
    """An instant; a plus that was sent unescaped has become a space."""
    text = one(query, name)
    if text is None:
        return None
    try:
        return parse_instant(re.sub(r" (?=\d\d:\d\d$)", "+", text))
    except PydanticCustomError:
        raise UnknownParameter("invalid_parameter", name) from None


def past(query: Query, name: str, now: datetime) -> datetime | None:
    """An instant that lies not in the future."""
    found = instant(query, name)
    if found and found > now + CLOCK_TOLERANCE:
        raise UnknownParameter("in_the_future", name)
    return found


def limit(query: Query) -> int:
    """How many items a page has at most."""
    text = one(query, "limit")
    if text is None:
        return _PAGE
    # Of any length, while int() has a limit of its own.
    if not text.isascii() or not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= LARGEST_PAGE:
        raise UnknownParameter("invalid_parameter", "limit")
    return int(text)


def order(query: Query, sorts: Sequence[str], default: str) -> tuple[str, bool]:
    """By what to sort, and whether the other way round."""
    text = one(query, "sort") or default
    name = text.removeprefix("-")
    if name not in sorts:
        raise UnknownParameter("invalid_parameter", "sort")
    return name, text.startswith("-")


@cache
def _cursor_key(key: bytes) -> bytes:
    return hmac.digest(key, b"anjuan.cursors.1", "sha256")


class Cursor:
    """Where the next page begins, signed for this list, filters and regions; another's, or one made up, is refused.

    One of an earlier epoch may name what was lost by a restore: `LedgerRestored`.
    """

    def __init__(self, key: bytes, call: Call, query: Query) -> None:
        kept = sorted((name, sorted(values)) for name, values in query.items() if name not in _OF_THE_PAGE)
        # Of a key of its own: one that signs tokens signs nothing else.
        self._key = _cursor_key(key)
        caller: Caller = call.scope["caller"]
        scope = "*" if caller.everywhere else sorted(caller.regions)
        self._epoch: int = call.services.epoch
        self._said = f"cursor {call.path} {json.dumps([scope, kept])} ".encode()

    def write(self, key: Sequence[Any] | None) -> str | None:
        """None: this was the last page."""
        if key is None:
            return None
        said = json.dumps(list(key), separators=(",", ":")).encode()
        return urlsafe_b64encode(self._signature(said, self._epoch) + said).decode().rstrip("=")

    def read(self, text: str | None) -> list[Any] | None:
        """The key behind which the page begins; None: at the beginning."""
        if text is None:
            return None
        try:
            raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError:
            raise UnknownParameter("invalid_parameter", "cursor") from None
        if not self._is_signed(raw, self._epoch):
            if any(self._is_signed(raw, epoch) for epoch in range(1, self._epoch)):
                raise LedgerRestored
            raise UnknownParameter("invalid_parameter", "cursor")
        found: list[Any] = json.loads(raw[_SIGNATURE:])
        return found

    def _is_signed(self, raw: bytes, epoch: int) -> bool:
        return hmac.compare_digest(raw[:_SIGNATURE], self._signature(raw[_SIGNATURE:], epoch))

    def _signature(self, said: bytes, epoch: int) -> bytes:
        return hmac.digest(self._key, b"%d %b%b" % (epoch, self._said, said), "sha256")[:_SIGNATURE]
