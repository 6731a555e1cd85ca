"""Answers that are longer than one body: sent as they are made, for as long as they make progress."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

from starlette.types import Send

from intake_api.http import Call, Reply

# Seconds in which the next piece has to be made, or taken by the client.
_STALLED = 30.0

Finish = Callable[[], Awaitable[None]]


class Streamed(Reply):
    """A body in pieces; an empty one says that it is still under way.

    A client that leaves ends it quietly. A failure breaks the connection, so that nobody takes for whole what is not.
    `finish` gives back what the pieces are made of, whatever became of them.
    """

    __slots__ = ("_call", "_finish", "_pieces")

    def __init__(
        self,
        call: Call,
        pieces: AsyncGenerator[bytes, None],
        finish: Finish,
        headers: Iterable[tuple[bytes, bytes]],
        content_type: bytes,
    ) -> None:
        super().__init__(200, b"", headers, content_type)
        self._call, self._pieces, self._finish = call, pieces, finish

    async def send(self, send: Send, epoch: int) -> None:
        """Answer, piece by piece; between two of them other requests have their turn."""
        sending = asyncio.ensure_future(self._send(send, epoch))
        leaving = asyncio.ensure_future(self._left())
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            sending.cancel()
            done = await asyncio.gather(sending, leaving, return_exceptions=True)
            await self._pieces.aclose()
            await self._finish()
        fault = done[0]
        if isinstance(fault, Exception):
            self._call.services.report(fault)

    async def _send(self, send: Send, epoch: int) -> None:
        headers = [
            (b"content-type", self.content_type),
            (b"x-content-type-options", b"nosniff"),
            (b"ledger-epoch", b"%d" % epoch),
            *self.headers,
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        while True:
            async with asyncio.timeout(_STALLED):
                piece = await anext(self._pieces, None)
            if piece != b"":
                async with asyncio.timeout(_STALLED):
                    await send({"type": "http.response.body", "body": piece or b"", "more_body": piece is not None})
            if piece is None:
                return
            await asyncio.sleep(0)

    async def _left(self) -> None:
        """Until the client has gone."""
        while (await self._call.receive())["type"] != "http.disconnect":
            pass
