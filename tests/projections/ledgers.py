"""Ledgers filled with random histories, generations of the views as they stand, and who moves them in tests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from msgspec.structs import replace
from pytest import MonkeyPatch

from intake_api.services import Services
from projections.checking import Checker, Difference
from projections.follower import Follower
from projections.rebuild import Rebuild
from projections.tables import VIEWS
from services.docket import Entry
from services.event_log import Record, connect
from services.events import DutyMissed, encode
from services.settings import Settings
from tests.property.worlds import World, history

_STREAMS = 0x019AB3C4_5D6E_7F80_9123_000000000000


@asynccontextmanager
async def parts(url: str, data: Path) -> AsyncIterator[Services]:
    """The service's parts without HTTP."""
    services = Services(Settings({"ANJUAN_DATA": str(data)}), url)
    async with services.log:
        listening = asyncio.create_task(services.log.read.listen())
        yield services
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def some_histories(services: Services, seed: int, number: int, monkeypatch: MonkeyPatch) -> list[Record]:
    """Histories of their own cases, told to one ledger as they happened, sealed as the service does."""
    ids = count(1)
    monkeypatch.setattr(World, "new_id", lambda _: UUID(int=_STREAMS + next(ids)))
    entries = [entry for each in range(number) for entry in history(seed * 1000 + each).order]
    entries.sort(key=lambda entry: (entry.recorded_at, entry.stream.int >> 16, entry.position))
    return [await _record(services, entry, position) for position, entry in enumerate(entries, start=1)]


async def _record(services: Services, entry: Entry, position: int) -> Record:
    sealed, seals = await services.vault.seal(entry.action, entry.stream, entry.version)
    for key in seals.new:
        await services.log.read.do("INSERT INTO data_keys (key_id, person, wrapped) VALUES (%b, %b, %b)", list(key[:3]))
    services.vault.confirm(seals)
    return Record(
        position,
        entry.stream,
        entry.version,
        entry.action.name,
        entry.action.schema,
        entry.actor,
        entry.region,
        entry.recorded_at,
        encode(sealed),
        b"",
    )


def with_notices(records: Sequence[Record], every: int) -> list[Record]:
    """The same, and now and then that a duty was missed, in a stream that is no case's."""
    told: list[Record] = []
    versions = count(1)
    for number, record in enumerate(records):
        told.append(replace(record, position=len(told) + 1))
        if number % every == 0:
            missed = DutyMissed(
                notice_id=UUID(int=number), duty="respond", cycle=1, case_id=record.stream, due_at=record.recorded_at
            )
            place = {"position": len(told) + 1, "stream": UUID(int=_STREAMS - 1), "version": next(versions)}
            told.append(replace(record, **place, name=missed.name, schema=missed.schema, body=encode(missed)))
    return told


async def store(url: str, records: Sequence[Record]) -> None:
    """Put records at the end of the ledger as they are, whatever they say, and tell whoever listens."""
    async with await connect(url, role=None) as connection, connection.transaction():
        await connection.execute("SELECT position FROM ledger_head FOR UPDATE")
        async with connection.cursor() as cursor:
            await cursor.executemany(
                "INSERT INTO events (position, stream, version, name, schema, actor, region, recorded_at, body,"
                " header_hash) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                [tuple(getattr(one, name) for name in Record.__struct_fields__) for one in records],
            )
        await connection.execute(
            "UPDATE ledger_head SET position = %s, recorded_at = %s", [records[-1].position, datetime.now(UTC)]
        )
        await connection.execute("SELECT pg_notify('anjuan', '')")


@asynccontextmanager
async def following(services: Services, most: int = 20) -> AsyncIterator[Follower]:
    """A follower at work."""
    follower = Follower(services.url, services.log, services.folder(100), most=most)
    task = asyncio.create_task(follower.run())
    try:
        yield follower
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def position(url: str) -> int:
    """How far the live generation is."""
    rows = await asked(url, "SELECT c.position FROM projections p JOIN projection_checkpoints c ON generation = live")
    return int(rows[0][0])


async def reached(url: str, wanted: int, seconds: float = 20) -> None:
    """Wait until the live generation is at a position."""
    async with asyncio.timeout(seconds):
        while await position(url) < wanted:  # noqa: ASYNC110 - it may be another process that moves
            await asyncio.sleep(0.02)


async def rebuilt(services: Services, page: int = 40, restart: bool = False, **more: Any) -> Rebuild:
    """A rebuild, run to its end."""
    made = Rebuild(services.url, services.log, services.folder, page=page, **more)
    await made.run(restart)
    return made


async def differences(services: Services, share: float = 1.0) -> list[Difference]:
    """What a check finds in the live generation."""
    async with contextlib.aclosing(Checker(services.url, services.folder(0), share).differences()) as found:
        return [one async for one in found]


async def shown(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of the live generation, table by table."""
    ((live,),) = await asked(url, "SELECT live FROM projections")
    return {table.name: sorted(await asked(url, f"SELECT * FROM {table.fullname}"), key=repr) for table in VIEWS[live]}


async def asked(url: str, question: str, *values: object) -> list[tuple[Any, ...]]:
    """A question to the database."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        cursor = await connection.execute(question, values)
        return await cursor.fetchall() if cursor.description else []
