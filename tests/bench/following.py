"""How fast the views are brought up to date, and built anew: the program's own commands, in processes of their own."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner

from services.embedded_postgres import EmbeddedPostgres
from tests.bench.load import cpu_seconds
from tests.bench.measuring import Backends, Contender, Slot, spent

_PATIENCE = 3600.0
_LOOK = 0.2
_PAGE = os.sysconf("SC_PAGE_SIZE")
_LENGTH = 20
_BACK = """
TRUNCATE view_1.cases, view_1.words, view_1.complaints, view_1.duties, view_1.grades, view_1.counts, view_1.answers,
    view_1.tallies, view_1.owed, view_1.notices, parked_cases;
UPDATE projection_checkpoints SET position = 0, summed = 0, done = 0, stream = NULL,
    state = CASE generation WHEN 1 THEN 'live' ELSE 'empty' END;
UPDATE projections SET live = 1, leader = NULL
"""
_FOLLOWED = """
SELECT p.leader IS NOT NULL, c.position FROM projections AS p JOIN projection_checkpoints AS c ON c.generation = 1
"""
_REBUILT = """
SELECT c.state = 'building', CASE p.live WHEN {live} THEN 0 ELSE {end} END
FROM projections AS p JOIN projection_checkpoints AS c ON c.generation <> {live}
"""


class Following:
    """Runs of the follower over one ledger; after each the views stand at its end. `memory`: samples in MiB."""

    def __init__(self, server: EmbeddedPostgres, database: str, environment: Mapping[str, str], records: int) -> None:
        self._url, self._environment, self._records = server.url(database), environment, records
        self._backends = Backends(server, database)
        self.memory: list[int] = []

    def catch_up(self, _: float) -> Slot:
        """`anjuan follow`, from nothing to the end of the ledger."""
        with psycopg.connect(self._url) as connection:
            connection.execute(_BACK)
        with program(["follow"], self._environment) as process:
            return self._watched(process, _FOLLOWED)

    def rebuild(self, _: float) -> Slot:
        """`anjuan rebuild`: the other generation, from the first record to the swap."""
        with psycopg.connect(self._url) as connection:
            (live,) = connection.execute("SELECT live FROM projections").fetchone() or (0,)
        with program(["rebuild", "--restart"], self._environment) as process:
            return self._watched(process, _REBUILT.format(live=live, end=self._records))

    def _watched(self, process: "subprocess.Popen[bytes]", how_far: str) -> Slot:
        """Time and CPU from when it begins to work, with what the process takes up by the way."""
        self.memory = []
        begun, used, last = 0.0, 0.0, 0.0
        database: dict[int, float] = {}
        with psycopg.connect(self._url, autocommit=True) as connection:
            while True:
                works, position = connection.execute(how_far).fetchone() or (False, 0)
                seen, now = self._backends.cpu(), time.perf_counter()
                database = {pid: max(seen.get(pid, 0.0), database.get(pid, 0.0)) for pid in {*seen, *database}}
                if position >= self._records:
                    return Slot(self._records, now - begun, 0.0, last - used, spent({}, database))
                if process.poll() is not None:
                    raise RuntimeError(f"{process.args!r} came to {position} of {self._records}")
                last = cpu_seconds(process.pid)
                if works and not begun:
                    begun, used = now, last
                self.memory.append(int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * _PAGE >> 20)
                time.sleep(_LOOK if begun else _LOOK / 10)


@contextmanager
def program(arguments: list[str], environment: Mapping[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """One of the program's commands, ended afterwards."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANJUAN_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "intake_api", *arguments],
        env={**inherited, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


# The library's runner ---------------------------------------------------------------------------------------------


class _Case(Aggregate):
    """As many events as it is told."""

    @event("Noted")
    def note(self, text: str) -> None:
        self.text = text


class _Ledger(Application[Any]):
    pass


class _Counted(Projection[PostgresTrackingRecorder]):
    """Counts events: the least that a projection can do."""

    count = 0

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        self.count += 1
        self.view.insert_tracking(tracking)


def library(server: EmbeddedPostgres, events: int) -> Contender:
    """The eventsourcing library's projection runner, counting events on PostgreSQL, from nothing each time."""
    server.create_database("library")
    environment = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": "library",
        "POSTGRES_HOST": str(server.socket_dir),
        "POSTGRES_PORT": "5432",
        "POSTGRES_USER": "anjuan",
        "POSTGRES_PASSWORD": "",
    }
    ledger = _Ledger(environment)
    for _ in range(events // _LENGTH):
        case = _Case()
        for _ in range(_LENGTH - 1):
            case.note("客户来电反映地下室渗水，已约上门查看。")
        ledger.save(case)
    end = ledger.recorder.max_notification_id()

    def run(_: float) -> Slot:
        with psycopg.connect(server.url("library")) as connection:
            connection.execute("DROP TABLE IF EXISTS counted_tracking, _counted_tracking, notification_tracking")
        begun, used = time.perf_counter(), time.process_time()
        with ProjectionRunner(
            application_class=_Ledger,
            projection_class=_Counted,
            view_class=PostgresTrackingRecorder,
            env=environment,
        ) as runner:
            runner.wait(end, timeout=_PATIENCE)
        return Slot(end or 0, time.perf_counter() - begun, 0.0, time.process_time() - used)

    return Contender(f"library's runner, counting {events} events", run)
