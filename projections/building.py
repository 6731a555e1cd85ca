"""How far a generation that is built has come, who may cancel it, and how it becomes the one that is read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from projections import checkpoint
from projections.checkpoint import View
from projections.writing import SESSION, Writer
from services.event_log import Connection, connect

# Any number that nothing else locks.
LOCK = 0x616E6A77
# Counting millions of cases takes longer than any answer may; a builder that freezes shall hold nothing for long.
_LIMITS = (
    "-c statement_timeout=600000 -c lock_timeout=10000"
    " -c idle_in_transaction_session_timeout=30000 -c idle_session_timeout=60000"
)

_OTHER = """
SELECT c.generation, c.state, c.position, c.until, c.stream, c.done FROM projections AS p
JOIN projection_checkpoints AS c ON c.name = p.name AND c.generation <> p.live WHERE p.name = 'cases'
"""
_BEGIN = """
UPDATE projection_checkpoints SET state = 'building', position = 0, summed = 0, stream = NULL, done = 0,
    moved_at = now(), until = (SELECT position FROM ledger_head)
WHERE name = 'cases' AND generation = %b
"""
_RESUME = "UPDATE projection_checkpoints SET state = 'building' WHERE name = 'cases' AND generation = %b"
_CANCEL = "UPDATE projection_checkpoints SET state = 'cancelled' WHERE name = 'cases' AND state = 'building'"
_MOVE = """
UPDATE projection_checkpoints SET stream = %b, done = done + %b, moved_at = now()
WHERE name = 'cases' AND generation = %b AND state = 'building' AND stream IS NOT DISTINCT FROM %b
"""
_WALKED = """
UPDATE projection_checkpoints SET position = until, summed = until, done = until, moved_at = now()
WHERE name = 'cases' AND generation = %b AND state = 'building' AND stream IS NOT DISTINCT FROM %b
"""
_FORGET_PARKED = "DELETE FROM parked_cases WHERE generation = %b"
_HOW_FAR = "SELECT position, state FROM projection_checkpoints WHERE name = 'cases' AND generation = %b"
_SWAP = "UPDATE projections SET live = %b WHERE name = 'cases'"
_STATES = """
UPDATE projection_checkpoints SET state = CASE generation WHEN %b THEN 'live' ELSE 'empty' END, moved_at = now()
WHERE name = 'cases'
"""
# What somebody has given up stays given up.
_STILL_DROPPED = """
UPDATE parked_cases AS now SET state = 'dropped' FROM parked_cases AS before
WHERE now.generation = %b AND before.generation = %b AND before.case_id = now.case_id AND before.state = 'dropped'
"""
_OLDER = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND xact_start < %b AND pid <> pg_backend_pid()
"""


class Build(NamedTuple):
    """The generation that is not read. `state`: `empty`, `building` or `cancelled`.

    `position` is 0 until every stream was met up to the position `until`; `stream` is the last one met; `done` of
    `until` records were.
    """

    generation: int
    state: str
    position: int
    until: int
    stream: UUID | None
    done: int


class RebuildRuns(Exception):
    """Another process rebuilds."""


class Cancelled(Exception):
    """Somebody cancelled the rebuild, or began it anew; what was built is kept."""


@asynccontextmanager
async def alone(url: str) -> AsyncIterator[Connection]:
    """The session that rebuilds; raises `RebuildRuns` while another one does."""
    connection = await connect(url, f"{_LIMITS} {SESSION}")
    try:
        row = await (await connection.execute("SELECT pg_try_advisory_lock(%b)", [LOCK])).fetchone()
        if not row or not row[0]:
            raise RebuildRuns
        yield connection
    finally:
        await connection.close()


async def other(connection: Connection) -> Build:
    """The generation that is not read."""
    row = await (await connection.execute(_OTHER, binary=True)).fetchone()
    assert row is not None
    return Build(*row)


async def begin(connection: Connection, restart: bool) -> Build:
    """Go on where a rebuild was left, or begin from zero, with the ledger as it is now."""
    found = await other(connection)
    async with connection.transaction():
        if found.state in ("building", "cancelled") and not restart:
            await connection.execute(_RESUME, [found.generation])
        else:
            await connection.execute(_BEGIN, [found.generation])
            await empty(connection, found.generation)
    return await other(connection)


async def cancel(connection: Connection) -> bool:
    """Let whoever rebuilds stop after its batch; whether somebody did."""
    return (await connection.execute(_CANCEL)).rowcount == 1


async def move(connection: Connection, build: Build, stream: UUID | None, records: int) -> Build:
    """Behind which stream the build has come, in this transaction; raises `Cancelled`."""
    moved = await connection.execute(_MOVE, [stream, records, build.generation, build.stream])
    if moved.rowcount != 1:
        raise Cancelled
    return build._replace(stream=stream, done=build.done + records)


async def walked(connection: Connection, build: Build) -> View:
    """Every stream has been met, in this transaction; raises `Cancelled`."""
    moved = await connection.execute(_WALKED, [build.generation, build.stream])
    if moved.rowcount != 1:
        raise Cancelled
    return View(build.generation, build.until)


async def swap(connection: Connection, view: View) -> bool:
    """Let the generation that was built be the one that is read; False: it is behind. Raises `Cancelled`."""
    async with connection.transaction():
        live = await checkpoint.locked(connection)
        behind, _ = await _how_far(connection, live)
        position, state = await _how_far(connection, view.generation)
        if live == view.generation or state != "building":
            raise Cancelled
        if position < behind:
            return False
        await connection.execute(_SWAP, [view.generation])
        await connection.execute(_STATES, [view.generation])
        await connection.execute(_STILL_DROPPED, [view.generation, live])
        await checkpoint.announce(connection, View(view.generation, position))
    return True


async def empty(connection: Connection, generation: int) -> None:
    """Forget all that a generation holds."""
    async with connection.transaction():
        await connection.execute(_FORGET_PARKED, [generation])
        await Writer(connection, generation).empty()


async def now(connection: Connection) -> datetime:
    """The database's clock."""
    row = await (await connection.execute("SELECT now()")).fetchone()
    assert row is not None
    return row[0]  # type: ignore[no-any-return]


async def is_seen(connection: Connection, since: datetime) -> bool:
    """Whether some transaction is older than an instant, and so may still look at what was read before it."""
    row = await (await connection.execute(_OLDER, [since])).fetchone()
    return bool(row and row[0])


async def _how_far(connection: Connection, generation: int) -> tuple[int, str]:
    row = await (await connection.execute(_HOW_FAR, [generation])).fetchone()
    assert row is not None
    return row[0], row[1]
