"""Reading: one case, its actions and complaints, and the list of cases."""

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic_core import PydanticCustomError

from intake_api.access import Forbidden
from intake_api.http import Call, NotFound, Reply, UnknownParameter, entity_tag, read_reply
from intake_api.services import Services
from projections import case_list, case_view, grade_view
from services.caller import Caller
from services.case import CLOCK_TOLERANCE, Case
from services.casebook import entry_of
from services.docket import Docket, fold
from services.instants import parse_instant

_LARGEST_PAGE = 500
_PAGE = 50


async def get_case(call: Call) -> Reply:
    """The case, with every write acknowledged before; or State(as_of, known_at)."""
    services: Services = call.services
    caller = services.caller(call)
    query = call.query(("as_of", "known_at"))
    now = services.now()
    as_of, known_at = _past(query, "as_of", now), _past(query, "known_at", now)
    case, head = await services.visible_case(call, caller, fresh=True)
    assert head is not None
    await services.directory.refresh()
    if as_of or known_at:
        case = (await _docket_as_it_stood(services, case, as_of, known_at))[case.case_id]
    at = as_of or now
    document = case_view.encode(case_view.whole(case, services.directory, at, known_at))
    body = await services.vault.open_document(document, caller.masked)
    return read_reply(call, body, f"{case.version}.{entity_tag(body)}", _position(head.position))


async def get_grade(call: Call) -> Reply:
    """Why the case has its grade: every criterion, and the history; at (as_of, known_at) if asked."""
    services: Services = call.services
    caller = services.caller(call)
    query = call.query(("as_of", "known_at"))
    now = services.now()
    as_of, known_at = _past(query, "as_of", now), _past(query, "known_at", now)
    case, head = await services.visible_case(call, caller, fresh=True)
    assert head is not None
    docket = await _docket_as_it_stood(services, case, as_of, known_at)
    body = case_view.encode(grade_view.explained(docket[case.case_id], docket))
    return read_reply(call, body, f"{case.version}.{entity_tag(body)}", _position(head.position))


async def _docket_as_it_stood(
    services: Services, case: Case, as_of: datetime | None, known_at: datetime | None
) -> Docket:
    """State(T, K) of the case and those merged with it; `NotFound` while nothing was known, or had happened."""
    files = await services.cases.files(case.case_id)
    docket = fold(files, as_of, known_at, services.policies.policies).docket
    stood = docket[case.case_id]
    begun = stood.frontier or (stood.opened_at and (as_of is None or stood.opened_at <= as_of))
    if not stood.version or not begun:
        raise NotFound
    return docket


def _past(query: dict[str, list[str]], name: str, now: datetime) -> datetime | None:
    """An instant that lies not in the future; a plus that was sent unescaped has become a space."""
    text = _one(query, name, "")
    if not text and name not in query:
        return None
    try:
        instant = parse_instant(re.sub(r" (?=\d\d:\d\d$)", "+", text))
    except PydanticCustomError:
        raise UnknownParameter("invalid_parameter", name) from None
    if instant > now + CLOCK_TOLERANCE:
        raise UnknownParameter("in_the_future", name)
    return instant


async def list_actions(call: Call) -> Reply:
    """The case's actions in version order."""
    services: Services = call.services
    caller = services.caller(call)
    query = call.query(("limit", "cursor", "count"))
    case, head = await services.visible_case(call, caller, fresh=True)
    assert head is not None
    limit, after = _limit(query), _after(services, call, query)
    records = await services.log.read.page(case.case_id, after, limit + 1)
    entries = [entry_of(record) for record in records[:limit]]
    items = [case_view.action(entry, case.corrected.get(entry.action.action_id)) for entry in entries]
    last = records[limit - 1].version if len(records) > limit else None
    return await _page(services, call, caller, items, last, query, case.version, head.position)


async def list_complaints(call: Call) -> Reply:
    """The case's complaints in the order in which they were recorded."""
    services: Services = call.services
    caller = services.caller(call)
    query = call.query(("limit", "cursor", "count"))
    case, head = await services.visible_case(call, caller, fresh=True)
    assert head is not None
    limit, after = _limit(query), _after(services, call, query)
    later = [one for one in case_view.in_order(case) if one.position > after]
    items = [case_view.complaint(one) for one in later[:limit]]
    last = later[limit - 1].position if len(later) > limit else None
    return await _page(services, call, caller, items, last, query, len(case.complaints), head.position)


async def list_cases(call: Call) -> Reply:
    """Heads of the cases that the caller may see, the newest first."""
    services: Services = call.services
    caller = services.caller(call)
    if not caller.reads_cases():
        raise Forbidden
    query = call.query(("limit", "cursor", "count", "region"))
    limit, before = _limit(query), _after(services, call, query)
    regions = _regions(caller, query.get("region"))
    head = await services.log.read.head()
    await services.directory.refresh()
    found = await case_list.newest(services.log, regions, before or None, limit + 1)
    cases = await services.cases.fresh_many([case_id for _, case_id in found[:limit]])
    items = [case_view.head(case, services.directory) for case in cases]
    last = found[limit - 1][0] if len(found) > limit else None
    total = await case_list.count(services.log, regions) if _wants_count(query) else 0
    return await _page(services, call, caller, items, last, query, total, head.position)


def _regions(caller: Caller, asked: Sequence[str] | None) -> list[str] | None:
    """The regions to look in; None: all. A region that the caller doesn't see is as empty as one that isn't."""
    if asked is None:
        return None if caller.everywhere else sorted(caller.regions)
    return sorted(region for region in asked if caller.sees(region))


async def _page(
    services: Services,
    call: Call,
    caller: Caller,
    items: list[dict[str, Any]],
    last: int | None,
    query: dict[str, list[str]],
    total: int,
    position: int,
) -> Reply:
    document: dict[str, Any] = {"items": items, "next_cursor": _cursor(services, call, last) if last else None}
    if _wants_count(query):
        document["total"] = total
    body = await services.vault.open_document(case_view.encode(document), caller.masked)
    return read_reply(call, body, entity_tag(body), _position(position))


def _position(position: int) -> list[tuple[bytes, bytes]]:
    return [(b"ledger-position", b"%d" % position)]


def _one(query: dict[str, list[str]], name: str, default: str) -> str:
    values = query.get(name, [default])
    if len(values) != 1:
        raise UnknownParameter("invalid_parameter", name)
    return values[0]


def _limit(query: dict[str, list[str]]) -> int:
    text = _one(query, "limit", str(_PAGE))
    # Of any length, while int() has a limit of its own.
    if not text.isascii() or not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= _LARGEST_PAGE:
        raise UnknownParameter("invalid_parameter", "limit")
    return int(text)


def _wants_count(query: dict[str, list[str]]) -> bool:
    text = _one(query, "count", "false")
    if text not in ("true", "false"):
        raise UnknownParameter("invalid_parameter", "count")
    return text == "true"


def _cursor(services: Services, call: Call, last: int) -> str:
    """Where the next page begins, signed for this list: a cursor of elsewhere, or a made-up one, is refused."""
    return urlsafe_b64encode(last.to_bytes(8) + _signature(services, call, last)).decode().rstrip("=")


def _after(services: Services, call: Call, query: dict[str, list[str]]) -> int:
    text = _one(query, "cursor", "")
    if not text and "cursor" not in query:
        return 0
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise UnknownParameter("invalid_parameter", "cursor") from None
    last = int.from_bytes(raw[:8])
    if not hmac.compare_digest(raw[8:], _signature(services, call, last)):
        raise UnknownParameter("invalid_parameter", "cursor")
    return last


def _signature(services: Services, call: Call, last: int) -> bytes:
    filters = sorted(call.query(("limit", "cursor", "count", "region")).get("region", []))
    said = f"cursor {call.path} {filters} {last}".encode()
    return hmac.digest(services.token_key, said, "sha256")[:12]
