"""Whom the views know of a person, and forgetting what texts were found by that nobody can open any more."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Select, Uuid, func, literal, select

from projections.tables import VIEWS, View
from projections.writing import clearing
from services.event_log import Reader


def complaints_of(view: View, persons: Collection[UUID]) -> Select[Any]:
    """The complaints that lie under these persons' keys: case, number, complaint, key."""
    c, p = view.cases.c, view.complaints.c
    return (
        select(c.case_id, c.case_no, p.complaint_id, p.person)
        .join_from(view.complaints, view.cases, c.case_id == p.case_id)
        .where(p.person == func.any(literal(list(persons), ARRAY(Uuid))))
        .order_by(c.case_id, p.complaint_id)
    )


async def clear_texts(reader: Reader, cases: Collection[UUID]) -> None:
    """Let nothing of these cases' texts be found, in both generations, at once."""
    for view in VIEWS.values():
        await reader.of_the_views.rows(
            f"WITH cleared AS ({clearing(view)} RETURNING 1) SELECT count(*) FROM cleared", [list(cases)]
        )
