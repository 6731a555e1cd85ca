"""Duties that are or were late at an instant, by when they fell due, each with the head of its case."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Select, and_, func, literal, or_, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from grading_engine.duties import Clock, Proof
from projections import duty_view, tables
from projections.case_list import Heads
from projections.case_view import encode
from projections.filters import Condition
from services.directory import Directory

STATES = ("overdue", "met_late")
SORTS = ("due_at",)
# Where a row of `late` has its project.
PROJECT = 8


class Late(NamedTuple):
    """The filters of breaches. None, or nothing in a list of values: whatever it is."""

    regions: tuple[str, ...] | None = None
    projects: tuple[str, ...] | None = None
    duties: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    due_from: datetime | None = None
    due_to: datetime | None = None


def late(view: tables.View, asked: Late, descending: bool, after: Any, size: int, now: datetime) -> Select[Any]:
    """The duties behind the key `after`; their due time and id come last in a row."""
    d, c = view.duties.c, view.cases.c
    columns = [d.due_at, d.duty_id]
    found = (
        select(d.item, d.started_at, d.known_at, d.met_at, d.proved_at, d.office, d.unit, c.head, c.project, c.due_at)
        .add_columns(d.region, *columns)
        .join(view.cases, c.case_id == d.case_id)
        .where(*_conditions(view, asked, now))
        .order_by(*(column.desc() if descending else column.asc() for column in columns))
        .limit(size)
    )
    if after is None:
        return found
    here, there = tuple_(*columns), tuple_(datetime.fromisoformat(after[0]), UUID(after[1]))
    return found.where(here < there if descending else here > there)


def _conditions(view: tables.View, asked: Late, now: datetime) -> list[Condition]:
    d = view.duties.c
    # As the index of what may be late has it; what is unmet is late once its time is over.
    found: list[Condition] = [
        ~d.void,
        d.due_at.is_not(None),
        or_(d.met_at.is_(None), d.met_at > d.due_at),
        or_(d.met_at.is_not(None), d.due_at < now),
    ]
    for column, values in ((d.region, asked.regions), (d.project, asked.projects), (d.duty, asked.duties or None)):
        if values is not None:
            found.append(column == func.any(literal(sorted(values), ARRAY(Text))))
    if asked.states == ("overdue",):
        found.append(d.met_at.is_(None))
    elif asked.states == ("met_late",):
        found.append(d.met_at.is_not(None))
    if asked.due_from:
        found.append(d.due_at >= asked.due_from)
    if asked.due_to:
        found.append(d.due_at < asked.due_to)
    return [and_(*found)]


def key_of(row: Sequence[Any]) -> list[str]:
    """The key of a row."""
    return [row[-2].isoformat(), str(row[-1])]


def shown(row: Sequence[Any], heads: Heads, directory: Directory, now: datetime) -> bytes:
    """A duty as it stands at `now`, with its case; texts still sealed."""
    item, started_at, known_at, met_at, proved_at, office, unit, head, project, due_at, region, own_due_at, _ = row
    clock = Clock(started_at, known_at, own_due_at, Proof(met_at, proved_at) if met_at else None, void=False)
    stands = duty_view.stands(clock, now)
    owed_by = unit if office == "obtaining_unit" else duty_view.holder(region, office, directory.regions, now)
    more = encode({**stands, "owed_by": owed_by})
    return b'%b,%b,"case":%b}' % (item, more[1:-1], heads.whole(head, project, due_at))
