"""A 304 hides nothing: no deadline that passed, no change of a case, the directory or a policy, nobody else's view."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from services.commands import DescribeProject
from services.directory import Directory
from services.registrar import Registrar
from tests.contract.house import RESPONSE, Caller, House, codes
from tests.contract.lists import clock, ids
from tests.unit.test_policy_documents import document

pytestmark = pytest.mark.anyio
DUE = datetime(2026, 1, 15, 9, 5, tzinfo=UTC)
_TICK = timedelta(microseconds=1)


class Poller:
    """Asks one address again and again, and keeps what it was told, as a dashboard does."""

    def __init__(self, caller: Caller, path: str) -> None:
        self._caller, self._path = caller, path
        self.tag = ""
        self.items: list[dict[str, Any]] = []

    async def polls(self) -> int:
        """Ask once; the status."""
        answer: httpx.Response = await self._caller.get(self._path, if_none_match=self.tag)
        if answer.status_code == 200:
            assert answer.headers["etag"] != self.tag
            self.tag, self.items = answer.headers["etag"], answer.json()["items"]
        assert answer.headers["cache-control"] == "private, no-cache"
        assert answer.headers["vary"] == "Authorization, Accept-Language"
        return answer.status_code


async def test_nothing_changed_is_304_whatever_else_is_written(house: House) -> None:
    region, other = await house.region(), await house.region()
    poller = Poller(house.caller("dashboard", region), "/v1/cases?breached=true")
    await house.agent(region).case(region)
    assert [await poller.polls() for _ in range(3)] == [200, 304, 304]
    await house.agent(other).case(other)
    assert await poller.polls() == 304


async def test_a_deadline_that_passes_is_told_with_no_write_at_all(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    due = datetime.now(UTC) + timedelta(seconds=1.2)
    case = await agent.case(region, obtained_at=(due - timedelta(hours=1)).isoformat())
    late, timely = Poller(agent, "/v1/cases?breached=true"), Poller(agent, "/v1/cases?breached=false")
    statuses = [(await late.polls(), await timely.polls()) for _ in range(3)]
    assert (statuses, late.items, len(timely.items)) == ([(200, 200), (304, 304), (304, 304)], [], 1)
    while datetime.now(UTC) <= due:
        assert await late.polls() == 304 or datetime.now(UTC) > due
        await asyncio.sleep(0.05)
    assert (await late.polls(), await timely.polls()) in ((200, 200), (304, 200))
    assert ([item["case_id"] for item in late.items], timely.items) == ([case["case_id"]], [])


async def test_a_deadline_is_exact(house: House) -> None:
    region = await house.region()
    manager = house.manager(region)
    await manager.case(region)
    later = (DUE - timedelta(minutes=50)).isoformat()
    await manager.case(region, obtained_at=later, household="4-1-101")
    poller = Poller(manager, "/v1/cases?breached=true")
    found = []
    for now in (DUE - timedelta(days=1), DUE - _TICK, DUE, DUE + _TICK, DUE + timedelta(minutes=10)):
        with clock(house, now):
            found.append((await poller.polls(), len(poller.items)))
    assert found == [(200, 0), (304, 0), (304, 0), (200, 1), (304, 1)]
    with clock(house, DUE + timedelta(minutes=10) + _TICK):
        assert (await poller.polls(), len(poller.items)) == (200, 2)


async def test_what_the_directory_says_is_told_when_it_begins_to_hold(house: House) -> None:
    region = await house.region(managers={"project": {"name": "孙六"}})
    agent, admin = house.agent(region), house.caller("admin")
    await agent.case(region)
    poller = Poller(agent, "/v1/cases")
    assert [await poller.polls(), await poller.polls()] == [200, 304]
    changed = {"name": "一号院", "region": region, "managers": {"project": {"name": "周七"}}}
    assert codes([await admin.put(f"/v1/projects/{region}-1", changed)]) == [200]
    assert await poller.polls() == 200
    assert poller.items[0]["responsible"]["name"] == "周七"
    begins = datetime(2027, 3, 1, tzinfo=UTC)
    later = {**changed, "managers": {"project": {"name": "吴八"}}, "valid_from": begins.isoformat()}
    assert codes([await admin.put(f"/v1/projects/{region}-1", later)]) == [200]
    for now, status, name in ((begins - _TICK, 304, "周七"), (begins, 200, "吴八")):
        with clock(house, now):
            assert await poller.polls() == status
            assert poller.items[0]["responsible"]["name"] == name


async def test_a_day_that_begins_is_told_where_days_count(house: House) -> None:
    region = await house.region(
        handover_started_at="2025-01-01T00:00:00+08:00", handover_finished_at="2025-07-15T00:00:00+08:00"
    )
    agent = house.agent(region)
    await agent.case(region)
    poller, midnight = Poller(agent, "/v1/cases"), datetime(2026, 1, 15, 16, tzinfo=UTC)
    for now, expected in ((midnight - _TICK, (200, True)), (midnight, (200, False))):
        with clock(house, now):
            assert (await poller.polls(), poller.items[0]["in_concentrated_warranty"]) == expected


async def test_a_move_that_another_process_recorded_is_known_to_a_list_by_city(house: House) -> None:
    region = await house.region(city="佛山")
    agent, services = house.agent(region), house.services
    case = (await agent.case(region))["case_id"]
    assert await ids(agent, city="佛山") == [case]
    directory = Directory(services.log)
    await directory.refresh()
    elsewhere = Registrar(services.log, services.vault, directory)
    admin = services.tokens.caller(f"Bearer {house.caller('admin').token}")
    await elsewhere.describe_project(f"{region}-1", DescribeProject(name="一", region=region, city="广州"), admin)
    position = directory.position
    assert services.directory.position < position
    moved, left = (f"/v1/cases?city={city}&min_position={position}" for city in ("广州", "佛山"))
    assert [item["case_id"] for item in (await agent.get(moved)).json()["items"]] == [case]
    assert (await agent.get(left)).json()["items"] == []


async def test_a_policy_that_is_published_is_known_at_once(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    poller = Poller(agent, "/v1/cases?grade=A-2&grade=ungraded")
    assert [await poller.polls(), await poller.polls()] == [200, 304]
    assert codes([await agent.get("/v1/cases?grade=P-9")]) == ["invalid_parameter"]
    draft = {**document(), "version": "V-polled", "effective_from": "2098-01-01T00:00:00Z"}
    draft["grades"] = [
        {**grade, "code": "P-9" if grade["code"] == "A-2" else grade["code"]} for grade in draft["grades"]
    ]
    published = await house.caller("admin").post("/v1/policies", draft)
    assert published.status_code == 201, published.text
    assert codes([await agent.get("/v1/cases?grade=P-9")]) == [200]
    # It judges cases to come: of this one nothing changed, and nothing is hidden.
    assert await poller.polls() == 304
    assert [item["case_id"] for item in (await agent.get("/v1/cases")).json()["items"]] == [case["case_id"]]


async def test_nobody_is_told_304_for_another_s_view(house: House) -> None:
    region, other = await house.region(), await house.region()
    await house.agent(region).case(region)
    await house.agent(other).case(other)
    callers = [house.agent(region), house.caller("dashboard", region), house.agent(other), house.agent(region, other)]
    tags: list[str] = []
    for caller in callers:
        for tag in tags:
            assert (await caller.get("/v1/cases", if_none_match=tag)).status_code == 200
        tags.append((await caller.get("/v1/cases")).headers["etag"])
        assert (await caller.get("/v1/cases", if_none_match=tags[-1])).status_code == 304
    assert len(set(tags)) == len(tags)
    # A role that is shown the same has the same tag, and so has a language in which nothing differs.
    assert (await house.manager(region).get("/v1/cases", if_none_match=tags[0])).status_code == 304
    assert (await callers[0].get("/v1/cases", if_none_match=tags[0], accept_language="en")).status_code == 304
    refused = [await callers[0].get("/v1/cases?limit=0", accept_language=language) for language in ("zh", "en")]
    assert refused[0].text != refused[1].text


async def test_a_case_that_a_link_changes_is_told(house: House) -> None:
    region = await house.region()
    manager = house.manager(region)
    target = await manager.case(region, category="marketing", household="1-1-101")
    source = await manager.case(region, household="2-2-202")
    await manager.act(target, "responded", **RESPONSE)
    poller = Poller(manager, "/v1/cases?category=marketing")
    assert [await poller.polls(), poller.items[0]["household_count"]] == [200, 1]
    linked = await manager.act(source, "linked", case=target["case_no"], kind="merged_into", reason="同源")
    assert linked.status_code == 201, linked.text
    assert [await poller.polls(), poller.items[0]["household_count"]] == [200, 2]
    answered = await manager.act(source, "responded", **RESPONSE)
    assert answered.status_code == 201, answered.text
    # The target is told although the action is the source's: now everybody has been answered.
    assert [await poller.polls(), poller.items[0]["status"]] == [200, "responded"]
    await manager.act(source, "unlinked", case=target["case_no"], kind="merged_into", reason="并非同源")
    assert [await poller.polls(), poller.items[0]["household_count"]] == [200, 1]


async def test_100_who_ask_the_same_after_one_write_cost_one_look(house: House) -> None:
    region = await house.region()
    agents = [house.agent(region, subject=f"desk-{number}") for number in range(100)]
    await agents[0].case(region)
    await agents[0].get("/v1/cases")
    for _ in range(3):
        opened = await agents[0].case(region)
        looks = house.services.views.looks
        answers = await asyncio.gather(*(agent.get("/v1/cases") for agent in agents))
        assert house.services.views.looks == looks + 1
        assert {answer.json()["items"][0]["case_id"] for answer in answers} == {opened["case_id"]}
    looks = house.services.views.looks
    tag = answers[0].headers["etag"]
    again = await asyncio.gather(*(agent.get("/v1/cases", if_none_match=tag) for agent in agents))
    assert {answer.status_code for answer in again} == {304}
    assert house.services.views.looks == looks
