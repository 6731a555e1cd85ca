"""区域、项目与负责人. Who is where and answers for what, by the instant from which it holds and when we knew it.

Each code is a stream of its own in the ledger. A process folds them into memory and catches up when asked.
"""

from calendar import monthrange
from datetime import date, datetime, timedelta
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

import msgspec

from services.event_log import EventLog, Record
from services.events import Person, ProjectDescribed, RegionDescribed, decode

_BEIJING = ZoneInfo("Asia/Shanghai")
_TICK = timedelta(microseconds=1)
_NAMESPACE = UUID("3f6f0f86-7b5c-5c61-9d0e-9f0d3a5f5c1e")
_T = TypeVar("_T", RegionDescribed, ProjectDescribed)


class Entry(msgspec.Struct, Generic[_T], frozen=True):
    """One stored description and its place in its stream."""

    fact: _T
    stream: UUID
    version: int
    recorded_at: datetime


class Responsible(NamedTuple):
    """第一处理责任人 (4.4): the office and its holder; `path` leads to the person within the project's entry."""

    role: str
    person: Person


def region_stream(code: str) -> UUID:
    return uuid5(_NAMESPACE, f"region:{code}")


def project_stream(code: str) -> UUID:
    return uuid5(_NAMESPACE, f"project:{code}")


def notices_stream(code: str) -> UUID:
    """The region's stream of notices: which of its duties were missed."""
    return uuid5(_NAMESPACE, f"notices:{code}")


def in_force(entries: tuple[Entry[_T], ...], at: datetime) -> Entry[_T]:
    """The entry that holds at an instant: the last to begin by then; the first recorded reaches back without limit."""
    begun = [entry for entry in entries if entry.fact.valid_from <= at]
    return max(begun, key=lambda entry: (entry.fact.valid_from, entry.version), default=entries[0])


def first_responsible(project: ProjectDescribed) -> Responsible | None:
    """The project's general manager; without one the city's, then the area's (4.4; city first: interpretation)."""
    managers = project.managers
    for role in ("project", "city", "area") if managers else ():
        if person := getattr(managers, role):
            return Responsible(role, person)
    return None


def in_concentrated_warranty(project: ProjectDescribed, at: datetime | None) -> bool | None:
    """集中保修期 (3.8): from the start of batch handover to six months after its finish, that last day included.

    Month ends are clamped, and while no finish is known it is still running (interpretations). None: no start is known.
    """
    started, finished = project.handover_started_at, project.handover_finished_at
    if started is None or at is None:
        return None
    day = at.astimezone(_BEIJING).date()
    if day < started.astimezone(_BEIJING).date():
        return False
    return finished is None or day <= _six_months_after(finished.astimezone(_BEIJING).date())


def _six_months_after(day: date) -> date:
    month = day.month + 6
    year, month = (day.year + 1, month - 12) if month > 12 else (day.year, month)
    return date(year, month, min(day.day, monthrange(year, month)[1]))


class Directory:
    """All regions and projects, as far as `position`."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.position = 0
        self.regions: dict[str, tuple[Entry[RegionDescribed], ...]] = {}
        self.projects: dict[str, tuple[Entry[ProjectDescribed], ...]] = {}

    def holds_until(self, now: datetime) -> datetime:
        """The last instant at which all still holds: no entry and (3.8 counts in days) no day has begun."""
        tomorrow = (now.astimezone(_BEIJING) + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        begins = [entry.fact.valid_from for held in self.regions.values() for entry in held]
        begins += [entry.fact.valid_from for held in self.projects.values() for entry in held]
        return min([tomorrow, *(instant for instant in begins if instant > now)]) - _TICK

    async def refresh(self) -> None:
        """Catch up with the ledger."""
        for record in await self._log.read.directory_after(self.position):
            self.take(record)

    def take(self, record: Record) -> None:
        """Fold one record; one already folded changes nothing."""
        if record.position <= self.position:
            return
        fact = decode(record.name, record.schema, record.body)
        self.position = record.position
        if isinstance(fact, RegionDescribed):
            region = Entry(fact, record.stream, record.version, record.recorded_at)
            self.regions[fact.code] = (*self.regions.get(fact.code, ()), region)
        elif isinstance(fact, ProjectDescribed):
            project = Entry(fact, record.stream, record.version, record.recorded_at)
            self.projects[fact.code] = (*self.projects.get(fact.code, ()), project)

    async def known_project(self, code: str) -> tuple[Entry[ProjectDescribed], ...]:
        """The project's entries, looked up again if it is not known here; empty if there is none."""
        if code not in self.projects:
            await self.refresh()
        return self.projects.get(code, ())

    async def known_region(self, code: str) -> tuple[Entry[RegionDescribed], ...]:
        """Likewise for a region."""
        if code not in self.regions:
            await self.refresh()
        return self.regions.get(code, ())
