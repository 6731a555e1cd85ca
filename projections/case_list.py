"""Lists of cases: heads as they lie in the views, with what the directory says of them now."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select, tuple_, union_all

from projections import tables
from projections.case_view import encode, place
from projections.checkpoint import View
from projections.filters import Asked, Condition, complained, conditions, word_by_frequency
from projections.grams import plain
from projections.views import Rows, Seen, Statement, Views, next_due
from services.directory import Directory

SORTS = ("opened_at", "updated_at", "due_at", "grade")
# So many more rows are looked at for one page of a word: few that may hold it don't.
_MAY_NOT_HOLD = 10

Open = Callable[[bytes], Awaitable[bytes]]


class Order(NamedTuple):
    """By what a list is ordered; the case's id decides between equals, in the same direction."""

    name: str
    descending: bool

    def columns(self, view: tables.View) -> list[ColumnElement[Any]]:
        c = view.cases.c
        first: Mapping[str, list[ColumnElement[Any]]] = {"grade": [c.severity, c.opened_at]}
        return [*first.get(self.name, [c[self.name]]), c.case_id]


class Page(NamedTuple):
    """Heads with the texts in them still sealed, and the key of the last one if there are more.

    `due_at`: where the time decides who is in it, the next instant at which a duty falls due.
    """

    view: View
    items: list[bytes]
    last: list[Any] | None
    total: int | None
    due_at: datetime | None


async def page(
    views: Views,
    directory: Directory,
    asked: Asked,
    order: Order,
    after: Sequence[Any] | None,
    limit: int,
    now: datetime,
    opened: Open,
    count: bool = False,
) -> Page:
    """The cases behind the key `after`; `opened` opens a document's texts, as far as the caller may read them."""
    size = limit + 1 if asked.word is None else limit + _MAY_NOT_HOLD
    found: list[tuple[Any, ...]] = []
    total: int | None = None
    first: Seen | None = None
    while True:
        seen = await views.look(lambda view, key=after: _statements(view, asked, order, key, size, now, count))  # type: ignore[misc]
        # What later looks see besides is told as of the first, which saw it all.
        first = first or seen
        rows = seen.rows[0]
        if count and total is None:
            total = await _total(asked, opened, seen.rows[-1])
        found += await matching(rows, asked, opened)
        if len(found) > limit or len(rows) < size:
            break
        after = key_of(rows[-1])
    heads = Heads(directory, now)
    items = [heads.whole(row[0], row[1], row[3]) for row in found[:limit]]
    due_at = first.rows[1][0][0] if asked.breached is not None else None
    return Page(first.view, items, key_of(found[limit - 1]) if len(found) > limit else None, total, due_at)


class Heads:
    """Puts what the directory says of a project now behind the heads of its cases."""

    def __init__(self, directory: Directory, now: datetime) -> None:
        self._directory, self._now = directory, now
        self._places: dict[str, bytes] = {}

    def whole(self, head: bytes, project: str, due_at: datetime | None) -> bytes:
        """A head as it is sent."""
        placed = self._places.get(project)
        if placed is None:
            placed = self._places[project] = encode(place(project, self._directory, self._now))[1:]
        return b'%b,"due_at":%b,%b' % (head, encode(due_at), placed)


def _statements(
    view: tables.View, asked: Asked, order: Order, after: Sequence[Any] | None, size: int, now: datetime, count: bool
) -> list[Statement]:
    found: list[Statement] = [rows_of(view, asked, order, after, size, now)]
    found.append(next_due(view, asked.regions, now))
    if count:
        matched = _chosen(view, asked).where(*conditions(view, asked, now))
        found.append(
            matched
            if asked.word is not None
            else select(func.count())
            .select_from(view.cases)
            .where(*conditions(view, asked, now), *complained(view, asked))
        )
    return found


def rows_of(
    view: tables.View,
    asked: Asked,
    order: Order,
    after: Sequence[Any] | None,
    size: int,
    now: datetime,
    *more: ColumnElement[Any],
) -> Statement:
    """One walk along an index; ordered by a time that not all have, those without it come last, in a walk of theirs.

    `more` columns come last in a row. The second walk begins only where the first gave too few: the rows of a union are
    taken one part after the other.
    """
    limits = _conditions(view, asked, now)
    walks = [
        base.where(*limited).add_columns(*more).limit(size)
        for base in _parted(view, asked, order, after)
        for limited in limits
    ]
    return walks[0] if len(walks) == 1 else union_all(*walks).limit(size)


def _parted(view: tables.View, asked: Asked, order: Order, after: Sequence[Any] | None) -> list[Select[Any]]:
    """The walks in their order: those with a time, and those without."""
    columns = order.columns(view)
    base = _chosen(view, asked).add_columns(*columns)
    if order.name != "due_at":
        return [_walk(base, columns, order.descending, _values(order, after))]
    due_at, case_id = columns
    behind = [UUID(after[1])] if after and after[0] is None else None
    without = _walk(base.where(due_at.is_(None)), [case_id], order.descending, behind)
    if behind:
        return [without]
    return [_walk(base.where(due_at.is_not(None)), columns, order.descending, _values(order, after)), without]


def _conditions(view: tables.View, asked: Asked, now: datetime) -> list[list[Condition]]:
    """What is asked; of a word in texts once as of a rare word and once as of a frequent one."""
    if not asked.grams:
        return [conditions(view, asked, now)]
    others = conditions(view, asked._replace(word=None, grams=()), now)
    return [[*others, one] for one in word_by_frequency(view, asked)]


def _chosen(view: tables.View, asked: Asked) -> Select[Any]:
    c = view.cases.c
    texts = select(view.words.c.texts).where(view.words.c.case_id == c.case_id).scalar_subquery()
    third = texts if asked.word is not None else c.case_id
    return select(c.head, c.project, third, c.due_at, c.case_no, c.external_ref, c.tags).where(*complained(view, asked))


# Columns before the key.
_FIRST = 7


def _walk(
    base: Select[Any], columns: Sequence[ColumnElement[Any]], descending: bool, after: Sequence[Any] | None
) -> Select[Any]:
    if after is not None:
        here, there = tuple_(*columns), tuple_(*after)
        base = base.where(here < there if descending else here > there)
    return base.order_by(*(column.desc() if descending else column.asc() for column in columns))


def key_of(row: Sequence[Any]) -> list[Any]:
    """The key of a row, as JSON can hold it."""
    return [str(value) if isinstance(value, UUID) else _plain(value) for value in row[_FIRST:]]


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _values(order: Order, after: Sequence[Any] | None) -> list[Any] | None:
    if after is None or after[0] is None:
        return None
    *keys, case_id = after
    return [*(value if isinstance(value, int) else datetime.fromisoformat(value) for value in keys), UUID(case_id)]


async def matching(rows: Sequence[tuple[Any, ...]], asked: Asked, opened: Open) -> list[tuple[Any, ...]]:
    """Of the rows that may hold the word those that do."""
    if asked.word is None or not rows:
        return list(rows)
    word = plain(asked.word)
    texts = json.loads(await opened(b"[" + b",".join(row[2] for row in rows) + b"]"))
    return [
        row
        for row, said in zip(rows, texts, strict=True)
        if asked.word == row[5]
        or asked.word in row[6]
        or (asked.number is not None and asked.number == row[4])
        or (asked.grams and any(word in plain(text) for text in said if text))
    ]


async def _total(asked: Asked, opened: Open, rows: Rows) -> int:
    return int(rows[0][0]) if asked.word is None else len(await matching(rows, asked, opened))
