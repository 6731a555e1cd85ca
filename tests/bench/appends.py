"""Durable appends of one event each by 40 callers: our log, the library's recorder, and our log without its order."""

import asyncio
import importlib.util
import re
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from time import perf_counter
from types import SimpleNamespace
from typing import Any, Protocol, cast
from uuid import UUID, uuid4

import psycopg
import uvloop
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore

from services.embedded_postgres import EmbeddedPostgres
from services.event_log import EventLog, Fact, Proposal, appender, statements
from services.event_log.appender import Appender
from services.migrations import migrate
from tests.bench.measuring import (
    Backends,
    Contender,
    Ratio,
    Report,
    Slot,
    durable_postgres,
    interleave,
    own_cpu,
    scratch,
    spent,
)

_CALLERS = 40
_ROUNDS = 5
_SECONDS = 2.0
# Events of a stream before its caller begins another: about as many as a case has.
_STREAM_LENGTH = 20
_BODY = b'{"text":"%s"}' % ("客户来电反映地下室渗水，已约上门查看。" * 5).encode()
_NAME = "noted"


class _Log(Protocol):
    async def append(self, proposal: Proposal, patience: float | None) -> object: ...


class _Place:
    """A caller's own stream and how far it has come."""

    def __init__(self) -> None:
        self._stream, self._version = uuid4(), 0

    def next(self) -> tuple[UUID, int]:
        if self._version == _STREAM_LENGTH:
            self._stream, self._version = uuid4(), 0
        self._version += 1
        return self._stream, self._version


def measure(rounds: int = _ROUNDS, seconds: float = _SECONDS) -> Report:
    """All contenders on one server, each in a database of its own; every acknowledged event is counted afterwards."""
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        server = stack.enter_context(durable_postgres(folder))
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        ours = stack.enter_context(_ours(server, runner))
        library = stack.enter_context(_library(server))
        unordered = stack.enter_context(_unordered(server, runner, writers=1))
        several = stack.enter_context(_unordered(server, runner, writers=2))
        contenders = [ours, library, unordered, several]
        interleave(contenders, rounds, seconds)
    ratios = [
        Ratio.of("ours ÷ library", ours, library, target=15),
        Ratio.of("ordered ÷ unordered", ours, unordered, target=0.85),
        Ratio.of("ordered ÷ unordered, 2 writers", ours, several),
    ]
    return Report(f"Durable appends, {_CALLERS} callers, one event each", contenders, ratios, "event", _NOTES)


_NOTES = (
    "unordered: the same batched writer with no head lock, positions from a sequence;"
    " with two writers also no NOTIFY, whose lock would queue their commits",
    "CPU: client = the appending process; database = PostgreSQL's backends of those connections",
)


@contextmanager
def _ours(server: EmbeddedPostgres, runner: asyncio.Runner) -> Any:
    url = _database(server, "ours")

    async def opened() -> EventLog:
        return await EventLog(url).__aenter__()

    log = runner.run(opened())
    counter = _Counter()
    yield _contender("ours", server, "ours", lambda seconds: runner.run(_tasks([log], seconds, counter)))
    runner.run(log.__aexit__())
    counter.compare(url, "events")


@contextmanager
def _unordered(server: EmbeddedPostgres, runner: asyncio.Runner, writers: int) -> Any:
    database = f"unordered_{writers}"
    url = _database(server, database)
    with psycopg.connect(url) as connection:
        connection.execute("CREATE SEQUENCE unordered")
    kind = _without_order(notifies=writers == 1)

    async def opened() -> list[Appender]:
        made = [kind(url) for _ in range(writers)]
        for one in made:
            one.start()
        return made

    async def closed(made: list[Appender]) -> None:
        for one in made:
            await one.stop()

    logs = runner.run(opened())
    counter = _Counter()
    name = "unordered" if writers == 1 else f"unordered, {writers} writers"
    yield _contender(name, server, database, lambda seconds: runner.run(_tasks(logs, seconds, counter)))
    runner.run(closed(logs))
    counter.compare(url, "events")


@contextmanager
def _library(server: EmbeddedPostgres) -> Any:
    server.create_database("library")
    store = PostgresDatastore(
        dbname="library", host=str(server.socket_dir), port="5432", user="anjuan", password="", pool_size=_CALLERS
    )
    with store, ThreadPoolExecutor(_CALLERS) as threads:
        recorder = PostgresApplicationRecorder(store, events_table_name="stored_events")
        recorder.create_table()
        counter = _Counter()

        def call(until: float) -> int:
            place, done = _Place(), 0
            while perf_counter() < until:
                recorder.insert_events([StoredEvent(*place.next(), _NAME, _BODY)])
                done += 1
            return done

        def run(seconds: float) -> int:
            until = perf_counter() + seconds
            return counter.add(sum(threads.map(call, [until] * _CALLERS)))

        yield _contender("library", server, "library", run)
    counter.compare(server.url("library"), "stored_events")


class _Counter:
    """What was acknowledged must be there, and nothing else."""

    def __init__(self) -> None:
        self._acknowledged = 0

    def add(self, done: int) -> int:
        self._acknowledged += done
        return done

    def compare(self, url: str, table: str) -> None:
        with psycopg.connect(url) as connection:
            row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        if row != (self._acknowledged,):
            raise RuntimeError(f"{table}: {row} stored, {self._acknowledged} acknowledged")


def _database(server: EmbeddedPostgres, name: str) -> str:
    server.create_database(name)
    migrate(server.url(name))
    return server.url(name)


def _contender(name: str, server: EmbeddedPostgres, database: str, run: Callable[[float], int]) -> Contender:
    backends = Backends(server, database)

    def turn(seconds: float) -> Slot:
        database_before, client_before, began = backends.cpu(), own_cpu(), perf_counter()
        done = run(seconds)
        took, client = perf_counter() - began, own_cpu() - client_before
        return Slot(done, took, client, database_cpu=spent(database_before, backends.cpu()))

    return Contender(name, turn)


def _tasks(logs: list[Any], seconds: float, counter: _Counter) -> Coroutine[Any, Any, int]:
    async def call(log: _Log, until: float) -> int:
        place, done = _Place(), 0
        while perf_counter() < until:
            stream, version = place.next()
            fact = Fact(stream, _NAME, 1, "GD", _BODY)
            # No patience of its own, as at the desk: a route has one clock for everything.
            await log.append(Proposal("agent/region/bench", {stream: version - 1}, (fact,)), None)
            done += 1
        return done

    async def everyone() -> int:
        until = perf_counter() + seconds
        return counter.add(sum(await asyncio.gather(*(call(logs[n % len(logs)], until) for n in range(_CALLERS)))))

    return everyone()


def _without_order(notifies: bool) -> type[Appender]:
    """A second copy of the appender's module whose statements take no lock on the head and leave it alone."""
    text = {name: value for name, value in vars(statements).items() if name.isupper()}
    text["LOCK_HEAD"] = _changed(text["LOCK_HEAD"], r" FOR UPDATE", "")
    # Found by what they do, so that the log's statements may be split or joined without breaking this.
    moves = r"UPDATE ledger_head SET position = %b, recorded_at = %b, tree_size = %b, peaks = %b"
    text |= {
        name: _change(value, moves, "SELECT %b::int8, %b::timestamptz, %b::int8, %b::bytea")
        for name, value in text.items()
    }
    inserts = r"(INSERT INTO events \([^)]*\)\s*)SELECT \* FROM unnest\(([^)]*)\)"
    columns = "stream, version, name, schema, actor, region, recorded_at, body, header_hash"
    placed = rf"\1SELECT nextval('unordered'), {columns} FROM unnest(\2) AS batch (position, {columns})"
    text |= {name: _change(value, inserts, placed) for name, value in text.items()}
    if not notifies:
        text |= {name: _change(value, r"pg_notify\('anjuan', %b\)", "%b::text") for name, value in text.items()}
    everything = "".join(value for value in text.values() if isinstance(value, str))
    if re.search(r"FOR UPDATE|UPDATE ledger_head", everything) or "nextval('unordered')" not in everything:
        raise RuntimeError("the log's statements changed: this would still be ordered")
    found = importlib.util.spec_from_file_location(f"{appender.__name__}_unordered_{notifies}", appender.__file__)
    assert found and found.loader
    module: Any = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    module.sql = SimpleNamespace(**text)
    return cast("type[Appender]", module.Appender)


def _change(text: Any, pattern: str, replacement: str) -> Any:
    return re.sub(pattern, replacement, text) if isinstance(text, str) else text


def _changed(text: str, pattern: str, replacement: str) -> str:
    changed = re.sub(pattern, replacement, text)
    if changed == text:
        raise RuntimeError(f"no {pattern!r} in {text!r}")
    return changed
