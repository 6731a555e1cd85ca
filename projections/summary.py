"""Sums over cases, by any of their dimensions: from the kept sums where they suffice, else from the cases themselves.

What depends on the instant is not kept: duties that nobody met and whose time is over are counted when asked, from the
index of those that nothing has met.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Select, cast, func, select

from projections import tables
from projections.checkpoint import View
from projections.filters import Asked, alike, any_of, conditions
from projections.grouping import PLACES, Places, group, places
from projections.percentiles import PERCENTS, percentiles
from projections.tables import COUNTED
from projections.views import Statement, Views, next_due
from services.directory import Directory

_FINE = frozenset({"project", "month", *PLACES})
_OF_DUTIES = frozenset({"region", "project", *PLACES})
_PLACE_OF_SHARE = Decimal("0.0001")

Group = tuple[str, ...]


class Summed(NamedTuple):
    """What was found of a group: the kept sums, duties and responses overdue now, and seconds by percent."""

    sums: Mapping[str, int]
    overdue: int
    responses_overdue: int
    seconds: Mapping[int, int]


class Summary(NamedTuple):
    """The items, the view that they are of, and the next instant at which a duty in scope falls due."""

    view: View
    items: list[dict[str, Any]]
    due_at: datetime | None


async def summary(views: Views, directory: Directory, by: Sequence[str], asked: Asked, now: datetime) -> Summary:
    """One item a group that has a case, sorted by its dimensions; without dimensions one of all cases."""
    placed = places(directory, now) if set(by) & set(PLACES) else None
    seen = await views.look(lambda view: _statements(view, by, asked, placed, now))
    sums, overdue, seconds, due = seen.rows
    late: dict[Group, tuple[int, int]] = {tuple(g): (all_, responses) for g, all_, responses in overdue}
    waited: dict[Group, dict[int, int]] = defaultdict(dict)
    for g, percent, found in seconds:
        waited[tuple(g)][percent] = found
    summed = {
        tuple(g): Summed(dict(zip(COUNTED, counts, strict=True)), *late.get(tuple(g), (0, 0)), waited[tuple(g)])
        for g, *counts in sums
    }
    return Summary(seen.view, items(by, summed), due[0][0])


def items(by: Sequence[str], summed: Mapping[Group, Summed]) -> list[dict[str, Any]]:
    """As they are told; an unknown city or area comes last."""
    if not by and not summed:
        summed = {(): Summed(Counter(), 0, 0, {})}
    return [
        {**_named(by, key), **told(summed[key])}
        for key in sorted(summed, key=lambda key: [(not part, part) for part in key])
    ]


def told(found: Summed) -> dict[str, Any]:
    """Counts, shares and seconds of a group."""
    sums = found.sums
    breaches = sums["duties_late"] + found.overdue
    responses_due = sums["responses_met"] + sums["responses_late"] + found.responses_overdue
    return {
        "opened": sums["opened"],
        "closed": sums["closed"],
        "reopened": sums["reopened"],
        "open": sums["open"],
        "household_count": sums["household_count"],
        "duties_due": sums["duties_due"],
        "duties_pending": sums["duties_due"] - sums["duties_met"] - breaches,
        "breaches": breaches,
        "responded_in_time": sums["responses_met"],
        "responses_due": responses_due,
        "closed_share": _share(sums["closed"], sums["opened"]),
        "breached_share": _share(breaches, sums["duties_due"]),
        "responded_in_time_share": _share(sums["responses_met"], responses_due),
        "median_seconds_to_respond": found.seconds.get(PERCENTS[0]),
        "p90_seconds_to_respond": found.seconds.get(PERCENTS[1]),
    }


def _share(part: int, whole: int) -> str | None:
    """With four decimals, halves rounded up; None where there is nothing to divide."""
    return str((Decimal(part) / whole).quantize(_PLACE_OF_SHARE, ROUND_HALF_UP)) if whole else None


def _named(by: Sequence[str], key: Group) -> dict[str, str | None]:
    return {name: part or None for name, part in zip(by, key, strict=True)}


def _statements(
    view: tables.View, by: Sequence[str], asked: Asked, placed: Places | None, now: datetime
) -> list[Statement]:
    return [
        _kept(view, by, asked, placed) if asked.only_counted else _added_up(view, by, asked, placed, now),
        overdue(view, by, asked, placed, now),
        percentiles(view, by, asked, placed, now),
        next_due(view, asked.regions, now),
    ]


def _kept(view: tables.View, by: Sequence[str], asked: Asked, placed: Places | None) -> Select[Any]:
    """From the sums: those of all projects and months, unless one of these is asked for."""
    c = view.counts.c
    fine = asked.projects is not None or bool(_FINE & set(by))
    found = _sums(view.counts, [c[name] for name in COUNTED], by, placed)
    return found.where(c.project != "" if fine else c.project == "", *alike(view.counts, asked))


def _added_up(view: tables.View, by: Sequence[str], asked: Asked, placed: Places | None, now: datetime) -> Select[Any]:
    """From the cases one by one; each that is not void counts as opened."""
    c = view.cases.c
    found = _sums(view.cases, [1, *(c[name] for name in COUNTED[1:])], by, placed)
    return found.where(c.status != "void", *conditions(view, asked, now))


def _sums(table: Any, counted: Iterable[Any], by: Sequence[str], placed: Places | None) -> Select[Any]:
    g = group(table, by, placed).label("g")
    source = table if placed is None else table.outerjoin(placed, placed.c.project == table.c.project)
    return select(g, *(cast(func.sum(one), BigInteger) for one in counted)).select_from(source).group_by(g)


def overdue(view: tables.View, by: Sequence[str], asked: Asked, placed: Places | None, now: datetime) -> Select[Any]:
    """Of each group the duties that nothing has met and whose time is over, and how many of them are responses."""
    d, cases = view.duties.c, view.cases
    source: Any = view.duties
    limits = [*any_of(d.region, asked.regions), *any_of(d.project, asked.projects)]
    own = asked == Asked(regions=asked.regions, projects=asked.projects) and set(by) <= _OF_DUTIES
    if not own:
        source = source.join(cases, cases.c.case_id == d.case_id)
        limits += conditions(view, asked, now)
    if placed is not None:
        source = source.outerjoin(placed, placed.c.project == d.project)
    g = group(view.duties if own else cases, by, placed).label("g")
    return (
        select(g, func.count(), func.count().filter(d.duty == "respond"))
        .select_from(source)
        .where(~d.void, d.met_at.is_(None), d.due_at < now, *limits)
        .group_by(g)
    )
