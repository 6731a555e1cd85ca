"""The order in which facts arrive never changes the verdict: all 720 of six facts, and uploads in any order."""

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from itertools import count, permutations
from random import Random
from typing import Any
from uuid import UUID

import pytest

from projections.duty_view import duties
from projections.grade_view import brief
from services.case import Case
from services.decide import make
from services.docket import Entry, fold
from services.events import Action
from services.permit import FUNCTIONS
from services.sitting import Sitting
from tests.contract.house import Caller, House, opening
from tests.property.seen import shown
from tests.property.worlds import SOAK, seeds, told
from tests.steps import CASE, NOW, at, attempt, command, entries, entry, receive, received, respond

pytestmark = pytest.mark.anyio

UPLOADS = 150 if SOAK else 30
_DAY = "2026-01-{:02d}T09:{:02d}:00+08:00"
_WHO = {"name": "王五", "title": "客户关系专员"}
_TEAM = {
    "lead": {"name": "赵一", "title": "regional_president"},
    "members": [{"name": f"成员{function}", "function": function} for function in FUNCTIONS],
}
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

COMPLAINTS_AND_ANSWERS = [
    receive("3-1-202", 10),
    receive("3-1-301", 70),
    attempt(1, minutes=30),
    respond(minutes=75),
    command("assessed", occurred_at=at(50), facts={"litigating_households": {"add": ["3-1-301"]}}),
    command("escalated", occurred_at=at(60), to="city", reason="扩大"),
]
CLOCKS_LEVELS_AND_PLANS = [
    receive("3-1-301", 61),
    respond(households=("3-1-201",), minutes=60),
    respond(minutes=61),
    command("escalated", occurred_at=at(20), to="city", reason="扩大"),
    command("escalated", occurred_at=at(60), to="region", reason="再扩大"),
    command("plan_proposed", occurred_at=at(60), summary="重做防水"),
]

# 59 households sue, then 60 complain or sue; a household does both; two reports, the earlier one told by either.
GRADES_AND_REPORTS = [
    receive("9-9-1", 30),
    command("assessed", occurred_at=at(10), facts={"litigating_households": [f"9-1-{n}" for n in range(1, 58)]}),
    command("assessed", occurred_at=at(20), facts={"litigating_households": {"add": ["3栋1单元0201室", "9-9-2"]}}),
    command("assessed", occurred_at=at(40), facts={"compensation": "1999999.99"}),
    command("emergency_started", occurred_at=at(50), reported_at=at(45), **_TEAM),
    command("emergency_started", occurred_at=at(51), reported_at=at(44), **_TEAM),
]


# All orders of six facts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "commands",
    [COMPLAINTS_AND_ANSWERS, CLOCKS_LEVELS_AND_PLANS, GRADES_AND_REPORTS],
    ids=["answers", "levels", "grades"],
)
async def test_six_facts_in_any_of_720_orders_end_in_one_state(commands: Sequence[Any]) -> None:
    (opened,) = entries(received())
    # Each fact has its ids, whenever it arrives.
    facts = [make(asked, NOW, _ids(number)) for number, asked in enumerate(commands)]
    verdicts = set()
    for order in permutations(facts):
        verdicts.add(repr(_verdict(_arrived(opened, order))))
        await asyncio.sleep(0)
    assert len(verdicts) == 1, sorted(verdicts)[:2]


def _ids(number: int) -> Any:
    ids = count(1)
    return lambda: UUID(int=0x019AB3C4_5D6E_7F80_9123_300000000000 + 100 * number + next(ids))


def _arrived(opened: Entry, facts: Sequence[Action]) -> list[Entry]:
    """The case to which these facts were told in this order; each was accepted."""
    held = [opened]
    for fact in facts:
        told_next = entry(fact, len(held) + 1)
        sitting = Sitting(fold({CASE: held}).docket, CASE)
        if sitting.needs_files(fact.name, told_next.at):
            sitting.take({CASE: held})
        sitting.judge(told_next)
        held.append(told_next)
    return held


def _verdict(held: list[Entry]) -> Any:
    """Everything that is said of the case, but for when and in which order it was heard."""
    case = fold({CASE: held}).docket[CASE]
    seen = shown(case)
    del seen["version"], seen["updated_at"]
    seen["complaints"] = sorted(seen["complaints"].items())
    seen["facts"] = sorted((name, str(sorted(value))) for name, value in seen["facts"].items())
    owed = sorted(_owed(case), key=lambda duty: (duty["duty"], str(duty["complaint_id"])))
    return seen, brief(case), owed, case.inconsistencies


def _owed(case: Case) -> list[dict[str, Any]]:
    """The duties; `was_overdue` alone tells how it stood before a proof arrived, so it may differ."""
    return [{name: said for name, said in one.items() if name != "was_overdue"} for one in duties(case, {}, NOW)]


# Uploads however they are listed ----------------------------------------------------------------------------------


async def test_an_upload_ends_in_the_same_case_however_it_is_listed(house: House) -> None:
    first: str | None = None
    async for seed in seeds(UPLOADS):
        with told(seed):
            seen = await _uploaded(house, Random(seed))
            assert seen == (first := first or seen)


async def _uploaded(house: House, rng: Random) -> str:
    """The case of a new region after two uploads in any order; what may come in either comes in either."""
    region = await house.region()
    manager = house.manager(region)
    sooner, later, either = _paper(region)
    for action in either:
        rng.choice((sooner, later)).append(action)
    await _upload(manager, sooner, rng)
    case = await _case(manager, region)
    for item in later:
        if item["action"]["type"] == "plan_approved":
            item["action"]["plan"] = case["plan"]["proposals"][0]["action_id"]
    await _upload(manager, later, rng)
    case = await _case(manager, region)
    assert (case["status"], case["version"], case["inconsistencies"]) == ("accounted", 17, [])
    return _without_names(case, region)


def _paper(region: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """What a centre noted in an outage: what makes the case, what needs the plan's id, and the rest."""
    numbers = count(1)

    def item(kind: str, at_: str, own: str = "occurred_at", /, **fields: Any) -> dict[str, Any]:
        key = f"{region}-{next(numbers):02d}"
        return {"idempotency_key": key, "external_ref": "纸-7", "action": {"type": kind, own: at_, **fields}}

    opened = {"idempotency_key": f"{region}-00", "open": opening(region, external_ref="纸-7", obtained_at=_at(1))}
    sooner = [
        opened,
        item("received", _at(1, 30), "obtained_at", channel="app", household="3-1-202"),
        item("received", _at(1, 40), "obtained_at", channel="visit", household="3-1-301"),
        item("plan_proposed", _at(3), summary="重做防水", cost="380000.00"),
    ]
    later = [
        item("plan_approved", _at(4), approver=_WHO),
        item("plan_answered", _at(5), households=["3-1-201", "3-1-202"], accepted=True),
        item("plan_answered", _at(5, 30), households=["3-1-202"], accepted=False),
        item("plan_answered", _at(6), households=["3-1-202", "3-1-301"], accepted=True),
        item("closed", _at(7), decision="维修完成", recurrence_expected=False),
        item("blamed", _at(8), no_fault=True, conclusion="无", determined_by=_WHO),
    ]
    either = [
        item("contact_attempted", _at(1, 35), "attempted_at", households=["3-1-202"], channel="app", outcome="busy"),
        item("responded", _at(1, 50), "contacted_at", complaints="all", contact_person=_WHO),
        item("responded", _at(1, 45), "contacted_at", households=["3栋1单元202室"], contact_person=_WHO),
        item("assessed", _at(2), facts={"compensation": "1000.00", "title_deed_delayed": True}),
        item("assessed", _at(2, 30), facts={"compensation": "2000.00"}),
        item("escalated", _at(2, 10), to="city", reason="扩大"),
        item("noted", _at(1, 20), text="雨后更甚"),
    ]
    return sooner, later, either


def _at(day: int, minute: int = 0) -> str:
    return _DAY.format(day, minute)


async def _upload(manager: Caller, items: list[dict[str, Any]], rng: Random) -> None:
    rng.shuffle(items)
    response = await manager.post("/v1/actions/batch", items)
    assert response.status_code == 200, response.text
    refused = [one for one in response.json()["results"] if one["status"] != 201]
    assert refused == []


async def _case(manager: Caller, region: str) -> dict[str, Any]:
    listed = (await manager.get(f"/v1/cases?region={region}")).json()["items"]
    assert len(listed) == 1
    case: dict[str, Any] = (await manager.get(f"/v1/cases/{listed[0]['case_id']}")).json()
    return case


def _without_names(case: dict[str, Any], region: str) -> str:
    """The case as shown, ids and what tells when it was recorded taken out."""
    for name in ("case_no", "version", "updated_at"):
        del case[name]
    order = {one["complaint_id"]: (one["obtained_at"], one["household"]) for one in case["complaints"]}
    for duty in case["duties"]:
        del duty["was_overdue"]
    for name in ("complaints", "duties"):
        case[name].sort(key=lambda one: (one.get("duty", ""), order.get(one["complaint_id"], ("", ""))))
    ids: Iterator[int] = count(1)
    names: dict[str, str] = {}
    text = json.dumps(case, ensure_ascii=False, sort_keys=True).replace(region, "REGION")
    return _UUID.sub(lambda found: names.setdefault(found[0], f"id{next(ids)}"), text)
