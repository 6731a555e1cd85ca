"""With the service's own filters taken out the database alone shows nobody another region's case."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from intake_api import asked, services
from services.caller import Caller
from services.event_log import connect
from services.event_log.seeing import everywhere, see, seen
from tests.contract.hearing import listening
from tests.contract.house import House, codes

pytestmark = pytest.mark.anyio


@pytest.fixture
def no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release whose routes all forgot to ask which regions are the caller's."""
    monkeypatch.setattr(asked, "regions", lambda caller, named: None)
    monkeypatch.setattr(Caller, "sees", lambda caller, region: True)


@pytest.fixture(params=["guarded", "unguarded"])
def guarded(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, no_filter: None) -> Iterator[bool]:
    """Whether the database stands behind: where it does not, each of these tests must see the other region."""
    if request.param == "unguarded":
        monkeypatch.setattr(services, "see", lambda regions: see(None))
    yield request.param == "guarded"


async def _two(house: House) -> tuple[Any, Any, dict[str, Any], dict[str, Any]]:
    """Who is of one region, who of another, and a late case of each."""
    one, other = await house.region(), await house.region()
    mine, theirs = house.agent(one), house.agent(other)
    return mine, theirs, await mine.case(one), await theirs.case(other)


async def test_lists_and_their_counts(house: House, guarded: bool) -> None:
    mine, _, own, foreign = await _two(house)
    for query in ("", "&sort=-updated_at", "&status=open", "&q=外墙渗水", "&channel=hotline"):
        answer = (await mine.get(f"/v1/cases?count=true&limit=200{query}")).json()
        listed = {item["case_id"] for item in answer["items"]}
        assert own["case_id"] in listed or not guarded
        assert (foreign["case_id"] in listed or answer["total"] > 200) is not guarded
        assert (answer["total"] == 1) is guarded
    for path in ("/v1/breaches", "/v1/duties"):
        items = (await mine.get(f"{path}?limit=200&count=true")).json()
        of = {item["case_id"] for item in items["items"]}
        assert (of <= {own["case_id"]}) is guarded


async def test_a_word_that_only_they_use(house: House, guarded: bool) -> None:
    mine, theirs, _, _ = await _two(house)
    region = (await theirs.get("/v1/cases")).json()["items"][0]["region"]
    # Nobody else's in this house, so that one page has all.
    phone = f"139{uuid4().int % 10**8:08d}"
    person = {"name": "李小明", "phone": phone}
    case = await theirs.case(region, title="魑魅魍魉", external_ref="THEIRS-1", complainant=person)
    assert (await theirs.get("/v1/cases?q=魑魅魍魉")).json()["items"]
    for query in ("q=魑魅魍魉", "q=THEIRS-1", f"q={case['case_no']}"):
        found = [item["case_id"] for item in (await mine.get(f"/v1/cases?count=true&{query}")).json()["items"]]
        assert (case["case_id"] in found) is not guarded, query
    for body in ({"external_ref": "THEIRS-1"}, {"phone": phone}):
        found = [item["case_id"] for item in (await mine.post("/v1/cases/search", body, None)).json()["items"]]
        assert (case["case_id"] in found) is not guarded, body


async def test_a_cursor(house: House, guarded: bool) -> None:
    mine, _, own, _ = await _two(house)
    listed: list[str] = []
    path = "/v1/cases?limit=1&sort=-opened_at"
    cursor = ""
    for _ in range(3):
        page = (await mine.get(path + cursor)).json()
        listed += [item["case_id"] for item in page["items"]]
        if not page["next_cursor"]:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert (listed == [own["case_id"]]) is guarded


async def test_sums(house: House, guarded: bool) -> None:
    mine, _, own, foreign = await _two(house)
    for query in (
        "group_by=region",
        "group_by=region,month&opened_from=2020-01-01T00:00:00Z",
        "group_by=region&q=渗水",
    ):
        items = (await mine.get(f"/v1/summary?{query}")).json()["items"]
        regions = {item["region"] for item in items}
        assert own["region"] in regions
        assert (foreign["region"] in regions) is not guarded, query
    if guarded:
        whole = (await mine.get("/v1/summary")).json()["items"]
        assert [item["opened"] for item in whole] in ([0], [1])


async def test_files(house: House, guarded: bool) -> None:
    mine, _, own, foreign = await _two(house)
    for path in ("/v1/cases.csv", "/v1/breaches.csv"):
        content = (await mine.get(path)).text
        assert (foreign["case_no"] in content) is not guarded
        assert own["case_no"] in content


async def test_the_stream(house: House, guarded: bool) -> None:
    mine, theirs, _, foreign = await _two(house)
    position = int((await theirs.get("/v1/cases?limit=1")).headers["ledger-position"])
    async with listening(house, mine, position) as heard:
        await theirs.act(foreign, "noted", text="一")
        await theirs.get("/v1/cases?limit=1")
        assert await heard.is_silent() is guarded


@pytest.mark.parametrize("path", ["", "/actions", "/complaints"])
@pytest.mark.parametrize("by", ["case_id", "case_no"])
async def test_one_case(house: House, guarded: bool, path: str, by: str) -> None:
    """Known to this process already, as whoever wrote it left it."""
    mine, theirs, own, foreign = await _two(house)
    answers = [await one.get(f"/v1/cases/{foreign[by]}{path}") for one in (theirs, mine)]
    assert codes(answers) == [200, "not_found" if guarded else 200]
    assert codes([await mine.get(f"/v1/cases/{own[by]}{path}")]) == [200]


async def test_many_who_ask_at_once_are_told_apart(house: House, no_filter: None) -> None:
    """What is gathered for all of them in one look is shown to each by its own regions."""
    import asyncio

    mine, theirs, own, foreign = await _two(house)
    asks = [(one, case) for _ in range(5) for one in (mine, theirs) for case in (own, foreign)]
    answers = await asyncio.gather(*(one.get(f"/v1/cases/{case['case_id']}") for one, case in asks))
    assert codes(answers) == [200, "not_found", "not_found", 200] * 5


async def test_work_that_is_nobody_s_sees_nothing_until_it_says_so(house: House) -> None:
    await _two(house)
    see([])
    assert not (await house.services.views.look(lambda view: [view.cases.select()])).rows[0]
    with everywhere():
        assert (await house.services.views.look(lambda view: [view.cases.select()])).rows[0]
    assert seen() == ""


async def test_a_connection_keeps_no_region_of_the_one_before(house: House) -> None:
    async with await connect(house.services.url, role=None) as connection:
        await connection.execute("SET ROLE anjuan_reader")
        async with connection.transaction():
            await connection.execute("SELECT set_config('anjuan.regions', '*', true)")
            assert await (await connection.execute("SELECT FROM events LIMIT 1")).fetchone() is not None
        assert await (await connection.execute("SELECT FROM view_1.cases LIMIT 1")).fetchone() is None
