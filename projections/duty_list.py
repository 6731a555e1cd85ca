"""Lists of duties: what is owed, and what is or was late, right at the instant of the request.

Rows hold clocks, not states: which state a duty is in, and whether it stood overdue, is decided by the conditions here
and told by the rule that judges a case's duties too (`grading_engine.duties.read`).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, get_args
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, and_, func, literal, not_, or_, select, true, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from grading_engine.duties import Clock, Proof, State
from projections import duty_view, tables
from projections.case_list import Page
from projections.case_view import encode
from projections.filters import Condition, any_of
from projections.views import Statement, Views, next_due
from services.directory import Directory

STATES: tuple[State, ...] = get_args(State)
LATE: tuple[State, ...] = ("overdue", "met_late")
# Nothing was done later than so long after now: clocks may run ahead by minutes.
_AHEAD = timedelta(hours=1)
# So many projects are walked each by itself; more are looked for along their regions.
_EACH = 100


class AskedDuties(NamedTuple):
    """The contract's filters. None, or nothing in a list of values: whatever it is; several values: any of them."""

    regions: tuple[str, ...] | None = None
    projects: tuple[str, ...] | None = None
    duties: tuple[str, ...] = ()
    states: tuple[State, ...] = ()
    was_overdue: bool | None = None
    due_from: datetime | None = None
    due_to: datetime | None = None
    due_before: datetime | None = None


Part = Literal["timed", "untimed"]


async def page(
    views: Views,
    directory: Directory,
    asked: AskedDuties,
    descending: bool,
    after: Sequence[Any] | None,
    limit: int,
    now: datetime,
    count: bool = False,
) -> Page:
    """The duties behind the key `after`, by `due_at`; those that have none come last. Texts are still sealed."""
    parts = _parts(asked, after)
    counted = _parts(asked, None) if count else ()

    def ask(view: tables.View) -> list[Statement]:
        walks = [_walk(view.duties, asked, part, descending, after, limit + 1, now) for part in parts]
        counts = [_count(view.duties, asked, part, now) for part in counted]
        return [next_due(view, asked.regions, now), *walks, *counts]

    seen = await views.look(ask)
    (due_at,), *answers = seen.rows[0][0], *seen.rows[1:]
    found = [row for rows in answers[: len(parts)] for row in rows][: limit + 1]
    items = [item(row, directory, now) for row in found[:limit]]
    total = sum(rows[0][0] for rows in answers[len(parts) :]) if count else None
    last = _key(found[limit - 1]) if len(found) > limit else None
    return Page(seen.view, items, last, total, due_at)


def item(row: Sequence[Any], directory: Directory, now: datetime) -> bytes:
    """A duty as it is sent: as it lies in the views, with what the time and the directory say of it now."""
    _, due_at, held, region, office, unit, started_at, known_at, met_at, proved_at, void = row
    proof = Proof(met_at, proved_at) if met_at else None
    owed_by = unit if office == "obtaining_unit" else duty_view.holder(region, office, directory.regions, now)
    stands = duty_view.stands(Clock(started_at, known_at, due_at, proof, void), now)
    return b"%b,%b" % (held, encode({**stands, "owed_by": owed_by})[1:])


def _columns(duties: Table) -> list[ColumnElement[Any]]:
    c = duties.c
    clock = (c.started_at, c.known_at, c.met_at, c.proved_at, c.void)
    return [c.duty_id, c.due_at, c.item, c.region, c.office, c.unit, *clock]


def _key(row: Sequence[Any]) -> list[Any]:
    """The key of a row, as JSON can hold it."""
    duty_id, due_at = row[0], row[1]
    return [due_at.isoformat() if due_at else None, str(duty_id)]


def _parts(asked: AskedDuties, after: Sequence[Any] | None) -> list[Part]:
    """Those with a time and those without are walked apart; only where there can be any, and behind the key."""
    found: list[Part] = [] if after and after[0] is None else ["timed"]
    bounded = asked.due_from or asked.due_to or asked.due_before or asked.was_overdue
    if not bounded and not set(asked.states or STATES) <= set(LATE):
        found.append("untimed")
    return found


def _walk(
    duties: Table,
    asked: AskedDuties,
    part: Part,
    descending: bool,
    after: Sequence[Any] | None,
    size: int,
    now: datetime,
) -> Select[Any]:
    """One walk along an index. Of several projects or regions each is walked, and the firsts of all are sorted: however
    few rows one of them has, no other's are passed over to find them."""
    c = duties.c
    base = select(*_columns(duties)).where(
        *_conditions(duties, asked, part, now), *_behind(duties, part, descending, after)
    )
    base = base.order_by(*_ordered(c.due_at, c.duty_id, descending)).limit(size)
    column, values = c.region, asked.regions
    if asked.projects is not None and len(asked.projects) <= _EACH:
        column, values = c.project, asked.projects
        base = base.where(*any_of(c.region, asked.regions))
    else:
        base = base.where(*any_of(c.project, asked.projects))
    if values is None or len(values) == 1:
        return base.where(*any_of(column, values))
    named = func.unnest(literal(list(values), ARRAY(Text))).table_valued("named", name="asked").render_derived()
    each = base.where(column == named.c.named).lateral("each")
    merged = select(*each.c).select_from(named.join(each, true()))
    return merged.order_by(*_ordered(each.c.due_at, each.c.duty_id, descending)).limit(size)


def _ordered(due_at: ColumnElement[Any], duty_id: ColumnElement[Any], descending: bool) -> list[ColumnElement[Any]]:
    # By both, too, where `due_at` is null: so the index is seen to have this order.
    return [due_at.desc(), duty_id.desc()] if descending else [due_at.asc(), duty_id.asc()]


def _behind(duties: Table, part: Part, descending: bool, after: Sequence[Any] | None) -> list[Condition]:
    """That a row lies behind the key. The part without times begins where the other one ends."""
    if after is None or (after[0] is None) != (part == "untimed"):
        return []
    c = duties.c
    if part == "untimed":
        there = UUID(after[1])
        return [c.duty_id < there if descending else c.duty_id > there]
    here, key = tuple_(c.due_at, c.duty_id), tuple_(datetime.fromisoformat(after[0]), UUID(after[1]))
    return [here < key if descending else here > key]


def _count(duties: Table, asked: AskedDuties, part: Part, now: datetime) -> Select[Any]:
    return (
        select(func.count())
        .select_from(duties)
        .where(
            *_conditions(duties, asked, part, now),
            *any_of(duties.c.region, asked.regions),
            *any_of(duties.c.project, asked.projects),
        )
    )


def _conditions(duties: Table, asked: AskedDuties, part: Part, now: datetime) -> list[Condition]:
    """What a row has to fulfil, but for its region and its project."""
    c = duties.c
    found = [
        c.due_at.is_not(None) if part == "timed" else c.due_at.is_(None),
        *any_of(c.duty, asked.duties or None),
    ]
    if asked.states:
        found += _states(duties, asked.states, part, now)
    if part == "timed" and asked.was_overdue is not None:
        stood = _was_overdue(duties, now)
        found.append(stood if asked.was_overdue else not_(func.coalesce(stood, False)))
    if asked.due_from:
        found.append(c.due_at >= asked.due_from)
    for bound in (asked.due_to, asked.due_before):
        if bound:
            found.append(c.due_at < bound)
    return found


def _states(duties: Table, states: Sequence[State], part: Part, now: datetime) -> list[Condition]:
    """That a row is in one of the states; what they have in common stands first, in the words of the indexes."""
    c = duties.c
    found: list[Condition] = []
    if "void" not in states:
        found.append(not_(c.void))
    if set(states) <= {"pending", "overdue"}:
        found.append(c.met_at.is_(None))
    elif set(states) <= set(LATE):
        found += [or_(c.met_at.is_(None), c.met_at > c.due_at), c.due_at < now + _AHEAD]
    each = _timed(duties, now) if part == "timed" else _untimed(duties)
    return [*found, or_(*(each[state] for state in states if state in each))]


def _timed(duties: Table, now: datetime) -> dict[State, Condition]:
    """不超过: at exactly `due_at` a duty is in time, one microsecond later it is not (4.3)."""
    c = duties.c
    return {
        "pending": and_(not_(c.void), c.met_at.is_(None), c.due_at >= now),
        "overdue": and_(not_(c.void), c.met_at.is_(None), c.due_at < now),
        "met": and_(not_(c.void), c.met_at <= c.due_at),
        "met_late": and_(not_(c.void), c.met_at > c.due_at),
        "void": c.void,
    }


def _untimed(duties: Table) -> dict[State, Condition]:
    """What has no time is tracked, and never overdue."""
    c = duties.c
    return {
        "pending": and_(not_(c.void), c.met_at.is_(None)),
        "met": and_(not_(c.void), c.met_at.is_not(None)),
        "void": c.void,
    }


def _was_overdue(duties: Table, now: datetime) -> Condition:
    """That it stood overdue, or does, as recorded then."""
    c = duties.c
    proved_late = c.proved_at > func.greatest(c.due_at, c.known_at)
    return and_(not_(c.void), or_(and_(c.met_at.is_(None), c.due_at < now), c.met_at > c.due_at, proved_late))
