"""How far each generation of the views has come, which one is read, and which cases are parked in it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from projections.decoding import Parked
from services.event_log import Connection, Unavailable

NAME = "cases"
CHANNEL = "anjuan_view"

LIVE = """
SELECT p.live, c.position, c.freed, c.position >= c.until, c.position = c.summed FROM projections AS p
JOIN projection_checkpoints AS c ON c.name = p.name AND c.generation = p.live WHERE p.name = 'cases'
"""
# The one row that a batch of the live generation and a swap both need.
_LOCK = "SELECT live FROM projections WHERE name = 'cases' FOR UPDATE"
_MOVE = """
UPDATE projection_checkpoints SET position = %b, moved_at = %b,
    summed = CASE summed WHEN position THEN %b ELSE summed END
WHERE name = 'cases' AND generation = %b AND position = %b
"""
_SUMMED = "UPDATE projection_checkpoints SET summed = position WHERE name = 'cases' AND generation = %b"
_WAITING = "SELECT case_id, state FROM parked_cases WHERE generation = %b"
_PARK = """
INSERT INTO parked_cases AS held VALUES (%b, %b, %b, %b, %b, %b, 'parked')
ON CONFLICT (generation, case_id) DO UPDATE SET fault = excluded.fault, state = 'parked', position = excluded.position
"""
_FREE = """
WITH freed AS (DELETE FROM parked_cases WHERE generation = %b AND case_id = ANY(%b::uuid[]) RETURNING generation)
UPDATE projection_checkpoints AS c SET freed = c.freed + 1
WHERE c.name = 'cases' AND c.generation IN (SELECT generation FROM freed)
"""


class View(NamedTuple):
    """The generation that is read, and the ledger's position that it reflects.

    `freed`: how often parked cases were taken back, which changes what is shown of a position.
    """

    generation: int
    position: int
    freed: int = 0


class Unfilled(Unavailable):
    """The views are not whole: the ledger is older than they are, or an older release moved them without their sums."""


class Fenced(Exception):
    """Somebody else has moved the checkpoint, or another generation is read now: what was folded here is void."""


async def live(connection: Connection) -> View:
    """Which generation is read, and how far it has come."""
    row = await (await connection.execute(LIVE, binary=True)).fetchone()
    assert row is not None
    return View(*row[:3])


def readable(row: Sequence[Any], sums: bool = False) -> View:
    """What `LIVE` tells, to be read; raises `Unfilled` rather than let anybody see a part, or old `sums`."""
    if not row[3] or (sums and not row[4]):
        raise Unfilled("the views are being filled")
    return View(*row[:3])


async def is_summed(connection: Connection) -> bool:
    """Whether the sums are of the position that the generation has; else a release that doesn't keep them moved it."""
    row = await (await connection.execute(LIVE, binary=True)).fetchone()
    assert row is not None
    return bool(row[4])


async def summed(connection: Connection, view: View) -> None:
    """The sums have been made anew, in this transaction; raises `Fenced`."""
    if await locked(connection) != view.generation or await live(connection) != view:
        raise Fenced
    await connection.execute(_SUMMED, [view.generation])


async def move(connection: Connection, view: View, position: int, alive: bool = True) -> None:
    """Take the checkpoint from where it was to a position, in this transaction; raises `Fenced`.

    `alive`: as the generation that is read; else as one that is built.
    """
    if alive and await locked(connection) != view.generation:
        raise Fenced
    moved = await connection.execute(_MOVE, [position, datetime.now(UTC), position, view.generation, view.position])
    if moved.rowcount != 1:
        raise Fenced


async def locked(connection: Connection) -> int:
    """Which generation is read, and stays so until this transaction ends."""
    row = await (await connection.execute(_LOCK)).fetchone()
    assert row is not None
    return int(row[0])


async def announce(connection: Connection, view: View) -> None:
    """Tell every process, once this transaction is committed."""
    await connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, f"{view.generation} {view.position} {view.freed}"])


async def waiting(connection: Connection, generation: int) -> dict[UUID, str]:
    """The parked cases, each with its state: `parked`, `retry` (to be tried again) or `dropped`."""
    return dict(await (await connection.execute(_WAITING, [generation])).fetchall())


async def park(connection: Connection, generation: int, parked: Sequence[Parked]) -> None:
    """Set cases aside, in this transaction."""
    for one in parked:
        now = datetime.now(UTC)
        await connection.execute(_PARK, [generation, one.case_id, one.region, one.position, one.fault, now])


async def free(connection: Connection, generation: int, case_ids: Sequence[UUID]) -> None:
    """Take cases back, in this transaction."""
    if case_ids:
        await connection.execute(_FREE, [generation, list(case_ids)])
