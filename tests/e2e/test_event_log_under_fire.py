"""The event log on a real server while processes race, transactions linger, answers get lost and the server goes away.

Quick by default; with ANJUAN_SOAK=1 the numbers are those that a release is judged by.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from time import monotonic
from uuid import uuid4

import psycopg
import pytest

from projections.tables import DECLARED
from services.embedded_postgres import EmbeddedPostgres
from services.event_log import EventLog, Record, is_intact
from services.migrations import differences, migrate
from tests.e2e.fire import (
    Load,
    LosingProxy,
    bodies,
    commit_by_hand,
    commit_many,
    migrate_at,
    processes_of,
    proposal,
    race,
    seed_of,
    settle_keyed,
    under_load,
)

SOAK = os.environ.get("ANJUAN_SOAK") == "1"
# A caller is answered within five seconds; the rest is the test's own measuring.
LONGEST_ANSWER = 5.0

pytestmark = pytest.mark.anyio


def processes(count: int) -> ProcessPoolExecutor:
    """Fresh interpreters: a forked event loop or connection would be shared by mistake."""
    return ProcessPoolExecutor(count, mp_context=get_context("spawn"))


async def test_a_reader_misses_nothing_while_fifty_commit(database_url: str) -> None:
    chance = random.Random(seed_of("gap"))
    seeds = [chance.getrandbits(32) for _ in range(11)]
    appends, by_hand = (50_000, 100) if SOAK else (2_500, 8)
    loop = asyncio.get_running_loop()
    began = monotonic()
    # 3 × 14 committers in event loops, 8 with transactions of their own: fifty, all at once.
    with processes(11) as pool:
        working = [
            *(loop.run_in_executor(pool, commit_many, database_url, appends // 3, 14, seed) for seed in seeds[:3]),
            *(loop.run_in_executor(pool, commit_by_hand, database_url, by_hand, seed) for seed in seeds[3:]),
        ]
        async with EventLog(database_url) as log:
            followed: list[Record] = []
            reading = asyncio.create_task(_follow(log, followed))
            acknowledged = [stored for batch in await asyncio.gather(*working) for stored in batch]
            async with asyncio.timeout(10):
                while len(followed) < (await log.read.head()).position:  # noqa: ASYNC110 - the end is the database's
                    await asyncio.sleep(0.05)
            reading.cancel()
    print(f"{len(followed)} events in {monotonic() - began:.1f} s")
    assert [record.position for record in followed] == list(range(1, len(followed) + 1))
    assert [(record.position, record.body) for record in followed] == sorted(acknowledged)
    assert all(map(is_intact, followed))
    assert all(one.recorded_at < other.recorded_at for one, other in pairwise(followed))


async def _follow(log: EventLog, followed: list[Record]) -> None:
    async for records in log.read.follow(0):
        followed.extend(records)


async def test_each_version_of_a_stream_has_one_winner(database_url: str) -> None:
    chance = random.Random(seed_of("race"))
    stream, versions = uuid4(), 2_000 if SOAK else 150
    loop = asyncio.get_running_loop()
    with processes(2) as pool, get_context("spawn").Manager() as manager:
        start = manager.Barrier(2)
        seeds = [chance.getrandbits(32) for _ in range(2)]
        racing = [loop.run_in_executor(pool, race, database_url, stream, versions, start, seed) for seed in seeds]
        (one, lost), (other, lost_too) = await asyncio.gather(*racing)
    assert sorted(one + other) == list(range(1, versions + 1))
    assert lost + lost_too > 0, "nobody raced"
    assert one, "only one of the two ran"
    assert other, "only one of the two ran"


async def test_a_server_that_stops_and_starts_costs_nothing_acknowledged(
    durable_cluster: EmbeddedPostgres, durable_database_url: str
) -> None:
    async with under_load(durable_database_url) as (_, load):
        for number in range(10 if SOAK else 3):
            await asyncio.to_thread(durable_cluster.stop, "immediate" if number % 2 else "fast")
            await asyncio.sleep(0.7)
            await asyncio.to_thread(durable_cluster.start)
            await load.is_stored_again()
    _assert_kept_its_word(load, durable_database_url)


async def test_a_frozen_server_costs_nobody_more_than_five_seconds(
    durable_cluster: EmbeddedPostgres, durable_database_url: str
) -> None:
    postmaster = int((durable_cluster.cluster_dir / "postmaster.pid").read_text().split("\n")[0])
    async with under_load(durable_database_url) as (_, load):
        # First the one that would have more children while they are counted.
        os.kill(postmaster, signal.SIGSTOP)
        frozen = processes_of(postmaster)
        _signal_all(frozen, signal.SIGSTOP)
        try:
            await asyncio.sleep(20 if SOAK else 6)
        finally:
            _signal_all(frozen, signal.SIGCONT)
        await load.is_stored_again()
    _assert_kept_its_word(load, durable_database_url)
    assert any(not answer.stored for answer in load.answers), "nobody noticed"


def _signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, number)


async def test_a_head_locked_by_another_costs_nobody_more_than_five_seconds(durable_database_url: str) -> None:
    async with under_load(durable_database_url) as (_, load):
        async with await psycopg.AsyncConnection.connect(durable_database_url) as other:
            await other.execute("LOCK TABLE ledger_head IN ACCESS EXCLUSIVE MODE")
            await asyncio.sleep(20 if SOAK else 6)
        await load.is_stored_again()
    _assert_kept_its_word(load, durable_database_url)
    assert any(not answer.stored for answer in load.answers), "nobody noticed"


def _assert_kept_its_word(load: Load, url: str) -> None:
    """Everybody was answered in time, and what was said to be stored is there exactly once."""
    longest = max(answer.seconds for answer in load.answers)
    counted = Counter(body.partition('"id":"')[2].partition("/")[0] for body in bodies(url))
    stored = [answer.id for answer in load.answers if answer.stored]
    print(f"{len(stored)} stored, {len(load.answers) - len(stored)} refused, longest answer {longest:.2f} s")
    assert longest <= LONGEST_ANSWER
    assert {name: counted[name] for name in stored if counted[name] != 1} == {}
    assert max(counted.values()) == 1


async def test_a_commit_whose_answer_is_lost_is_stored_once(durable_database_url: str) -> None:
    chance = random.Random(seed_of("lost answers"))
    wanted = 1_000 if SOAK else 60
    names: list[str] = []
    at_once: list[bool] = []

    async def committer(log: EventLog, proxy: LosingProxy) -> None:
        stream, version = uuid4(), 0
        while len(proxy.cuts) < wanted:
            names.append(str(uuid4()))
            proxy.armed = chance.random() < 0.7
            version, first_time = await settle_keyed(log, stream, version, names[-1])
            at_once.append(first_time)

    async with LosingProxy(durable_database_url, chance) as proxy, EventLog(proxy.url) as log:
        await asyncio.gather(*(committer(log, proxy) for _ in range(3)))
    print(f"{Counter(proxy.cuts)}, {sum(at_once)} of {len(at_once)} settled by the append itself")
    assert set(proxy.cuts) == {"committed", "sent", "never sent"}
    assert Counter(bodies(durable_database_url)) == Counter(f'{{"id":"{name}/0"}}' for name in names)
    assert sum(at_once) >= 0.9 * len(at_once)


async def test_an_append_without_a_key_finds_its_own_lost_commit(durable_database_url: str) -> None:
    stream = uuid4()
    async with LosingProxy(durable_database_url, random.Random(seed_of("no key"))) as proxy, EventLog(proxy.url) as log:
        for version in range(15):
            proxy.armed = True
            appended = await log.append(proposal(stream, version, "unkeyed"))
            assert appended.records[0].version == version + 1
    assert len(bodies(durable_database_url)) == 15


@pytest.mark.parametrize(
    "change",
    ["UPDATE events SET body = ''", "DELETE FROM events", "TRUNCATE events", "DELETE FROM events WHERE false"],
)
async def test_facts_are_neither_changed_nor_removed(database_url: str, change: str) -> None:
    async with EventLog(database_url) as log:
        await log.append(proposal(uuid4(), 0, "fact"))
    with (
        psycopg.connect(database_url) as connection,
        pytest.raises(psycopg.errors.RestrictViolation, match="append-only"),
    ):
        connection.execute(change.encode())


def test_the_migrated_tables_are_those_declared_in_code(database_url: str) -> None:
    assert differences(database_url, DECLARED) == []


def test_a_difference_between_tables_and_code_is_told(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("ALTER TABLE tracking ADD COLUMN stray text")
    assert len(differences(database_url, DECLARED)) == 1


def test_migrating_twice_changes_nothing(database_url: str) -> None:
    migrate(database_url)
    assert differences(database_url, DECLARED) == []


def test_two_that_migrate_at_once_both_succeed(cluster: EmbeddedPostgres) -> None:
    name = f"empty_{uuid4().hex}"
    cluster.create_database(name)
    with processes(2) as pool, get_context("spawn").Manager() as manager:
        list(pool.map(migrate_at, [cluster.url(name)] * 2, [manager.Barrier(2)] * 2, timeout=60))
    assert differences(cluster.url(name), DECLARED) == []
