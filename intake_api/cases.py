"""Writing: open a case, append an action. Judged in the contract's order: token, region, idempotency, shape, state."""

import re
from typing import Any, TypeVar

from pydantic import TypeAdapter

from intake_api import bodies
from intake_api.access import Forbidden
from intake_api.http import Call, Reply
from intake_api.problems import BadHeader
from intake_api.services import Services
from projections import case_view
from services.caller import Caller
from services.commands import ACTION, OPENING
from services.desk import Answered, Render, Request, Written
from services.event_log import IdempotencyKey
from services.events import ACTIONS
from services.rules import Malformed

_T = TypeVar("_T")
KEY = re.compile(r"[\x21-\x7e]{1,255}")
_TAG = re.compile(r'(?:W/)?"(\d{1,9})(?:\.[0-9a-f]+)?"')


async def open_case(call: Call) -> Reply:
    """Open a case: its first action is `received`, `warned` or `risk_identified`."""
    services: Services = call.services
    caller = services.caller(call)
    if not caller.may("open"):
        raise Forbidden
    raw, value, key = await read_write(call, caller)
    command = await _command(services, OPENING, raw, value, key)

    answered = await services.desk.open(command, Request(caller, key), opened_by(services))
    return await _written(services, answered, located=True)


async def append_action(call: Call) -> Reply:
    """Append one action to a case."""
    services: Services = call.services
    caller = services.caller(call)
    if not caller.may("noted"):
        raise Forbidden
    case, _ = await services.visible_case(call, caller, fresh=False)
    seen = _if_match(call)
    raw, value, key = await read_write(call, caller)
    may_append(caller, value, case.opened.category)
    command = await _command(services, ACTION, raw, value, key)
    answered = await services.desk.act(case.case_id, command, Request(caller, key, seen), appended_by(services))
    return await _written(services, answered)


def opened_by(services: Services) -> Render:
    """How the opening of a case is answered: the whole case, and what it may duplicate."""

    def render(written: Written) -> bytes:
        now = written.entry.recorded_at
        return case_view.encode(case_view.opened(written.case, services.directory, now, written.similar))

    return render


def appended_by(services: Services) -> Render:
    """How any other action is answered: the action, and the head of the case after it."""

    def render(written: Written) -> bytes:
        case = case_view.head(written.case, services.directory)
        corrected_by = written.case.corrected.get(written.entry.action.action_id)
        return case_view.encode({"action": case_view.action(written.entry, corrected_by), "case": case})

    return render


async def read_write(call: Call, caller: Caller) -> tuple[bytes, Any, IdempotencyKey | None]:
    """The body, its parsed value, and the idempotency key that binds them."""
    name = call.header(b"idempotency-key")
    if name is None and caller.role == "agent":
        raise BadHeader("idempotency_key_required")
    if name is not None and not KEY.fullmatch(name):
        raise BadHeader("idempotency_key_malformed")
    raw = await call.raw_body()
    try:
        value = bodies.parsed(raw)
    except Malformed:
        # What no JSON can be is no repeat of a stored request: with a used key, say that first.
        await call.services.desk.replay(name and IdempotencyKey(caller.subject, name, b""))
        raise
    key = IdempotencyKey(caller.subject, name, bodies.digest("POST", call.path, value)) if name else None
    return raw, value, key


async def _command(
    services: Services, adapter: TypeAdapter[_T], raw: bytes, value: Any, key: IdempotencyKey | None
) -> _T:
    try:
        return bodies.command(adapter, raw, value)
    except Malformed:
        await services.desk.replay(key)
        raise


def may_append(caller: Caller, value: Any, category: str | None) -> None:
    """A known type that the role may not append is forbidden before its shape is looked at."""
    kind = value.get("type") if isinstance(value, dict) else None
    if isinstance(kind, str) and kind in ACTIONS and not caller.may(kind, category):
        raise Forbidden


def _if_match(call: Call) -> frozenset[int] | None:
    """The versions that the caller would accept; None: any."""
    header = call.header(b"if-match")
    if header is None or header.strip() == "*":
        return None
    found = [_TAG.fullmatch(tag.strip()) for tag in header.split(",")]
    if not all(found):
        raise BadHeader("if_match_malformed")
    return frozenset(int(tag.group(1)) for tag in found if tag)


async def _written(services: Services, answered: Answered, located: bool = False) -> Reply:
    """The answer to a write, its personal data opened."""
    body = await services.vault.open_document(answered.document)
    headers = [
        (b"ledger-position", b"%d" % answered.position),
        (b"cache-control", b"no-store"),
    ]
    if located:
        headers.append((b"location", f"/v1/cases/{answered.stream}".encode()))
    if answered.replayed:
        headers.append((b"idempotency-replayed", b"true"))
    return Reply(answered.status, body, headers, tag=b'"%d"' % answered.version)
