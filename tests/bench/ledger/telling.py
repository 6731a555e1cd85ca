"""Telling a story: actions asked for one after another, judged by the rules as at the desk, with no database."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec.structs import replace

from intake_api import bodies
from services.commands import ACTION, OPENING, Correct, Link, Unlink
from services.corrections import Target, correct
from services.decide import make, open_case
from services.docket import Docket, Entry, advanced, comes_last, fold
from services.events import Action, Corrected, Linked, Unlinked
from services.instants import format_instant
from services.sitting import Sitting

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
# Stands for an id of the story; where it is stamped out, each copy has another.
ID = "51075107-0000-0000-0000-%012x"
PROJECT = "PROJECT-SLOT"
REGION = "REGION_SLOT"
REFERENCE = "REFERENCE-SLOT-%d"
HOUSEHOLD = "HOUSE%d"
CUSTOMER, STAFF = "1380000%04d", "1390000%04d"


class Told(NamedTuple):
    """One recorded action, and whether its case stands open after it."""

    entry: Entry
    is_open: bool


class Teller:
    """Cases that concern one another; `now` is when the next action is recorded."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.now = BEGINNING
        self.told: list[Told] = []
        self.ids: list[datetime] = []
        self._files: dict[UUID, list[Entry]] = {}
        self._docket: Docket = {}

    def new_id(self) -> UUID:
        """The next id; when it was made is part of a UUIDv7."""
        self.ids.append(self.now)
        return UUID(ID % (len(self.ids) - 1))

    def wait(self, least: float, most: float) -> None:
        """Some minutes go by."""
        self.now += timedelta(microseconds=int(self.rng.uniform(least, most) * 60e6))

    def open(self, **body: Any) -> UUID:
        """Open a case."""
        case_id = self.new_id()
        said = {"project": PROJECT, "title": "标题", "external_ref": REFERENCE % len(self._files), **_written(body)}
        action = open_case(OPENING.validate_json(msgspec.json.encode(said)), self.now, self.new_id)
        self._store(self._entry(case_id, action))
        return case_id

    def ask(self, case_id: UUID, name: str, /, **body: Any) -> Action:
        """Append an action; raises what the rules refuse it with."""
        said = {"type": name, **_written(body)}
        command = ACTION.validate_json(msgspec.json.encode(said))
        action: Action
        sitting = Sitting(self._docket, case_id)
        if isinstance(command, Correct):
            sitting.take(self._files)
            action = correct(command, self._target(case_id, command), self.now, self.new_id, bodies.command)
        else:
            other = UUID(command.case) if isinstance(command, Link | Unlink) else None
            action = make(command, self.now, self.new_id, other)
            if other or sitting.needs_files(action.name, min(action.occurred_at, self.now)):
                sitting.take(self._files)
        entry = self._entry(case_id, action)
        sitting.judge(entry)
        self._store(entry)
        if isinstance(action, Linked | Unlinked) and action.kind == "merged_into":
            told = replace(action, action_id=self.new_id(), case=case_id, kind="merged_from")
            self._store(self._entry(action.case, told))
        return action

    def finished(self) -> Sequence[Told]:
        """The story, once nothing in it contradicts anything else."""
        if faults := fold(self._files).faults:
            raise RuntimeError(f"the story is not sound: {faults}")
        return self.told

    def _entry(self, stream: UUID, action: Action) -> Entry:
        role = "agent" if action.name in _AGENTS else "manager"
        subject = f"{role}/region/desk-{self.rng.randrange(20):02d}"
        version = len(self._files.get(stream, ())) + 1
        number = ID % 0 if version == 1 else None
        at = len(self.told) + 1
        return Entry(stream, version, at, self.now, REGION, subject, replace(action, case_no=number))

    def _store(self, entry: Entry) -> None:
        self._files.setdefault(entry.stream, []).append(entry)
        known = self._docket if entry.stream in self._docket else None
        if known and comes_last(known, entry.action.name, entry.at):
            self._docket = advanced(known, entry)
        else:
            self._docket = fold(self._files).docket
        self.told.append(Told(entry, self._docket[entry.stream].stands_open))

    def _target(self, case_id: UUID, command: Correct) -> Target:
        held = {one.action.action_id: one for one in self._files[case_id]}
        named = held[command.action]
        root = held[named.action.root] if isinstance(named.action, Corrected) else named
        return Target(named.action, root.action, root.recorded_at)


_AGENTS = frozenset(
    {"warned", "received", "responded", "contact_attempted", "chased", "noted", "assessed", "escalated"}
)


def _written(body: dict[str, Any]) -> dict[str, Any]:
    return {name: format_instant(v) if isinstance(v, datetime) else v for name, v in body.items()}
