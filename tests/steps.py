"""Steps for tests of the rules: ``given(facts).when(command).then(fact)``, or ``.refused(Rule.X)``.

Facts and commands are made here with short words; times are minutes after `NOON`, so that a test reads as a story.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from msgspec.structs import replace

from services.case import Case, Complaint
from services.commands import ACTION, OPENING
from services.decide import Plain, make, open_case
from services.docket import Entry, Files, fold
from services.events import (
    Action,
    Chased,
    ContactAttempted,
    ContactPerson,
    Noted,
    Opening,
    Received,
    Responded,
    RiskIdentified,
    Warned,
)
from services.instants import format_instant
from services.rules import Malformed, Refusal, Rule
from services.sitting import Sitting

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
# When the desk is asked, unless a test says otherwise: every fact of a story lies before it.
NOW = NOON + timedelta(days=1)
CASE = UUID("019ab3c4-5d6e-7f80-9123-000000000001")
ACTION_ID = UUID("019ab3c4-5d6e-7f80-9123-00000000ac10")
WANG = ContactPerson("王五", "客户关系专员")
ACTOR = "agent/region/steps"

_A = TypeVar("_A", bound=Action)


def at(minutes: float = 0) -> datetime:
    """So many minutes after noon."""
    return NOON + timedelta(minutes=minutes)


def complaint_id(number: int) -> UUID:
    """The id of a story's n-th complaint."""
    return UUID(f"019ab3c4-5d6e-7f80-9123-0000000c{number:04d}")


def _new_ids() -> Iterator[UUID]:
    return (UUID(int=0x019AB3C4_5D6E_7F80_9123_100000000000 + number) for number in count())


# Facts ------------------------------------------------------------------------------------------------------------


_fact_ids = count(1)


def _fact_id() -> UUID:
    """Each fact has an id of its own."""
    return UUID(int=0x019AB3C4_5D6E_7F80_9123_200000000000 + next(_fact_ids))


def risk_identified(minutes: float = 0) -> RiskIdentified:
    return RiskIdentified(action_id=_fact_id(), occurred_at=at(minutes), opening=_opening())


def warned(minutes: float = 0, unrest: str | None = None) -> Warned:
    return Warned(action_id=_fact_id(), occurred_at=at(minutes), unrest=unrest)


def received(number: int = 1, household: str | None = "3-1-201", minutes: float = 0, **more: Any) -> Received:
    fields: dict[str, Any] = {"channel": "hotline", **more}
    return Received(
        action_id=_fact_id(),
        complaint_id=complaint_id(number),
        occurred_at=at(minutes),
        household=household,
        **fields,
    )


def responded(*numbers: int, minutes: float, households: tuple[str, ...] = ()) -> Responded:
    """With no complaint and no household named: to everyone."""
    return Responded(
        action_id=_fact_id(),
        occurred_at=at(minutes),
        complaints=tuple(map(complaint_id, numbers)),
        households=households,
        everyone=not numbers and not households,
        contact_person=WANG,
    )


def attempted(*numbers: int, minutes: float, households: tuple[str, ...] = ()) -> ContactAttempted:
    return ContactAttempted(
        action_id=_fact_id(),
        occurred_at=at(minutes),
        complaints=tuple(map(complaint_id, numbers)),
        households=households,
        channel="hotline",
        outcome="no_answer",
    )


def chased(number: int, minutes: float) -> Chased:
    return Chased(action_id=_fact_id(), occurred_at=at(minutes), complaint=complaint_id(number), channel="hotline")


def noted(text: str, minutes: float, about: int | None = None) -> Noted:
    complaint = complaint_id(about) if about else None
    return Noted(action_id=_fact_id(), occurred_at=at(minutes), text=text, complaint=complaint)


def _opening() -> Opening:
    return Opening(project="GD-FS-001", category="engineering", title="3栋外墙渗水")


# Commands ---------------------------------------------------------------------------------------------------------


def command(kind: str, **fields: Any) -> Any:
    """A command as its HTTP body would make it; datetimes are written out."""
    made = ACTION.validate_json(msgspec.json.encode({"type": kind, **_written(fields)}))
    return made


def respond(*numbers: int, minutes: float, households: tuple[str, ...] = (), **more: Any) -> Any:
    """With no complaint and no household named: to everyone."""
    target: dict[str, Any] = {"complaints": [str(complaint_id(n)) for n in numbers] or "all"}
    if households:
        target = {"households": households}
    who = {"name": WANG.name, "title": WANG.title}
    return command("responded", contacted_at=at(minutes), contact_person=who, **target, **more)


def receive(household: str | None = "3-1-201", minutes: float = 0, **more: Any) -> Any:
    place = {"household": household} if household else {}
    return command("received", obtained_at=at(minutes), **{"channel": "hotline", **place, **more})


def attempt(*numbers: int, minutes: float, households: tuple[str, ...] = ()) -> Any:
    target: dict[str, Any] = {"complaints": [str(complaint_id(n)) for n in numbers]}
    if households:
        target = {"households": households}
    return command("contact_attempted", attempted_at=at(minutes), channel="hotline", outcome="no_answer", **target)


def opened(at_: datetime = NOW, **fields: Any) -> Action:
    """The first action of a case that is opened so; a complaint unless a stage is named."""
    body = {"project": "GD-FS-001", "category": "engineering", "title": "3栋外墙渗水", **_written(fields)}
    if body.get("stage", "complaint") == "complaint":
        body = {"obtained_at": format_instant(NOON), "channel": "hotline", **body}
    ids = _new_ids()
    return open_case(OPENING.validate_json(msgspec.json.encode(body)), at_, lambda: next(ids))


def _written(fields: dict[str, Any]) -> dict[str, Any]:
    return {k: format_instant(v) if isinstance(v, datetime) else v for k, v in fields.items()}


# The steps --------------------------------------------------------------------------------------------------------


def entries(*facts: Action, stream: UUID = CASE, first: int = 1) -> list[Entry]:
    """These facts as a stream holds them, recorded in this order; the first opens the case."""
    opening = [facts[0] if facts[0].opening else replace(facts[0], opening=_opening())] if facts else []
    return [entry(fact, number, stream, first) for number, fact in enumerate([*opening, *facts[1:]], start=1)]


def entry(fact: Action, version: int, stream: UUID = CASE, first: int = 1) -> Entry:
    """One fact in its place, recorded a little after all stories."""
    position = first + version - 1
    recorded_at = NOW + timedelta(microseconds=position)
    return Entry(stream, version, position, recorded_at, "GD", ACTOR, fact)


def folded(*facts: Action) -> Case:
    """The case after these facts; the first opens it."""
    return fold({CASE: entries(*facts)}).docket[CASE]


@dataclass
class Asked:
    """What came of a command: a fact, or why not."""

    before: Files
    fact: Action | None = None
    refusal: Refusal | None = None
    malformed: Malformed | None = None

    def then(self, expected: Action) -> "Asked":
        """That fact and no other; new ids aside."""
        assert self.fact is not None, self.refusal or self.malformed
        assert _without_ids(self.fact) == _without_ids(expected)
        return self

    def refused(self, rule: Rule) -> Refusal:
        """By that rule."""
        assert self.fact is None, f"accepted: {self.fact}"
        assert self.refusal is not None, self.malformed
        assert self.refusal.rule is rule, self.refusal
        return self.refusal

    def is_malformed(self, code: str, pointer: str) -> Malformed:
        """As a body that is wrong in that place, whatever the state."""
        assert self.malformed is not None, self.fact or self.refusal
        assert (self.malformed.code, self.malformed.faults[0].pointer) == (code, pointer)
        return self.malformed

    @property
    def case(self) -> Case:
        """The case after it."""
        assert self.fact is not None, self.refusal or self.malformed
        held = self.before[CASE]
        return fold({**self.before, CASE: [*held, entry(self.fact, len(held) + 1)]}).docket[CASE]


def _without_ids(fact: _A) -> _A:
    same: dict[str, Any] = {"action_id": ACTION_ID}
    if isinstance(fact, Received):
        same["complaint_id"] = complaint_id(0)
    return replace(fact, **same)


@dataclass
class Given:
    """A case with a past."""

    files: Files

    @property
    def case(self) -> Case:
        return fold(self.files).docket[CASE]

    def when(self, asked: Plain, now: datetime = NOW, about: UUID | None = None) -> Asked:
        """Ask for it. `about`: the case that a link names."""
        ids = _new_ids()
        sitting = Sitting(fold(self.files).docket, CASE)
        sitting.take(self.files)
        try:
            fact = make(asked, now, lambda: next(ids), about)
            sitting.judge(replace(entry(fact, len(self.files[CASE]) + 1), recorded_at=now))
            return Asked(self.files, fact)
        except Refusal as refusal:
            return Asked(self.files, refusal=refusal)
        except Malformed as malformed:
            return Asked(self.files, malformed=malformed)

    def complaint(self, number: int) -> Complaint:
        return self.case.complaints[complaint_id(number)]

    def answered(self, number: int) -> datetime | None:
        """When that complaint was answered."""
        return self.complaint(number).responded_at


def given(*facts: Action) -> Given:
    """A case to which this happened, in the order in which it was recorded."""
    return Given({CASE: entries(*facts)})
