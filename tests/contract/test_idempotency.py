"""A key makes a request one: stored once, answered the same for ever."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest

from tests.contract.house import RESPONSE, House, codes, opening

pytestmark = pytest.mark.anyio
_SAME = ("etag", "location", "ledger-position", "content-type", "cache-control")


def _is_replay(again: httpx.Response, first: httpx.Response) -> bool:
    same_headers = all(again.headers.get(name) == first.headers.get(name) for name in _SAME)
    said = again.headers.get("idempotency-replayed") == "true" and "idempotency-replayed" not in first.headers
    return again.status_code == first.status_code and again.content == first.content and same_headers and said


async def test_an_opening_sent_again_gets_the_same_answer_byte_for_byte(house: House) -> None:
    region = await house.region()
    agent, key, body = house.agent(region), str(uuid4()), opening(region)
    first = await agent.post("/v1/cases", body, key)
    await agent.act(first.json(), "noted", text="其后的变化不改变已给出的答复")
    again = await agent.post("/v1/cases", body, key)
    assert first.status_code == 201
    assert _is_replay(again, first)
    assert (await agent.get("/v1/cases?count=true")).json()["total"] == 1


async def test_an_action_sent_again_gets_the_same_answer_byte_for_byte(house: House) -> None:
    region = await house.region()
    agent, key = house.agent(region), str(uuid4())
    case = await agent.case(region)
    first = await agent.act(case, "responded", key, **RESPONSE)
    await agent.act(case, "noted", text="其后")
    again = await agent.act(case, "responded", key, **RESPONSE)
    assert first.status_code == 201
    assert _is_replay(again, first)
    assert (await agent.get(f"/v1/cases/{case['case_id']}")).json()["version"] == 3


async def test_a_replay_comes_even_where_the_state_would_refuse_by_now(house: House) -> None:
    region = await house.region()
    agent, key = house.agent(region), str(uuid4())
    case = await agent.case(region, stage="risk")
    path = f"/v1/cases/{case['case_id']}/actions"
    body = {"type": "warned", "unrest": "聚集"}
    first = await agent.post(path, body, key, if_match='"1"')
    again = await agent.post(path, body, key, if_match='"1"')
    assert first.status_code == 201
    assert _is_replay(again, first)


@pytest.mark.parametrize("written", ["spaces", "order of keys", "escapes"])
async def test_the_same_values_written_otherwise_are_the_same_request(house: House, written: str) -> None:
    region = await house.region()
    agent, key, body = house.agent(region), str(uuid4()), opening(region)
    raw = {
        "spaces": json.dumps(body, indent=3),
        "order of keys": json.dumps(dict(reversed(body.items()))),
        "escapes": json.dumps(body, ensure_ascii=False),
    }[written]
    first = await agent.post("/v1/cases", body, key)
    assert _is_replay(await agent.post("/v1/cases", raw.encode(), key), first)


async def test_a_key_used_for_another_body_is_refused(house: House) -> None:
    region = await house.region()
    agent, key = house.agent(region), str(uuid4())
    case = await agent.case(region)
    await agent.act(case, "noted", key, text="一")
    for other in ({"text": "二"}, {"text": "一", "note": "又"}, {"text": ""}, {"text": 1}, {"typo": "一"}):
        assert codes([await agent.act(case, "noted", key, **other)]) == ["idempotency_key_reused"]
    unreadable = await agent.post(f"/v1/cases/{case['case_id']}/actions", b"{", key)
    assert codes([unreadable]) == ["idempotency_key_reused"]


async def test_a_key_used_on_another_path_is_refused(house: House) -> None:
    region = await house.region()
    agent, key = house.agent(region), str(uuid4())
    one, other = await agent.case(region), await agent.case(region)
    answers = [await agent.act(case, "noted", key, text="一") for case in (one, other)]
    assert codes(answers) == [201, "idempotency_key_reused"]
    assert codes([await agent.post("/v1/cases", opening(region), key)]) == ["idempotency_key_reused"]


async def test_a_refusal_leaves_the_key_for_a_corrected_body(house: House) -> None:
    region = await house.region()
    agent, key = house.agent(region), str(uuid4())
    case = await agent.case(region)
    nobody = {k: v for k, v in RESPONSE.items() if k != "contact_person"}
    too_early = {**RESPONSE, "contacted_at": "2026-01-15T16:00:00+08:00"}
    answers = [await agent.act(case, "responded", key, **body) for body in (nobody, too_early, RESPONSE)]
    assert codes(answers) == ["contact_person_required", "answered_before_obtained", 201]


async def test_an_agent_names_a_key_and_a_manager_may(house: House) -> None:
    region = await house.region()
    assert codes([await house.agent(region).post("/v1/cases", opening(region), None)]) == ["idempotency_key_required"]
    answers = [await house.manager(region).post("/v1/cases", opening(region), None) for _ in range(2)]
    assert codes(answers) == [201, 201]
    assert answers[0].json()["case_id"] != answers[1].json()["case_id"]


async def test_two_subjects_may_use_one_key(house: House) -> None:
    region, key = await house.region(), str(uuid4())
    one, other = house.agent(region, subject=f"one {key}"), house.agent(region, subject=f"other {key}")
    first, second = [await agent.post("/v1/cases", opening(region), key) for agent in (one, other)]
    assert first.json()["case_id"] != second.json()["case_id"]
    assert "idempotency-replayed" not in second.headers


async def test_two_tokens_of_one_subject_share_their_keys(house: House) -> None:
    region, key = await house.region(), str(uuid4())
    answers = [
        await house.agent(region, subject=f"centre {key}").post("/v1/cases", opening(region), key) for _ in range(2)
    ]
    assert _is_replay(answers[1], answers[0])


@pytest.mark.parametrize("key", ["x", "!~", "k" * 255])
async def test_a_key_has_up_to_255_visible_characters(house: House, key: str) -> None:
    region = await house.region()
    agent = house.agent(region)
    answers = [await agent.post("/v1/cases", opening(region), key) for _ in range(2)]
    assert _is_replay(answers[1], answers[0])


@pytest.mark.parametrize("key", ["k" * 256, " ", "a b", "a\tb"])
async def test_any_other_key_is_refused(house: House, key: str) -> None:
    region = await house.region()
    assert codes([await house.agent(region).post("/v1/cases", opening(region), key)]) == ["idempotency_key_malformed"]


async def test_an_empty_key_is_no_key(house: House) -> None:
    region = await house.region()
    answer = await house.agent(region).send("POST", "/v1/cases", opening(region), idempotency_key="")
    assert answer.status_code == 400


async def test_of_many_at_once_with_one_key_one_is_stored(house: House) -> None:
    region = await house.region()
    agent, key = house.agent(region), str(uuid4())
    answers = await asyncio.gather(*(agent.post("/v1/cases", opening(region), key) for _ in range(20)))
    stored = {answer.json()["case_id"] for answer in answers if answer.status_code == 201}
    waiting = [answer for answer in answers if answer.status_code != 201]
    assert len(stored) == 1
    assert set(codes(waiting)) <= {"idempotency_key_in_progress"}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in waiting)
    assert (await agent.get("/v1/cases?count=true")).json()["total"] == 1


async def test_of_many_actions_at_once_with_one_key_one_is_stored(house: House) -> None:
    region = await house.region()
    agent, key = house.agent(region), str(uuid4())
    case = await agent.case(region)
    answers = await asyncio.gather(*(agent.act(case, "noted", key, text="一") for _ in range(20)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert sum("idempotency-replayed" not in answer.headers for answer in answers if answer.status_code == 201) == 1
    assert (await agent.get(f"/v1/cases/{case['case_id']}")).json()["version"] == 2


async def test_a_key_in_progress_may_be_asked_again_afterwards(house: House) -> None:
    region = await house.region()
    agent, key = house.agent(region), str(uuid4())
    first, second = await asyncio.gather(*(agent.post("/v1/cases", opening(region), key) for _ in range(2)))
    assert codes([first, second]) == [201, "idempotency_key_in_progress"]
    assert _is_replay(await agent.post("/v1/cases", opening(region), key), first)


async def test_a_caller_who_lost_the_region_gets_no_replay(house: House) -> None:
    region, key = await house.region(), str(uuid4())
    subject = f"moved {key}"
    case = await house.agent(region, subject=subject).case(region)
    answers = [
        await house.agent(*regions, subject=subject).act(case, "noted", key, text="一")
        for regions in ((region,), ("ELSEWHERE",))
    ]
    assert codes(answers) == [201, "not_found"]


async def test_a_literal_repeat_without_a_key_is_answered_with_the_earlier_action(house: House) -> None:
    region = await house.region()
    manager = house.manager(region)
    case = await manager.case(region)
    path = f"/v1/cases/{case['case_id']}/actions"
    first, again = [await manager.post(path, {"type": "responded", **RESPONSE}, None) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["action"] == first.json()["action"]
    assert (await manager.get(f"/v1/cases/{case['case_id']}")).json()["version"] == 2


async def test_a_literal_repeat_of_a_late_action_is_answered_with_the_earlier_one(house: House) -> None:
    region = await house.region()
    manager = house.manager(region)
    case = await manager.case(region)
    path = f"/v1/cases/{case['case_id']}/actions"
    notes = [{"type": "noted", "text": text, "occurred_at": f"2026-01-{day}T09:00:00Z"} for text, day in _NOTES]
    first = [await manager.post(path, body, None) for body in notes]
    again = [await manager.post(path, body, None) for body in notes]
    assert [one.status_code for one in first + again] == [201, 201, 201, 200, 200, 200]
    assert [one.json()["action"] for one in again] == [one.json()["action"] for one in first]


# The second is told late; the third happened at the instant of the first.
_NOTES = (("雨后更甚", 20), ("已拍照", 18), ("又来电", 20))


async def test_a_repeat_is_known_though_a_clock_that_runs_ahead_told_it_first(house: House) -> None:
    region = await house.region()
    manager = house.manager(region)
    case = await manager.case(region)
    path = f"/v1/cases/{case['case_id']}/actions"
    soon = (datetime.now(UTC) + timedelta(minutes=4)).isoformat()
    ahead = {"type": "noted", "text": "快钟", "occurred_at": soon}
    first = await manager.post(path, ahead, None)
    await manager.act(case, "noted", text="准钟")
    again = await manager.post(path, ahead, None)
    assert (again.status_code, again.json()["action"]) == (200, first.json()["action"])
