"""Keys over the life of a service: what is lost is told apart from what was erased, and each key can be replaced."""

import asyncio
import base64
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from services.embedded_postgres import EmbeddedPostgres
from services.master_keys import generation_of
from tests.conftest import fresh_database
from tests.e2e.serving import Service, Wire, in_thread, opening

pytestmark = pytest.mark.anyio


def _key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


async def _open(service: Service, name: str) -> dict[str, Any]:
    phone = f"137{uuid4().int % 10**8:08d}"
    async with Wire(service.port, service.token()) as wire:
        body = opening(complainant={"name": name, "phone": phone})
        answer = await wire.ask("POST", "/v1/cases", body, Idempotency_Key=str(uuid4()))
    assert answer.status == 201, answer.body
    found: dict[str, Any] = answer.json
    return found


async def _name(service: Service, case: dict[str, Any]) -> str | None:
    async with Wire(service.port, service.token()) as wire:
        answer = await wire.ask("GET", f"/v1/cases/{case['case_id']}/complaints")
    assert answer.status == 200, answer.body
    who: dict[str, str | None] = answer.json["items"][0]["complainant"] or {"name": None}
    return who["name"]


def _lost_so_far(text: str) -> float:
    return sum(float(line.split()[1]) for line in text.splitlines() if line.startswith("anjuan_lost_keys_total "))


async def test_what_is_lost_is_told_apart_from_what_was_erased(cluster: EmbeddedPostgres, tmp_path: Path) -> None:
    with fresh_database(cluster) as url:
        service = Service(tmp_path, url)
        try:
            await in_thread(service.start)
            await service.describe_directory()
            erased, lost, kept = [await _open(service, name) for name in ("甲甲", "乙乙", "丙丙")]
            complaint = erased["complaints"][0]["complaint_id"]
            asked = ["erase", "--case", erased["case_no"], "--complaint", complaint, "--reason", "本人申请"]
            done = await in_thread(lambda: service.run(*asked))
            assert done.returncode == 0, done.stderr
            assert done.stdout == f"1 keys were destroyed; cases: {erased['case_no']}.\n"
            again = await in_thread(lambda: service.run(*asked, "--texts"))
            assert (again.returncode, again.stdout.split(" ")[0]) == (0, "1"), again.stdout + again.stderr
            assert "before" in (await in_thread(lambda: service.run(*asked))).stdout
            named = await in_thread(lambda: service.run(*asked[:-1], ""))
            assert named.returncode == 2 and "reason" in named.stderr
            assert await in_thread(service.stop) == 0
            with psycopg.connect(url) as connection:
                # The last two complainants' keys, in the order in which they came.
                persons = connection.execute(
                    "SELECT key_id FROM data_keys WHERE person IS NOT NULL ORDER BY 1"
                ).fetchall()
                connection.execute("DELETE FROM data_keys WHERE key_id = %s", persons[0])
            await in_thread(service.start)
            assert [await _name(service, case) for case in (erased, lost, kept)] == [None, None, "丙丙"]
            async with Wire(service.port, service.token()) as wire:
                metrics = (await wire.ask("GET", "/metrics")).body.decode()
            assert _lost_so_far(metrics) == 1
            assert f'"key_id": "{persons[0][0]}"' in service.said().replace('":"', '": "')
            listed = await in_thread(lambda: service.run("keys"))
            assert listed.returncode == 1, listed.stderr
            assert f"erased: 2; lost: 1\nlost: {persons[0][0]}\n" in listed.stdout
            for file in ("token_key", "master_key", "phone_key", "head_key"):
                assert (tmp_path / file).read_text().strip() not in listed.stdout
        finally:
            service.end()


async def test_the_master_key_is_replaced_while_the_service_runs(cluster: EmbeddedPostgres, tmp_path: Path) -> None:
    first, second = _key(), _key()
    with fresh_database(cluster) as url:
        old = Service(tmp_path, url, ANJUAN_MASTER_KEY=first)
        both = Service(tmp_path, url, workers=2, ANJUAN_MASTER_KEY=second, ANJUAN_MASTER_KEY_OLD=f"{_key()}, {first}")
        new = Service(tmp_path, url, ANJUAN_MASTER_KEY=second)
        try:
            await in_thread(old.start)
            await old.describe_directory()
            before = [await _open(old, f"旧{number}") for number in range(20)]
            assert await in_thread(old.stop) == 0
            refused = await in_thread(lambda: new.run("keys", "rewrap"))
            assert refused.returncode == 1
            assert generation_of(base64.b64decode(first)).hex() in refused.stderr
            await in_thread(both.start)
            rewrapping = asyncio.create_task(in_thread(lambda: both.run("keys", "rewrap")))
            during: list[dict[str, Any]] = []
            while not rewrapping.done() or len(during) < 5:
                during.append(await _open(both, f"新{len(during)}"))
                assert await _name(both, before[len(during) % 20]) == f"旧{len(during) % 20}"
            done = await rewrapping
            assert done.returncode == 0, done.stderr
            assert int(done.stdout.split(" ")[0]) >= 20
            assert [await _name(both, case) for case in before] == [f"旧{number}" for number in range(20)]
            assert await in_thread(both.stop) == 0
            await in_thread(new.start)
            assert [await _name(new, case) for case in before] == [f"旧{number}" for number in range(20)]
            assert [await _name(new, case) for case in during] == [f"新{number}" for number in range(len(during))]
            listed = await in_thread(lambda: new.run("keys"))
            assert listed.returncode == 0
            assert generation_of(base64.b64decode(first)).hex() not in listed.stdout
        finally:
            for service in (old, both, new):
                service.end()
