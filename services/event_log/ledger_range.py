"""A stretch of the ledger in global order, of all regions or some, read page by page."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import NamedTuple

from services.event_log import statements as sql
from services.event_log.reader import Reader
from services.event_log.record import Record

_PAGE = 1_000
# Positions that one look passes over at most when they are of other regions: it has two seconds.
_PASSED = 100_000


class Selection(NamedTuple):
    """Events behind position `after`, up to `until`, of some regions (None: of all and of the group)."""

    regions: Sequence[str] | None
    after: int
    until: int

    async def pages(self, reader: Reader, limit: int | None = None) -> AsyncIterator[list[Record]]:
        """In order, up to `limit` of them. A page may be empty: as much was passed over as one look may."""
        after, left = self.after, limit
        while after < self.until and left != 0:
            size = _PAGE if left is None else min(_PAGE, left)
            last = min(self.until, after + (size if self.regions is None else _PASSED))
            rows = await reader.rows(sql.BETWEEN, [after, last, self.regions is None, list(self.regions or ()), size])
            records = [Record(*row) for row in rows]
            yield records
            after = records[-1].position if len(records) == size else last
            left = None if left is None else left - len(records)


async def begins_at(reader: Reader, instant: datetime, head: int) -> int:
    """The first position that was recorded at an instant or later; `head` + 1 if none. Positions rise with time."""
    low, high = 1, head + 1
    while low < high:
        middle = (low + high) // 2
        rows = await reader.rows(sql.RECORDED_AT, [middle])
        if rows and rows[0][0] >= instant:
            high = middle
        else:
            low = middle + 1
    return low
