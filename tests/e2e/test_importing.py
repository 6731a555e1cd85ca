"""``anjuan import`` as a process: nothing is stored twice, nothing is lost, every refusal can be corrected."""

import csv
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psycopg
import pytest

from tests.service_requests import Cells, dirty, no_access, request, write

_ROOT = Path(__file__).parents[2]
_REAL = _ROOT / "../shared/data/nyc311.csv.gz"


class House:
    """One data folder, one database."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        self.report = folder / "report.csv"
        self._environment = {**os.environ, "ANJUAN_DATA": str(folder / "data"), "ANJUAN_DATABASE_URL": url}

    def start(self, *arguments: str | Path) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "intake_api", *map(str, arguments)],
            cwd=_ROOT,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str | Path, code: int = 0) -> str:
        with self.start(*arguments) as process:
            out, errors = process.communicate(timeout=120)
        assert process.returncode == code, errors
        return out if code == 0 else errors

    def feed(self, file: Path, *options: str | Path) -> str:
        return self.run("import", "--format", "nyc311", file, "--report", self.report, *options)

    def refused(self) -> Counter[tuple[str, str]]:
        return Counter((line["step"], line["rule"]) for line in self.report_lines())

    def report_lines(self) -> list[dict[str, str]]:
        with self.report.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
            return list(csv.DictReader(stream))

    def stored(self) -> Counter[str]:
        """The ledger's events by name."""
        return Counter(dict(self.ask("SELECT name, count(*) FROM events GROUP BY name")))

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(question.encode()).fetchall()


@pytest.fixture
def house(tmp_path: Path, database_url: str) -> Iterator[House]:
    yield House(tmp_path, database_url)


def test_every_row_ends_in_the_ledger_or_in_the_report(house: House) -> None:
    told = house.feed(write(house.folder / "in.csv", dirty()), "--create-directory")
    received = [line["row"] for line in house.report_lines() if line["step"] == "received"]
    housing = {cells["Unique Key"] for cells in dirty() if cells["Agency"] == "HPD"}
    assert house.stored()["received"] + len(received) == len(housing) + 1  # one key says two things
    assert house.refused() == {
        ("responded", "contact_person_required"): 2,
        ("contact_attempted", "attempted_before_obtained"): 1,
        ("closed", "closed_before_opened"): 1,
        ("closed", "unreadable_time"): 1,
        ("closed", "missing"): 11,
        ("received", "missing_project"): 1,
        ("received", "broken_utf8"): 1,
        ("received", "unreadable_time"): 1,
        ("received", "building_outside_borough"): 1,
        ("received", "missing_region"): 1,
        ("received", "unknown_complaint_type"): 1,
        ("received", "doubled_key"): 1,
    }
    assert {line["clause"] for line in house.report_lines() if line["step"] == "responded"} == {"3.1"}
    assert "refused: responded: contact_person_required (3.1)" in told


def test_a_second_run_adds_nothing(house: House) -> None:
    file = write(house.folder / "in.csv", dirty())
    house.feed(file, "--create-directory")
    before, report = house.stored(), house.report.read_bytes()
    house.feed(file, "--create-directory")
    assert (house.stored(), house.report.read_bytes()) == (before, report)


def test_a_corrected_report_is_fed_again_and_doubles_nothing(house: House) -> None:
    house.feed(write(house.folder / "in.csv", dirty()), "--create-directory")
    before, refused = house.stored(), house.refused()
    house.feed(house.report)
    # The line that the doubled key lost against was stored whole, so only this one is left: now it is the key's misuse.
    assert house.stored() == before
    assert house.refused() == refused - Counter([("received", "doubled_key")]) + Counter(
        [("received", "idempotency_key_reused")]
    )

    lines = house.report_lines()
    for line in lines:
        line["BBL"] = line["BBL"] or "2031430130"
        if line["row"] == "304":
            line["Resolution Action Updated Date"] = "03/01/2023 12:00:00 AM"
    with house.report.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        writer = csv.DictWriter(stream, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    house.feed(house.report)
    assert house.stored() - before == Counter(received=1, contact_attempted=1)


def test_a_row_that_comes_later_joins_the_case_that_is_there(house: House) -> None:
    house.feed(write(house.folder / "in.csv", [request("1")]), "--create-directory")
    earlier = request("2", Created_Date="02/28/2023 09:00:00 AM")
    house.feed(write(house.folder / "in.csv", [earlier, request("1")]))
    assert house.stored()["received"] == 2
    assert len(house.ask("SELECT DISTINCT stream FROM events WHERE name = 'received'")) == 1


def test_a_row_that_says_something_else_than_before_is_refused(house: House) -> None:
    house.feed(write(house.folder / "in.csv", [request("1")]), "--create-directory")
    house.feed(write(house.folder / "in.csv", [request("1", Descriptor="ENTIRE BUILDING")]))
    assert house.refused()["received", "idempotency_key_reused"] == 1
    assert house.stored()["received"] == 1


def test_without_a_directory_projects_are_unknown(house: House) -> None:
    house.feed(write(house.folder / "in.csv", [request("1"), request("2")]))
    assert house.refused() == {("received", "unknown_project"): 2}
    assert not house.stored()


def _long_file(folder: Path) -> Path:
    """Few cases with many rows, so that the time to kill is long: each case is a chain."""
    rows: list[Cells] = [
        no_access(str(n), Created_Date=f"02/28/2023 10:{n % 60:02d}:{n // 60:02d} AM", BBL=f"203143000{n % 3}")
        for n in range(600)
    ]
    return write(folder / "in.csv", rows)


def test_a_killed_run_is_resumed(house: House) -> None:
    file = _long_file(house.folder)
    with house.start("import", "--format", "nyc311", file, "--create-directory", "--report", house.report) as process:
        end = monotonic() + 60
        while monotonic() < end and process.poll() is None and house.stored()["contact_attempted"] < 50:
            sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    halfway = house.stored()
    assert process.returncode == -signal.SIGKILL
    assert 0 < halfway["contact_attempted"] < 600
    house.feed(file, "--create-directory")
    whole = house.stored()
    assert (whole["received"], whole["contact_attempted"]) == (600, 600)
    assert (whole["project_described"], whole["region_described"]) == (3, 1)
    house.feed(file)
    assert house.stored() == whole


def test_a_file_that_cannot_be_read_is_one_line_and_no_harm(house: House) -> None:
    (house.folder / "in.csv").write_text("a,b\n1,2\n")
    arguments = ("import", "--format", "nyc311", house.folder / "in.csv", "--report", house.report)
    assert "has no column" in house.run(*arguments, code=2)


@pytest.mark.skipif(not _REAL.exists(), reason="the real file is not part of the project")
def test_the_real_file_twice(house: House) -> None:
    house.feed(_REAL, "--create-directory")
    stored = house.stored()
    assert stored["received"] == 1796
    assert house.refused()["received", "missing_project"] == 5
    house.feed(house.report)
    house.feed(_REAL)
    assert house.stored() == stored


def test_the_demo_plays_a_new_case_each_time(house: House) -> None:
    assert "GD-" in house.run("demo")
    once = house.stored()
    house.run("demo")
    assert house.stored()["received"] == 2 * once["received"] == 10
    assert house.stored()["region_described"] == once["region_described"]
