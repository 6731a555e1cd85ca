"""Sums over cases: each number of a small ledger whose table stands here, and who may ask for what."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tests.contract.house import RESPONSE, Caller, House, codes

pytestmark = pytest.mark.anyio

NAMES = (
    *("opened", "closed", "reopened", "open", "household_count"),
    *("duties_due", "duties_pending", "breaches", "responded_in_time", "responses_due"),
    *("closed_share", "breached_share", "responded_in_time_share"),
    *("median_seconds_to_respond", "p90_seconds_to_respond"),
)
NOTHING = (*(0,) * 10, *(None,) * 5)


async def summed(caller: Caller, query: str = "") -> list[tuple[Any, ...]]:
    """The items as rows: their dimensions, then the numbers."""
    found = await caller.get(f"/v1/summary?{query}" if query else "/v1/summary")
    assert found.status_code == 200, found.text
    return [
        (*(value for name, value in item.items() if name not in NAMES), *(item[name] for name in NAMES))
        for item in found.json()["items"]
    ]


async def filled(house: House) -> tuple[str, Caller]:
    """Four cases in two projects.

    One has two households, one answered after 35 minutes, the other after 90 (30 too late); one is closed by decision;
    one waits for its answer, overdue; one is void.
    """
    home, admin = await house.region(city="佛山", area="大湾区"), house.caller("admin")
    second = {"name": "二期", "region": home, "area": "大湾区"}
    assert (await admin.put(f"/v1/projects/{home}-2", second)).status_code == 200
    manager = house.manager(home)
    answered = await manager.case(home, tags=["外墙"])
    more = {"obtained_at": "2026-01-15T16:00:00+08:00", "channel": "app", "household": "3-1-301"}
    await _done(manager, answered, "received", **more)
    contact = {"contact_person": RESPONSE["contact_person"]}
    await _done(
        manager, answered, "responded", households=["3-1-201"], contacted_at="2026-01-15T16:40:00+08:00", **contact
    )
    await _done(
        manager, answered, "responded", households=["3-1-301"], contacted_at="2026-01-15T17:30:00+08:00", **contact
    )
    risk = await manager.case(home, stage="risk", category="marketing", occurred_at="2026-02-28T16:00:00Z")
    await _done(manager, risk, "closed", decision="已消除", recurrence_expected=False)
    await manager.case(home, project=f"{home}-2", title="地下车库渗漏", channel="media")
    void = await manager.case(home)
    opening = (await manager.get(f"/v1/cases/{void['case_id']}/actions")).json()["items"][0]
    await _done(manager, void, "corrected", action=opening["action_id"], retract=True, reason="重复录入")
    return home, manager


async def _done(caller: Caller, case: dict[str, Any], kind: str, **fields: Any) -> None:
    done = await caller.act(case, kind, **fields)
    assert done.status_code == 201, done.text


# What the three cases that count add up to, alone and together.
ANSWERED = (1, 0, 0, 1, 2, 2, 0, 1, 1, 2, "0.0000", "0.5000", "0.5000", 2100, 5400)
CLOSED = (1, 1, 0, 0, 0, 0, 0, 0, 0, 0, "1.0000", None, None, None, None)
WAITING = (1, 0, 0, 1, 1, 1, 0, 1, 0, 1, "0.0000", "1.0000", "0.0000", None, None)
FIRST = (2, 1, 0, 1, 2, 2, 0, 1, 1, 2, "0.5000", "0.5000", "0.5000", 2100, 5400)
OPEN = (2, 0, 0, 2, 3, 3, 0, 2, 1, 3, "0.0000", "0.6667", "0.3333", 2100, 5400)
WHOLE = (3, 1, 0, 2, 3, 3, 0, 2, 1, 3, "0.3333", "0.6667", "0.3333", 2100, 5400)


async def test_each_number_of_a_small_ledger_by_each_dimension(house: House) -> None:
    home, manager = await filled(house)
    expected: dict[str, list[tuple[Any, ...]]] = {
        "": [WHOLE],
        "region": [(home, *WHOLE)],
        "area": [("大湾区", *WHOLE)],
        "city": [("佛山", *FIRST), (None, *WAITING)],
        "city,region": [("佛山", home, *FIRST), (None, home, *WAITING)],
        "project": [(f"{home}-1", *FIRST), (f"{home}-2", *WAITING)],
        "category": [("engineering", *OPEN), ("marketing", *CLOSED)],
        "stage": [("complaint", *OPEN), ("risk", *CLOSED)],
        "status": [("closed", *CLOSED), ("open", *WAITING), ("responded", *ANSWERED)],
        "grade": [("ungraded", *WHOLE)],
        "month,category": [
            ("2026-01", "engineering", *OPEN),
            ("2026-03", "marketing", *CLOSED),
        ],
    }
    everything = "opened_from=2020-01-01T00:00:00Z"
    for by, items in expected.items():
        query = f"group_by={by}" if by else ""
        # From the kept sums, and from the cases themselves.
        assert await summed(manager, query) == items, by
        assert await summed(manager, f"{query}&{everything}") == items, by


async def test_each_filter_leaves_out_what_it_leaves_out_of_a_list(house: House) -> None:
    home, manager = await filled(house)
    expected: dict[str, list[tuple[Any, ...]]] = {
        f"region={home}": [WHOLE],
        "region=XX": [NOTHING],
        f"project={home}-1": [FIRST],
        "city=%E4%BD%9B%E5%B1%B1": [FIRST],
        "city=nowhere": [NOTHING],
        "area=%E5%A4%A7%E6%B9%BE%E5%8C%BA&category=engineering": [OPEN],
        "stage=risk&stage=warning": [CLOSED],
        "status=open": [WAITING],
        "status=void": [NOTHING],
        "grade=A-1": [NOTHING],
        "breached=true": [OPEN],
        "breached=false": [CLOSED],
        "escalation_level=none": [WHOLE],
        "channel=media": [WAITING],
        "tag=%E5%A4%96%E5%A2%99": [ANSWERED],
        "q=%E6%B8%97%E6%BC%8F": [WAITING],
        "q=%E5%A4%96%E5%A2%99": [FIRST],
        "opened_from=2026-02-01T00:00:00Z&opened_to=2026-03-01T00:00:00Z": [CLOSED],
        "updated_since=2026-02-01T00:00:00Z": [WHOLE],
    }
    for query, items in expected.items():
        assert await summed(manager, query) == items, query
    by_word = "group_by=project,stage&q=%E5%A4%96%E5%A2%99"
    assert await summed(manager, by_word) == [
        (f"{home}-1", "complaint", *ANSWERED),
        (f"{home}-1", "risk", *CLOSED),
    ]


async def test_other_regions_are_as_absent_and_texts_as_closed_as_elsewhere(house: House) -> None:
    home, _ = await filled(house)
    other = await house.region()
    assert await summed(house.manager(other), f"region={home}&region={other}") == [NOTHING]
    assert await summed(house.manager(other), f"project={home}-1&group_by=project") == []
    assert await summed(house.manager(other), "city=%E4%BD%9B%E5%B1%B1&group_by=city") == []
    dashboard = house.caller("dashboard", home)
    assert await summed(dashboard) == [WHOLE]
    # A title that may not be read is not searched; a tag is.
    assert await summed(dashboard, "q=%E6%B8%97%E6%BC%8F") == [NOTHING]
    assert await summed(dashboard, "q=%E5%A4%96%E5%A2%99") == [ANSWERED]


async def test_its_tag_changes_with_its_numbers_and_when_a_duty_falls_due(house: House) -> None:
    home = await house.region()
    manager = house.manager(home)
    now = house.services.now()
    soon = now - timedelta(hours=1) + timedelta(seconds=1.5)
    case = await manager.case(home, obtained_at=soon.isoformat(), occurred_at=None)
    first = await manager.get("/v1/summary?group_by=region")
    (item,) = first.json()["items"]
    assert (item["duties_pending"], item["breaches"], item["responses_due"]) == (1, 0, 0)
    again = await manager.get("/v1/summary?group_by=region", if_none_match=first.headers["etag"])
    assert again.status_code == 304
    await asyncio.sleep(1.7)
    late = await manager.get("/v1/summary?group_by=region", if_none_match=first.headers["etag"])
    (item,) = late.json()["items"]
    assert (item["duties_pending"], item["breaches"], item["responses_due"]) == (0, 1, 1)
    await _done(manager, case, "noted", text="已派单")
    same = await manager.get("/v1/summary?group_by=region", if_none_match=late.headers["etag"])
    assert same.status_code == 304


async def test_a_city_that_changes_moves_its_projects_at_once(house: House) -> None:
    home, manager = await filled(house)
    moved = {"name": "一期", "region": home, "city": "广州", "area": "大湾区"}
    assert [row[0] for row in await summed(manager, "group_by=city")] == ["佛山", None]
    assert (await house.caller("admin").put(f"/v1/projects/{home}-1", moved)).status_code == 200
    assert [row[0] for row in await summed(manager, "group_by=city")] == ["广州", None]


async def test_who_asks_for_what_is_not_there_is_told_so(house: House) -> None:
    home = await house.region()
    manager, admin = house.manager(home), house.caller("admin")
    assert await summed(manager) == [NOTHING]
    assert await summed(manager, "group_by=region") == []
    asked = ("group_by=rgion", "group_by=", "limit=5", "stage=none", "sort=region", "group_by=region&breached=perhaps")
    assert codes([await manager.get(f"/v1/summary?{query}") for query in asked]) == [
        *("invalid_parameter", "invalid_parameter", "unknown_parameter"),
        *("invalid_parameter", "unknown_parameter", "invalid_parameter"),
    ]
    assert codes([await admin.get("/v1/summary")]) == ["forbidden"]


async def test_the_answers_of_a_void_case_count_for_nothing(house: House) -> None:
    home = await house.region()
    manager = house.manager(home)
    case = await manager.case(home)
    await _done(manager, case, "received", obtained_at="2026-01-15T08:00:00Z", channel="app", household="3-1-301")
    await _done(manager, case, "responded", **RESPONSE)
    opening = (await manager.get(f"/v1/cases/{case['case_id']}/actions")).json()["items"][0]
    for query in ("", "opened_from=2020-01-01T00:00:00Z", f"project={home}-1", "category=engineering"):
        assert [row[-2:] for row in await summed(manager, query)] == [(2100, 2400)]
    await _done(manager, case, "corrected", action=opening["action_id"], retract=True, reason="重复录入")
    for query in ("", "opened_from=2020-01-01T00:00:00Z", f"project={home}-1", "category=engineering"):
        assert await summed(manager, query) == [NOTHING]


async def test_an_answer_costs_one_look_and_the_same_one_again_none(house: House) -> None:
    _, manager = await filled(house)
    queries = ("", "group_by=city,grade", "breached=true", "q=%E5%A4%96%E5%A2%99")
    await summed(manager)
    before = house.services.views.looks
    for query in queries:
        await manager.get(f"/v1/summary?{query}&min_position=1")
    assert house.services.views.looks == before + len(queries)
    for query in queries:
        await manager.get(f"/v1/summary?{query}&min_position=1")
    assert house.services.views.looks == before + len(queries)
