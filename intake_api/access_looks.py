"""GET /v1/audit/access: who looked at personal data, or was refused. Auditors only; asking is a look too."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from intake_api import asked
from intake_api.access import Forbidden
from intake_api.http import Call, Reply, UnknownParameter
from intake_api.services import Services
from projections.case_view import encode
from services.access_log import OUTCOMES, Look, Wanted
from services.identifiers import parse_case_no, parse_uuid
from services.instants import format_instant, parse_instant

KNOWN = ("subject", "region", "case", "from", "to", "operation", "outcome", "limit", "cursor")


async def list_looks(call: Call) -> Reply:
    """Looks and refusals, newest first; what this process noted until now is among them."""
    services: Services = call.services
    if services.caller(call).role != "auditor":
        raise Forbidden
    query = call.query(KNOWN)
    cursor = asked.Cursor(services.token_key, call, query)
    limit, after = asked.limit(query), _after(cursor.read(asked.one(query, "cursor")))
    wanted = await _wanted(services, query)
    await services.looked.log.flush()
    looks = await services.looked.log.find(wanted, after, limit + 1)
    last = looks[limit - 1] if len(looks) > limit else None
    next_cursor = cursor.write([format_instant(last.looked_at), last.look] if last else None)
    items = [_shown(look) for look in looks[:limit]]
    call.cases, call.count = (str(wanted.case),) if wanted.case else (), len(items)
    return Reply(200, encode({"items": items, "next_cursor": next_cursor}), [(b"cache-control", b"no-store")])


async def _wanted(services: Services, query: asked.Query) -> Wanted:
    return Wanted(
        query.get("subject", ()),
        query.get("region", ()),
        await _case(services, asked.one(query, "case")),
        asked.instant(query, "from"),
        asked.instant(query, "to"),
        query.get("operation", ()),
        asked.chosen(query, "outcome", tuple(OUTCOMES)),
    )


async def _case(services: Services, written: str | None) -> UUID | None:
    """The case named by id or number; one that is not there, and so was asked for in vain, has an id too."""
    if written is None:
        return None
    if found := parse_uuid(written):
        return found
    number = parse_case_no(written)
    found = await services.log.read.case_by_number(number) if number else None
    if found is None:
        raise UnknownParameter("invalid_parameter", "case")
    return found


def _after(key: list[Any] | None) -> tuple[datetime, int] | None:
    return (parse_instant(key[0]), key[1]) if key else None


def _shown(look: Look) -> dict[str, Any]:
    outcome = next(name for name, statuses in OUTCOMES.items() if look.status in statuses)
    return {
        "looked_at": format_instant(look.looked_at),
        "actor": {"sub": look.subject, "role": look.role, "unit": look.unit},
        "operation": look.operation,
        "outcome": outcome,
        "status": look.status,
        "regions": look.regions,
        "cases": look.cases,
        "shown": look.shown,
        "asked": msgspec.json.decode(look.asked) if look.asked else None,
        "question": look.question.hex() if look.question else None,
        "address": look.address,
    }
