"""What a row of New York's 311 becomes: the same every time, and each fault by its name."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest

from intake_api import bodies
from intake_api.nyc311.mapping import BOROUGHS, CATEGORIES, CHANNELS, instant, mapped
from intake_api.nyc311.plan import plan
from intake_api.nyc311.sheet import REPORT, Refused, Unreadable, read, write_report
from services import commands
from services.commands import CHANNELS as KNOWN_CHANNELS
from tests.service_requests import COLUMNS, dirty, no_access, request, responded, row, still_open, write

_REAL = Path(__file__).parents[2] / "../shared/data/nyc311.csv.gz"


def test_a_row_is_a_complaint_in_a_case_of_building_kind_and_new_york_day() -> None:
    (received,) = mapped(row(still_open("7", Created_Date="02/28/2023 11:43:13 PM"))).requests
    assert received.key == "nyc311:7:received"
    assert received.opening == {
        "project": "BBL-2031430130",
        "region": "BRONX",
        "category": "property_service",
        "title": "HEAT/HOT WATER, 2023-02-28",
        "external_ref": "nyc311:2031430130:HEAT/HOT WATER:2023-02-28",
        "obtained_at": "2023-03-01T04:43:13Z",
        "obtained_by": "NYC 311",
        "channel": "hotline",
        "household": "key 7",
        "evidence": [{"kind": "nyc311", "ref": "7"}],
        "note": "APARTMENT ONLY",
    }


def test_a_contact_with_a_tenant_is_a_response_and_no_contact_person_is_invented() -> None:
    _, response, _ = mapped(row(responded("7"))).requests
    assert response.body == {"type": "responded", "households": ["key 7"], "contacted_at": "2023-03-02T05:00:00Z"}


def test_a_door_that_stayed_shut_is_an_attempt() -> None:
    _, attempt, _ = mapped(row(no_access("7", Resolution_Action_Updated_Date=""))).requests
    assert attempt.body == {
        "type": "contact_attempted",
        "households": ["key 7"],
        "attempted_at": "2023-03-02T22:21:01Z",
        "channel": "visit",
        "outcome": "no_answer",
    }


def test_a_closed_row_asks_for_closing_and_an_open_one_does_not() -> None:
    assert [one.step for one in mapped(row(request("7"))).requests] == ["received", "closed"]
    assert [one.step for one in mapped(row(still_open("7"))).requests] == ["received"]


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"BBL": ""}, "missing_project"),
        ({"BBL": "20314"}, "malformed_project"),
        ({"BBL": "1021150001"}, "building_outside_borough"),
        ({"Borough": "Unspecified"}, "missing_region"),
        ({"Complaint_Type": "FRIED ONIONS"}, "unknown_complaint_type"),
        ({"Created_Date": ""}, "missing_time"),
        ({"Created_Date": "02/30/2023 10:00:00 AM"}, "unreadable_time"),
        ({"Created_Date": "12/31/9999 11:00:00 PM"}, "unreadable_time"),
        ({"Descriptor": "\udcff"}, "broken_utf8"),
        ({"Unique_Key": ""}, "missing_key"),
    ],
)
def test_a_fault_of_the_complaint_is_named_and_its_further_steps_wait(changes: dict[str, str], rule: str) -> None:
    found = mapped(row({**responded("7"), **{name.replace("_", " "): text for name, text in changes.items()}}))
    assert (found.requests, found.waiting) == ((), 2)
    assert [(one.step, one.rule) for one in found.refused] == [("received", rule)]


@pytest.mark.parametrize(
    ("closed", "rule"),
    [("02/28/2023 09:59:59 AM", "closed_before_opened"), ("soon", "unreadable_time"), ("", "missing_time")],
)
def test_a_fault_of_the_closing_leaves_the_complaint(closed: str, rule: str) -> None:
    found = mapped(row(request("7", Closed_Date=closed)))
    assert [one.step for one in found.requests] == ["received"]
    assert [(one.step, one.rule) for one in found.refused] == [("closed", rule)]


def test_an_hour_that_comes_twice_is_the_first_and_one_that_is_skipped_is_read_as_if_clocks_stood_still() -> None:
    twice = instant("11/05/2023 01:30:00 AM", "Created Date")
    skipped = instant("03/12/2023 02:30:00 AM", "Created Date")
    assert twice.astimezone(UTC) == datetime(2023, 11, 5, 5, 30, tzinfo=UTC)
    assert skipped.astimezone(UTC) == datetime(2023, 3, 12, 7, 30, tzinfo=UTC)


def test_what_the_tables_name_is_known_to_the_service() -> None:
    assert set(CATEGORIES.values()) <= set(commands.CATEGORIES)
    assert {*CHANNELS.values(), "other"} <= set(KNOWN_CHANNELS)
    for region, _ in BOROUGHS.values():
        assert bodies.command(commands.PROJECT, b'{"name": "x", "region": "%s"}' % region.encode(), {})


def test_the_order_of_lines_changes_nothing() -> None:
    rows = [row(cells, line) for line, cells in enumerate(dirty()[:27], start=2)]
    forwards, backwards = plan(rows), plan(reversed(rows))
    assert forwards.cases == backwards.cases
    assert forwards.buildings == backwards.buildings


def test_within_a_case_time_decides_and_no_step_comes_before_its_complaint() -> None:
    early = no_access("9", Resolution_Action_Updated_Date="02/28/2023 12:00:00 AM")
    late = still_open("8", Created_Date="02/28/2023 10:00:01 AM")
    (requests,) = plan([row(late, 2), row(early, 3)]).cases.values()
    assert [one.key.split(":", 1)[1] for one in requests] == [
        "9:received",
        "9:contact_attempted",
        "8:received",
        "9:closed",
    ]


def test_every_line_is_accounted_for() -> None:
    planned = plan([row(cells, line) for line, cells in enumerate(dirty(), start=2)])
    stored = sum(one.step == "received" for requests in planned.cases.values() for one in requests)
    refused = [one.rule for one in planned.refused if one.step == "received"]
    assert (planned.read, planned.housing, planned.repeated) == (30, 28, 1)
    assert planned.housing == stored + len(refused)
    assert refused.count("doubled_key") == 1


def test_a_report_reads_back_as_the_rows_that_it_was_made_of(tmp_path: Path) -> None:
    cells = [request("1", Landmark='bro\udcffken "quoted"\nline'), request("2", Descriptor="é, ü")]
    sheet = read(write(tmp_path / "in.csv", cells))
    write_report(tmp_path / "out.csv", sheet.header, [Refused(one, "closed", "no", None, "why") for one in sheet.rows])
    again = read(tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text(errors="surrogateescape").startswith(",".join((*REPORT, *COLUMNS)))
    assert again.header == sheet.header == COLUMNS
    assert [one.cells for one in again.rows] == [one.cells for one in sheet.rows]


def test_a_row_with_too_many_or_too_few_cells_keeps_them_all(tmp_path: Path) -> None:
    file = write(tmp_path / "in.csv", [request("1")])
    file.write_text(file.read_text() + f"2,short\n{','.join(request('3').values())},one,more\n")
    _, short, long = read(file).rows
    assert short.cells == ("2", "short")
    assert long.cells[-2:] == ("one", "more")
    assert [one.rule for one in plan([short, long]).refused] == ["wrong_number_of_columns"] * 2


# No time in the header: the workers of one run must name their tests alike.
_CUT_OFF = gzip.compress(b"Unique Key", mtime=0)[:-4]


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\x1f\x8bno gzip", _CUT_OFF])
def test_a_file_that_is_none_is_refused_whole(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "in.csv").write_bytes(content)
    with pytest.raises(Unreadable):
        read(tmp_path / "in.csv")


@pytest.mark.skipif(not _REAL.exists(), reason="the real file is not part of the project")
def test_the_real_file_is_accounted_for() -> None:
    planned = plan(read(_REAL).rows)
    stored = sum(one.step == "received" for requests in planned.cases.values() for one in requests)
    assert (planned.read, planned.housing, stored, len(planned.cases)) == (4999, 1801, 1796, 1324)
    assert [one.rule for one in planned.refused] == ["missing_project"] * 5
