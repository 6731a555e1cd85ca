"""By what a summary is grouped: columns of a row, and the city and area in which its project lies now."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, FromClause, Table, cast, column, func, literal
from sqlalchemy.dialects.postgresql import ARRAY, array
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.types import Text

from services.directory import Directory, in_force

DIMENSIONS = ("region", "city", "area", "project", "category", "grade", "status", "stage", "month")
PLACES = ("city", "area")
Places = FromClause
Columns = Mapping[str, Any] | ReadOnlyColumnCollection[str, Any]


class Lying(NamedTuple):
    """Every project that lies somewhere, with its city and its area now."""

    lying: list[str]
    cities: list[str]
    areas: list[str]


def lying(directory: Directory, now: datetime) -> Lying:
    """Where projects lie; what is unknown is ''."""
    facts = {code: in_force(entries, now).fact for code, entries in directory.projects.items()}
    return Lying(
        list(facts), [fact.city or "" for fact in facts.values()], [fact.area or "" for fact in facts.values()]
    )


def places(lying: Lying) -> Places:
    """The same as a table to join."""
    return (
        func.unnest(*(literal(held, ARRAY(Text)) for held in lying))
        .table_valued(*(column(name, Text) for name in ("project", *PLACES)), name="places")
        .render_derived()
    )


def group(table: Table | Columns, by: Sequence[str], places: Places | None) -> ColumnElement[Any]:
    """The group of a row as one value: the texts of its dimensions; an unknown city or area is ''."""
    named = columns(table, by, places)
    return array(named) if named else cast(literal("{}", Text), ARRAY(Text))


def columns(table: Table | Columns, by: Sequence[str], places: Places | None) -> list[ColumnElement[Any]]:
    """The same one by one."""
    held: Columns = table.c if isinstance(table, Table) else table
    named: list[ColumnElement[Any]] = []
    for name in by:
        if name in PLACES:
            assert places is not None
            named.append(func.coalesce(places.c[name], ""))
        else:
            named.append(held[name])
    return named
