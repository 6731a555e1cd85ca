"""One instant of the views, read in many pages: what is larger than an answer is still of one piece.

Each has a connection of its own, and lasts only as long as the reading: whoever takes the pages slowly takes them from
where they were put down, so that no statement, transaction or connection waits for a client.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import psycopg

from projections import checkpoint, tables
from projections.checkpoint import View
from projections.views import Rows, Statement, compiled
from services.directory import Directory
from services.event_log import TRANSIENT, Connection, Record, Role, Unavailable, connect
from services.event_log.connections import within
from services.event_log.seeing import seen
from services.event_log.statements import DIRECTORY_AFTER

_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# Seconds for one page; the server ends a statement after three.
_PATIENCE = 3.5
_T = TypeVar("_T")


class Snapshot:
    """The live generation as it stood when it was opened."""

    def __init__(self, connection: Connection, view: View) -> None:
        self._connection, self.view = connection, view

    async def rows(self, ask: Callable[[tables.View], Sequence[Statement]]) -> list[Rows]:
        """The rows of each statement that `ask` makes for the generation's tables; raises `Unavailable`."""
        return [await self._rows(*compiled(one)) for one in ask(tables.VIEWS[self.view.generation])]

    async def _rows(self, text: str, values: Any) -> Rows:
        async def ask() -> Rows:
            return await (await self._connection.execute(text, values, binary=True)).fetchall()

        return await _answered(ask(), self._connection)


class Snapshots:
    """Opens them, a few at a time: each is more work for the database than a page of a list."""

    def __init__(self, url: str, directory: Directory, at_once: int = 2) -> None:
        self._url, self._directory = url, directory
        self._permits = asyncio.Semaphore(at_once)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Snapshot]:
        """Waits for its turn; the directory catches up on the way."""
        async with self._permits:
            try:
                connection = await connect(self._url, role=Role.READER)
            except TRANSIENT as failure:
                raise Unavailable("the database does not answer") from failure
            try:
                yield Snapshot(connection, await _answered(self._begin(connection), connection))
            finally:
                with contextlib.suppress(*TRANSIENT, psycopg.Error):
                    await connection.close()

    async def _begin(self, connection: Connection) -> View:
        await connection.execute(_BEGIN)
        live = await connection.execute(checkpoint.LIVE_TO, [seen()], binary=True)
        view = checkpoint.readable((await live.fetchall())[0])
        changes = await connection.execute(DIRECTORY_AFTER, [self._directory.position], binary=True)
        for row in await changes.fetchall():
            self._directory.take(Record(*row))
        return view


async def _answered(work: Coroutine[Any, Any, _T], connection: Connection) -> _T:
    """What the database answers in time; a failure to is told as such, whatever its cause."""
    try:
        return await within(_PATIENCE, work, connection)
    except TRANSIENT as failure:
        raise Unavailable("the database does not answer") from failure
