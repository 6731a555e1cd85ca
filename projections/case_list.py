"""The list of cases, straight from the openings in the ledger: always current, newest first."""

from collections.abc import Sequence
from uuid import UUID

from services.event_log import EventLog

_OPENINGS = "FROM events WHERE version = 1 AND name IN ('received', 'warned', 'risk_identified')"


async def newest(
    log: EventLog, regions: Sequence[str] | None, before: int | None, limit: int
) -> list[tuple[int, UUID]]:
    """Position and id of the cases opened last, below a position; `regions` None is all of them."""
    where, values = _where(regions)
    if before is not None:
        where, values = f"{where} AND position < %b", [*values, before]
    statement = f"SELECT position, stream {_OPENINGS}{where} ORDER BY position DESC LIMIT %b"
    return [(row[0], row[1]) for row in await log.read.rows(statement, [*values, limit])]


async def count(log: EventLog, regions: Sequence[str] | None) -> int:
    """How many cases there are in the regions."""
    where, values = _where(regions)
    rows = await log.read.rows(f"SELECT count(*) {_OPENINGS}{where}", values)
    return int(rows[0][0])


def _where(regions: Sequence[str] | None) -> tuple[str, list[object]]:
    return ("", []) if regions is None else (" AND region = ANY(%b::text[])", [list(regions)])
