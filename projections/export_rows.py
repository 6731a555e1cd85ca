"""What an export holds: every case or breach of a question, read from one snapshot of the views and put down sealed."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any, Protocol

from projections import breach_rows, case_list, tables
from projections.breach_rows import Late
from projections.case_list import Heads, Open, Order
from projections.case_view import encode
from projections.checkpoint import View
from projections.filters import Asked
from projections.snapshot import Snapshot, Snapshots
from projections.spool import Spool
from projections.views import Statement
from services.directory import Directory, in_force

# Rows of one statement; and documents that are shown in one go, which takes a few milliseconds of a process.
_PAGE, _BATCH = 1000, 100

Row = tuple[Any, ...]


class Source(Protocol):
    """Rows in their order, and what becomes of them."""

    def statements(self, view: tables.View, after: Any, size: int) -> Sequence[Statement]:
        """The next rows behind a key, in walks that follow each other."""

    def key(self, row: Row) -> Any:
        """The key of a row."""

    async def matching(self, rows: list[Row]) -> list[Row]:
        """Of the rows those that are asked for."""

    def shown(self, row: Row) -> bytes:
        """The row as a document, its texts sealed."""


class Cases:
    """The cases of a list, with its filters and its order. `opened` opens what a word is looked for in."""

    def __init__(self, asked: Asked, order: Order, directory: Directory, now: datetime, opened: Open) -> None:
        self._asked, self._order, self._now, self._opened = asked, order, now, opened
        self._heads, self._names = Heads(directory, now), Names(directory, now)

    def statements(self, view: tables.View, after: Any, size: int) -> Sequence[Statement]:
        breached_at = view.cases.c.breached_at
        return [case_list.rows_of(view, self._asked, self._order, after, size, self._now, breached_at)]

    def key(self, row: Row) -> Any:
        return case_list.key_of(row[:-1])

    async def matching(self, rows: list[Row]) -> list[Row]:
        return await case_list.matching(rows, self._asked, self._opened)

    def shown(self, row: Row) -> bytes:
        breached = row[-1] is not None and row[-1] < self._now
        head = self._heads.whole(row[0], row[1], row[3])
        return b'%b,"breached":%b,%b}' % (head[:-1], encode(breached), self._names.of(row[1]))


class Breaches:
    """The duties of a list of breaches."""

    def __init__(self, asked: Late, descending: bool, directory: Directory, now: datetime) -> None:
        self._asked, self._descending, self._directory, self._now = asked, descending, directory, now
        self._heads, self._names = Heads(directory, now), Names(directory, now)

    def statements(self, view: tables.View, after: Any, size: int) -> Sequence[Statement]:
        return [breach_rows.late(view, self._asked, self._descending, after, size, self._now)]

    def key(self, row: Row) -> Any:
        return breach_rows.key_of(row)

    async def matching(self, rows: list[Row]) -> list[Row]:
        return rows

    def shown(self, row: Row) -> bytes:
        sealed = breach_rows.shown(row, self._heads, self._directory, self._now)
        return b"%b,%b}" % (sealed[:-1], self._names.of(row[breach_rows.PROJECT]))


class Names:
    """What projects and their regions are called now."""

    def __init__(self, directory: Directory, now: datetime) -> None:
        self._directory, self._now = directory, now
        self._known: dict[str, bytes] = {}

    def of(self, project: str) -> bytes:
        """Two fields of a document."""
        known = self._known.get(project)
        if known is None:
            known = self._known[project] = encode(self._named(project))[1:-1]
        return known

    def _named(self, project: str) -> dict[str, str | None]:
        held = self._directory.projects.get(project)
        fact = in_force(held, self._now).fact if held else None
        regions = self._directory.regions.get(fact.region) if fact else None
        region = in_force(regions, self._now).fact.title if regions else None
        return {"project_name": fact.title if fact else None, "region_name": region}


class Reading:
    """The way from a source to a spool: begun, so that what fails does so at once, then brought to its end."""

    def __init__(self, snapshots: Snapshots, source: Callable[[], Source]) -> None:
        self._snapshots, self._make = snapshots, source
        self._reader = AsyncExitStack()
        self._spool = Spool()
        self._rest = self._pages()
        self._snapshot: Snapshot
        self._source: Source

    @property
    def count(self) -> int:
        """How many rows were read by now."""
        return self._spool.count

    @property
    def view(self) -> View:
        """Of which state of the views it is."""
        return self._snapshot.view

    async def begin(self) -> None:
        """Read the first page; raises `Unavailable`."""
        self._snapshot = await self._reader.enter_async_context(self._snapshots.open())
        self._source = self._make()
        await anext(self._rest, None)

    async def step(self) -> bool:
        """Read another page; whether that was the end, with which the snapshot ends too."""
        try:
            await anext(self._rest)
        except StopAsyncIteration:
            await self._reader.aclose()
            return True
        return False

    async def read(self, at_most: int | None = None) -> bool:
        """Read on, to the end or beyond so many rows; whether it was the end."""
        while at_most is None or self.count <= at_most:
            if await self.step():
                return True
        return False

    async def _pages(self) -> AsyncGenerator[None, None]:
        source, after = self._source, None
        while True:
            rows = await self._page(after)
            found = await source.matching(rows)
            for start in range(0, len(found), _BATCH):
                self._spool.put([source.shown(row) for row in found[start : start + _BATCH]])
            yield
            if len(rows) < _PAGE:
                return
            after = source.key(rows[-1])

    async def _page(self, after: Any) -> list[Row]:
        walks = await self._snapshot.rows(lambda view: self._source.statements(view, after, _PAGE))
        return [row for walk in walks for row in walk][:_PAGE]

    async def rows(self, opened: Open, decode: Callable[[bytes], Any]) -> AsyncIterator[list[Mapping[str, Any]]]:
        """The documents in their order, a few at a time, opened as far as the reader may see them."""
        for batch in self._spool.batches():
            yield decode(await opened(batch))

    async def close(self) -> None:
        """Give back the snapshot and the spool, whatever was read of them."""
        await self._rest.aclose()
        await self._reader.aclose()
        self._spool.close()
