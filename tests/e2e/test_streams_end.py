"""A service that ends takes its streams with it at once, read or unread; who listened resumes at the next one."""

import asyncio
import signal
import time
from pathlib import Path

import pytest

from services.embedded_postgres import EmbeddedPostgres
from tests.conftest import fresh_database
from tests.e2e.serving import REGION, Service, Wire, in_thread, opening

pytestmark = pytest.mark.anyio

Ear = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _listens(service: Service, last: str = "") -> Ear:
    """A stream whose head is read."""
    asked = f"Last-Event-ID: {last}\r\n" if last else ""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    token = service.token("agent", REGION)
    writer.write(f"GET /v1/stream HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n{asked}\r\n".encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    return reader, writer


async def _hears(ear: Ear, kind: bytes) -> bytes:
    """Up to the end of the next event of that kind."""
    await asyncio.wait_for(ear[0].readuntil(b"event: " + kind), 10)
    return await asyncio.wait_for(ear[0].readuntil(b"\n\n"), 10)


async def _opens(service: Service) -> str:
    async with Wire(service.port, service.token("agent", REGION)) as wire:
        answer = await wire.ask("POST", "/v1/cases", opening(), Idempotency_Key=str(time.monotonic_ns()))
    found: str = answer.json["case_id"]
    return found


@pytest.mark.parametrize("workers", [1, 2])
async def test_streams_end_with_their_service_and_are_taken_up_again(
    cluster: EmbeddedPostgres, tmp_path: Path, workers: int
) -> None:
    with fresh_database(cluster) as url:
        service = Service(tmp_path / "data", url, workers)
        try:
            await in_thread(service.start)
            await service.describe_directory()
            ears = [await _listens(service) for _ in range(8)]
            case = await _opens(service)
            told = [await _hears(ear, b'cases\ndata: {"position":') for ear in ears for _ in range(2)]
            assert case.encode() in told[1]
            began = time.monotonic()
            await in_thread(service.stop, signal.SIGTERM)
            seconds = time.monotonic() - began
            ends = [await ear[0].read() for ear in ears]
            # Told to their end, not broken off.
            assert {end[-5:] for end in ends} == {b"0\r\n\r\n"}
            assert seconds < 4, seconds
            assert "Traceback" not in service.said()
            last = told[1].split(b"id: ")[1].strip().decode()
            await in_thread(service.start)
            later = await _opens(service)
            ear = await _listens(service, last)
            assert later.encode() in await _hears(ear, b"cases")
            for _, writer in [*ears, ear]:
                writer.close()
        finally:
            service.end()
