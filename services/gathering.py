"""One look at the ledger for all who ask at once: what is new in their streams, and in the directory.

Whoever asks while a look is under way waits for the next one, which begins after the question: so each answer includes
every write acknowledged before it was asked for, by any process.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from services.directory import Directory
from services.event_log import EVERYWHERE, EventLog, Head, Record

Known = Mapping[UUID, int]
# Somebody's regions, and the stream that is to be seen in one of them.
Place = tuple[str, UUID]
Newer = tuple[Head, Mapping[UUID, Sequence[Record]], Collection[Place]]
Asked = tuple[Known, Place | None, asyncio.Future[Newer]]


# So many are remembered.
_SHOWN = 50_000


class Unseen(Exception):
    """Whoever asks may see nothing of that stream, or there is none."""


class Gathering:
    """Gathers questions; the directory is caught up on the way."""

    def __init__(self, log: EventLog, directory: Directory) -> None:
        self._log, self._directory = log, directory
        self._asked: list[Asked] = []
        self._looking: asyncio.Task[None] | None = None
        # What the database has shown once it shows for ever: no event moves to another region.
        self._shown: set[Place] = set()

    async def newer(
        self, known: Known, sought: UUID | None = None, regions: str = EVERYWHERE
    ) -> tuple[Head, list[Record]]:
        """The records of the streams above the versions known of them, by stream and version, and a head.

        Raises `Unseen` if the database shows the stream that is `sought` in none of the regions of whoever asks.
        """
        future: asyncio.Future[Newer] = asyncio.get_running_loop().create_future()
        place = (regions, sought) if sought and regions != EVERYWHERE else None
        if place in self._shown:
            place = None
        self._asked.append((known, place, future))
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        head, records, seen = await future
        if place and place not in seen:
            raise Unseen
        return head, [one for stream in known for one in records.get(stream, ()) if one.version > known[stream]]

    async def _look(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, []
                await self._answer(asked)
        finally:
            self._looking = None

    async def _answer(self, asked: Sequence[Asked]) -> None:
        least: dict[UUID, int] = {}
        sought: dict[str, set[UUID]] = {}
        for known, place, _ in asked:
            if place:
                sought.setdefault(place[0], set()).add(place[1])
            for stream, version in known.items():
                least[stream] = min(version, least.get(stream, version))
        try:
            head, records, changes, seen = await self._log.read.news(least, self._directory.position, sought)
        except Exception as failure:
            for *_, future in asked:
                if not future.done():
                    future.set_exception(failure)
            return
        if len(self._shown) > _SHOWN:
            self._shown.clear()
        self._shown.update(seen)
        for change in changes:
            self._directory.take(change)
        found: dict[UUID, list[Record]] = {}
        for record in records:
            found.setdefault(record.stream, []).append(record)
        for *_, future in asked:
            if not future.done():
                future.set_result((head, found, seen))
