"""What is owed and what is late, over all cases: right to the microsecond, with no job having run."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from tests.contract.house import Caller, House, codes
from tests.contract.test_the_whole_life_of_a_case import CONTACT, Story, day, story, up_to_closure

pytestmark = pytest.mark.anyio

TICK = timedelta(microseconds=1)
OBTAINED = datetime(2026, 3, 1, 8, tzinfo=UTC)
DUE = OBTAINED + timedelta(hours=1)

Duty = dict[str, Any]
Clock = Callable[[datetime], None]


@pytest.fixture
def at(house: House, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Sets what time it is for who reads."""

    def turn(now: datetime) -> None:
        monkeypatch.setattr(house.services, "now", lambda: now)

    return turn


def _written(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


async def _items(caller: Caller, path: str) -> list[Duty]:
    answer = await caller.get(path)
    assert answer.status_code == 200, answer.text
    found: list[Duty] = answer.json()["items"]
    return found


async def _states(told: Story, query: str = "") -> list[str]:
    return [one["state"] for one in await _items(told.caller, f"/v1/duties{query}") if one["duty"] == "respond"]


async def test_at_exactly_its_time_a_duty_is_pending_and_a_microsecond_later_overdue(house: House, at: Clock) -> None:
    told = await story(house, obtained_at=_written(OBTAINED))
    for limit, (now, state) in enumerate(((OBTAINED, "pending"), (DUE, "pending"), (DUE + TICK, "overdue")), 50):
        at(now)
        # No answer that was kept for another instant.
        own = f"?limit={limit}"
        assert await _states(told, own) == [state]
        for asked in ("pending", "overdue"):
            for also in ("", "&state=met_late", "&state=void"):
                assert await _states(told, f"{own}&state={asked}{also}") == ([state] if asked == state else [])
        late = await _items(told.caller, f"/v1/breaches{own}")
        assert [one["overdue_seconds"] for one in late] == ([None] if state == "overdue" else [])
        was = [await _states(told, f"{own}&was_overdue={said}") for said in ("true", "false")]
        assert was == ([[state], []] if state == "overdue" else [[], [state]])


@pytest.mark.parametrize(("late_by", "state", "seconds"), [(-TICK, "met", 0), (TICK * 0, "met", 0)])
async def test_an_answer_up_to_its_very_time_is_in_time(
    house: House, late_by: timedelta, state: str, seconds: int
) -> None:
    told = await story(house, obtained_at=_written(OBTAINED))
    await told.act("responded", _written(DUE + late_by), complaints="all", contact_person=CONTACT)
    (met,) = await _items(told.caller, f"/v1/duties?state={state}")
    assert (met["met_at"], met["overdue_seconds"], met["was_overdue"]) == (_written(DUE + late_by), seconds, True)
    assert await _items(told.caller, "/v1/breaches") == []
    assert await _states(told, "?state=met_late&state=pending") == []
    # Not late, but as recorded then it stood overdue.
    assert await _states(told, "?was_overdue=true") == ["met"]


@pytest.mark.parametrize("late_by", [TICK, timedelta(seconds=61, microseconds=5)])
async def test_an_answer_after_its_time_is_late_for_ever(house: House, late_by: timedelta) -> None:
    told = await story(house, obtained_at=_written(OBTAINED))
    await told.act("responded", _written(DUE + late_by), complaints="all", contact_person=CONTACT)
    for path in ("/v1/breaches", "/v1/breaches?state=met_late", "/v1/duties?state=met_late"):
        (late,) = await _items(told.caller, path)
        assert (late["state"], late["overdue_seconds"]) == ("met_late", late_by // timedelta(seconds=1))
    assert await _items(told.caller, "/v1/breaches?state=overdue") == []


async def test_a_kept_answer_and_a_304_end_with_the_time_of_a_duty(house: House, at: Clock) -> None:
    told = await story(house, obtained_at=_written(OBTAINED))
    for path in ("/v1/breaches?count=true", "/v1/duties?count=true"):
        at(OBTAINED)
        first = await told.caller.get(path)
        looks = house.services.views.looks
        at(DUE)
        kept = await told.caller.get(path, if_none_match=first.headers["etag"])
        assert (kept.status_code, house.services.views.looks) == (304, looks)
        at(DUE + TICK)
        later = await told.caller.get(path, if_none_match=first.headers["etag"])
        assert (later.status_code, house.services.views.looks) == (200, looks + 1)
        assert later.headers["etag"] != first.headers["etag"]
        at(DUE + timedelta(days=1))
        # No body ticks by itself.
        again = await told.caller.get(path, if_none_match=later.headers["etag"])
        assert again.status_code == 304


async def test_a_deadline_passes_while_one_polls(house: House) -> None:
    """In real time, with no write and no job in between."""
    due = datetime.now(UTC) + timedelta(seconds=1.5)
    told = await story(house, obtained_at=_written(due - timedelta(hours=1)))
    tag, seen = "", []
    while datetime.now(UTC) < due + timedelta(seconds=0.5):
        asked_at = datetime.now(UTC)
        answer = await told.caller.get("/v1/breaches", if_none_match=tag)
        answered_at = datetime.now(UTC)
        if answer.status_code == 200:
            tag = answer.headers["etag"]
            seen.append([one["due_at"] for one in answer.json()["items"]])
        assert seen[-1] == [] or answered_at > due
        assert seen[-1] != [] or asked_at <= due
        await asyncio.sleep(0.02)
    assert seen == [[], [_written(due)]]


async def test_what_was_taken_back_is_listed_as_void_and_never_late(house: House) -> None:
    told = await story(house, obtained_at=_written(OBTAINED))
    wrong = await told.act("received", day(2), channel="app", household="9-9")
    assert len(await _items(told.caller, "/v1/breaches")) == 2
    await told.act("corrected", action=wrong["action_id"], retract=True, reason="误录")
    assert [one["due_at"] for one in await _items(told.caller, "/v1/breaches")] == [_written(DUE)]
    (void,) = await _items(told.caller, "/v1/duties?state=void")
    assert (void["complaint_id"], void["overdue_seconds"], void["was_overdue"]) == (wrong["complaint_id"], 0, False)
    assert await _states(told, "?was_overdue=false") == ["void"]
    assert sorted(await _states(told)) == ["overdue", "void"]


class World(NamedTuple):
    """Two regions with all kinds of duties, and each case's own duties."""

    regions: tuple[str, str]
    caller: Caller
    duties: list[Duty]
    # Of each duty where it lies.
    project: dict[str, str]


@pytest.fixture(scope="module")
async def world(house: House) -> World:
    regions = (await house.region(city="佛山", area="粤东"), await house.region(city="珠海", area="粤东"))
    admin = house.caller("admin")
    for region in regions:
        body = {"name": "二期", "region": region, "city": "佛山"}
        assert (await admin.put(f"/v1/projects/{region}-2", body)).status_code == 200
    caller = house.manager(*regions)
    cases: dict[str, str] = {}
    for number in range(16):
        region = regions[number % 2]
        project = f"{region}-{1 + number // 2 % 2}"
        case = await caller.case(region, project=project, obtained_at=day(1 + number))
        told = Story(caller, case)
        cases[case["case_id"]] = project
        if number % 4 == 0:
            answered = day(1 + number, 8, 59) if number % 8 else day(1 + number, 9, 1)
            await told.act("responded", answered, complaints="all", contact_person=CONTACT)
        if number % 4 == 1:
            wrong = await told.act("received", day(1 + number, 10), channel="app", household="9-9")
            await told.act("corrected", action=wrong["action_id"], retract=True, reason="误录")
        if number == 2:
            # What answers a complaint may be known before the complaint itself.
            await told.act("responded", day(5), complaints="all", contact_person=CONTACT)
            await told.act("received", day(5, 7, 30), channel="app", household="8-8")
        if number in (4, 5):
            await up_to_closure(told, 10)
        if number == 5:
            await told.act("reopened", day(20), reason="再漏")
            await told.act("received", day(21), channel="app", household="7-7")
    # One that is still in time, and one that was answered in time, as recorded then too.
    for region in regions:
        case = await caller.case(region, obtained_at=_written(datetime.now(UTC) - timedelta(minutes=5)))
        cases[case["case_id"]] = f"{region}-1"
        now = _written(datetime.now(UTC))
        wrong = await Story(caller, case).act("received", now, channel="app", household="9-9")
        await Story(caller, case).act("corrected", action=wrong["action_id"], retract=True, reason="误录")
    await Story(caller, case).act("responded", _written(datetime.now(UTC)), complaints="all", contact_person=CONTACT)
    duties = [one for case_id in cases for one in (await Story(caller, {"case_id": case_id}).seen())["duties"]]
    return World(regions, caller, duties, cases)


def _due(one: Duty) -> str:
    return one["due_at"] or "9"


FILTERS: dict[str, Callable[[Duty, World], bool]] = {
    "": lambda one, world: True,
    "state=pending": lambda one, world: one["state"] == "pending",
    "state=overdue": lambda one, world: one["state"] == "overdue",
    "state=met": lambda one, world: one["state"] == "met",
    "state=met_late": lambda one, world: one["state"] == "met_late",
    "state=void": lambda one, world: one["state"] == "void",
    "state=pending&state=met_late": lambda one, world: one["state"] in ("pending", "met_late"),
    "state=void&state=overdue&state=met": lambda one, world: one["state"] in ("void", "overdue", "met"),
    "duty=respond": lambda one, world: one["duty"] == "respond",
    "duty=record_lesson&duty=hold_accountable": lambda one, world: one["duty"] != "respond",
    "was_overdue=true": lambda one, world: one["was_overdue"],
    "was_overdue=false": lambda one, world: not one["was_overdue"],
    "was_overdue=true&state=met": lambda one, world: one["was_overdue"] and one["state"] == "met",
    "region={0}": lambda one, world: world.project[one["case_id"]].startswith(world.regions[0]),
    "region={0}&region={1}&region=NOWHERE": lambda one, world: True,
    "region=NOWHERE": lambda one, world: False,
    "project={0}-2": lambda one, world: world.project[one["case_id"]] == f"{world.regions[0]}-2",
    "project={0}-2&project={1}-1": lambda one, world: (
        world.project[one["case_id"]] in (f"{world.regions[0]}-2", f"{world.regions[1]}-1")
    ),
    "project={0}-2&region={1}": lambda one, world: False,
    "city=佛山": lambda one, world: world.project[one["case_id"]] != f"{world.regions[1]}-1",
    "city=珠海": lambda one, world: world.project[one["case_id"]] == f"{world.regions[1]}-1",
    "area=粤东": lambda one, world: world.project[one["case_id"]].endswith("-1"),
    "area=粤东&city=佛山": lambda one, world: world.project[one["case_id"]] == f"{world.regions[0]}-1",
    "from={5}": lambda one, world: "9" > _due(one) >= day(5, 9),
    "to={5}": lambda one, world: _due(one) < day(5, 9),
    "from={5}&to={9}": lambda one, world: day(5, 9) <= _due(one) < day(9, 9),
    "due_before={5}": lambda one, world: _due(one) < day(5, 9),
}
BOUNDS = {f"{{{number}}}": day(number, 9) for number in (5, 9)}


def _filled(query: str, world: World) -> str:
    for place, text in {"{0}": world.regions[0], "{1}": world.regions[1], **BOUNDS}.items():
        query = query.replace(place, text)
    return "&".join(f"{name}={quote(value)}" for name, _, value in (part.partition("=") for part in query.split("&")))


@pytest.mark.parametrize("order", ["", "due_at", "-due_at"])
@pytest.mark.parametrize("query", FILTERS)
async def test_each_filter_alone_and_each_order_agree_with_the_cases_themselves(
    world: World, query: str, order: str
) -> None:
    asked = f"&{_filled(query, world)}" if query else ""
    answer = await world.caller.get(f"/v1/duties?limit=500&count=true{asked}{order and f'&sort={order}'}")
    assert answer.status_code == 200, answer.text
    items, wanted = answer.json()["items"], [one for one in world.duties if FILTERS[query](one, world)]
    assert answer.json()["total"] == len(items)
    assert sorted(items, key=_name) == sorted(wanted, key=_name)
    assert bool(wanted) != (query in ("region=NOWHERE", "project={0}-2&region={1}"))
    timed = [one["due_at"] for one in items if one["due_at"]]
    assert timed == sorted(timed, reverse=order == "-due_at")
    # What has no time comes last, whichever way.
    assert [one["due_at"] for one in items[len(timed) :]] == [None] * (len(items) - len(timed))


@pytest.mark.parametrize("query", [q for q in FILTERS if "was_overdue" not in q and "due_before" not in q])
async def test_breaches_are_the_late_ones_of_them_those_due_last_first(world: World, query: str) -> None:
    asked = f"&{_filled(query, world)}" if query else ""
    answer = await world.caller.get(f"/v1/breaches?limit=500&count=true{asked}")
    if re.search(r"state=(pending|met|void)\b", query):
        assert codes([answer]) == ["invalid_parameter"]
        return
    late = [one for one in world.duties if one["state"] in ("overdue", "met_late") and FILTERS[query](one, world)]
    items = answer.json()["items"]
    assert sorted(items, key=_name) == sorted(late, key=_name)
    assert answer.json()["total"] == len(late)
    assert [one["due_at"] for one in items] == sorted((one["due_at"] for one in items), reverse=True)


def _name(one: Duty) -> tuple[str, ...]:
    return (one["case_id"], one["duty"], str(one["cycle"]), one["complaint_id"] or "")


def test_the_world_has_every_state_and_cycle(world: World) -> None:
    assert {one["state"] for one in world.duties} == {"pending", "met", "overdue", "met_late", "void"}
    assert {one["cycle"] for one in world.duties} == {1, 2}
    assert {one["due_at"] is None for one in world.duties if one["state"] == "pending"} == {True, False}
    assert {one["was_overdue"] for one in world.duties if one["state"] == "met"} == {True, False}


async def _pages(caller: Caller, path: str) -> AsyncIterator[list[Duty]]:
    cursor = ""
    while True:
        page = (await caller.get(f"{path}&limit=3{cursor}")).json()
        yield page["items"]
        if page["next_cursor"] is None:
            return
        cursor = f"&cursor={page['next_cursor']}"


@pytest.mark.parametrize("sort", ["due_at", "-due_at"])
@pytest.mark.parametrize("path", ["/v1/duties", "/v1/breaches"])
async def test_each_duty_is_seen_once_while_others_come_and_go(house: House, path: str, sort: str) -> None:
    told = await story(house, obtained_at=day(1))
    # Some of one instant.
    for number in range(11):
        await told.act("received", day(2 + number // 3), channel="app", household=f"1-{number}")
    await up_to_closure(told, 20, ("3-1-201", *(f"1-{number}" for number in range(11))))
    stays = {_name(one) for one in await _items(told.caller, f"{path}?limit=500")}
    seen: list[tuple[str, ...]] = []
    async for items in _pages(told.caller, f"{path}?sort={sort}"):
        seen += [_name(one) for one in items]
        await told.caller.case(told.case["region"], obtained_at=day(4))
        passing = await told.caller.case(told.case["region"], obtained_at=day(3))
        await Story(told.caller, passing).act("responded", day(3), complaints="all", contact_person=CONTACT)
    assert len(seen) == len(set(seen))
    assert stays <= set(seen)


async def test_pages_of_several_regions_and_without_times_are_whole(world: World) -> None:
    for path in ("/v1/duties?sort=due_at", "/v1/duties?sort=-due_at", "/v1/duties?state=pending&state=met"):
        seen = [_name(one) async for items in _pages(world.caller, path) for one in items]
        assert seen == [_name(one) for one in await _items(world.caller, f"{path}&limit=500")]


async def test_another_region_s_duties_show_nowhere(house: House) -> None:
    mine, foreign = await house.region(), await house.region()
    await house.agent(foreign).case(foreign)
    agent = house.agent(mine)
    for path in ("/v1/duties?count=true", "/v1/breaches?count=true"):
        answers = [await agent.get(f"{path}{more}") for more in ("", f"&region={foreign}", f"&project={foreign}-1")]
        assert [one.json() for one in answers] == [{"items": [], "next_cursor": None, "total": 0}] * 3
        assert answers[1].headers["etag"] == (await agent.get(f"{path}&region=NOWHERE")).headers["etag"]
        before = answers[0].headers["etag"]
        await house.agent(foreign).case(foreign)
        assert (await agent.get(path, if_none_match=before)).status_code == 304
        cursor = (await house.agent(foreign).get(f"{path}&limit=1")).json()["next_cursor"]
        assert (await agent.get(f"{path}&cursor={cursor}")).status_code == 422
        nobody = Caller(house.client, house.services.tokens.issue("agent", [], "region", None, 1), "agent")
        assert (await nobody.get(path)).json()["total"] == 0


async def test_a_foreign_deadline_moves_no_tag(house: House, at: Clock) -> None:
    mine, foreign = await house.region(), await house.region()
    await house.agent(foreign).case(foreign, obtained_at=_written(OBTAINED))
    agent = house.agent(mine)
    at(OBTAINED)
    before = await agent.get("/v1/breaches?count=true")
    looks = house.services.views.looks
    at(DUE + TICK)
    after = await agent.get("/v1/breaches?count=true", if_none_match=before.headers["etag"])
    assert (after.status_code, house.services.views.looks) == (304, looks)


async def test_who_owes_it_is_named_but_not_to_a_dashboard(house: House) -> None:
    told = await story(house, obtained_by="客服中心")
    region = told.case["region"]
    body = {"name": "区域", "customer_relations_executive": {"name": "陈主管", "phone": "13900000000"}}
    assert (await house.caller("admin").put(f"/v1/regions/{region}", body)).status_code == 200
    await up_to_closure(told)
    owed = {one["duty"]: one["owed_by"] for one in await _items(told.caller, "/v1/duties")}
    assert (owed["respond"], owed["hold_accountable"]) == ("客服中心", "陈主管")
    masked = {one["duty"]: one["owed_by"] for one in await _items(house.caller("dashboard", region), "/v1/duties")}
    assert (masked["respond"], masked["hold_accountable"]) == ("客服中心", None)
    # Who it is now.
    body = {"name": "区域", "customer_relations_executive": {"name": "周主管", "phone": "13900000001"}}
    assert (await house.caller("admin").put(f"/v1/regions/{region}", body)).status_code == 200
    owed = {one["duty"]: one["owed_by"] for one in await _items(told.caller, "/v1/duties")}
    assert owed["hold_accountable"] == "周主管"


async def test_a_project_that_moves_takes_its_duties_along(house: House) -> None:
    region = await house.region(city="东城")
    agent = house.agent(region)
    await agent.case(region)
    assert len(await _items(agent, f"/v1/breaches?city={quote('东城')}")) == 1
    body = {"name": "一期", "region": region, "city": "西城"}
    assert (await house.caller("admin").put(f"/v1/projects/{region}-1", body)).status_code == 200
    found = [len(await _items(agent, f"/v1/breaches?city={quote(city)}")) for city in ("东城", "西城")]
    assert found == [0, 1]


async def test_a_project_that_another_process_moved_lies_where_it_lies_now(house: House) -> None:
    region = await house.region(city="东城")
    agent, directory = house.agent(region), house.services.directory
    await agent.case(region)
    before = directory.position, dict(directory.projects)
    body = {"name": "一期", "region": region, "city": "西城"}
    assert (await house.caller("admin").put(f"/v1/projects/{region}-1", body)).status_code == 200
    # As if this process had not heard of it yet.
    directory.position, directory.projects = before
    assert len(await _items(agent, f"/v1/breaches?city={quote('西城')}")) == 1


BAD_QUERIES = {
    "/v1/breaches?state=met": "invalid_parameter",
    "/v1/breaches?state=late": "invalid_parameter",
    "/v1/breaches?due_before=2026-03-01T00:00:00Z": "unknown_parameter",
    "/v1/breaches?was_overdue=true": "unknown_parameter",
    "/v1/breaches?category=engineering": "unknown_parameter",
    "/v1/breaches?sort=met_at": "invalid_parameter",
    "/v1/breaches?cursor=x": "invalid_parameter",
    "/v1/duties?state=": "invalid_parameter",
    "/v1/duties?duty=nap": "invalid_parameter",
    "/v1/duties?was_overdue=yes": "invalid_parameter",
    "/v1/duties?was_overdue=true&was_overdue=false": "invalid_parameter",
    "/v1/duties?from=2026-03-01": "invalid_parameter",
    "/v1/duties?to=2026-03-01T00:00:00": "invalid_parameter",
    "/v1/duties?due_before=": "invalid_parameter",
    "/v1/duties?sort=-": "invalid_parameter",
    "/v1/duties?limit=501": "invalid_parameter",
    "/v1/duties?min_position=-1": "invalid_parameter",
    "/v1/duties?as_of=2026-03-01T00:00:00Z": "unknown_parameter",
}


@pytest.mark.parametrize("path", BAD_QUERIES)
async def test_a_query_that_is_wrong_is_refused_and_its_parameter_named(house: House, path: str) -> None:
    answer = await house.agent("X").get(path)
    assert (answer.status_code, codes([answer])) == (422, [BAD_QUERIES[path]])
    assert path.partition("?")[2].partition("=")[0] == answer.json()["errors"][0]["parameter"]


async def test_a_cursor_belongs_to_its_list_and_its_filters(world: World) -> None:
    cursor = (await world.caller.get("/v1/duties?limit=1&state=overdue")).json()["next_cursor"]
    paths = ("/v1/duties?", "/v1/duties?state=met&", "/v1/breaches?state=overdue&", "/v1/duties?state=overdue&")
    answers = [await world.caller.get(f"{path}cursor={cursor}") for path in paths]
    assert codes(answers) == [*["invalid_parameter"] * 3, 200]
