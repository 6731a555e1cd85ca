"""A file holds what the list holds: every row, in its order, readable, and no more than its reader may see."""

import asyncio
import csv
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from io import BytesIO, StringIO
from typing import Any
from urllib.parse import unquote, urlencode
from zoneinfo import ZoneInfo

import httpx
import pytest
from openpyxl import load_workbook
from openpyxl.utils.escape import unescape

from intake_api import exports
from projections import export_rows
from projections.export_columns import BREACHES, CASES, Column
from projections.labels import LABELS, text
from projections.spreadsheets import BOM, as_text
from services.jobs import Progress
from tests.contract.house import RESPONSE, Caller, House, codes
from tests.e2e.fire import seed_of

pytestmark = pytest.mark.anyio

_BEIJING = ZoneInfo("Asia/Shanghai")
TITLES = ["外墙渗水", "=1+1", "+86", "-1", "@SUM(A1)", "\t=1", "13800138000", '引号"，,逗号\r\n换行', "007", "a'b"]
LABELLED = {
    "stage": "stage",
    "status": "status",
    "category": "category",
    "escalation_level": "escalation_level",
    "state": "duty_state",
    "owed_by_office": "office",
    "supervised_by": "office",
}


async def csv_rows(caller: Caller, path: str, **headers: str) -> list[dict[str, str]]:
    """The rows of a CSV file by their headings."""
    answer = await caller.get(path, **headers)
    assert answer.status_code == 200, answer.text
    content = answer.content.decode()
    assert content.startswith(BOM)
    assert content.replace("\r\n", "").count("\n") <= content.count('"')
    heading, *rows = csv.reader(StringIO(content[1:], newline=""))
    return [dict(zip(heading, row, strict=True)) for row in rows]


def workbook_rows(content: bytes) -> list[dict[str, Any]]:
    """The rows of an XLSX file by their headings."""
    heading, *rows = load_workbook(BytesIO(content)).active.iter_rows(values_only=True)  # type: ignore[union-attr]
    return [dict(zip(map(str, heading), row, strict=True)) for row in rows]


async def listed(caller: Caller, path: str) -> list[dict[str, Any]]:
    """Every item of a list."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = (await caller.get(f"{path}{'&' if '?' in path else '?'}limit=7{cursor}")).json()
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def beijing(instant: str | None) -> datetime | None:
    if instant is None:
        return None
    return datetime.fromisoformat(instant).astimezone(_BEIJING).replace(microsecond=0, tzinfo=None)


def expected(item: Mapping[str, Any], language: str = "zh") -> dict[str, Any]:
    """What a case's row says, told from its item by another way than the file's own."""
    responsible = item["responsible"] or {"role": None, "name": None, "phone": None}
    said = {name: LABELS[label][item[name]] for name, label in LABELLED.items() if name in item}
    yes = {True: "是", False: "否", None: None}
    zh = {
        "案卷编号": item["case_no"],
        "标题": item["title"],
        "区域编码": item["region"],
        "区域": f"区域{item['region']}",
        "项目编码": item["project"],
        "项目": f"项目{item['region']}",
        "城市": item["city"],
        "片区": item["area"],
        "类别": said["category"].zh,
        "定级": item["grade"]["label"]["zh"],
        "定级依据": "、".join(item["grade"]["criteria"]) or None,
        "阶段": said["stage"].zh,
        "状态": said["status"].zh,
        "升级层级": said["escalation_level"].zh,
        "最近时限": beijing(item["due_at"]),
        "投诉户数": item["household_count"],
        "投诉件数": item["complaint_count"],
        "完结后新增投诉": item["complaints_since_closure"],
        "第一处理责任人职务": responsible["role"] and LABELS["responsible_role"][responsible["role"]].zh,
        "第一处理责任人": responsible["name"],
        "责任人电话": responsible["phone"],
        "集中保修期": yes[item["in_concentrated_warranty"]],
        "外部编号": item["external_ref"],
        "立卷时间": beijing(item["opened_at"]),
        "完结时间": beijing(item["closed_at"]),
        "更新时间": beijing(item["updated_at"]),
        "版本": item["version"],
        "案卷标识": item["case_id"],
    }
    assert language == "zh"
    return zh


def as_csv(value: Any) -> str:
    """As it stands in a CSV file."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return as_text(value) if isinstance(value, str) else str(value)


@pytest.fixture(scope="module")
async def furnished(house: House) -> tuple[list[str], int]:
    """Two regions with 60 cases of every kind; and the seed that they were made by."""
    chance = random.Random(seed := seed_of("exports"))
    regions = [
        await house.region(city="佛山", area="粤中", managers={"city": {"name": "孙六", "phone": "13900001111"}}),
        await house.region(handover_started_at="2026-01-01T00:00:00+08:00"),
    ]
    for number in range(60):
        agent = house.manager(home := chance.choice(regions))
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=chance.randrange(7000))
        case = await agent.case(
            home,
            title=chance.choice(TITLES),
            category=chance.choice([*LABELS["category"]]),
            channel=chance.choice([*LABELS["channel"]]),
            household=chance.choice(["3-1-201", "3栋1单元202室", None]),
            external_ref=chance.choice([None, f"0{number:05d}", f"HL-{number}", f"2026-01-{number:02d}"]),
            tags=chance.sample(["漏水", "群诉", "媒体"], chance.randrange(3)),
            obtained_at=at.isoformat(),
            occurred_at=None,
        )
        late = timedelta(minutes=chance.choice([20, 60, 61, 600]))
        if chance.random() < 0.6:
            await agent.act(case, "responded", **{**RESPONSE, "contacted_at": (at + late).isoformat()})
        if chance.random() < 0.3:
            await agent.act(case, "escalated", to=chance.choice(["city", "region"]), reason="联名")
        if chance.random() < 0.3:
            await agent.act(case, "assessed", facts={"compensation": chance.choice(["1.00", "3000000.00"])})
    # One that is owed and not late yet.
    await house.manager(regions[0]).case(regions[0], obtained_at=datetime.now(UTC).isoformat())
    return regions, seed


def any_query(chance: random.Random, regions: list[str]) -> str:
    """Some filters and an order."""
    known: dict[str, list[str]] = {
        "region": [*regions, "NOWHERE"],
        "project": [f"{region}-1" for region in regions],
        "city": ["佛山"],
        "category": [*LABELS["category"]],
        "status": ["open", "responded", "closed"],
        "grade": ["A-1", "A-2", "ungraded"],
        "breached": ["true", "false"],
        "escalation_level": ["none", "city", "region"],
        "channel": [*LABELS["channel"]],
        "tag": ["漏水", "群诉"],
        "q": ["渗水", "外墙", "1+1", "无此"],
        "opened_from": ["2026-03-01T00:00:00+08:00"],
        "opened_to": ["2026-08-01T00:00:00+08:00"],
        "sort": [f"{sign}{name}" for name in ("opened_at", "updated_at", "due_at", "grade") for sign in ("", "-")],
    }
    names = chance.sample([*known], chance.randrange(4))
    several = {"region", "category", "status", "tag", "channel"}
    pairs = [
        (name, value)
        for name in names
        for value in chance.sample(known[name], min(len(known[name]), chance.randint(1, 3) if name in several else 1))
    ]
    return urlencode(pairs)


async def test_files_of_any_filters_hold_what_the_list_holds_row_by_row(
    house: House, furnished: tuple[list[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    regions, seed = furnished
    chance = random.Random(seed)
    caller, filled = house.agent(*regions), 0
    for _ in range(30):
        monkeypatch.setattr(export_rows, "_PAGE", chance.choice([1, 3, 7, 1000]))
        monkeypatch.setattr(export_rows, "_BATCH", chance.choice([1, 2, 100]))
        query = any_query(chance, regions)
        items = [expected(item) for item in await listed(caller, f"/v1/cases?{query}")]
        rows = await csv_rows(caller, f"/v1/cases.csv?{query}")
        shown = [{name: value for name, value in row.items() if name != "是否逾期"} for row in rows]
        assert shown == [{name: as_csv(value) for name, value in item.items()} for item in items], (seed, query)
        book = workbook_rows((await caller.get(f"/v1/cases.xlsx?{query}")).content)
        told = [{name: unescaped(row[name]) for name in row if name != "是否逾期"} for row in book]
        assert told == items, (seed, query)
        filled += len(rows)
    assert filled > 100


def unescaped(value: Any) -> Any:
    return unescape(value) if isinstance(value, str) else value


async def test_whether_a_case_is_breached_is_told_as_its_filter_tells(
    house: House, furnished: tuple[list[str], int]
) -> None:
    agent = house.agent(*furnished[0])
    breached = {item["case_no"] for item in await listed(agent, "/v1/cases?breached=true")}
    rows = await csv_rows(agent, "/v1/cases.csv")
    assert {row["案卷编号"] for row in rows if row["是否逾期"] == "是"} == breached
    assert 0 < len(breached) < len(rows)


async def test_breaches_are_the_duties_of_the_cases_that_are_or_were_late(
    house: House, furnished: tuple[list[str], int]
) -> None:
    agent = house.agent(*furnished[0])
    rows = await csv_rows(agent, "/v1/breaches.csv")
    cases = await listed(agent, "/v1/cases")
    whole = [(await agent.get(f"/v1/cases/{case['case_id']}")).json() for case in cases]
    late = [(duty, case) for case in whole for duty in case["duties"] if duty["state"] in ("overdue", "met_late")]
    assert len(rows) == len(late) > 20
    by_id = {(row["投诉标识"], row["义务"]): row for row in rows}
    for duty, case in late:
        row = by_id[duty["complaint_id"] or "", text("duty", duty["duty"], "zh")]
        assert row["案卷编号"] == case["case_no"]
        assert row["标题"] == as_csv(case["title"])
        assert row["履行状态"] == LABELS["duty_state"][duty["state"]].zh
        assert row["时限"] == as_csv(beijing(duty["due_at"]))
        assert row["履行时间"] == as_csv(beijing(duty["met_at"]))
        assert row["曾逾期未履行"] == "是"
        assert row["房号"] == as_csv(duty["household"])
        assert row["责任岗位"] == LABELS["office"][duty["owed_by_office"]].zh
        if duty["state"] == "met_late":
            assert row["逾期秒数"] == str(duty["overdue_seconds"])
        else:
            assert int(row["逾期秒数"]) > 0
    dues = [row["时限"] for row in rows]
    assert dues == sorted(dues, reverse=True)
    assert [row["时限"] for row in await csv_rows(agent, "/v1/breaches.csv?sort=due_at")] == sorted(dues)


BREACH_QUERIES = (
    "",
    "state=overdue",
    "state=met_late&sort=due_at",
    "duty=respond",
    "duty=hold_accountable&duty=record_lesson",
    "from=2026-03-01T00:00:00%2B08:00",
    "to=2026-08-01T00:00:00%2B08:00&sort=-due_at",
    "city=佛山",
    "region=NOWHERE",
)


@pytest.mark.parametrize("query", BREACH_QUERIES)
async def test_a_file_of_breaches_holds_what_their_list_holds_in_its_order(
    house: House, furnished: tuple[list[str], int], query: str
) -> None:
    agent = house.agent(*furnished[0])
    items = await listed(agent, f"/v1/breaches?{query}")
    rows = await csv_rows(agent, f"/v1/breaches.csv?{query}")
    assert [(row["投诉标识"], row["义务"], row["时限"], row["履行状态"]) for row in rows] == [
        (
            item["complaint_id"] or "",
            text("duty", item["duty"], "zh"),
            as_csv(beijing(item["due_at"])),
            LABELS["duty_state"][item["state"]].zh,
        )
        for item in items
    ]
    assert items or query in ("region=NOWHERE", "city=佛山") or query.startswith("duty=hold")


async def test_breaches_are_filtered_as_they_are_asked_for(house: House, furnished: tuple[list[str], int]) -> None:
    regions, _ = furnished
    agent = house.agent(*regions)
    every = await csv_rows(agent, "/v1/breaches.csv")
    middle = sorted(row["时限"] for row in every)[len(every) // 2]
    at = datetime.strptime(middle, "%Y-%m-%d %H:%M:%S").replace(tzinfo=_BEIJING).isoformat()
    asked: dict[str, Callable[[dict[str, str]], bool]] = {
        "state=overdue": lambda row: row["履行状态"] == "逾期未履行",
        "state=met_late": lambda row: row["履行状态"] == "逾期履行",
        "state=met_late&state=overdue": lambda row: True,
        f"region={regions[0]}": lambda row: row["区域编码"] == regions[0],
        f"project={regions[1]}-1": lambda row: row["项目编码"] == f"{regions[1]}-1",
        "city=佛山": lambda row: row["城市"] == "佛山",
        "duty=respond": lambda row: row["义务"] == "响应",
        urlencode({"from": at}): lambda row: row["时限"] >= middle,
        urlencode({"to": at}): lambda row: row["时限"] < middle,
    }
    for query, fits in asked.items():
        found = await csv_rows(agent, f"/v1/breaches.csv?{query}")
        assert [row["投诉标识"] for row in found] == [row["投诉标识"] for row in every if fits(row)], query


async def test_no_cell_begins_with_what_a_spreadsheet_would_compute(
    house: House, furnished: tuple[list[str], int]
) -> None:
    agent = house.agent(*furnished[0])
    rows = await csv_rows(agent, "/v1/cases.csv") + await csv_rows(agent, "/v1/breaches.csv")
    cells = [cell for row in rows for cell in row.values()]
    assert [cell for cell in cells if cell[:1] in tuple("=+-@\t\r")] == []
    assert {"'=1+1", "'@SUM(A1)", "'\t=1", "'13800138000", "'007"} <= set(cells)


async def test_a_dashboard_s_file_tells_no_more_than_its_list(house: House, furnished: tuple[list[str], int]) -> None:
    regions, _ = furnished
    dashboard = house.caller("dashboard", *regions)
    rows = await csv_rows(dashboard, "/v1/cases.csv")
    assert {row["标题"] for row in rows} == {""}
    assert {row["责任人电话"] for row in rows} == {"139****1111", ""}
    assert rows == [
        {**row, "标题": "", "责任人电话": row["责任人电话"] and "139****1111"}
        for row in await csv_rows(house.agent(*regions), "/v1/cases.csv")
    ]
    book = workbook_rows((await dashboard.get("/v1/breaches.xlsx")).content)
    assert {row["标题"] for row in book} == {None}


async def test_a_region_s_file_leaks_no_other_region(house: House, furnished: tuple[list[str], int]) -> None:
    (one, other), _ = furnished
    agent = house.agent(one)
    for path in ("/v1/cases.csv", "/v1/breaches.csv"):
        assert {row["区域编码"] for row in await csv_rows(agent, path)} == {one}
        foreign = await agent.get(f"{path}?region={other}")
        unknown = await agent.get(f"{path}?region=NOWHERE")
        assert foreign.content == unknown.content
        assert len(await csv_rows(agent, f"{path}?project={other}-1")) == 0


async def test_a_file_speaks_english_where_it_is_asked_to(house: House, furnished: tuple[list[str], int]) -> None:
    agent = house.agent(*furnished[0])
    for path, columns in (("/v1/cases.csv", CASES), ("/v1/breaches.csv", BREACHES)):
        english = await csv_rows(agent, path, accept_language="en")
        assert [*english[0]] == [column.en for column in columns]
        assert [*(await csv_rows(agent, path))[0]] == [column.zh for column in columns]
        assert {row["Status"] for row in english} <= {label.en for label in LABELS["status"].values()}
        assert {row["Grade"] for row in english} <= {"Class A level 1", "Class A level 2", "ungraded"}


@pytest.mark.parametrize("columns", [CASES, BREACHES], ids=["cases", "breaches"])
def test_headings_are_said_once_and_in_both_languages(columns: tuple[Column, ...]) -> None:
    for headings in ([column.zh for column in columns], [column.en for column in columns]):
        assert len(set(headings)) == len(headings) == len([*filter(None, headings)])


async def test_a_file_has_a_chinese_name_and_a_plain_one(house: House) -> None:
    agent = house.agent(await house.region())
    for path, zh, kind in (("/v1/cases.csv", "案卷", "csv"), ("/v1/breaches.xlsx", "逾期", "xlsx")):
        answer = await agent.get(path)
        kept, plain, named = answer.headers["content-disposition"].split("; ")
        day = f"{datetime.now(_BEIJING):%Y%m%d}"
        assert kept == "attachment"
        assert plain.startswith(f'filename="{path[4:].partition(".")[0]}-{day}') and plain.endswith(f'.{kind}"')
        assert named.startswith("filename*=UTF-8''")
        assert unquote(named).startswith(f"filename*=UTF-8''{zh}-{day}")
        assert "content-length" not in answer.headers
        assert answer.headers["cache-control"] == "private, no-store"
        assert int(answer.headers["ledger-position"]) > 0


WRONG = {
    "limit=5": "unknown_parameter",
    "cursor=x": "unknown_parameter",
    "count=true": "unknown_parameter",
    "sort=title": "invalid_parameter",
    "region=%FF": "invalid_parameter",
    "min_position=x": "invalid_parameter",
}


@pytest.mark.parametrize("query", WRONG)
async def test_what_is_wrong_is_a_problem_and_no_file(house: House, query: str) -> None:
    agent = house.agent(await house.region())
    paths = [path for path, _, _ in exports.ROUTES]
    assert codes([await agent.get(f"{path}?{query}") for path in paths]) == [WRONG[query]] * 4
    breaches = [await agent.get(f"/v1/breaches.csv?{one}") for one in ("state=met", "duty=none", "from=x")]
    assert codes(breaches) == ["invalid_parameter"] * 3


async def test_more_files_at_once_than_a_process_makes_are_too_many(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = house.agent(await house.region())
    monkeypatch.setattr(house.services, "exports", exports._AT_ONCE)
    answer = await agent.get("/v1/cases.csv")
    assert (codes([answer]), answer.headers["retry-after"]) == (["overloaded"], "1")
    monkeypatch.setattr(house.services, "exports", 0)
    assert codes([await agent.get("/v1/cases.csv"), await agent.get("/v1/cases.xlsx?sort=x")]) == [
        200,
        "invalid_parameter",
    ]
    assert house.services.exports == 0


async def test_a_large_workbook_is_a_job_that_only_who_asked_can_open(
    house: House, furnished: tuple[list[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    regions, _ = furnished
    monkeypatch.setattr(exports, "_LARGE", 5)
    monkeypatch.setattr(export_rows, "_PAGE", 3)
    agent = house.agent(*regions, subject="坐席甲")
    small = await house.agent(*regions).get("/v1/cases.xlsx?q=无此")
    assert workbook_rows(small.content) == []
    at_once = await agent.get("/v1/cases.xlsx")
    assert at_once.status_code == 200
    monkeypatch.setattr("intake_api.jobs._AT_ONCE", 0.0)
    gate, whole = asyncio.Event(), exports.Export.whole

    async def slow(export: exports.Export, progress: Progress) -> bytes:
        await gate.wait()
        return await whole(export, progress)

    monkeypatch.setattr(exports.Export, "whole", slow)
    begun = await agent.get("/v1/cases.xlsx")
    assert begun.status_code == 202
    gate.set()
    job = await _done(house, agent, begun)
    file = await agent.get(job["result_url"])
    assert workbook_rows(file.content) == workbook_rows(at_once.content)
    assert len(workbook_rows(file.content)) == 61
    assert file.headers["content-type"] == exports.XLSX.decode()
    assert "filename*=UTF-8''%E6%A1%88%E5%8D%B7-" in file.headers["content-disposition"]
    others = [
        house.agent(*regions, subject="坐席乙"),
        house.agent(regions[0], subject="坐席甲"),
        house.caller("dashboard", *regions, subject="坐席甲"),
    ]
    assert codes([await other.get(job["result_url"]) for other in others]) == ["not_found"] * 3
    kept = await house.services.log.read.rows("SELECT result FROM jobs WHERE file_name IS NOT NULL", [])
    assert kept and not any(result.startswith(b"PK") for (result,) in kept)
    assert house.services.exports == 0


async def _done(house: House, caller: Caller, begun: httpx.Response) -> dict[str, Any]:
    where = begun.headers["location"]
    while True:
        job: dict[str, Any] = (await caller.get(where)).json()
        if job["state"] != "running":
            assert (job["state"], job["progress"]) == ("done", 100)
            return job
