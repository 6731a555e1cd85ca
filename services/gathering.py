"""One look at the ledger for all who ask at once: what is new in their streams, and in the directory.

Whoever asks while a look is under way waits for the next one, which begins after the question: so each answer includes
every write acknowledged before it was asked for, by any process.
"""

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

from services.directory import Directory
from services.event_log import EventLog, Head, Record

Known = Mapping[UUID, int]
Newer = tuple[Head, Mapping[UUID, Sequence[Record]]]


class Gathering:
    """Gathers questions; the directory is caught up on the way."""

    def __init__(self, log: EventLog, directory: Directory) -> None:
        self._log, self._directory = log, directory
        self._asked: list[tuple[Known, asyncio.Future[Newer]]] = []
        self._looking: asyncio.Task[None] | None = None

    async def newer(self, known: Known) -> tuple[Head, list[Record]]:
        """The records of the streams above the versions known of them, by stream and version, and a head."""
        future: asyncio.Future[Newer] = asyncio.get_running_loop().create_future()
        self._asked.append((known, future))
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        head, records = await future
        return head, [one for stream in known for one in records.get(stream, ()) if one.version > known[stream]]

    async def _look(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, []
                await self._answer(asked)
        finally:
            self._looking = None

    async def _answer(self, asked: Sequence[tuple[Known, asyncio.Future[Newer]]]) -> None:
        least: dict[UUID, int] = {}
        for known, _ in asked:
            for stream, version in known.items():
                least[stream] = min(version, least.get(stream, version))
        try:
            head, records, changes = await self._log.read.news(least, self._directory.position)
        except Exception as failure:
            for _, future in asked:
                if not future.done():
                    future.set_exception(failure)
            return
        for change in changes:
            self._directory.take(change)
        found: dict[UUID, list[Record]] = {}
        for record in records:
            found.setdefault(record.stream, []).append(record)
        for _, future in asked:
            if not future.done():
                future.set_result((head, found))
