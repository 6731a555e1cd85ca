"""Looking into the views: each look is one round trip, and sees one instant of one generation."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import SelectBase
from sqlalchemy.dialects.postgresql import psycopg as postgresql

from projections import checkpoint, tables
from projections.checkpoint import View
from projections.watch import Watch
from services.directory import Directory
from services.event_log import Connection, Reader, Record
from services.event_log.seeing import seen
from services.event_log.statements import DIRECTORY_AFTER

_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# Both in one: each statement more in a round trip costs the caller some 30 µs (measured).
_LIVE_AND_DIRECTORY = f"""
SELECT live.*, changed.* FROM ({checkpoint.LIVE_TO}) AS live (generation, position, freed, filled, summed, told)
LEFT JOIN LATERAL ({DIRECTORY_AFTER}) AS changed ON true ORDER BY changed.position
"""
_OF_LIVE = 6
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
# The next instant at which a duty that is not met by then falls due, in some regions or in all of them: one that
# nothing has met, or that was met, by a clock that ran ahead, after that instant.
_NEXT_DUE_IN = """
SELECT min(next.due_at) FROM unnest(%(regions)s::text[]) AS asked (region) CROSS JOIN LATERAL (
    SELECT due_at FROM {view}.duties AS d
    WHERE d.region = asked.region AND NOT d.void AND d.due_at IS NOT NULL AND (d.met_at IS NULL OR d.met_at > d.due_at)
        AND d.due_at >= %(now)s
    ORDER BY due_at LIMIT 1
) AS next
"""
_NEXT_DUE = """
SELECT min(due_at) FROM {view}.duties
WHERE NOT void AND due_at IS NOT NULL AND (met_at IS NULL OR met_at > due_at) AND due_at >= %(now)s
"""

Rows = list[tuple[Any, ...]]
Statement = SelectBase | tuple[str, dict[str, Any]]


class Seen(NamedTuple):
    """What a look found: each statement's rows, and the view that they are of."""

    view: View
    rows: Sequence[Rows]


class Views:
    """Reads the generation that is live, over connections of its own: a slow list never holds up a case."""

    def __init__(self, url: str, watch: Watch, directory: Directory) -> None:
        self._reader = Reader(url, regions="")
        self._watch, self._directory = watch, directory
        self.looks = 0

    async def close(self) -> None:
        """Close what is idle."""
        await self._reader.close()

    async def look(self, ask: Callable[[tables.View], Sequence[Statement]], sums: bool = False) -> Seen:
        """Ask the statements that `ask` makes for the live generation's tables; the directory catches up on the way.

        `sums`: they read kept sums.
        """
        while True:
            generation = self._watch.view.generation
            view, rows = await self._look([compiled(one) for one in ask(tables.VIEWS[generation])], sums)
            self._watch.moved(view)
            if view.generation == generation:
                return Seen(view, rows)

    async def _look(self, statements: Sequence[tuple[str, Any]], sums: bool) -> tuple[View, list[Rows]]:
        self.looks += 1

        async def ask(connection: Connection) -> tuple[View, list[Rows], list[Record]]:
            async with connection.pipeline():
                await connection.execute(_BEGIN)
                known = self._directory.position
                told = await connection.execute(_LIVE_AND_DIRECTORY, [seen(), known], binary=True)
                asked = [await connection.execute(text, values, binary=True) for text, values in statements]
                await connection.execute("COMMIT")
                live = await told.fetchall()
                view = checkpoint.readable(live[0], sums)
                changes = [Record(*row[_OF_LIVE:]) for row in live if row[_OF_LIVE] is not None]
                return view, [await one.fetchall() for one in asked], changes

        view, rows, changes = await self._reader.look(ask)
        for record in changes:
            self._directory.take(record)
        return view, rows


def next_due(view: tables.View, regions: Sequence[str] | None, now: datetime) -> Statement:
    """The next instant from `now` on at which a duty falls due; `regions` None: anywhere."""
    text = _NEXT_DUE if regions is None else _NEXT_DUE_IN
    return text.format(view=view.duties.schema), {"now": now, "regions": list(regions or ())}


def compiled(statement: Statement) -> tuple[str, Any]:
    """A statement as the driver takes it."""
    if isinstance(statement, tuple):
        return statement
    compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    return str(compiled), compiled.params
