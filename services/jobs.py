"""Work that takes longer than an answer may. Any process can tell how far it has come; who asked gets the result."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from services.event_log import EventLog
from services.identifiers import uuid7

# A job whose process was not seen at work for so long has died with it.
_FORSAKEN = timedelta(seconds=30)
_KEPT = timedelta(days=7)
# A file may hold what is erased meanwhile.
_FILE_KEPT = timedelta(days=1)
# Seconds between two signs of life.
_TOLD = 1.0

_BEGIN = """
INSERT INTO jobs (job_id, subject, kind, state, progress, started_at, seen_at, content_type, file_name, plain_name)
VALUES (%b, %b, %b, 'running', 0, %b, %b, %b, %b, %b)
"""
_AT_WORK = "UPDATE jobs SET progress = %b, seen_at = %b WHERE job_id = %b AND state = 'running'"
_END = "UPDATE jobs SET state = %b, progress = 100, result = %b, seen_at = %b WHERE job_id = %b"
_LOOK = """
SELECT state, progress, result, seen_at, content_type, file_name, plain_name FROM jobs
WHERE job_id = %b AND subject = %b
"""
_FORGET = "DELETE FROM jobs WHERE started_at < %b OR (file_name IS NOT NULL AND started_at < %b)"


class File(NamedTuple):
    """That a result is a file: its type and its names, the second one in plain letters. It is kept sealed."""

    content_type: str
    name: str
    plain_name: str


class Job(NamedTuple):
    """`state`: `running`, `done`, `failed`; `progress` in percent; `file` None: the result is a JSON document."""

    job_id: UUID
    state: str
    progress: int
    result: bytes | None
    file: File | None = None


class Progress:
    """What a job says of how far it has come: whole percents."""

    def __init__(self) -> None:
        self.percent = 0

    def reached(self, done: int, total: int) -> None:
        self.percent = min(99, done * 100 // max(total, 1))


Work = Callable[[Progress], Awaitable[bytes]]


class Jobs:
    """The jobs that this process works on, and a look at those of all."""

    def __init__(self, log: EventLog, clock: Callable[[], datetime]) -> None:
        self._log, self._clock = log, clock
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, kind: str, subject: str, work: Work, file: File | None = None) -> UUID:
        """Begin, in the background of this process."""
        job_id, now = uuid7(), self._clock()
        await self.forget()
        await self._log.read.do(_BEGIN, [job_id, subject, kind, now, now, *(file or (None, None, None))])
        task = asyncio.create_task(self._run(job_id, work), name=f"job {kind}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job_id

    async def forget(self) -> None:
        """Drop what was kept long enough."""
        now = self._clock()
        await self._log.read.do(_FORGET, [now - _KEPT, now - _FILE_KEPT])

    async def look(self, job_id: UUID, subject: str) -> Job | None:
        """The job, if it is the caller's."""
        rows = await self._log.read.rows(_LOOK, [job_id, subject])
        if not rows:
            return None
        state, progress, result, seen_at, *file = rows[0]
        if state == "running" and self._clock() - seen_at > _FORSAKEN:
            state = "failed"
        return Job(job_id, state, progress, result, File(*file) if file[0] else None)

    async def settled(self, job_id: UUID, subject: str, seconds: float) -> Job | None:
        """The job once it is over, or as it is after so many seconds."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            job = await self.look(job_id, subject)
            if job is None or job.state != "running" or asyncio.get_running_loop().time() > deadline:
                return job
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """End what is running: it is told as failed, and may be asked for again."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, job_id: UUID, work: Work) -> None:
        progress = Progress()
        telling = asyncio.create_task(self._tell(job_id, progress))
        state, result = "failed", None
        try:
            result = await work(progress)
            state = "done"
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
            await self._log.read.do(_END, [state, result, self._clock(), job_id])

    async def _tell(self, job_id: UUID, progress: Progress) -> None:
        while True:
            await asyncio.sleep(_TOLD)
            await self._log.read.do(_AT_WORK, [progress.percent, self._clock(), job_id])
