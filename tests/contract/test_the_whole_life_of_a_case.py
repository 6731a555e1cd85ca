"""One case from the first risk to the applied lesson, over HTTP; every answer passes before the judge."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.contract.house import Caller, House, codes

pytestmark = pytest.mark.anyio

TEAM = [
    {"name": f"成员{n}", "function": function}
    for n, function in enumerate(("customer_relations", "media_relations", "marketing", "legal", "development"))
]
CONTACT = {"name": "王五", "title": "客户关系专员"}
APPROVER = {"name": "郑七", "title": "区域总裁"}


def day(number: int, hour: int = 8, minute: int = 0) -> str:
    """An instant of the story: so many days into 2026-03."""
    return f"2026-03-{number:02d}T{hour:02d}:{minute:02d}:00Z"


class Story:
    """A case to which one thing after another happens."""

    def __init__(self, caller: Caller, case: dict[str, Any]) -> None:
        self.caller, self.case = caller, case
        self.path = f"/v1/cases/{case['case_id']}"

    async def act(self, kind: str, at: str | None = None, /, **fields: Any) -> dict[str, Any]:
        """Append an action that must be stored; the stored action."""
        response = await self.tried(kind, at, **fields)
        assert response.status_code == 201, response.text
        action: dict[str, Any] = response.json()["action"]
        return action

    async def tried(self, kind: str, at: str | None = None, /, **fields: Any) -> httpx.Response:
        own = {"received": "obtained_at", "responded": "contacted_at", "contact_attempted": "attempted_at"}
        when = {own.get(kind, "occurred_at"): at} if at else {}
        return await self.caller.act(self.case, kind, **when, **fields)

    async def seen(self, query: str = "") -> dict[str, Any]:
        response = await self.caller.get(f"{self.path}{query}")
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found


async def story(house: House, **fields: Any) -> Story:
    """A new case of a new region, worked on by its manager."""
    region = await house.region()
    manager = house.manager(region)
    return Story(manager, await manager.case(region, **fields))


async def up_to_closure(told: Story, first: int = 2, households: tuple[str, ...] = ("3-1-201",)) -> dict[str, Any]:
    """Answered, planned, approved, accepted, closed, a day apart."""
    await told.act("responded", day(first), complaints="all", contact_person=CONTACT)
    plan = await told.act("plan_proposed", day(first + 1), summary="整体重做防水", cost="380000.00")
    await told.act("plan_approved", day(first + 2), plan=plan["action_id"], approver=APPROVER)
    await told.act("plan_answered", day(first + 3), households=list(households), accepted=True)
    return await told.act("closed", day(first + 4), decision="维修完成", recurrence_expected=False)


async def test_from_the_first_risk_to_the_applied_lesson(house: House) -> None:
    told = await story(house, stage="risk", occurred_at=day(1, 1))
    assert (await told.seen())["stage"] == "risk"
    await told.act("warned", day(1, 2), unrest="业主群约定聚集")
    received = await told.act("received", day(1, 3), channel="hotline", household="3栋1单元201室")
    assert "complaint_id" in received
    await told.act("assessed", day(1, 4), facts={"compensation": "1000.00", "title_deed_delayed": True})
    await told.act("escalated", day(1, 5), to="city", reason="扩大")
    lead = {"name": "赵一", "title": "regional_president"}
    await told.act("emergency_started", day(1, 6), lead=lead, members=TEAM, reported_at=day(1, 6))
    await up_to_closure(told)
    case = await told.seen()
    assert (case["status"], case["closed_at"]) == ("closed", day(6))
    found = [
        {"party": "王八", "title": "工程经理", "unit": "项目", "finding": "未按图施工", "share_percent": "70"},
        {"party": "冯九", "title": "监理", "unit": "监理单位", "finding": "未旁站", "share_percent": 30},
    ]
    official = {"name": "陈十", "title": "区域客户关系主管负责人"}
    await told.act("blamed", day(7), responsible=found, conclusion="双方责任", determined_by=official)
    await told.act("sanctioned", day(8), party="王八", measure="通报批评")
    await told.act("sanctioned", day(9), party="王八", measure="通报批评", implemented_at=day(9))
    lesson = await told.act("lesson_recorded", day(10), root_cause="收口", lesson="附加层", measures=["修订", "自查"])
    await told.act("lesson_applied", day(11), lesson=lesson["action_id"], applied_to="二期")
    case = await told.seen()
    assert case["status"] == "accounted"
    assert [one["share_percent"] for one in case["accountability"]["responsible"]] == ["70", "30"]
    assert len(case["accountability"]["sanctions"]) == 2
    assert case["lessons"][0]["applied"][0]["applied_to"] == "二期"
    assert case["inconsistencies"] == []
    await told.act("reopened", day(12), reason="雨后再漏")
    case = await told.seen()
    assert (case["status"], case["plan"], case["closure"], case["accountability"]) == ("responded", None, None, None)
    assert case["cycles"][0]["accountability"]["conclusion"] == "双方责任"
    assert (await told.seen(f"?as_of={day(6, 9)}"))["status"] == "closed"
    assert codes([await told.caller.get(f"{told.path}?as_of={day(1, 0)}")]) == ["not_found"]
    assert codes([await told.caller.get(f"{told.path}?as_of=2099-01-01T00:00:00Z")]) == ["in_the_future"]


async def test_closing_names_every_criterion_that_is_not_met(house: House) -> None:
    told = await story(house)
    refused = await told.tried("closed", decision="完", recurrence_expected=True)
    document = refused.json()
    assert (refused.status_code, document["code"], document["clause"]) == (409, "closure_criteria_not_met", "3.2")
    assert [one["criterion"] for one in document["unmet"]] == [
        "plan_approved",
        "accepting_households",
        "recurrence_expected",
        "complaints_answered",
    ]


async def test_a_correction_takes_two_zeros_back(house: House) -> None:
    told = await story(house)
    wrong = await told.act("assessed", facts={"compensation": "2000000.00"})
    patch = {"facts": {"compensation": "20000.00"}}
    fixed = await told.act("corrected", action=wrong["action_id"], replacement=patch, reason="多写两个零")
    assert fixed["replacement"] == patch
    assert (await told.seen())["facts"] == {"compensation": "20000.00"}
    actions = (await told.caller.get(f"{told.path}/actions")).json()["items"]
    assert (actions[1]["facts"], actions[1]["corrected_by"]) == ({"compensation": "2000000.00"}, fixed["action_id"])
    await told.act("corrected", action=fixed["action_id"], retract=True, reason="原来是对的")
    assert (await told.seen())["facts"] == {"compensation": "2000000.00"}


async def test_a_corrected_complainant_is_shown_and_stays_sealed(house: House) -> None:
    told = await story(house)
    opening = (await told.caller.get(f"{told.path}/actions")).json()["items"][0]
    patch = {"complainant": {"name": "李大明"}, "household": "3-1-202", "title": "4栋外墙渗水"}
    await told.act("corrected", action=opening["action_id"], replacement=patch, reason="听错")
    case = await told.seen()
    assert (case["title"], case["complaints"][0]["household"]) == ("4栋外墙渗水", "3-1-202")
    assert case["complaints"][0]["complainant"] == {"name": "李大明", "phone": "13812345678", "relation": "业主"}
    refused = await told.tried("corrected", action=opening["action_id"], replacement={"channel": "x"}, reason="错")
    assert refused.json()["errors"][0]["pointer"] == "/replacement/channel"


async def test_retracting_the_opening_makes_the_case_void(house: House) -> None:
    told = await story(house)
    opening = (await told.caller.get(f"{told.path}/actions")).json()["items"][0]
    await told.act("corrected", action=opening["action_id"], retract=True, reason="误建")
    assert (await told.seen())["status"] == "void"
    assert codes([await told.tried("received", day(1), channel="app")]) == ["case_void"]
    assert codes([await told.tried("noted", text="仍可备注")]) == [201]


async def test_a_late_closing_before_a_recorded_complaint_contradicts_it(house: House) -> None:
    told = await story(house)
    await told.act("responded", day(2), complaints="all", contact_person=CONTACT)
    plan = await told.act("plan_proposed", day(3), summary="重做")
    await told.act("plan_approved", day(4), plan=plan["action_id"], approver=APPROVER)
    await told.act("plan_answered", day(5), households=["3-1-201"], accepted=True)
    await told.act("received", day(8), channel="app", household="3-1-301")
    assert codes([await told.tried("closed", day(6), decision="完", recurrence_expected=False)]) == [
        "contradicts_later_action"
    ]


async def test_merged_cases_are_decided_as_one_and_undone_without_a_trace(house: House) -> None:
    told = await story(house)
    other = Story(told.caller, await told.caller.case(told.case["region"], household="3-1-301"))
    before = await told.seen(), await other.seen()
    merged = await other.tried("linked", case=told.case["case_no"], kind="merged_into", reason="同一渗水")
    assert merged.status_code == 201, merged.text
    assert (merged.json()["case"]["status"], merged.headers["etag"]) == ("merged", '"2"')
    group = await told.seen()
    assert (group["household_count"], group["complaint_count"]) == (2, 2)
    assert group["links"] == [{"case_id": other.case["case_id"], "kind": "merged_from"}]
    refused = (await other.tried("escalated", to="city", reason="x")).json()
    assert (refused["code"], refused["unmet"][0]["actual"]) == ("case_merged", told.case["case_id"])
    third = Story(told.caller, await told.caller.case(told.case["region"], household="3-1-401"))
    chained = await third.tried("linked", case=other.case["case_id"], kind="merged_into", reason="链")
    assert codes([chained]) == ["merge_chain"]
    now = datetime.now(UTC).isoformat()
    await told.act("responded", now, complaints="all", contact_person=CONTACT)
    assert (await other.seen())["complaints"][0]["responded_at"] is not None
    await other.act("unlinked", case=told.case["case_id"], kind="merged_into", reason="并非同源")
    after = await told.seen(), await other.seen()
    for one, two in zip(before, after, strict=True):
        assert (two["household_count"], two["complaint_count"]) == (one["household_count"], one["complaint_count"])
        assert two["status"] == "responded"
        assert two["links"] == []


async def test_a_literal_repeat_answers_with_the_earlier_action(house: House) -> None:
    told = await story(house)
    first = await told.act("escalated", to="city", reason="扩大")
    again = await told.tried("escalated", to="city", reason="扩大")
    assert (again.status_code, again.json()["action"]["action_id"]) == (200, first["action_id"])
    assert codes([await told.tried("escalated", to="city", reason="另一个理由")]) == ["not_upwards"]


async def test_an_agent_corrects_only_its_own(house: House) -> None:
    told = await story(house)
    noted = await told.act("noted", text="经理备注")
    agent = house.agent(told.case["region"])
    theirs = await agent.act(told.case, "corrected", action=noted["action_id"], retract=True, reason="x")
    assert codes([theirs]) == ["correction_not_yours"]
    own = (await agent.act(told.case, "noted", text="坐席备注")).json()["action"]
    mine = await agent.act(told.case, "corrected", action=own["action_id"], replacement={"text": "改"}, reason="x")
    assert codes([mine]) == [201]


async def test_property_services_alone_hold_accountable_in_their_category(house: House) -> None:
    told = await story(house, category="property_service")
    body = {"no_fault": True, "conclusion": "无", "determined_by": APPROVER}
    assert codes([await told.tried("blamed", **body)]) == ["forbidden"]
    group = house.caller("manager", told.case["region"], unit="property_services")
    assert codes([await group.act(told.case, "blamed", **body)]) == ["blamed_before_closure"]


async def test_a_dashboard_sees_no_names_in_accountability(house: House) -> None:
    told = await story(house)
    await up_to_closure(told)
    found = [{"party": "王八", "title": "经理", "unit": "项目", "finding": "未按图", "share_percent": "100"}]
    await told.act("blamed", day(7), responsible=found, conclusion="责任", determined_by=APPROVER)
    seen = (await house.caller("dashboard", told.case["region"]).get(told.path)).json()["accountability"]
    assert (seen["responsible"][0]["party"], seen["conclusion"], seen["determined_by"]["name"]) == (None, None, None)
    assert (await told.seen())["accountability"]["responsible"][0]["party"] == "王八"


async def test_what_is_wrong_with_a_body_as_a_whole_points_at_the_whole(house: House) -> None:
    told = await story(house)
    both = await told.tried("corrected", action=told.case["case_id"], retract=True, replacement={}, reason="x")
    none = await told.tried("assessed", facts={})
    assert [one.json()["errors"][0]["pointer"] for one in (both, none)] == ["", ""]


async def test_a_time_that_makes_an_action_what_it_is_cannot_be_corrected_away(house: House) -> None:
    told = await story(house)
    opening = (await told.caller.get(f"{told.path}/actions")).json()["items"][0]["action_id"]
    for name in ("obtained_at", "occurred_at"):
        refused = await told.tried("corrected", action=opening, replacement={name: None}, reason="x")
        assert refused.json()["errors"][0]["pointer"] == "/replacement/obtained_at"


async def test_a_correction_of_a_correction_s_correction_is_retracted_not_patched(house: House) -> None:
    told = await story(house)
    wrong = await told.act("assessed", facts={"compensation": "1.00"})
    last = wrong
    for amount in ("2.00", "3.00"):
        patch: dict[str, Any] = {"facts": {"compensation": amount}}
        patch = patch if last is wrong else {"replacement": patch}
        last = await told.act("corrected", action=last["action_id"], replacement=patch, reason="再改")
    refused = await told.tried("corrected", action=last["action_id"], replacement={"reason": "x"}, reason="x")
    assert refused.json()["errors"][0]["pointer"] == "/replacement"
    assert (await told.seen())["facts"] == {"compensation": "3.00"}
    await told.act("corrected", action=last["action_id"], retract=True, reason="撤回")
    assert (await told.seen())["facts"] == {"compensation": "2.00"}


async def test_a_correction_moves_no_action_past_its_own_recording(house: House) -> None:
    told = await story(house)
    noted = await told.act("noted", day(3), text="备注")
    later = {"occurred_at": "2099-01-01T00:00:00Z"}
    refused = await told.tried("corrected", action=noted["action_id"], replacement=later, reason="x")
    assert (refused.status_code, refused.json()["code"]) == (422, "in_the_future")


async def test_what_was_told_of_a_cycle_that_is_over_is_still_a_repeat(house: House) -> None:
    told = await story(house)
    await told.act("responded", day(2), complaints="all", contact_person=CONTACT)
    plan = await told.act("plan_proposed", day(3), summary="重做")
    await told.act("plan_approved", day(4), plan=plan["action_id"], approver=APPROVER)
    await told.act("plan_answered", day(5), households=["3-1-201"], accepted=True)
    # By a clock that runs ahead, so that it is not late when it is told again.
    ahead = (datetime.now(UTC) + timedelta(minutes=2)).isoformat()
    closed = await told.act("closed", ahead, decision="维修完成", recurrence_expected=False)
    await told.act("reopened", reason="再漏")
    again = await told.tried("closed", ahead, decision="维修完成", recurrence_expected=False)
    assert (again.status_code, again.json().get("action", {}).get("action_id")) == (200, closed["action_id"])
