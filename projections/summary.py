"""Sums over cases, by any of their dimensions: from the kept sums where they suffice, else from the cases themselves.

What depends on the instant is not kept: duties that nobody met and whose time is over are counted when asked, from the
index of those that nothing has met.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from projections import added_up, kept_sums, percentiles, tables
from projections.checkpoint import View
from projections.filters import Asked
from projections.grouping import PLACES, Lying, lying, places
from projections.percentiles import PERCENTS
from projections.tables import COUNTED
from projections.views import Statement, Views, next_due
from services.directory import Directory

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
    lies = lying(directory, now) if set(by) & set(PLACES) else None
    seen = await views.look(lambda view: _statements(view, by, asked, lies, now), sums=True)
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
    if not whole:
        return None
    units, rest = divmod((part * 20_000 + whole) // (2 * whole), 10_000)
    return f"{units}.{rest:04}"


def _named(by: Sequence[str], key: Group) -> dict[str, str | None]:
    return {name: part or None for name, part in zip(by, key, strict=True)}


def _statements(
    view: tables.View, by: Sequence[str], asked: Asked, lies: Lying | None, now: datetime
) -> list[Statement]:
    due = next_due(view, asked.regions, now)
    if kept := kept_sums.one(by, asked, lies):
        return [kept_sums.counts(view, kept), kept_sums.overdue(view, kept, now), percentiles.kept(view, kept), due]
    parts = (added_up.counts, added_up.overdue, added_up.percentiles)
    placed = places(lies) if lies else None
    return [*(part(view, by, asked, placed, now) for part in parts), due]
