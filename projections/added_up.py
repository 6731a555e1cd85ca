"""Sums over the cases' tallies, one by one: for whatever no sum is kept of.

A void case owes nothing, and nobody's waiting counts in it: its tally says so, so that only its opening is left out.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    case,
    cast,
    column,
    func,
    literal,
    select,
    true,
    union_all,
    values,
)
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP, aggregate_order_by, array
from sqlalchemy.types import Text

from projections.filters import Asked, alike, tallied
from projections.grouping import PLACES, Places, columns
from projections.percentiles import PERCENTS
from projections.tables import COUNTED, View

_FINE = frozenset({"project", "month", *PLACES})


def counts(view: View, by: Sequence[str], asked: Asked, places: Places | None, now: datetime) -> Select[Any]:
    """The sums of each group: of cases that are alike if only that is asked, else of each."""
    if not asked.only_counted:
        return _sums(view.tallies, by, places).where(view.tallies.c.opened == 1, *tallied(view, asked, now))
    c = view.counts.c
    fine = asked.projects is not None or bool(_FINE & set(by))
    grain = (c.project != "", c.month != "") if fine else (c.project == "", c.category != "")
    return _sums(view.counts, by, places).where(*grain, *alike(view.counts, asked))


def overdue(view: View, by: Sequence[str], asked: Asked, places: Places | None, now: datetime) -> Select[Any]:
    """Of each group the duties that nothing has met and whose time is over, and how many of them are responses."""
    t = view.tallies.c
    named = columns(view.tallies, by, places)
    due, responses = _over(t.unmet, now), _over(t.unmet_responses, now)
    return (
        select(_group(named), *(cast(func.sum(one), BigInteger) for one in (due, responses)))
        .select_from(_placed(view.tallies, places))
        .where(t.due_at < now, *tallied(view, asked, now))
        .group_by(*_keys(named))
    )


def percentiles(view: View, by: Sequence[str], asked: Asked, places: Places | None, now: datetime) -> Select[Any]:
    """Rows of a group, a percent and the seconds; no row for a group without an answer."""
    t = view.tallies.c
    names = [f"by_{place}" for place in range(len(by))]
    named = [one.label(name) for name, one in zip(names, columns(view.tallies, by, places), strict=True)]
    answers = [
        select(*named, seconds.label("second"))
        .select_from(_placed(view.tallies, places))
        .where(t.answers > others, *tallied(view, asked, now))
        for others, seconds in enumerate((t.seconds, func.unnest(t.more_seconds)))
    ]
    answer = union_all(*answers).subquery("answer").c
    keys = [answer[name] for name in names]
    # A group's answers as one array, put in order by itself: quicker than ordering all answers by the groups' texts.
    held = select(_group(keys), func.array_agg(answer.second).label("seconds")).group_by(*_keys(keys)).cte("held")
    each = func.unnest(held.c.seconds).column_valued("each")
    ordered = select(func.array_agg(aggregate_order_by(each, each), type_=ARRAY(Integer)).label("seconds")).lateral(
        "ordered"
    )
    asked_for = values(column("percent", Integer), name="asked_for").data([(percent,) for percent in PERCENTS])
    rank = (func.cardinality(held.c.seconds) * asked_for.c.percent + 99) // 100
    return select(held.c.g, asked_for.c.percent, ordered.c.seconds[rank]).select_from(
        held.join(ordered, true()).join(asked_for, true())
    )


def _sums(table: Any, by: Sequence[str], places: Places | None) -> Select[Any]:
    named = columns(table, by, places)
    sums = (cast(func.sum(table.c[name]), BigInteger) for name in COUNTED)
    return select(_group(named), *sums).select_from(_placed(table, places)).group_by(*_keys(named))


def _group(named: Sequence[ColumnElement[Any]]) -> ColumnElement[Any]:
    return (array(named) if named else cast(literal("{}", Text), ARRAY(Text))).label("g")


def _keys(named: Sequence[ColumnElement[Any]]) -> Sequence[ColumnElement[Any]]:
    """What to group by: of nothing there is no group either."""
    return named or [_group(named)]


def _placed(table: Any, places: Places | None) -> Any:
    return table if places is None else table.outerjoin(places, places.c.project == table.c.project)


def _over(instants: Any, now: datetime) -> ColumnElement[Any]:
    """How many of them are over; the first to fall due comes first."""
    due = func.unnest(instants).table_valued(column("due", TIMESTAMP(timezone=True)), name="each").render_derived()
    return case(
        (instants[1] < now, select(func.count()).select_from(due).where(due.c.due < now).scalar_subquery()), else_=0
    )
