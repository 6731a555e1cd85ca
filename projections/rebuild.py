"""Building the other generation from the ledger's first record, while everybody goes on; then it is the one read.

First stream by stream up to where the ledger stood, so that each case is folded and rendered once; then, as the
follower does, what was appended meanwhile. Rows and how far they go are one transaction: a rebuild that is killed goes
on exactly where it was.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from time import monotonic

import psycopg

from projections import building, checkpoint
from projections.building import Build, Cancelled
from projections.checkpoint import View
from projections.decoding import Parked
from projections.folding import Folder, Moved
from projections.follower import ALONE, REFUSED, step
from projections.pages import Page, pages
from projections.rows import FoundRows
from projections.writing import Writer
from services.event_log import Connection, EventLog, connect

PAGE = 10_000
_KEPT = 10_000
# With fewer records than these to go, the swap is tried.
_NEAR = 500
# Seconds for which those that still look at the old generation are waited for.
_PATIENCE = 10.0
# A page is a walk down an index, however large the ledger and whatever the planner thinks of it.
_READING = "-c statement_timeout=60000 -c enable_seqscan=off -c enable_sort=off"


class Rebuild:
    """One rebuild. `folders` makes a folder that keeps so many cases; `reached` is told of records done, of all."""

    def __init__(
        self,
        url: str,
        log: EventLog,
        folders: Callable[[int], Folder],
        reached: Callable[[int, int], None] = lambda done, total: None,
        page: int = PAGE,
    ) -> None:
        self._url, self._log, self._folders, self._reached, self._page = url, log, folders, reached, page

    async def run(self, restart: bool = False) -> View:
        """Go on with what was left, or begin; the view that is read now. Raises `RebuildRuns`, `Cancelled`."""
        async with building.alone(self._url) as connection:
            if (await building.other(connection)).state == "empty":
                await _empty_the_other(connection)
            build = await building.begin(connection, restart)
            writer = Writer(connection, build.generation)
            view = View(build.generation, build.position)
            if not build.position:
                view = await self._walk(connection, writer, build)
            view = await self._catch_up(connection, writer, view)
            await _empty_the_other(connection)
            return view

    async def _walk(self, connection: Connection, writer: Writer, build: Build) -> View:
        """Every stream up to where the ledger stood when the rebuild began."""
        build = await self._streams(connection, writer, build)
        async with connection.transaction():
            await writer.count_all()
            await writer.analyze()
            view = await building.walked(connection, build)
        return view

    async def _streams(self, connection: Connection, writer: Writer, build: Build) -> Build:
        """A page is written while the next one is folded."""
        folder = self._folders(0)
        await folder.learn()
        writing: asyncio.Task[Build] | None = None
        async with (
            await connect(self._url, _READING) as reading,
            contextlib.aclosing(pages(reading, build.stream, build.until, self._page)) as found,
        ):
            try:
                async for page in found:
                    moved = await folder.build(page.records, build.until)
                    build = await writing if writing else build
                    self._reached(build.done, build.until)
                    writing = asyncio.create_task(_put(connection, writer, build, page, moved))
                return await writing if writing else build
            finally:
                if writing:
                    writing.cancel()
                    await asyncio.gather(writing, return_exceptions=True)

    async def _catch_up(self, connection: Connection, writer: Writer, view: View) -> View:
        """What was appended since; then swap, as soon as it is not behind."""
        folder = self._folders(_KEPT)
        await folder.learn()
        while True:
            records = await self._log.read.after(view.position, ALONE)
            if records:
                parked = await checkpoint.waiting(connection, view.generation)
                moved = await folder.take(records, parked)
                view = await step(connection, writer, view, records[-1].position, moved, alive=False)
                self._reached(view.position, view.position + len(records))
            if (await building.other(connection)).state != "building":
                raise Cancelled
            if len(records) < _NEAR and await building.swap(connection, view):
                return view


async def _put(connection: Connection, writer: Writer, build: Build, page: Page, moved: Moved) -> Build:
    """Write a page's rows, and that it was met."""
    for add in (_together, _apart):
        try:
            async with connection.transaction():
                after = await building.move(connection, build, page.stream, len(page.records))
                await checkpoint.park(connection, build.generation, moved.parked)
                await add(connection, writer, build, moved.rows)
                await writer.note(moved.notices)
            return after
        except REFUSED:
            if add is _apart:
                raise
    raise AssertionError


async def _together(_: Connection, writer: Writer, __: Build, rows: Sequence[FoundRows]) -> None:
    await writer.add(rows)


async def _apart(connection: Connection, writer: Writer, build: Build, rows: Sequence[FoundRows]) -> None:
    """Case by case; one whose rows the database refuses is parked."""
    for one in rows:
        try:
            async with connection.transaction():
                await writer.add([one])
        except REFUSED as fault:
            refused = Parked(one[0].case_id, one[0].region, build.until, type(fault).__name__)
            await checkpoint.park(connection, build.generation, [refused])


async def _empty_the_other(connection: Connection) -> None:
    """Free what the generation that was left takes, once nobody can still be looking at it."""
    left = await building.other(connection)
    since, deadline = await building.now(connection), monotonic() + _PATIENCE
    while await building.is_seen(connection, since):
        if monotonic() > deadline:
            # The next rebuild begins with it.
            return
        await asyncio.sleep(0.05)
    with contextlib.suppress(psycopg.OperationalError):
        await building.empty(connection, left.generation)
