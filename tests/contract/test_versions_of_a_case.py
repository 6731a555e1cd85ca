"""If-Match: an action goes through only on the version that the caller saw, if it says which."""

import asyncio

import pytest

from tests.contract.house import House, codes

pytestmark = pytest.mark.anyio


async def test_a_write_says_the_case_s_version(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    tags = [(await agent.act(case, "noted", text="一")).headers["etag"] for _ in range(2)]
    assert tags == ['"2"', '"3"']


async def test_a_read_s_tag_may_be_given_to_a_write(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    path = f"/v1/cases/{case['case_id']}"
    tag = (await agent.get(path)).headers["etag"]
    version, _, digest = tag.strip('"').partition(".")
    assert (version, len(digest) >= 16) == ("1", True)
    note = {"type": "noted", "text": "一"}
    answers = [await agent.post(f"{path}/actions", note, if_match=tag) for _ in range(2)]
    assert codes(answers) == [201, "version_mismatch"]


@pytest.mark.parametrize("tag", ['"1"', 'W/"1"', '"7", "1"', '"1.0123abcdef"', '"7.aa" , W/"1.bb"', "*"])
async def test_only_the_version_is_compared(house: House, tag: str) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    path = f"/v1/cases/{case['case_id']}/actions"
    assert codes([await agent.post(path, {"type": "noted", "text": "一"}, if_match=tag)]) == [201]


@pytest.mark.parametrize("tag", ['"2"', '"0"', '"11"', 'W/"7"', '"7", "8"'])
async def test_another_version_is_refused_with_the_actual_one(house: House, tag: str) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    answer = await agent.post(f"/v1/cases/{case['case_id']}/actions", {"type": "noted", "text": "一"}, if_match=tag)
    assert (answer.status_code, answer.json()["code"], answer.json()["version"]) == (412, "version_mismatch", 1)
    assert (await agent.get(f"/v1/cases/{case['case_id']}")).json()["version"] == 1


@pytest.mark.parametrize("tag", ["1", "abc", '"abc"', '"-1"', '"1', "'1'", "", '"1" "2"'])
async def test_a_tag_that_is_none_of_ours_is_refused(house: House, tag: str) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    answer = await agent.post(f"/v1/cases/{case['case_id']}/actions", {"type": "noted", "text": "一"}, if_match=tag)
    assert codes([answer]) == ["if_match_malformed"]


async def test_without_a_tag_an_action_is_stored_on_the_newer_state(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    answers = [await agent.act(case, "noted", text=str(n)) for n in range(3)]
    assert [answer.headers["etag"] for answer in answers] == ['"2"', '"3"', '"4"']


async def test_of_many_who_saw_one_version_one_writes(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    path = f"/v1/cases/{case['case_id']}/actions"
    bodies = [{"type": "noted", "text": str(n)} for n in range(20)]
    answers = await asyncio.gather(*(agent.post(path, body, if_match='"1"') for body in bodies))
    assert sorted(map(str, codes(answers))) == ["201", *["version_mismatch"] * 19]


async def test_of_many_without_a_tag_all_write(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    answers = await asyncio.gather(*(agent.act(case, "noted", text=str(n)) for n in range(20)))
    assert sorted(int(answer.headers["etag"].strip('"')) for answer in answers) == list(range(2, 22))
