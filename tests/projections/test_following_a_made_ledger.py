"""The follower over a ledger like years of work: batches folded ahead end in the rows of folding everything once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from projections.folding import Folder, Moved
from projections.follower import Follower
from projections.grams import Grams
from projections.tables import VIEWS
from projections.writing import Writer
from services.event_log import EventLog, connect
from services.policies import PolicyBook
from services.vault import Vault
from tests.bench.ledger import Order, made

pytestmark = pytest.mark.anyio

_MASTER, _PHONES = b"m" * 32, b"p" * 32
_ORDER = Order(actions=2_500, cases=375, until=datetime(2026, 11, 1, tzinfo=UTC), seed=3)


@asynccontextmanager
async def _folding(url: str) -> AsyncIterator[tuple[EventLog, Folder]]:
    async with EventLog(url) as log:
        vault = Vault(_MASTER, _PHONES, log.read.keys)
        yield log, Folder(log, vault, PolicyBook(log), Grams(_PHONES))


async def _follow(url: str, most: int) -> int:
    """Let a follower come to the end of the ledger."""
    async with _folding(url) as (log, folder):
        end = (await log.read.head()).position
        arrived = asyncio.Event()
        follower = Follower(url, log, folder, lambda view: arrived.set() if view.position == end else None, most)
        following = asyncio.create_task(follower.run())
        await asyncio.wait_for(arrived.wait(), 60)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        return end


def _held(url: str, generation: int) -> dict[str, set[Any]]:
    """All rows; `position` of a case is that of the last action of its docket, whatever the batches were."""
    with psycopg.connect(url) as connection:
        return {
            table.name: {
                tuple(map(str, row)) for row in connection.execute(f"SELECT * FROM {table.fullname}").fetchall()
            }
            for table in VIEWS[generation]
        }


async def _folded_once(url: str, generation: int, twice: bool = False) -> None:
    async with _folding(url) as (log, folder), await connect(url, role=None) as connection:
        end = (await log.read.head()).position
        with psycopg.connect(url) as own:
            streams = [stream for (stream,) in own.execute("SELECT stream FROM case_ids")]
        moved = await folder.together(streams, end)
        writer = Writer(connection, generation)
        for _ in range(2 if twice else 1):
            async with connection.transaction():
                await writer.replace(moved.rows)


@pytest.mark.parametrize("most", [37, 500, 10_000])
async def test_batches_of_any_size_end_in_the_same_rows(database_url: str, most: int) -> None:
    made(_ORDER, database_url, _MASTER, _PHONES)
    await _follow(database_url, most)
    await _folded_once(database_url, 2, twice=True)
    followed, folded = _held(database_url, 1), _held(database_url, 2)
    assert len(followed["cases"]) > 300 and followed["counts"]
    assert followed == folded


async def test_what_a_large_case_no_longer_has_is_taken_away(database_url: str) -> None:
    made(_ORDER, database_url, _MASTER, _PHONES)
    async with _folding(database_url) as (log, folder), await connect(database_url, role=None) as connection:
        end = (await log.read.head()).position
        with psycopg.connect(database_url) as own:
            streams = [stream for (stream,) in own.execute("SELECT stream FROM case_ids")]
        moved = await folder.together(streams, end)
        large, grams = max(moved.rows, key=lambda one: len(one[0].complaints))
        assert len(large.complaints) > 10 and large.grades
        writer = Writer(connection, 1)
        less = large._replace(complaints=large.complaints[1:], duties=large.duties[2:], grades=[])
        for rows in (large, less):
            async with connection.transaction():
                await writer.replace([(rows, grams)])
    held = _held(database_url, 1)
    assert len(held["complaints"]) == len(less.complaints)
    assert len(held["duties"]) == len(less.duties)
    assert not held["grades"]


class _Slow(Folder):
    """Folds for longer than a session may be idle."""

    async def take(self, *asked: Any) -> Moved:
        await asyncio.sleep(6)
        return await super().take(*asked)


async def test_a_leader_that_folds_for_long_goes_on_leading(database_url: str) -> None:
    made(_ORDER._replace(actions=300, cases=45), database_url, _MASTER, _PHONES)
    async with _folding(database_url) as (log, folder):
        folder.__class__ = _Slow
        end = (await log.read.head()).position
        led: list[bool] = []
        arrived = asyncio.Event()
        follower = Follower(
            database_url, log, folder, lambda view: arrived.set() if view.position == end else None, 400
        )
        following = asyncio.create_task(follower.run())
        async with asyncio.timeout(40):
            while not arrived.is_set():
                await asyncio.sleep(0.05)
                led.append(follower.leads)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert all(led[led.index(True) :])
