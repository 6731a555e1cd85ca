"""Whether this process lives and can store, what it counts, and the published lists."""

import asyncio

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from intake_api.http import UNKEPT, Call, Reply
from intake_api.problems import problem, published
from intake_api.services import Services
from projections.case_view import encode
from services.event_log import Unavailable


async def livez(call: Call) -> Reply:
    """The process runs."""
    return Reply(200, b'{"status":"alive"}', [UNKEPT])


async def readyz(call: Call) -> Reply:
    """This process can store an action: the database answers within a second, and the queue has room."""
    services: Services = call.services
    try:
        async with asyncio.timeout(1):
            head = await services.log.read.head()
            writable = await services.log.read.is_writable()
    except (TimeoutError, Unavailable):
        return problem(call, "unavailable", headers=[(b"retry-after", b"2")])
    if not writable:
        return problem(call, "unavailable", headers=[(b"retry-after", b"2")])
    if not services.log.accepts:
        return problem(call, "overloaded", headers=[(b"retry-after", b"1")])
    return Reply(200, encode({"status": "ready", "position": head.position}), [UNKEPT])


async def metrics(call: Call) -> Reply:
    """Prometheus text."""
    return Reply(200, generate_latest(REGISTRY), [UNKEPT], content_type=CONTENT_TYPE_LATEST.encode())


async def list_problems(call: Call) -> Reply:
    """The codes of all problems."""
    return Reply(200, encode({"items": published()}), [UNKEPT])


async def openapi(call: Call) -> Reply:
    """The OpenAPI document."""
    return Reply(200, encode(call.scope["app"].openapi()), [UNKEPT])
