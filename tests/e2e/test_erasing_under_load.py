"""Many people are forgotten on a live, busy service; afterwards no byte that it leaves behind says who they were.

Quick by default; with ANJUAN_SOAK=1 a thousand of them.
"""

import asyncio
import base64
import contextlib
import json
import os
import random
import re
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from intake_api.services import Services
from services.embedded_postgres import EmbeddedPostgres
from services.event_log import Record, is_intact
from services.event_log.merkle import Frontier
from services.events import decode
from services.migrations import migrate
from services.settings import Settings
from tests.e2e.serving import PROJECT, REGION, Service, Wire, in_thread, opening

pytestmark = pytest.mark.anyio

SOAK = os.environ.get("ANJUAN_SOAK") == "1"
PEOPLE, OTHERS, WRITERS = (1000, 50, 6) if SOAK else (30, 8, 3)
# Seconds within which every process shows nothing of them any more.
_SOON = 1.0
# Nobody else is called so, and no other number begins so.
SURNAME, PREFIX = "纥奚", "1997788"
KEPT = "濮阳"
BUSY = "GD-FS-009"


def person(number: int) -> dict[str, str]:
    return {"name": f"{SURNAME}{chr(0x4E00 + number)}", "phone": f"{PREFIX}{number:04d}", "relation": "业主"}


def _patterns() -> dict[str, re.Pattern[bytes]]:
    """Any of them, as it could lie on a disk."""
    said = {"name": SURNAME.encode()}
    for coding in ("utf-16-le", "utf-16-be"):
        said[f"name in {coding}"] = SURNAME.encode(coding)
        digits = [char.encode(coding) for char in PREFIX]
        said[f"phone in {coding}"] = b"".join(digits)
    said["name in JSON"] = json.dumps(SURNAME).strip('"').encode()
    said["name in hex"] = SURNAME.encode().hex().encode()
    said["name percent-encoded"] = "".join(f"%{byte:02X}" for byte in SURNAME.encode()).encode()
    for text in (SURNAME, PREFIX):
        for shift in range(3):
            placed = b"\0" * shift + text.encode()
            # Without what depends on the bytes around: a character says six bits.
            whole = slice(-(-8 * shift // 6), 8 * len(placed) // 6)
            said[f"{text} in base64, {shift}"] = base64.b64encode(placed)[whole]
    found = {form: re.compile(re.escape(one)) for form, one in said.items() if len(one) >= 6}
    found["phone"] = re.compile(PREFIX.encode() + rb"\d{4}")
    return found


def hits(content: bytes) -> list[str]:
    """The forms in which somebody who was forgotten stands there."""
    return [form for form, pattern in _patterns().items() if pattern.search(content)]


@pytest.mark.parametrize("form", ["utf-8", "utf-16-le", "utf-16-be", "json", "base64"])
def test_the_search_finds_anybody(form: str) -> None:
    whole = json.dumps(person(7), ensure_ascii=form == "json")
    for shift in range(3):
        text = b"\0" * shift + (whole.encode(form) if form.startswith("utf") else whole.encode())
        assert hits(base64.b64encode(text) if form == "base64" else text), (form, shift)


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(folder)
    server.start({"fsync": "off", "full_page_writes": "on"})
    try:
        server.create_database("anjuan")
        migrate(server.url("anjuan"))
        yield server
    finally:
        server.stop()


class Town:
    """The cases of those who will be forgotten, and of others, with what was answered of them before."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.theirs: dict[int, list[dict[str, Any]]] = {}
        self.others: dict[str, bytes] = {}
        self.slowest = 0.0

    async def move_in(self) -> None:
        async with Wire(self.service.port, self.service.token("admin")) as admin:
            body = {"name": "忙碌园", "region": REGION}
            assert (await admin.ask("PUT", f"/v1/projects/{BUSY}", body)).status == 200
        numbers = iter(range(PEOPLE))
        async with Wire(self.service.port, self.service.token()) as wire:
            for number in range(OTHERS):
                who = {"name": f"{KEPT}{chr(0x4E00 + number)}", "phone": f"1381234{number:04d}"}
                await self._open(wire, who)
        await asyncio.gather(*(self._fill(numbers) for _ in range(4)))

    async def _fill(self, numbers: Iterator[int]) -> None:
        async with Wire(self.service.port, self.service.token()) as wire:
            for number in numbers:
                self.theirs[number] = [
                    await self._open(wire, person(number), not more) for more in range(1 + number % 2)
                ]

    async def _open(self, wire: Wire, who: dict[str, str], named: bool = True) -> dict[str, Any]:
        """`named`: in free text too, which goes with `texts` in the case that is named."""
        body = opening(title=f"{who['name'] if named else '某'}家渗水", complainant=who)
        answer = await wire.ask("POST", "/v1/cases", body, Idempotency_Key=str(uuid4()))
        assert answer.status == 201, answer.body
        case: dict[str, Any] = answer.json
        if who["name"].startswith(KEPT):
            self.others[f"/v1/cases/{case['case_id']}"] = b""
            self.others[f"/v1/cases/{case['case_id']}/complaints"] = b""
            self.others[f"/v1/cases/{case['case_id']}/actions"] = b""
        return case

    async def look(self) -> dict[str, bytes]:
        """What must not change: others' cases whole, everybody's grades, and the sums."""
        paths = [*self.others, f"/v1/summary?project={PROJECT}&group_by=project,category,stage"]
        paths += [f"/v1/cases/{case['case_id']}/grade" for held in self.theirs.values() for case in held]
        async with Wire(self.service.port, self.service.token()) as wire:
            return {path: (await wire.ask("GET", path)).body for path in paths}

    async def forget(self, number: int, admin: Wire) -> None:
        case = self.theirs[number][0]
        complaint = case["complaints"][0]["complaint_id"]
        if number % 10 == 0:
            # Every process has opened it, and remembers.
            for _ in range(8):
                assert await self._shown(number)
        body = {"case_id": case["case_id"], "complaint_id": complaint, "reason": "本人申请", "texts": True}
        while True:
            answer = await admin.ask("POST", "/v1/erasures", body, Idempotency_Key=f"erase-{number}")
            if answer.status != 503:
                break
            await asyncio.sleep(0.2)
        assert answer.status == 201, answer.body
        assert answer.json["keys_destroyed"] >= 2
        assert {one["case_id"] for one in answer.json["cases"]} == {one["case_id"] for one in self.theirs[number]}
        if number % 10 == 0:
            await self._is_gone_everywhere(number, time.monotonic())

    async def _is_gone_everywhere(self, number: int, since: float) -> None:
        """Asked on new connections, which other processes answer."""
        clean = 0
        while clean < 8:
            began = time.monotonic()
            shown = await self._shown(number)
            clean = 0 if shown else clean + 1
            if shown:
                self.slowest = max(self.slowest, began - since)
                assert began - since < _SOON, f"shown after {began - since:.2f} s"

    async def _shown(self, number: int) -> bool:
        """Whether a new connection is told of them."""
        async with Wire(self.service.port, self.service.token()) as wire:
            paths = [f"/v1/cases/{case['case_id']}/complaints" for case in self.theirs[number]]
            return any([bool(hits((await wire.ask("GET", path)).body)) for path in paths])


async def _busy(service: Service, stop: asyncio.Event, chance: random.Random) -> int:
    """Somebody writes and reads without pause."""
    done = 0
    async with Wire(service.port, service.token()) as wire:
        while not stop.is_set():
            who = {"name": "路人", "phone": f"1360000{chance.randrange(50):04d}"}
            body = opening(project=BUSY, complainant=who)
            opened = await wire.ask("POST", "/v1/cases", body, Idempotency_Key=str(uuid4()))
            assert opened.status == 201, opened.body
            for path in ("/v1/cases?limit=50", "/v1/cases?q=渗水".replace("渗水", "%E6%B8%97%E6%B0%B4")):
                assert (await wire.ask("GET", path)).status in (200, 503)
            done += 1
    return done


def _fetched(service: Service, path: str) -> bytes:
    request = urllib.request.Request(
        f"http://127.0.0.1:{service.port}{path}", headers={"authorization": f"Bearer {service.token()}"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: bytes = answer.read()
        return found


async def _head(service: Service) -> dict[str, Any]:
    async with Wire(service.port, service.token("auditor")) as auditor:
        found: dict[str, Any] = (await auditor.ask("GET", "/v1/audit/head")).json
        return found


@contextlib.asynccontextmanager
async def _inside(service: Service, url: str) -> AsyncIterator[Services]:
    services = Services(Settings({"ANJUAN_DATA": str(service.data)}), url)
    async with services.log:
        yield services


async def _said(services: Services) -> tuple[list[Record], bytes]:
    """Every event, and all that whoever has every key that is left can read in them."""
    records: list[Record] = []
    texts: list[str] = []
    while page := await services.log.read.after(len(records)):
        records += page
        for record in page:
            fact = decode(record.name, record.schema, record.body)
            texts.append(repr(await services.vault.plain(fact, record.stream, record.version)))
    return records, "".join(texts).encode()


def _dumped(url: str) -> bytes:
    """All rows of all tables, as `COPY` gives them; bytes as text too, since a dump has them in hexadecimal."""
    whole = []
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for (table,) in tables:
            with connection.cursor().copy(f"COPY {table} TO STDOUT (FORMAT binary)") as binary:
                whole.append(b"".join(bytes(piece) for piece in binary))
            with connection.cursor().copy(f"COPY {table} TO STDOUT") as text:
                whole.append(b"".join(bytes(piece) for piece in text))
    assert len(whole) > 40
    return b"".join(whole)


def _pg_dump(server: EmbeddedPostgres, url: str) -> bytes:
    made = subprocess.run([server.bin_dir / "pg_dump", "--inserts", url], capture_output=True, check=True, timeout=300)
    assert b"INSERT INTO public.events" in made.stdout
    return made.stdout


async def test_who_is_forgotten_under_load_is_in_no_byte(tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    with _server(tmp_path / "pg") as server:
        url = server.url("anjuan")
        service = Service(tmp_path / "service", url, workers=2, ANJUAN_LOG_LEVEL="debug")
        try:
            await in_thread(service.start)
            await service.describe_directory()
            town = Town(service)
            await town.move_in()
            async with _inside(service, url) as services:
                _, readable = await _said(services)
                assert set(hits(readable)) >= {"name", "phone"}
            assert await in_thread(service.stop) == 0
            server.create_database("before", "anjuan")
            await in_thread(service.start)
            before, head = await town.look(), await _head(service)

            stop, chance = asyncio.Event(), random.Random(seed)
            writers = [asyncio.create_task(_busy(service, stop, chance)) for _ in range(WRITERS)]
            numbers = iter(range(PEOPLE))
            began = time.monotonic()

            async def erase() -> None:
                async with Wire(service.port, service.token("admin")) as admin:
                    for number in numbers:
                        await town.forget(number, admin)

            await asyncio.gather(*(erase() for _ in range(4)))
            took = time.monotonic() - began
            stop.set()
            written = sum(await asyncio.gather(*writers))
            print(f"{PEOPLE} erased in {took:.1f} s beside {written} new cases; longest shown {town.slowest:.2f} s")

            assert await town.look() == before
            # What is promised of the last one too.
            await asyncio.sleep(_SOON)
            exports = [await in_thread(lambda p=p: _fetched(service, p)) for p in ("/v1/cases.csv", "/v1/breaches.csv")]
            assert KEPT.encode() in exports[0]
            assert hits(b"".join(exports)) == []
            await _search_finds_nobody(service)
            after = await _head(service)
            async with _inside(service, url) as services:
                records, readable = await _said(services)
            assert all(is_intact(record) for record in records)
            hashes = [record.header_hash for record in records]
            for one in (head, after):
                assert Frontier.of(hashes[: one["size"]]).root().hex() == one["root"]
            assert KEPT.encode() in readable
            assert hits(readable) == []
            assert hits(_dumped(url)) == []
            assert hits(await in_thread(lambda: _pg_dump(server, url))) == []
            listed = await in_thread(lambda: service.run("check-projections"))
            assert listed.returncode == 0, listed.stdout[-2000:] + listed.stderr[-2000:]
            assert await in_thread(service.stop) == 0
            await _a_backup_serves_nobody(tmp_path, service, server, town)
        finally:
            service.end()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
    files = [file for folder in {tmp_path, server.cluster_dir.parent} for file in folder.rglob("*") if file.is_file()]
    assert service.log in files
    assert [(file.name, found) for file in files if (found := hits(file.read_bytes()))] == []


async def _search_finds_nobody(service: Service) -> None:
    async with Wire(service.port, service.token()) as wire:
        for number in range(0, PEOPLE, max(1, PEOPLE // 20)):
            for body in ({"phone": person(number)["phone"]}, {"q": person(number)["name"]}):
                answer = await wire.ask("POST", "/v1/cases/search", body)
                assert (answer.status, answer.json["items"]) == (200, []), answer.body


async def _a_backup_serves_nobody(tmp_path: Path, service: Service, server: EmbeddedPostgres, town: Town) -> None:
    """The database from before, put back beside the list of who was forgotten since."""
    restored = Service(service.data, server.url("before"))
    try:
        # A ledger that lacks what was signed is not served before somebody says that it was put back.
        said = await in_thread(restored.run, "restored", "--reason", "a backup of before was put back")
        assert said.returncode == 0, said.stdout
        await in_thread(restored.start)
        async with Wire(restored.port, restored.token()) as wire:
            shown = []
            for held in town.theirs.values():
                for case in held:
                    path = f"/v1/cases/{case['case_id']}"
                    shown += [(await wire.ask("GET", f"{path}{part}")).body for part in ("", "/complaints", "/actions")]
            assert hits(b"".join(shown[:: 1 if not SOAK else 7])) == []
            other = next(iter(town.others))
            assert KEPT in (await wire.ask("GET", f"{other}/complaints")).body.decode()
        await _search_finds_nobody(restored)
        async with _inside(restored, server.url("before")) as services:
            _, readable = await _said(services)
        assert KEPT.encode() in readable
        assert hits(readable) == []
        assert await in_thread(restored.stop) == 0
    finally:
        restored.end()
