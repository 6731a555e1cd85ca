"""Following the ledger: batch by batch, rows and checkpoint in one transaction, by one process at a time.

Whoever holds the session's advisory lock leads. A leader that freezes loses its session after some seconds, and with
it the lock; should it wake up, the checkpoint has moved and its batch is void.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import psycopg
import structlog

from projections import checkpoint
from projections.checkpoint import Fenced, View
from projections.decoding import NewerRelease, Parked, told
from projections.folding import Folder, Moved
from projections.writing import SESSION, Writer
from services.event_log import TRANSIENT, Connection, EventLog, Role, Unavailable, connect

_T = TypeVar("_T")
# Any number that nothing else locks.
LOCK = 0x616E6A76
# Below the ten seconds in which another process has to take over; beats come more often than twice in it.
_LIMITS = "-c idle_session_timeout=5000 -c statement_timeout=60000 -c lock_timeout=10000"
_BEAT = 1.0
_AGAIN = 1.0
# Seconds between batches. Under load actions are gathered for longer: a large batch costs half as much an action.
_PACE, _PACE_UNDER_LOAD, _LOAD = 0.02, 0.25, 20
_LEAD = "UPDATE projections SET leader = %b, leading_at = now() WHERE name = 'cases'"

# What the database refuses because of the rows, not of the moment.
REFUSED = (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError)

# So many actions at once beside an API in the same process, and in one of its own.
IN_COMPANY = 2_000
ALONE = 20_000


class Batch(NamedTuple):
    """So many folded records up to a position; `without` the cases that are parked. `is_full`: more may be there."""

    moved: Moved
    position: int
    size: int
    is_full: bool
    without: frozenset[UUID]


class Follower:
    """Moves the live generation. `moved` is told of each step of this process."""

    def __init__(
        self,
        url: str,
        log: EventLog,
        folder: Folder,
        moved: Callable[[View], None] = lambda _: None,
        most: int = IN_COMPANY,
    ) -> None:
        self._url, self._log, self._folder, self._moved, self._most = url, log, folder, moved, most
        self.leads = False
        # Of a newer release's event that was met, what it is.
        self.outdated: str | None = None

    async def run(self) -> None:
        """Lead whenever nobody else does; for ever. Whatever goes wrong is tried again."""
        while True:
            try:
                async with leading(self._url) as connection:
                    if connection:
                        await self._lead(connection)
            except (*TRANSIENT, Unavailable, Fenced, TimeoutError) as fault:
                structlog.get_logger().info("follower", stepped_down=type(fault).__name__)
            except NewerRelease as fault:
                self.outdated = str(fault)
                structlog.get_logger().error("follower", stepped_down="newer release", event=self.outdated)
            except Exception as fault:
                structlog.get_logger().error("follower", fault=told(fault))
            finally:
                self.leads = False
            await asyncio.sleep(_AGAIN)

    async def _lead(self, connection: Connection) -> None:
        self.leads = True
        self._folder.forget()
        await self._folder.learn()
        await connection.execute(_LEAD, [f"{socket.gethostname()}:{os.getpid()}"])
        view = await checkpoint.live(connection)
        writer = await _writer(connection, view)
        ahead: Batch | None = None
        while True:
            growing = self._log.read.growing
            now = await checkpoint.live(connection)
            parked = await checkpoint.waiting(connection, now.generation)
            again = [case_id for case_id, state in parked.items() if state == "retry"]
            if now.generation != view.generation or (ahead and (again or ahead.without != parked.keys())):
                # What is folded here is as old as the generation that was left, or lacks a case that was freed.
                self._folder.forget()
                ahead = None
                writer = await _writer(connection, now)
            view = now
            if again:
                moved = await _beating(connection, self._folder.whole(again, view.position))
                self._moved(await step(connection, writer, view, view.position, moved, again))
                continue
            batch = ahead or await _beating(connection, self._folded(view.position, parked.keys()))
            ahead = await self._written(connection, writer, view, batch) if batch else None
            if not ahead:
                # A batch gathers what arrives meanwhile; an action that comes alone has not waited for it.
                await asyncio.sleep(_pace(batch))
                # Not `wait_for`: if it is cancelled just as the ledger grows, it forgets that it was.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_BEAT / 2):
                        await growing.wait()

    async def _folded(self, after: int, without: Collection[UUID]) -> Batch | None:
        """What comes after a position, folded; None: nothing yet."""
        records = await self._log.read.after(after, self._most)
        if not records:
            return None
        moved = await self._folder.take(records, without)
        return Batch(moved, records[-1].position, len(records), len(records) == self._most, frozenset(without))

    async def _written(self, connection: Connection, writer: Writer, view: View, batch: Batch) -> Batch | None:
        """Write a batch; meanwhile the next one is folded, if there is one."""
        if not batch.is_full:
            self._moved(await step(connection, writer, view, batch.position, batch.moved))
            return None
        without = batch.without | {one.case_id for one in batch.moved.parked}
        folding = asyncio.create_task(self._folded(batch.position, without))
        try:
            self._moved(await step(connection, writer, view, batch.position, batch.moved))
            return await _beating(connection, folding)
        finally:
            folding.cancel()
            await asyncio.gather(folding, return_exceptions=True)


async def _writer(connection: Connection, view: View) -> Writer:
    """Who writes on; after a release that keeps other sums has written, they are first made anew."""
    writer = Writer(connection, view.generation)
    if not await checkpoint.is_summed(connection):
        async with connection.transaction():
            await checkpoint.summed(connection, view)
            await writer.count_all()
        structlog.get_logger().info("follower", summed=view.position)
    return writer


def _pace(batch: Batch | None) -> float:
    if batch is None:
        return 0.0
    return _PACE if batch.size < _LOAD else _PACE_UNDER_LOAD


async def _beating(connection: Connection, work: Coroutine[Any, Any, _T] | asyncio.Task[_T]) -> _T:
    """What comes of the work. A session that is idle for too long is taken for frozen, and folding may take long."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=_BEAT))[0]:
            await connection.execute("SELECT")
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def step(
    connection: Connection,
    writer: Writer,
    view: View,
    position: int,
    moved: Moved,
    freed: Iterable[UUID] = (),
    alive: bool = True,
) -> View:
    """Take a generation to a position, with what moved on the way, in one transaction; raises `Fenced`.

    `alive`: it is the one that is read, and every process is told; else one that is built.
    """
    after = View(view.generation, position, view.freed + bool(freed))
    for write in (together, apart):
        try:
            async with connection.transaction():
                await checkpoint.move(connection, view, position, alive)
                await write(connection, writer, after, moved, freed)
                if alive:
                    await checkpoint.announce(connection, after)
            break
        except REFUSED:
            # One case's rows are refused: it is to be found, and the others to be written.
            writer.forget()
            if write is apart:
                raise
    return after


async def together(
    connection: Connection, writer: Writer, view: View, moved: Moved, freed: Iterable[UUID] = ()
) -> None:
    """Write what a batch changed, in this transaction."""
    await _set_aside(connection, view, moved.parked, freed)
    await writer.forget_texts(moved.forgotten)
    await writer.replace(moved.rows)
    await writer.note(moved.notices)


async def apart(connection: Connection, writer: Writer, view: View, moved: Moved, freed: Iterable[UUID] = ()) -> None:
    """The same case by case; one whose rows the database refuses is parked."""
    await _set_aside(connection, view, moved.parked, freed)
    await writer.forget_texts(moved.forgotten)
    for one in moved.rows:
        try:
            async with connection.transaction():
                await writer.replace([one])
        except REFUSED as fault:
            writer.forget()
            refused = Parked(one[0].case_id, one[0].region, view.position, type(fault).__name__)
            await _set_aside(connection, view, [refused])
    await writer.note(moved.notices)


async def _set_aside(connection: Connection, view: View, parked: Sequence[Parked], freed: Iterable[UUID] = ()) -> None:
    await checkpoint.free(connection, view.generation, list(freed))
    await checkpoint.park(connection, view.generation, parked)
    if parked:
        structlog.get_logger().error("parked", cases=[str(one.case_id) for one in parked])


@asynccontextmanager
async def leading(url: str) -> AsyncIterator[Connection | None]:
    """The session that leads, or None while another process does."""
    connection = await connect(url, f"{_LIMITS} {SESSION}", role=Role.FOLLOWER)
    try:
        row = await (await connection.execute("SELECT pg_try_advisory_lock(%b)", [LOCK])).fetchone()
        yield connection if row and row[0] else None
    finally:
        await connection.close()
