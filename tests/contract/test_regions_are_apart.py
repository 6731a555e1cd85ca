"""Another region's case answers exactly as an unknown one, wherever one looks."""

from typing import Any

import httpx
import pytest

from tests.contract.house import RESPONSE, Caller, House, codes

pytestmark = pytest.mark.anyio
UNKNOWN = "019ab3c4-5d6e-7f80-9123-456789abcdef"


def _told(answer: httpx.Response, name: str) -> tuple[int, Any, list[tuple[str, str]]]:
    """All that an answer tells, the asked name left out."""
    headers = [(k, v) for k, v in answer.headers.items() if k != "content-length"]
    return answer.status_code, answer.text.replace(name, "?"), headers


@pytest.mark.parametrize("role", ["agent", "manager", "dashboard"])
@pytest.mark.parametrize("by", ["case_id", "case_no"])
async def test_a_foreign_case_reads_as_an_unknown_one(house: House, role: str, by: str) -> None:
    foreign, mine = await house.region(), await house.region()
    case = await house.agent(foreign).case(foreign)
    stranger = house.caller(role, mine)
    unknown = {"case_id": UNKNOWN, "case_no": f"{foreign}-20260115-9999"}[by]
    for path in ("", "/actions", "/complaints", "/actions?cursor=x", "?unknown=1"):
        answers = [
            _told(await stranger.get(f"/v1/cases/{name}{path}", if_none_match="*"), name)
            for name in (case[by], unknown)
        ]
        assert answers[0] == answers[1]
        assert answers[0][0] in (404, 422)


async def test_a_foreign_case_takes_no_action_and_tells_nothing(house: House) -> None:
    foreign, mine = await house.region(), await house.region()
    owner, stranger = house.agent(foreign), house.agent(mine)
    case = await owner.case(foreign)
    bodies: list[object] = [{"type": "responded", **RESPONSE}, {"type": "typo"}, b"{"]
    for body in bodies:
        for match in ('"1"', '"9"', "x"):
            answers = [
                _told(await stranger.post(f"/v1/cases/{name}/actions", body, if_match=match), name)
                for name in (case["case_id"], UNKNOWN)
            ]
            assert answers[0] == answers[1]
            assert answers[0][0] == 404
    assert (await owner.get(f"/v1/cases/{case['case_id']}")).json()["version"] == 1


async def test_lists_and_counts_hold_one_s_own_regions_alone(house: House) -> None:
    one, other, third = [await house.region() for _ in range(3)]
    made = {
        region: [(await house.agent(region).case(region))["case_id"] for _ in range(3)]
        for region in (one, other, third)
    }
    both = house.agent(one, other)
    listed = (await both.get("/v1/cases?count=true")).json()
    assert {item["case_id"] for item in listed["items"]} == {*made[one], *made[other]}
    assert listed["total"] == 6
    narrowed = (await both.get(f"/v1/cases?count=true&region={other}")).json()
    assert ({item["region"] for item in narrowed["items"]}, narrowed["total"]) == ({other}, 3)


async def test_asking_for_a_foreign_region_is_asking_for_one_that_is_not_there(house: House) -> None:
    mine, foreign = await house.region(), await house.region()
    await house.agent(foreign).case(foreign)
    agent = house.agent(mine)
    answers = [(await agent.get(f"/v1/cases?count=true&region={region}")) for region in (foreign, "NOWHERE")]
    assert answers[0].content == answers[1].content
    assert answers[0].headers["etag"] == answers[1].headers["etag"]
    assert answers[0].json() == {"items": [], "next_cursor": None, "total": 0}


async def test_a_cursor_from_a_foreign_region_shows_nothing_of_it(house: House) -> None:
    mine, foreign = await house.region(), await house.region()
    owner, agent = house.agent(foreign), house.agent(mine)
    cases = [await owner.case(foreign) for _ in range(3)]
    cursor = (await owner.get("/v1/cases?limit=1")).json()["next_cursor"]
    of_actions = f"/v1/cases/{cases[0]['case_id']}/actions"
    await owner.act(cases[0], "noted", text="一")
    other = (await owner.get(f"{of_actions}?limit=1")).json()["next_cursor"]
    assert codes([await agent.get(f"/v1/cases?cursor={cursor}")]) == ["invalid_parameter"]
    assert codes([await agent.get(f"{of_actions}?cursor={other}")]) == ["not_found"]


async def test_a_foreign_reference_does_not_clash(house: House) -> None:
    mine, foreign = await house.region(), await house.region()
    answers = [await house.agent(region).case(region, external_ref="HL-1") for region in (foreign, mine)]
    assert answers[0]["case_id"] != answers[1]["case_id"]


async def test_the_tag_of_a_list_does_not_move_with_foreign_cases(house: House) -> None:
    mine, foreign = await house.region(), await house.region()
    agent = house.agent(mine)
    await agent.case(mine)
    before = await agent.get("/v1/cases?count=true")
    await house.agent(foreign).case(foreign)
    after = await agent.get("/v1/cases?count=true", if_none_match=before.headers["etag"])
    assert after.status_code == 304


@pytest.mark.parametrize("role", ["agent", "manager"])
async def test_a_star_is_every_region(house: House, role: str) -> None:
    region = await house.region()
    case = await house.agent(region).case(region)
    everywhere: Caller = house.caller(role, "*")
    answers = [await everywhere.get(f"/v1/cases/{case['case_id']}"), await everywhere.act(case, "noted", text="一")]
    assert codes(answers) == [200, 201]
    assert case["case_id"] in [
        i["case_id"] for i in (await everywhere.get("/v1/cases?sort=-updated_at")).json()["items"]
    ]


async def test_a_caller_of_no_region_sees_an_empty_house(house: House) -> None:
    region = await house.region()
    await house.agent(region).case(region)
    nowhere = Caller(house.client, house.services.tokens.issue("agent", [], "region", None, 1), "agent")
    assert (await nowhere.get("/v1/cases?count=true")).json() == {"items": [], "next_cursor": None, "total": 0}
