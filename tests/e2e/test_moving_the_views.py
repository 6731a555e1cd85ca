"""Processes that move the views: commands beside a running service, and leaders that die or freeze."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import pytest

from tests.e2e.fire import seed_of
from tests.e2e.serving import ROOT, Service, Wire, crowd, in_thread, opening, serving

pytestmark = pytest.mark.anyio


def _rows(url: str, question: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(question).fetchall()


def _leader(url: str) -> int | None:
    """The process id of who leads now."""
    held = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 1634626166 AND granted)"
    if _rows(url, held) != [(True,)]:
        return None
    ((leader,),) = _rows(url, "SELECT leader FROM projections")
    return int(leader.rpartition(":")[2]) if leader else None


def _behind(url: str) -> int:
    ((behind,),) = _rows(
        url,
        "SELECT h.position - c.position FROM ledger_head h, projections p JOIN projection_checkpoints c"
        " ON c.generation = p.live",
    )
    return int(behind)


def _wait(until: Callable[[], bool], seconds: float) -> float:
    began = time.monotonic()
    while not until():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(0.05)
    return time.monotonic() - began


def _started(service: Service, *words: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(service.command(*words), env=service.environment, cwd=ROOT)


async def _told(service: Service, path: str) -> Any:
    async with Wire(service.port, service.token("admin")) as wire:
        return await wire.ask("GET", path)


async def test_the_commands_work_beside_a_running_service(tmp_path: Path) -> None:
    """On its embedded server, as a newcomer has it."""
    with serving(tmp_path) as service:
        await service.describe_directory()
        async with crowd(service, 4, Random(1)):
            for words, said in (
                (("rebuild",), "The views are rebuilt (generation 2"),
                (("check-projections", "--sample", "0.5"), "no difference"),
                (("rebuild", "--restart"), "The views are rebuilt (generation 1"),
                (("rebuild", "--cancel"), "No rebuild runs"),
                (("check-projections",), "no difference"),
                (("parked", "list"), ""),
                (("parked", "retry"), "0 tried"),
            ):
                done = await in_thread(service.run, *words)
                assert done.returncode == 0, done.stderr
                assert said in done.stdout
        done = await in_thread(service.run, "parked", "drop", "GD-20260101-0001")
        assert done.returncode == 2 and "is not parked" in done.stderr
        found = (await _told(service, "/v1/projections")).json["items"][0]
        assert found["generation"] == 1 and found["parked"] == 0


async def test_a_difference_is_told_and_is_exit_code_1(tmp_path: Path, durable_database_url: str) -> None:
    with serving(tmp_path, durable_database_url) as service:
        await service.describe_directory()
        async with Wire(service.port, service.token("agent", "GD")) as wire:
            made = await wire.ask("POST", "/v1/cases", opening(), Idempotency_Key="k")
        await in_thread(_wait, lambda: not _behind(durable_database_url), 10)
        await in_thread(_rows, durable_database_url, "UPDATE view_1.cases SET stage = 'risk' RETURNING 1")
        done = await in_thread(service.run, "check-projections")
        assert done.returncode == 1
        assert f"cases\t{made.json['case_id']}\tstage\tdiffers" in done.stdout
        done = await in_thread(service.run, "rebuild", "--restart")
        assert done.returncode == 0, done.stderr
        assert (await in_thread(service.run, "check-projections")).returncode == 0


async def test_follow_alone_moves_the_views_until_it_is_stopped(tmp_path: Path, durable_database_url: str) -> None:
    with serving(tmp_path, durable_database_url, ANJUAN_FOLLOW="off") as service:
        await service.describe_directory()
        async with crowd(service, 2, Random(1)) as busy:
            assert (await _told(service, "/readyz/projections")).status == 503
            following = await in_thread(_started, service, "follow")
            try:
                await busy.reaches(len(busy.stored) + 50)
                await in_thread(_wait, lambda: _leader(durable_database_url) == following.pid, 10)
            finally:
                following.send_signal(signal.SIGTERM)
                assert await in_thread(following.wait, 10) == 0
        assert (await in_thread(service.run, "check-projections")).returncode == 0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_another_service_leads_within_ten_seconds_and_nothing_is_applied_twice(
    tmp_path: Path, durable_database_url: str, how: signal.Signals
) -> None:
    """A service that is stopped is stopped with its child; of one that is killed the child ends by itself."""
    url = durable_database_url
    with serving(tmp_path, url) as first:
        await first.describe_directory()
        await in_thread(_wait, lambda: [_leader(url)] == first.followers(), 10)
        with serving(tmp_path, url) as second:
            (other,) = second.followers()
            async with crowd(second, 4, Random(seed_of("leaders"))) as busy:
                struck = [first.process.pid, *(first.followers() if how is signal.SIGSTOP else [])]
                for pid in struck:
                    os.kill(pid, how)
                seconds = await in_thread(_wait, lambda: _leader(url) == other, 10)
                print(f"{how.name}: another led after {seconds:.1f} s")
                await busy.reaches(len(busy.stored) + 50)
                if how is signal.SIGSTOP:
                    for pid in struck:
                        os.kill(pid, signal.SIGCONT)
                        await asyncio.sleep(1)
                    await asyncio.sleep(1)
                    assert await in_thread(_leader, url) == other
                    assert first.followers() == struck[1:], "it was replaced, though it was stopped with its parent"
            await in_thread(_wait, lambda: not _behind(url), 10)
            done = await in_thread(second.run, "check-projections")
            assert done.returncode == 0, done.stdout
            assert "no difference" in done.stdout
