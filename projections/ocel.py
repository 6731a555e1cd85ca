"""The ledger as an object-centric event log (OCEL 2.0): cases, complaints, households, projects and units as objects.

An event is related to its case, to the unit that recorded it, and to the complaints, households and the other case that
it is about. What changes over time of a case or a project is told with the instant from which it holds. An object that
many cases share is written where it is met first; their ids are all that is remembered.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import UUID

from projections.mined import CHANGING, Act, Grievance, Mined
from projections.mined_fields import FIELDS, Kind, Value, own_fields
from projections.pseudonyms import Pseudonyms
from services.case import Case
from services.directory import Directory

# The instant of what held from the beginning, as the standard has it.
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)

Types = Mapping[str, Mapping[str, Kind]]
Relations = tuple[tuple[str, str], ...]

OBJECT_TYPES: Types = {
    "case": {
        "case_no": "string",
        "region": "string",
        "category": "string",
        "tags": "string",
        "opened_at": "time",
        **dict.fromkeys(CHANGING, "string"),
    },
    "complaint": {
        "channel": "string",
        "obtained_at": "time",
        "anonymous": "boolean",
        "responded_at": "time",
        "retracted": "boolean",
    },
    "household": {},
    "project": {"code": "string", "name": "string", "region": "string", "city": "string", "area": "string"},
    "unit": {"region": "string", "kind": "string"},
}
_OF_EVERY_EVENT: Mapping[str, Kind] = {
    "recorded_at": "time",
    "delay_seconds": "integer",
    "resource": "string",
    "role": "string",
    "corrected_by": "string",
    "retracted": "boolean",
}
EVENT_TYPES: Types = {
    name: {**_OF_EVERY_EVENT, **{field.name: field.kind for field in fields}} for name, fields in FIELDS.items()
}


class Object(NamedTuple):
    """An object: values with the instant from which they hold, and its relations to others, each with a qualifier."""

    id: str
    type: str
    values: list[tuple[str, datetime, Value]]
    relations: Relations = ()


class Event(NamedTuple):
    """An event; `at` is the action's fold instant."""

    id: str
    type: str
    at: datetime
    values: list[tuple[str, Value]]
    relations: Relations


class File(Protocol):
    """Where they are written."""

    def begin(self, objects: Types, events: Types) -> None: ...
    def object(self, one: Object) -> None: ...
    def event(self, one: Event) -> None: ...
    def end(self) -> None: ...


class Ocel:
    """Writes one log. `exported` says of a case that others are linked to whether the file holds it."""

    def __init__(
        self, file: File, pseudonyms: Pseudonyms, directory: Directory, exported: Callable[[UUID], bool]
    ) -> None:
        self._file, self._pseudonyms, self._directory, self._exported = file, pseudonyms, directory, exported
        self._met: set[str] = set()

    def begin(self, position: int) -> None:
        """The format has no place to say up to which position of the ledger it goes."""
        self._file.begin(OBJECT_TYPES, EVENT_TYPES)

    def add(self, one: Mined) -> None:
        """A case, its complaints, what they share with others, and its events."""
        case = one.case
        project, unit = self._project(case.opened.project), self._unit(case.region, "region")
        links = tuple(
            (str(held.action.case), held.action.kind)
            for held in case.links
            if held.action.kind != "merged_from" and self._exported(held.action.case)
        )
        relations = ((project, "of_project"), (unit, "handled_by"), *links)
        self._file.object(Object(str(case.case_id), "case", _of_case(one), _distinct(relations)))
        for grievance in one.grievances:
            self._file.object(self._complaint(case, grievance))
        for act in one.acts:
            self._file.event(self._event(case, act, project))

    def end(self) -> None:
        self._file.end()

    def _event(self, case: Case, act: Act, project: str) -> Event:
        entry = act.entry
        role, unit, subject = entry.actor.split("/", 2)
        values: list[tuple[str, Value]] = [
            ("recorded_at", entry.recorded_at),
            ("delay_seconds", max(0, (entry.recorded_at - entry.action.occurred_at) // _SECOND)),
            ("resource", self._pseudonyms.of("resource", subject)),
            ("role", role),
            *((field.name, value) for field, value in own_fields(entry.action)),
        ]
        if act.corrected_by:
            values += [("corrected_by", str(act.corrected_by)), ("retracted", act.retracted)]
        relations = [(str(case.case_id), "case"), (self._unit(entry.region, unit), "recorded_by")]
        if entry.version == 1:
            relations.append((project, "project"))
        relations += [(str(one), "complaint") for one in act.complaints]
        relations += [(self._household(case, one), "household") for one in act.households]
        if act.other and self._exported(act.other):
            relations.append((str(act.other), "other_case"))
        action = entry.action
        return Event(str(action.action_id), action.name, entry.at, values, _distinct(relations))

    def _complaint(self, case: Case, one: Grievance) -> Object:
        values: list[tuple[str, datetime, Value]] = [
            ("channel", _EVER, one.channel),
            ("obtained_at", _EVER, one.obtained_at),
            ("anonymous", _EVER, one.anonymous),
            ("retracted", _EVER, one.retracted),
        ]
        if one.answered_at:
            values.append(("responded_at", one.answered_at, one.answered_at))
        relations: Relations = ((str(case.case_id), "in_case"),)
        if one.household:
            relations = (*relations, (self._household(case, one.household), "of_household"))
        return Object(str(one.complaint_id), "complaint", values, relations)

    def _household(self, case: Case, key: str) -> str:
        code = case.opened.project
        name = f"household:{self._pseudonyms.of('household', code, key)}"
        if self._is_new(name):
            self._file.object(Object(name, "household", [], ((self._project(code), "in_project"),)))
        return name

    def _project(self, code: str) -> str:
        name = f"project:{code}"
        if self._is_new(name):
            self._file.object(Object(name, "project", [("code", _EVER, code), *self._described(code)]))
        return name

    def _described(self, code: str) -> Iterator[tuple[str, datetime, Value]]:
        """What the directory says of a project, people left out; its first entry reaches back without limit."""
        for number, entry in enumerate(self._directory.projects.get(code, ())):
            fact = entry.fact
            at = entry.fact.valid_from if number else _EVER
            told = (("name", fact.title), ("region", fact.region), ("city", fact.city), ("area", fact.area))
            yield from ((name, at, value) for name, value in told if value)

    def _unit(self, region: str, kind: str) -> str:
        """区域公司, its property services, or the group, of which there is one."""
        name = "unit:group" if kind == "group" else f"unit:{region}/{kind}"
        if self._is_new(name):
            where: list[tuple[str, datetime, Value]] = [] if kind == "group" else [("region", _EVER, region)]
            self._file.object(Object(name, "unit", [("kind", _EVER, kind), *where]))
        return name

    def _is_new(self, name: str) -> bool:
        if name in self._met:
            return False
        self._met.add(name)
        return True


def _of_case(one: Mined) -> list[tuple[str, datetime, Value]]:
    case, opening = one.case, one.case.opened
    assert case.opened_at is not None
    values: list[tuple[str, datetime, Value]] = [
        ("case_no", _EVER, case.case_no),
        ("region", _EVER, case.region),
        ("category", _EVER, opening.category),
        ("opened_at", _EVER, case.opened_at),
    ]
    if opening.tags:
        values.append(("tags", _EVER, " | ".join(opening.tags)))
    return [*values, *((change.name, change.at, change.value) for change in one.changes)]


def _distinct(relations: Iterable[tuple[str, str]]) -> Relations:
    return tuple(dict.fromkeys(relations))
