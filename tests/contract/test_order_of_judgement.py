"""Token, then role and region, then idempotency, then shape, then state."""

from typing import Any
from uuid import uuid4

import pytest

from tests.contract.house import RESPONSE, Caller, House, codes, opening

pytestmark = pytest.mark.anyio
UNKNOWN = "019ab3c4-5d6e-7f80-9123-456789abcdef"
WRONG: dict[str, Any] = {"type": "noted", "txet": 1}


async def test_a_bad_token_comes_before_everything(house: House) -> None:
    nobody = Caller(house.client, "x.y.z", "nobody")
    for path in ("/v1/cases", f"/v1/cases/{UNKNOWN}/actions"):
        answer = await nobody.send("POST", path, b"{", if_match="x", content_type="text/plain")
        assert codes([answer]) == ["unauthenticated"]
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert codes([await nobody.put("/v1/regions/x", b"{")]) == ["unauthenticated"]
    assert codes([await nobody.get(f"/v1/cases/{UNKNOWN}?bad=1")]) == ["unauthenticated"]


async def test_a_role_comes_before_the_case_and_the_body(house: House) -> None:
    auditor = house.caller("auditor")
    answers = [
        await auditor.send("POST", "/v1/cases", b"{"),
        await auditor.send("POST", f"/v1/cases/{UNKNOWN}/actions", b"{", content_type="text/plain"),
        await house.agent().put("/v1/regions/bad code", b"{"),
    ]
    assert codes(answers) == ["forbidden"] * 3


async def test_an_unknown_case_comes_before_the_headers_and_the_body(house: House) -> None:
    agent = house.agent()
    path = f"/v1/cases/{UNKNOWN}/actions"
    answers = [
        await agent.post(path, b"{"),
        await agent.post(path, b"{", None),
        await agent.post(path, WRONG, if_match="x"),
        await agent.post(path, WRONG, content_type="text/plain"),
    ]
    assert codes(answers) == ["not_found"] * 4


async def test_a_stored_answer_comes_before_shape_and_state(house: House) -> None:
    region = await house.region()
    agent, key = house.agent(region), str(uuid4())
    case = await agent.case(region)
    path = f"/v1/cases/{case['case_id']}/actions"
    stored = await agent.post(path, {"type": "noted", "text": "一"}, key)
    answers = [
        stored,
        await agent.post(path, {"type": "noted", "text": "一"}, key, if_match='"1"'),
        await agent.post(path, WRONG, key, if_match='"1"'),
        await agent.post(path, b"{", key, if_match='"1"'),
        await agent.act(case, "warned", key, unrest="聚集"),
    ]
    assert codes(answers) == [201, 201, *["idempotency_key_reused"] * 3]


async def test_the_shape_comes_before_the_state(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    path = f"/v1/cases/{case['case_id']}/actions"
    answers = [
        await agent.post(path, WRONG, if_match='"9"'),
        await agent.act(case, "warned", unrest=""),
        await agent.post(path, {"type": "warned", "unrest": "聚集"}, if_match='"9"'),
        await agent.act(case, "warned", unrest="聚集"),
    ]
    assert codes(answers) == ["validation_failed", "validation_failed", "version_mismatch", "not_at_risk_stage"]


async def test_a_state_s_refusal_names_rule_clause_and_figures(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    answer = await agent.act(case, "responded", **{**RESPONSE, "contacted_at": "2026-01-15T08:04:59Z"})
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["clause"]) == (409, "answered_before_obtained", "3.1")
    assert problem["unmet"] == [
        {"criterion": "contacted_at", "required": "≥ 2026-01-15T08:05:00Z", "actual": "2026-01-15T08:04:59Z"}
    ]


async def test_a_complaint_that_the_case_has_not_is_a_matter_of_the_body(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case, other = await agent.case(region), await agent.case(region)
    foreign = other["complaints"][0]["complaint_id"]
    answers = [
        await agent.act(case, "chased", complaint=foreign, channel="app"),
        await agent.act(case, "responded", **{**RESPONSE, "complaints": [foreign]}),
        await agent.act(case, "noted", text="一", complaint=foreign),
        await agent.act(
            case,
            "contact_attempted",
            households=["9-9-9"],
            attempted_at=RESPONSE["contacted_at"],
            channel="app",
            outcome="busy",
        ),
    ]
    assert codes(answers) == ["unknown_complaint"] * 3 + ["unknown_household"]
    assert {answer.status_code for answer in answers} == {422}


async def test_a_foreign_project_is_as_unknown_as_any(house: House) -> None:
    mine, foreign = await house.region(), await house.region()
    agent = house.agent(mine)
    told = []
    for project in (f"{foreign}-1", "NOWHERE-1"):
        problem = (await agent.post("/v1/cases", {**opening(mine), "project": project})).json()
        told.append(problem)
    assert told[0] == told[1]
    assert told[0]["code"] == "unknown_project"


async def test_a_foreign_region_in_a_body_is_as_unknown_as_any(house: House) -> None:
    mine, foreign = await house.region(), await house.region()
    agent = house.agent(mine)
    told = [(await agent.post("/v1/cases", opening(mine, region=region))).json() for region in (foreign, "NOWHERE")]
    assert told[0] == told[1]
    assert told[0]["code"] == "unknown_region"
    assert codes([await house.agent(mine, foreign).post("/v1/cases", opening(mine, region=foreign))]) == [
        "region_differs"
    ]
