"""Writing rows into a generation of the views, inside the caller's transaction."""

from collections.abc import Iterable, Sequence
from uuid import UUID

import msgspec
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql

from projections import answering, counting, owing, tallying
from projections.packing import HEADER, TRAILER, packed, packers
from projections.rows import FoundRows, Row
from projections.tables import VIEWS, View, folded
from projections.written import Written
from services.event_log import Connection

# Probes by index whatever the planner thinks of a batch's size, planned once. The views' rows are rebuilt from the
# ledger, so that losing the last of them in a crash, with the checkpoint that says so, loses nothing.
SESSION = (
    "-c enable_seqscan=off -c enable_mergejoin=off -c plan_cache_mode=force_generic_plan -c synchronous_commit=off"
    " -c client_min_messages=error"
)
_JSON = msgspec.json.Encoder()
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
# All cases are looked at: no index helps.
_SCAN = ("SET LOCAL enable_seqscan = on", "SET LOCAL enable_mergejoin = on")


class Writer:
    """Replaces all that one generation holds of some cases."""

    def __init__(self, connection: Connection, generation: int) -> None:
        self._connection = connection
        self._view: View = VIEWS[generation]
        self._replacing = _replacing(self._view)
        self._summing = _summing(self._view)
        self._noting = _noting(self._view)
        self._written = Written()

    def forget(self) -> None:
        """What was written is undone, or another process may have written since."""
        self._written.forget()

    async def replace(self, rows: Sequence[FoundRows]) -> None:
        """Let the views hold exactly these rows of these cases. Doing it twice changes nothing."""
        if not rows:
            return
        lean = self._written.less(rows)
        tables = zip(self._view[:5], rows_by_table(lean.rows), strict=True)
        said: dict[str, object] = {table.name: _as_json(table, held) for table, held in tables}
        known = {"known": lean.known, "gone_complaints": lean.gone_complaints, "gone_duties": lean.gone_duties}
        await self._connection.execute(self._replacing, {**said, **known})
        await self._connection.execute(self._summing, {"case_ids": [held.case_id for held, _ in rows]})

    async def add(self, rows: Sequence[FoundRows]) -> None:
        """Put in rows of cases of which nothing is there yet; the counts are summed up at the end (`count_all`)."""
        for table, held in zip(self._view[:5], rows_by_table(rows), strict=True):
            await self._copy(table, held)

    async def count_all(self) -> None:
        """Sum up all cases, and mark the duties whose missing was told; who reads goes on seeing the sums of before."""
        duties, notices = self._view.duties.fullname, self._view.notices.fullname
        for setting in _SCAN:
            await self._connection.execute(setting)
        await self._connection.execute(
            f"UPDATE {duties} SET noticed = true FROM {notices} WHERE notice_id = duty_id AND NOT noticed"
        )
        for table, due in kept(self._view):
            await self._connection.execute(f"DELETE FROM {table.fullname}")
            names = ", ".join(column.name for column in table.columns)
            # What is read together lies together.
            order = ", ".join(column.name for column in table.primary_key)
            await self._connection.execute(
                f"INSERT INTO {table.fullname} ({names}) SELECT {names} FROM ({due}) AS due ORDER BY {order}"
            )

    async def forget_texts(self, cases: Sequence[UUID]) -> None:
        """Let nothing of these cases' texts be found any more."""
        if cases:
            await self._connection.execute(clearing(self._view), [list(cases)])

    async def note(self, notices: Sequence[Row]) -> None:
        """Keep which duties' missing was told."""
        if notices:
            await self._connection.execute(self._noting, [list(column) for column in zip(*notices, strict=True)])

    async def analyze(self) -> None:
        """Let the planner know what is in the tables, as a freshly filled one needs."""
        await self._connection.execute(f"ANALYZE {', '.join(table.fullname for table in self._view)}")

    async def empty(self) -> None:
        """Forget everything."""
        await self._connection.execute(f"TRUNCATE {', '.join(table.fullname for table in self._view)}")

    async def _copy(self, table: Table, rows: Iterable[Row]) -> None:
        columns = folded(table)
        body = packed(packers(columns), rows)
        names = ", ".join(column.name for column in columns)
        into = f"COPY {table.fullname} ({names}) FROM STDIN (FORMAT binary)"
        async with self._connection.cursor() as cursor, cursor.copy(into) as copy:
            await copy.write(HEADER + body + TRAILER)


def kept(view: View) -> list[tuple[Table, str]]:
    """The tables that follow from the others, each with the query for what it has to hold; each needs those before."""
    every = f"WITH {tallying.every(view)}"
    return [
        (view.tallies, tallying.tallies(view)),
        (view.counts, f"{every} {counting.sums()}"),
        (view.answers, f"{every} {answering.sums()}"),
        (view.owed, f"{every} {owing.sums()}"),
    ]


def clearing(view: View) -> str:
    """The statement that takes away what some cases' texts are found by."""
    return f"UPDATE {view.words.fullname} SET grams = '{{}}' WHERE case_id = ANY(%b::uuid[]) AND grams <> '{{}}'"


def rows_by_table(rows: Sequence[FoundRows]) -> tuple[Iterable[Row], ...]:
    """The rows of each table."""
    return (
        (held.case for held, _ in rows),
        (words for _, words in rows if words),
        (row for held, _ in rows for row in held.complaints),
        (row for held, _ in rows for row in held.duties),
        (row for held, _ in rows for row in held.grades),
    )


def _as_json(table: Table, rows: Iterable[Row]) -> str:
    """The rows as PostgreSQL reads them into the table's own row type; bytes in hexadecimal."""
    names = [column.name for column in folded(table)]
    return _JSON.encode([dict(zip(names, map(_said, row), strict=True)) for row in rows]).decode()


def _said(value: object) -> object:
    return f"\\x{value.hex()}" if type(value) is bytes else value


def _replacing(view: View) -> str:
    """One statement for a batch's rows."""
    cases, words, *parts = view[:5]
    steps = [_next(table) for table in view[:5]]
    steps += [f"put_cases AS ({_upsert(cases, view)})", f"put_words AS ({_upsert(words, view)})"]
    for table in parts:
        steps += [f"gone_{table.name} AS ({_gone(table)})", f"put_{table.name} AS ({_upsert(table, view)})"]
    return f"WITH {', '.join(steps)} SELECT 1"


def _summing(view: View) -> str:
    """One statement once the rows are there: it compares with what they added before, and moves the sums by that."""
    steps = [part for kind in (tallying, counting, answering, owing) for part in kind.moving(view)]
    return f"WITH {', '.join(steps)} SELECT 1"


def _next(table: Table) -> str:
    rows = f"SELECT * FROM json_populate_recordset(NULL::{table.fullname}, %({table.name})t::json)"
    return f"next_{table.name} AS MATERIALIZED ({rows})"


def _upsert(table: Table, view: View) -> str:
    key = [column.name for column in table.primary_key]
    names = [column.name for column in table.columns]
    changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key)
    source = f"SELECT * FROM next_{table.name}"
    if table is view.duties:
        own = ", ".join(f"next.{column.name}" for column in folded(table))
        source = (
            f"SELECT {own}, told.notice_id IS NOT NULL FROM next_{table.name} AS next"
            f" LEFT JOIN {view.notices.fullname} AS told ON told.notice_id = next.duty_id"
        )
    return (
        f"INSERT INTO {table.fullname} AS held {source}"
        f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}"
        f" WHERE (held.*) IS DISTINCT FROM (excluded.*)"
    )


def _gone(table: Table) -> str:
    """Take away what is no longer there: of known cases by its name."""
    same = " AND ".join(f"next.{column.name} = held.{column.name}" for column in table.primary_key)
    unknown = (
        f"DELETE FROM {table.fullname} AS held USING next_cases AS moved WHERE held.case_id = moved.case_id"
        f" AND NOT EXISTS (SELECT FROM next_{table.name} AS next WHERE {same})"
    )
    if table.name == "grades":
        return unknown
    (key,) = table.primary_key
    return (
        f"DELETE FROM {table.fullname} AS held USING next_cases AS moved WHERE held.case_id = moved.case_id"
        f" AND (held.{key.name} = ANY(%(gone_{table.name})b::uuid[]) OR (held.case_id <> ALL(%(known)b::uuid[])"
        f" AND NOT EXISTS (SELECT FROM next_{table.name} AS next WHERE {same})))"
    )


def _noting(view: View) -> str:
    """Keep the notices, and mark their duties; what is marked already is left as it is."""
    columns = list(view.notices.columns)
    arrays = ", ".join(f"%b::{column.type.compile(_DIALECT).lower()}[]" for column in columns)
    return (
        f"WITH said AS (INSERT INTO {view.notices.fullname} SELECT * FROM unnest({arrays})"
        " ON CONFLICT DO NOTHING RETURNING notice_id)"
        f" UPDATE {view.duties.fullname} AS d SET noticed = true FROM said WHERE d.duty_id = said.notice_id"
    )
