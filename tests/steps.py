"""Steps for tests of the rules: ``given(facts).when(command).then(fact)``, or ``.refused(Rule.X)``.

Facts and commands are made here with short words; times are minutes after `NOON`, so that a test reads as a story.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from msgspec.structs import replace

from intake_api import bodies
from services.case import Case, Complaint
from services.commands import ACTION, OPENING, Correct, Link, Plain, Unlink
from services.corrections import Target, body_of, correct
from services.decide import make, open_case
from services.docket import Entry, Files, fold
from services.events import (
    Action,
    Assessed,
    Blamed,
    Chased,
    Closed,
    ContactAttempted,
    ContactPerson,
    Corrected,
    EmergencyStarted,
    Escalated,
    Finding,
    LessonApplied,
    LessonRecorded,
    Linked,
    Member,
    Noted,
    Official,
    Opening,
    PlanAnswered,
    PlanApproved,
    PlanProposed,
    Received,
    Reopened,
    Responded,
    RiskIdentified,
    Sanctioned,
    Unlinked,
    Warned,
)
from services.instants import format_instant
from services.permit import FUNCTIONS
from services.rules import Malformed, Refusal, Rule
from services.sitting import Sitting

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
# When the desk is asked, unless a test says otherwise: every fact of a story lies before it.
NOW = NOON + timedelta(days=1)
# One microsecond, in minutes.
TICK = 1 / 60_000_000
CASE = UUID("019ab3c4-5d6e-7f80-9123-000000000001")
# The case that a link names, unless a test says otherwise.
OTHER = UUID("019ab3c4-5d6e-7f80-9123-000000000002")
THIRD = UUID("019ab3c4-5d6e-7f80-9123-000000000003")
ACTION_ID = UUID("019ab3c4-5d6e-7f80-9123-00000000ac10")
WANG = ContactPerson("王五", "客户关系专员")
ZHENG = Official("郑七", "区域总裁")
ACTOR = "agent/region/steps"

_A = TypeVar("_A", bound=Action)


def at(minutes: float = 0) -> datetime:
    """So many minutes after noon."""
    return NOON + timedelta(minutes=minutes)


def complaint_id(number: int) -> UUID:
    """The id of a story's n-th complaint."""
    return UUID(f"019ab3c4-5d6e-7f80-9123-0000000c{number:04d}")


def plan_id(number: int) -> UUID:
    """The id of a story's n-th plan, or lesson."""
    return UUID(f"019ab3c4-5d6e-7f80-9123-0000000b{number:04d}")


_asked_ids = count()


def _new_id() -> UUID:
    return UUID(int=0x019AB3C4_5D6E_7F80_9123_100000000000 + next(_asked_ids))


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


def assessed(minutes: float, **facts: Any) -> Assessed:
    return Assessed(action_id=_fact_id(), occurred_at=at(minutes), facts=facts)


def escalated(to: str, minutes: float) -> Escalated:
    return Escalated(action_id=_fact_id(), occurred_at=at(minutes), to=to, reason="业主扬言维权")


def emergency(minutes: float, functions: tuple[str, ...] = FUNCTIONS, title: str = "regional_president") -> Action:
    return EmergencyStarted(
        action_id=_fact_id(),
        occurred_at=at(minutes),
        lead=Official("赵一", title),
        members=tuple(Member(f"成员{n}", function) for n, function in enumerate(functions)),
        reported_at=at(minutes),
    )


def proposed(minutes: float, number: int = 1, cost: str | None = None) -> PlanProposed:
    return PlanProposed(action_id=plan_id(number), occurred_at=at(minutes), summary="整体重做防水", cost=cost)


def approved(minutes: float, number: int = 1) -> PlanApproved:
    return PlanApproved(action_id=_fact_id(), occurred_at=at(minutes), plan=plan_id(number), approver=ZHENG)


def accepted(*households: str, minutes: float) -> PlanAnswered:
    return PlanAnswered(action_id=_fact_id(), occurred_at=at(minutes), households=households, accepted=True)


def declined(*households: str, minutes: float) -> PlanAnswered:
    return PlanAnswered(action_id=_fact_id(), occurred_at=at(minutes), households=households, accepted=False)


def closed(minutes: float, recurrence_expected: bool = False) -> Closed:
    return Closed(
        action_id=_fact_id(), occurred_at=at(minutes), decision="维修完成", recurrence_expected=recurrence_expected
    )


def reopened(minutes: float) -> Reopened:
    return Reopened(action_id=_fact_id(), occurred_at=at(minutes), reason="雨后再漏")


def blamed(minutes: float, *shares: str) -> Blamed:
    """With no share: nobody is at fault."""
    return Blamed(
        action_id=_fact_id(),
        occurred_at=at(minutes),
        responsible=tuple(Finding(f"责任人{n}", "经理", "项目", "未按图", share) for n, share in enumerate(shares)),
        no_fault=not shares,
        conclusion="已查明",
        determined_by=ZHENG,
    )


def sanctioned(minutes: float, enforced: float | None = None) -> Sanctioned:
    implemented_at = None if enforced is None else at(enforced)
    return Sanctioned(
        action_id=_fact_id(),
        occurred_at=at(minutes),
        party="责任人0",
        measure="通报批评",
        implemented_at=implemented_at,
    )


def lesson_recorded(minutes: float, number: int = 1) -> LessonRecorded:
    return LessonRecorded(
        action_id=plan_id(number),
        occurred_at=at(minutes),
        root_cause="收口",
        lesson="附加层",
        measures=("修订",),
    )


def lesson_applied(minutes: float, number: int = 1) -> LessonApplied:
    return LessonApplied(action_id=_fact_id(), occurred_at=at(minutes), lesson=plan_id(number), applied_to="二期")


def linked(kind: str, minutes: float, case: UUID = OTHER) -> Linked:
    return Linked(action_id=_fact_id(), occurred_at=at(minutes), case=case, kind=kind, reason="同一渗水")


def unlinked(kind: str, minutes: float, case: UUID = OTHER) -> Unlinked:
    return Unlinked(action_id=_fact_id(), occurred_at=at(minutes), case=case, kind=kind, reason="并非同源")


def settled(*households: str) -> list[Action]:
    """A case up to the 40th minute: each household (else 3-1-201) complained, was answered and accepts the plan."""
    names = households or ("3-1-201",)
    complaints = [received(number, household) for number, household in enumerate(names, start=1)]
    return [*complaints, responded(minutes=10), proposed(20), approved(30), accepted(*names, minutes=40)]


def _opening() -> Opening:
    return Opening(project="GD-FS-001", category="engineering", title="3栋外墙渗水")


# Commands ---------------------------------------------------------------------------------------------------------


def command(kind: str, /, **fields: Any) -> Any:
    """A command as its HTTP body would make it; datetimes are written out."""
    return ACTION.validate_json(msgspec.json.encode({"type": kind, **_written(fields)}))


def ask(fact: Action) -> Any:
    """The command that records this fact."""
    body = body_of(fact)
    return command(body.pop("type"), **body)


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
    return open_case(OPENING.validate_json(msgspec.json.encode(body)), at_, _new_id)


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
    return Entry(stream, version, position, recorded(position), "GD", ACTOR, fact)


def recorded(number: int) -> datetime:
    """When the n-th fact of a story was recorded."""
    return NOW + timedelta(microseconds=number)


def folded(*facts: Action) -> Case:
    """The case after these facts; the first opens it."""
    return fold({CASE: entries(*facts)}).docket[CASE]


@dataclass
class Asked:
    """What came of a command: a fact, or why not."""

    before: "Given"
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
    def story(self) -> "Given":
        """The story with what came of it."""
        assert self.fact is not None, self.refusal or self.malformed
        return self.before.and_then(self.fact)

    @property
    def case(self) -> Case:
        """The case after it."""
        return self.story.case


def _without_ids(fact: _A) -> _A:
    same: dict[str, Any] = {"action_id": ACTION_ID}
    if isinstance(fact, Received):
        same["complaint_id"] = complaint_id(0)
    return replace(fact, **same)


@dataclass
class Given:
    """A case with a past, perhaps beside others; `subject` is the one that is asked about."""

    files: Files
    subject: UUID = CASE

    @property
    def case(self) -> Case:
        return fold(self.files).docket[self.subject]

    @property
    def inconsistencies(self) -> list[tuple[UUID, str]]:
        """The actions that later truth undermines, each with its rule."""
        return [(one.action_id, one.rule) for one in self.case.inconsistencies]

    def beside(self, *facts: Action, stream: UUID = OTHER) -> "Given":
        """And another case with a past of its own."""
        return Given({**self.files, stream: entries(*facts, stream=stream, first=self._recorded + 1)}, self.subject)

    def at_the(self, stream: UUID) -> "Given":
        """The same story, asked about another of its cases."""
        return Given(self.files, stream)

    def and_then(self, *facts: Action) -> "Given":
        """And then this was recorded."""
        story = self
        for fact in facts:
            held = [*story.files[story.subject], story.next_entry(fact)]
            story = Given({**story.files, story.subject: held}, story.subject)
        return story

    def stood(self, minutes: float | None = None, known: datetime | None = None) -> Case:
        """State(T, K) of the case."""
        return fold(self.files, None if minutes is None else at(minutes), known).docket[self.subject]

    def when(self, asked: Plain, now: datetime = NOW) -> Asked:
        """Ask for it; a link names its case by id."""
        about = UUID(asked.case) if isinstance(asked, Link | Unlink) else None
        return self._judged(lambda: make(asked, now, _new_id, about), now)

    def correct(self, wrong: Action, replacement: dict[str, Any] | None = None, now: datetime = NOW) -> Asked:
        """Ask for a correction of that action; without a replacement: retract it."""
        way: dict[str, Any] = {"retract": True} if replacement is None else {"replacement": replacement}
        asked: Correct = command("corrected", action=str(wrong.action_id), reason="记错", **way)
        held = {one.action.action_id: one for one in self.files[self.subject]}
        named = held[wrong.action_id]
        root = held[named.action.root] if isinstance(named.action, Corrected) else named
        target = Target(named.action, root.action, root.recorded_at)
        return self._judged(lambda: correct(asked, target, now, _new_id, bodies.command), now)

    def corrected(self, wrong: Action, replacement: dict[str, Any] | None = None) -> "Given":
        """And then that action was corrected; without a replacement: retracted."""
        return self.correct(wrong, replacement).story

    @property
    def last(self) -> Action:
        """What was recorded last of the case."""
        return self.files[self.subject][-1].action

    def complaint(self, number: int) -> Complaint:
        return self.case.complaints[complaint_id(number)]

    def answered(self, number: int) -> datetime | None:
        """When that complaint was answered."""
        return self.complaint(number).responded_at

    def next_entry(self, fact: Action) -> Entry:
        """This fact as it would be recorded next."""
        version = len(self.files[self.subject]) + 1
        return entry(fact, version, self.subject, self._recorded + 2 - version)

    @property
    def _recorded(self) -> int:
        return max(one.position for held in self.files.values() for one in held)

    def _judged(self, made: Callable[[], Action], now: datetime) -> Asked:
        sitting = Sitting(fold(self.files).docket, self.subject)
        sitting.take(self.files)
        try:
            fact = made()
            sitting.judge(replace(self.next_entry(fact), recorded_at=now))
            return Asked(self, fact)
        except Refusal as refusal:
            return Asked(self, refusal=refusal)
        except Malformed as malformed:
            return Asked(self, malformed=malformed)


def given(*facts: Action) -> Given:
    """A case to which this happened, in the order in which it was recorded."""
    return Given({CASE: entries(*facts)})
