"""What the tests under fire share: committers in their own processes, measured load, a proxy that loses answers."""

import asyncio
import contextlib
import os
import random
import tempfile
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from time import monotonic
from typing import NamedTuple, Self
from urllib.parse import parse_qs, quote, urlsplit
from uuid import UUID, uuid4

import psycopg
import uvloop

from services.event_log import (
    EventLog,
    Fact,
    IdempotencyKey,
    KeyTaken,
    Overloaded,
    Proposal,
    Unavailable,
    VersionConflict,
)
from services.event_log.record import header_hash
from services.migrations import migrate

ACTOR = "agent/north/fire"
# What a caller may be answered when the database is in trouble; anything else is a bug.
TROUBLE = (Unavailable, Overloaded)


def seed_of(test: str) -> int:
    """A new seed, or the one in ANJUAN_SEED; printed, so that a failure can be replayed."""
    seed = int(os.environ.get("ANJUAN_SEED") or random.SystemRandom().randrange(2**32))
    print(f"{test}: ANJUAN_SEED={seed}")
    return seed


def proposal(stream: UUID, version: int, body: str, facts: int = 1, key: str = "") -> Proposal:
    """Some facts for one stream, the last under the key; `body` is what they are recognized by."""
    keys = [None] * (facts - 1) + [IdempotencyKey("fire", key, b"digest") if key else None]
    stored = [
        Fact(stream, "noted", 1, "north", b'{"id":"%s/%d"}' % (body.encode(), n), key=one) for n, one in enumerate(keys)
    ]
    return Proposal(ACTOR, {stream: version}, stored)


def commit_many(url: str, appends: int, tasks: int, seed: int) -> list[tuple[int, bytes]]:
    """A process of its own: `tasks` committers with one EventLog; what was acknowledged, as (position, body)."""
    return uvloop.run(_commit_many(url, appends, tasks, random.Random(seed)))


async def _commit_many(url: str, appends: int, tasks: int, chance: random.Random) -> list[tuple[int, bytes]]:
    acknowledged: list[tuple[int, bytes]] = []

    async def committer(log: EventLog) -> None:
        stream, version = uuid4(), 0
        for _ in range(appends // tasks):
            name = str(uuid4())
            stored = await _settled(log, proposal(stream, version, name, chance.randint(1, 3), name))
            version += len(stored)
            acknowledged.extend(stored)

    async with EventLog(url) as log:
        await asyncio.gather(*(committer(log) for _ in range(tasks)))
    return acknowledged


async def _settled(log: EventLog, asked: Proposal) -> list[tuple[int, bytes]]:
    """As a client does: the same key again while nobody could say what became of it."""
    while True:
        try:
            return [(record.position, record.body) for record in (await log.append(asked)).records]
        except KeyTaken as taken:
            first = taken.stored.position - len(asked.facts) + 1
            return [(first + offset, fact.body) for offset, fact in enumerate(asked.facts)]
        except TROUBLE:
            await asyncio.sleep(0.05)


def commit_by_hand(url: str, transactions: int, seed: int) -> list[tuple[int, bytes]]:
    """Plain transactions through the same lock that stay open for up to 200 ms; every third is rolled back."""
    chance = random.Random(seed)
    acknowledged: list[tuple[int, bytes]] = []
    with psycopg.connect(url) as connection:
        for _ in range(transactions):
            inserted = [_insert_by_hand(connection) for _ in range(chance.randint(1, 3))]
            connection.execute("SELECT pg_sleep(%s)", [chance.uniform(0, 0.2)])
            if chance.random() < 1 / 3:
                connection.rollback()
            else:
                connection.commit()
                acknowledged.extend(inserted)
    return acknowledged


def _insert_by_hand(connection: psycopg.Connection) -> tuple[int, bytes]:
    head = connection.execute("SELECT position, recorded_at FROM ledger_head FOR UPDATE").fetchone()
    assert head is not None
    position, recorded_at, stream = head[0] + 1, head[1] + timedelta(microseconds=1), uuid4()
    body = b'{"id":"%s"}' % str(stream).encode()
    row = (position, stream, 1, "noted", 1, ACTOR, "north", recorded_at, body)
    connection.execute("INSERT INTO events VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)", [*row, header_hash(*row)])
    connection.execute("UPDATE ledger_head SET position = %s, recorded_at = %s", [position, recorded_at])
    return position, body


def race(url: str, stream: UUID, versions: int, start: Barrier, seed: int) -> tuple[list[int], int]:
    """A process of its own: tries to write each version of the stream; those it won, and how often it lost."""
    return uvloop.run(_race(url, stream, versions, start, random.Random(seed)))


async def _race(url: str, stream: UUID, versions: int, start: Barrier, chance: random.Random) -> tuple[list[int], int]:
    won: list[int] = []
    lost = 0

    async def runner(log: EventLog) -> None:
        nonlocal lost
        version = 0
        while version < versions:
            # In lockstep one process would win always: the other's turn comes when the version has just moved on.
            await asyncio.sleep(chance.uniform(0, 0.005))
            try:
                await log.append(proposal(stream, version, f"{os.getpid()}"))
            except VersionConflict as conflict:
                lost += 1
                version = conflict.actual
            else:
                version += 1
                won.append(version)

    async with EventLog(url) as log:
        await log.append(proposal(uuid4(), 0, "warm"))
        start.wait()
        await asyncio.gather(*(runner(log) for _ in range(4)))
    return won, lost


def migrate_at(url: str, start: Barrier) -> None:
    """A process of its own: migrates at the same instant as the others."""
    start.wait()
    migrate(url)


class Answer(NamedTuple):
    """What one append came to, and after how many seconds."""

    id: str
    stored: bool
    seconds: float
    at: float


class Load:
    """Appends without pause, each of its own stream, with every answer noted."""

    def __init__(self, log: EventLog, tasks: int = 20) -> None:
        self._log = log
        self._stopping = False
        self._tasks = [asyncio.create_task(self._run()) for _ in range(tasks)]
        self.answers: list[Answer] = []

    async def _run(self) -> None:
        while not self._stopping:
            name, began = str(uuid4()), monotonic()
            try:
                await self._log.append(proposal(uuid4(), 0, name, key=name))
            except TROUBLE:
                self._note(name, False, began)
                await asyncio.sleep(0.05)
            else:
                self._note(name, True, began)
                await asyncio.sleep(0.002)

    def _note(self, name: str, stored: bool, began: float) -> None:
        self.answers.append(Answer(name, stored, monotonic() - began, monotonic()))

    async def is_stored_again(self, within: float = 10) -> float:
        """Wait for a success that began from now on; after how many seconds it came."""
        since = monotonic()
        while monotonic() < since + within:
            if any(answer.stored and answer.at - answer.seconds > since for answer in self.answers[-50:]):
                return monotonic() - since
            await asyncio.sleep(0.01)
        raise AssertionError(f"nothing was stored for {within} s")

    async def finish(self) -> None:
        """Stop asking, and wait for the last answers."""
        self._stopping = True
        await asyncio.gather(*self._tasks)


@contextlib.asynccontextmanager
async def under_load(url: str) -> AsyncIterator[tuple[EventLog, Load]]:
    """A log whose load is already being stored."""
    async with EventLog(url) as log:
        load = Load(log)
        try:
            await load.is_stored_again()
            yield log, load
        finally:
            await load.finish()


def processes_of(postmaster: int) -> list[int]:
    """The server's process and all its children."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    return [postmaster, *(child for child, parent in parents.items() if parent == postmaster)]


class LosingProxy:
    """Stands before a server's unix socket and, when armed, loses the answer to the next COMMIT.

    Three ways, by chance: the server had committed; it was given the COMMIT and nobody waited; it never got it.
    """

    def __init__(self, url: str, chance: random.Random) -> None:
        host = parse_qs(urlsplit(url).query)["host"][0]
        self._chance = chance
        self._server = f"{host}/.s.PGSQL.5432"
        self._folder = tempfile.TemporaryDirectory(prefix="proxy", dir="/tmp")
        self.url = url.replace(quote(host), quote(self._folder.name))
        self.armed = False
        self.cuts: list[str] = []
        self._pipes: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_unix_server(self._serve, f"{self._folder.name}/.s.PGSQL.5432")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for pipe in self._pipes:
            pipe.cancel()
        self._folder.cleanup()

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._pipes.add(task)
        server, to_server = await asyncio.open_unix_connection(self._server)
        lost = asyncio.Event()
        pumps = [
            asyncio.create_task(self._pump_requests(client, to_server, lost)),
            asyncio.create_task(_pump_answers(server, to_client, lost)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            to_client.close()
            to_server.close()
            self._pipes.discard(task)

    async def _pump_requests(
        self, client: asyncio.StreamReader, to_server: asyncio.StreamWriter, lost: asyncio.Event
    ) -> None:
        while data := await client.read(1 << 16):
            if self.armed and b"COMMIT" in data:
                self.armed = False
                how = self._chance.choice(["committed", "sent", "never sent"])
                self.cuts.append(how)
                lost.set()
                if how != "never sent":
                    to_server.write(data)
                    await to_server.drain()
                if how == "committed":
                    await asyncio.sleep(0.03)
                return
            to_server.write(data)
            await to_server.drain()


async def _pump_answers(server: asyncio.StreamReader, to_client: asyncio.StreamWriter, lost: asyncio.Event) -> None:
    while data := await server.read(1 << 16):
        if not lost.is_set():
            to_client.write(data)
            await to_client.drain()
    if lost.is_set():
        await asyncio.sleep(1)


async def settle_keyed(log: EventLog, stream: UUID, version: int, name: str) -> tuple[int, bool]:
    """Append with a key, again while the outcome is unknown; the stream's version then, and whether once was enough."""
    asked = proposal(stream, version, name, key=name)
    for attempt in range(20):
        try:
            return (await log.append(asked)).records[-1].version, attempt == 0
        except KeyTaken as taken:
            assert attempt > 0, "nobody else uses this key"
            return taken.stored.version, False
        except Unavailable:
            continue
    raise AssertionError("unavailable twenty times over")


def bodies(url: str) -> list[str]:
    """Every stored body, in order of position."""
    with psycopg.connect(url) as connection:
        return [bytes(row[0]).decode() for row in connection.execute("SELECT body FROM events ORDER BY position")]
