"""审计回放 over HTTP: who may ask, what is refused, what is answered, and that asking twice is answered alike."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from intake_api import replay_job
from projections import replay_answer
from services.identifiers import parse_uuid
from tests.contract.house import RESPONSE, Caller, House, codes

pytestmark = pytest.mark.anyio
_PATH = "/v1/audit/replay"


@pytest.fixture
def auditor(house: House) -> Caller:
    return house.caller("auditor")


async def _replay(house: House, auditor: Caller, **asked: Any) -> dict[str, Any]:
    """The answer, once the job is done."""
    response = await auditor.post(_PATH, asked, None)
    if response.status_code == 202:
        job_id = parse_uuid(response.json()["job_id"])
        assert job_id
        await house.services.jobs.settled(job_id, house.services.tokens.caller(f"Bearer {auditor.token}").subject, 30)
        response = await auditor.get(f"{response.headers['location']}/result")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def test_the_state_duties_and_breaches_of_a_region(house: House, auditor: Caller) -> None:
    region = await house.region()
    agent = house.agent(region)
    late = await agent.case(region)
    await agent.act(late, "responded", **{**RESPONSE, "contacted_at": "2026-01-15T17:30:00+08:00"})
    await agent.case(region, obtained_at="2026-02-15T17:30:00+08:00")
    found = await _replay(house, auditor, region=region, to="2026-02-01T00:00:00Z")
    (case,) = found["cases"]
    assert (case["case_no"], case["status"], case["grade"], case["breached"]) == (
        late["case_no"],
        "responded",
        "ungraded",
        True,
    )
    (breach,) = found["breaches"]
    assert (breach["state"], breach["due_at"], breach["clause"], breach["owed_by"]) == (
        "met_late",
        "2026-01-15T09:05:00Z",
        "4.3",
        "obtaining_unit",
    )
    assert found["totals"]["cases"] == found["totals"]["breached"] == 1
    assert (found["tampered"], found["left_out"]) == ([], {})
    assert not any(
        "unexplained" in field and field["unexplained"] for d in found["differences"] for field in d["fields"]
    )


async def test_nothing_personal_and_no_free_text_is_answered(house: House, auditor: Caller) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region, description="墙面渗水严重", operator={"id": "desk 007", "name": "坐席甲"})
    await agent.act(case, "responded", **RESPONSE)
    response = await auditor.post(_PATH, {"region": region}, None)
    assert case["case_no"] in response.text
    for text in ("李小明", "13812345678", "3栋", "渗水", "王五", "坐席甲", "desk 007", "0757-"):
        assert text not in response.text, text


@pytest.mark.parametrize("role", ["agent", "manager", "dashboard", "admin"])
async def test_only_an_auditor_replays(house: House, role: str) -> None:
    region = await house.region()
    assert codes([await house.caller(role, region).post(_PATH, {"nonsense": 1}, None)]) == ["forbidden"]


_SOON = (datetime.now(UTC) + timedelta(days=1)).isoformat()


@pytest.mark.parametrize(
    ("asked", "code", "pointer"),
    [
        ({"as_of": _SOON}, "in_the_future", "/as_of"),
        ({"known_at": _SOON}, "in_the_future", "/known_at"),
        ({"known_at": "2026-01-01T00:00:00"}, "validation_failed", "/known_at"),
        ({"region": "NOWHERE"}, "unknown_region", "/region"),
        ({"project": "NOWHERE-1"}, "unknown_project", "/project"),
        ({"basis": "closed"}, "validation_failed", "/basis"),
        ({"policy": "V99"}, "validation_failed", "/policy"),
        ({"policy": {"number": "X"}}, "unsound_policy", "/policy/version"),
        ({"from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "validation_failed", "/to"),
        ({"since": "2026-02-01T00:00:00Z"}, "validation_failed", "/since"),
    ],
)
async def test_what_is_wrong_is_named(auditor: Caller, asked: dict[str, Any], code: str, pointer: str) -> None:
    response = await auditor.post(_PATH, asked, None)
    assert (response.status_code, response.json()["code"]) == (422, code), response.text
    assert pointer in [one["pointer"] for one in response.json()["errors"]]


async def test_a_region_s_project_lies_in_it(house: House, auditor: Caller) -> None:
    one, other = await house.region(), await house.region()
    refused = await auditor.post(_PATH, {"region": one, "project": f"{other}-1"}, None)
    assert codes([refused]) == ["region_differs"]


async def test_the_same_question_has_the_same_digest_whatever_happened_since(house: House, auditor: Caller) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    first = await _replay(house, auditor, region=region)
    pinned = {"region": region, "as_of": first["as_of"], "known_at": first["known_at"]}
    assert (await _replay(house, auditor, **pinned))["digest"] == first["digest"]
    await agent.act(case, "responded", **RESPONSE)
    await agent.case(region)
    again = await _replay(house, auditor, **pinned)
    assert {k: v for k, v in again.items() if k not in ("differences", "totals", "views_position")} == {
        k: v for k, v in first.items() if k not in ("differences", "totals", "views_position")
    }
    assert (await _replay(house, auditor, region=region))["digest"] != first["digest"]


async def test_a_difference_is_explained_by_the_actions_that_the_question_excludes(
    house: House, auditor: Caller
) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    before = await _replay(house, auditor, region=region)
    said = (await agent.act(case, "responded", **RESPONSE)).json()["action"]
    await agent.get("/v1/cases")
    (found,) = (await _replay(house, auditor, region=region, known_at=before["known_at"]))["differences"]
    status = next(field for field in found["fields"] if field["field"] == "status")
    assert (status["replayed"], status["live"], status["unexplained"]) == ("open", "responded", False)
    assert found["explained_by"]["recorded_later"] == [said["position"]]
    (found,) = (await _replay(house, auditor, region=region, as_of="2026-01-15T16:30:00+08:00"))["differences"]
    assert found["explained_by"]["occurred_later"] == [said["position"]]


async def test_another_policy_explains_what_it_judges_otherwise(house: House, auditor: Caller) -> None:
    region = await house.region()
    agent = house.agent(region)
    await agent.case(region)
    document = (await auditor.get("/v1/policies/V1.0")).json()
    document.pop("published_at")
    document["grades"][1]["criteria"][0]["when"]["at_least"]["value"] = 1
    await agent.get("/v1/cases")
    found = await _replay(house, auditor, region=region, policy={**document, "version": "V1.9"})
    assert (found["cases"][0]["grade"], found["policy"]["version"]) == ("A-2", "V1.9")
    (difference,) = found["differences"]
    assert difference["explained_by"]["other_policy"]
    assert [f["field"] for f in difference["fields"] if f["table"] == "cases"] == ["grade"]
    judged = await _replay(house, auditor, region=region, policy="V1.0")
    assert (judged["cases"][0]["grade"], judged["differences"]) == ("ungraded", [])


async def test_whoever_edits_a_view_is_found(house: House, auditor: Caller) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    await agent.get("/v1/cases")
    ((live,),) = await house.services.log.read.rows("SELECT live FROM projections", [])
    edit = f"UPDATE view_{live}.duties SET met_at = due_at WHERE case_id = %b"
    await house.by_hand(edit, [parse_uuid(case["case_id"])])
    (found,) = (await _replay(house, auditor, region=region))["differences"]
    (field,) = found["fields"]
    assert (found["case_no"], field["table"], field["field"], field["replayed"], field["unexplained"]) == (
        case["case_no"],
        "duties",
        "met_at",
        None,
        True,
    )
    await house.by_hand(
        f"UPDATE view_{live}.duties SET met_at = NULL WHERE case_id = %b", [parse_uuid(case["case_id"])]
    )


async def test_cases_are_asked_for_by_what_fell_due_or_was_recorded(house: House, auditor: Caller) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    await agent.act(case, "received", obtained_at="2026-03-03T00:00:00Z", channel="hotline")
    march = {"region": region, "from": "2026-03-01T00:00:00Z", "to": "2026-04-01T00:00:00Z"}
    counted = {
        basis: len((await _replay(house, auditor, basis=basis, **march))["cases"]) for basis in ("opened", "due")
    }
    assert counted == {"opened": 0, "due": 1}
    began = house.services.now() - timedelta(minutes=1)
    recorded = {"region": region, "basis": "recorded"}
    assert len((await _replay(house, auditor, **recorded, **{"from": began.isoformat()}))["cases"]) == 1
    assert len((await _replay(house, auditor, **recorded, to=began.isoformat()))["cases"]) == 0


async def test_a_large_ledger_is_replayed_in_another_process_with_the_same_answer(
    house: House, auditor: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    region = await house.region()
    await house.agent(region).case(region)
    here = await _replay(house, auditor, region=region)
    monkeypatch.setattr(replay_job, "SMALL", 0)
    there = await _replay(house, auditor, region=region, as_of=here["as_of"], known_at=here["known_at"])
    assert (there["digest"], there["cases"]) == (here["digest"], here["cases"])


async def test_of_very_many_items_the_first_are_listed_and_all_counted(
    house: House, auditor: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    region = await house.region()
    agent = house.agent(region)
    for _ in range(3):
        await agent.case(region)
    whole = await _replay(house, auditor, region=region)
    monkeypatch.setattr(replay_answer.pieces, "__defaults__", (2,))
    found = await _replay(house, auditor, region=region, as_of=whole["as_of"], known_at=whole["known_at"])
    assert (len(found["cases"]), found["left_out"], found["totals"]["cases"]) == (2, {"breaches": 1, "cases": 1}, 3)
    assert found["digest"] == whole["digest"]


async def test_while_others_write_nothing_differs_without_a_reason(house: House, auditor: Caller) -> None:
    region = await house.region()
    agent, manager = house.agent(region), house.manager(region)
    cases = [await agent.case(region, household=f"1-{number}") for number in range(6)]
    ended = asyncio.Event()

    async def write(case: dict[str, Any], other: dict[str, Any]) -> None:
        number = 0
        while not ended.is_set():
            number += 1
            more = {"obtained_at": "2026-01-15T16:06:00+08:00", "channel": "app", "household": f"2-{number % 9}"}
            await agent.act(other, "received", **more)
            await agent.act(case, "responded", **RESPONSE)
            if case is not other:
                link = {"case": other["case_id"], "kind": "merged_into", "reason": "同源"}
                await manager.act(case, "linked", **link)
                await agent.act(other, "noted", text="备注")
                await manager.act(case, "unlinked", **link)

    writing = [asyncio.create_task(write(*pair)) for pair in zip(cases[:3], cases[3:], strict=True)]
    try:
        for _ in range(12):
            totals = (await _replay(house, auditor, region=region))["totals"]
            assert (totals["cases"], totals["unexplained"]) == (6, 0)
    finally:
        ended.set()
        await asyncio.gather(*writing)
