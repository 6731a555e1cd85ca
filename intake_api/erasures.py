"""Erasure over HTTP: somebody asks to be forgotten, and an admin says whose complaint that is."""

from uuid import UUID

from intake_api import bodies
from intake_api.access import Forbidden
from intake_api.cases import read_write
from intake_api.http import Call, Reply
from intake_api.services import Services
from projections.case_view import encode
from services.commands import ERASURE
from services.desk import Answered
from services.erasures import Erasure
from services.event_log import Unavailable
from services.identifiers import parse_uuid


async def erase_person(call: Call) -> Reply:
    """Forget who made a complaint, in all cases; `texts`: also what was said of that complaint and its case."""
    services: Services = call.services
    caller = services.caller(call)
    if caller.role != "admin":
        raise Forbidden
    call.query(())
    raw, value, key = await read_write(call, caller)
    try:
        # Whatever became of an earlier try: no answer tells of an erasure that is not on the list.
        await services.erasure_book.refresh()
        if answer := await services.desk.replay(key):
            return _reply(answer)
        command = bodies.command(ERASURE, raw, value)
        call.cases, call.regions = _named(command.case_id), ("*",)
        return _reply(await services.erasures.erase(command, caller, key, document))
    except OSError as failure:
        services.report(failure)
        raise Unavailable("the list of erasures cannot be written") from failure


def _named(case_id: str | UUID) -> tuple[str, ...]:
    """The case, for those who see who erased; one named by its number is found by the erasure's own event."""
    found = case_id if isinstance(case_id, UUID) else parse_uuid(case_id)
    return (str(found),) if found else ()


def document(one: Erasure) -> bytes:
    """What became of it."""
    cases = [{"case_id": case_id, "case_no": case_no} for case_id, case_no in one.cases.items()]
    return encode({**one._asdict(), "cases": cases})


def _reply(answer: Answered) -> Reply:
    headers = [(b"cache-control", b"no-store"), (b"ledger-position", b"%d" % answer.position)]
    if answer.replayed:
        headers.append((b"idempotency-replayed", b"true"))
    return Reply(answer.status, answer.document, headers)
