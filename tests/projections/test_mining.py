"""Mining exports hold the ledger: what another library reads from them is what the ledger says, one to one."""

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pytest import MonkeyPatch

from intake_api.services import Services
from projections.impact import Period
from projections.mined import CHANGING, state
from projections.mined_fields import FIELDS
from services.case import Case
from services.casebook import entry_of
from services.docket import Entry, corrections, fold, groups, standing
from services.events import ACTIONS, Linked, Received, Responded
from services.households import household_key
from tests.mined_files import instant, read_ocel, read_xes, written
from tests.projections.ledgers import some_histories, store, with_notices

pytestmark = pytest.mark.anyio

_XES = {"string": "String", "integer": "Int", "float": "Float", "boolean": "Boolean", "time": "Date"}
_JSON: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "float": (int, float),
    "boolean": bool,
    "time": str,
}


class _Ledger:
    """What a file should hold: the recorded actions by case, and the cases folded whole."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.files: dict[UUID, list[Entry]] = {}
        for entry in entries:
            self.files.setdefault(entry.stream, []).append(entry)
        self.cases: dict[UUID, Case] = {}
        for group in groups(self.files):
            self.cases.update(fold(group).docket)

    def received(self, stream: UUID) -> list[Received]:
        return [one.action for one in self.files[stream] if isinstance(one.action, Received)]

    def households(self) -> set[tuple[str, str]]:
        named = set()
        for stream, entries in self.files.items():
            project = self.cases[stream].opened.project
            for entry in entries:
                said = getattr(entry.action, "household", None)
                for one in (*getattr(entry.action, "households", ()), *([said] if said else ())):
                    named.add((project, household_key(one)))
                step = standing(entry, corrections(entries))
                if step and isinstance(step.action, Received) and step.action.household:
                    named.add((project, household_key(step.action.household)))
        return named


@pytest.fixture
async def ledger(services: Services, seed: int, monkeypatch: MonkeyPatch) -> _Ledger:
    """Random histories of every type of action, merged and corrected, with notices between them."""
    records = with_notices(await some_histories(services, seed, 12, monkeypatch), every=9)
    await store(services.url, records)
    return _Ledger([entry_of(one) for one in records if one.name in ACTIONS])


async def test_a_trace_is_a_case_and_an_event_an_action(services: Services, ledger: _Ledger, tmp_path: Path) -> None:
    file = tmp_path / "a.xes"
    told = await written(services, file)
    traces = read_xes(file)
    assert told == (len(ledger.files), sum(map(len, ledger.files.values())))
    assert Counter(one["identity:id"][1] for one in traces) == Counter(map(str, ledger.files))
    for trace in traces:
        stream = UUID(trace["identity:id"][1])
        case, entries = ledger.cases[stream], ledger.files[stream]
        assert trace["concept:name"] == ("String", case.case_no or str(stream))
        assert tuple(trace[name][1] for name in CHANGING) == state(case)
        assert trace["complaints"] == ("Int", len(case.complaints))
        recorded = [str(one.action.action_id) for one in sorted(entries, key=lambda one: one.step.key)]
        assert [event["identity:id"][1] for event in trace["events"]] == recorded
        by_id = {str(one.action.action_id): one for one in entries}
        counting = corrections(entries)
        for event in trace["events"]:
            _is(event, by_id[event["identity:id"][1]], counting)


def _is(event: dict[str, Any], entry: Entry, counting: Any) -> None:
    """An event says what was recorded, in the right types."""
    assert event["concept:name"] == ("String", entry.action.name)
    assert event["time:timestamp"][0] == event["recorded_at"][0] == "Date"
    assert instant(event["time:timestamp"][1]) == min(entry.action.occurred_at, entry.recorded_at)
    assert instant(event["recorded_at"][1]) == entry.recorded_at
    assert event["delay_seconds"][0] == "Int"
    assert [event["org:role"][1], event["org:group"][1]] == entry.actor.split("/")[:2]
    word = counting.get(entry.action.action_id)
    assert event.get("corrected_by", (0, None))[1] == (str(word.action.action_id) if word else None)
    assert event.get("retracted", (0, False))[1] == (word is not None and standing(entry, counting) is None)
    for field in FIELDS[entry.action.name]:
        assert field.name not in event or event[field.name][0] == _XES[field.kind]


async def test_the_file_obeys_the_standard(services: Services, ledger: _Ledger, tmp_path: Path) -> None:
    file = tmp_path / "a.xes"
    await written(services, file)
    assert faults_in(file) == []


@pytest.mark.parametrize("ending", ["json", "xml"])
async def test_objects_and_relations_are_those_of_the_ledger(
    services: Services, ledger: _Ledger, tmp_path: Path, ending: str
) -> None:
    file = tmp_path / f"a.{ending}"
    await written(services, file)
    log = read_ocel(file)
    _is_closed(log)
    objects = {one["id"]: one for one in log["objects"]}
    kinds = Counter(one["type"] for one in log["objects"])
    assert len(objects) == len(log["objects"])
    assert kinds["case"] == len(ledger.files)
    assert kinds["complaint"] == sum(len(ledger.received(stream)) for stream in ledger.files)
    assert kinds["household"] == len(ledger.households())
    assert kinds["project"] == len({one.opened.project for one in ledger.cases.values()})
    for stream, case in ledger.cases.items():
        assert tuple(_latest(objects[str(stream)], name) for name in CHANGING) == state(case)
        for received in ledger.received(stream):
            told = objects[str(received.complaint_id)]
            assert (str(stream), "in_case") in _pairs(told)
            held = case.complaints.get(received.complaint_id)
            answered = _latest(told, "responded_at")
            assert (instant(answered) if answered else None) == (held.responded_at if held else None)
    _events_are(log, ledger)


def _events_are(log: dict[str, Any], ledger: _Ledger) -> None:
    recorded = {str(one.action.action_id): one for entries in ledger.files.values() for one in entries}
    declared = {one["name"]: {each["name"]: each["type"] for each in one["attributes"]} for one in log["eventTypes"]}
    assert set(declared) == set(ACTIONS)
    assert Counter(one["id"] for one in log["events"]) == Counter(list(recorded))
    for event in log["events"]:
        entry = recorded[event["id"]]
        assert (event["type"], instant(event["time"])) == (entry.action.name, entry.at)
        assert [one for one, qualifier in _pairs(event) if qualifier == "case"] == [str(entry.stream)]
        named = {one for one, qualifier in _pairs(event) if qualifier == "complaint"}
        if isinstance(entry.action, Received):
            assert named == {str(entry.action.complaint_id)}
        if isinstance(entry.action, Responded):
            assert {str(one) for one in entry.action.complaints} <= named
        if isinstance(entry.action, Linked):
            assert (str(entry.action.case), "other_case") in _pairs(event)
        for value in event["attributes"]:
            assert isinstance(value["value"], _JSON[declared[event["type"]][value["name"]]]), value


def _is_closed(log: dict[str, Any]) -> None:
    """Every relation leads to an object of the file, and none is told twice."""
    known = {one["id"] for one in log["objects"]}
    for one in (*log["objects"], *log["events"]):
        pairs = [(each["objectId"], each["qualifier"]) for each in one["relationships"]]
        assert len(set(pairs)) == len(pairs)
        assert {name for name, _ in pairs} <= known


def _pairs(one: dict[str, Any]) -> set[tuple[str, str]]:
    return {(each["objectId"], each["qualifier"]) for each in one["relationships"]}


def _latest(one: dict[str, Any], name: str) -> Any:
    """The last value of an attribute; of those of one instant the one that was told last."""
    values = [(instant(each["time"]), each["value"]) for each in one["attributes"] if each["name"] == name]
    assert [at for at, _ in values] == sorted(at for at, _ in values)
    return values[-1][1] if values else None


@pytest.mark.parametrize("ending", ["xes", "json"])
async def test_a_period_holds_its_cases_and_no_relation_to_others(
    services: Services, ledger: _Ledger, tmp_path: Path, ending: str
) -> None:
    opened = sorted({one.opened_at for one in ledger.cases.values() if one.opened_at})
    file = tmp_path / f"a.{ending}"
    # Each cut once, so that merged cases are told apart.
    for begin, end in [(opened[len(opened) // 4], opened[len(opened) * 3 // 4]), *((one, None) for one in opened[1:])]:
        await written(services, file, Period(begin, end, frozenset()))
        expected = {
            str(key)
            for key, one in ledger.cases.items()
            if one.opened_at and begin <= one.opened_at and (end is None or one.opened_at < end)
        }
        assert 0 < len(expected) < len(ledger.cases)
        if ending == "xes":
            assert {one["identity:id"][1] for one in read_xes(file)} == expected
            continue
        log = read_ocel(file)
        _is_closed(log)
        assert {one["id"] for one in log["objects"] if one["type"] == "case"} == expected


# The rules of IEEE 1849-2016 and its schema, as far as a log can break them ----------------------------------------

_LEXICAL = {
    "string": r"(?s).*",
    "id": r"(?s).*",
    "date": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)",
    "int": r"[+-]?\d{1,19}",
    "float": r"[+-]?\d+(\.\d+)?",
    "boolean": r"true|false",
}
_ORDER = ["extension", "global", "classifier", "attribute", "trace", "event"]


def faults_in(file: Path) -> list[str]:
    """Everything in which a file is no log of the standard."""
    log = ET.parse(file).getroot()
    if log.tag != "log" or not re.fullmatch(r"\d+\.\d+", log.attrib["xes.version"]):
        return ["no log of a decimal version"]
    prefixes = {one.attrib["prefix"] for one in log.iter("extension")}
    demanded = {one.attrib["scope"]: {each.attrib["key"] for each in one} for one in log.iter("global")}
    kinds = [_ORDER.index("attribute" if one.tag in _LEXICAL else one.tag) for one in log]
    faults = [] if kinds == sorted(kinds) else ["parts out of order"]
    for one in log.iter("classifier"):
        faults += [f"classifier over {key}" for key in one.attrib["keys"].split() if key not in demanded["event"]]
    for trace in log.iter("trace"):
        tags = [one.tag for one in trace]
        faults += [] if tags == sorted(tags, key="event".__eq__) else ["an attribute after an event"]
        faults += _faults_of(trace, prefixes, demanded["trace"])
        faults += [fault for event in trace.iter("event") for fault in _faults_of(event, prefixes, demanded["event"])]
        times = [instant(one.attrib["value"]) for one in trace.iterfind("event/date[@key='time:timestamp']")]
        faults += [] if times == sorted(times) else ["events out of order"]
    return faults


def _faults_of(one: ET.Element, prefixes: set[str], demanded: set[str]) -> list[str]:
    attributes = [each for each in one if each.tag != "event"]
    keys = [each.attrib["key"] for each in attributes]
    faults = [f"{key} is not given" for key in demanded - set(keys)]
    faults += [f"{key} twice" for key, times in Counter(keys).items() if times > 1]
    faults += [f"{key}: no such extension" for key in keys if ":" in key and key.partition(":")[0] not in prefixes]
    for each in attributes:
        if not re.fullmatch(_LEXICAL[each.tag], each.attrib["value"]):
            faults.append(f"{each.attrib} is no {each.tag}")
    return faults
