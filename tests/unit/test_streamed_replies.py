"""An answer sent piece by piece: whole, broken off, or left by its reader."""

import asyncio
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

import pytest

from intake_api.http import Call, StreamedReply

pytestmark = pytest.mark.anyio


class Reader:
    """Who reads: takes a piece only when there is room, and may leave."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.faults: list[Exception] = []
        self.room, self.gone = asyncio.Event(), asyncio.Event()
        self.room.set()
        self._asked = False

    async def receive(self) -> dict[str, object]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        await self.room.wait()
        self.messages.append(message)

    async def reads(self, pieces: AsyncGenerator[bytes, None]) -> None:
        services = SimpleNamespace(report=self.faults.append)
        app = SimpleNamespace(services=services)
        call = Call({"type": "http", "app": app, "path": "/", "headers": [], "method": "GET"}, self.receive)
        await StreamedReply(call, pieces, content_type=b"text/csv").send(self.send, 1)

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.messages[1:])

    @property
    def whole(self) -> bool:
        return not self.messages[-1].get("more_body")


async def test_each_piece_is_sent_and_the_end_is_told() -> None:
    async def pieces() -> AsyncGenerator[bytes, None]:
        yield b"a"
        yield b"b"

    reader = Reader()
    await reader.reads(pieces())
    assert (reader.body, reader.whole, reader.faults) == (b"ab", True, [])
    assert (b"content-type", b"text/csv") in reader.messages[0]["headers"]
    assert b"content-length" not in dict(reader.messages[0]["headers"])


async def test_a_fault_breaks_it_off_so_that_no_part_is_taken_for_the_whole() -> None:
    async def pieces() -> AsyncGenerator[bytes, None]:
        yield b"a"
        raise ValueError("a secret")

    reader = Reader()
    await reader.reads(pieces())
    assert (reader.body, reader.whole) == (b"a", False)
    assert [type(fault) for fault in reader.faults] == [ValueError]


async def test_who_leaves_ends_it_quietly_and_what_it_held_is_given_back() -> None:
    given_back = asyncio.Event()

    async def pieces() -> AsyncGenerator[bytes, None]:
        try:
            yield b"a"
            await asyncio.Event().wait()
        finally:
            given_back.set()

    reader = Reader()
    reading = asyncio.create_task(reader.reads(pieces()))
    await asyncio.sleep(0.01)
    assert not reading.done()
    reader.gone.set()
    await asyncio.wait_for(reading, 1)
    assert given_back.is_set()
    assert (reader.body, reader.whole, reader.faults) == (b"a", False, [])


async def test_nothing_is_made_for_a_reader_that_does_not_read() -> None:
    made: list[int] = []

    async def pieces() -> AsyncGenerator[bytes, None]:
        for number in range(1000):
            made.append(number)
            yield b"%d" % number

    reader = Reader()
    reading = asyncio.create_task(reader.reads(pieces()))
    reader.room.clear()
    await asyncio.sleep(0.01)
    assert len(made) <= 1
    reader.room.set()
    await asyncio.wait_for(reading, 1)
    assert len(made) == 1000
