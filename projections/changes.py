"""What moved in the views since a position: ids of cases, and notices of duties that were missed."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from projections import tables
from projections.views import Statement, Views

# So many of each at once; what moved together, as merged cases do, is never parted.
BATCH = 500
_MOVED = """
SELECT position, {columns} FROM {table} WHERE position > %(after)s AND position <= %(upto)s
AND (%(regions)s::text[] IS NULL OR region = ANY(%(regions)s::text[]))
ORDER BY position FETCH FIRST {batch} ROWS WITH TIES
"""
_ANY = (1 << 63) - 1


class Notice(NamedTuple):
    """逾期通报. That a duty's missing was told, and at which position of the ledger."""

    position: int
    notice_id: UUID
    case_id: UUID


class Changes(NamedTuple):
    """All that moved after some position up to `until`."""

    until: int
    cases: Sequence[UUID]
    notices: Sequence[Notice]


async def since(views: Views, regions: Sequence[str] | None, after: int, upto: int | None = None) -> Changes:
    """What moved in these regions (None: anywhere) after a position, up to another one or to now; a batch at most."""
    values = {
        "after": after,
        "upto": _ANY if upto is None else upto,
        "regions": None if regions is None else [*regions],
    }

    def ask(view: tables.View) -> list[Statement]:
        return [
            (_MOVED.format(columns="case_id", table=view.cases.fullname, batch=BATCH), values),
            (_MOVED.format(columns="notice_id, case_id", table=view.notices.fullname, batch=BATCH), values),
        ]

    seen = await views.look(ask)
    end = max(after, seen.view.position if upto is None else upto)
    cases, notices = seen.rows
    until = min([end, *(rows[-1][0] for rows in seen.rows if len(rows) >= BATCH)])
    return Changes(
        until,
        [case_id for position, case_id in cases if position <= until],
        [Notice(*row) for row in notices if row[0] <= until],
    )
