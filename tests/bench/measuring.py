"""Rounds of contenders side by side: on a busy machine only ratios inside one interleaved run mean anything."""

import os
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from services.embedded_postgres import EmbeddedPostgres
from tests.bench.load import cpu_seconds

# Beside the service's own data: a temporary folder may lie in memory, where a commit costs nothing.
_SCRATCH = Path(__file__).resolve().parents[2] / "data"


class Slot(NamedTuple):
    """One contender's turn in one round; CPU in seconds."""

    done: int
    seconds: float
    client_cpu: float
    server_cpu: float = 0.0
    database_cpu: float = 0.0
    latencies: Sequence[float] = ()

    @property
    def rate(self) -> float:
        return self.done / self.seconds


class Contender:
    """Who is measured, and all its turns."""

    def __init__(self, name: str, run: Callable[[float], Slot]) -> None:
        self.name, self._run = name, run
        self.slots: list[Slot] = []

    def turn(self, seconds: float, counts: bool = True) -> None:
        slot = self._run(seconds)
        if slot.done == 0:
            raise RuntimeError(f"{self.name} did nothing in {seconds} s")
        if counts:
            self.slots.append(slot)

    def per_second(self) -> "Spread":
        return Spread.of([slot.rate for slot in self.slots])

    def micros(self, cpu: str) -> "Spread":
        """CPU of one process in µs for each thing done; `cpu` names a field of `Slot`."""
        return Spread.of([getattr(slot, cpu) / slot.done * 1e6 for slot in self.slots])

    def milliseconds(self, percentile: float) -> float:
        """A percentile over all turns."""
        every = sorted(latency for slot in self.slots for latency in slot.latencies)
        return every[min(len(every) - 1, int(len(every) * percentile / 100))] * 1e3


class Spread(NamedTuple):
    """A figure over the rounds."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> "Spread":
        return cls(statistics.median(figures), min(figures), max(figures))

    def plain(self) -> dict[str, float]:
        return {name: round(value, 3) for name, value in self._asdict().items()}


class Ratio(NamedTuple):
    """Rate of one over rate of the other, round by round; `target`: what the median has to reach."""

    name: str
    spread: Spread
    target: float | None

    @classmethod
    def of(cls, name: str, ours: Contender, theirs: Contender, target: float | None = None) -> "Ratio":
        pairs = zip(ours.slots, theirs.slots, strict=True)
        return cls(name, Spread.of([our.rate / their.rate for our, their in pairs]), target)

    @property
    def reached(self) -> bool:
        return self.target is None or self.spread.median >= self.target


class Report(NamedTuple):
    """What one part of the bench found."""

    title: str
    contenders: Sequence[Contender]
    ratios: Sequence[Ratio]
    unit: str
    notes: Sequence[str]

    def plain(self) -> dict[str, Any]:
        """For machines: CPU in µs for each unit, latencies in ms."""
        return {
            "contenders": {contender.name: _plain(contender) for contender in self.contenders},
            "ratios": {
                ratio.name: {**ratio.spread.plain(), "target": ratio.target, "reached": ratio.reached}
                for ratio in self.ratios
            },
        }


def _plain(contender: Contender) -> dict[str, Any]:
    figures: dict[str, Any] = {"per_second": contender.per_second().plain()}
    for name in ("client_cpu", "server_cpu", "database_cpu"):
        if any(getattr(slot, name) for slot in contender.slots):
            figures[f"{name}_us"] = contender.micros(name).plain()
    if contender.slots[0].latencies:
        figures["p50_ms"] = round(contender.milliseconds(50), 2)
        figures["p99_ms"] = round(contender.milliseconds(99), 2)
    return figures


def interleave(contenders: Sequence[Contender], rounds: int, seconds: float) -> None:
    """A B C A B C …, after one short turn of each that warms up caches and does not count."""
    for contender in contenders:
        contender.turn(min(seconds, 1.0), counts=False)
    for _ in range(rounds):
        for contender in contenders:
            contender.turn(seconds)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the disk that the service's own data would be on; gone afterwards."""
    _SCRATCH.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=_SCRATCH))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def durable_postgres(folder: Path) -> Iterator[EmbeddedPostgres]:
    """A server of its own that keeps every commit; whatever else it was told, it must say so itself."""
    server = EmbeddedPostgres(folder / "pg")
    server.start()
    try:
        with psycopg.connect(server.url("postgres")) as connection:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                (value,) = connection.execute("SELECT current_setting(%s)", [setting]).fetchone() or ("?",)
                if value != "on":
                    raise RuntimeError(f"{setting} is {value}: a commit would prove nothing")
        yield server
    finally:
        server.stop("immediate")


class Backends:
    """The CPU of the server processes that work for the connections to one database."""

    def __init__(self, server: EmbeddedPostgres, database: str) -> None:
        self._url, self._database = server.url("postgres"), database

    def cpu(self) -> Mapping[int, float]:
        """Seconds by process."""
        query = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
        with psycopg.connect(self._url) as connection:
            pids = [pid for (pid,) in connection.execute(query, [self._database])]
        found: dict[int, float] = {}
        for pid in pids:
            try:
                found[pid] = cpu_seconds(pid)
            except OSError:  # hung up meanwhile
                continue
        return found


def spent(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    """What those who are there now have used since; who is new began at nothing."""
    return sum(used - before.get(pid, 0.0) for pid, used in after.items())


def own_cpu() -> float:
    """This process's CPU in seconds."""
    return cpu_seconds(os.getpid())
