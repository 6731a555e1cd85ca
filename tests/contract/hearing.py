"""Listening to a stream without a socket: pieces as they are told, to a listener who may leave or be slow."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from tests.contract.house import Caller, House


class Event(NamedTuple):
    """One event; `id` None: it had none."""

    kind: str
    data: dict[str, Any]
    id: int | None


class Listener:
    """The events of one stream."""

    def __init__(self, house: House, caller: Caller, last_event_id: int | str | None) -> None:
        headers = [(b"authorization", f"Bearer {caller.token}".encode())]
        if last_event_id is not None:
            headers.append((b"last-event-id", str(last_event_id).encode()))
        scope = {"type": "http", "method": "GET", "path": "/v1/stream", "query_string": b"", "headers": headers}
        self.status = 0
        self.headers: dict[str, str] = {}
        self.comments: list[str] = []
        # The last id heard, in whatever piece: what a client would resume by.
        self.last_id: int | None = None
        self.room = asyncio.Event()
        self.room.set()
        self.taken = 0
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._asked = False
        self._gone, self._begun = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(house.app(scope, self._receive, self._send))

    async def begun(self) -> None:
        """Until the answer has begun."""
        await asyncio.wait_for(self._begun.wait(), 5)

    async def next(self, within: float = 5) -> Event:
        """The next event."""
        return await asyncio.wait_for(self._events.get(), within)

    async def cases_until(self, position: int) -> list[str]:
        """The ids of all cases told, in order, until everything up to a position is."""
        found: list[str] = []
        while (self.last_id or 0) < position or not self._events.empty():
            event = await self.next()
            found += event.data.get("cases", [])
        return found

    async def is_silent(self, seconds: float = 0.3) -> bool:
        """Whether nothing is told for a while."""
        try:
            await self.next(seconds)
        except TimeoutError:
            return True
        return False

    async def ended(self, within: float = 2) -> None:
        """Until the answer is at its end."""
        await asyncio.wait_for(asyncio.shield(self.task), within)

    async def leave(self) -> None:
        self._gone.set()
        await self.ended()

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self.room.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            self._begun.set()
            return
        self.taken += len(message["body"])
        for block in message["body"].decode().split("\n\n"):
            self._hear(block)

    def _hear(self, block: str) -> None:
        fields = {line.partition(":")[0] or ":": line.partition(": ")[2] for line in block.split("\n") if line}
        if ":" in fields:
            self.comments.append(block)
        if "id" in fields:
            self.last_id = int(fields["id"])
        if "data" in fields:
            event_id = int(fields["id"]) if "id" in fields else None
            self._events.put_nowait(Event(fields["event"], json.loads(fields["data"]), event_id))


@asynccontextmanager
async def listening(house: House, caller: Caller, last_event_id: int | str | None = None) -> AsyncIterator[Listener]:
    """A stream that has begun; left afterwards."""
    listener = Listener(house, caller, last_event_id)
    try:
        await listener.begun()
        house.judge.seen.add(("GET", "/v1/stream", listener.status))
        yield listener
    finally:
        await listener.leave()
