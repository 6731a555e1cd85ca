"""What an action costs on a case with 5,000 actions, and on one with 5: the same service, the same day, on time."""

import asyncio
import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import uvloop

from intake_api.access import Tokens
from services.embedded_postgres import EmbeddedPostgres
from services.settings import Settings
from tests.bench import load
from tests.bench.day import attempted, noted, responded
from tests.bench.http import contender, free_port, process
from tests.bench.measuring import Backends, Contender, Ratio, Report, Spread, durable_postgres, interleave, scratch

_CLIENTS = 4
_LONG, _SHORT = 5_000, 5
# So many short cases for each client that none grows long while it is measured.
_SHORT_CASES = 800
_UPLOAD = 1_000
_ROUNDS = 5
_SECONDS = 2.0
_TARGET = 3.0
_NOTES = (
    f"long: {_CLIENTS} cases of {_LONG} actions each, a fifth of them complaints of different households;"
    f" short: {_CLIENTS * _SHORT_CASES} cases of {_SHORT}",
    "the same actions in both: 40 % notes, 20 % complaints, 20 % answers to all, 20 % calls in vain; one client a case",
    "the ratio is that of the server's CPU for an action, the other way round: it has to reach 1 ÷ 3",
)


def measure(rounds: int = _ROUNDS, seconds: float = _SECONDS) -> Report:
    """Short and long in turn, on one service."""
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        server = stack.enter_context(durable_postgres(folder))
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        short, long = stack.enter_context(_both(server, folder, runner))
        interleave([short, long], rounds, seconds)
    pairs = zip(short.slots, long.slots, strict=True)
    used = Spread.of([(s.server_cpu / s.done) / (one.server_cpu / one.done) for s, one in pairs])
    ratio = Ratio("CPU on a short case ÷ CPU on a long one", used, round(1 / _TARGET, 3))
    return Report(f"An action on a case of {_SHORT} and of {_LONG}", [short, long], [ratio], "action", _NOTES)


@contextmanager
def _both(server: EmbeddedPostgres, folder: Path, runner: asyncio.Runner) -> Iterator[tuple[Contender, Contender]]:
    environment = {"ANJUAN_DATA": str(folder), "ANJUAN_ACCESS_LOG": "off", "ANJUAN_LOG_LEVEL": "warning"}
    port = free_port()
    with process(["-m", "intake_api", "serve", "--demo", "--port", str(port)], environment, port, folder) as pid:
        tokens = Tokens(Settings(environment).key("ANJUAN_TOKEN_KEY"))
        made = []
        for name, size, cases in (("short", _SHORT, _SHORT_CASES), ("long", _LONG, 1)):
            callers = []
            for number in range(_CLIENTS):
                token = tokens.issue("agent", ["GD"], "region", f"{name}-{number}", 1)
                callers.append(_acting(number, port, token, _grown(port, token, cases, size)))
            backends = Backends(server, "anjuan")
            made.append(contender(name, pid, port, callers, runner, backends))
        yield made[0], made[1]


def _acting(number: int, port: int, token: str, cases: list[str]) -> Callable[[], bytes]:
    """One client that goes round its cases; each time one further action, on time."""
    places, kinds = cycle(cases), cycle(range(5))

    def make() -> bytes:
        kind = next(kinds)
        bodies = (noted, lambda: received(uuid4().hex[:8]), noted, lambda: responded(number), lambda: attempted("0-0"))
        headers = (f"Authorization: Bearer {token}", f"Idempotency-Key: {uuid4()}")
        return load.request(port, f"/v1/cases/{next(places)}/actions", bodies[kind](), *headers)

    return make


def received(household: str) -> bytes:
    """投诉 (3.5): one more household complains."""
    said = {"type": "received", "obtained_at": datetime.now(UTC).isoformat(), "channel": "app", "household": household}
    return json.dumps(said).encode()


def _grown(port: int, token: str, cases: int, size: int) -> list[str]:
    """Cases that have so many actions already, uploaded."""
    references = [uuid4().hex for _ in range(cases)]
    items = (item for reference in references for item in _history(reference, size))
    found: dict[str, None] = {}
    while upload := list(islice(items, _UPLOAD)):
        found.update(dict.fromkeys(_uploaded(port, token, upload)))
    return list(found)


def _history(reference: str, size: int) -> Iterator[dict[str, Any]]:
    """An opening and what followed it, a second apart, over before now."""
    begun = datetime.now(UTC) - timedelta(seconds=2 * size + 60)
    first = {"project": "GD-FS-001", "category": "engineering", "title": "渗水", "external_ref": reference}
    complaint = {"obtained_at": begun.isoformat(), "channel": "app", "household": "0-0"}
    yield {"idempotency_key": str(uuid4()), "open": {**first, **complaint}}
    for number in range(1, size):
        at = (begun + timedelta(seconds=number)).isoformat()
        bodies: tuple[dict[str, Any], ...] = (
            {"type": "noted", "text": "一", "occurred_at": at},
            {"type": "received", "obtained_at": at, "channel": "app", "household": f"1-{number}"},
            {"type": "noted", "text": "二", "occurred_at": at},
            {**json.loads(responded(number)), "contacted_at": at},
            {**json.loads(attempted("0-0")), "attempted_at": at},
        )
        yield {"idempotency_key": str(uuid4()), "external_ref": reference, "action": bodies[number % len(bodies)]}


def _uploaded(port: int, token: str, items: list[dict[str, Any]]) -> list[str]:
    """Of each item the case; what was refused is shown in its own words."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/actions/batch",
        json.dumps(items).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        results = json.load(answer)["results"]
    if refused := [one for one in results if one["status"] != 201]:
        raise RuntimeError(f"{len(refused)} of {len(items)} items were refused: {refused[0]}")
    return [one["case_id"] for one in results]
