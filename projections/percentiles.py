"""How long half and nine tenths of the answers took: exact, by nearest rank, without reading all of them.

The p-th percentile of n answers is the one with rank ceil(n * p / 100), the shortest first: a whole number of seconds
that some complaint really waited. Where all or one thing only is asked for, the wide slots of `answering` tell in which
of them it lies, and only the answers in that slot are looked at; else the answers themselves are counted.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import CTE, BigInteger, ColumnElement, Integer, Select, and_, cast, column, func, select, true, values

from projections.answering import ALL, KEPT_BY, SECOND
from projections.filters import Asked, any_of, conditions
from projections.grouping import Places, group
from projections.tables import View

PERCENTS = (50, 90)
_FILTERED: Mapping[str, str] = {
    "project": "projects",
    "category": "categories",
    "stage": "stages",
    "status": "statuses",
    "grade": "grades",
}
_PLACED = ("project", "city", "area")


def percentiles(view: View, by: Sequence[str], asked: Asked, places: Places | None, now: datetime) -> Select[Any]:
    """Rows of a group, a percent and the seconds; no row for a group without an answer."""
    shared = _shared(by, asked)
    if not asked.only_counted or len(shared) > 1:
        return _counted_one_by_one(view, by, asked, places, now)
    return _by_slots(view, by, asked, places, now, shared)


def _shared(by: Sequence[str], asked: Asked) -> list[str]:
    """What is grouped or filtered by besides the region: the columns of cases that tell."""
    grouped = {"project" if name in _PLACED else name for name in by if name != "region"}
    filtered = {name for name, field in _FILTERED.items() if getattr(asked, field) != getattr(Asked(), field)}
    return sorted(grouped | filtered)


def _counted_one_by_one(
    view: View, by: Sequence[str], asked: Asked, places: Places | None, now: datetime
) -> Select[Any]:
    cases, complaints = view.cases, view.complaints
    g = group(cases, by, places).label("g")
    joined = cases.join(complaints, complaints.c.case_id == cases.c.case_id)
    if places is not None:
        joined = joined.outerjoin(places, places.c.project == cases.c.project)
    held = (
        select(g, complaints.c.seconds.label("slot"), func.count().label("n"))
        .select_from(joined)
        .where(complaints.c.seconds.is_not(None), *conditions(view, asked, now))
        .group_by(g, complaints.c.seconds)
        .cte("held")
    )
    first = _first(held)
    return select(first.c.g, first.c.percent, first.c.slot)


def _by_slots(
    view: View, by: Sequence[str], asked: Asked, places: Places | None, now: datetime, shared: Sequence[str]
) -> Select[Any]:
    kept, wide = _wide(view, by, asked, places, shared)
    slots = _first(wide)
    seconds = _answers(view, by, asked, places, now, shared[0], kept, slots) if shared else _seconds(view, kept, slots)
    upto = func.sum(seconds.c.n).over(partition_by=(seconds.c.g, seconds.c.percent), order_by=seconds.c.seconds)
    ranked = select(
        seconds.c.g, seconds.c.percent, seconds.c.seconds, (seconds.c.below + upto >= seconds.c.rank).label("reached")
    ).cte("exact")
    return (
        select(ranked.c.g, ranked.c.percent, func.min(ranked.c.seconds))
        .where(ranked.c.reached)
        .group_by(ranked.c.g, ranked.c.percent)
    )


def _wide(view: View, by: Sequence[str], asked: Asked, places: Places | None, shared: Sequence[str]) -> tuple[CTE, CTE]:
    """The wide slots of each group, region by region and value by value, and summed up."""
    a = view.answers.c
    name = shared[0] if shared else ALL
    known = {"region": a.region, name: a.value}
    g = group(known, by, places).label("g")
    source: Any = view.answers
    if places is not None:
        source = source.outerjoin(places, places.c.project == a.value)
    wanted = getattr(asked, _FILTERED[name]) or None if name in _FILTERED and name != "project" else asked.projects
    kept = (
        select(g, a.region, a.value, a.slot, a.answered)
        .select_from(source)
        .where(a.kept_by == name, *any_of(a.region, asked.regions), *(any_of(a.value, wanted) if shared else ()))
        .cte("kept")
    )
    total = cast(func.sum(kept.c.answered), BigInteger).label("n")
    return kept, select(kept.c.g, kept.c.slot, total).group_by(kept.c.g, kept.c.slot).cte("wide")


def _first(held: CTE) -> CTE:
    """Of each group and percent the first slot that reaches the rank, with how many lie below it."""
    running = select(
        held.c.g,
        held.c.slot,
        held.c.n,
        cast(func.sum(held.c.n).over(partition_by=held.c.g, order_by=held.c.slot), BigInteger).label("upto"),
        cast(func.sum(held.c.n).over(partition_by=held.c.g), BigInteger).label("total"),
    ).cte("running")
    percents = values(column("percent", Integer), name="percents").data([(percent,) for percent in PERCENTS])
    r, percent = running.c, percents.c.percent
    rank = (r.total * percent + 99) // 100
    return (
        select(r.g, percent, r.slot, (r.upto - r.n).label("below"), rank.label("rank"))
        .select_from(running.join(percents, and_(r.upto >= rank, r.upto - r.n < rank)))
        .cte("first")
    )


def _within(seconds: ColumnElement[Any], slot: ColumnElement[Any], fineness: int) -> ColumnElement[bool]:
    """That seconds lie in a slot."""
    first, beyond = (
        (cast(edge, BigInteger) * edge + (fineness**2 - 1)) // fineness**2
        for edge in (slot, cast(slot, BigInteger) + 1)
    )
    return and_(seconds >= first, seconds < beyond)


def _seconds(view: View, kept: CTE, slots: CTE) -> CTE:
    """How many answers each second of the found slots has."""
    a, s = view.answers.c, slots.c
    scopes = select(kept.c.g, kept.c.region).distinct().cte("scopes")
    inside = (
        select(a.slot.label("seconds"), a.answered)
        .where(a.kept_by == SECOND, a.value == "", a.region == scopes.c.region, _within(a.slot, s.slot, 1))
        .offset(0)
        .lateral("inside")
    )
    found = (
        select(s.g, s.percent, s.below, s.rank, inside.c.seconds, func.sum(inside.c.answered).label("n"))
        .select_from(slots.join(scopes, scopes.c.g == s.g).join(inside, true()))
        .group_by(s.g, s.percent, s.below, s.rank, inside.c.seconds)
    )
    return found.cte("seconds")


def _answers(
    view: View,
    by: Sequence[str],
    asked: Asked,
    places: Places | None,
    now: datetime,
    shared: str,
    kept: CTE,
    slots: CTE,
) -> CTE:
    """The same from the complaints in the found slots, each slot looked at once however many groups need it."""
    cases, a, s = view.cases, view.complaints.c, slots.c
    project = shared == "project"
    where = kept.c.value if project else kept.c.region
    wanted = (
        select(where.label("where"), s.slot)
        .select_from(slots.join(kept, and_(kept.c.g == s.g, kept.c.slot == s.slot)))
        .distinct()
        .cte("wanted")
    )
    # By index, slot by slot, whatever the planner guesses of them.
    answered = (
        select(a.case_id, a.region, a.project, a.seconds)
        .where((a.project if project else a.region) == wanted.c.where, a.seconds.is_not(None))
        .where(_within(a.seconds, wanted.c.slot, KEPT_BY[shared]))
        .offset(0)
        .lateral("answered")
    )
    source: Any = wanted.join(answered, true())
    if not project:
        source = source.join(cases, cases.c.case_id == answered.c.case_id)
    elif places is not None:
        source = source.outerjoin(places, places.c.project == answered.c.project)
    of: Any = answered.c if project else cases.c
    g = group(of, by, places).label("g")
    seconds = answered.c.seconds
    found = select(g, wanted.c.slot, seconds, func.count().label("n")).select_from(source)
    limits = conditions(view, asked, now) if not project else any_of(answered.c.region, asked.regions)
    inside = found.where(*limits).group_by(g, wanted.c.slot, seconds).cte("inside")
    return (
        select(s.g, s.percent, s.below, s.rank, inside.c.seconds, inside.c.n)
        .select_from(slots.join(inside, and_(inside.c.g == s.g, inside.c.slot == s.slot)))
        .cte("seconds")
    )
