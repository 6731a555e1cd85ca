"""``anjuan mining`` as a process: whole files or none, of the demo's case, of real complaints and of years of work."""

import gzip
import json
import signal
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.bench.ledger import Order, made
from tests.e2e.test_importing import _REAL, House
from tests.mined_files import read_ocel, read_xes
from tests.projections.test_mining import faults_in


@pytest.fixture
def house(tmp_path: Path, database_url: str) -> House:
    return House(tmp_path, database_url)


_ACTIONS = """
SELECT name, count(*) FROM events WHERE stream IN (SELECT stream FROM case_ids) GROUP BY name
"""


def _agrees(house: House, file: Path) -> None:
    """The file has the events of the ledger, type by type, and a trace or object for each case."""
    stored = Counter(dict(house.ask(_ACTIONS)))
    ((cases,),) = house.ask("SELECT count(*) FROM case_ids")
    if ".xes" in file.name:
        traces = read_xes(file)
        assert len(traces) == cases
        assert Counter(event["concept:name"][1] for one in traces for event in one["events"]) == stored
    else:
        log = read_ocel(file)
        kinds = Counter(one["type"] for one in log["objects"])
        assert Counter(one["type"] for one in log["events"]) == stored
        assert (kinds["case"], kinds["complaint"]) == (cases, stored["received"])


def test_the_demo_s_case_in_every_format(house: House) -> None:
    house.run("demo")
    for name in ("a.xes.gz", "a.json", "a.jsonocel", "a.xml.gz"):
        file = house.folder / name
        assert " events of 1 cases" in house.run("mining", file, "--region", "GD")
        if name != "a.jsonocel":  # the library goes by the ending
            _agrees(house, file)
    assert json.loads((house.folder / "a.jsonocel").read_bytes())["events"]
    assert gzip.decompress((house.folder / "a.xes.gz").read_bytes()).endswith(b"</log>\n")
    house.run("mining", house.folder / "b.txt", "--format", "ocel")
    assert json.loads((house.folder / "b.txt").read_bytes())["objects"]


def test_what_is_wrong_with_a_question_is_one_line(house: House) -> None:
    house.run("demo")
    file = house.folder / "a.xes"
    assert "which format" in house.run("mining", house.folder / "a.txt", code=2)
    assert "no such region: XX" in house.run("mining", file, "--region", "XX", code=2)
    assert "offset" in house.run("mining", file, "--from", "2026-01-01T00:00:00", code=2)
    told = house.run("mining", house.folder / "none" / "a.xes", code=2)
    assert "cannot be written" in " ".join(told.split())
    assert "0 events of 0 cases" in house.run("mining", file, "--to", "2000-01-01T00:00:00Z")
    assert not list(house.folder.glob(".*.part"))


def test_a_killed_run_leaves_the_file_that_was_there(house: House) -> None:
    order = Order(actions=30_000, cases=4_500, until=datetime(2026, 11, 1, tzinfo=UTC), seed=5)
    made(order, house.url, b"m" * 32, b"p" * 32)
    file = house.folder / "a.xes"
    file.write_text("what was there before")
    with house.start("mining", file) as process:
        end = monotonic() + 60
        while monotonic() < end and not any(one.stat().st_size for one in house.folder.glob(".a.xes.*.part")):
            sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert file.read_text() == "what was there before"
    house.run("mining", file)
    _agrees(house, file)
    assert faults_in(file) == []
    house.run("mining", house.folder / "a.json")
    _agrees(house, house.folder / "a.json")


@pytest.mark.skipif(not _REAL.exists(), reason="the real file is not part of the project")
def test_real_complaints(house: House) -> None:
    house.feed(_REAL, "--create-directory")
    for name in ("a.xes", "a.json", "a.xml"):
        house.run("mining", house.folder / name)
        _agrees(house, house.folder / name)
    assert faults_in(house.folder / "a.xes") == []
