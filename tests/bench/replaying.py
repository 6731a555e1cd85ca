"""An audit's replay of a whole ledger: the program's own command, in a process of its own, with what it takes up.

`BENCH_REPLAYED=1000000` names the size in actions; without it one that can be tried in a minute.
"""

import json
import os
import time
from pathlib import Path

from services.embedded_postgres import EmbeddedPostgres
from tests.bench.following import Following, program
from tests.bench.load import cpu_seconds
from tests.bench.measuring import Backends, Contender, Ratio, Report, Slot, Spread, durable_postgres, scratch, spent
from tests.bench.views import environment_of, fill, records_of

_SIZE = "50000"
_ROUNDS = 3
# Events a second, whatever PostgreSQL takes beside it on two cores.
_TARGET = 10_000
_PAGE = os.sysconf("SC_PAGE_SIZE")
_LOOK = 0.05


def measure(rounds: int = _ROUNDS, seconds: float = 0.0) -> Report:
    """The group's replay as often as there are rounds; all of them say the same."""
    size = int(os.environ.get("BENCH_REPLAYED", _SIZE))
    with scratch() as folder, durable_postgres(folder) as server:
        environment = environment_of(server, folder, size)
        notes = [fill(server, folder, size)]
        records = records_of(server, size)
        Following(server, f"ledger_{size}", environment, records).rebuild(0.0)
        replaying = Replaying(server, folder, size, environment, records)
        contender = Contender(f"{size}: replay of the group", replaying.run)
        for _ in range(rounds if size < 100_000 else 2):
            contender.turn(0.0)
        found = replaying.said
    if len(replaying.digests) != 1 or found["differences"] or found["tampered"]:
        raise RuntimeError(f"digests {replaying.digests}, totals {found}")
    notes.append(f"one digest in {len(contender.slots)} runs; {found['cases']} cases, no difference from the views")
    notes.append(f"findings on ordinary work: {found['findings'] or 'none'}")
    notes.append(f"memory, MiB: {' '.join(map(str, replaying.memory[:: max(1, len(replaying.memory) // 12)]))}")
    rates = contender.per_second()
    ratio = Ratio(f"replay ÷ {_TARGET}/s", Spread(*(rate / _TARGET for rate in rates)), 1.0)
    return Report("Audit replay", [contender], [ratio], "event", tuple(notes))


class Replaying:
    """Runs of the command over one ledger; time counts from its first record to its file."""

    def __init__(
        self, server: EmbeddedPostgres, folder: Path, size: int, environment: dict[str, str], records: int
    ) -> None:
        self._environment, self._records = environment, records
        self._output = folder / "replay.json"
        self._backends = Backends(server, f"ledger_{size}")
        self.digests: set[str] = set()
        self.memory: list[int] = []
        self.said: dict[str, object] = {}
        self._pinned = ["--as-of", _instant(), "--known-at", _instant()]

    def run(self, _: float) -> Slot:
        self.memory = []
        part = self._output.with_name("replay.json.part")
        begun, used, last = 0.0, 0.0, 0.0
        database: dict[int, float] = {}
        asked = ["replay", *self._pinned, "--output", str(self._output)]
        with program(asked, self._environment) as process:
            while process.poll() is None:
                seen, now = self._backends.cpu(), time.perf_counter()
                database = {pid: max(seen.get(pid, 0.0), database.get(pid, 0.0)) for pid in {*seen, *database}}
                last = cpu_seconds(process.pid) or last
                if not begun and part.exists():
                    begun, used = now, last
                if begun:
                    self.memory.append(int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * _PAGE >> 20)
                time.sleep(_LOOK)
            ended = time.perf_counter()
            if process.returncode:
                raise RuntimeError(f"the replay ended with {process.returncode}")
        answer = json.loads(self._output.read_bytes())
        self.digests.add(answer["digest"])
        self.said = answer["totals"]
        return Slot(self._records, ended - begun, 0.0, last - used, spent({}, database))


def _instant() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
