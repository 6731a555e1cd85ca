"""Finding cases: by words of any length, numbers, references and tags; by telephone and household, told to nobody."""

import asyncio
from typing import Any

import pytest

from projections import filters
from tests.contract.house import Caller, House, codes, opening
from tests.contract.lists import ids

pytestmark = pytest.mark.anyio


async def _search(caller: Caller, **body: Any) -> list[str]:
    answer = await caller.post("/v1/cases/search?limit=500&count=true", body, None)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["total"] == len(found["items"])
    return [item["case_id"] for item in found["items"]]


async def _shown(house: House, region: str) -> None:
    """Wait until a search, which waits for nothing, shows all that was written."""
    await house.agent(region).get("/v1/cases?limit=1")


WORDS = {
    "two characters of the title": ("渗水", True),
    "two characters of the description": ("发霉", True),
    "one character": ("霉", True),
    "one character of the title": ("栋", True),
    "the whole title": ("3栋外墙渗水", True),
    "half of it": ("外墙渗", True),
    "in any width": ("３栋外墙", True),
    "across white space": ("外 墙", True),
    "latin in any case": ("crm-BUG", True),
    "across the two texts": ("渗水厨房", False),
    "pairs that stand elsewhere": ("墙渗外墙", False),
    "all pairs but another order": ("外墙外墙渗", False),
    "a character that is not there": ("漏", False),
    "two that are there, apart": ("栋墙", False),
    "a wildcard": ("%", False),
    "another": ("外_渗", False),
}


@pytest.fixture(scope="module")
async def told(house: House) -> tuple[House, str, str]:
    """A region with one case to be found, and one that never is."""
    region = await house.region()
    manager = house.manager(region)
    fields = {"title": "3栋外墙渗水", "description": "厨房发霉, 见CRM-bug 外墙外墙"}
    case = await manager.case(region, **fields)
    await manager.case(region, title="电梯停运", household="1-1-101", complainant=None)
    foreign = await house.region()
    await house.manager(foreign).case(foreign, **fields, tags=["急"], external_ref="HL-1")
    return house, region, case["case_id"]


@pytest.mark.parametrize("name", WORDS)
async def test_a_word_is_found_where_it_stands_and_nowhere_else(told: tuple[House, str, str], name: str) -> None:
    house, region, case = told
    word, there = WORDS[name]
    for caller in (house.agent(region), house.manager(region)):
        assert await ids(caller, q=word) == ([case] if there else [])
        assert await _search(caller, q=word) == ([case] if there else [])
    assert await ids(house.caller("dashboard", region), q=word) == []


async def test_a_longer_word_whose_pairs_all_occur_is_not_found_where_it_does_not(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region, title="外墙渗水", description="墙外又渗外墙")
    assert await ids(agent, q="外墙渗水") == [case["case_id"]]
    for word in ("墙外墙", "渗外墙渗", "外墙外", "墙渗外"):
        assert await ids(agent, q=word) == []


async def test_a_corrected_title_is_found_by_what_it_says_now(house: House) -> None:
    region = await house.region()
    manager = house.manager(region)
    case = await manager.case(region, title="外墙渗水")
    actions = (await manager.get(f"/v1/cases/{case['case_id']}/actions")).json()["items"]
    patch = {"title": "地下车库积水"}
    done = await manager.act(case, "corrected", action=actions[0]["action_id"], replacement=patch, reason="写错")
    assert done.status_code == 201, done.text
    assert await ids(manager, q="渗水") == []
    assert await ids(manager, q="车库") == [case["case_id"]]


async def test_numbers_references_and_tags_are_found_whole_by_everybody(house: House) -> None:
    region = await house.region()
    manager = house.manager(region)
    case = await manager.case(region, external_ref="HL-2026-001", tags=["加急", "外墙"])
    other = await manager.case(region)
    number = case["case_no"]
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in number)
    place, _, running = number.rpartition("-")
    for caller in (manager, house.caller("dashboard", region), house.caller("auditor")):
        for word in (number, number.lower(), wide, f" {number} ", f"{place}-{int(running)}", "HL-2026-001", "加急"):
            assert case["case_id"] in await ids(caller, q=word), word
            assert other["case_id"] not in await ids(caller, q=word), word
    for caller in (manager, house.caller("dashboard", region)):
        for word in ("HL-2026", number[:-1], "急"):
            assert await ids(caller, q=word) == []


@pytest.mark.parametrize(
    ("frequent", "few"), [(0, 2_000), (401, 2_000), (401, 0)], ids=["walked to", "gathered", "too many to gather"]
)
async def test_a_frequent_word_and_a_rare_one_are_found_alike(
    house: House, monkeypatch: pytest.MonkeyPatch, frequent: int, few: int
) -> None:
    monkeypatch.setattr(filters, "_FREQUENT", frequent)
    monkeypatch.setattr(filters, "_FEW", few)
    region = await house.region()
    manager = house.manager(region)
    told = [await manager.case(region, title=f"电梯异响 {number}") for number in range(3)]
    tagged = await manager.case(region, tags=["电梯"])
    referred = await manager.case(region, external_ref="电梯")
    await manager.case(region, title="渗水", tags=["外墙"])
    expected = {case["case_id"] for case in (*told, tagged, referred)}
    for sort in ("-opened_at", "due_at", "grade"):
        assert set(await ids(manager, q="电梯", sort=sort)) == expected
    assert set(await ids(manager, q="电梯异响")) == {case["case_id"] for case in told}
    assert await ids(manager, q=told[1]["case_no"]) == [told[1]["case_id"]]
    assert await ids(manager, q="扶梯") == []


@pytest.mark.parametrize("word", ["", " ", "　", "水" * 201])
async def test_a_word_that_is_none_is_refused(told: tuple[House, str, str], word: str) -> None:
    house, region, _ = told
    agent = house.agent(region)
    assert codes([await agent.get(f"/v1/cases?q={word}")]) == ["invalid_parameter"]
    assert codes([await agent.get("/v1/cases?q=水&q=墙")]) == ["invalid_parameter"]


PHONES = {
    "13812345678": ["13812345678", "138 1234 5678", "+86 138-1234-5678", "008613812345678", "１３８１２３４５６７８"],
    "0757-22334455 转 801": [
        "0757-22334455转801",
        "075722334455 ext. 801",
        "+86 757 22334455#801",
        "(0757)22334455分机801",
    ],
    "020-87654321": ["020 8765 4321", "+86-20-87654321", "０２０－８７６５４３２１"],
}


@pytest.mark.parametrize("phone", PHONES)
async def test_a_telephone_number_is_found_in_any_writing(house: House, phone: str) -> None:
    region, foreign = await house.region(), await house.region()
    agent = house.agent(region)
    who = {"name": "李小明", "phone": phone}
    case = await agent.case(region, complainant=who)
    later = await agent.case(region, complainant={"name": "李小明", "phone": "13900000000"})
    received = {"obtained_at": "2026-01-15T08:05:00Z", "channel": "app", "complainant": who}
    assert codes([await agent.act(later, "received", **received)]) == [201]
    await house.agent(foreign).case(foreign, complainant=who)
    await _shown(house, region)
    for written in PHONES[phone]:
        assert set(await _search(agent, phone=written)) == {case["case_id"], later["case_id"]}, written
    assert await _search(agent, phone=PHONES[phone][0], household="9-9-909") == []
    for another in ("13812345679", "0757-22334455", "0757-22334455转802"):
        assert await _search(agent, phone=another) == []


HOUSEHOLDS = [
    "3栋1单元201室",
    "3-1-201",
    "３－１－２０１",
    "3座 1单元 0201房",
    "03幢01单元201号",
    "3#1-201",
    "3号楼1单元201",
]


async def test_a_household_is_found_in_any_spelling(house: House) -> None:
    region, foreign = await house.region(), await house.region()
    agent = house.agent(region)
    case = await agent.case(region, household="3栋1单元0201室")
    second = await agent.case(region, household="3-1-2010")
    await house.agent(foreign).case(foreign, household="3-1-201")
    await _shown(house, region)
    for written in HOUSEHOLDS:
        assert await _search(agent, household=written) == [case["case_id"]], written
        assert await _search(agent, household=written, project=f"{region}-1") == [case["case_id"]]
        assert await _search(agent, household=written, project=f"{foreign}-1") == []
    assert await _search(agent, household="3-1-2010") == [second["case_id"]]


async def test_all_that_is_given_must_fit(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region, external_ref="HL-9")
    await agent.case(region, external_ref="HL-10", household="8-8-808", complainant=None)
    await _shown(house, region)
    whole = {"phone": "13812345678", "household": "3-1-201", "project": f"{region}-1", "external_ref": "HL-9"}
    assert await _search(agent, **whole, q="渗水") == [case["case_id"]]
    for name, value in {"external_ref": "HL-10", "household": "8-8-808", "q": "电梯", "project": "X"}.items():
        assert await _search(agent, **{**whole, name: value}) == [], name
    for body in ({}, {"project": f"{region}-1"}, {"phone": "x"}, {"phone": ""}, {"q": "  "}, {"phones": "1"}):
        assert codes([await agent.post("/v1/cases/search", body, None)]) == ["validation_failed"]


async def test_who_searches_is_named_nowhere(house: House, capfd: pytest.CaptureFixture[str]) -> None:
    region = await house.region()
    agent = house.agent(region)
    await agent.case(region, household="77-7-777", complainant={"name": "欧阳", "phone": "13877776666"})
    await _shown(house, region)
    for body in ({"phone": "13877776666"}, {"household": "77-7-777"}, {"phone": "13877776666", "q": "欧阳"}):
        answer = await agent.post("/v1/cases/search", body, None)
        assert answer.headers["cache-control"] == "no-store"
        assert str(answer.request.url).endswith("/v1/cases/search")
        assert answer.json()["next_cursor"] is None
    bad = await agent.post("/v1/cases/search", {"phone": "13877776666", "typo": "欧阳"}, None)
    assert "13877776666" not in bad.text and "欧阳" not in bad.text
    said = capfd.readouterr()
    for secret in ("13877776666", "77-7-777", "欧阳"):
        assert secret not in said.out + said.err
    cursor = (await agent.post("/v1/cases/search?limit=1", {"household": "3-1-201"}, None)).text
    assert "3-1-201" not in cursor
    for role in ("dashboard", "auditor", "admin"):
        assert codes([await house.caller(role, region).post("/v1/cases/search", {"q": "水"}, None)]) == ["forbidden"]


async def test_a_position_is_waited_for_and_one_that_does_not_come_is_told_in_time(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    loop = asyncio.get_running_loop()
    case = await agent.post("/v1/cases", opening(region))
    position = case.headers["ledger-position"]
    listed = await agent.get(f"/v1/cases?min_position={position}")
    assert [item["case_id"] for item in listed.json()["items"]] == [case.json()["case_id"]]
    assert int(listed.headers["ledger-position"]) >= int(position)
    began = loop.time()
    late = await agent.get(f"/v1/cases?min_position={10**17}")
    assert (codes([late]), late.headers["retry-after"]) == (["projection_behind"], "1")
    assert 4 < loop.time() - began < 5
    waiting = asyncio.create_task(agent.get(f"/v1/cases?min_position={int(position) + 1}"))
    await asyncio.sleep(0.1)
    assert not waiting.done() or int(listed.headers["ledger-position"]) > int(position)
    await agent.case(region)
    assert len((await waiting).json()["items"]) == 2
    for value in ("-1", "x", "", "1.0", "9" * 19, "１"):
        assert codes([await agent.get(f"/v1/cases?min_position={value}")]) == ["invalid_parameter"]
