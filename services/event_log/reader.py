"""Reading the ledger: one stream, everything after a position, and waiting for more."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import psycopg

from services.event_log import statements as sql
from services.event_log.connections import TRANSIENT, Connection, connect, cut, within
from services.event_log.plan import Head
from services.event_log.privileges import EVERYWHERE, Role
from services.event_log.proposal import StoredAnswer, Unavailable, WrappedKey
from services.event_log.record import Record

_T = TypeVar("_T")
# Seconds for one look into the database; a caller has five, for two looks.
_PATIENCE = 2.0
_PAGE = 1000
_POLL = 0.5
_OF_THE_HEAD = len(Head._fields)
_Cursor = psycopg.AsyncCursor[tuple[Any, ...]]

# Of regions, as `seeing` has them, the streams that somebody of these regions asks for.
Sought = Mapping[str, Collection[UUID]]


class News(NamedTuple):
    """Records of streams, changes of the directory, and which streams the database shows to which regions."""

    head: Head
    records: Sequence[Record]
    changes: Sequence[Record]
    seen: Collection[tuple[str, UUID]]


class Reader:
    """Reads over a small pool. A failure to answer in time is `Unavailable`, whatever its cause."""

    def __init__(self, url: str, size: int = 4, role: Role = Role.READER, regions: str = EVERYWHERE) -> None:
        """`regions`: what a transaction sees that says nothing else of it (`seeing`)."""
        self._url, self._role, self._regions = url, role, regions
        # Not psycopg_pool: it reconnects in the background with a growing delay, so that after an outage the first
        # readers still fail. Here whoever needs a connection makes it, and knows at once.
        self._idle: list[Connection] = []
        self._beside: Reader | None = None
        self._of_the_views: Reader | None = None
        self._permits = asyncio.Semaphore(size)
        self._moved = asyncio.Event()

    async def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            await self._idle.pop().close()
        for other in (self._beside, self._of_the_views):
            if other:
                await other.close()

    @property
    def beside(self) -> "Reader":
        """What lies beside the ledger, to be changed too: nothing that only reads may change a row."""
        self._beside = self._beside or Reader(self._url, 2, Role.APPENDER)
        return self._beside

    @property
    def of_the_views(self) -> "Reader":
        """What the follower may do: keep the views."""
        self._of_the_views = self._of_the_views or Reader(self._url, 1, Role.FOLLOWER)
        return self._of_the_views

    @property
    def growing(self) -> asyncio.Event:
        """Set once the ledger has grown, as far as this process hears of it: in process, or by `listen`."""
        return self._moved

    def moved_to(self, position: int) -> None:
        """Wake whoever in this process waits for the ledger to grow."""
        self._moved.set()
        self._moved = asyncio.Event()

    async def look(self, question: Callable[[Connection], Awaitable[_T]]) -> _T:
        """Ask the database within the time of one look; again on a new connection if an idle one had died."""
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._permits.acquire()
        except TimeoutError:
            raise Unavailable("no connection to the database is free") from None
        try:
            while self._idle:
                try:
                    return await self._ask(self._idle.pop(), question)
                except TRANSIENT:
                    continue
            return await self._ask(await self._connected(), question)
        except TRANSIENT as failure:
            raise Unavailable("the database does not answer") from failure
        finally:
            self._permits.release()

    async def _connected(self) -> Connection:
        return await connect(self._url, role=self._role, regions=self._regions)

    async def _ask(self, connection: Connection, question: Callable[[Connection], Awaitable[_T]]) -> _T:
        async def ask() -> _T:
            return await question(connection)

        try:
            answer = await within(_PATIENCE, ask(), connection)
        except BaseException:
            # Whatever state it is in, nobody shall meet it again.
            cut(connection)
            with contextlib.suppress(psycopg.Error, OSError):
                await connection.close()
            raise
        self._idle.append(connection)
        return answer

    async def head(self) -> Head:
        """The ledger's last position."""
        return await self.look(_head)

    async def is_writable(self) -> bool:
        """Whether the database takes writes: not a standby, not read-only."""
        return bool((await self.rows(sql.IS_WRITABLE, []))[0][0])

    async def history(self, stream: UUID, after: int = 0) -> tuple[Head, list[Record]]:
        """The stream's records above version `after`, and a head that they reflect at least."""

        async def ask(connection: Connection) -> tuple[Head, list[Record]]:
            return await _below_the_head(await connection.execute(sql.HISTORY, [stream, after], binary=True))

        return await self.look(ask)

    async def page(self, stream: UUID, after: int, limit: int) -> list[Record]:
        """Up to `limit` records of the stream above a version."""
        return await self._records(sql.PAGE, [stream, after, limit])

    async def histories(self, known: Mapping[UUID, int]) -> tuple[Head, list[Record]]:
        """Each stream's records above the version known of it, as they were recorded, and a head as in `history`."""

        async def ask(connection: Connection) -> tuple[Head, list[Record]]:
            asked = [list(known), list(known.values())]
            return await _below_the_head(await connection.execute(sql.HISTORIES, asked, binary=True))

        return await self.look(ask)

    async def news(self, known: Mapping[UUID, int], after: int, sought: Sought) -> News:
        """As `histories`; the changes of the directory above a position; and of what is sought what is seen."""
        asked = [list(known), list(known.values()), after]

        async def ask(connection: Connection) -> News:
            if not sought:
                return _news(*await _below_the_head(await connection.execute(sql.NEWS, asked, binary=True)), set())
            async with connection.pipeline():
                found = await connection.execute(sql.NEWS, asked, binary=True)
                # These last: they leave the transaction, which is all that is sent together, seeing less.
                seen = {
                    regions: await connection.execute(sql.SEEN_OF, [regions, list(streams)], binary=True)
                    for regions, streams in sought.items()
                }
                return _news(
                    *await _below_the_head(found),
                    {(regions, stream) for regions, rows in seen.items() for (stream,) in await rows.fetchall()},
                )

        return await self.look(ask)

    async def at_places(self, places: Sequence[tuple[UUID, int]]) -> list[Record]:
        """The records at these streams and versions."""
        return await self._records(
            sql.AT_PLACES, [[stream for stream, _ in places], [version for _, version in places]]
        )

    async def after(self, position: int, limit: int = _PAGE) -> list[Record]:
        """Up to `limit` records with a higher position, in order; positions have no gaps."""
        return await self._records(sql.AFTER, [position, limit])

    async def histories_until(self, streams: Sequence[UUID], position: int) -> list[Record]:
        """Everything in these streams up to a position, by stream and version."""
        return await self._records(sql.HISTORIES_UNTIL, [list(streams), position])

    async def by_stream(self, stream: UUID, version: int, position: int, limit: int) -> list[Record]:
        """Up to `limit` records behind that stream and version, in their order, of those up to a position."""
        return await self._records(sql.BY_STREAM, [stream, version, position, limit])

    async def directory_after(self, position: int) -> list[Record]:
        """Changes of the directory above a position."""
        return await self._records(sql.DIRECTORY_AFTER, [position])

    async def answer(self, subject: str, key: str) -> StoredAnswer | None:
        """What a caller's idempotency key was answered with, if it stored something."""
        rows = await self.rows(sql.STORED_ANSWER, [subject, key])
        return StoredAnswer(*rows[0]) if rows else None

    async def answers(self, subject: str, keys: Sequence[str]) -> dict[str, StoredAnswer]:
        """What each of a caller's idempotency keys was answered with, of those that stored something."""
        rows = await self.rows(sql.STORED_ANSWERS, [subject, list(keys)])
        return {row[0]: StoredAnswer(*row[1:]) for row in rows}

    async def cases_by_reference(
        self, regions: Sequence[str] | None, references: Sequence[str], seen: str = EVERYWHERE
    ) -> dict[str, set[UUID]]:
        """The cases that carry an external reference, in those regions (None: all), of those that are `seen`."""
        found: dict[str, set[UUID]] = {}
        asked = [list(references), regions is None, list(regions or ())]

        async def ask(connection: Connection) -> list[tuple[Any, ...]]:
            async with connection.pipeline():
                await connection.execute(sql.SEEING, [seen])
                rows = await connection.execute(sql.CASES_BY_REFERENCE, asked, binary=True)
                return await rows.fetchall()

        for reference, stream in await self.look(ask):
            found.setdefault(reference, set()).add(stream)
        return found

    async def keys(self, key_ids: Sequence[UUID]) -> list[WrappedKey]:
        """Those of the data keys that exist."""
        return [WrappedKey(*row) for row in await self.rows(sql.DATA_KEYS, [list(key_ids)])]

    async def erased(self, key_ids: Sequence[UUID] | None = None) -> set[UUID]:
        """The data keys that were destroyed for ever, all or of these."""
        rows = await self.rows(*(sql.ERASED_KEYS, []) if key_ids is None else (sql.ERASED_OF, [list(key_ids)]))
        return {row[0] for row in rows}

    async def case_by_number(self, case_no: str) -> UUID | None:
        """The case with that number, given as stored."""
        rows = await self.rows(sql.CASE_BY_NUMBER, [case_no])
        return rows[0][0] if rows else None

    async def forget_answers_before(self, instant: datetime) -> None:
        """Drop idempotency keys stored before an instant (they are kept 90 days)."""

        await self.do(sql.FORGET_OLD_ANSWERS, [instant])

    async def rows(self, statement: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        """Any other question of the read side."""

        async def ask(connection: Connection) -> list[tuple[Any, ...]]:
            return await (await connection.execute(statement, parameters, binary=True)).fetchall()

        return await self.look(ask)

    async def do(self, statement: str, parameters: Sequence[object]) -> None:
        """A statement beside the ledger that gives no rows."""

        async def ask(connection: Connection) -> None:
            await connection.execute(statement, parameters)

        await self.beside.look(ask)

    async def copy(self, statement: str, rows: bytes) -> None:
        """Rows beside the ledger, by a COPY and in its text format."""

        async def ask(connection: Connection) -> None:
            async with connection.cursor() as cursor, cursor.copy(statement) as copying:
                await copying.write(rows)

        await self.beside.look(ask)

    async def _records(self, statement: str, parameters: Sequence[object]) -> list[Record]:
        return [Record(*row) for row in await self.rows(statement, parameters)]

    async def follow(self, position: int) -> AsyncIterator[list[Record]]:
        """Batches of records after `position`, for ever: woken in process and by NOTIFY, polling anyway."""
        listening = asyncio.create_task(self.listen())
        try:
            while True:
                moved = self._moved
                try:
                    records = await self.after(position)
                except Unavailable:
                    records = []
                if records:
                    yield records
                    position = records[-1].position
                if len(records) < _PAGE:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_POLL):
                            await moved.wait()
        finally:
            listening.cancel()

    async def listen(self) -> None:
        """Pass on NOTIFY from other processes; polling covers for it while it reconnects."""
        while True:
            with contextlib.suppress(psycopg.Error, OSError):
                async with await self._connected() as connection:
                    await connection.execute("LISTEN anjuan")
                    # Ended before its connection is: left to the collector, it would ask a closed one to stop.
                    async with contextlib.aclosing(connection.notifies()) as notes:
                        async for _ in notes:
                            self.moved_to(0)
            await asyncio.sleep(_POLL)


async def _head(connection: Connection) -> Head:
    return await _one_head(await connection.execute(sql.READ_HEAD, binary=True))


async def _one_head(cursor: _Cursor) -> Head:
    return _head_of(await cursor.fetchone())


def _head_of(row: Sequence[Any] | None) -> Head:
    if row is None:
        raise RuntimeError("the ledger has no head row: run the migrations")
    return Head(*row[:_OF_THE_HEAD])


async def _below_the_head(cursor: _Cursor) -> tuple[Head, list[Record]]:
    """What a statement of `_below_the_head` has found."""
    rows = await cursor.fetchall()
    records = [Record(*row[_OF_THE_HEAD:]) for row in rows if row[_OF_THE_HEAD] is not None]
    return _head_of(rows[0] if rows else None), records


def _news(head: Head, records: Sequence[Record], seen: Collection[tuple[str, UUID]]) -> News:
    changes = [record for record in records if record.name in sql.OF_THE_DIRECTORY]
    return News(head, [record for record in records if record.name not in sql.OF_THE_DIRECTORY], changes, seen)
