"""Any summary of a random ledger is told the same by the kept sums, by the cases' rows, and by whoever counts cases."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest

from intake_api.asked import STATUSES
from projections.grouping import DIMENSIONS
from projections.tables import VIEWS, View
from projections.writing import Writer
from services.event_log import connect
from tests.contract.house import RESPONSE, Caller, House, open_house
from tests.property.worlds import SOAK, seeds, told

pytestmark = pytest.mark.anyio

HISTORIES = 40 if SOAK else 3
ROUNDS, STEPS, QUESTIONS = 3, 25, 12
CITIES = ("佛山", "广州", None)
CATEGORIES = ("engineering", "marketing", "property_service")
_BEIJING = ZoneInfo("Asia/Shanghai")
_SECOND = timedelta(seconds=1)
# What finds all, and is asked of the cases themselves.
_EVER = "opened_from=1999-01-01T00:00:00Z"

Case = dict[str, Any]
Item = dict[str, Any]


class Ledger:
    """Two regions of three projects each, and random deeds in them."""

    def __init__(self, house: House, rng: Random) -> None:
        self.house, self.rng = house, rng
        self.cases: list[Case] = []
        self.regions: list[str] = []

    async def begin(self) -> Caller:
        admin = self.house.caller("admin")
        for _ in range(2):
            home = await self.house.region()
            self.regions.append(home)
            for number, city in enumerate(CITIES, 1):
                described = {"name": "期", "region": home, "area": "大湾区", **({"city": city} if city else {})}
                assert (await admin.put(f"/v1/projects/{home}-{number}", described)).status_code == 200
        self.manager = self.house.manager(*self.regions)
        return self.manager

    async def step(self) -> None:
        """One deed, or none where it may not be done."""
        rng = self.rng
        if not self.cases or rng.random() < 0.25:
            await self._open()
            return
        case = rng.choice(self.cases[-8:])
        kind = rng.choice(("received", "received", "responded", "responded", "closed", "reopened", "linked", "void"))
        match kind:
            case "received":
                about = {"obtained_at": self._some_time(), "channel": rng.choice(("app", "media"))}
                await self.manager.act(case, kind, **about, household=f"1-{rng.randrange(6)}")
            case "responded":
                answer = {**RESPONSE, "contacted_at": self._some_time()}
                await self.manager.act(case, kind, **answer)
            case "closed":
                await self._close(case)
            case "reopened":
                await self.manager.act(case, kind, reason="复发")
            case "linked":
                other = rng.choice(self.cases)
                await self.manager.act(case, kind, case=other["case_id"], kind="merged_into", reason="同源")
            case "void" if rng.random() < 0.3:
                opening = (await self.manager.get(f"/v1/cases/{case['case_id']}/actions")).json()["items"][0]
                await self.manager.act(case, "corrected", action=opening["action_id"], retract=True, reason="误")

    async def _open(self) -> None:
        rng = self.rng
        fields: dict[str, Any] = {
            "category": rng.choice(CATEGORIES),
            "tags": rng.sample(["甲", "乙"], rng.randrange(3)),
        }
        if rng.random() < 0.3:
            fields |= {"stage": "risk", "occurred_at": self._some_time()}
        else:
            fields |= {"obtained_at": self._some_time(), "household": f"1-{rng.randrange(6)}"}
        home = rng.choice(self.regions)
        made = await self.manager.case(
            home, project=f"{home}-{rng.randrange(1, 4)}", title=rng.choice(("渗漏", "异响")), **fields
        )
        self.cases.append(made)

    async def _close(self, case: Case) -> None:
        act = self.manager.act
        plan = await act(case, "plan_proposed", summary="维修")
        if plan.status_code == 201:
            approver = {"name": "郑七", "title": "区域总裁"}
            await act(case, "plan_approved", plan=plan.json()["action"]["action_id"], approver=approver)
            await act(case, "plan_answered", households=[f"1-{number}" for number in range(6)], accepted=True)
            whole = (await self.manager.get(f"/v1/cases/{case['case_id']}")).json()
            homes = sorted({one["household"] for one in whole["complaints"] if one["household"]})
            await act(case, "plan_answered", households=homes, accepted=True)
            await act(case, "responded", **{**RESPONSE, "contacted_at": self._now()})
        await act(case, "closed", decision="完成", recurrence_expected=False)

    def _some_time(self) -> str:
        """Of long ago or just now: nothing falls due while one looks."""
        ago = self.rng.choice(
            (timedelta(days=self.rng.randrange(2, 80)), timedelta(minutes=self.rng.randrange(10, 30)))
        )
        return (self.house.services.now() - ago - self.rng.randrange(3) * _SECOND).isoformat()

    def _now(self) -> str:
        return str(self.house.services.now().isoformat())


async def test_kept_sums_rows_and_a_recount_agree(database_url: str, tmp_path: Path) -> None:
    async with open_house(database_url, tmp_path) as house:
        async for seed in seeds(HISTORIES):
            with told(seed):
                await _history(house, Random(seed), database_url)


async def _history(house: House, rng: Random, url: str) -> None:
    ledger = Ledger(house, rng)
    manager = await ledger.begin()
    for _ in range(ROUNDS):
        for _ in range(STEPS):
            await ledger.step()
        cases = await _cases(ledger)
        for _ in range(QUESTIONS):
            by = rng.sample(DIMENSIONS, rng.choice((0, 1, 1, 1, 2, 3)))
            await _agree(manager, by, _filters(rng, ledger), cases)
        await _counted_anew(house, url)


async def _agree(manager: Caller, by: Sequence[str], filters: Sequence["Filter"], cases: Sequence[Case]) -> None:
    query = "&".join([*(f"group_by={','.join(by)}" for _ in by[:1]), *(one.query for one in filters)])
    expected = _recounted(by, [case for case in cases if all(one.holds(case) for one in filters)])
    for asked in (query, *([f"{query}&{_EVER}"] if "opened_from" not in query else [])):
        answer = await manager.get(f"/v1/summary?{asked}")
        assert answer.status_code == 200, answer.text
        assert [_told(item) for item in answer.json()["items"]] == [_told(item) for item in expected], asked


def _told(item: Item) -> Item:
    return {name: value for name, value in item.items() if not name.endswith("_share")}


class Filter(NamedTuple):
    """A filter as it is asked, and of which cases it holds."""

    query: str
    holds: Callable[[Case], bool]


def _filters(rng: Random, ledger: Ledger) -> list[Filter]:
    home, status = rng.choice(ledger.regions), rng.sample(STATUSES, 2)
    category, number, city = rng.choice(CATEGORIES), rng.randrange(1, 4), rng.choice(CITIES[:2])
    breached = rng.random() < 0.5
    since, until = (_month(ledger, rng) for _ in range(2))
    known = [
        Filter(f"region={home}", lambda case: case["region"] == home),
        Filter(f"project={home}-{number}", lambda case: case["project"] == f"{home}-{number}"),
        Filter(f"city={city}", lambda case: case["city"] == city),
        Filter("area=大湾区", lambda case: True),
        Filter(f"category={category}", lambda case: case["category"] == category),
        Filter(f"status={status[0]}&status={status[1]}", lambda case: case["status"] in status),
        Filter("stage=complaint", lambda case: case["stage"] == "complaint"),
        Filter("grade=ungraded", lambda case: case["code"] == "ungraded"),
        Filter("tag=甲", lambda case: "甲" in case["tags"]),
        Filter("q=渗漏", lambda case: case["title"] == "渗漏"),
        Filter("channel=media", lambda case: any(one["channel"] == "media" for one in case["own"])),
        Filter("region=" + "&region=".join(ledger.regions), lambda case: case["region"] in ledger.regions),
        # Whole months are kept sums, and parts of them are not.
        Filter(f"opened_from={quote(since.isoformat())}", lambda case: _opened(case) >= since),
        Filter(f"opened_to={quote(until.isoformat())}", lambda case: _opened(case) < until),
        Filter(f"breached={str(breached).lower()}", lambda case: bool(_breaches(case)) == breached),
    ]
    sampled = rng.sample(known, rng.choice((0, 1, 1, 2)))
    # Values of one parameter widen it, where two filters narrow: of two that ask by the same, the last.
    return list({one.query.partition("=")[0]: one for one in sampled}.values())


def _month(ledger: Ledger, rng: Random) -> datetime:
    """Where one of the last months begins, or a little later."""
    day = (ledger.house.services.now() - timedelta(days=rng.randrange(90))).astimezone(_BEIJING).replace(day=1)
    return day.replace(hour=0, minute=0, second=0, microsecond=0) + rng.choice((0, 0, 1)) * timedelta(days=3)


def _opened(case: Case) -> datetime:
    return datetime.fromisoformat(case["opened_at"])


async def _cases(ledger: Ledger) -> list[Case]:
    """Every case as it is told alone; `own` complaints are those that it did not get by a merger."""
    found = [(await ledger.manager.get(f"/v1/cases/{case['case_id']}")).json() for case in ledger.cases]
    # Also what a void case lends: it was received there, and counts for nothing.
    merged_ones = [case for case in found if any(link["kind"] == "merged_into" for link in case["links"])]
    lent = {one["complaint_id"] for case in merged_ones for one in case["complaints"]}
    for case in found:
        merged = case["status"] == "merged"
        # What is no complaint yet has no grade.
        case["code"] = case["grade"]["code"] if case["grade"] else "ungraded"
        case["own"] = [one for one in case["complaints"] if merged or one["complaint_id"] not in lent]
        # What is owed to the complaints of a merged case is told of its target.
        case["owed"] = [
            one for one in case["duties"] if one["state"] != "void" and not (merged and one["complaint_id"])
        ]
        case["month"] = f"{datetime.fromisoformat(case['opened_at']).astimezone(_BEIJING):%Y-%m}"
    return found


def _recounted(by: Sequence[str], cases: Iterable[Case]) -> list[Item]:
    groups: dict[tuple[Any, ...], list[Case]] = defaultdict(list)
    if not by:
        groups[()] = []
    for case in cases:
        if case["status"] != "void":
            key = {**case, "grade": case["code"]}
            groups[tuple(key[name] for name in by)].append(case)
    order = sorted(groups, key=lambda key: [(part is None, part or "") for part in key])
    return [{**dict(zip(by, key, strict=True)), **_item(groups[key])} for key in order]


def _item(cases: Sequence[Case]) -> Item:
    owed = [one for case in cases for one in case["owed"]]
    responses = [one for one in owed if one["duty"] == "respond" and one["state"] != "pending"]
    answers = sorted(
        (datetime.fromisoformat(one["responded_at"]) - datetime.fromisoformat(one["obtained_at"])) // _SECOND
        for case in cases
        for one in case["own"]
        if one["responded_at"]
    )
    ended = [case for case in cases if case["status"] in ("closed", "accounted")]
    return {
        "opened": len(cases),
        "closed": len(ended),
        "reopened": sum(1 for case in cases for cycle in case["cycles"] if cycle["reopened"]),
        "open": sum(1 for case in cases if case["status"] not in ("closed", "accounted", "merged")),
        "household_count": sum(case["household_count"] for case in cases if case["status"] != "merged"),
        "duties_due": len(owed),
        "duties_pending": sum(1 for one in owed if one["state"] == "pending"),
        "breaches": sum(1 for case in cases for _ in _breaches(case)),
        "responded_in_time": sum(1 for one in responses if one["state"] == "met"),
        "responses_due": len(responses),
        "median_seconds_to_respond": _ranked(answers, 50),
        "p90_seconds_to_respond": _ranked(answers, 90),
    }


def _breaches(case: Case) -> list[dict[str, Any]]:
    return [one for one in case["owed"] if one["state"] in ("overdue", "met_late")]


def _ranked(answers: Sequence[int], percent: int) -> int | None:
    """The first of which so many percent are no longer."""
    return next((one for at, one in enumerate(answers, 1) if at * 100 >= percent * len(answers)), None)


async def _counted_anew(house: House, url: str) -> None:
    """The sums that were kept step by step are those of all rows at once."""
    view = VIEWS[house.services.watch.view.generation]
    connection = await connect(url, role=None)
    try:
        async with connection.transaction(force_rollback=True):
            await connection.execute("SELECT FROM projections FOR UPDATE")
            kept = await _sums(connection, view)
            await Writer(connection, house.services.watch.view.generation).count_all()
            assert await _sums(connection, view) == kept
    finally:
        await connection.close()


async def _sums(connection: Any, view: View) -> list[set[Any]]:
    tables = (view.tallies, view.counts, view.answers, view.owed)
    # As texts: rows with arrays cannot be told apart by a set.
    return [
        {
            row[0]
            for row in await (await connection.execute(f"SELECT one::text FROM {table.fullname} AS one")).fetchall()
        }
        for table in tables
    ]
