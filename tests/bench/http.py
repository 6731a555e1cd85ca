"""Durable actions over HTTP against the framework's empty POST and a CRUD insert: one worker each, 32 connections."""

import asyncio
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from uuid import uuid4

import psycopg
import uvloop
from sqlalchemy import create_engine

from intake_api.access import Tokens
from services.embedded_postgres import EmbeddedPostgres
from services.migrations import sqlalchemy_url
from services.settings import Settings
from tests.bench import load
from tests.bench.day import Clerk, Known, answering
from tests.bench.load import with_children
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

_CLIENTS = 32
_CASES = 2_000
_ROUNDS = 5
_SECONDS = 2.5
_PATIENCE = 30.0
# Who keeps the views: child, inside, off, as for ANJUAN_FOLLOW; or apart, `anjuan follow` beside the service.
_FOLLOW = os.environ.get("BENCH_FOLLOW", "child")
UVICORN = (
    *("-m", "uvicorn", "--workers", "1", "--loop", "uvloop", "--http", "httptools"),
    *("--no-access-log", "--log-level", "warning", "--no-server-header", "--timeout-keep-alive", "75"),
)
_NOTES = (
    f"ours: the whole path (token, version, idempotency key, decide, seal, commit) over {_CASES} cases and those opened"
    " meanwhile: 30 % open a case, 40 % answer, 15 % note, 15 % call in vain; the others get the same answers' bodies",
    "crud: FastAPI, pydantic body, SQLAlchemy AsyncSession, INSERT and COMMIT each, pool of 20",
    "CPU: server = the uvicorn process and its child that keeps our views; database = PostgreSQL's backends for it",
)


def measure(rounds: int = _ROUNDS, seconds: float = _SECONDS) -> Report:
    """All servers stand ready throughout; one works at a time."""
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        server = stack.enter_context(durable_postgres(folder))
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        ours, token = stack.enter_context(serving_actions(server, folder, runner))
        rivals = stack.enter_context(_rivals(server, folder, runner, token))
        empty, declared, crud = rivals
        interleave([ours, *rivals], rounds, seconds)
    ratios = [
        Ratio.of("ours ÷ empty POST", ours, empty, target=0.5),
        Ratio.of("ours ÷ empty POST with a declared body", ours, declared),
        Ratio.of("ours ÷ crud", ours, crud, target=3),
    ]
    return Report(f"Durable actions over HTTP, {_CLIENTS} connections", [ours, *rivals], ratios, "action", _NOTES)


@contextmanager
def beside(arguments: list[str], environment: Mapping[str, str]) -> Iterator[None]:
    """One of the program's commands, ended afterwards."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANJUAN_")}
    command = [sys.executable, "-m", "intake_api", *arguments]
    running = subprocess.Popen(
        command, env={**inherited, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        running.terminate()
        running.wait(30)


@contextmanager
def serving_actions(
    server: EmbeddedPostgres, folder: Path, runner: asyncio.Runner, more: Mapping[str, str] = MappingProxyType({})
) -> Iterator[tuple[Contender, str]]:
    """`anjuan serve` on the embedded server of its data folder, which it finds running; `more` of its environment."""
    environment = {"ANJUAN_DATA": str(folder), "ANJUAN_ACCESS_LOG": "off", "ANJUAN_LOG_LEVEL": "warning", **more}
    port = free_port()
    command = ["-m", "intake_api", "serve", "--demo", "--port", str(port)]
    with ExitStack() as stack:
        environment["ANJUAN_FOLLOW"] = "off" if _FOLLOW == "apart" else _FOLLOW
        pid = stack.enter_context(process(command, environment, port, folder))
        if _FOLLOW == "apart":
            stack.enter_context(beside(["follow"], environment))
        tokens = Tokens(Settings(environment).key("ANJUAN_TOKEN_KEY"))
        issued = [tokens.issue("agent", ["GD"], "region", f"agent-{n}", 1) for n in range(_CLIENTS)]
        _open_cases(runner, port, issued)
        known = _cases(server.url())
        clerks = [Clerk(n, port, token, known[n::_CLIENTS]) for n, token in enumerate(issued)]
        _look_at_answers(port, clerks[0].each_kind())
        yield (
            contender("ours", pid, port, [clerk.any_action for clerk in clerks], runner, Backends(server, "anjuan")),
            issued[0],
        )


@contextmanager
def _rivals(server: EmbeddedPostgres, folder: Path, runner: asyncio.Runner, token: str) -> Iterator[list[Contender]]:
    from tests.bench.rivals import Base

    server.create_database("crud")
    engine = create_engine(sqlalchemy_url(server.url("crud")))
    Base.metadata.create_all(engine)
    engine.dispose()
    environment = {"BENCH_DATABASE_URL": server.url("crud")}
    cases = [uuid4() for _ in range(_CASES)]
    paths: dict[str, Callable[[], str]] = {
        "empty": lambda: "/empty",
        "declared": lambda: "/empty",
        "crud": lambda: f"/v1/cases/{cases[time.perf_counter_ns() % _CASES]}/actions",
    }
    backends = {"crud": Backends(server, "crud")}
    with ExitStack() as stack:
        made = []
        for name, path in paths.items():
            port = free_port()
            command = [*UVICORN, "--port", str(port), f"tests.bench.rivals:{name}"]
            pid = stack.enter_context(process(command, environment, port, folder))
            callers = [answering(port, path, token, n) for n in range(_CLIENTS)]
            _look_at_answers(port, [callers[0]()])
            made.append(contender(name, pid, port, callers, runner, backends.get(name)))
        yield made


def contender(
    name: str,
    pid: int,
    port: int,
    callers: list[Callable[[], bytes]],
    runner: asyncio.Runner,
    backends: Backends | None,
) -> Contender:
    def turn(seconds: float) -> Slot:
        database = backends.cpu() if backends else {}
        server, client, began = with_children(pid), own_cpu(), time.perf_counter()
        done = runner.run(load.run(port, callers, seconds))
        took, client, server = time.perf_counter() - began, own_cpu() - client, with_children(pid) - server
        if done.refused:
            raise RuntimeError(f"{name}: {done.refused} of {len(done.seconds)} answers were not 2xx")
        used = spent(database, backends.cpu()) if backends else 0.0
        return Slot(len(done.seconds), took, client, server, used, done.seconds)

    return Contender(name, turn)


def _open_cases(runner: asyncio.Runner, port: int, tokens: list[str]) -> None:
    """The stock that stands open when the day begins."""
    clerks = [Clerk(1_000 + n, port, token, []) for n, token in enumerate(tokens)]
    opened = 0
    while opened < _CASES:
        done = runner.run(load.run(port, [clerk.open_case for clerk in clerks], 0.5))
        if done.refused:
            _look_at_answers(port, [clerks[0].open_case()])
            raise RuntimeError(f"{done.refused} cases could not be opened")
        opened += len(done.seconds)


def _cases(url: str) -> list[Known]:
    """A clerk's reference ends with the household, so that each case's is known."""
    query = "SELECT stream, reference FROM external_references ORDER BY reference LIMIT %s"
    with psycopg.connect(url) as connection:
        return [Known(stream, ref.removeprefix("bench-")) for stream, ref in connection.execute(query, [_CASES])]


def _look_at_answers(port: int, requests: list[bytes]) -> None:
    """One request at a time, before anything is measured: a refusal is shown in its own words."""
    for request in requests:
        with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as connection:
            connection.sendall(request)
            answer = connection.recv(65_536)
        if not re.match(rb"HTTP/1\.1 20[0-9] ", answer):
            raise RuntimeError(f"{request.decode()}\n→ {answer.decode(errors='replace')}")


@contextmanager
def process(command: list[str], environment: Mapping[str, str], port: int, folder: Path) -> Iterator[int]:
    """A Python process of its own that answers on that port; what it says is shown only if it never does."""
    log = folder / f"{port}.log"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANJUAN_")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command], env={**inherited, **environment}, stdout=output, stderr=output
        )
    try:
        _await_answer(process, port, log)
        yield process.pid
    finally:
        process.terminate()
        process.wait(_PATIENCE)


def _await_answer(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5)
            return
        except urllib.error.HTTPError as answer:
            if answer.code == 404:  # a rival, which has no such route
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not answer:\n{log.read_text(errors='replace')}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
