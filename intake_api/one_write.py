"""uvicorn's protocol, but each answer leaves in one write, and nobody may send for ever.

uvicorn writes head and body apart: two system calls, and the caller wakes for half an answer. Gathering them until the
end of the loop's turn makes room for 5 % more actions (measured), most of it the callers' own time.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from intake_api.problems import CODES, refusal
from intake_api.slow_clients import BODY, CLOSING, HEAD, UNREAD, Debt, Patience

# Bytes of one request's head, and of one whole request: twice the largest body, for what carries it.
LARGEST_HEAD = 32_768
LARGEST_REQUEST = 32 << 20

_END_OF_HEAD = b"\r\n\r\n"


# What an API tells browsers (OWASP's REST security cheat sheet): nothing here is a page, a script or to be framed.
_SECURITY = (
    b"x-content-type-options: nosniff\r\n"
    b"content-security-policy: default-src 'none'; frame-ancestors 'none'\r\n"
    b"referrer-policy: no-referrer\r\n"
)
_BARE = dict(STATUS_LINE)


def say_to_browsers(hsts: int = 0) -> None:
    """On every answer of this process, whoever gives it; `hsts`: seconds for which they shall only come by https.

    It goes with uvicorn's status lines: each header that is handed to uvicorn costs a microsecond (measured).
    """
    by_https = b"strict-transport-security: max-age=%d; includeSubDomains\r\n" % hsts if hsts else b""
    for status, line in _BARE.items():
        STATUS_LINE[status] = line + _SECURITY + by_https


class OneWrite(HttpToolsProtocol):
    """For `uvicorn.run(…, http=OneWrite)`."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.debt: Debt | None = None
        self.since = 0.0
        # Of the request that is still coming, how much has come.
        self._counted: object = self
        self._count = 0
        self._last = b""
        # For how much more a look at the head can wait.
        self._room = LARGEST_HEAD

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(Gathering(transport, self.loop))  # type: ignore[arg-type]
        _patience_of(self).begin()

    def data_received(self, data: bytes) -> None:
        if len(data) > self._room and self._head_is_too_large(data):
            self.refuse("headers_too_large")
            return
        super().data_received(data)
        cycle = self.cycle
        if cycle is None or cycle.more_body or cycle.scope is not self.scope:
            self._count_unfinished(data)

    def send_400_response(self, msg: str) -> None:
        self.refuse("malformed_request")

    def refuse(self, code: str) -> None:
        """Answer what has not become a request, or not yet, and close."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(STATUS_LINE[CODES[code].status] + refusal(code))
            self.transport.close()
        else:
            self.transport.abort()

    def _in_body(self) -> bool:
        return self.cycle is not None and self.cycle.scope is self.scope and self.cycle.more_body

    def _head_is_too_large(self, data: bytes) -> bool:
        """Before it is read: a request whose head has been read is being answered."""
        if self._in_body():
            return False
        in_head = self.cycle is None or self.cycle.scope is not self.scope
        begun = self._count if in_head and self._counted is self.scope else 0
        self._room = max(LARGEST_HEAD - begun, 0)
        # The end may have begun in the last piece.
        return len(data) > self._room and _END_OF_HEAD not in (self._last if begun else b"") + data[: self._room]

    def _count_unfinished(self, data: bytes) -> None:
        if self._counted is not self.scope:
            self._counted, self._count, self._last = self.scope, 0, b""
        self._count += len(data)
        if self._in_body():
            if self._count > LARGEST_REQUEST:
                self.refuse("body_too_large")
            return
        self._last = (self._last + data[-3:])[-3:]
        self._room = max(LARGEST_HEAD - self._count, 0)

    def owes(self) -> Debt | None:
        """What the client keeps us waiting for; None: nothing, it is our turn, or its time between requests."""
        cycle = self.cycle
        if self.transport.is_closing():
            return Debt("closing", self, CLOSING)
        if self.flow.write_paused:
            return Debt("unread", self.transport.get_write_buffer_size(), UNREAD)
        if cycle is None or cycle.scope is not self.scope:
            return Debt("head", self.scope, HEAD)
        if cycle.more_body:
            return None if self.flow.read_paused else Debt("body", cycle, BODY)
        # Not even the first byte of a request, yet something: line ends, one by one.
        dribbles = cycle.response_complete and self.timeout_keep_alive_task is None
        return Debt("head", cycle, HEAD) if dribbles else None

    def cut(self) -> None:
        """It has owed for too long."""
        if self.debt and self.debt.kind in ("head", "body"):
            self.refuse("request_too_slow")
        else:
            self.transport.abort()

    def shutdown(self) -> None:
        """The server is about to end: an answer that would go on for ever ends, read or unread; others are finished."""
        end: Any = self.cycle.scope.get("at_shutdown") if self.cycle and not self.cycle.response_complete else None
        if end:
            end()
            if self.flow.write_paused:
                self.transport.abort()
        super().shutdown()


def _patience_of(protocol: OneWrite) -> Patience:
    """The one of its server."""
    state: Any = protocol.server_state
    if not hasattr(state, "patience"):
        state.patience = Patience(
            protocol.loop, lambda: [one for one in state.connections if isinstance(one, OneWrite)]
        )
    found: Patience = state.patience
    return found


class Gathering:
    """A transport that hands on in one piece what is written to it in one turn of the loop."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._pieces: list[bytes] = []
        # Asked for each answer; the way through `__getattr__` is long.
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        if not self._pieces:
            self._loop.call_soon(self._hand_on)
        self._pieces.append(data)

    def close(self) -> None:
        self._hand_on()
        self._transport.close()

    def _hand_on(self) -> None:
        pieces, self._pieces = self._pieces, []
        if pieces:
            self._transport.write(b"".join(pieces))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
