"""What a case is graded, and what is owed about it, over HTTP and on both axes of time."""

from typing import Any

import pytest

from tests.contract.house import House
from tests.contract.test_the_whole_life_of_a_case import CONTACT, TEAM, Story, day, story, up_to_closure

pytestmark = pytest.mark.anyio

PRESIDENT = {"name": "赵一", "title": "regional_president"}


async def _duty(told: Story, name: str, query: str = "") -> list[dict[str, Any]]:
    return [one for one in (await told.seen(query))["duties"] if one["duty"] == name]


async def _explained(told: Story, query: str = "") -> dict[str, Any]:
    found: dict[str, Any] = (await told.caller.get(f"{told.path}/grade{query}")).json()
    return found


async def test_a_grade_names_its_criterion_and_the_action_that_crossed_the_bound(house: House) -> None:
    told = await story(house)
    grade = (await told.seen())["grade"]
    assert (grade["code"], grade["label"]["zh"], grade["policy"]) == ("ungraded", "未定级", "RC-JT-PM-GZ001")
    assert grade["undetermined"] == ["A-1.1", "A-1.3", "A-1.4", "A-1.5", "A-2.2"]
    crossing = await told.act("assessed", day(2), facts={"compensation": "2000000.00"})
    explained = await _explained(told)
    (cost,) = [one for one in explained["criteria"] if one["id"] == "A-1.3"]
    assert (cost["verdict"], cost["clause"], cost["facts"]) == ("met", "7", {"cost": {"at_least": "2000000.00"}})
    assert cost["crossed"]["action_id"] == crossing["action_id"]
    assert [(one["code"], one["since"]) for one in explained["history"]] == [
        ("ungraded", told.case["opened_at"]),
        ("A-1", day(2)),
    ]
    assert (await told.seen())["grade"]["since"] == day(2)


async def test_fewer_zeros_take_the_grade_back_and_the_older_k_still_shows_it(house: House) -> None:
    told = await story(house)
    wrong = await told.act("assessed", day(2), facts={"compensation": "2000000.00"})
    before = (await told.seen())["updated_at"]
    patch = {"facts": {"compensation": "20000.00"}}
    await told.act("corrected", action=wrong["action_id"], replacement=patch, reason="多写两个零")
    assert (await told.seen())["grade"]["code"] == "ungraded"
    assert (await told.seen(f"?known_at={before}"))["grade"]["code"] == "A-1"
    assert (await _explained(told, f"?known_at={before}"))["code"] == "A-1"
    assert (await told.seen(f"?as_of={day(1)}"))["grade"]["code"] == "ungraded"


async def test_sixty_households_owe_a_report_that_lower_facts_do_not_take_back(house: House) -> None:
    told = await story(house, household="1-1")
    for number in range(2, 61):
        await told.act("received", day(2, minute=number % 60), channel="app", household=f"1-{number}")
    assert (await told.seen())["grade"]["criteria"] == ["A-2.1"]
    (owed,) = await _duty(told, "report_emergency")
    assert (owed["state"], owed["due_at"], owed["clause"], owed["owed_by"]) == (
        "pending",
        None,
        "4.4",
        told.case["region"],
    )
    await told.act("emergency_started", day(3, 5), lead=PRESIDENT, members=TEAM, reported_at=day(3, 4))
    (met,) = await _duty(told, "report_emergency")
    assert (met["state"], met["met_at"], met["mechanism_started_at"]) == ("met", day(3, 4), day(3, 5))


async def test_closing_starts_accountability_and_the_lesson_with_open_times(house: House) -> None:
    told = await story(house)
    await up_to_closure(told)
    states = {one["duty"]: (one["state"], one["due_at"], one["started_at"]) for one in (await told.seen())["duties"]}
    assert states["hold_accountable"] == states["record_lesson"] == ("pending", None, day(6))
    official = {"name": "陈十", "title": "客户关系主管"}
    await told.act("blamed", day(7), no_fault=True, conclusion="无责", determined_by=official)
    (blame,) = await _duty(told, "hold_accountable")
    assert (blame["state"], blame["met_at"], blame["cycle"]) == ("met", day(7), 1)


async def test_a_late_proof_clears_an_overdue_duty_and_the_older_k_still_shows_it(house: House) -> None:
    told = await story(house, obtained_at=day(1))
    (overdue,) = await _duty(told, "respond")
    assert (overdue["state"], overdue["was_overdue"], overdue["overdue_seconds"]) == ("overdue", True, None)
    known = (await told.seen())["updated_at"]
    await told.act("responded", day(1, 9), complaints="all", contact_person=CONTACT)
    (met,) = await _duty(told, "respond")
    assert (met["state"], met["met_at"], met["was_overdue"]) == ("met", day(1, 9), True)
    (older,) = await _duty(told, "respond", f"?known_at={known}")
    assert older["state"] == "overdue"
    (pending,) = await _duty(told, "respond", f"?as_of={day(1, 8, 30)}&known_at={known}")
    assert pending["state"] == "pending"


async def test_a_complaint_that_is_taken_back_owes_nothing(house: House) -> None:
    told = await story(house)
    wrong = await told.act("received", day(2), channel="app", household="9-9")
    await told.act("corrected", action=wrong["action_id"], retract=True, reason="误录")
    assert [one["state"] for one in await _duty(told, "respond")] == ["overdue", "void"]


async def test_the_executive_whom_the_directory_names_owes_accountability(house: House) -> None:
    told = await story(house)
    executive = {"name": "陈主管", "phone": "13900000000"}
    body = {"name": "区域", "customer_relations_executive": executive}
    assert (await house.caller("admin").put(f"/v1/regions/{told.case['region']}", body)).status_code == 200
    await up_to_closure(told)
    assert [one["owed_by"] for one in await _duty(told, "hold_accountable")] == ["陈主管"]
    dashboard = Story(house.caller("dashboard", told.case["region"]), told.case)
    assert [one["owed_by"] for one in await _duty(dashboard, "hold_accountable")] == [None]


WARRANTY = {
    "2025-05-31T15:59:59Z": False,
    "2025-05-31T16:00:00Z": True,
    "2026-02-28T15:59:59Z": True,
    "2026-02-28T16:00:00Z": False,
}


@pytest.mark.parametrize("as_of", WARRANTY)
async def test_the_concentrated_warranty_ends_six_months_after_handover_that_day_included(
    house: House, as_of: str
) -> None:
    """3.8: handed over from 1 June to 31 August 2025; six months later there is no 31st."""
    handover = {"handover_started_at": "2025-06-01T00:00:00+08:00", "handover_finished_at": "2025-08-31T12:00:00+08:00"}
    region = await house.region(**handover)
    manager = house.manager(region)
    told = Story(manager, await manager.case(region, obtained_at="2025-05-01T00:00:00Z"))
    assert (await told.seen(f"?as_of={as_of}"))["in_concentrated_warranty"] is WARRANTY[as_of]


async def test_a_void_case_has_an_explanation_too(house: House) -> None:
    told = await story(house)
    opening = (await told.caller.get(f"{told.path}/actions")).json()["items"][0]
    await told.act("corrected", action=opening["action_id"], retract=True, reason="误建")
    assert ((await told.seen())["grade"], (await _explained(told))["code"]) == (None, "ungraded")
