"""The parked cases of the generation that is read: which there are, and what shall become of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from services.event_log import Connection

_LIVE = "(SELECT live FROM projections WHERE name = 'cases')"
_ALL = f"""
SELECT case_id, region, position, fault, parked_at, state FROM parked_cases WHERE generation = {_LIVE}
ORDER BY position
"""
_MARK = f"""
UPDATE parked_cases SET state = %b WHERE generation = {_LIVE} AND case_id = ANY(%b::uuid[]) RETURNING case_id
"""


class NoSuchParkedCase(Exception):
    """A case that is named is not parked."""


class ParkedCase(NamedTuple):
    """`state`: `parked`, `retry` (about to be tried again) or `dropped` (nobody waits for it any more)."""

    case_id: UUID
    region: str
    position: int
    fault: str
    parked_at: datetime
    state: str


async def parked_cases(connection: Connection) -> list[ParkedCase]:
    """All of them, in the order of what could not be applied."""
    return [ParkedCase(*row) for row in await (await connection.execute(_ALL)).fetchall()]


async def retry(connection: Connection, case_ids: Sequence[UUID]) -> list[UUID]:
    """Let whoever leads try them again, at once; those that are parked at all."""
    marked = await _mark(connection, "retry", case_ids)
    await connection.execute("SELECT pg_notify('anjuan', '')")
    return marked


async def drop(connection: Connection, case_ids: Sequence[UUID]) -> list[UUID]:
    """Wait for them no longer: what they show stands as it is, until they are tried again or rebuilt."""
    return await _mark(connection, "dropped", case_ids)


async def _mark(connection: Connection, state: str, case_ids: Sequence[UUID]) -> list[UUID]:
    rows = await connection.execute(_MARK, [state, list(case_ids)])
    return [row[0] for row in await rows.fetchall()]
