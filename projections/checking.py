"""Whether the views say what a fresh fold says, while everybody goes on.

Page by page of streams: the rows and the position that they reflect are read in one snapshot, the streams are folded up
to that position, and every column is compared. Each page has a snapshot of its own, so a long check holds nothing up.
"""

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Table

from projections import checkpoint
from projections.checkpoint import View
from projections.folding import JOINED, Folder
from projections.tables import VIEWS, folded
from projections.writing import kept, rows_by_table
from services.event_log import Connection, connect

_SLOW = "-c statement_timeout=600000 -c idle_in_transaction_session_timeout=60000"
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# A page of streams is a walk down an index, not a sum over all of the ledger.
_WALK = "SET LOCAL enable_hashagg = off; SET LOCAL enable_sort = off"
_PAGE = 500
_NIL = UUID(int=0)
_STREAMS = """
SELECT stream FROM (SELECT DISTINCT stream FROM events WHERE stream > %b ORDER BY stream) AS each
WHERE random() < %b ORDER BY stream LIMIT %b
"""
_STRANGERS = """
SELECT DISTINCT case_id FROM {table} AS held WHERE NOT EXISTS (SELECT FROM events WHERE stream = held.case_id)
"""

Key = tuple[object, ...]
Rows = Mapping[Key, Sequence[object]]


class Difference(NamedTuple):
    """Where a view is wrong: the table, the row's key, and which column; "" for a row that is missing or too many."""

    table: str
    key: Key
    column: str
    said: str


class Look(NamedTuple):
    """Some streams, and what the live generation holds of them, at one instant."""

    view: View
    streams: Sequence[UUID]
    parked: frozenset[UUID]
    rows: Sequence[Rows]


class Checker:
    """One check. `folder` keeps nothing that matters here."""

    def __init__(self, url: str, folder: Folder, share: float = 1.0) -> None:
        self._url, self._folder, self._share = url, folder, share
        self.compared = 0

    async def differences(self) -> AsyncGenerator[Difference, None]:
        """All that is found; parked cases are known to be wrong and left out."""
        await self._folder.learn()
        async with await connect(self._url, _SLOW) as connection:
            behind = _NIL
            while True:
                look = await _look(connection, behind, self._share)
                if not look.streams:
                    break
                behind = look.streams[-1]
                for found in await self._compare(look):
                    yield found
            for found in [*await _strangers(connection), *await _counts(connection)]:
                yield found

    async def _compare(self, look: Look) -> list[Difference]:
        asked = [stream for stream in look.streams if stream not in look.parked]
        moved = await self._folder.together(asked, look.view.position)
        of = frozenset(asked)
        due = rows_by_table([one for one in moved.rows if one[0].case_id in of])
        self.compared += sum(len(rows) for rows in look.rows)
        found = [
            Difference("cases", (one.case_id,), "", f"cannot be folded: {one.fault}")
            for one in moved.parked
            if one.case_id in of and one.fault != JOINED
        ]
        unfit = {one.case_id for one in moved.parked}
        for table, expected, held in zip(VIEWS[look.view.generation][:5], due, look.rows, strict=True):
            place = table.columns.keys().index("case_id")
            rows = {key: row for key, row in held.items() if row[place] in of and row[place] not in unfit}
            found.extend(differing(table, _keyed(table, expected), rows))
        return found


def differing(table: Table, expected: Rows, held: Rows) -> Iterator[Difference]:
    """What differs between what a table should hold and what it does."""
    for key in expected.keys() - held.keys():
        yield Difference(table.name, key, "", "is missing")
    for key in held.keys() - expected.keys():
        yield Difference(table.name, key, "", "should not be there")
    for key in expected.keys() & held.keys():
        for column, one, other in zip((column.name for column in folded(table)), expected[key], held[key], strict=True):
            if one != other:
                yield Difference(table.name, key, column, "differs")


def _keyed(table: Table, rows: Iterable[Sequence[object]]) -> Rows:
    names = table.columns.keys()
    places = [names.index(column.name) for column in table.primary_key]
    return {tuple(row[place] for place in places): row for row in rows}


async def _look(connection: Connection, behind: UUID, share: float) -> Look:
    await connection.execute(_BEGIN)
    view = await checkpoint.live(connection)
    parked = await checkpoint.waiting(connection, view.generation)
    await connection.execute(_WALK)
    found = await connection.execute(_STREAMS, [behind, share, _PAGE], binary=True)
    streams = [row[0] for row in await found.fetchall()]
    rows = [await held_rows(connection, table, streams) for table in VIEWS[view.generation][:5]]
    await connection.execute("COMMIT")
    return Look(view, streams, frozenset(parked), rows)


async def held_rows(connection: Connection, table: Table, streams: Sequence[UUID]) -> Rows:
    """What a table holds of these cases, by primary key, in this transaction."""
    names = ", ".join(column.name for column in folded(table))
    asked = f"SELECT {names} FROM {table.fullname} WHERE case_id = ANY(%b::uuid[])"
    return _keyed(table, await (await connection.execute(asked, [list(streams)], binary=True)).fetchall())


async def _strangers(connection: Connection) -> list[Difference]:
    """Rows of cases that the ledger does not know."""
    found = []
    view = await checkpoint.live(connection)
    for table in VIEWS[view.generation][:5]:
        rows = await connection.execute(_STRANGERS.format(table=table.fullname))
        found += [Difference(table.name, row, "", "is of no case") for row in await rows.fetchall()]
    return found


async def _counts(connection: Connection) -> list[Difference]:
    """The sums that are kept, against those of the cases as they stand, at one instant."""
    await connection.execute(_BEGIN)
    view = VIEWS[(await checkpoint.live(connection)).generation]
    found: list[Difference] = []
    for table, due in kept(view):
        names = ", ".join(table.columns.keys())
        held = await (await connection.execute(f"SELECT {names} FROM {table.fullname}")).fetchall()
        expected = await (await connection.execute(f"SELECT {names} FROM ({due}) AS due")).fetchall()
        found.extend(differing(table, _keyed(table, expected), _keyed(table, held)))
    await connection.execute("COMMIT")
    return found
