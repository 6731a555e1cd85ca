"""Pages never skip or repeat; parameters and cursors that nobody knows are refused."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.contract.house import Caller, House, codes

pytestmark = pytest.mark.anyio


async def _pages(caller: Caller, path: str, limit: int) -> AsyncIterator[dict[str, Any]]:
    cursor = ""
    while True:
        joint = "&" if "?" in path else "?"
        page = (await caller.get(f"{path}{joint}limit={limit}{cursor}")).json()
        yield page
        if page["next_cursor"] is None:
            return
        cursor = f"&cursor={page['next_cursor']}"


async def test_120_cases_are_each_seen_once_while_others_are_added(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    made = [(await agent.case(region))["case_id"] for _ in range(120)]
    seen: list[str] = []
    sizes = []
    async for page in _pages(agent, "/v1/cases", 7):
        seen += [item["case_id"] for item in page["items"]]
        sizes.append(len(page["items"]))
        await asyncio.gather(agent.case(region), agent.case(region))
    assert seen == list(reversed(made))
    assert sizes == [7] * 17 + [1]


async def test_120_actions_are_each_seen_once_while_others_are_added(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    for number in range(40):
        await agent.act(case, "noted", text=str(number))
    seen: list[int] = []
    added = 0
    # Seven are read for each that is added.
    async for page in _pages(agent, f"/v1/cases/{case['case_id']}/actions", 7):
        seen += [item["version"] for item in page["items"]]
        added += 1
        await agent.act(case, "noted", text="其间")
    # What was added before the last page was asked for is on it.
    assert seen == list(range(1, 41 + added))


async def test_complaints_are_each_seen_once(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    for number in range(12):
        await agent.act(
            case, "received", obtained_at="2026-01-15T08:05:00Z", channel="app", household=f"5-1-{number}01"
        )
        await agent.act(case, "noted", text="其间")
    seen: list[str] = []
    async for page in _pages(agent, f"/v1/cases/{case['case_id']}/complaints", 5):
        seen += [item["complaint_id"] for item in page["items"]]
    whole = (await agent.get(f"/v1/cases/{case['case_id']}")).json()["complaints"]
    assert seen == [one["complaint_id"] for one in whole]
    assert len(set(seen)) == 13


async def test_a_page_that_ends_with_the_last_item_has_no_next(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    for _ in range(4):
        await agent.case(region)
    sizes = [len(page["items"]) async for page in _pages(agent, "/v1/cases", 2)]
    assert sizes == [2, 2]


async def test_the_total_counts_all_and_only_when_asked(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    for _ in range(3):
        await agent.case(region)
    counted = (await agent.get("/v1/cases?limit=1&count=true")).json()
    assert (len(counted["items"]), counted["total"]) == (1, 3)
    assert "total" not in (await agent.get("/v1/cases?count=false")).json()


async def test_a_repeated_region_means_any_of_them(house: House) -> None:
    regions = [await house.region() for _ in range(3)]
    agent = house.agent(*regions)
    for region in regions:
        await agent.case(region)
    listed = (await agent.get(f"/v1/cases?region={regions[0]}&region={regions[2]}")).json()["items"]
    assert sorted(item["region"] for item in listed) == [regions[0], regions[2]]


BAD_QUERIES = {
    "limit=0": "invalid_parameter",
    "limit=501": "invalid_parameter",
    "limit=-1": "invalid_parameter",
    "limit=": "invalid_parameter",
    "limit=ten": "invalid_parameter",
    "limit=1.0": "invalid_parameter",
    "limit=%EF%BC%91": "invalid_parameter",
    "limit=1&limit=2": "invalid_parameter",
    "limit=99999999999999999999": "invalid_parameter",
    "limit=0000000019999": "invalid_parameter",
    "limit=000000001" + "9" * 5000: "invalid_parameter",
    "count=yes": "invalid_parameter",
    "count=": "invalid_parameter",
    "count=true&count=true": "invalid_parameter",
    "cursor=": "invalid_parameter",
    "cursor=x": "invalid_parameter",
    "cursor=AAAA": "invalid_parameter",
    "cursor=%E4%B8%AD": "invalid_parameter",
    "cursor=" + "A" * 27: "invalid_parameter",
    "lmit=1": "unknown_parameter",
    "Limit=1": "unknown_parameter",
    "limit[]=1": "unknown_parameter",
    "=1": "unknown_parameter",
    "x": "unknown_parameter",
    "a%00b=1": "unknown_parameter",
    "limit=%FF": "invalid_parameter",
    "cursor=%00": "invalid_parameter",
    "&".join(f"limit={n}" for n in range(101)): "invalid_parameter",
}
LISTS = ["/v1/cases", "/v1/cases/{case}/actions", "/v1/cases/{case}/complaints"]


@pytest.fixture(scope="module")
async def paged(house: House) -> tuple[Caller, str]:
    """An agent, and a case with several pages of everything."""
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    for _ in range(3):
        await agent.case(region)
        await agent.act(case, "received", obtained_at="2026-01-15T08:05:00Z", channel="app")
    return agent, case["case_id"]


@pytest.mark.parametrize("query", BAD_QUERIES, ids=lambda query: query[:30])
@pytest.mark.parametrize("path", LISTS)
async def test_a_query_that_is_wrong_is_refused_and_named(paged: tuple[Caller, str], path: str, query: str) -> None:
    agent, case = paged
    answer = await agent.get(f"{path.format(case=case)}?{query}")
    assert codes([answer]) == [BAD_QUERIES[query]]


async def test_a_case_takes_no_parameter(paged: tuple[Caller, str]) -> None:
    agent, case = paged
    assert codes([await agent.get(f"/v1/cases/{case}?limit=1")]) == ["unknown_parameter"]


async def _cursor(agent: Caller, path: str) -> str:
    found: str = (await agent.get(f"{path}?limit=1")).json()["next_cursor"]
    return found


async def test_a_cursor_belongs_to_its_list(paged: tuple[Caller, str]) -> None:
    agent, case = paged
    paths = [path.format(case=case) for path in LISTS]
    cursors = [await _cursor(agent, path) for path in paths]
    found = [[(await agent.get(f"{path}?cursor={cursor}")).status_code for cursor in cursors] for path in paths]
    assert found == [[200, 422, 422], [422, 200, 422], [422, 422, 200]]


async def test_a_cursor_belongs_to_its_filters(paged: tuple[Caller, str]) -> None:
    agent, _ = paged
    cursor = await _cursor(agent, "/v1/cases")
    assert codes([await agent.get(f"/v1/cases?region=X&cursor={cursor}")]) == ["invalid_parameter"]


async def test_a_cursor_that_was_changed_is_refused(paged: tuple[Caller, str]) -> None:
    agent, _ = paged
    cursor = await _cursor(agent, "/v1/cases")
    changed = [
        cursor[:place] + ("B" if cursor[place] == "A" else "A") + cursor[place + 1 :]
        for place in range(len(cursor) - 1)
    ]
    answers: list[httpx.Response] = [await agent.get(f"/v1/cases?cursor={one}") for one in changed]
    assert codes(answers) == ["invalid_parameter"] * len(changed)


async def test_a_directory_takes_an_instant_and_nothing_else(house: House) -> None:
    region = await house.region()
    agent = house.agent()
    for path in ("/v1/regions", "/v1/projects", f"/v1/regions/{region}", f"/v1/projects/{region}-1"):
        answers = [
            await agent.get(f"{path}?{query}")
            for query in ("as_of=2026-01-01T00:00:00Z", "as_of=2026-01-01", "as_of=", "as_of=x&as_of=y", "limit=1")
        ]
        assert codes(answers) == [200, *["invalid_parameter"] * 3, "unknown_parameter"]
