"""This tree against a commit of before, side by side over HTTP: what reading and writing cost now, and cost then.

`BENCH_AGAINST=COMMIT` names it; `BENCH_LEDGER=10000` says how many actions the ledger has that is read. Each serves
with its own code a ledger that it has made itself, on a PostgreSQL of its own; the packages are those of this tree.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import uvloop

from services.embedded_postgres import EmbeddedPostgres
from tests.bench import reading
from tests.bench.http import serving_actions
from tests.bench.measuring import Contender, Ratio, Report, durable_postgres, interleave, scratch
from tests.bench.views import environment_of, records_of, served_ledger

_HERE = Path(__file__).resolve().parents[2]
_ROUNDS = 5
_SECONDS = 2.0
_TARGET = 0.85
_PATIENCE = 600.0
_NOTES = (
    "reading: 2 connections, each request another question; a case and a list that did not change: 32 connections",
    "writing: any action, 32 connections, as in the part http",
)


def measure(rounds: int = _ROUNDS, seconds: float = _SECONDS) -> Report:
    """What both answer, one after the other; a server that waits for its turn does next to nothing."""
    commit, size = os.environ.get("BENCH_AGAINST", "HEAD~1"), int(os.environ.get("BENCH_LEDGER", "10000"))
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        trees = {"before": _exported(commit, folder / "tree"), "now": _HERE}
        before, now = (
            stack.enter_context(_measured(tree, folder / name, size, runner)) for name, tree in trees.items()
        )
        pairs = [(before[name], now[name]) for name in now if name in before]
        for then, today in pairs:
            interleave([then, today], rounds, seconds)
            then.name, today.name = f"before: {then.name}", f"now: {today.name}"
    ratios = [Ratio.of(today.name.replace("now: ", "", 1), today, then, _TARGET) for then, today in pairs]
    contenders = [contender for pair in pairs for contender in pair]
    return Report(f"Now against {commit}, {size} actions", contenders, ratios, "answer", _NOTES)


def _exported(commit: str, folder: Path) -> Path:
    """The commit's files."""
    folder.mkdir()
    files = subprocess.run(["git", "archive", commit], cwd=_HERE, check=True, capture_output=True)
    subprocess.run(["tar", "-x"], cwd=folder, check=True, input=files.stdout)
    return folder


@contextmanager
def _measured(tree: Path, folder: Path, size: int, runner: asyncio.Runner) -> Iterator[dict[str, Contender]]:
    """All that can be asked of a tree, by name."""
    # Not the folder that the bench is started in.
    code = {"PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}
    folder.mkdir()
    with ExitStack() as stack:
        server = stack.enter_context(durable_postgres(folder))
        environment = {**environment_of(server, folder, size), **code}
        _fill(server, environment, size)
        served = stack.enter_context(served_ledger(server, folder, size, environment, runner))
        _await_views(served, records_of(server, size))
        found = [reading.asked_cases(served), reading.polling(served), *reading.questions(served, str(size))]
        acting, _ = stack.enter_context(serving_actions(server, folder, runner, code))
        acting.name = "any action"
        yield {contender.name: contender for contender in (*found, acting)}


def _await_views(served: reading.Served, position: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while (status := served.ask(f"/v1/cases?min_position={position}")[0]) != 200:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the views did not come to {position} in {_PATIENCE:g} s: {status}")


def _fill(server: EmbeddedPostgres, environment: Mapping[str, str], size: int) -> None:
    server.create_database(f"ledger_{size}")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANJUAN_")}
    for command in (
        ["intake_api", "migrate"],
        ["tests.bench.ledger", "--actions", str(size), "--url", environment["ANJUAN_DATABASE_URL"]],
    ):
        subprocess.run(
            [sys.executable, "-m", *command], env={**inherited, **environment}, check=True, stdout=sys.stderr
        )
