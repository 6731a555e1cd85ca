"""Writing rows into a generation of the views, inside the caller's transaction."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Table

from projections.packing import HEADER, TRAILER, packed, packers
from projections.rows import CaseRows, Row
from projections.tables import COUNTED, COUNTED_BY, VIEWS, View
from projections.written import Written
from services.event_log import Connection

# Probes by index whatever the planner thinks of a temporary table; the views' rows are rebuilt from the ledger, so
# that losing the last of them in a crash, with the checkpoint that says so, loses nothing.
SESSION = (
    "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c synchronous_commit=off"
    " -c client_min_messages=error"
)
_SUMS = ", ".join(COUNTED)
# A void case counts for nothing, and neither as opened.
_OWN_SUMS = ", ".join(("(status <> 'void')::int4 AS opened", *COUNTED[1:]))
_GRAINS = (
    f"GROUP BY GROUPING SETS (({', '.join(COUNTED_BY)}),"
    f" ({', '.join(name for name in COUNTED_BY if name not in ('project', 'month'))}))"
)
_GRAIN = ", ".join(f"coalesce({name}, '') AS {name}" for name in COUNTED_BY)


class Writer:
    """Replaces all that one generation holds of some cases."""

    def __init__(self, connection: Connection, generation: int) -> None:
        self._connection = connection
        self._view: View = VIEWS[generation]
        self._replacing = [_replacing(table) for table in self._view[1:4]]
        self._upsert = _upsert(self._view.cases)
        self._packers = {table.name: packers(table) for table in self._view[:4]}
        self._counting = _counting(self._view)
        self._written = Written()

    def forget(self) -> None:
        """The transaction in which something was replaced is undone, or another process may have written since."""
        self._written.forget()

    async def prepare(self) -> None:
        """Make the session's own tables, which hold a batch on its way; needed for `replace`."""
        for table in self._view[:4]:
            key = ", ".join(column.name for column in table.primary_key)
            await self._connection.execute(
                f"CREATE TEMPORARY TABLE IF NOT EXISTS next_{table.name} (LIKE {table.fullname}, PRIMARY KEY ({key}))"
                f" ON COMMIT DELETE ROWS"
            )

    async def replace(self, rows: Sequence[tuple[CaseRows, list[int]]], again: bool = False) -> None:
        """Let the views hold exactly these rows of these cases. Doing it twice changes nothing.

        `again`: in this transaction something was replaced before.
        """
        if not rows:
            return
        if again:
            await self._connection.execute(f"TRUNCATE {', '.join(f'next_{table.name}' for table in self._view[:4])}")
        lean = self._written.less(rows)
        for table, held in zip(self._view[:4], rows_by_table(lean.rows), strict=True):
            await self._copy(f"next_{table.name}", table, held)
        async with self._connection.pipeline():
            for statement in (*self._counting, self._upsert):
                await self._connection.execute(statement)
            # Grades are few, and always written whole.
            for (delete, upsert), known in zip(self._replacing, (lean.known, lean.known, []), strict=True):
                await self._connection.execute(delete, [known])
                await self._connection.execute(upsert)
            for table, gone in ((self._view.complaints, lean.gone_complaints), (self._view.duties, lean.gone_duties)):
                if gone:
                    (key,) = table.primary_key
                    await self._connection.execute(f"DELETE FROM {table.fullname} WHERE {key.name} = ANY(%b)", [gone])

    async def add(self, rows: Sequence[tuple[CaseRows, list[int]]]) -> None:
        """Put in rows of cases of which nothing is there yet; the counts are summed up at the end (`count_all`)."""
        for table, held in zip(self._view[:4], rows_by_table(rows), strict=True):
            await self._copy(table.fullname, table, held)

    async def count_all(self) -> None:
        """Sum up all cases."""
        counts = self._view.counts.fullname
        await self._connection.execute(f"TRUNCATE {counts}")
        await self._connection.execute(f"INSERT INTO {counts} ({', '.join(COUNTED_BY)}, {_SUMS}) {sums(self._view)}")

    async def note(self, notices: Sequence[Row]) -> None:
        """Keep which duties' missing was told."""
        if notices:
            async with self._connection.cursor() as cursor:
                insert = f"INSERT INTO {self._view.notices.fullname} VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
                await cursor.executemany(insert, notices)

    async def analyze(self) -> None:
        """Let the planner know what is in the tables, as a freshly filled one needs."""
        await self._connection.execute(f"ANALYZE {', '.join(table.fullname for table in self._view)}")

    async def empty(self) -> None:
        """Forget everything."""
        await self._connection.execute(f"TRUNCATE {', '.join(table.fullname for table in self._view)}")

    async def _copy(self, name: str, table: Table, rows: Iterable[Row]) -> None:
        body = packed(self._packers[table.name], rows)
        async with self._connection.cursor() as cursor, cursor.copy(f"COPY {name} FROM STDIN (FORMAT binary)") as copy:
            await copy.write(HEADER + body + TRAILER)


def sums(view: View) -> str:
    """What `counts` has to hold, as a query over the cases."""
    return (
        f"SELECT {_GRAIN}, {', '.join(f'sum({name})::int8 AS {name}' for name in COUNTED)}"
        f" FROM (SELECT {', '.join(COUNTED_BY)}, {_OWN_SUMS} FROM {view.cases.fullname}) AS own"
        f" {_GRAINS} HAVING sum(opened) > 0"
    )


def rows_by_table(rows: Sequence[tuple[CaseRows, list[int]]]) -> tuple[Iterable[Row], ...]:
    """The rows of each table."""
    return (
        ((*held.case, grams) for held, grams in rows),
        (row for held, _ in rows for row in held.complaints),
        (row for held, _ in rows for row in held.duties),
        (row for held, _ in rows for row in held.grades),
    )


def _upsert(table: Table) -> str:
    key = [column.name for column in table.primary_key]
    names = [column.name for column in table.columns]
    changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key)
    return (
        f"INSERT INTO {table.fullname} AS held SELECT * FROM next_{table.name}"
        f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}"
        f" WHERE (held.*) IS DISTINCT FROM (excluded.*)"
    )


def _replacing(table: Table) -> tuple[str, str]:
    """Take away what is no longer there, unless that is done by name, then put in what is."""
    same = " AND ".join(f"next.{column.name} = held.{column.name}" for column in table.primary_key)
    return (
        f"DELETE FROM {table.fullname} AS held USING next_cases AS moved WHERE held.case_id = moved.case_id"
        f" AND held.case_id <> ALL(%b::uuid[]) AND NOT EXISTS (SELECT FROM next_{table.name} AS next WHERE {same})",
        _upsert(table),
    )


def _counting(view: View) -> tuple[str, str]:
    """Move the sums by what the cases add now less what they added before; before the cases themselves are written."""
    dims, counts = ", ".join(COUNTED_BY), view.counts.fullname
    less = ", ".join(f"-{name}" for name in COUNTED)
    added = ", ".join(f"{name} = held.{name} + excluded.{name}" for name in COUNTED)
    moved = " OR ".join(f"sum({name}) <> 0" for name in COUNTED)
    before = (
        f"SELECT {', '.join('c.' + name for name in COUNTED_BY)}, {_OWN_SUMS.replace('status', 'c.status')}"
        f" FROM {view.cases.fullname} AS c"
    )
    for name in COUNTED[1:]:
        before = before.replace(f", {name}", f", c.{name}")
    gone = " AND ".join(f"held.{name} IN (c.{name}, '')" for name in COUNTED_BY)
    return (
        f"WITH before AS ({before} JOIN next_cases AS n USING (case_id))"
        f" INSERT INTO {counts} AS held ({dims}, {_SUMS})"
        f" SELECT {_GRAIN}, {', '.join(f'sum({name})' for name in COUNTED)} FROM ("
        f"SELECT {dims}, {_OWN_SUMS} FROM next_cases UNION ALL SELECT {dims}, {less} FROM before) AS moved"
        f" {_GRAINS} HAVING {moved} ON CONFLICT ({dims}) DO UPDATE SET {added}",
        f"DELETE FROM {counts} AS held USING next_cases AS n, {view.cases.fullname} AS c"
        f" WHERE n.case_id = c.case_id AND held.opened = 0 AND {gone}",
    )
