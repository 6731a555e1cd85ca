"""What a process that answers knows of the views: which generation is read, and how far it has come."""

import asyncio
import contextlib
from time import monotonic

import psycopg

from projections import checkpoint
from projections.checkpoint import CHANNEL, View
from services.event_log import TRANSIENT, Role, connect

_POLL = 0.5
# Seconds without a word after which what is known may be old.
_DEAF = 2.0
_NOTHING = View(1, 0)


class Watch:
    """Hears of each step by NOTIFY, or in process, and looks anyway twice a second."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.view = _NOTHING
        self._heard = 0.0
        self._stepped = asyncio.Event()

    def moved(self, view: View) -> None:
        """The views have come to `view`. What is older than what is known changes nothing, but for a swap."""
        self._heard = monotonic()
        if view.generation != self.view.generation or view[1:] > self.view[1:]:
            self.view = view
            self.wake()

    def wake(self) -> None:
        """Let everybody who waits for a step look again."""
        self._stepped.set()
        self._stepped = asyncio.Event()

    @property
    def hears(self) -> bool:
        """Whether it was told lately how far the views have come; else it has to be asked."""
        return monotonic() - self._heard < _DEAF

    @property
    def stepping(self) -> asyncio.Event:
        """Set at the next step."""
        return self._stepped

    async def reached(self, position: int, seconds: float) -> bool:
        """Wait until the views reflect a position; False: not in that time."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self.view.position < position:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self.stepping.wait()
        return True

    async def run(self) -> None:
        """For ever; whatever happens to the connection, it is made again."""
        while True:
            with contextlib.suppress(*TRANSIENT, psycopg.Error, AssertionError):
                async with await connect(self._url, role=Role.READER) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    while True:
                        self.moved(await checkpoint.live(connection))
                        async with contextlib.aclosing(connection.notifies(timeout=_POLL)) as notes:
                            async for note in notes:
                                self.moved(View(*map(int, note.payload.split())))
            await asyncio.sleep(_POLL)
