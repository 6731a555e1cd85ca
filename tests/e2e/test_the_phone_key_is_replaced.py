"""Another phone key takes the place of the first while the service runs: nobody is lost, and nobody becomes two."""

import asyncio
import base64
import os
import random
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from services.embedded_postgres import EmbeddedPostgres
from services.phone_keys import PhoneKeys, name_of
from tests.conftest import fresh_database
from tests.e2e.serving import Service, Wire, in_thread, opening

pytestmark = pytest.mark.anyio
_SEED = random.SystemRandom().randrange(2**32)


def _key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def _name(key: str) -> str:
    return name_of(base64.b64decode(key))


def _phones(random_: random.Random, count: int) -> list[str]:
    return [f"137{number:08d}" for number in random_.sample(range(10**8), count)]


async def _complain(service: Service, phone: str, title: str = "外墙渗水") -> dict[str, Any]:
    body = opening(complainant={"name": f"业主{phone[-4:]}", "phone": phone}, title=title)
    async with Wire(service.port, service.token()) as wire:
        answer = await wire.ask("POST", "/v1/cases", body, Idempotency_Key=str(uuid4()))
    assert answer.status == 201, answer.body
    found: dict[str, Any] = answer.json
    return found


async def _found(service: Service, **asked: str) -> set[str]:
    """The cases that a search finds, once the views show what was recorded."""
    async with Wire(service.port, service.token()) as wire:
        for _ in range(200):
            ready = await wire.ask("GET", "/readyz/projections")
            if ready.status == 200 and ready.json["lag"] == 0:
                break
            await asyncio.sleep(0.05)
        answer = await wire.ask("POST", "/v1/cases/search?limit=200", asked)
    assert answer.status == 200, answer.body
    return {one["case_id"] for one in answer.json["items"]}


def _persons(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM data_keys WHERE person IS NOT NULL").fetchone()
    assert row
    return int(row[0])


def _names(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {row[0] for row in connection.execute("SELECT name FROM phone_keys")}


async def test_the_phone_key_is_replaced_while_the_service_runs(cluster: EmbeddedPostgres, tmp_path: Path) -> None:
    print("seed", _SEED)
    callers = _phones(random.Random(_SEED), 24)
    first, second = _key(), _key()
    with fresh_database(cluster) as url:
        old = Service(tmp_path, url, ANJUAN_PHONE_KEY=first)
        both = Service(tmp_path, url, workers=2, ANJUAN_PHONE_KEY=second, ANJUAN_PHONE_KEY_OLD=first)
        new = Service(tmp_path, url, ANJUAN_PHONE_KEY=second)
        try:
            await in_thread(old.start)
            await old.describe_directory()
            cases: dict[str, set[str]] = {phone: set() for phone in callers}
            for phone in callers[:12]:
                cases[phone].add((await _complain(old, phone))["case_id"])
            assert _names(url) == {_name(first)}
            assert await in_thread(old.stop) == 0

            await in_thread(new.spawn)
            assert await in_thread(new.process.wait, 20) == 1
            assert _name(first) in new.said()
            assert _names(url) == {_name(first)}

            await in_thread(both.start)
            for phone in callers[:12]:
                assert await _found(both, phone=phone) == cases[phone]
            rehashing = asyncio.create_task(in_thread(lambda: both.run("keys", "rehash")))
            turn = 0
            while not rehashing.done() or turn < 24:
                phone = callers[turn % 24]
                cases[phone].add((await _complain(both, phone, "楼道灯不亮"))["case_id"])
                assert await _found(both, phone=phone) == cases[phone]
                turn += 1
            done = await rehashing
            assert done.returncode == 0, done.stdout + done.stderr
            assert int(done.stdout.split(" ")[0]) >= 12
            assert f"Out of use: {_name(first)}" in done.stdout
            assert (_persons(url), _names(url)) == (24, {_name(second)})
            again = await in_thread(lambda: both.run("keys", "rehash"))
            assert (again.returncode, again.stdout.split(" ")[0]) == (0, "0"), again.stdout + again.stderr
            assert await in_thread(both.stop) == 0

            await in_thread(new.start)
            for phone in callers:
                assert await _found(new, phone=phone) == cases[phone]
            everywhere = set().union(*cases.values())
            assert await _found(new, q="渗水") | await _found(new, q="灯不亮") == everywhere
            assert len(await _found(new, q="渗水")) == 12
            await _complain(new, callers[0])
            assert _persons(url) == 24
            listed = await in_thread(lambda: new.run("keys"))
            assert listed.returncode == 0 and _name(first) not in listed.stdout, listed.stdout
            assert _name(second) in listed.stdout
        finally:
            for service in (old, both, new):
                service.end()


async def test_processes_of_which_each_hashes_under_another_key_make_no_person_twice(
    cluster: EmbeddedPostgres, tmp_path: Path
) -> None:
    print("seed", _SEED)
    callers = _phones(random.Random(_SEED), 12)
    first, second = _key(), _key()
    with fresh_database(cluster) as url:
        one = Service(tmp_path, url, ANJUAN_PHONE_KEY=first, ANJUAN_PHONE_KEY_OLD=second)
        other = Service(tmp_path / "other", url, ANJUAN_PHONE_KEY=second, ANJUAN_PHONE_KEY_OLD=first)
        shared = ("token_key", "master_key", "head_key")
        try:
            await in_thread(one.start)
            await one.describe_directory()
            for name in shared:
                (tmp_path / "other" / name).write_text((tmp_path / name).read_text())
            other.environment |= {"ANJUAN_HEADS": str(tmp_path / "heads")}
            await in_thread(other.start)
            for phone in callers:
                found = await asyncio.gather(*[_complain(service, phone) for service in (one, other) * 2])
                ids = {case["case_id"] for case in found}
                assert [await _found(service, phone=phone) for service in (one, other)] == [ids, ids]
            assert _persons(url) == 12
            assert _names(url) == {_name(first), _name(second)}
        finally:
            for service in (one, other):
                service.end()


async def test_a_phone_key_that_is_lost_is_made_up_for_by_the_ledger(cluster: EmbeddedPostgres, tmp_path: Path) -> None:
    first, second = _key(), _key()
    with fresh_database(cluster) as url:
        old = Service(tmp_path, url, ANJUAN_PHONE_KEY=first)
        new = Service(tmp_path, url, ANJUAN_PHONE_KEY=second)
        try:
            await in_thread(old.start)
            await old.describe_directory()
            case = (await _complain(old, "13700000001"))["case_id"]
            assert await in_thread(old.stop) == 0
            listed = await in_thread(lambda: new.run("keys"))
            assert "NOT GIVEN" in listed.stdout and _name(first) in listed.stdout
            done = await in_thread(lambda: new.run("keys", "rehash"))
            assert done.returncode == 0, done.stdout + done.stderr
            await in_thread(new.start)
            assert await _found(new, phone="137 0000 0001") == {case}
            assert await _found(new, q="渗水") == {case}
        finally:
            for service in (old, new):
                service.end()


async def test_a_person_who_has_become_two_is_named(cluster: EmbeddedPostgres, tmp_path: Path) -> None:
    """As a release before this one could make of it, which asked for no name of a key."""
    first, second = _key(), _key()
    with fresh_database(cluster) as url:
        old = Service(tmp_path, url, ANJUAN_PHONE_KEY=first)
        new = Service(tmp_path, url, ANJUAN_PHONE_KEY=second, ANJUAN_PHONE_KEY_OLD=first)
        try:
            await in_thread(old.start)
            await old.describe_directory()
            before = (await _complain(old, "13700000001"))["case_id"]
            assert await in_thread(old.stop) == 0
            with psycopg.connect(url) as connection:
                connection.execute("DELETE FROM phone_keys")
                connection.execute(
                    "INSERT INTO data_keys SELECT %s, %s, wrapped FROM data_keys WHERE person IS NOT NULL",
                    (uuid4(), _hash(second, "13700000001")),
                )
            await in_thread(new.start)
            assert await _found(new, phone="13700000001") == {before}
            done = await in_thread(lambda: new.run("keys", "rehash"))
            assert done.returncode == 1
            assert "doubled: " in done.stdout and "1 persons have another key" in done.stderr
            assert _name(second) in _names(url)
            assert await _found(new, phone="13700000001") == {before}
        finally:
            for service in (old, new):
                service.end()


def _hash(key: str, phone: str) -> bytes:
    return PhoneKeys(base64.b64decode(key)).hashes(phone).current
