"""The service as a process of its own, and callers on real sockets who never lose track of what they asked."""

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self
from uuid import uuid4

import psycopg
import uvicorn
from starlette.types import ASGIApp

from intake_api.access import Tokens
from intake_api.one_write import OneWrite, say_to_browsers
from services.embedded_postgres import EmbeddedPostgres
from services.event_log import Record, is_intact
from services.settings import Settings

ROOT = Path(__file__).parents[2]
REGION = "GD"
PROJECT = "GD-FS-001"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Service:
    """``anjuan serve`` on a port of its own. `url` None: on its embedded server."""

    def __init__(self, data: Path, url: str | None = None, workers: int = 1, **settings: str) -> None:
        self.data, self.port, self.workers = data, free_port(), workers
        data.mkdir(parents=True, exist_ok=True)
        self.log = data / "service.log"
        given = {"ANJUAN_DATABASE_URL": url} if url else {}
        own = {"ANJUAN_DATA": str(data), "ANJUAN_PORT": str(self.port), **given, **settings}
        others = {name: value for name, value in os.environ.items() if not name.startswith("ANJUAN_")}
        self.environment = {**others, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **own}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None, "not started"
        return self._process

    def command(self, *words: str) -> list[str]:
        """A command line of the program."""
        return [sys.executable, "-m", "intake_api", *words]

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Another command of the program in the same environment, to its end."""
        return subprocess.run(
            self.command(*words),
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def spawn(self) -> None:
        """Start without waiting."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command("serve", "--workers", str(self.workers)),
                env=self.environment,
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start(self) -> None:
        """Start, and wait until it can store."""
        self.spawn()
        self.wait_until_ready()

    def wait_until_ready(self, within: float = 30) -> None:
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.said()}"
            if self.is_ready():
                return
            time.sleep(0.03)
        raise AssertionError(f"not ready in {within} s: {self.said()}")

    def followers(self) -> list[int]:
        """Its children that keep the views: one, unless one has just died."""
        found = []
        for children in Path(f"/proc/{self.process.pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(pid) for pid in children.read_text().split() if _is_follower(int(pid))]
        return found

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 2) as stream:
            stream.settimeout(3)
            stream.sendall(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            return stream.recv(64).startswith(b"HTTP/1.1 200")
        return False

    def kill(self) -> None:
        """At once, with all workers, as a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, number: signal.Signals = signal.SIGTERM, within: float = 20) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(within)

    def end(self) -> None:
        """Whatever state it is in."""
        if self._process and self._process.poll() is None:
            self.kill()

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def token(self, role: str = "manager", *regions: str, subject: str | None = None) -> str:
        key = Settings({"ANJUAN_DATA": str(self.data)}).key("ANJUAN_TOKEN_KEY")
        return Tokens(key).issue(role, list(regions) or ["*"], "region", subject, 1)

    async def describe_directory(self) -> None:
        """One region with one project."""
        async with Wire(self.port, self.token("admin")) as admin:
            for path, body in (
                (f"/v1/regions/{REGION}", {"name": "广东区域"}),
                (f"/v1/projects/{PROJECT}", {"name": "佛山一号院", "region": REGION}),
            ):
                answer = await admin.ask("PUT", path, body)
                assert answer.status == 200, answer.body


def _is_follower(pid: int) -> bool:
    try:
        return b"intake_api.following" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@contextlib.contextmanager
def serving(data: Path, url: str | None = None, workers: int = 1, **settings: str) -> Any:
    """A ready service, ended afterwards."""
    service = Service(data, url, workers, **settings)
    try:
        service.start()
        yield service
    finally:
        service.end()
        if url is None:
            # It outlives a service that is killed, for the next one to find.
            EmbeddedPostgres(data / "pg").stop("immediate")


@contextlib.contextmanager
def served_here(app: ASGIApp, protocol: type[OneWrite] = OneWrite, **more: Any) -> Iterator[int]:
    """An app on a server in a thread of this process, as `anjuan serve` has it otherwise; its port."""
    port = free_port()
    config = uvicorn.Config(
        app,
        port=port,
        http=protocol,
        loop="uvloop",
        lifespan="off",
        log_level="critical",
        access_log=False,
        **more,
    )
    server = uvicorn.Server(config)
    say_to_browsers()
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield port
    finally:
        server.should_exit = True
        thread.join()


class Answer(NamedTuple):
    """One HTTP answer, and after how many seconds it was complete."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """One keep-alive connection; made again after it was cut, never asking twice by itself."""

    def __init__(self, port: int, token: str) -> None:
        self._port, self._token = port, token
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()

    def cut(self) -> None:
        if self._streams:
            self._streams[1].close()
            self._streams = None

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """One request; `OSError` or `EOFError` if the connection was lost, so that nobody knows what came of it."""
        began = time.monotonic()
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [
            f"{method} {path} HTTP/1.1",
            "Host: 127.0.0.1",
            f"Authorization: Bearer {self._token}",
            f"Content-Length: {len(content)}",
            *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
        ]
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            writer.write("\r\n".join([*lines, "", ""]).encode() + content)
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            found = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)
            }
            answer = await reader.readexactly(int(found.get("content-length", 0)))
        except BaseException:
            self.cut()
            raise
        return Answer(int(head[0].split(" ")[1]), found, answer, time.monotonic() - began)


CUT = (OSError, EOFError)


class Stored(NamedTuple):
    """One acknowledged action."""

    key: str
    stream: str
    version: int
    position: int
    replayed: bool


class Crowd:
    """Callers who open cases and act on them without pause, each action under one key until it is acknowledged."""

    def __init__(self, service: Service, callers: int, chance: random.Random) -> None:
        self.service, self.chance = service, chance
        self.subject = f"crowd-{uuid4()}"
        self.token = service.token("agent", REGION, subject=self.subject)
        self.stored: list[Stored] = []
        self.refused: Counter[str] = Counter()
        self.longest = 0.0
        self.answers = 0
        self.cut = 0
        self._stopping = False
        self._shared: list[str] = []
        self._tasks = [asyncio.create_task(self._live()) for _ in range(callers)]

    async def _live(self) -> None:
        async with Wire(self.service.port, self.token) as wire:
            own: list[str] = []
            while not self._stopping:
                if len(own) < 2 or self.chance.random() < 0.1:
                    case = (await self._settle(wire, "/v1/cases", opening())).stream
                    own.append(case)
                    self._shared = [*self._shared[-3:], case]
                case = self.chance.choice([*own[-2:], *self._shared])
                text = str(uuid4())
                await self._settle(wire, f"/v1/cases/{case}/actions", {"type": "noted", "text": text})
                if self.chance.random() < 0.2:
                    await self._look(wire, self.chance.choice(["/v1/cases?limit=5", f"/v1/cases/{case}"]))

    async def _settle(self, wire: Wire, path: str, body: object) -> Stored:
        key = str(uuid4())
        while True:
            answer = await self._answered(wire, "POST", path, body, key)
            if answer is None:
                continue
            if answer.status == 201:
                stored = Stored(
                    key,
                    _case_id(answer.json),
                    int(answer.headers["etag"].strip('"')),
                    int(answer.headers["ledger-position"]),
                    "idempotency-replayed" in answer.headers,
                )
                self.stored.append(stored)
                return stored
            self.refused[answer.json["code"]] += 1
            assert answer.status == 503 or answer.json["code"] == "idempotency_key_in_progress", answer.body
            assert "retry-after" in answer.headers
            await asyncio.sleep(self.chance.uniform(0.05, 0.2))

    async def _look(self, wire: Wire, path: str) -> None:
        answer = await self._answered(wire, "GET", path, None, "")
        if answer and answer.status != 200:
            self.refused[answer.json["code"]] += 1
            assert answer.status == 503, answer.body

    async def _answered(self, wire: Wire, method: str, path: str, body: object, key: str) -> Answer | None:
        named = {"Idempotency_Key": key} if key else {}
        try:
            # Far beyond what is promised, so that a broken promise is measured and not waited for.
            async with asyncio.timeout(30):
                answer = await wire.ask(method, path, body, **named)
        except CUT:
            self.cut += 1
            await asyncio.sleep(self.chance.uniform(0.02, 0.1))
            return None
        self.answers += 1
        self.longest = max(self.longest, answer.seconds)
        return answer

    def check(self) -> None:
        """Raise what went wrong with a caller."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def reaches(self, stored: int, within: float = 60) -> None:
        """Wait until so many are acknowledged."""
        async with asyncio.timeout(within):
            while len(self.stored) < stored:
                self.check()
                await asyncio.sleep(0.02)

    async def goes_on(self, within: float = 15) -> float:
        """Wait until everybody was acknowledged twice more, so once at least for what began just now; the seconds."""
        began = time.monotonic()
        await self.reaches(len(self.stored) + 2 * len(self._tasks), within)
        return time.monotonic() - began

    async def finish(self) -> None:
        """Let everybody settle what they asked, and go."""
        self._stopping = True
        async with asyncio.timeout(60):
            await asyncio.gather(*self._tasks)

    def abandon(self) -> None:
        for task in self._tasks:
            task.cancel()


@contextlib.asynccontextmanager
async def crowd(service: Service, callers: int, chance: random.Random) -> AsyncIterator[Crowd]:
    """A crowd that is already being served."""
    made = Crowd(service, callers, chance)
    try:
        await made.reaches(callers)
        yield made
        await made.finish()
    finally:
        made.abandon()


def opening(**fields: Any) -> dict[str, Any]:
    return {
        "project": PROJECT,
        "category": "engineering",
        "title": "外墙渗水",
        "obtained_at": "2026-01-15T16:05:00+08:00",
        "channel": "hotline",
        "household": "3-1-201",
        "complainant": {"name": "李小明", "phone": f"138{random.randrange(10**8):08d}"},
        **fields,
    }


def _case_id(document: Any) -> str:
    found: str = document.get("case_id") or document["case"]["case_id"]
    return found


def ledger(url: str) -> list[Record]:
    """Every stored record, in order of position."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT position, stream, version, name, schema, actor, region, recorded_at, body, header_hash"
            " FROM events ORDER BY position"
        ).fetchall()
    return [Record(*row) for row in rows]


class Audit(NamedTuple):
    """What became of the acknowledged actions."""

    acknowledged: int
    lost: int
    doubled: int
    unasked: int


def audit(url: str, crowd: Crowd) -> Audit:
    """Compare what was acknowledged with the ledger; asserts that the ledger itself is whole."""
    records = ledger(url)
    _assert_whole(records)
    by_position = {record.position: record for record in records}
    with psycopg.connect(url) as connection:
        kept = {
            row[0]: row[1:]
            for row in connection.execute(
                "SELECT key, stream::text, version, position FROM idempotency_keys WHERE subject = %s", [crowd.subject]
            )
        }
        head = connection.execute("SELECT position FROM ledger_head").fetchone()
    assert head == (len(records),)
    acknowledged = {stored.key: stored for stored in crowd.stored}
    lost = [
        stored
        for stored in crowd.stored
        if kept.get(stored.key) != (stored.stream, stored.version, stored.position)
        or str(by_position[stored.position].stream) != stored.stream
        or by_position[stored.position].version != stored.version
    ]
    actions = [record for record in records if record.actor.endswith(crowd.subject)]
    ids = Counter(json.loads(record.body)["action_id"] for record in actions)
    doubled = len(crowd.stored) - len({stored.position for stored in crowd.stored}) + sum(ids.values()) - len(ids)
    # Everybody waited for an acknowledgement, so nothing else may be there.
    unasked = len(actions) - len(acknowledged) + len(kept) - len(acknowledged)
    return Audit(len(crowd.stored), len(lost), doubled, unasked)


def _assert_whole(records: list[Record]) -> None:
    """No gap in the positions, none in any stream, every hash right, time strictly rising."""
    assert [record.position for record in records] == list(range(1, len(records) + 1))
    assert all(map(is_intact, records))
    assert all(one.recorded_at < other.recorded_at for one, other in pairwise(records))
    streams: dict[Any, list[int]] = {}
    for record in records:
        streams.setdefault(record.stream, []).append(record.version)
    assert all(versions == list(range(1, len(versions) + 1)) for versions in streams.values())


async def in_thread(work: Callable[..., Any], *arguments: Any) -> Any:
    """Blocking work while the crowd goes on."""
    call: Awaitable[Any] = asyncio.to_thread(work, *arguments)
    return await call
