"""Regions and projects, and who holds their offices."""

from intake_api.shown.common import Shown
from services.instants import Instant


class ShownPerson(Shown):
    """An office holder."""

    name: str
    phone: str | None


class ShownManagers(Shown):
    """项目总、城市总、片区总."""

    project: ShownPerson | None
    city: ShownPerson | None
    area: ShownPerson | None


class Region(Shown):
    """区域公司."""

    code: str
    name: str
    valid_from: Instant
    president: ShownPerson | None
    customer_relations_executive: ShownPerson | None
    customer_relations_lead: ShownPerson | None


class Project(Shown):
    """项目."""

    code: str
    name: str
    valid_from: Instant
    region: str
    city: str | None
    area: str | None
    handover_started_at: Instant | None
    handover_finished_at: Instant | None
    managers: ShownManagers


class RegionPage(Shown):
    """All regions."""

    items: list[Region]
    next_cursor: None


class ProjectPage(Shown):
    """All projects."""

    items: list[Project]
    next_cursor: None
