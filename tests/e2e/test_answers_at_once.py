"""Answers that leave at once are, byte for byte, what uvicorn itself would send; what is not plain goes by uvicorn."""

import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from starlette.types import Message, Receive, Scope, Send

from intake_api import http
from intake_api.at_once import answered_at_once
from intake_api.http import Reply
from intake_api.one_write import OneWrite
from tests.e2e.serving import served_here

_REPLIES = {
    "/case": Reply(200, b'{"a":1}', [(b"cache-control", b"private, no-cache")], tag=b'"5.abc"'),
    "/unchanged": Reply(304, b"", [(b"vary", b"Authorization")], tag=b'"5.abc"'),
    "/written": Reply(201, "渗水".encode(), [(b"location", b"/v1/cases/1")]),
    "/empty": Reply(200, b""),
    "/large": Reply(200, b"x" * 3_000_000),
    "/refused": Reply(422, b"{}", content_type=b"application/problem+json"),
    "/split": Reply(200, b"{}", [(b"a", b"b\r\nset-cookie: c")]),
    "/line": Reply(200, b"{}", [(b"a", b"b\nc")]),
    "/nul": Reply(200, b"{}", [(b"a", b"b\0c")]),
}
_PLAIN = [path for path in _REPLIES if path not in ("/split", "/line", "/nul")]


class _Unlogged(OneWrite):
    """As `anjuan serve` has it; here pytest listens to every log, and uvicorn would write one."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.access_log = False


class Server(NamedTuple):
    """A server in this process, and how many of its answers left at once."""

    port: int
    at_once: list[str]


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/wrapped":

        async def wrapped(message: Message) -> None:
            await send(message)

        await _REPLIES["/case"].send(wrapped, 7)
    else:
        await _REPLIES[scope["path"]].send(send, 7)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    taken: list[str] = []

    def noting(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> bool:
        done = answered_at_once(send, status, headers, body)
        if done:
            taken.append("at once")
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http, "answered_at_once", noting)
        with served_here(_app, _Unlogged, server_header=False, date_header=False) as port:
            yield Server(port, taken)


def _said(server: Server, *requests: bytes) -> bytes:
    """All that is answered to these requests, sent together, until nothing comes for a while."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as stream:
        stream.sendall(b"".join(requests))
        said = b""
        stream.settimeout(0.3)
        try:
            while piece := stream.recv(1 << 20):
                said += piece
        except TimeoutError:
            pass
        return said


def _asking(path: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: a", *headers, "", ""]).encode()


def _by_uvicorn(server: Server, *requests: bytes) -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http, "answered_at_once", lambda *_: False)
        return _said(server, *requests)


@pytest.mark.parametrize("path", _PLAIN)
def test_the_bytes_are_uvicorn_s(server: Server, path: str) -> None:
    before = len(server.at_once)
    said = _said(server, _asking(path))
    assert len(server.at_once) == before + 1
    assert said == _by_uvicorn(server, _asking(path))
    assert len(server.at_once) == before + 1
    assert said.startswith(b"HTTP/1.1 %d " % _REPLIES[path].status) and said.endswith(_REPLIES[path].body)


@pytest.mark.parametrize(
    ("requests", "at_once"),
    [
        # The connection stays, for as many as are asked, in their order.
        ([_asking("/case"), _asking("/empty"), _asking("/unchanged"), _asking("/written")], 4),
        # A body that nobody reads.
        ([_asking("/refused", "Content-Length: 3", method="POST") + b"abc", _asking("/case")], 2),
        ([_asking("/case", "Expect: 100-continue", "Content-Length: 3", method="POST") + b"abc", _asking("/case")], 2),
        ([_asking("/case", method="HEAD"), _asking("/case")], 1),
        ([_asking("/case", "Connection: close"), _asking("/case")], 0),
        ([_asking("/case", version="1.0")], 0),
        ([_asking("/wrapped"), _asking("/case")], 1),
    ],
)
def test_a_connection_goes_on_as_uvicorn_has_it(server: Server, requests: list[bytes], at_once: int) -> None:
    before = len(server.at_once)
    said = _said(server, *requests)
    assert len(server.at_once) == before + at_once
    assert said and said == _by_uvicorn(server, *requests)


@pytest.mark.parametrize("path", ["/split", "/line", "/nul"])
def test_a_header_that_would_end_early_is_refused(server: Server, path: str) -> None:
    said = _said(server, _asking(path))
    assert said.startswith(b"HTTP/1.1 500 ") and b"set-cookie" not in said
    # It finds out when it has begun, and can only hang up.
    assert _by_uvicorn(server, _asking(path)) == b""
