"""Which cases a question is about: the contract's filters as conditions on the views' tables."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, Table, and_, func, literal, not_, or_, select, union_all
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Integer, Text

from projections.tables import View, found_by
from services.directory import Directory, in_force
from services.event_log.tables import DATA_KEYS

Condition = ColumnElement[bool]
# Up to so many cases are fetched by their ids rather than met on a walk.
_FEW = 2_000
# A word that so many of a sample of cases have is frequent: a page of it is met on a short walk.
_SAMPLE, _FREQUENT = 400, 20


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
    grams: tuple[tuple[int, ...], ...] = ()
    reference: str | None = None
    household: str | None = None
    person: tuple[bytes, ...] = ()

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


def alike(table: Table, asked: Asked) -> list[Condition]:
    """What a row has to fulfil of what the sums are kept by."""
    c = table.c
    return [
        *any_of(c.region, asked.regions),
        *any_of(c.project, asked.projects),
        *any_of(c.category, asked.categories or None),
        *any_of(c.stage, asked.stages or None),
        *any_of(c.status, asked.statuses or None),
        *any_of(c.grade, asked.grades or None),
    ]


def conditions(view: View, asked: Asked, now: datetime) -> list[Condition]:
    """What a row of `cases` has to fulfil."""
    return [*_found_by(view.cases, asked, now), *_only_of_cases(view, asked)]


def tallied(view: View, asked: Asked, now: datetime) -> list[Condition]:
    """What a row of `tallies` has to fulfil."""
    found = _found_by(view.tallies, asked, now)
    if others := _only_of_cases(view, asked):
        found.append(view.tallies.c.case_id.in_(select(view.cases.c.case_id).where(*others)))
    return found


def _found_by(table: Table, asked: Asked, now: datetime) -> list[Condition]:
    """What cases and their tallies both have."""
    c = table.c
    found = [*alike(table, asked), *any_of(c.escalation_level, asked.levels or None)]
    for column, values in ((c.channels, asked.channels), (c.tags, asked.tags)):
        if values:
            found.append(_has_any(table, column, values))
    if asked.breached is not None:
        # Late from the first microsecond after the instant at which it was due.
        late = and_(c.breached_at.is_not(None), c.breached_at < now)
        found.append(late if asked.breached else or_(c.breached_at.is_(None), c.breached_at >= now))
    if asked.opened_from:
        found.append(c.opened_at >= asked.opened_from)
    if asked.opened_to:
        found.append(c.opened_at < asked.opened_to)
    return found


def _has_any(table: Table, column: Any, values: Collection[str]) -> Condition:
    """That a list has one of the values; of cases by an index that guarded rows would not let be used."""
    wanted = literal(sorted(values), ARRAY(Text))
    if table.name != "cases":
        return column.op("&&")(wanted)  # type: ignore[no-any-return]
    held = found_by(table)
    return table.c.case_id.in_(select(held.c.case_id).where(held.c[column.name].op("&&")(wanted)))


def _only_of_cases(view: View, asked: Asked) -> list[Condition]:
    found: list[Condition] = []
    if asked.updated_since:
        found.append(view.cases.c.updated_at >= asked.updated_since)
    if asked.word is not None:
        found.append(_word(view, asked))
    if asked.reference is not None:
        found.append(view.cases.c.external_ref == asked.reference)
    return found


def complained(view: View, asked: Asked) -> list[Condition]:
    """That one of the case's complaints is of the household or the person, if that is asked."""
    c = view.complaints.c
    found: list[Condition] = []
    if asked.household is not None:
        found.append(c.household == asked.household)
    if asked.person:
        key_ids = select(DATA_KEYS.c.key_id).where(DATA_KEYS.c.person.in_(asked.person))
        found.append(c.person.in_(key_ids))
    return [view.cases.c.case_id.in_(select(c.case_id).where(*found))] if found else []


def any_of(column: Any, values: Collection[str] | None) -> list[Condition]:
    """That a column has one of the values; None: any at all."""
    if values is None:
        return []
    if len(values) == 1:
        return [column == next(iter(values))]
    return [column == func.any(literal(sorted(values), ARRAY(Text)))]


def _word(view: View, asked: Asked, *more: Select[Any]) -> Condition:
    """A number, a reference or a tag, whole; or a text that may hold the word, which who reads it makes sure of.

    Each by its own index, so that a word that hardly any case has is found at once.
    """
    c, w = view.cases.c, view.words.c
    found = [select(c.case_id).where(one) for one in _named(view, asked)]
    if asked.grams:
        found.append(select(w.case_id).where(_has_grams(w.grams, asked)))
    return c.case_id.in_(union_all(*found, *more))


def _has_grams(column: Any, asked: Asked) -> Condition:
    return or_(*(column.op("@>")(literal(list(grams), ARRAY(Integer))) for grams in asked.grams))


def _named(view: View, asked: Asked) -> list[Condition]:
    c = view.cases.c
    held = found_by(view.cases)
    tagged = select(held.c.case_id).where(held.c.tags.op("@>")(literal([asked.word], ARRAY(Text))))
    found = [c.external_ref == asked.word, c.case_id.in_(tagged)]
    return [*found, c.case_no == asked.number] if asked.number else found


def word_by_frequency(view: View, asked: Asked) -> list[Condition]:
    """The same for a list that ends after a page, as conditions of which only one is ever worked on.

    Of a word that few cases have the list is made of those; else it is walked, looking at each case's own words. One
    that a few hundred cases show to be frequent is not even looked up: the index would gather all that have it.
    """
    w = view.words.c
    held = _has_grams(w.grams, asked)
    sample = select(held.label("holds")).limit(_SAMPLE).cte("sample")
    few = select(w.case_id).where(held).limit(_FEW + 1).cte("few")
    is_frequent = select(func.count()).select_from(sample).where(sample.c.holds).scalar_subquery() >= _FREQUENT
    are_many = or_(is_frequent, select(func.count()).select_from(few).scalar_subquery() > _FEW)
    # As a value rather than by EXISTS, which would be answered by gathering them all.
    its_own = select(held).where(w.case_id == view.cases.c.case_id).correlate(view.cases).scalar_subquery()
    return [
        and_(not_(are_many), _word(view, asked._replace(grams=()), select(few.c.case_id))),
        and_(are_many, or_(its_own, *_named(view, asked))),
    ]


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
