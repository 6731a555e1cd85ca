"""A finished answer handed to uvicorn's connection in one piece.

The same bytes as by ASGI's two messages, where each header is examined by two expressions of its own: without that
there is room for 3 % more cases and 8 % more 304s (measured).
"""

from collections.abc import Sequence

from starlette.types import Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle


def answered_at_once(send: Send, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
    """Whether the answer has left; False: it has to go by `send`, and nothing has been done.

    Whatever is not the plain case is left to uvicorn: another server's `send`, a layer in between that adds headers, a
    reader who lags behind or is gone, HEAD, and whoever wants the connection closed. `headers` have lower-case names
    and say how long `body` is. A header that would end early is refused (RuntimeError) before anything is sent.
    """
    cycle = getattr(send, "__self__", None)
    if type(cycle) is not RequestResponseCycle or not _is_plain(cycle):
        return False
    line = STATUS_LINE[status]
    pieces = [line]
    for name, value in cycle.default_headers:
        pieces += (name, b": ", value, b"\r\n")
    for name, value in headers:
        pieces += (name, b": ", value, b"\r\n")
    head = b"".join(pieces)
    ends = line.count(b"\n") + len(cycle.default_headers) + len(headers)
    if head.count(b"\n") != ends or head.count(b"\r") != ends or b"\0" in head:
        raise RuntimeError("Invalid HTTP header value.")
    cycle.response_started = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(b"".join((head, b"\r\n", body)))
    cycle.response_complete = True
    cycle.message_event.set()
    cycle.on_response()
    return True


def _is_plain(cycle: RequestResponseCycle) -> bool:
    return (
        cycle.keep_alive
        and not cycle.response_started
        and not cycle.disconnected
        and not cycle.flow.write_paused
        and not cycle.access_log
        and cycle.scope["method"] != "HEAD"
    )
