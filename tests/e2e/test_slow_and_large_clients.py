"""Who dribbles, says too much or never reads is cut off, and everybody else is served as ever; over real sockets."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from intake_api import one_write, slow_clients
from intake_api.one_write import LARGEST_HEAD, LARGEST_REQUEST
from services.embedded_postgres import EmbeddedPostgres
from tests.conftest import fresh_database
from tests.e2e.serving import REGION, Service, Wire, served_here, serving

pytestmark = pytest.mark.anyio

SECURITY = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
}
HEAD = b"POST /echo HTTP/1.1\r\nHost: a\r\n"


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    """Says how long the body was; /large gives 64 MB, /never nothing at all."""
    assert scope["type"] == "http"
    length = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        length += len(message["body"])
        if not message["more_body"]:
            break
    if scope["path"] == "/slow":
        await asyncio.sleep(3)
    body = b"x" * 64_000_000 if scope["path"] == "/large" else b"%d" % length
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A server in this process, whose patience is shorter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slow_clients, "LOOK", 0.05)
        for name, seconds in (("HEAD", 0.6), ("BODY", 1.2), ("UNREAD", 1.0), ("CLOSING", 0.6)):
            patch.setattr(one_write, name, seconds)
        with served_here(_echo, timeout_keep_alive=3) as found:
            yield found


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def dribbled(port: int, begin: bytes, drop: bytes, every: float = 0.05, within: float = 5) -> tuple[float, bytes]:
    """Send drop after drop until the other side closes: after how many seconds, and what it said."""
    async with connected(port) as (reader, writer):
        began = time.monotonic()
        writer.write(begin)
        answer = asyncio.create_task(reader.read())
        while not answer.done():
            assert time.monotonic() - began < within, "never cut off"
            writer.write(drop)
            with contextlib.suppress(OSError):
                await writer.drain()
            await asyncio.wait({answer}, timeout=every)
        said = b""
        with contextlib.suppress(OSError):
            said = answer.result()
        return time.monotonic() - began, said


def problem(said: bytes) -> tuple[int, str]:
    """Status and code of the last answer in it, which carries what every answer does."""
    head, _, body = said[said.rindex(b"HTTP/1.1 ") :].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    assert headers.items() >= {**SECURITY, "cache-control": "no-store", "connection": "close"}.items()
    assert (headers["content-type"], int(headers["content-length"])) == ("application/problem+json", len(body))
    found = json.loads(body)
    assert found["status"] == int(lines[0].split()[1])
    return found["status"], found["code"]


TOO_SLOW = {
    "a head, byte by byte": (HEAD + b"X-A: ", b"a", 0.6),
    "a head, line by line": (HEAD, b"X-A: b\r\n", 0.6),
    "nothing at all": (b"", b"", 0.6),
    "line ends before the request": (b"\r\n", b"\r\n", 0.6),
    "line ends after a request": (HEAD + b"Content-Length: 0\r\n\r\n", b"\r\n", 0.6),
    "half a request after a request": (HEAD + b"Content-Length: 0\r\n\r\nGE", b"", 0.6),
    "a body of a known length": (HEAD + b"Content-Length: 1000\r\n\r\n", b"a", 1.2),
    "a body of chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n", 1.2),
    "a body that never comes": (HEAD + b"Content-Length: 1000\r\n\r\n", b"", 1.2),
    "a body that is announced": (HEAD + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n", b"", 1.2),
    "trailers": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", b"X-A: b\r\n", 1.2),
}


@pytest.mark.parametrize("name", TOO_SLOW)
async def test_a_request_that_comes_too_slowly_is_cut_off(port: int, name: str) -> None:
    begin, drop, limit = TOO_SLOW[name]
    seconds, said = await dribbled(port, begin, drop)
    assert limit <= seconds < limit + 0.6
    assert problem(said) == (408, "request_too_slow")


async def test_who_is_in_time_is_not_cut_off(port: int) -> None:
    async with connected(port) as (reader, writer):
        # Each part within its time, all of them far beyond it.
        for _ in range(3):
            for piece in (HEAD, b"Content-Length: 4\r\n\r\n", b"ab", b"cd"):
                writer.write(piece)
                await asyncio.sleep(0.3)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(1) == b"4"
            # Between requests one may take one's time.
            await asyncio.sleep(1)


async def test_who_waits_for_a_slow_answer_is_not_cut_off(port: int) -> None:
    async with connected(port) as (reader, writer):
        writer.write(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_who_never_reads_is_cut_off_and_who_reads_slowly_is_not(port: int) -> None:
    async def got(first: float, pause: float) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
        writer.write(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        await asyncio.sleep(first)
        found = 0
        with contextlib.suppress(OSError):
            while piece := await reader.read(65_536):
                found += len(piece)
                # Some three seconds for the first third.
                await asyncio.sleep(pause if found < 20_000_000 else 0)
        writer.close()
        return found

    stuck, slow = await asyncio.gather(got(2.5, 0), got(0.2, 0.01))
    assert stuck < 64_000_000 < slow


LARGE: dict[str, tuple[bytes, int]] = {
    "one header": (HEAD + b"X-A: " + b"a" * LARGEST_HEAD, 431),
    "many headers": (HEAD + b"X-A: b\r\n" * (LARGEST_HEAD // 8), 431),
    "a path": (b"GET /" + b"a" * LARGEST_HEAD, 431),
    "a whole request": (HEAD + b"X-A: " + b"a" * LARGEST_HEAD + b"\r\n\r\n", 431),
    "no request": (b"\x16\x03\x01\x02\x00 this is TLS\r\n\r\n", 400),
    "two lengths": (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    "a length and chunks": (HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
}


@pytest.mark.parametrize("before", [b"", HEAD + b"Content-Length: 0\r\n\r\n"], ids=["first", "later"])
@pytest.mark.parametrize("piece", [500, 10_000_000])
@pytest.mark.parametrize("name", LARGE)
async def test_a_head_that_is_too_large_or_none_is_refused(port: int, name: str, piece: int, before: bytes) -> None:
    said, status = LARGE[name]
    async with connected(port) as (reader, writer):
        writer.write(before)
        await asyncio.sleep(0.05)
        for begin in range(0, len(said), piece):
            writer.write(said[begin : begin + piece])
            await asyncio.sleep(0)
        answer = b""
        with contextlib.suppress(OSError):
            while more := await reader.read(65_536):
                answer += more
        # Whoever goes on sending may hear of nothing but that it was closed.
        if answer.count(b"HTTP/1.1 ") > bool(before):
            assert problem(answer)[0] == status


async def test_a_head_as_large_as_may_be_counts(port: int) -> None:
    async with connected(port) as (reader, writer):
        for _ in range(2):
            head = HEAD + b"Content-Length: 100000\r\nX-A: "
            writer.write(head + b"a" * (LARGEST_HEAD - len(head) - 10) + b"\r\n\r\n" + b"b" * 100_000)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(6) == b"100000"


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
async def test_a_head_may_end_between_two_pieces(port: int, cut: int) -> None:
    async with connected(port) as (reader, writer):
        for _ in range(2):
            said = HEAD + b"Content-Length: 100000\r\n\r\n"
            writer.write(said[: len(said) - cut])
            await asyncio.sleep(0.05)
            writer.write(said[len(said) - cut :] + b"b" * 100_000)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(6) == b"100000"


async def test_a_body_without_end_is_cut_off_by_its_size(port: int) -> None:
    async with connected(port) as (reader, writer):
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        piece = b"100000\r\n" + b"a" * (1 << 20) + b"\r\n"
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 4 * LARGEST_REQUEST and not reader.at_eof():
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
        assert LARGEST_REQUEST / 2 < sent < 2 * LARGEST_REQUEST


# The service itself -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def service(cluster: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    origins = {"ANJUAN_CORS_ORIGINS": "https://desk.example", "ANJUAN_HSTS": "31536000"}
    with (
        fresh_database(cluster) as url,
        serving(tmp_path_factory.mktemp("slow"), url, 1, ANJUAN_RATE="40/second", **origins) as found,
    ):
        yield found


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/livez", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/v1/regions", 200),
        ("GET", "/nowhere", 404),
        ("DELETE", "/v1/cases", 405),
        ("POST", "/v1/cases", 422),
        ("OPTIONS", "/v1/cases", 200),
    ],
)
async def test_every_answer_tells_browsers_what_it_is_not(
    service: Service, method: str, path: str, status: int
) -> None:
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    async with Wire(service.port, service.token("manager")) as wire:
        answer = await wire.ask(
            method, path, None if method != "POST" else b"{", Origin="https://desk.example", **preflight
        )
    assert answer.status == status
    assert answer.headers.items() >= SECURITY.items()
    assert answer.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"
    assert answer.headers["access-control-allow-origin"] == "https://desk.example"
    assert "access-control-allow-credentials" not in answer.headers


async def test_other_origins_are_told_nothing(service: Service) -> None:
    async with Wire(service.port, service.token("manager")) as wire:
        asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        for method in ("GET", "OPTIONS"):
            answer = await wire.ask(method, "/v1/regions", **asked)
            assert "access-control-allow-origin" not in answer.headers


async def test_slow_ones_are_cut_off_and_the_others_go_on(service: Service) -> None:
    token = f"Authorization: Bearer {service.token('agent', REGION)}\r\n".encode()
    opens = b"POST /v1/cases HTTP/1.1\r\nHost: a\r\nIdempotency-Key: 1\r\nContent-Length: 1000\r\n" + token
    slow = [asyncio.create_task(dribbled(service.port, HEAD + token, b"X-A: b\r\n", 0.5, 20)) for _ in range(200)]
    body = asyncio.create_task(dribbled(service.port, opens + b"\r\n", b" ", 0.5, 40))
    longest = 0.0
    async with Wire(service.port, service.token("agent", REGION)) as wire:
        while not all(task.done() for task in slow):
            answer = await wire.ask("GET", "/v1/regions")
            assert answer.status == 200
            longest = max(longest, answer.seconds)
            await asyncio.sleep(0.1)
    assert longest < 1
    assert all(10 <= seconds < 14 for seconds, _ in (task.result() for task in slow))
    # A body has its route's time: then it is answered, and what is left of it cut off.
    seconds, said = await body
    assert said.startswith(b"HTTP/1.1 503 ")
    assert seconds < 34


async def test_over_the_rate_is_429_for_that_caller_alone(service: Service) -> None:
    began = time.monotonic()
    async with Wire(service.port, service.token("agent", subject="a")) as one:
        answers = [await one.ask("GET", "/v1/regions") for _ in range(100)]
    spent = time.monotonic() - began
    served = sum(answer.status == 200 for answer in answers)
    assert 40 <= served <= 40 + 40 * spent + 1
    over = [answer for answer in answers if answer.status == 429]
    assert len(over) == 100 - served
    assert {(answer.headers["retry-after"], answer.json["code"]) for answer in over} <= {("1", "rate_exceeded")}
    # Of the same subject, by whichever token; others have their own.
    async with (
        Wire(service.port, service.token("manager", subject="a")) as same,
        Wire(service.port, service.token("agent", subject="b")) as other,
    ):
        both = [[(await wire.ask("GET", "/v1/regions")).status for _ in range(35)] for wire in (same, other)]
    assert 429 in both[0] or spent > 2
    assert set(both[1]) == {200}
