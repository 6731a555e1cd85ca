"""Versions of the regulation: published once, sound, never backwards; a case is judged by the one of its opening."""

import asyncio
import json
from base64 import urlsafe_b64decode
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from intake_api import impact_job, jobs
from projections.impact import Impact
from services.identifiers import parse_uuid
from tests.contract.house import Caller, House, codes
from tests.unit.test_policy_documents import document

pytestmark = pytest.mark.anyio


def draft(effective_from: datetime, **changes: Any) -> dict[str, Any]:
    """The shipped document under another version."""
    made: dict[str, Any] = {**document(), "version": f"V{uuid4()}"[:20], "effective_from": effective_from.isoformat()}
    return {**made, **changes}


@pytest.fixture
def admin(house: House) -> Caller:
    return house.caller("admin")


def _subject(caller: Caller) -> str:
    """Whose token it is, read off the token itself."""
    payload = caller.token.split(".")[1]
    found: str = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"]
    return found


def soon(**later: float) -> datetime:
    return datetime.now(UTC) + timedelta(**(later or {"days": 365}))


async def test_the_shipped_version_is_there_for_every_role(house: House) -> None:
    for role in ("agent", "manager", "dashboard", "auditor", "admin"):
        listed = (await house.caller(role, "NONE").get("/v1/policies")).json()["items"]
        assert (listed[0]["number"], listed[0]["version"]) == ("RC-JT-PM-GZ001", "V1.0")
    whole = (await house.agent("NONE").get("/v1/policies/V1.0")).json()
    assert [level["code"] for level in whole["grades"]] == ["A-1", "A-2"]
    assert codes([await house.agent("NONE").get("/v1/policies/V0")]) == ["not_found"]


async def test_a_version_is_published_once_and_the_same_again_stores_nothing(house: House, admin: Caller) -> None:
    made = draft(soon())
    key = str(uuid4())
    first = await admin.post("/v1/policies", made, key)
    assert first.status_code == 201, first.text
    assert (await admin.post("/v1/policies", made, key)).content == first.content
    assert codes([await admin.post("/v1/policies", made)]) == [200]
    assert codes([await admin.post("/v1/policies", {**made, "sums": []})]) == ["unsound_policy"]
    other = {**made, "labels": {"zh": "另", "en": "other"}}
    assert codes([await admin.post("/v1/policies", other)]) == ["policy_version_taken"]
    assert codes([await admin.post("/v1/policies", {**made, "version": "V9.9"})]) == ["effective_taken"]


async def test_no_version_begins_before_it_is_published(admin: Caller) -> None:
    refused = await admin.post("/v1/policies", draft(datetime.now(UTC) - timedelta(seconds=1)))
    assert (refused.status_code, refused.json()["code"]) == (422, "effective_too_early")


async def test_an_unsound_version_is_refused_with_every_fault_and_its_place(admin: Caller) -> None:
    made = draft(soon(days=3))
    made["duties"][0]["met_by"] = "blamed"
    made["grades"][0]["criteria"][1]["when"]["fact"] = "households"
    refused = (await admin.post("/v1/policies", made)).json()
    assert refused["code"] == "unsound_policy"
    assert {error["pointer"] for error in refused["errors"]} == {
        "/duties/0/met_by",
        "/grades/0/criteria/1/when/fact",
    }


async def test_nobody_but_admin_publishes(house: House) -> None:
    for role in ("agent", "manager", "dashboard", "auditor"):
        assert codes([await house.caller(role).post("/v1/policies", draft(soon(days=9)))]) == ["forbidden"]


async def test_a_case_is_judged_by_the_version_of_its_opening(house: House, admin: Caller) -> None:
    region = await house.region()
    agent = house.agent(region)
    before = await agent.case(region)
    begins = datetime.now(UTC) + timedelta(milliseconds=300)
    made = draft(begins)
    made["grades"][1]["criteria"][0]["when"]["at_least"]["value"] = 1
    assert codes([await admin.post("/v1/policies", made)]) == [201]
    while datetime.now(UTC) <= begins:
        pass
    after = await agent.case(region, obtained_at=datetime.now(UTC).isoformat())
    assert (after["grade"]["policy_version"], after["grade"]["criteria"]) == (made["version"], ["A-2.1"])
    seen = (await agent.get(f"/v1/cases/{before['case_id']}")).json()
    assert (seen["grade"]["policy_version"], seen["grade"]["code"]) == ("V1.0", "ungraded")
    old = await agent.case(region, obtained_at="2020-01-01T00:00:00Z")
    explained = (await agent.get(f"/v1/cases/{old['case_id']}/grade")).json()
    assert (explained["policy_version"], explained["opened_before_first_policy"]) == ("V1.0", True)


async def test_a_draft_is_tried_on_the_cases_that_are_there_and_writes_nothing(house: House, admin: Caller) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region, household="1-1")
    other = await agent.case(region, obtained_at="2026-02-01T00:00:00Z", household="2-2")
    made = draft(soon(days=700))
    made["grades"][1]["criteria"][0]["when"]["at_least"]["value"] = 1
    before = (await agent.get(f"/v1/cases/{case['case_id']}")).headers["ledger-position"]
    asked = {"policy": made, "from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z", "regions": [region]}
    response = await admin.post("/v1/policies/impact", asked, None)
    assert response.status_code == 200, response.text
    found = response.json()
    assert (found["cases"], found["differing"]) == (1, 1)
    (item,) = found["items"]
    assert (item["case_no"], item["before"]["grade"], item["after"]["criteria"]) == (
        case["case_no"],
        "ungraded",
        ["A-2.1"],
    )
    assert item["before"]["duties"] == item["after"]["duties"]
    assert found["totals"] == [
        {"region": region, "grade": "A-2", "before": 0, "after": 1},
        {"region": region, "grade": "ungraded", "before": 1, "after": 0},
    ]
    assert other["case_no"] != item["case_no"]
    assert (await agent.get(f"/v1/cases/{case['case_id']}")).headers["ledger-position"] == before
    listed = (await admin.get("/v1/policies")).json()["items"]
    assert made["version"] not in [one["version"] for one in listed]


async def test_an_unsound_draft_is_refused_within_the_question(admin: Caller) -> None:
    made = draft(soon())
    made["duties"][0]["met_by"] = "blamed"
    refused = (await admin.post("/v1/policies/impact", {"policy": made}, None)).json()
    assert refused["errors"][0]["pointer"] == "/policy/duties/0/met_by"


async def test_longer_work_is_a_job_that_only_who_began_it_is_told_of(
    house: House, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_AT_ONCE", 0.0)
    gate = asyncio.Event()

    async def slow(*_: Any) -> Impact:
        await gate.wait()
        return Impact(0, [], Counter(), Counter())

    monkeypatch.setattr(impact_job, "over_ledger", slow)
    begun = await admin.post("/v1/policies/impact", {"policy": draft(soon())}, None)
    assert (begun.status_code, begun.json()["state"]) == (202, "running")
    path = begun.headers["location"]
    assert codes([await house.caller("admin").get(path), await admin.get(f"{path}/result")]) == ["not_found"] * 2
    gate.set()
    job_id = parse_uuid(begun.json()["job_id"])
    assert job_id
    await house.services.jobs.settled(job_id, _subject(admin), 5)
    told = (await admin.get(path)).json()
    assert (told["state"], told["progress"], told["result_url"]) == ("done", 100, f"{path}/result")
    assert (await admin.get(told["result_url"])).json()["cases"] == 0


async def test_a_large_ledger_is_judged_in_another_process_with_the_same_report(
    house: House, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"policy": draft(soon())}
    here = await admin.post("/v1/policies/impact", body, None)
    assert here.status_code == 200 and here.json()["cases"] > 0
    monkeypatch.setattr(impact_job, "SMALL", 0)
    begun = await admin.post("/v1/policies/impact", body, None)
    if begun.status_code == 202:
        path, job_id = begun.headers["location"], parse_uuid(begun.json()["job_id"])
        assert job_id
        await house.services.jobs.settled(job_id, _subject(admin), 30)
        begun = await admin.get(f"{path}/result")
    assert begun.status_code == 200
    assert begun.json() == here.json()


async def test_a_job_whose_process_died_is_told_as_failed(house: House, admin: Caller) -> None:
    jobs = house.services.jobs
    job_id = await jobs.start("test", "somebody", lambda _: asyncio.sleep(0, b""))
    await jobs.settled(job_id, "somebody", 5)
    ago = house.services.now() - timedelta(minutes=1)
    await house.services.log.read.do("UPDATE jobs SET state = 'running', seen_at = %b WHERE job_id = %b", [ago, job_id])
    found = await jobs.look(job_id, "somebody")
    assert found is not None
    assert found.state == "failed"
