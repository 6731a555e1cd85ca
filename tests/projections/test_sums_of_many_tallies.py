"""Sums that are kept, and those that are added up, of thousands of tallies: what counting them here comes to."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest

from projections import added_up, kept_sums, percentiles
from projections.filters import Asked
from projections.grouping import PLACES, Lying, places
from projections.percentiles import PERCENTS
from projections.rows import month_of
from projections.tables import COUNTED, VIEWS
from projections.views import compiled
from projections.writing import kept
from services.event_log import Connection, connect
from services.migrations import migrate

pytestmark = pytest.mark.anyio

_VIEW = VIEWS[1]
_REGIONS = ("GD", "SH", "ZJ")
_LYING = Lying([f"{region}-{n}" for region in _REGIONS for n in range(4)], ["佛山", "广州", ""] * 4, ["南", "北"] * 6)
# Just after a month began: some of what is owed this month is over, and some of last month's is not long so.
_NOW = datetime(2026, 11, 3, 4, 5, 6, tzinfo=UTC)
_MONTHS = (datetime(2026, 8, 31, 16, tzinfo=UTC), datetime(2026, 9, 30, 16, tzinfo=UTC))
_GROUPINGS = ((), *((name,) for name in ("region", "project", "city", "area", "category", "status", "month")))
_PAIRS = (("region", "category"), ("month", "region"), ("project", "city"), ("category", "month"), ("area", "status"))
_QUESTIONS = (
    Asked(),
    Asked(regions=("GD",)),
    Asked(regions=("GD", "ZJ")),
    Asked(regions=()),
    Asked(categories=("property",)),
    Asked(projects=("GD-1", "SH-2")),
    Asked(opened_from=_MONTHS[0]),
    Asked(opened_from=_MONTHS[0], opened_to=_MONTHS[1], regions=("SH",)),
    Asked(opened_from=_MONTHS[0] + timedelta(hours=7)),
)
_DUTY = (
    *("duty_id", "case_id", "region", "project", "duty", "cycle", "office", "started_at", "known_at", "due_at"),
    *("void", "item"),
)
# Where slots begin and end, and what lies beside.
_EDGES = [edge + beside for root in (0, 1, 2, 7, 8, 15, 16) for edge in (root**4,) for beside in (-1, 0, 1)]


class Tally(NamedTuple):
    """A case as far as it is summed here."""

    region: str
    project: str
    city: str
    area: str
    category: str
    status: str
    month: str
    opened_at: datetime
    seconds: list[int]
    unmet: list[datetime]
    responses: list[datetime]


def _tally(rng: Random) -> Tally:
    place = rng.randrange(len(_LYING.lying))
    project, city, area = (names[place] for names in _LYING)
    opened_at = _NOW - timedelta(seconds=rng.randrange(100 * 86_400))
    waits = (lambda: max(0, rng.choice(_EDGES)), lambda: int(rng.lognormvariate(8, 2)), lambda: rng.randrange(3_600))
    seconds = sorted(rng.choice(waits)() for _ in range(rng.choice((0, 1, 1, 1, 2, 5))))
    responses = sorted(_due(rng) for _ in range(rng.choice((0, 0, 1, 2))))
    unmet = sorted([*responses, *(_due(rng) for _ in range(rng.choice((0, 0, 1))))])
    category, status = rng.choice(("property", "engineering")), rng.choice(("open", "closed", "closed"))
    month = month_of(opened_at)
    return Tally(project[:2], project, city, area, category, status, month, opened_at, seconds, unmet, responses)


def _due(rng: Random) -> datetime:
    month = _NOW.replace(day=1, hour=0, minute=0, second=0)
    near = rng.choice((_NOW, month, _NOW - timedelta(days=60 * rng.random()), _NOW + timedelta(days=40 * rng.random())))
    return near + rng.choice((-1, 0, 1)) * timedelta(microseconds=1)


@pytest.fixture
async def connection(database_url: str, anyio_backend: object) -> AsyncIterator[Connection]:
    migrate(database_url)
    async with await connect(database_url) as made:
        yield made


async def _fill(connection: Connection, tallies: Sequence[Tally]) -> None:
    names = [column.name for column in _VIEW.tallies.columns]
    into = f"COPY {_VIEW.tallies.fullname} ({', '.join(names)}) FROM STDIN"
    async with connection.cursor() as cursor, cursor.copy(into) as copy:
        for number, one in enumerate(tallies):
            more = {"more_seconds": one.seconds[1:] or None, "unmet_responses": one.responses or None}
            row = {
                **one._asdict(),
                **dict.fromkeys(COUNTED, 1),
                **{"grade": "A-1", "stage": "complaint", "escalation_level": "none", "channels": [], "tags": []},
                **{"case_id": UUID(int=number), "answers": len(one.seconds), "unmet": one.unmet or None},
                **{"due_at": one.unmet[0] if one.unmet else datetime(9999, 1, 1, tzinfo=UTC), "breached_at": None},
                **{"seconds": one.seconds[0] if one.seconds else 0, **more},
            }
            await copy.write_row([row[name] for name in names])
    # What falls due in this month is asked of the duties themselves.
    into = f"COPY {_VIEW.duties.fullname} ({', '.join(_DUTY)}) FROM STDIN"
    async with connection.cursor() as cursor, cursor.copy(into) as copy:
        for number, one in enumerate(tallies):
            responses = Counter(one.responses)
            for due_at in one.unmet:
                duty = "respond" if responses[due_at] else "record_lesson"
                responses[due_at] -= 1
                await copy.write_row(
                    (uuid4(), UUID(int=number), one.region, one.project, duty, 1, "o", _NOW, _NOW, due_at, False, b"")
                )
    for table, due in kept(_VIEW)[1:]:
        columns = ", ".join(column.name for column in table.columns)
        await connection.execute(f"INSERT INTO {table.fullname} ({columns}) SELECT {columns} FROM ({due}) AS due")


Part = Callable[..., Any]


async def test_each_way_to_a_sum_comes_to_what_is_there(connection: Connection, seed: int) -> None:
    rng = Random(seed)
    tallies = [_tally(rng) for _ in range(3_000)]
    await _fill(connection, tallies)
    ways = Counter[str]()
    for by in (*_GROUPINGS, *_PAIRS):
        lies = _LYING if set(by) & set(PLACES) else None
        placed = places(lies) if lies else None
        for asked in _QUESTIONS:
            expected = _expected(by, [one for one in tallies if _holds(asked, one)])
            if one := kept_sums.one(by, asked, lies):
                found = await _found(
                    connection,
                    kept_sums.counts(_VIEW, one),
                    kept_sums.overdue(_VIEW, one, _NOW),
                    percentiles.kept(_VIEW, one),
                )
                assert found == expected, ("kept", by, asked)
                ways["kept"] += 1
            parts: Sequence[Part] = (added_up.counts, added_up.overdue, added_up.percentiles)
            found = await _found(connection, *(part(_VIEW, by, asked, placed, _NOW) for part in parts))
            assert found == expected, ("added up", by, asked)
            ways["added up"] += 1
    assert ways["kept"] > 40
    assert ways["added up"] == len((*_GROUPINGS, *_PAIRS)) * len(_QUESTIONS)


Found = tuple[dict[Any, int], dict[Any, tuple[int, int]], dict[Any, int]]


async def _found(connection: Connection, counts: Any, overdue: Any, seconds: Any) -> Found:
    rows = []
    for statement in (counts, overdue, seconds):
        text, values = compiled(statement)
        rows.append(await (await connection.execute(text, values, binary=True)).fetchall())
    return (
        {tuple(g): opened for g, opened, *_ in rows[0]},
        {tuple(g): (duties, responses) for g, duties, responses in rows[1] if duties},
        {(tuple(g), percent): second for g, percent, second in rows[2]},
    )


def _expected(by: Sequence[str], tallies: Sequence[Tally]) -> Found:
    groups: dict[Any, list[Tally]] = defaultdict(list)
    for one in tallies:
        groups[tuple(getattr(one, name) for name in by)].append(one)
    overdue = {g: (_over(held, "unmet"), _over(held, "responses")) for g, held in groups.items()}
    answers = {g: sorted(second for one in held for second in one.seconds) for g, held in groups.items()}
    return (
        {g: len(held) for g, held in groups.items()},
        {g: found for g, found in overdue.items() if found[0]},
        {
            (g, percent): held[(len(held) * percent + 99) // 100 - 1]
            for g, held in answers.items()
            for percent in PERCENTS
            if held
        },
    )


def _over(tallies: Sequence[Tally], name: str) -> int:
    return sum(1 for one in tallies for due in getattr(one, name) if due < _NOW)


def _holds(asked: Asked, one: Tally) -> bool:
    return (
        (asked.regions is None or one.region in asked.regions)
        and (asked.projects is None or one.project in asked.projects)
        and (not asked.categories or one.category in asked.categories)
        and (asked.opened_from is None or one.opened_at >= asked.opened_from)
        and (asked.opened_to is None or one.opened_at < asked.opened_to)
    )
