"""GET /v1/stream: which cases moved, told as the lists come to show it."""

import asyncio
from collections.abc import AsyncGenerator

from intake_api import asked
from intake_api.access import Unauthenticated
from intake_api.case_lists import reader
from intake_api.http import Call, LedgerRestored, Reply, StreamedReply
from intake_api.polled import PATIENCE, ProjectionBehind
from intake_api.problems import BadHeader
from intake_api.services import Services
from intake_api.streams import cases
from services.caller import Caller
from services.event_log import Unavailable

# Seconds without an event after which a comment is sent, so that nobody in between takes the connection for dead.
KEEP_ALIVE = 15.0
# Seconds between two looks: however much is written, a listener hears ten times a second.
_PAUSE = 0.1
_AGAIN = 1.0
_RETRY = b"retry: 2000\n\n"
_HEADERS = [(b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]


async def stream(call: Call) -> Reply:
    """Server-sent events: `cases` (a position and the ids of the cases that moved up to it) and `notice`.

    A list asked with `min_position` of that position shows it. An event's id is the position up to which everything
    was told: sent as `Last-Event-ID` it resumes there; without one, the stream begins now.
    """
    services: Services = call.services
    caller = reader(call)
    call.query(())
    last = _last(call)
    position = await _now(services) if last is None else await _reached(services, last)
    # Whoever runs the app calls it when the process is about to end (`one_write`).
    call.scope["at_shutdown"] = services.streams.end
    headers = [*_HEADERS, (b"ledger-position", b"%d" % services.watch.view.position)]
    return StreamedReply(call, _events(call, caller, position, last is None), headers, b"text/event-stream")


def _last(call: Call) -> int | None:
    """The position in `Last-Event-ID`."""
    text = call.header(b"last-event-id")
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise BadHeader("last_event_id_malformed")
    return int(text)


async def _now(services: Services) -> int:
    """How far the views have come."""
    if not services.watch.hears:
        await services.views.look(lambda _: ())
    return services.watch.view.position


async def _reached(services: Services, position: int) -> int:
    """The position, once the views have come to it: another process may have told of it before this one heard."""
    if await _now(services) < position:
        if position > (await services.log.read.head()).position:
            raise LedgerRestored
        if not await services.watch.reached(position, PATIENCE - 2):
            raise ProjectionBehind
    return position


async def _events(call: Call, caller: Caller, position: int, anew: bool) -> AsyncGenerator[bytes, None]:
    services: Services = call.services
    streams, clock = services.streams, asyncio.get_running_loop().time
    scope = asked.regions(caller, None)
    with streams.listening():
        yield _RETRY + (cases(position) if anew else b"")
        silent = clock()
        while not streams.ended and _counts(call):
            if streams.behind(position):
                before = position
                try:
                    position, events = await streams.after(scope, position)
                except Unavailable:
                    events = b""
                    await asyncio.sleep(_AGAIN)
                if events:
                    yield events
                    silent = clock()
                if position == before or not streams.behind(position):
                    await asyncio.sleep(_PAUSE)
            if clock() >= silent + KEEP_ALIVE:
                # With the position: what moved elsewhere meanwhile need not be looked through again.
                yield b":\nid: %d\n\n" % position
                silent = clock()
            await streams.step(position, min(silent + KEEP_ALIVE - clock(), services.tokens.left(caller)))


def _counts(call: Call) -> bool:
    """Whether the token still does."""
    try:
        call.services.tokens.caller(call.header(b"authorization"))
    except Unauthenticated:
        return False
    return True
