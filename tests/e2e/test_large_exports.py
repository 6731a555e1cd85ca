"""Fifty thousand cases as a file, from a process of its own: in the memory of a few, while others are answered."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from projections.tables import VIEWS
from services.embedded_postgres import EmbeddedPostgres
from tests.conftest import fresh_database
from tests.e2e.serving import Service, Wire, opening, serving

pytestmark = pytest.mark.anyio

CASES, FEW = 50_000, 3_000
# What a larger file may take more than a small one: buffers of sockets, and what the allocator keeps.
_MORE_MEMORY = 24 << 20
# How long another caller may wait for a page meanwhile, on whatever machine this runs.
_PATIENCE = 1.5
# Like the first case but for its id, its number, where its head says either, and its opening.
_OWN = {
    "case_id": "md5(n::text)::uuid",
    "case_no": "'GD-20200101-' || lpad(n::text, 6, '0')",
    "opened_at": "timestamptz '2020-01-01T00:00:00Z' + n * interval '1 second'",
    "head": "decode(replace(encode(head, 'hex'), encode(case_no::bytea, 'hex'),"
    " encode(('GD-20200101-' || lpad(n::text, 6, '0'))::bytea, 'hex')), 'hex')",
}


class Taken(NamedTuple):
    """A file: its size, its rows, the numbers in their order, and the seconds that it took."""

    size: int
    numbers: list[str]
    seconds: float


def filled(url: str, cases: int) -> None:
    """So many rows more like the only one."""
    names = [column.name for column in VIEWS[1].cases.c]
    with psycopg.connect(url) as connection:
        connection.execute(
            f"INSERT INTO view_1.cases ({', '.join(names)}) SELECT {', '.join(_OWN.get(name, name) for name in names)} "
            "FROM view_1.cases CROSS JOIN generate_series(1, %s) AS n",
            [cases],
        )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE view_1.cases")


@pytest.fixture(scope="module")
def service(cluster: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with (
        fresh_database(cluster) as url,
        serving(tmp_path_factory.mktemp("large"), url, ANJUAN_ACCESS_LOG="off") as running,
    ):
        asyncio.run(_first(running))
        filled(url, CASES)
        yield running


async def _first(service: Service) -> None:
    await service.describe_directory()
    async with Wire(service.port, service.token()) as wire:
        answer = await wire.ask("POST", "/v1/cases", opening())
        assert answer.status == 201, answer.body
        position = answer.headers["ledger-position"]
        listed = await wire.ask("GET", f"/v1/cases?min_position={position}")
        assert listed.status == 200


async def _taken(service: Service, path: str) -> Taken:
    began, size, rest, numbers = time.monotonic(), 0, b"", []
    reader, writer = await _asked(service, path)
    async for piece in _pieces(reader):
        size += len(piece)
        *lines, rest = (rest + piece).split(b"\r\n")
        numbers += [line.partition(b",")[0].decode() for line in lines]
    writer.close()
    assert rest == b""
    return Taken(size, numbers[1:], time.monotonic() - began)


async def _asked(service: Service, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {service.token()}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    assert b"chunked" in head
    return reader, writer


async def _pieces(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int(await reader.readline(), 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)


def _memory(service: Service) -> int:
    """The most that the process has held since it was last asked, in bytes."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    Path(f"/proc/{service.process.pid}/clear_refs").write_text("5")
    return int(peak.split()[1]) * 1024


async def test_fifty_thousand_cases_take_the_memory_of_a_few(service: Service) -> None:
    few = f"/v1/cases.csv?opened_from=2020-01-01T00:00:00Z&sort=opened_at&opened_to=2020-01-01T00:{FEW // 60:02d}:01Z"
    for _ in range(2):
        _memory(service)
        assert len((await _taken(service, few)).numbers) == FEW
        small = _memory(service)
    large = await _taken(service, "/v1/cases.csv?sort=opened_at&opened_to=2020-12-31T00:00:00Z")
    more = _memory(service) - small
    print(f"{CASES} cases: {large.seconds:.1f} s, {large.size >> 20} MB, {more >> 20} MB more than {FEW}")
    assert large.numbers == [f"GD-20200101-{n:06d}" for n in range(1, CASES + 1)]
    assert more < _MORE_MEMORY


async def test_others_are_answered_while_a_file_is_made(service: Service) -> None:
    making = asyncio.create_task(_taken(service, "/v1/cases.csv"))
    waited: list[float] = []
    async with Wire(service.port, service.token()) as wire:
        while not making.done():
            began = time.monotonic()
            answer = await wire.ask("GET", f"/v1/cases?limit=20&opened_from=2020-01-01T00:00:00.{len(waited):06d}Z")
            assert answer.status == 200
            waited.append(time.monotonic() - began)
            await asyncio.sleep(0.02)
    assert len((await making).numbers) == CASES + 1
    print(f"others waited {sorted(waited)[len(waited) // 2]:.3f} s, {max(waited):.3f} s at the worst, of {len(waited)}")
    assert len(waited) > 10
    assert max(waited) < _PATIENCE


async def test_a_client_that_leaves_in_the_middle_leaves_nothing(service: Service) -> None:
    open_before = _open_files(service)
    for _ in range(3):
        reader, writer = await _asked(service, "/v1/cases.csv")
        await reader.readexactly(200_000)
        writer.transport.abort()
    async with asyncio.timeout(20):
        while True:
            await asyncio.sleep(0.05)
            if _open_files(service) <= open_before:
                break
    assert "unforeseen" not in service.said() and "Traceback" not in service.said()


def _open_files(service: Service) -> int:
    """Files that the process has open though they have no name any more."""
    count = 0
    for entry in Path(f"/proc/{service.process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            count += "(deleted)" in str(entry.readlink())
    return count


async def test_a_large_workbook_becomes_a_job(service: Service) -> None:
    began = time.monotonic()
    async with Wire(service.port, service.token(subject="统计员")) as wire:
        answer = await wire.ask("GET", "/v1/cases.xlsx")
        told = time.monotonic() - began
        assert answer.status == 202 and told < 5
        while (job := await wire.ask("GET", answer.headers["location"])).json["state"] == "running":
            assert job.json["progress"] < 100
            await asyncio.sleep(0.1)
        assert job.json["state"] == "done"
    print(f"a workbook of {CASES}: told after {told:.1f} s, made after {time.monotonic() - began:.1f} s")
