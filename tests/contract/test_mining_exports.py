"""Mining exports tell of no person, and nothing that anybody types can break them."""

import json
import re
from pathlib import Path

import pytest

from projections.impact import Period
from projections.mined_fields import FIELDS
from services.events import ACTIONS
from services.personal import fields_of
from tests.contract.house import RESPONSE, House
from tests.mined_files import read_ocel, read_xes, written

pytestmark = pytest.mark.anyio

ENDINGS = ["xes", "json", "xml"]
AWKWARD = "<trace>&amp;\"']]>--\t\r\n\x01\x0b\x7f\x85\ufffe渗水😀"
# What XML 1.0 has no way to write.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")

PERSONAL = {
    "title": "司马光屋漏",
    "description": "夜里漏水到司空曙家",
    "name": "欧阳慕容雪",
    "phone": "13512349876",
    "relation": "业主之舅母",
    "household": "七十七栋九单元1808室",
    "household key": "77-9-1808",
    "operator": "坐席王小二",
    "operator id": "desk-4711-7",
    "note": "来电人哭泣不止",
    "evidence": "录音/欧阳/0001.wav",
    "contact person": "诸葛对接人",
    "contact phone": "0755-23498765",
    "reason": "媒体记者已到皇甫家",
    "reference": "HL-控制-0001",
    "subject": "zhang.san@example.com",
    "finding": "令狐冲监理不力",
    "party": "独孤责任人",
    "litigating": "八十八栋二单元306室",
    "manager": "宇文项目总",
    "obtained by": "东方前台收件",
}


async def _told(house: House) -> str:
    """A region with one case in which everybody is named; its tag, category of texts and project are awkward."""
    region = await house.region(city=AWKWARD, managers={"project": {"name": PERSONAL["manager"]}})
    agent = house.agent(region, subject=PERSONAL["subject"])
    case = await agent.case(
        region,
        title=PERSONAL["title"],
        description=PERSONAL["description"],
        household=PERSONAL["household"],
        complainant={k: PERSONAL[k] for k in ("name", "phone", "relation")},
        tags=["外墙", AWKWARD],
        external_ref=PERSONAL["reference"],
        obtained_by=PERSONAL["obtained by"],
        facts={"compensation": [{"amount": "1200.10", "form": "cash"}, {"amount": "0.20", "form": "goods"}]},
    )
    operator = {"id": PERSONAL["operator id"], "name": PERSONAL["operator"]}
    person = {"name": PERSONAL["contact person"], "title": "专员", "phone": PERSONAL["contact phone"]}
    evidence = [{"kind": "recording", "ref": PERSONAL["evidence"]}]
    steps = [
        ("responded", {**RESPONSE, "contact_person": person, "operator": operator, "note": PERSONAL["note"]}),
        ("contact_attempted", {"households": [PERSONAL["household"]], "channel": "hotline", "outcome": "no_answer"}),
        ("noted", {"text": PERSONAL["note"], "evidence": evidence}),
        ("escalated", {"to": "city", "reason": PERSONAL["reason"]}),
        ("assessed", {"facts": {"litigating_households": [PERSONAL["litigating"]]}}),
    ]
    for kind, fields in steps:
        given = {"attempted_at": "2026-01-15T17:00:00+08:00"} if kind == "contact_attempted" else {}
        answer = await agent.act(case, kind, **fields, **given)
        assert answer.status_code == 201, answer.text
    noted = (await agent.act(case, "noted", text=PERSONAL["finding"])).json()["action"]["action_id"]
    corrected = await agent.act(
        case, "corrected", action=noted, replacement={"text": PERSONAL["party"]}, reason=PERSONAL["reason"]
    )
    assert corrected.status_code == 201, corrected.text
    return region


@pytest.mark.parametrize("ending", ENDINGS)
async def test_no_person_is_told_of(house: House, tmp_path: Path, ending: str) -> None:
    region = await _told(house)
    file = tmp_path / f"a.{ending}"
    told = await written(house.services, file, Period(None, None, frozenset({region})))
    assert told == (1, 8)
    content = file.read_bytes()
    assert region.encode() in content and "外墙".encode() in content
    for what, text in PERSONAL.items():
        for form in (
            text.encode(),
            json.dumps(text).strip('"').encode(),
            "".join(f"&#{ord(c)};" for c in text).encode(),
        ):
            assert form not in content, what


def test_no_field_that_is_told_is_sealed_in_the_ledger() -> None:
    for name, fields in FIELDS.items():
        personal = {one.attribute for one in fields_of(ACTIONS[name])}
        # Lists of persons are counted.
        assert personal.isdisjoint(one.name for one in fields if one.kind != "integer")


async def test_nothing_that_is_typed_breaks_the_files(house: House, tmp_path: Path) -> None:
    region = await _told(house)
    for ending in ENDINGS:
        await written(house.services, tmp_path / f"a.{ending}", Period(None, None, frozenset({region})))
    written_in_xml = _UNWRITABLE.sub("\ufffd", AWKWARD)
    (trace,) = read_xes(tmp_path / "a.xes")
    assert trace["tags"] == ("String", f"外墙 | {written_in_xml}")
    assert trace["events"][0]["compensation"] == ("Float", 1200.3)
    for ending, city in (("json", AWKWARD), ("xml", written_in_xml)):
        log = read_ocel(tmp_path / f"a.{ending}")
        cities = [one["value"] for thing in log["objects"] for one in thing["attributes"] if one["name"] == "city"]
        tags = [one["value"] for thing in log["objects"] for one in thing["attributes"] if one["name"] == "tags"]
        assert (cities, tags) == ([city], [f"外墙 | {city}"])
        assert len(log["events"]) == 8


async def test_a_household_has_one_name_in_a_file_and_another_in_the_next(house: House, tmp_path: Path) -> None:
    region = await house.region()
    agent = house.agent(region)
    for address in ("3栋1单元201室", "３-1-0201", "3栋1单元202室"):
        await agent.case(region, household=address)
    names: list[set[str]] = []
    for number in range(2):
        file = tmp_path / f"{number}.json"
        await written(house.services, file, Period(None, None, frozenset({region})))
        names.append({one["id"] for one in read_ocel(file)["objects"] if one["type"] == "household"})
    assert [len(one) for one in names] == [2, 2]
    assert not names[0] & names[1]


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_file_of_a_region_holds_nothing_of_another(house: House, tmp_path: Path, ending: str) -> None:
    here, there = await house.region(), await house.region()
    for region in (here, there):
        await house.agent(region).case(region)
    file = tmp_path / f"a.{ending}"
    assert (await written(house.services, file, Period(None, None, frozenset({here})))).cases == 1
    content = file.read_bytes()
    assert here.encode() in content and there.encode() not in content
