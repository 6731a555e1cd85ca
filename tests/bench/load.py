"""A small keep-alive HTTP/1.1 load client: it must cost little beside the server that it measures."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast


class Load(NamedTuple):
    """One run: answers a second, seconds of each answer sorted, and how many were neither 2xx nor 304."""

    per_second: float
    seconds: list[float]
    refused: int


class _Caller(asyncio.Protocol):
    """One connection that sends its next request when the last is answered."""

    def __init__(self, make: Callable[[], bytes], until: float, done: "asyncio.Future[None]") -> None:
        self._make, self._until, self._done = make, until, done
        self._missing = -1
        self._buffer = b""
        self.seconds: list[float] = []
        self.refused = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._next()

    def _next(self) -> None:
        if time.perf_counter() >= self._until:
            self._transport.close()
            if not self._done.done():
                self._done.set_result(None)
            return
        self._began = time.perf_counter()
        self._transport.write(self._make())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        at = self._buffer.find(b"content-length: ", 0, end)
        # A 304 has no body, and says nothing of its length.
        length = int(self._buffer[at + 16 : self._buffer.find(b"\r", at)]) if at >= 0 else 0
        if len(self._buffer) < end + 4 + length:
            return
        self.seconds.append(time.perf_counter() - self._began)
        if not self._buffer.startswith((b"HTTP/1.1 2", b"HTTP/1.1 304")):
            self.refused += 1
        self._buffer = b""
        self._next()

    def connection_lost(self, fault: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(fault or ConnectionError("closed early"))


def request(port: int, path: str, body: bytes, *headers: str) -> bytes:
    """One POST as bytes."""
    lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def got(port: int, path: str, *headers: str) -> bytes:
    """One GET as bytes."""
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *headers, "", ""]).encode()


async def run(port: int, callers: list[Callable[[], bytes]], seconds: float) -> Load:
    """Drive the server with one connection per caller for so many seconds."""
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    made = []
    for make in callers:
        done: asyncio.Future[None] = loop.create_future()
        _, protocol = await loop.create_connection(
            lambda make=make, done=done: _Caller(make, began + seconds, done),  # type: ignore[misc]
            "127.0.0.1",
            port,
        )
        made.append((protocol, done))
    await asyncio.gather(*(done for _, done in made))
    took = time.perf_counter() - began
    times = sorted(t for protocol, _ in made for t in protocol.seconds)
    return Load(len(times) / took, times, sum(protocol.refused for protocol, _ in made))


def cpu_seconds(pid: int) -> float:
    """CPU that a process and its threads have used (schedstat repeats better than wall time on a busy machine)."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def with_children(pid: int) -> float:
    """CPU that a process and those that it has started have used."""
    children = [
        child for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return cpu_seconds(pid) + sum(with_children(int(child)) for child in children)
