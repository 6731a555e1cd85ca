"""Sums over the cases whose sealed texts hold a word: they are looked into, so that their rows are added up here."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import literal, select

from projections import tables
from projections.added_up import overdue
from projections.case_list import Open, matching
from projections.filters import Asked, conditions
from projections.grouping import PLACES, Places, group, lying, places
from projections.percentiles import PERCENTS
from projections.summary import Group, Summary, Summed, items
from projections.tables import COUNTED
from projections.views import Statement, Views, next_due
from services.directory import Directory

# Columns of a case before its counts; `matching` knows where the texts and what else is searched stand.
_FIRST = 7


async def summary_of_word(
    views: Views, directory: Directory, by: Sequence[str], asked: Asked, now: datetime, opened: Open
) -> Summary:
    """Like `summary`; `opened` opens a document's texts."""
    placed = places(lying(directory, now)) if set(by) & set(PLACES) else None
    seen = await views.look(lambda view: _statements(view, by, asked, placed, now), sums=True)
    cases, late, answers, due = seen.rows
    lateness = {g[0]: (all_, responses) for g, all_, responses in late}
    seconds: dict[UUID, list[int]] = defaultdict(list)
    for case_id, found in answers:
        seconds[case_id].append(found)
    groups: dict[Group, list[tuple[Any, ...]]] = defaultdict(list)
    for row in await matching(cases, asked, opened):
        groups[tuple(row[1])].append(row)
    summed = {g: _summed(rows, lateness, seconds) for g, rows in groups.items()}
    return Summary(seen.view, items(by, summed), due[0][0])


def _statements(
    view: tables.View, by: Sequence[str], asked: Asked, placed: Places | None, now: datetime
) -> list[Statement]:
    cases, c, a = view.cases, view.cases.c, view.complaints.c
    limits = [c.status != "void", *conditions(view, asked, now)]
    source: Any = cases if placed is None else cases.outerjoin(placed, placed.c.project == c.project)
    texts = select(view.words.c.texts).where(view.words.c.case_id == c.case_id).scalar_subquery()
    searched = (texts, c.version, c.case_no, c.external_ref, c.tags)
    counted = (literal(1), *(c[name] for name in COUNTED[1:]))
    return [
        select(c.case_id, group(cases, by, placed), *searched, *counted).select_from(source).where(*limits),
        overdue(view, ("case_id",), asked, None, now),
        select(a.case_id, a.seconds)
        .select_from(cases.join(view.complaints, a.case_id == c.case_id))
        .where(a.seconds.is_not(None), *limits),
        next_due(view, asked.regions, now),
    ]


def _summed(
    rows: Sequence[tuple[Any, ...]],
    lateness: Mapping[UUID, tuple[int, int]],
    seconds: Mapping[UUID, Sequence[int]],
) -> Summed:
    sums = [sum(counts) for counts in zip(*(row[_FIRST:] for row in rows), strict=True)]
    late = [lateness.get(row[0], (0, 0)) for row in rows]
    answers = sorted(found for row in rows for found in seconds.get(row[0], ()))
    return Summed(
        dict(zip(COUNTED, sums, strict=True)),
        sum(all_ for all_, _ in late),
        sum(responses for _, responses in late),
        {percent: answers[(len(answers) * percent + 99) // 100 - 1] for percent in PERCENTS if answers},
    )
