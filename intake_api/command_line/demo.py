"""A demo directory: two regions and a few projects, so that there is something to complain about."""

import asyncio

from intake_api.services import Services
from services.caller import Caller
from services.commands import DescribeProject, DescribeRegion, ManagersBody, PersonBody
from services.settings import Settings

_ADMIN = Caller("demo", "admin", "group", frozenset("*"), float("inf"))

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
