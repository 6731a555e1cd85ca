"""Regions and projects over HTTP. All roles may read them; admin writes."""

import re
from datetime import datetime
from typing import Any

from intake_api import bodies
from intake_api.access import Forbidden
from intake_api.http import (
    Call,
    NotFound,
    Reply,
    UnknownParameter,
    entity_tag,
    read_reply,
)
from intake_api.services import Services
from projections import directory_view
from projections.case_view import encode
from services.commands import PROJECT, REGION
from services.directory import Entry, in_force
from services.events import ProjectDescribed, RegionDescribed
from services.instants import parse_instant
from services.rules import Fault, Malformed

_REGION = re.compile(r"[A-Z0-9_]{1,32}")
_PROJECT = re.compile(r"[\w.-]{1,64}")


async def put_region(call: Call) -> Reply:
    """Describe a region from `valid_from` on."""
    services, raw, value = await _admin_body(call)
    code = _code(call, _REGION)
    entry = await services.registrar.describe_region(code, bodies.command(REGION, raw, value), call.scope["caller"])
    return await _entry(services, call, entry)


async def put_project(call: Call) -> Reply:
    """Describe a project from `valid_from` on."""
    services, raw, value = await _admin_body(call)
    code = _code(call, _PROJECT)
    entry = await services.registrar.describe_project(code, bodies.command(PROJECT, raw, value), call.scope["caller"])
    return await _entry(services, call, entry)


async def get_region(call: Call) -> Reply:
    """A region as it is, or was at `as_of`."""
    services, at = await _current(call)
    return await _entry(services, call, _held(services.directory.regions.get(call.path_params["code"]), at))


async def get_project(call: Call) -> Reply:
    """A project as it is, or was at `as_of`."""
    services, at = await _current(call)
    return await _entry(services, call, _held(services.directory.projects.get(call.path_params["code"]), at))


async def list_regions(call: Call) -> Reply:
    """All regions."""
    services, at = await _current(call)
    entries = services.directory.regions
    return await _listed(services, call, [in_force(entries[code], at) for code in sorted(entries)])


async def list_projects(call: Call) -> Reply:
    """All projects."""
    services, at = await _current(call)
    entries = services.directory.projects
    return await _listed(services, call, [in_force(entries[code], at) for code in sorted(entries)])


async def _admin_body(call: Call) -> tuple[Services, bytes, Any]:
    services: Services = call.services
    if services.caller(call).role != "admin":
        raise Forbidden
    call.query(())
    raw = await call.raw_body()
    return services, raw, bodies.parsed(raw)


async def _current(call: Call) -> tuple[Services, datetime]:
    services: Services = call.services
    services.caller(call)
    query = call.query(("as_of",))
    await services.directory.refresh()
    return services, _as_of(services, query.get("as_of"))


def _as_of(services: Services, asked: list[str] | None) -> datetime:
    if asked is None:
        return services.now()
    try:
        return parse_instant(asked[0])
    except ValueError:
        raise UnknownParameter("invalid_parameter", "as_of") from None


def _code(call: Call, form: re.Pattern[str]) -> str:
    code: str = call.path_params["code"]
    if not form.fullmatch(code):
        raise Malformed([Fault("/code", "string_pattern_mismatch")])
    return code


def _held(entries: Any, at: datetime) -> Entry[RegionDescribed] | Entry[ProjectDescribed]:
    if not entries:
        raise NotFound
    held: Entry[RegionDescribed] | Entry[ProjectDescribed] = in_force(entries, at)
    return held


async def _entry(services: Services, call: Call, entry: Entry[RegionDescribed] | Entry[ProjectDescribed]) -> Reply:
    return await _answered(services, call, directory_view.entry(entry))


async def _listed(
    services: Services, call: Call, entries: list[Entry[RegionDescribed]] | list[Entry[ProjectDescribed]]
) -> Reply:
    document = {"items": [directory_view.entry(entry) for entry in entries], "next_cursor": None}
    return await _answered(services, call, document)


async def _answered(services: Services, call: Call, document: dict[str, Any]) -> Reply:
    masked = call.scope["caller"].role == "dashboard"
    body = await services.vault.open_document(encode(document), masked)
    position = [(b"ledger-position", b"%d" % services.directory.position)]
    return read_reply(call, body, entity_tag(body), position)
