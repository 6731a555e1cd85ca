"""The service killed, its database stopped and frozen, answers lost: what was acknowledged is there, once, in order.

Quick by default; with ANJUAN_SOAK=1 the numbers are those that a release is judged by.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from pathlib import Path
from time import monotonic
from uuid import uuid4

import pytest

from services.embedded_postgres import EmbeddedPostgres
from tests.e2e.fire import LosingProxy, processes_of, seed_of
from tests.e2e.serving import (
    REGION,
    Audit,
    Crowd,
    Service,
    Wire,
    audit,
    crowd,
    in_thread,
    ledger,
    opening,
    serving,
)

SOAK = os.environ.get("ANJUAN_SOAK") == "1"
LONGEST_ANSWER = 5.0

pytestmark = pytest.mark.anyio


def _report(name: str, people: Crowd, found: Audit) -> None:
    again = sum(stored.replayed for stored in people.stored)
    print(
        f"{name}: {found.acknowledged} acknowledged ({again} of them by a replay), {people.cut} connections cut, "
        f"refused {dict(people.refused)}, lost {found.lost}, doubled {found.doubled}, "
        f"longest answer {people.longest:.2f} s"
    )


def _assert_kept_its_word(people: Crowd, found: Audit) -> None:
    assert (found.lost, found.doubled, found.unasked) == (0, 0, 0)
    assert people.longest <= LONGEST_ANSWER


async def test_a_killed_service_loses_nothing_that_it_acknowledged(durable_database_url: str, tmp_path: Path) -> None:
    chance = random.Random(seed_of("kill"))
    kills, wanted = (35, 5_000) if SOAK else (4, 500)
    with serving(tmp_path, durable_database_url, ANJUAN_ACCESS_LOG="off") as service:
        await service.describe_directory()
        async with crowd(service, 32, chance) as people:
            for _ in range(kills):
                await asyncio.sleep(chance.uniform(0.05, 0.8))
                await in_thread(service.kill)
                await asyncio.sleep(chance.uniform(0, 0.2))
                await in_thread(service.start)
                await people.goes_on()
            await people.reaches(wanted)
    found = audit(durable_database_url, people)
    _report(f"{kills} kills", people, found)
    _assert_kept_its_word(people, found)
    assert found.acknowledged >= wanted
    assert people.cut >= kills


async def test_a_service_killed_while_it_starts_starts_again(durable_database_url: str, tmp_path: Path) -> None:
    chance = random.Random(seed_of("kill at start"))
    with serving(tmp_path, durable_database_url, ANJUAN_ACCESS_LOG="off") as service:
        await service.describe_directory()
        async with crowd(service, 8, chance) as people:
            for _ in range(10 if SOAK else 2):
                await in_thread(service.kill)
                service.spawn()
                await asyncio.sleep(chance.uniform(0.1, 1.5))
            await in_thread(service.kill)
            await in_thread(service.start)
            await people.goes_on()
    _assert_kept_its_word(people, audit(durable_database_url, people))


async def test_a_database_that_stops_and_starts_costs_nothing_and_nobody_five_seconds(
    durable_cluster: EmbeddedPostgres, durable_database_url: str, tmp_path: Path
) -> None:
    chance = random.Random(seed_of("stop"))
    stops = 12 if SOAK else 2
    with serving(tmp_path, durable_database_url, ANJUAN_ACCESS_LOG="off") as service:
        await service.describe_directory()
        async with crowd(service, 32, chance) as people:
            back = []
            for number in range(stops):
                await asyncio.to_thread(durable_cluster.stop, "immediate" if number % 2 else "fast")
                await asyncio.sleep(chance.uniform(0.2, 6 if SOAK else 1.5))
                await asyncio.to_thread(durable_cluster.start)
                back.append(await people.goes_on())
        assert service.process.poll() is None, "it had to be started again"
    found = audit(durable_database_url, people)
    _report(f"{stops} stops, storing again after {max(back):.2f} s at most", people, found)
    _assert_kept_its_word(people, found)
    assert people.refused["unavailable"] > 0, "nobody noticed"


async def test_a_frozen_database_costs_nothing_and_nobody_five_seconds(
    durable_cluster: EmbeddedPostgres, durable_database_url: str, tmp_path: Path
) -> None:
    chance = random.Random(seed_of("freeze"))
    seconds = 20 if SOAK else 6
    postmaster = int((durable_cluster.cluster_dir / "postmaster.pid").read_text().split("\n")[0])
    with serving(tmp_path, durable_database_url, ANJUAN_ACCESS_LOG="off") as service:
        await service.describe_directory()
        async with crowd(service, 32, chance) as people:
            # First the one that would have more children while they are counted.
            os.kill(postmaster, signal.SIGSTOP)
            frozen = processes_of(postmaster)
            _signal_all(frozen, signal.SIGSTOP)
            try:
                await asyncio.sleep(seconds)
                assert not await in_thread(service.is_ready)
            finally:
                _signal_all(frozen, signal.SIGCONT)
            back = await people.goes_on()
        assert service.process.poll() is None, "it had to be started again"
    found = audit(durable_database_url, people)
    _report(f"frozen for {seconds} s, storing again after {back:.2f} s", people, found)
    _assert_kept_its_word(people, found)
    assert people.refused["unavailable"] > 0, "nobody noticed"


def _signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, number)


async def test_a_commit_whose_answer_is_lost_is_one_action_and_no_conflict(
    durable_database_url: str, tmp_path: Path
) -> None:
    chance = random.Random(seed_of("lost answers"))
    wanted = 400 if SOAK else 50
    texts: dict[str, int] = {}
    slowest = 0.0

    async def caller(port: int, token: str, keyed: bool, proxy: LosingProxy) -> None:
        nonlocal slowest
        async with Wire(port, token) as wire:
            case = (await wire.ask("POST", "/v1/cases", opening(), Idempotency_Key=str(uuid4()))).json["case_id"]
            version = 1
            while len(proxy.cuts) < wanted:
                key, tries = str(uuid4()), 0
                proxy.armed = chance.random() < 0.8
                body = {"type": "noted", "text": "一", "operator": {"id": key, "name": "甲"}}
                # The version that the caller saw: a lost commit must not be taken for somebody else's.
                headers = {"If_Match": f'"{version}"', **({"Idempotency_Key": key} if keyed else {})}
                # Without a key nobody may ask twice, and the service must find its own lost commit.
                for _ in range(20 if keyed else 1):
                    tries += 1
                    answer = await wire.ask("POST", f"/v1/cases/{case}/actions", body, **headers)
                    slowest = max(slowest, answer.seconds)
                    if answer.status != 503:
                        break
                    await asyncio.sleep(0.05)
                assert answer.status == 201, answer.body
                version += 1
                assert answer.headers["etag"] == f'"{version}"'
                texts[key] = tries

    async with LosingProxy(durable_database_url, chance) as proxy:
        # Started from a thread, because this loop runs the proxy.
        service = Service(tmp_path, proxy.url, ANJUAN_ACCESS_LOG="off")
        try:
            await in_thread(service.start)
            await service.describe_directory()
            token = service.token("manager", REGION)
            began = monotonic()
            await asyncio.gather(*(caller(service.port, token, number < 2, proxy) for number in range(4)))
            print(
                f"{Counter(proxy.cuts)} in {monotonic() - began:.1f} s, {len(texts)} actions, "
                f"{sum(n == 1 for n in texts.values())} answered at once, slowest {slowest:.2f} s"
            )
        finally:
            service.end()
    assert len(proxy.cuts) >= wanted
    noted = [record for record in ledger(durable_database_url) if record.name == "noted"]
    found = Counter(record.body.partition(b'"operator":{"id":"')[2][:36].decode() for record in noted)
    assert found == Counter(dict.fromkeys(texts, 1))
    assert slowest <= LONGEST_ANSWER


async def test_two_workers_write_one_ledger_without_a_gap(durable_database_url: str, tmp_path: Path) -> None:
    chance = random.Random(seed_of("two workers"))
    writes = 2_000 if SOAK else 200
    with serving(tmp_path, durable_database_url, workers=2, ANJUAN_ACCESS_LOG="off") as service:
        await service.describe_directory()
        token = service.token("agent", REGION)
        async with Wire(service.port, token) as wire:
            case = (await wire.ask("POST", "/v1/cases", opening(), Idempotency_Key=str(uuid4()))).json["case_id"]

        slowest = 0.0

        async def racer(count: int) -> list[int]:
            nonlocal slowest
            seen = []
            async with Wire(service.port, token) as wire:
                for _ in range(count):
                    await asyncio.sleep(chance.uniform(0, 0.005))
                    path = f"/v1/cases/{case}/actions"
                    answer = await wire.ask("POST", path, {"type": "noted", "text": "一"}, Idempotency_Key=str(uuid4()))
                    assert answer.status == 201, answer.body
                    slowest = max(slowest, answer.seconds)
                    version = answer.json["action"]["version"]
                    read = await wire.ask("GET", f"/v1/cases/{case}")
                    assert read.json["version"] >= version, "a read on another worker missed an acknowledged write"
                    seen.append(version)
            return seen

        versions = [v for seen in await asyncio.gather(*(racer(writes // 20) for _ in range(20))) for v in seen]
    print(f"{writes} racing writes, slowest {slowest:.2f} s")
    assert sorted(versions) == list(range(2, writes + 2))
    assert slowest <= LONGEST_ANSWER
    records = ledger(durable_database_url)
    assert [record.position for record in records] == list(range(1, len(records) + 1))
    # What was missed meanwhile is told by an event of its own.
    assert sum(1 for record in records if record.name != "duty_missed") == writes + 3
