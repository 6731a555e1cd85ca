"""A backup is restored: nobody serves it silently, it is said aloud, and verification tells what was lost."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from random import Random

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from projections.audit_file import Source, Wanted, export
from services import tree_heads
from services.embedded_postgres import EmbeddedPostgres
from services.event_log import Reader
from services.event_log.tree import Tree, tree
from services.restoring import NothingRestored
from services.tree_heads import Forked
from services.verifier import Fault, verify_file
from tests.conftest import fresh_database
from tests.contract.house import open_house, opening
from tests.e2e.rewriting import Scene, recompute
from tests.e2e.serving import REGION, Service, Wire, serving
from tests.e2e.signed_ledgers import KEY, as_superuser, desk, judged, now

pytestmark = pytest.mark.anyio


class Machine:
    """A database that is backed up and put back."""

    def __init__(self, server: EmbeddedPostgres, url: str) -> None:
        self.server, self.url = server, url
        self.name = url.split("/")[3].split("?")[0]

    def back_up(self, name: str = "backup") -> None:
        self.server.create_database(f"{self.name}_{name}", self.name)

    def put_back(self, name: str = "backup") -> None:
        with psycopg.connect(self.server.url("postgres"), autocommit=True) as connection:
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(self.name)))
        self.server.create_database(self.name, f"{self.name}_{name}")


@pytest.fixture
async def machine(cluster: EmbeddedPostgres, anyio_backend: object) -> AsyncIterator[Machine]:
    with fresh_database(cluster) as url:
        yield Machine(cluster, url)


async def _restored_at_100(machine: Machine, folder: Path) -> None:
    """150 events were signed, a backup of 100 of them put back and recorded; 40 more, and a head."""
    async with desk(machine.url, folder) as before:
        await before.grow(Random(1), [60, 40])
    machine.back_up()
    async with desk(machine.url, folder) as before:
        await before.grow(Random(2), [20, 30])
    machine.put_back()
    async with desk(machine.url, folder) as after:
        done = await after.restored("磁盘损坏")
        assert (done.epoch, done.base, done.head.epoch, done.head.size) == (2, 100, 2, 101)
        await after.grow(Random(3), [40])


async def test_a_recorded_restore_is_verified_and_told(machine: Machine, tmp_path: Path) -> None:
    await _restored_at_100(machine, tmp_path / "heads")
    found = judged(machine.url, tmp_path / "heads")
    assert (found.epoch, found.size, found.restorations[0][0].base, found.restorations[0][1]) == (2, 141, 100, 50)
    assert any("RESTORED" in line and "50 positions" in line and "磁盘损坏" in line for line in found.told())
    assert sorted(one.name for one in (tmp_path / "heads").glob("*/leaves-*")) == ["leaves-1", "leaves-2"]


async def test_so_it_is_from_a_file_of_any_stretch(machine: Machine, tmp_path: Path) -> None:
    await _restored_at_100(machine, tmp_path / "heads")
    for begin, end in ((1, 141), (1, 90), (95, 120), (102, 141), (130, 135)):
        async with desk(machine.url, tmp_path / "heads") as opened:
            source = Source(opened.log, opened.heads, KEY, now)
            await export(source, Wanted(begin, end), tmp_path / "file", lambda *_: None)
        found = verify_file(tmp_path / "file", (), tmp_path / "heads")
        assert [(one.epoch, one.base, lost) for one, lost in found.restorations] == [(2, 100, 50)]
    lines = (tmp_path / "file").read_text().splitlines()
    silent = [line for line in lines[:-1] if not line.startswith('{"restoration"')]
    assert len(silent) == len(lines) - 2
    (tmp_path / "file").write_text("\n".join([*silent, lines[-1], ""]))
    with pytest.raises(Fault, match="last recorded restore"):
        verify_file(tmp_path / "file", (), tmp_path / "heads")


async def test_what_the_old_epoch_shares_must_still_match(machine: Machine, tmp_path: Path) -> None:
    await _restored_at_100(machine, tmp_path / "heads")
    with psycopg.connect(machine.url) as session:
        session.execute("SET session_replication_role = replica")
        session.execute("UPDATE events SET actor = 'x' WHERE position = 50")
        recompute(Scene(session, Random(1), 141, []))
    with pytest.raises(Fault) as found:
        judged(machine.url, tmp_path / "heads")
    assert found.value.position == 50


async def test_a_record_that_does_not_stand_behind_its_base_excuses_nothing(machine: Machine, tmp_path: Path) -> None:
    await _restored_at_100(machine, tmp_path / "heads")
    body = json.dumps({"epoch": 2, "base": 20, "reason": "x"}).encode()
    with psycopg.connect(machine.url) as session:
        session.execute("SET session_replication_role = replica")
        session.execute("UPDATE events SET body = %s WHERE name = 'ledger_restored'", [body])
        recompute(Scene(session, Random(1), 141, []))
    with pytest.raises(Fault, match="cannot be") as found:
        judged(machine.url, tmp_path / "heads")
    assert found.value.position == 101


async def test_a_restore_of_a_restored_ledger_to_before_that(machine: Machine, tmp_path: Path) -> None:
    folder = tmp_path / "heads"
    async with desk(machine.url, folder) as opened:
        await opened.grow(Random(1), [30])
    machine.back_up("early")
    async with desk(machine.url, folder) as opened:
        await opened.grow(Random(2), [30])
    machine.back_up("late")
    async with desk(machine.url, folder) as opened:
        await opened.grow(Random(3), [30])
    machine.put_back("late")
    async with desk(machine.url, folder) as opened:
        assert (await opened.restored("one")).epoch == 2
        await opened.grow(Random(4), [5])
    machine.put_back("early")
    async with desk(machine.url, folder) as opened:
        done = await opened.restored("other")
        assert (done.epoch, done.base) == (3, 30)
        await opened.grow(Random(5), [50])
    found = judged(machine.url, folder)
    assert [(one.epoch, one.base, lost) for one, lost in found.restorations] == [(3, 30, 60)]


async def test_nothing_is_recorded_of_a_ledger_that_lost_nothing(machine: Machine, tmp_path: Path) -> None:
    async with desk(machine.url, tmp_path) as opened:
        await opened.grow(Random(1), [10, 5])
        with pytest.raises(NothingRestored):
            await opened.restored("none")
        await opened.write(Random(2), 5)
        with pytest.raises(NothingRestored):
            await opened.restored("none")
        assert (await opened.log.read.head()).position == 20
    assert judged(machine.url, tmp_path).restorations == []


async def test_a_run_that_was_cut_behind_the_record_goes_on(machine: Machine, tmp_path: Path) -> None:
    async with desk(machine.url, tmp_path) as opened:
        await opened.grow(Random(1), [10])
    machine.back_up()
    async with desk(machine.url, tmp_path) as opened:
        await opened.grow(Random(1), [10])
    machine.put_back()
    kept = tmp_path / "aside"
    async with desk(machine.url, tmp_path) as opened:
        shutil.copytree(tmp_path, kept)
        await opened.restored("lost")
    # As if the head had been neither signed nor kept.
    as_superuser(machine.url, ("DELETE FROM tree_heads WHERE epoch = 2", []))
    async with desk(machine.url, kept) as opened:
        done = await opened.restored("lost")
        assert (done.epoch, done.base, done.head.size) == (2, 10, 11)
        with pytest.raises(NothingRestored):
            await opened.restored("lost")
    assert len(judged(machine.url, kept).restorations) == 1


async def test_an_epoch_that_no_record_tells_of_is_not_signed(machine: Machine, tmp_path: Path) -> None:
    async with desk(machine.url, tmp_path) as opened:
        await opened.grow(Random(1), [10, 10])
    as_superuser(
        machine.url,
        ("DELETE FROM events WHERE position > 15", []),
        ("UPDATE ledger_head SET epoch = 2, position = 15, tree_size = 0, peaks = ''", []),
    )
    async with desk(machine.url, tmp_path) as opened:
        with pytest.raises(Forked):
            await opened.sign()
    with pytest.raises(Fault) as found:
        judged(machine.url, tmp_path)
    assert found.value.position == 16


async def test_a_head_that_was_signed_meanwhile_is_no_fork(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(machine.url, tmp_path) as opened:
        await opened.grow(Random(1), [5])
        looked = await tree(opened.log.read)
        await opened.grow(Random(2), [5])
        first = [looked]

        async def late(reader: Reader) -> Tree:
            return first.pop() if first else await tree(reader)

        monkeypatch.setattr(tree_heads, "tree", late)
        head, _ = await opened.heads.current()
        assert (head.size, opened.heads.forked) == (5, False)


async def test_a_file_of_a_database_that_was_put_back_is_refused(machine: Machine, tmp_path: Path) -> None:
    """Whoever exports it knows of no kept heads; the auditor does."""
    async with desk(machine.url, tmp_path / "heads") as opened:
        await opened.grow(Random(1), [20])
    machine.back_up()
    async with desk(machine.url, tmp_path / "heads") as opened:
        await opened.grow(Random(2), [20])
    machine.put_back()
    async with desk(machine.url, tmp_path / "none") as opened:
        # Longer than the clocks of two machines may differ.
        source = Source(opened.log, opened.heads, KEY, lambda: now() + timedelta(seconds=10))
        await export(source, Wanted(), tmp_path / "file", lambda *_: None)
    with pytest.raises(Fault, match="a head of 40 was signed before") as found:
        verify_file(tmp_path / "file", (), tmp_path / "heads")
    assert found.value.position == 21


async def test_positions_and_cursors_of_before_are_refused(machine: Machine, tmp_path: Path) -> None:
    async with open_house(machine.url, tmp_path) as house:
        region = await house.region()
        agent, auditor = house.agent(region), house.caller("auditor")
        for _ in range(3):
            await agent.case(region)
        assert (await auditor.get("/v1/audit/head")).status_code == 200
        cursor = (await agent.get("/v1/cases?limit=1")).json()["next_cursor"]
    machine.back_up()
    async with open_house(machine.url, tmp_path) as house:
        agent, auditor = house.agent(region), house.caller("auditor")
        for _ in range(5):
            lost = (await agent.post("/v1/cases", opening(region))).headers["ledger-position"]
        assert (await auditor.get("/v1/audit/head")).status_code == 200
        await asyncio.sleep(0.3)
    machine.put_back()
    run = await asyncio.to_thread(_anjuan, tmp_path, machine.url, "serve", "--port", "1")
    assert run[0] == 1
    assert "anjuan restored --reason" in run[1]
    run = await asyncio.to_thread(_anjuan, tmp_path, machine.url, "restored", "--reason", "backup of noon")
    assert run[0] == 0, run[1]
    assert "Epoch 2" in run[1]
    run = await asyncio.to_thread(_anjuan, tmp_path, machine.url, "restored", "--reason", "backup of noon")
    assert (run[0], "nothing was restored" in run[1]) == (1, True)
    async with open_house(machine.url, tmp_path) as house:
        agent, auditor = house.agent(region), house.caller("auditor")
        answers = [
            await agent.get(f"/v1/cases?limit=1&cursor={cursor}"),
            await agent.get(f"/v1/cases?min_position={lost}"),
            await auditor.get(f"/v1/audit/events?after={lost}"),
            await auditor.get(f"/v1/audit/proof?position={lost}"),
            await agent.get("/v1/stream", last_event_id=lost),
        ]
        assert [(one.status_code, one.json()["code"]) for one in answers] == [(409, "ledger_restored")] * 5
        made_up = await agent.get("/v1/cases?limit=1&cursor=AAAA")
        assert made_up.status_code == 422
        page = (await agent.get("/v1/cases?limit=1")).json()["next_cursor"]
        fresh = await agent.get(f"/v1/cases?limit=1&cursor={page}")
        assert fresh.status_code == 200
        assert fresh.headers["ledger-epoch"] == "2"
        told = (await auditor.get("/v1/audit/events?limit=10000")).text.splitlines()
        assert [json.loads(line)["type"] for line in told].count("ledger_restored") == 1
    run = await asyncio.to_thread(_anjuan, tmp_path, machine.url, "verify")
    assert run[0] == 0, run[1]
    assert "RESTORED" in run[1]
    file = tmp_path / "file.gz"
    run = await asyncio.to_thread(_anjuan, tmp_path, machine.url, "audit", "export", str(file), "--to", "5")
    assert run[0] == 0, run[1]
    run = await asyncio.to_thread(
        _anjuan, tmp_path, machine.url, "verify", str(file), "--heads", str(tmp_path / "heads")
    )
    assert run[0] == 0, run[1]
    assert "RESTORED" in run[1]


async def test_nobody_records_a_restore_while_a_service_is_connected(machine: Machine, tmp_path: Path) -> None:
    async with open_house(machine.url, tmp_path) as house:
        await house.region()
        run = await asyncio.to_thread(_anjuan, tmp_path, machine.url, "restored", "--reason", "x")
        assert run[0] == 2
        assert "Others are connected" in run[1]


async def test_a_database_is_verified_while_a_service_writes(database_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, database_url) as service:
        await service.describe_directory()
        stop = asyncio.Event()
        writing = asyncio.create_task(_write(service, stop))
        for _ in range(2):
            run = await asyncio.to_thread(service.run, "verify")
            assert run.returncode == 0, run.stdout + run.stderr[-500:]
        stop.set()
        assert await writing > 5
        service.stop()
    run = await asyncio.to_thread(service.run, "verify")
    assert run.returncode == 0
    assert " 0 of them kept outside" not in run.stdout
    assert "of them kept outside" in run.stdout


async def _write(service: Service, stop: asyncio.Event) -> int:
    written = 0
    async with Wire(service.port, service.token("auditor")) as auditor, Wire(service.port, service.token()) as manager:
        while not stop.is_set():
            body = {"name": f"广东{written}"}
            async with Wire(service.port, service.token("admin")) as admin:
                answer = await admin.ask("PUT", f"/v1/regions/{REGION}", body)
            assert answer.status == 200, answer.body
            written += 1
            if not written % 5:
                assert (await auditor.ask("GET", "/v1/audit/head")).status == 200
                assert (await manager.ask("GET", "/v1/cases")).status == 200
    return written


def _anjuan(data: Path, url: str, *words: str) -> tuple[int, str]:
    done = Service(data, url).run(*words)
    return done.returncode, done.stdout + done.stderr
