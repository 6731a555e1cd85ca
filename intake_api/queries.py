"""Reading one case: as it is or was, its grade, its actions and complaints."""

from datetime import datetime
from typing import Any

from intake_api import asked
from intake_api.http import Call, NotFound, Reply, entity_tag, read_reply
from intake_api.services import Services
from projections import case_view, grade_view
from services.caller import Caller
from services.case import Case
from services.casebook import entry_of
from services.docket import Docket, fold

_PAGED = ("limit", "cursor", "count")


async def get_case(call: Call) -> Reply:
    """The case, with every write acknowledged before; or State(as_of, known_at)."""
    services: Services = call.services
    caller = services.caller(call)
    query = call.query(("as_of", "known_at"))
    now = services.now()
    as_of, known_at = asked.past(query, "as_of", now), asked.past(query, "known_at", now)
    case, head = await services.visible_case(call, caller, fresh=True)
    assert head is not None
    if not as_of and not known_at:
        ready = await services.ready.shown(case, caller.masked, now)
        return read_reply(call, ready.body, ready.tag, _position(head.position))
    case = (await _docket_as_it_stood(services, case, as_of, known_at))[case.case_id]
    document = case_view.encode(case_view.whole(case, services.directory, as_of or now, known_at))
    body = await services.vault.open_document(document, caller.masked)
    return read_reply(call, body, f"{case.version}.{entity_tag(body)}", _position(head.position))


async def get_grade(call: Call) -> Reply:
    """Why the case has its grade: every criterion, and the history; at (as_of, known_at) if asked."""
    services: Services = call.services
    caller = services.caller(call)
    query = call.query(("as_of", "known_at"))
    now = services.now()
    as_of, known_at = asked.past(query, "as_of", now), asked.past(query, "known_at", now)
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


async def list_actions(call: Call) -> Reply:
    """The case's actions in version order."""
    services: Services = call.services
    caller = services.caller(call)
    query = call.query(_PAGED)
    cursor = asked.Cursor(services.token_key, call, query)
    case, head = await services.visible_case(call, caller, fresh=True)
    assert head is not None
    limit, after = asked.limit(query), (cursor.read(asked.one(query, "cursor")) or [0])[0]
    records = await services.log.read.page(case.case_id, after, limit + 1)
    entries = [entry_of(record) for record in records[:limit]]
    items = [case_view.action(entry, case.corrected.get(entry.action.action_id)) for entry in entries]
    last = records[limit - 1].version if len(records) > limit else None
    total = case.version if asked.flag(query, "count") else None
    return await _page(call, caller, items, cursor.write([last] if last else None), total, head.position)


async def list_complaints(call: Call) -> Reply:
    """The case's complaints in the order in which they were recorded."""
    services: Services = call.services
    caller = services.caller(call)
    query = call.query(_PAGED)
    cursor = asked.Cursor(services.token_key, call, query)
    case, head = await services.visible_case(call, caller, fresh=True)
    assert head is not None
    limit, after = asked.limit(query), (cursor.read(asked.one(query, "cursor")) or [0])[0]
    later = [one for one in case_view.in_order(case) if one.position > after]
    items = [case_view.complaint(one) for one in later[:limit]]
    last = later[limit - 1].position if len(later) > limit else None
    total = len(case.complaints) if asked.flag(query, "count") else None
    return await _page(call, caller, items, cursor.write([last] if last else None), total, head.position)


async def _page(
    call: Call, caller: Caller, items: list[dict[str, Any]], cursor: str | None, total: int | None, position: int
) -> Reply:
    services: Services = call.services
    document: dict[str, Any] = {"items": items, "next_cursor": cursor}
    if total is not None:
        document["total"] = total
    body = await services.vault.open_document(case_view.encode(document), caller.masked)
    return read_reply(call, body, entity_tag(body), _position(position))


def _position(position: int) -> list[tuple[bytes, bytes]]:
    return [(b"ledger-position", b"%d" % position)]
