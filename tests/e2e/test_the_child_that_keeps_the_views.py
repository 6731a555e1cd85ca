"""`anjuan serve` and its child: replaced when it dies or freezes, gone when its parent is, whatever ended that."""

import base64
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from services.embedded_postgres import EmbeddedPostgres
from tests.e2e.serving import REGION, Service, Wire, in_thread, opening, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Service]:
    """Two workers on an embedded server; whatever is left running is stopped."""
    service = Service(tmp_path / "data", workers=2)
    try:
        yield service
    finally:
        service.end()
        _server(service).stop("immediate")


def _server(service: Service) -> EmbeddedPostgres:
    return EmbeddedPostgres(service.data / "pg")


def _wait(until: Callable[[], bool], seconds: float) -> float:
    began = time.monotonic()
    while not until():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(0.05)
    return time.monotonic() - began


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def _standing(service: Service) -> dict[str, Any]:
    async with Wire(service.port, service.token("admin")) as wire:
        found: dict[str, Any] = (await wire.ask("GET", "/v1/projections")).json["items"][0]
    return found


async def _led_by_its_child(service: Service, within: float = 10) -> int:
    """Wait until it is; the child's process id."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        found, children = await _standing(service), service.followers()
        leader = (found["leader"] or "").rpartition(":")[2]
        if found["leading"] and leader and children == [int(leader)]:
            return children[0]
        await in_thread(time.sleep, 0.05)
    raise AssertionError(f"{found} {children} {service.said()}")


async def _shows_what_is_written(service: Service) -> None:
    async with Wire(service.port, service.token("agent", REGION)) as wire:
        made = await wire.ask("POST", "/v1/cases", opening(), Idempotency_Key=str(uuid4()))
        position = made.headers["ledger-position"]
        listed = await wire.ask("GET", f"/v1/cases?min_position={position}&limit=1&sort=-updated_at")
    assert [one["case_id"] for one in listed.json["items"]] == [made.json["case_id"]], listed.body
    assert (await _ready(service)) == 200


async def _ready(service: Service) -> int:
    async with Wire(service.port, "") as wire:
        return (await wire.ask("GET", "/readyz/projections")).status


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_child_that_is_killed_is_replaced_and_that_is_said(
    durable_database_url: str, tmp_path: Path, workers: int
) -> None:
    with serving(tmp_path, durable_database_url, workers) as service:
        await service.describe_directory()
        for _ in range(2):
            child = await _led_by_its_child(service)
            await _shows_what_is_written(service)
            os.kill(child, signal.SIGKILL)
            began = time.monotonic()
            await in_thread(_wait, lambda child=child: child not in service.followers(), 5)
            assert await _led_by_its_child(service) != child
            print(f"{workers} workers: led again after {time.monotonic() - began:.1f} s")
        await _shows_what_is_written(service)
        said = [json.loads(line) for line in service.said().splitlines() if '"event": "follower"' in line]
    assert [(one["ended_with"], one["level"]) for one in said if "ended_with" in one] == [(-9, "error")] * 2


async def test_a_child_that_freezes_is_told_and_replaced(durable_database_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, durable_database_url) as service:
        await service.describe_directory()
        child = await _led_by_its_child(service)
        os.kill(child, signal.SIGSTOP)
        began, statuses = time.monotonic(), set()
        async with Wire(service.port, service.token("agent", REGION)) as wire:
            await wire.ask("POST", "/v1/cases", opening(), Idempotency_Key=str(uuid4()))
        while child in service.followers() and time.monotonic() - began < 15:
            statuses.add(await _ready(service))
            await in_thread(time.sleep, 0.05)
        assert not _lives(child)
        assert 503 in statuses
        assert await _led_by_its_child(service) != child
        print(f"led again {time.monotonic() - began:.1f} s after its child froze")
        await _shows_what_is_written(service)


async def test_when_its_parent_is_killed_a_child_ends_and_the_next_service_takes_over(alone: Service) -> None:
    """Though workers and the embedded server live on: none of them holds the line."""
    await in_thread(alone.start)
    await alone.describe_directory()
    child = await _led_by_its_child(alone)
    os.kill(alone.process.pid, signal.SIGKILL)
    seconds = await in_thread(_wait, lambda: not _lives(child), 5)
    print(f"gone after {seconds:.2f} s")
    assert _server(alone).is_running()
    os.killpg(alone.process.pid, signal.SIGKILL)
    alone.process.wait()
    await in_thread(alone.start)
    assert await _led_by_its_child(alone) != child
    await _shows_what_is_written(alone)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_service_that_is_asked_to_end_leaves_no_process(alone: Service, number: signal.Signals) -> None:
    await in_thread(alone.start)
    child = await _led_by_its_child(alone)
    began = time.monotonic()
    assert await in_thread(alone.stop, number) in (0, 130, 143)
    print(f"{number.name}: ended after {time.monotonic() - began:.1f} s")
    assert not _lives(child)
    assert not _server(alone).is_running()
    assert "Traceback" not in alone.said() and "ended_with" not in alone.said()


async def test_a_service_that_is_stopped_while_its_child_starts_leaves_none(alone: Service) -> None:
    alone.spawn()
    (child,) = await in_thread(_first_child, alone)
    assert await in_thread(alone.stop, signal.SIGINT) in (0, 130)
    assert not _lives(child)
    assert not _server(alone).is_running()


def _first_child(service: Service) -> list[int]:
    _wait(lambda: bool(service.followers()), 30)
    return service.followers()


async def test_off_is_off_and_inside_is_one_process(durable_database_url: str, tmp_path: Path) -> None:
    key = base64.b64encode(os.urandom(32)).decode()
    with serving(tmp_path / "off", durable_database_url, ANJUAN_FOLLOW="off", ANJUAN_PHONE_KEY=key) as off:
        assert not (await _standing(off))["leading"] and not off.followers()
        with serving(tmp_path / "inside", durable_database_url, ANJUAN_FOLLOW="inside", ANJUAN_PHONE_KEY=key) as inside:
            await in_thread(time.sleep, 1.5)
            assert (await _standing(off))["leader"].endswith(f":{inside.process.pid}")
            assert not inside.followers()
