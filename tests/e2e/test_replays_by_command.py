"""``anjuan replay`` as a process: killed it goes on, and what it writes is safe to open."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from getpass import getuser
from pathlib import Path
from time import monotonic, sleep

import psycopg
import pytest

from services.settings import Settings
from tests.bench.ledger import Order, made

_ROOT = Path(__file__).parents[2]
_PINNED = ("--as-of", "2026-11-02T00:00:00Z", "--known-at", "2026-11-02T00:00:00+00:00")


class House:
    """A folder and a ledger like some weeks of work."""

    def __init__(self, folder: Path, url: str, actions: int) -> None:
        self.folder, self.url = folder, url
        data = str(folder / "data")
        self.environment = {**os.environ, "ANJUAN_DATA": data, "ANJUAN_DATABASE_URL": url, "ANJUAN_LANGUAGE": "en"}
        settings = Settings({"ANJUAN_DATA": data})
        order = Order(actions, actions * 3 // 20, datetime(2026, 11, 1, tzinfo=UTC), seed=4)
        made(order, url, settings.key("ANJUAN_MASTER_KEY"), settings.key("ANJUAN_PHONE_KEY"))
        self.run("rebuild")

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "intake_api", *arguments],
            cwd=self.folder,
            env={**self.environment, "PYTHONPATH": str(_ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0) -> str:
        with self.start(*arguments) as process:
            out, errors = process.communicate(timeout=120)
        assert process.returncode == code, errors
        return out if code < 2 else errors

    def digest(self) -> str:
        found: str = json.loads((self.folder / "replay.json").read_bytes())["digest"]
        return found


@pytest.fixture
def house(tmp_path: Path, database_url: str) -> Iterator[House]:
    yield House(tmp_path, database_url, 2_000)


def test_a_replay_that_is_killed_goes_on_and_says_the_same(tmp_path: Path, database_url: str) -> None:
    house = House(tmp_path, database_url, 20_000)
    said = house.run("replay", *_PINNED)
    whole = house.digest()
    assert whole in said and "every record is intact" in said
    part = tmp_path / "replay.json.part"
    assert not part.exists()
    (tmp_path / "replay.json").unlink()
    for ending in (signal.SIGKILL, signal.SIGINT):
        with house.start("replay", *_PINNED) as process:
            deadline = monotonic() + 60
            begun = part.stat().st_size if part.exists() else 0
            while not part.exists() or part.stat().st_size <= begun:
                assert monotonic() < deadline and process.poll() is None
                sleep(0.005)
            process.send_signal(ending)
            process.wait(30)
        assert process.returncode in (-signal.SIGKILL, 1)
        assert part.exists() and not (tmp_path / "replay.json").exists()
    told = house.run("replay", *_PINNED, "--region", "GD", code=2)
    assert "another replay" in told
    house.run("replay", *_PINNED)
    assert house.digest() == whole
    assert not part.exists()


def test_a_replay_with_no_instant_named_is_pinned_to_its_beginning(house: House) -> None:
    house.run("replay")
    found = json.loads((house.folder / "replay.json").read_bytes())
    first = found["digest"]
    house.run("replay", "--as-of", found["as_of"], "--known-at", found["known_at"])
    with psycopg.connect(house.url) as connection:
        looks = connection.execute("SELECT subject, operation, regions FROM access_log").fetchall()
    assert looks == [(f"cli/{getuser()}", "replay_ledger", ["*"])] * 2
    assert house.digest() == first


def test_a_file_of_a_view_that_was_edited_runs_nothing_in_whatever_opens_it(house: House) -> None:
    with psycopg.connect(house.url) as connection:
        ((live,),) = connection.execute("SELECT live FROM projections").fetchall()
        edit = (
            f"UPDATE view_{live}.cases SET grade = %s WHERE case_id = (SELECT case_id FROM view_{live}.cases LIMIT 1)"
        )
        connection.execute(edit, ["=<script>alert(1)</script>"])
    told = house.run("replay", *_PINNED, "--format", "csv", code=1)
    assert "1 differ from the views, 1 with no explanation" in told
    with (house.folder / "replay-differences.csv").open(encoding="utf-8-sig", newline="") as lines:
        (line,) = csv.DictReader(lines)
    assert (line["Field"], line["Live"], line["Unexplained"]) == ("grade", "'=<script>alert(1)</script>", "yes")
    assert len((house.folder / "replay-cases.csv").read_text().splitlines()) > 200
    house.run("replay", *_PINNED, "--format", "html", code=1)
    page = (house.folder / "replay.html").read_text()
    assert "&lt;script&gt;alert(1)" in page and "<script" not in page
    assert page.count("<svg") == 4 and "://" not in page
    assert "Audit replay" in page and "Breaches by month due" in page


def test_what_is_wrong_with_the_question_is_named(house: House) -> None:
    assert "--as-of: in_the_future" in house.run("replay", "--as-of", "2999-01-01T00:00:00Z", code=2)
    assert "--region: unknown_region" in house.run("replay", "--region", "XX", code=2)
    assert "--policy: unknown_policy_version" in house.run("replay", "--policy", "V99", code=2)
    assert not (house.folder / "replay.json.part").exists()
    house.run("replay", "--policy", "V1.0", "--region", "GD", "--output", "gd.json")
    assert json.loads((house.folder / "gd.json").read_bytes())["policy"]["version"] == "V1.0"
