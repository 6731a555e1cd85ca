"""Whoever opens a case is told of the open ones that it may repeat."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from services.instants import format_instant
from tests.contract.house import House, opening

pytestmark = pytest.mark.anyio

OBTAINED = datetime(2026, 1, 15, 8, 5, tzinfo=UTC)


def _at(days: int) -> str:
    return format_instant(OBTAINED + timedelta(days=days))


def _named(case: dict[str, Any]) -> dict[str, Any]:
    return {name: case[name] for name in ("case_id", "case_no", "opened_at")}


async def test_open_cases_of_the_project_and_category_within_thirty_days_are_named(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    first = await agent.case(region)
    assert first["possible_duplicates"] == []
    later = await agent.case(region, obtained_at=_at(2))
    warning = await agent.case(region, stage="warning", occurred_at=_at(-2), obtained_at=None)
    for other in ({"category": "customer_service"}, {"obtained_at": _at(-31)}, {"obtained_at": _at(31)}):
        await agent.case(region, **other)
    asked = await agent.case(region, obtained_at=_at(0))
    assert asked["possible_duplicates"] == [_named(case) for case in (later, first, warning)]


async def test_an_open_case_of_another_project_or_region_is_never_named(house: House) -> None:
    region, elsewhere = await house.region(), await house.region()
    second = {"name": "二期", "region": region}
    assert (await house.caller("admin").put(f"/v1/projects/{region}-2", second)).status_code == 200
    await house.agent(elsewhere).case(elsewhere)
    await house.agent(region).case(region)
    assert (await house.agent(region).case(region, project=f"{region}-2"))["possible_duplicates"] == []


async def test_an_answered_case_still_stands_open(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    first = await agent.case(region)
    answered = await agent.act(
        first, "responded", complaints="all", contacted_at=_at(0), contact_person={"name": "王五", "title": "专员"}
    )
    assert answered.json()["case"]["status"] == "responded"
    assert (await agent.case(region))["possible_duplicates"] == [_named(first)]


async def test_no_more_than_ten_are_named(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    cases = [await agent.case(region, obtained_at=_at(-n)) for n in range(12)]
    assert [one["case_id"] for one in (await agent.case(region))["possible_duplicates"]] == [
        case["case_id"] for case in cases[:10]
    ]


async def test_a_replay_names_those_of_then(house: House) -> None:
    region, key = await house.region(), str(uuid4())
    agent = house.agent(region)
    before = await agent.case(region)
    first = await agent.post("/v1/cases", opening(region), key)
    await agent.case(region)
    again = await agent.post("/v1/cases", opening(region), key)
    assert again.content == first.content
    assert again.json()["possible_duplicates"] == [_named(before)]


async def test_only_the_answer_to_opening_names_them(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    await agent.case(region)
    second = await agent.case(region)
    read = (await agent.get(f"/v1/cases/{second['case_id']}")).json()
    assert read == {name: value for name, value in second.items() if name != "possible_duplicates"} | {
        "duties": read["duties"]
    }
