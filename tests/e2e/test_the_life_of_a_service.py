"""``anjuan serve`` from its first start to its last: embedded server, signals, adoption, refusals."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from typer.testing import CliRunner

from intake_api.command_line import app
from services.embedded_postgres import EmbeddedPostgres
from tests.e2e.serving import REGION, Service, Wire, in_thread, ledger, opening, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Service]:
    """A service with nothing but a folder; whatever it leaves running is stopped."""
    service = Service(tmp_path / "data")
    try:
        yield service
    finally:
        service.end()
        _server(service).stop("immediate")


def _server(service: Service) -> EmbeddedPostgres:
    return EmbeddedPostgres(service.data / "pg")


def _postmaster(service: Service) -> int:
    return int((_server(service).cluster_dir / "postmaster.pid").read_text().split("\n")[0])


async def _opened(service: Service) -> str:
    """A case, acknowledged."""
    async with Wire(service.port, service.token("agent", REGION)) as wire:
        answer = await wire.ask("POST", "/v1/cases", opening(), Idempotency_Key=str(uuid4()))
    assert answer.status == 201, answer.body
    found: str = answer.json["case_id"]
    return found


async def _reads(service: Service, case: str) -> int:
    async with Wire(service.port, service.token()) as wire:
        return (await wire.ask("GET", f"/v1/cases/{case}")).status


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_service_that_is_asked_to_end_ends_its_server_and_finds_its_data_again(
    alone: Service, number: signal.Signals
) -> None:
    await in_thread(alone.start)
    await alone.describe_directory()
    case = await _opened(alone)
    assert await in_thread(alone.stop, number) in (0, 130)
    assert not _server(alone).is_running()
    assert not (_server(alone).cluster_dir / "postmaster.pid").exists(), "stopped like a crash"
    assert "Traceback" not in alone.said()
    await in_thread(alone.start)
    assert await _reads(alone, case) == 200
    assert await in_thread(alone.stop, number) in (0, 130)


async def test_ctrl_c_in_a_terminal_reaches_everybody_and_the_server_still_ends_last(tmp_path: Path) -> None:
    service = Service(tmp_path / "data", workers=2)
    try:
        await in_thread(service.start)
        await service.describe_directory()
        case = await _opened(service)
        os.killpg(service.process.pid, signal.SIGINT)
        assert await in_thread(service.process.wait, 20) in (0, 130)
        assert not _server(service).is_running()
        assert "Traceback" not in service.said()
        await in_thread(service.start)
        assert await _reads(service, case) == 200
    finally:
        service.end()
        _server(service).stop("immediate")


async def test_a_killed_service_leaves_its_server_and_the_next_start_adopts_it(alone: Service) -> None:
    await in_thread(alone.start)
    await alone.describe_directory()
    case, server = await _opened(alone), _postmaster(alone)
    await in_thread(alone.kill)
    assert _server(alone).is_running()
    await in_thread(alone.start)
    assert _postmaster(alone) == server, "not adopted but started anew"
    assert await _reads(alone, case) == 200
    # It is this service's own now: nobody else is there to end it.
    assert await in_thread(alone.stop) in (0, 143)
    assert not _server(alone).is_running()


async def test_a_server_killed_under_its_service_is_found_again_after_a_restart(alone: Service) -> None:
    await in_thread(alone.start)
    await alone.describe_directory()
    case = await _opened(alone)
    os.kill(_postmaster(alone), signal.SIGKILL)
    await in_thread(alone.kill)
    await in_thread(alone.start)
    assert await _reads(alone, case) == 200


def test_other_commands_reach_the_running_server_and_leave_it_running(alone: Service) -> None:
    alone.start()
    server = _postmaster(alone)
    done = alone.run("migrate")
    assert (done.returncode, done.stdout.strip()) == (0, "The tables are up to date.")
    assert _postmaster(alone) == server
    assert alone.is_ready()


def test_a_token_of_the_command_line_opens_the_service(alone: Service) -> None:
    alone.start()
    done = alone.run("token", "issue", "--role", "agent", "--region", "GD")
    token = done.stdout.splitlines()[-1]

    async def ask() -> list[int]:
        async with Wire(alone.port, token) as wire, Wire(alone.port, f"{token[:-3]}AAA") as forged:
            return [(await one.ask("GET", "/v1/cases")).status for one in (wire, forged)]

    assert asyncio.run(ask()) == [200, 401]


@pytest.mark.parametrize("words", [("--role", "king"), ("--role", "agent"), ("--role", "admin", "--subject", "")])
def test_a_token_for_nobody_is_refused_in_one_line(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, ["token", "issue", *words], env={"ANJUAN_DATA": str(tmp_path)})
    assert (done.exit_code, done.stdout) == (2, "")
    assert isinstance(done.exception, SystemExit), "a traceback"


def test_on_a_given_url_tables_that_are_behind_are_refused_by_name_and_never_changed(
    cluster: EmbeddedPostgres, tmp_path: Path
) -> None:
    name = f"behind_{uuid4().hex}"
    cluster.create_database(name)
    service = Service(tmp_path, cluster.url(name))
    refused = service.run("serve")
    assert refused.returncode == 2
    assert "anjuan migrate" in refused.stderr
    assert "Traceback" not in refused.stderr
    with psycopg.connect(cluster.url(name)) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert tables == (0,)
    assert service.run("migrate").returncode == 0
    try:
        service.start()
        assert service.stop() in (0, 143)
    finally:
        service.end()


@pytest.mark.parametrize(
    "url", ["postgresql://anjuan:verborgen@/none?host=/nowhere", "anjuan:verborgen@nowhere", "mysql://a:verborgen@b/c"]
)
def test_a_database_that_is_not_there_is_said_in_one_line_without_the_password(tmp_path: Path, url: str) -> None:
    refused = Service(tmp_path, url).run("serve")
    assert refused.returncode == 2
    assert "ANJUAN_DATABASE_URL" in refused.stderr
    assert "verborgen" not in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("name", "value"), [("ANJUAN_PORT", "zero"), ("ANJUAN_MASTER_KEY", "short"), ("ANJUAN_TOKEN_KEY_FILE", "/nowhere")]
)
def test_a_bad_setting_is_said_in_one_line(tmp_path: Path, name: str, value: str) -> None:
    done = CliRunner().invoke(app, ["serve"], env={"ANJUAN_DATA": str(tmp_path), name: value})
    assert done.exit_code == 2
    assert name in done.stderr
    assert isinstance(done.exception, SystemExit), "a traceback"
    assert not (tmp_path / "pg").exists()


async def test_a_port_that_is_taken_ends_the_service_and_its_server(alone: Service, tmp_path: Path) -> None:
    listener = await asyncio.start_server(lambda *_: None, "127.0.0.1", alone.port)
    async with listener:
        alone.spawn()
        assert await in_thread(alone.process.wait, 30) != 0
    assert not _server(alone).is_running()
    assert "address already in use" in alone.said()


async def test_requests_that_run_are_finished_before_the_end(durable_database_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, durable_database_url) as service:
        await service.describe_directory()
        token = service.token("agent", REGION)
        wires = [Wire(service.port, token) for _ in range(8)]
        for wire in wires:
            assert (await wire.ask("GET", "/livez")).status == 200
        with psycopg.connect(durable_database_url) as other:
            other.execute("SELECT FROM ledger_head FOR UPDATE")
            asking = [
                asyncio.create_task(wire.ask("POST", "/v1/cases", opening(), Idempotency_Key=str(uuid4())))
                for wire in wires
            ]
            await asyncio.sleep(0.5)
            service.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.7)
            assert not any(task.done() for task in asking), "nobody was still waiting"
            assert service.process.poll() is None
        answers = await asyncio.gather(*asking)
        assert [answer.status for answer in answers] == [201] * 8
        assert await in_thread(service.process.wait, 20) in (0, 143)
        for wire in wires:
            wire.cut()
    openings = [record for record in ledger(durable_database_url) if record.name == "received"]
    assert {str(record.stream) for record in openings} == {answer.json["case_id"] for answer in answers}


async def test_an_idle_connection_does_not_hold_up_the_end(durable_database_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, durable_database_url) as service:
        async with Wire(service.port, service.token()) as wire:
            assert (await wire.ask("GET", "/livez")).status == 200
            began = time.monotonic()
            assert await in_thread(service.stop) in (0, 143)
            assert time.monotonic() - began < 5


async def test_a_worker_that_dies_is_replaced(durable_database_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, durable_database_url, workers=2) as service:
        before = _workers(service)
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)
        async with asyncio.timeout(20):
            while len(set(_workers(service)) - {before[0]}) < 2:  # noqa: ASYNC110 - other processes set no event
                await asyncio.sleep(0.1)
        await in_thread(service.wait_until_ready)
        assert await in_thread(service.stop) in (0, 143)


def _workers(service: Service) -> list[int]:
    """The children that serve; the multiprocessing tracker is none."""
    task = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
    found = []
    for pid in map(int, task.read_text().split()):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"spawn_main" in command:
            found.append(pid)
    return found


async def test_the_same_key_asked_of_two_workers_at_once_is_stored_once(
    durable_database_url: str, tmp_path: Path
) -> None:
    with serving(tmp_path, durable_database_url, workers=2) as service:
        await service.describe_directory()
        token = service.token("agent", REGION)
        for _ in range(10):
            key = str(uuid4())
            body = opening()
            wires = [Wire(service.port, token) for _ in range(8)]
            answers = await asyncio.gather(*(w.ask("POST", "/v1/cases", body, Idempotency_Key=key) for w in wires))
            stored = {answer.body for answer in answers if answer.status == 201}
            assert len(stored) == 1
            assert {a.json["code"] for a in answers if a.status != 201} <= {"idempotency_key_in_progress"}
            for wire in wires:
                wire.cut()
    assert sum(record.name == "received" for record in ledger(durable_database_url)) == 10
