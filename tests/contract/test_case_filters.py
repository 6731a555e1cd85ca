"""Every filter of the list of cases, alone and with others, against what the cases themselves say."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from tests.contract.house import RESPONSE, Caller, House, codes
from tests.contract.lists import clock, ids, page
from tests.e2e.fire import seed_of

pytestmark = pytest.mark.anyio
DUE = datetime(2026, 1, 15, 9, 5, tzinfo=UTC)


class World(NamedTuple):
    """Two regions with their cases, as each says of itself; who reads both, and what values to ask for."""

    house: House
    caller: Caller
    regions: list[str]
    cases: list[dict[str, Any]]


@pytest.fixture(scope="module")
async def world(house: House) -> World:
    regions = [
        await house.region(city="佛山", area="大湾区"),
        await house.region(city="长沙", area="华中"),
    ]
    foreign = await house.region(city="佛山", area="大湾区")
    await house.manager(foreign).case(foreign, tags=["漏水"])
    admin, manager = house.caller("admin"), house.manager(*regions)
    second = {"name": "二号院", "region": regions[0], "city": "广州", "area": "大湾区"}
    assert codes([await admin.put(f"/v1/projects/{regions[0]}-2", second)]) == [200]
    made = [
        await manager.case(regions[0], tags=["漏水", "外墙"]),
        await manager.case(regions[0], project=f"{regions[0]}-2", tags=["漏水"], channel="wechat"),
        await manager.case(regions[0], stage="risk", unrest="无", occurred_at="2026-01-10T08:00:00+08:00"),
        await manager.case(regions[1], category="marketing", channel="media", external_ref="HL-7"),
        await manager.case(regions[1], category="property_service", obtained_at="2026-01-16T00:00:00+08:00"),
        await manager.case(regions[1], project=f"{regions[1]}-1", household=None, complainant=None, channel="visit"),
        await manager.case(regions[0], stage="warning", unrest="聚集", tags=["外墙"]),
    ]
    await manager.act(made[0], "received", obtained_at="2026-01-15T08:30:00Z", channel="app", household="9-1-101")
    await manager.act(made[1], "responded", **RESPONSE)
    await manager.act(made[3], "responded", **{**RESPONSE, "contacted_at": "2026-01-15T12:00:00Z"})
    await manager.act(made[3], "escalated", to="region", reason="联名")
    await manager.act(made[0], "escalated", to="city", reason="联名")
    await manager.act(made[0], "assessed", facts={"compensation": "3000000.00"})
    await manager.act(made[2], "closed", decision="未发生", recurrence_expected=False)
    again = await manager.case(regions[0], household="8-1-801")
    await manager.act(again, "linked", case=made[0]["case_no"], kind="merged_into", reason="同源")
    found = []
    for case in (*made, again):
        found.append((await manager.get(f"/v1/cases/{case['case_id']}")).json())
    return World(house, manager, regions, found)


def _late(case: dict[str, Any]) -> bool:
    """What is owed for the complaints of a merged case is told of its target."""
    duties = [duty for duty in case["duties"] if case["status"] != "merged" or not duty["complaint_id"]]
    return any(duty["state"] in ("overdue", "met_late") for duty in duties)


SAYS: dict[str, Any] = {
    **{name: (lambda case, name=name: {case[name]}) for name in ("region", "project", "city", "area", "category")},
    **{name: (lambda case, name=name: {case[name]}) for name in ("stage", "status", "escalation_level")},
    "grade": lambda case: {case["grade"]["code"]},
    "channel": lambda case: {one["channel"] for one in case["complaints"]},
    "tag": lambda case: set(case["tags"]),
    "breached": lambda case: {"true" if _late(case) else "false"},
}


def _fits(case: dict[str, Any], query: dict[str, Any]) -> bool:
    """What the contract says of a filter, said once more: a repeated parameter means any of."""
    for name, values in query.items():
        if name == "opened_from" and case["opened_at"] < values:
            return False
        if name == "opened_to" and case["opened_at"] >= values:
            return False
        if name == "updated_since" and case["updated_at"] < values:
            return False
        if name in SAYS and not SAYS[name](case) & set(values):
            return False
    return True


async def _agrees(world: World, query: dict[str, Any]) -> int:
    expected = {case["case_id"] for case in world.cases if _fits(case, query)}
    assert set(await ids(world.caller, **query)) == expected, query
    return len(expected)


@pytest.mark.parametrize("name", SAYS)
async def test_each_value_of_a_filter_finds_the_cases_that_have_it(world: World, name: str) -> None:
    values = sorted(set().union(*(SAYS[name](case) for case in world.cases)))
    sizes = [await _agrees(world, {name: [value]}) for value in values]
    assert min(sizes) > 0
    assert name in ("status", "breached") or len(values) > 1
    if name != "breached":
        assert await _agrees(world, {name: values}) >= max(sizes)
        assert await _agrees(world, {name: [*values[:2], *values[:1]]}) >= max(sizes[:2])


async def test_many_filters_at_once_hold_together(world: World, request: pytest.FixtureRequest) -> None:
    seed = seed_of(request.node.name)
    chance = random.Random(seed)
    values = {name: sorted(set().union(*(SAYS[name](case) for case in world.cases))) for name in SAYS}
    instants = sorted({case[name] for case in world.cases for name in ("opened_at", "updated_at")})
    found = 0
    for _ in range(120):
        query: dict[str, Any] = {}
        for name in chance.sample(list(SAYS), chance.randint(2, 4)):
            most = 1 if name == "breached" else chance.randint(1, 3)
            query[name] = chance.sample(values[name], min(most, len(values[name])))
        if chance.random() < 0.3:
            query[chance.choice(("opened_from", "opened_to", "updated_since"))] = chance.choice(instants)
        found += await _agrees(world, query)
    assert found


async def test_the_time_of_opening_is_half_open(world: World) -> None:
    at = world.cases[0]["opened_at"]
    alike = {case["case_id"] for case in world.cases if case["opened_at"] == at}
    assert len(alike) > 1
    assert alike <= set(await ids(world.caller, opened_from=at))
    assert not alike & set(await ids(world.caller, opened_to=at))
    instant = datetime.fromisoformat(at)
    after = (instant + timedelta(microseconds=1)).isoformat()
    assert set(await ids(world.caller, opened_from=at, opened_to=after)) == alike
    # However the offset is written; and a plus that was sent as it is.
    assert set(await ids(world.caller, opened_from="2026-01-15T16:05:00+08:00", opened_to=after)) == alike
    raw = await world.caller.get("/v1/cases?opened_from=2026-01-15T16:05:00+08:00&opened_to=2026-01-15T16:05:01+08:00")
    assert {item["case_id"] for item in raw.json()["items"]} == alike
    assert await ids(world.caller, opened_from=at, opened_to=at) == []


async def test_updated_since_includes_its_instant(world: World) -> None:
    case = max(world.cases, key=lambda case: case["updated_at"])
    last = {one["case_id"] for one in world.cases if one["updated_at"] == case["updated_at"]}
    assert set(await ids(world.caller, updated_since=case["updated_at"])) == last
    later = (datetime.fromisoformat(case["updated_at"]) + timedelta(microseconds=1)).isoformat()
    assert await ids(world.caller, updated_since=later) == []


async def test_late_is_late_from_the_microsecond_after_the_instant(house: House) -> None:
    region = await house.region()
    manager = house.manager(region)
    unanswered = (await manager.case(region))["case_id"]
    in_time = await manager.case(region)
    await manager.act(in_time, "responded", **{**RESPONSE, "contacted_at": DUE.isoformat()})
    too_late = await manager.case(region)
    just_after = (DUE + timedelta(microseconds=1)).isoformat()
    await manager.act(too_late, "responded", **{**RESPONSE, "contacted_at": just_after})
    risk = (await manager.case(region, stage="risk"))["case_id"]
    both = {unanswered, too_late["case_id"]}
    everything = {unanswered, in_time["case_id"], too_late["case_id"], risk}
    with clock(house, DUE):
        assert await ids(manager, breached="true") == []
        assert set(await ids(manager, breached="false")) == everything
    with clock(house, DUE + timedelta(microseconds=1)):
        assert set(await ids(manager, breached="true")) == both
        assert set(await ids(manager, breached="false")) == everything - both


async def test_a_city_is_where_the_directory_says_the_project_lies_now(house: House) -> None:
    region = await house.region(city="佛山", area="大湾区")
    agent, admin = house.agent(region), house.caller("admin")
    case = (await agent.case(region))["case_id"]
    assert await ids(agent, city="佛山", area="大湾区") == [case]
    move = datetime(2027, 1, 1, tzinfo=UTC)
    moved = {"name": "一号院", "region": region, "city": "广州", "area": "珠江", "valid_from": move.isoformat()}
    assert codes([await admin.put(f"/v1/projects/{region}-1", moved)]) == [200]
    for now, city, area in (
        (move - timedelta(microseconds=1), "佛山", "大湾区"),
        (move, "广州", "珠江"),
    ):
        with clock(house, now):
            assert await ids(agent, city=city) == [case]
            assert await ids(agent, area=area) == [case]
            assert await ids(agent, city={"佛山": "广州", "广州": "佛山"}[city]) == []
            items = (await page(agent))["items"]
            assert [(item["city"], item["area"]) for item in items] == [(city, area)]
            assert await ids(agent, city=city, project=f"{region}-1") == [case]
            assert await ids(agent, city=city, project="ELSEWHERE") == []


async def test_values_that_nothing_has_find_nothing_and_those_that_cannot_be_are_refused(world: World) -> None:
    for name in ("region", "project", "city", "area", "tag"):
        assert await ids(world.caller, **{name: "没有"}) == []
    for name in ("category", "stage", "status", "grade", "escalation_level", "channel", "breached"):
        answer = await world.caller.get(f"/v1/cases?{name}=nothing")
        assert codes([answer]) == ["invalid_parameter"]
        assert answer.json()["errors"][0]["parameter"] == name
    for name in ("opened_from", "opened_to", "updated_since"):
        for value in ("2026-01-15", "2026-01-15T00:00:00", "x", ""):
            assert codes([await world.caller.get(f"/v1/cases?{name}={value}")]) == ["invalid_parameter"]
