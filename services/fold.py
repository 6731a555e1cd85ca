"""How each action moves its own case, in the order of fold instants. Nothing is refused: what is recorded stands."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar, assert_never
from uuid import UUID

import msgspec
from msgspec.structs import replace

from services.case import LEVELS, Answer, Case, Complaint, Contacted, Cycle, Kept, Lesson, Place, Reply, named
from services.events import (
    RANK,
    Action,
    Assessed,
    Blamed,
    Chased,
    Closed,
    ContactAttempted,
    Corrected,
    EmergencyStarted,
    Escalated,
    LessonApplied,
    LessonRecorded,
    Linked,
    Noted,
    PlanAnswered,
    PlanApproved,
    PlanProposed,
    Received,
    Reopened,
    Responded,
    RiskIdentified,
    Sanctioned,
    Stage,
    Unlinked,
    Warned,
)
from services.households import household_key

_A = TypeVar("_A", bound=Action)

# What a repeat would repeat is forgotten when the state it described is over.
_ENDS: Mapping[str, tuple[str, ...]] = {
    "reopened": ("plan_proposed", "plan_approved", "plan_answered", "closed", "blamed", "sanctioned"),
    "closed": ("reopened",),
    "linked": ("unlinked",),
    "unlinked": ("linked",),
}


class Step(msgspec.Struct, frozen=True, gc=False):
    """One action in its place: `at` is its fold instant, `known_at` when it was recorded so (by a correction, perhaps).

    `version`, `position` and `recorded_at` are those of its own record.
    """

    action: Action
    place: Place
    at: datetime
    known_at: datetime
    version: int
    position: int
    recorded_at: datetime

    @property
    def stream(self) -> UUID:
        return self.place.stream

    @property
    def key(self) -> tuple[datetime, int, int]:
        """Its place in the order of folding: fold instant, the contract's order of types, then as recorded."""
        return (self.at, RANK[self.action.name], self.position)

    @property
    def kept(self) -> Kept[Any]:
        return Kept(self.action, self.place, self.at, self.known_at)


def evolve(case: Case, step: Step) -> Case:
    """The case after one more action."""
    action = step.action
    _, latest = case.last.get(action.name, (0, action.occurred_at))
    last = {**case.last, action.name: (step.version, max(latest, action.occurred_at))}
    for over in _ENDS.get(action.name, ()):
        last.pop(over, None)
    moved = replace(case, last=last, frontier=step.key)
    if action.opening is not None:
        moved = replace(moved, begun=True, facts=assessed(moved.facts, action.opening.facts or {}))
    match action:
        case RiskIdentified() | Noted() | Corrected():
            return moved
        case Warned():
            return replace(moved, stage=_later(moved.stage, "warning"))
        case Received():
            return _received(moved, action, step)
        case Chased(complaint=complaint_id):
            return _counted(moved, [complaint_id], chased=1)
        case ContactAttempted():
            return _counted(moved, [c.complaint_id for c in named(moved, action.complaints, action.households)], 1)
        case Responded():
            return _responded(moved, action, step)
        case Assessed(facts=facts):
            return replace(moved, facts=assessed(moved.facts, facts))
        case Escalated():
            return replace(moved, escalation=step.kept) if _is_higher(action.to, case.escalation_level) else moved
        case EmergencyStarted():
            return replace(moved, emergencies=(*moved.emergencies, step.kept))
        case LessonRecorded():
            return replace(moved, lessons={**moved.lessons, action.action_id: Lesson(step.kept)})
        case LessonApplied():
            return _applied(moved, action, step)
        case Linked() | Unlinked():
            return _linked(moved, action, step)
        case Reopened():
            ended = replace(moved.cycle, reopened=step.kept)
            return replace(
                moved,
                cycle=Cycle(moved.cycle.number + 1),
                cycles=(*moved.cycles, ended),
                replies_of={},
                complaints_since_closure=0,
            )
        case PlanProposed() | PlanApproved() | PlanAnswered() | Closed() | Blamed() | Sanctioned():
            return replace(moved, cycle=_in_cycle(moved.cycle, action, step))
        case _:
            assert_never(action)


def _in_cycle(
    cycle: Cycle,
    action: PlanProposed | PlanApproved | PlanAnswered | Closed | Blamed | Sanctioned,
    step: Step,
) -> Cycle:
    match action:
        case PlanProposed():
            return replace(cycle, proposals={**cycle.proposals, action.action_id: step.kept})
        case PlanApproved():
            return replace(cycle, approved=step.kept)
        case PlanAnswered():
            said = {
                household_key(household): Reply(household, action.accepted, step.at, step.version, step.position)
                for household in action.households
            }
            return replace(cycle, replies={**cycle.replies, **said})
        case Closed():
            return replace(cycle, closure=step.kept)
        case Blamed():
            return replace(cycle, blame=step.kept)
        case Sanctioned():
            return replace(cycle, sanctions=(*cycle.sanctions, step.kept))
        case _:
            assert_never(action)


_ORDER: dict[str, int] = {"risk": 0, "warning": 1, "complaint": 2}


def _later(stage: Stage, reached: Stage) -> Stage:
    """Only forward through the stages (house rule)."""
    return max(stage, reached, key=_ORDER.__getitem__)


def assessed(before: Mapping[str, object], said: Mapping[str, Any]) -> Mapping[str, object]:
    """The facts after an assessment: named ones replaced, null taken out, households that sue added and removed."""
    facts = {**before, **{name: value for name, value in said.items() if value is not None}}
    for name, value in said.items():
        if value is None:
            facts.pop(name, None)
    change = said.get("litigating_households")
    if isinstance(change, dict):
        facts["litigating_households"] = _sueing(before.get("litigating_households") or [], change)
    return facts


def _sueing(before: Any, change: Mapping[str, Any]) -> list[str]:
    gone = {household_key(household) for household in change.get("remove", ())}
    kept = {household_key(household): household for household in before}
    for household in change.get("add", ()):
        kept.setdefault(household_key(household), household)
    return [household for key, household in kept.items() if key not in gone]


def _is_higher(level: str, reached: str) -> bool:
    """The highest level so far counts, though a correction may leave a lower one after it."""
    return LEVELS.index(level) > LEVELS.index(reached)


def _received(case: Case, action: Received, step: Step) -> Case:
    key = household_key(action.household) if action.household else None
    complaint = Complaint(
        complaint_id=action.complaint_id,
        owner=step.place.stream,
        position=step.position,
        place=step.place,
        recorded_at=step.recorded_at,
        obtained_at=action.occurred_at,
        channel=action.channel,
        obtained_by=action.obtained_by,
        household=action.household,
        household_key=key,
        complainant=action.complainant,
    )
    for answer in case.ahead:
        if answer.meets(complaint):
            complaint = _met(complaint, answer)
    unanswered = case.unanswered | {complaint.complaint_id} if complaint.responded_at is None else case.unanswered
    return replace(
        case,
        stage="complaint",
        complaints={**case.complaints, complaint.complaint_id: complaint},
        unanswered=unanswered,
        households={**case.households, key: case.households.get(key, 0) + 1} if key else case.households,
        first_obtained=min(case.first_obtained or action.occurred_at, action.occurred_at),
        complaints_since_closure=case.complaints_since_closure + case.is_closed,
    )


def _met(complaint: Complaint, answer: Answer) -> Complaint:
    """A complaint is met by its earliest contact (4.3); a later one counts until that is known."""
    said = Contacted(answer.contacted_at, answer.recorded_at)
    if any(_tells_more(one, said) for one in complaint.contacts):
        return complaint
    others = (one for one in complaint.contacts if not _tells_more(said, one))
    complaint = replace(complaint, contacts=(*others, said))
    if complaint.responded_at is not None and complaint.responded_at <= said.at:
        return complaint
    return replace(complaint, responded_at=said.at, responded_by=answer.action_id)


def _tells_more(one: Contacted, other: Contacted) -> bool:
    """Neither later nor known later: beside it the other says nothing."""
    return one.at <= other.at and one.known_at <= other.known_at


def _responded(case: Case, action: Responded, step: Step) -> Case:
    keys = None if action.everyone else frozenset(household_key(h) for h in action.households)
    answer = Answer(action.action_id, action.occurred_at, step.known_at, keys)
    changed = {
        complaint.complaint_id: met
        for complaint in _reached(case, action, step.known_at)
        if complaint.obtained_at <= action.occurred_at and (met := _met(complaint, answer)) is not complaint
    }
    runs_ahead = action.occurred_at > step.at and (keys is None or keys)
    return replace(
        case,
        complaints={**case.complaints, **changed} if changed else case.complaints,
        unanswered=case.unanswered.difference(changed),
        latest_contact=_later_of(case.latest_contact, action.occurred_at),
        latest_proof=_later_of(case.latest_proof, step.known_at),
        ahead=(*case.ahead, answer) if runs_ahead else case.ahead,
    )


def _later_of(one: datetime | None, other: datetime) -> datetime:
    return max(one, other) if one else other


def _reached(case: Case, action: Responded, known_at: datetime) -> Iterable[Complaint]:
    """Whom the contact may have reached. To a complaint that is answered already it says something new only if it is
    earlier than that answer (by a clock that runs ahead), or was known before it."""
    if not action.everyone:
        return named(case, action.complaints, action.households)
    nothing_earlier = case.latest_contact is None or action.occurred_at >= case.latest_contact
    if nothing_earlier and (case.latest_proof is None or known_at >= case.latest_proof):
        return [case.complaints[complaint_id] for complaint_id in case.unanswered]
    return case.complaints.values()


def _counted(case: Case, complaint_ids: Iterable[UUID], attempts: int = 0, chased: int = 0) -> Case:
    changed = {
        c.complaint_id: replace(c, attempts=c.attempts + attempts, chased=c.chased + chased)
        for complaint_id in complaint_ids
        if (c := case.complaints.get(complaint_id))
    }
    return replace(case, complaints={**case.complaints, **changed})


def _applied(case: Case, action: LessonApplied, step: Step) -> Case:
    lesson = case.lessons.get(action.lesson)
    if lesson is None:
        return case
    return replace(case, lessons={**case.lessons, action.lesson: replace(lesson, applied=(*lesson.applied, step.kept))})


def _linked(case: Case, action: Linked | Unlinked, step: Step) -> Case:
    """The list of links alone; what a merger does to both cases is the docket's."""
    others = tuple(held for held in case.links if (held.action.case, held.action.kind) != (action.case, action.kind))
    return replace(case, links=(*others, step.kept) if isinstance(action, Linked) else others)
