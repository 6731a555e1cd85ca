"""A new case is told, inside its own append, of the open ones that it looks like."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from services.event_log import (
    Appended,
    Begun,
    EventLog,
    Fact,
    IdempotencyKey,
    KeyTaken,
    Placed,
    Proposal,
    Similar,
)

NOON = datetime(2026, 1, 15, 4, tzinfo=UTC)
DAY, TICK = timedelta(days=1), timedelta(microseconds=1)

pytestmark = pytest.mark.anyio


class Opened:
    """One case and what it was found to be similar to."""

    def __init__(self, opened_at: datetime = NOON, project: str = "P-1", category: str = "engineering") -> None:
        self.stream, self.opened_at = uuid4(), opened_at
        self.similar: list[Similar] = []
        begun = Begun(project, category, opened_at)
        self.fact = Fact(self.stream, "received", 1, "north", b'{"n":1}', begun, answer=self._answer, is_open=True)

    def _answer(self, placed: Placed) -> bytes:
        self.similar[:] = placed.similar
        return b""

    async def store(self, log: EventLog) -> list[UUID]:
        await log.append(Proposal("agent/north/li", {self.stream: 0}, [self.fact]))
        return [one.stream for one in self.similar]


async def _turn(log: EventLog, case: Opened, version: int, is_open: bool) -> None:
    fact = Fact(case.stream, "noted", 1, "north", b"{}", is_open=is_open)
    await log.append(Proposal("agent/north/li", {case.stream: version}, [fact]))


async def test_the_newest_ten_of_thirty_days_around_are_similar(database_url: str) -> None:
    around = [Opened(NOON + n * DAY / 2) for n in (3, -3, 60, -60, 1, -1, 20, -20, 40, -40, 50)]
    apart = [
        Opened(NOON + 30 * DAY + TICK),
        Opened(NOON - 30 * DAY - TICK),
        Opened(project="P-2"),
        Opened(category="service"),
    ]
    async with EventLog(database_url) as log:
        for case in (*around, *apart):
            await case.store(log)
        asked = Opened()
        newest = sorted(around, key=lambda case: case.opened_at, reverse=True)[:10]
        assert await asked.store(log) == [case.stream for case in newest]
        numbers = {one.case_no: one.stream for one in asked.similar}
        assert [await log.read.case_by_number(case_no) for case_no in numbers] == list(numbers.values())


async def test_alike_at_one_instant_are_told_of_each_other_whichever_batch_stores_them(database_url: str) -> None:
    async with EventLog(database_url) as one, EventLog(database_url) as other:
        cases = [Opened() for _ in range(10)]
        told = await asyncio.gather(*(case.store(log) for log, case in zip([one, other] * 5, cases, strict=True)))
    # Of each two exactly one was told: the one that was stored later.
    assert sorted(map(len, told)) == list(range(10))


async def test_a_closed_case_is_not_similar_until_it_is_reopened(database_url: str) -> None:
    old = Opened()
    async with EventLog(database_url) as log:
        assert await old.store(log) == []
        await _turn(log, old, 1, is_open=False)
        between = Opened(category="service")
        assert await Opened().store(log) == []
        await _turn(log, old, 2, is_open=True)
        assert old.stream in await Opened().store(log)
        assert await between.store(log) == []


async def test_a_case_that_is_opened_and_closed_in_one_proposal_is_stored_closed(database_url: str) -> None:
    case, old = Opened(), Opened()
    async with EventLog(database_url) as log:
        await old.store(log)
        facts = [case.fact, *(Fact(s, "noted", 1, "north", b"{}", is_open=False) for s in (case.stream, old.stream))]
        await log.append(Proposal("agent/north/li", {case.stream: 0, old.stream: 1}, facts))
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT stream, is_open FROM case_ids").fetchall()
    assert set(rows) == {(case.stream, False), (old.stream, False)}


async def test_each_fact_of_a_proposal_is_kept_under_its_own_key_or_none_is(database_url: str) -> None:
    one, other = uuid4(), uuid4()
    keys = [IdempotencyKey("li", name, b"digest") for name in ("1", "2", "3")]
    facts = [
        Fact(stream, "noted", 1, "north", b"{}", key=key, answer=lambda placed: b"%d" % placed.record.position)
        for stream, key in zip((one, one, other), keys, strict=True)
    ]
    async with EventLog(database_url) as log:
        stored = await log.append(Proposal("agent/north/li", {one: 0, other: 0}, facts))
        assert isinstance(stored, Appended)
        kept = [await log.read.answer("li", key.key) for key in keys]
        assert [answer and (answer.stream, answer.version, answer.document) for answer in kept] == [
            (one, 1, b"1"),
            (one, 2, b"2"),
            (other, 1, b"3"),
        ]
        again = [facts[0], Fact(other, "noted", 1, "north", b"{}", key=IdempotencyKey("li", "4", b"digest"))]
        with pytest.raises(KeyTaken) as taken:
            await log.append(Proposal("agent/north/li", {one: 2, other: 1}, again[::-1]))
        assert taken.value.key == keys[0]
        assert (await log.read.answer("li", "4"), (await log.read.head()).position) == (None, 3)
