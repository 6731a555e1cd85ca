"""Which cases a question is about: the contract's filters as conditions on the views' tables."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Table, and_, func, literal, or_, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Integer, Text

from projections.tables import View
from services.directory import Directory, in_force
from services.event_log.tables import DATA_KEYS

Condition = ColumnElement[bool]


class Asked(NamedTuple):
    """The contract's filters. None, or nothing in a list of values: whatever it is; several values: any of them."""

    regions: tuple[str, ...] | None = None
    projects: tuple[str, ...] | None = None
    categories: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    grades: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    breached: bool | None = None
    opened_from: datetime | None = None
    opened_to: datetime | None = None
    updated_since: datetime | None = None
    word: str | None = None
    number: str | None = None
    grams: tuple[int, ...] = ()
    reference: str | None = None
    household: str | None = None
    person: bytes | None = None

    @property
    def only_counted(self) -> bool:
        """Whether nothing is asked but what the sums are kept by (`tables.COUNTED_BY`)."""
        plain = Asked()._replace(
            regions=self.regions,
            projects=self.projects,
            categories=self.categories,
            stages=self.stages,
            statuses=self.statuses,
            grades=self.grades,
        )
        return self == plain


def conditions(cases: Table, asked: Asked, now: datetime) -> list[Condition]:
    """What a row of `cases` has to fulfil."""
    c = cases.c
    found = [
        *within(c.region, asked.regions),
        *within(c.project, asked.projects),
        *within(c.category, asked.categories or None),
        *within(c.stage, asked.stages or None),
        *within(c.status, asked.statuses or None),
        *within(c.grade, asked.grades or None),
        *within(c.escalation_level, asked.levels or None),
    ]
    if asked.channels:
        found.append(c.channels.op("&&")(literal(list(asked.channels), ARRAY(Text))))
    if asked.tags:
        found.append(c.tags.op("&&")(literal(list(asked.tags), ARRAY(Text))))
    if asked.breached is not None:
        # Late from the first microsecond after the instant at which it was due.
        late = and_(c.breached_at.is_not(None), c.breached_at < now)
        found.append(late if asked.breached else or_(c.breached_at.is_(None), c.breached_at >= now))
    if asked.opened_from:
        found.append(c.opened_at >= asked.opened_from)
    if asked.opened_to:
        found.append(c.opened_at < asked.opened_to)
    if asked.updated_since:
        found.append(c.updated_at >= asked.updated_since)
    if asked.word is not None:
        found.append(_word(cases, asked))
    if asked.reference is not None:
        found.append(c.external_ref == asked.reference)
    return found


def complained(view: View, asked: Asked) -> list[Condition]:
    """That one of the case's complaints is of the household or the person, if that is asked."""
    c = view.complaints.c
    found: list[Condition] = []
    if asked.household is not None:
        found.append(c.household == asked.household)
    if asked.person is not None:
        key_ids = select(DATA_KEYS.c.key_id).where(DATA_KEYS.c.person == asked.person)
        found.append(c.person == key_ids.scalar_subquery())
    return [view.cases.c.case_id.in_(select(c.case_id).where(*found))] if found else []


def within(column: Any, values: Collection[str] | None) -> list[Condition]:
    """That a column has one of the values; None: whichever."""
    if values is None:
        return []
    if len(values) == 1:
        return [column == next(iter(values))]
    return [column == func.any(literal(sorted(values), ARRAY(Text)))]


def _word(cases: Table, asked: Asked) -> Condition:
    """A number, a reference or a tag, whole; or a text that may hold the word, which who reads it makes sure of."""
    c = cases.c
    found: list[Condition] = [
        c.external_ref == asked.word,
        c.tags.op("@>")(literal([asked.word], ARRAY(Text))),
    ]
    if asked.number:
        found.append(c.case_no == asked.number)
    if asked.grams:
        found.append(c.grams.op("@>")(literal(list(asked.grams), ARRAY(Integer))))
    return or_(*found)


def projects_in(
    directory: Directory, now: datetime, cities: Collection[str], areas: Collection[str]
) -> tuple[str, ...]:
    """The projects that lie in one of the cities and one of the areas now; nothing in either: whichever."""
    found = []
    for code, entries in directory.projects.items():
        fact = in_force(entries, now).fact
        if (not cities or fact.city in cities) and (not areas or fact.area in areas):
            found.append(code)
    return tuple(found)
