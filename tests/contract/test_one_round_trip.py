"""Statements exchanged with the server in one round trip: however large, failing, or cut off."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from services.event_log.connections import connect, cut
from services.event_log.exchange import BEGIN, ROLLBACK, Exchange, Statement

pytestmark = pytest.mark.anyio


@pytest.fixture
async def exchange(database_url: str) -> AsyncIterator[Exchange]:
    opened = Exchange(await connect(database_url, role=None))
    yield opened
    await opened.close()


async def test_each_statement_has_its_rows(exchange: Exchange) -> None:
    twice: Statement = ("SELECT n, %b::text FROM generate_series(1, 2) AS n", ["x"])
    for _ in range(3):
        assert await exchange.ask(BEGIN, twice, ROLLBACK) == [[], [(1, "x"), (2, "x")], []]


async def test_a_statement_may_get_values_of_other_widths(exchange: Exchange) -> None:
    for value in (1, 1 << 20, 1 << 40, 1):
        assert await exchange.ask(("SELECT %b::int8", [value])) == [[(value,)]]


async def test_questions_and_answers_beyond_any_buffer(exchange: Exchange) -> None:
    """The server stops reading while its answers are not taken."""
    large = bytes(3 << 20)
    answers = await exchange.ask(*[("SELECT %b::bytea", [large])] * 8)
    assert answers == [[(large,)]] * 8


async def test_what_comes_behind_a_failure_is_not_done(exchange: Exchange, database_url: str) -> None:
    made: Statement = ("CREATE TABLE made ()", ())
    with pytest.raises(psycopg.errors.DivisionByZero):
        await exchange.ask(("SELECT 1 / %b::int", [0]), made)
    with psycopg.connect(database_url) as another:
        assert another.execute("SELECT to_regclass('made')").fetchone() == (None,)


async def test_a_server_that_hung_up_is_told_by_the_next_question(exchange: Exchange, database_url: str) -> None:
    pid = exchange.connection.info.backend_pid
    with psycopg.connect(database_url) as another:
        another.execute("SELECT pg_terminate_backend(%s, 1000)", [pid])
    with pytest.raises(psycopg.OperationalError):
        await exchange.ask(BEGIN)


async def test_a_question_ends_when_its_connection_is_cut(exchange: Exchange) -> None:
    asked = asyncio.create_task(exchange.ask(BEGIN, ("SELECT pg_sleep(30)", ())))
    await asyncio.sleep(0.1)
    cut(exchange.connection)
    with pytest.raises(psycopg.OperationalError):
        await asyncio.wait_for(asked, 1)
