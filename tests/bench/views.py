"""The views on small and large ledgers: catching up, building anew, reading, polling, and a draft's impact.

`BENCH_LEDGERS=10000,1000000` names the sizes in actions; without it they are such as can be tried in some minutes.
"""

import asyncio
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import uvloop

from intake_api.access import Tokens
from services.embedded_postgres import EmbeddedPostgres
from services.migrations import migrate
from services.settings import Settings
from tests.bench import reading
from tests.bench.following import Following, library
from tests.bench.http import UVICORN, free_port, process
from tests.bench.ledger import Order, made
from tests.bench.measuring import Backends, Contender, Ratio, Report, durable_postgres, interleave, scratch
from tests.bench.policy import draft_of_half_the_bound
from tests.bench.reading import Served

_SIZES = "10000,50000"
_LIBRARY_EVENTS = 5_000
_ROUNDS = 3
_SECONDS = 2.0
# Actions a second, engine and PostgreSQL on two cores.
_TARGET = 12_000
_NOTES = (
    "catching up and rebuilding: `anjuan follow` and `anjuan rebuild` as processes of their own, from when they begin"
    " to work; CPU: server = that process, database = PostgreSQL's backends",
    "reading: one worker, 2 connections, each request another question, so that no kept answer helps;"
    " polling and a case against the empty GET: 32 connections",
)


def measure(rounds: int = _ROUNDS, seconds: float = _SECONDS) -> Report:
    """One ledger after the other; at the largest the follower's memory, polling and a draft."""
    sizes = sorted(int(size) for size in os.environ.get("BENCH_LEDGERS", _SIZES).split(","))
    contenders: list[Contender] = []
    ratios: list[Ratio] = []
    notes = list(_NOTES)
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        server = stack.enter_context(durable_postgres(folder))
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        counting = library(server, _LIBRARY_EVENTS)
        for size in sizes:
            environment = environment_of(server, folder, size)
            notes.append(fill(server, folder, size))
            following = Following(server, f"ledger_{size}", environment, records_of(server, size))
            caught_up = Contender(f"{size}: catching up", following.catch_up)
            rebuilt = Contender(f"{size}: rebuilding", following.rebuild)
            for _ in range(rounds if size < 100_000 else 1):
                caught_up.turn(0.0)
                notes.append(f"{size}: memory while catching up, MiB: {_some(following.memory)}")
                rebuilt.turn(0.0)
                if size == sizes[0]:
                    counting.turn(0.0)
            contenders += [caught_up, rebuilt]
            ratios.append(_of_target(caught_up, size))
            if size == sizes[0]:
                ratios.append(Ratio.of(f"{size}: catching up ÷ library's runner", caught_up, counting, 50))
                contenders.append(counting)
            with served_ledger(server, folder, size, environment, runner) as served:
                asked = reading.questions(served, str(size))
                interleave(asked, rounds, seconds)
                contenders += asked
                if size == sizes[-1]:
                    found, against = _against_empty(served, folder, runner, rounds, seconds)
                    contenders += found
                    ratios += against
                    notes.append(reading.impact(served, draft_of_half_the_bound()))
    return Report("Views", contenders, ratios, "action", tuple(notes))


def _of_target(caught_up: Contender, size: int) -> Ratio:
    rates = caught_up.per_second()
    return Ratio(f"{size}: catching up ÷ {_TARGET}/s", type(rates)(*(rate / _TARGET for rate in rates)), 1.0)


def environment_of(server: EmbeddedPostgres, folder: Path, size: int) -> dict[str, str]:
    return {
        "ANJUAN_DATA": str(folder),
        "ANJUAN_DATABASE_URL": server.url(f"ledger_{size}"),
        "ANJUAN_ACCESS_LOG": "off",
        "ANJUAN_LOG_LEVEL": "warning",
    }


def fill(server: EmbeddedPostgres, folder: Path, size: int) -> str:
    database = f"ledger_{size}"
    server.create_database(database)
    migrate(server.url(database))
    settings = Settings({"ANJUAN_DATA": str(folder)})
    begun = time.perf_counter()
    order = Order(size, size * 3 // 20, datetime.now(UTC))
    plan = made(order, server.url(database), settings.key("ANJUAN_MASTER_KEY"), settings.key("ANJUAN_PHONE_KEY"))
    return f"{size}: a ledger of {len(plan.numbers)} cases, made in {time.perf_counter() - begun:.1f} s"


def records_of(server: EmbeddedPostgres, size: int) -> int:
    with psycopg.connect(server.url(f"ledger_{size}")) as connection:
        (position,) = connection.execute("SELECT position FROM ledger_head").fetchone() or (0,)
    return int(position)


def _some(samples: list[int]) -> str:
    """A dozen of them."""
    return " ".join(str(one) for one in samples[:: max(1, len(samples) // 12)])


@contextmanager
def served_ledger(
    server: EmbeddedPostgres, folder: Path, size: int, environment: Mapping[str, str], runner: asyncio.Runner
) -> Iterator[Served]:
    """A running service over the ledger of that size."""
    port = free_port()
    with process(["-m", "intake_api", "serve", "--port", str(port)], environment, port, folder) as pid:
        tokens = Tokens(Settings({"ANJUAN_DATA": str(folder)}).key("ANJUAN_TOKEN_KEY"))
        auditor, admin = (tokens.issue(role, ["*"], "group", role, 1) for role in ("auditor", "admin"))
        with psycopg.connect(server.url(f"ledger_{size}")) as connection:
            cases = [stream for (stream,) in connection.execute("SELECT stream FROM case_ids LIMIT 5000")]
        yield Served(port, pid, auditor, admin, cases, Backends(server, f"ledger_{size}"), runner)


def _against_empty(
    served: Served, folder: Path, runner: asyncio.Runner, rounds: int, seconds: float
) -> tuple[list[Contender], list[Ratio]]:
    """A case, and a list that did not change, against FastAPI's empty GET."""
    port = free_port()
    with process([*UVICORN, "--port", str(port), "tests.bench.rivals:empty"], {}, port, folder) as pid:
        nothing = reading.empty(port, pid, served.auditor, runner)
        case, unchanged = reading.asked_cases(served), reading.polling(served)
        interleave([case, unchanged, nothing], rounds, seconds)
    return [case, unchanged, nothing], [
        Ratio.of("a case ÷ empty GET", case, nothing),
        Ratio.of("a list, 304 ÷ empty GET", unchanged, nothing),
    ]
