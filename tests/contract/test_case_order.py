"""Every order of the list, with equals and without a time; pages under each; and cursors that belong elsewhere."""

from itertools import product
from typing import Any

import pytest

from tests.contract.house import RESPONSE, Caller, House, codes
from tests.contract.lists import page, pages

pytestmark = pytest.mark.anyio
SORTS = ("opened_at", "updated_at", "due_at", "grade")
ORDERS = [sign + name for name in SORTS for sign in ("", "-")]
_SEVERITY = {"A-1": 0, "A-2": 1, "ungraded": 99}


@pytest.fixture(scope="module")
async def furnished(house: House) -> tuple[House, str]:
    """Cases with equal openings, dues and grades, some of which owe nothing."""
    region = await house.region()
    manager = house.manager(region)
    for number in range(21):
        kind = number % 5
        case = await manager.case(
            region,
            stage="risk" if kind == 0 else "complaint",
            occurred_at="2026-01-15T16:05:00+08:00" if kind == 0 else None,
            obtained_at=f"2026-01-15T16:{5 + number % 3:02d}:00+08:00",
            household=f"{number}-1-101",
        )
        if kind == 1:
            await manager.act(case, "responded", **RESPONSE)
        if kind in (2, 3):
            amount = "3000000.00" if kind == 2 else "600000.00"
            await manager.act(case, "assessed", facts={"compensation": amount})
    return house, region


def _key(sort: str, item: dict[str, Any]) -> tuple[Any, ...]:
    if sort == "grade":
        return (_SEVERITY[item["grade"]["code"]], item["opened_at"], item["case_id"])
    return (item[sort], item["case_id"])


def _ordered(items: list[dict[str, Any]], order: str) -> list[str]:
    """By the key and then the id, in one direction; what has no time comes last in both."""
    sort, down = order.removeprefix("-"), order.startswith("-")
    timed = [item for item in items if sort != "due_at" or item["due_at"]]
    untimed = [item for item in items if item not in timed]
    found = sorted(timed, key=lambda item: _key(sort, item), reverse=down)
    return [item["case_id"] for item in [*found, *sorted(untimed, key=lambda i: str(i["case_id"]), reverse=down)]]


async def test_the_cases_differ_in_what_they_are_sorted_by(furnished: tuple[House, str]) -> None:
    house, region = furnished
    items = (await page(house.agent(region)))["items"]
    for sort in ("opened_at", "due_at"):
        assert 1 < len({item[sort] for item in items}) < len(items)
    assert len({item["grade"]["code"] for item in items}) > 1
    assert None in {item["due_at"] for item in items}


@pytest.mark.parametrize("order", ORDERS)
async def test_a_list_is_in_order_and_equals_have_one_too(furnished: tuple[House, str], order: str) -> None:
    house, region = furnished
    items = (await page(house.agent(region), sort=order))["items"]
    assert [item["case_id"] for item in items] == _ordered(items, order)
    shown = (await page(house.agent(region)))["items"]
    assert [item["case_id"] for item in shown] == _ordered(shown, "-opened_at")


@pytest.mark.parametrize(("order", "limit"), list(product(ORDERS, (1, 4))))
async def test_pages_skip_and_repeat_nothing_while_others_are_added(
    furnished: tuple[House, str], order: str, limit: int
) -> None:
    house, region = furnished
    manager = house.manager(region)
    before = (await page(manager, sort=order))["items"]
    added: set[str] = set()
    seen: list[str] = []
    turns = 0
    async for items in pages(manager, limit, {"sort": order}):
        assert len(items) <= limit
        seen += [item["case_id"] for item in items]
        turns += 1
        if turns % 3 == 0 and turns < 30:
            stage = "risk" if turns % 2 else "complaint"
            at = f"2026-01-15T16:0{turns % 9}:00+08:00"
            case = await manager.case(region, stage=stage, obtained_at=at, occurred_at=at)
            added.add(case["case_id"])
    assert len(seen) == len(set(seen))
    assert [one for one in seen if one not in added] == [item["case_id"] for item in before]
    assert added


@pytest.mark.parametrize("order", ORDERS)
async def test_words_are_paged_in_every_order(
    furnished: tuple[House, str], order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when few of those that are looked at hold the word."""
    house, region = furnished
    monkeypatch.setattr("projections.case_list._MAY_NOT_HOLD", 1)
    agent = house.agent(region)
    expected = [item["case_id"] for item in (await page(agent, sort=order))["items"]]
    seen = [item["case_id"] async for items in pages(agent, 2, {"sort": order, "q": "渗水"}) for item in items]
    assert seen == expected


async def _cursor(caller: Caller, query: str) -> str:
    found: str = (await caller.get(f"/v1/cases?limit=1{query}")).json()["next_cursor"]
    assert found
    return found


async def test_a_cursor_of_another_question_is_refused(furnished: tuple[House, str]) -> None:
    house, region = furnished
    other = await house.region()
    agent = house.agent(region)
    cursor = await _cursor(agent, "")
    for query in ("&sort=due_at", "&sort=-opened_at", "&breached=true", "&q=渗水", f"&region={region}", "&tag=a"):
        assert codes([await agent.get(f"/v1/cases?cursor={cursor}{query}")]) == ["invalid_parameter"]
        answer = await agent.get(f"/v1/cases?cursor={await _cursor(agent, '&sort=grade')}{query}")
        assert codes([answer]) == ["invalid_parameter"]
    for caller in (house.agent(region, other), house.agent(other), house.agent("*"), house.caller("auditor")):
        assert codes([await caller.get(f"/v1/cases?cursor={cursor}")]) == ["invalid_parameter"]
    # What is the page's alone may change, and so may the token.
    again = house.manager(region)
    assert codes([await again.get(f"/v1/cases?cursor={cursor}&limit=7&count=true")]) == [200]


async def test_a_cursor_of_a_search_belongs_to_its_body(furnished: tuple[House, str]) -> None:
    house, region = furnished
    agent = house.agent(region)
    found = (await agent.post("/v1/cases/search?limit=1", {"q": "渗水"}, None)).json()["next_cursor"]
    assert codes([await agent.post(f"/v1/cases/search?cursor={found}", {"q": "渗水"}, None)]) == [200]
    refused = [
        await agent.post(f"/v1/cases/search?cursor={found}", {"q": "外墙"}, None),
        await agent.get(f"/v1/cases?cursor={found}&q=渗水"),
        await agent.post(f"/v1/cases/search?cursor={await _cursor(agent, '')}", {"q": "渗水"}, None),
    ]
    assert codes(refused) == ["invalid_parameter"] * 3


async def test_the_total_counts_what_the_filters_find_on_every_page(furnished: tuple[House, str]) -> None:
    house, region = furnished
    agent = house.agent(region)
    for query in ({}, {"q": "渗水"}, {"q": "没有这个"}, {"breached": "true"}, {"stage": ["risk", "warning"]}):
        whole = await page(agent, **query)
        assert whole["total"] == len(whole["items"])
        first = await page(agent, **{**query, "limit": "2"})
        assert first["total"] == whole["total"]
        if first["next_cursor"]:
            assert (await page(agent, **{**query, "limit": "2", "cursor": first["next_cursor"]}))["total"] == whole[
                "total"
            ]
