"""A demo directory, so that there is something to complain about; and one case played into the ledger."""

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from intake_api import bodies
from intake_api.command_line.story import OPENING_BODY, STORY, Scene
from intake_api.services import Services
from projections import case_view, duty_view
from services.caller import Caller
from services.case import Case
from services.commands import ACTION, OPENING, DescribeProject, DescribeRegion, ManagersBody, PersonBody
from services.desk import Answered, Request, Written
from services.instants import format_instant
from services.settings import Settings

_ADMIN = Caller("demo", "admin", "group", frozenset("*"), float("inf"))
_CENTRE = Caller("demo", "agent", "region", frozenset({"GD"}), float("inf"))
_BEIJING = ZoneInfo("Asia/Shanghai")
_STATES = {"met": "在 1 小时内响应", "met_late": "响应超时", "overdue": "逾期未响应", "pending": "待响应"}

_REGIONS = {
    "GD": DescribeRegion(
        name="广东区域",
        president=PersonBody(name="赵建国"),
        customer_relations_executive=PersonBody(name="钱淑芬"),
        customer_relations_lead=PersonBody(name="孙丽"),
    ),
    "JS": DescribeRegion(name="江苏区域", president=PersonBody(name="周伟")),
}
_PROJECTS = {
    "GD-FS-001": DescribeProject(
        name="佛山一号院", region="GD", city="佛山", managers=ManagersBody(project=PersonBody(name="吴海涛"))
    ),
    "GD-GZ-002": DescribeProject(
        name="广州湖畔", region="GD", city="广州", managers=ManagersBody(city=PersonBody(name="郑敏"))
    ),
    "JS-NJ-001": DescribeProject(
        name="南京江景", region="JS", city="南京", managers=ManagersBody(project=PersonBody(name="王磊"))
    ),
}


def make_directory(settings: Settings, url: str) -> None:
    """Describe the demo's regions and projects; what stands there already stays as it is."""
    asyncio.run(_make(settings, url))


async def _make(settings: Settings, url: str) -> None:
    services = Services(settings, url)
    async with services.log:
        await services.directory.refresh()
        for code, region in _REGIONS.items():
            if code not in services.directory.regions:
                await services.registrar.describe_region(code, region, _ADMIN)
        for code, project in _PROJECTS.items():
            if code not in services.directory.projects:
                await services.registrar.describe_project(code, project, _ADMIN)


def play(settings: Settings, url: str) -> str:
    """Play the story as a new case through the desk, print what happened, and return the case's number."""
    make_directory(settings, url)
    return asyncio.run(_play(settings, url))


async def _play(settings: Settings, url: str) -> str:
    services = Services(settings, url)
    async with services.log:
        await services.directory.refresh()
        now = services.now()
        table = Table("时间", "动作", "经过", title="佛山一号院 外墙渗水", title_justify="left")
        opened = await _open(services, now)
        table.add_row(_clock(now, OPENING_BODY.minutes), "warned", OPENING_BODY.told)
        for scene in STORY:
            await _act(services, opened, scene, now)
            table.add_row(_clock(now, scene.minutes), str(scene.body["type"]), scene.told)
        docket, _ = await services.cases.fresh(opened.stream)
    case = docket[opened.stream]
    console = Console()
    console.print(table)
    console.print(_duties(services, case, now))
    return case.case_no


async def _open(services: Services, now: datetime) -> Answered:
    raw, value = _said(OPENING_BODY, now, {})
    return await services.desk.open(bodies.command(OPENING, raw, value), Request(_CENTRE, None), _brief)


async def _act(services: Services, opened: Answered, scene: Scene, now: datetime) -> None:
    docket, _ = await services.cases.fresh(opened.stream)
    known = docket[opened.stream]
    complaints = {one.household: str(one.complaint_id) for one in known.complaints.values() if one.household}
    raw, value = _said(scene, now, complaints)
    await services.desk.act(opened.stream, bodies.command(ACTION, raw, value), Request(_CENTRE, None), _brief)


def _said(scene: Scene, now: datetime, complaints: dict[str, str]) -> tuple[bytes, dict[str, Any]]:
    """The scene's body with its instant, and the complaint of the household that it is about."""
    body = {**scene.body, scene.time_field: format_instant(now - timedelta(minutes=scene.minutes))}
    if scene.about:
        body["complaint"] = complaints[scene.about]
    return json.dumps(body).encode(), body


def _brief(written: Written) -> bytes:
    return case_view.encode({"case_id": written.case.case_id})


def _duties(services: Services, case: Case, now: datetime) -> Table:
    """响应 (4.3): one line per complaint."""
    table = Table("户", "获取投诉", "响应时限", "响应", "判定 (4.3)", title=f"{case.case_no} {case.status}")
    table.title_justify = "left"
    for duty in duty_view.duties(case, services.directory.regions, now):
        met = f"{duty['met_at'].astimezone(_BEIJING):%H:%M}" if duty["met_at"] else "–"
        started, due = (_time(duty[name]) for name in ("started_at", "due_at"))
        table.add_row(duty["household"] or "匿名", started, due, met, _STATES.get(duty["state"], duty["state"]))
    return table


def _time(instant: datetime | None) -> str:
    return f"{instant.astimezone(_BEIJING):%m-%d %H:%M}" if instant else "–"


def _clock(now: datetime, minutes: int) -> str:
    return f"{(now - timedelta(minutes=minutes)).astimezone(_BEIJING):%m-%d %H:%M}"
