"""投诉事件. What the rules need to remember of a case, and how each fact moves it. `evolve` never refuses.

Order of arrival does not matter to what is remembered of an answer: a complaint is met by its earliest contact,
whichever of the two was recorded first.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import assert_never
from uuid import UUID

import msgspec
from msgspec.structs import replace

from services.events import (
    Action,
    Chased,
    Complainant,
    ContactAttempted,
    Noted,
    Opening,
    Received,
    Responded,
    RiskIdentified,
    Stage,
    Warned,
)
from services.households import household_key


class Complaint(msgspec.Struct, frozen=True, gc=False):
    """投诉. One complaint; `version` is that of its receipt, under which its personal data is sealed."""

    complaint_id: UUID
    version: int
    obtained_at: datetime
    channel: str
    obtained_by: str | None = None
    household: str | None = None
    household_key: str | None = None
    complainant: Complainant | None = None
    responded_at: datetime | None = None
    responded_by: UUID | None = None
    attempts: int = 0
    chased: int = 0


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A response that may still meet complaints recorded after it: to everyone, or to named households."""

    action_id: UUID
    contacted_at: datetime
    households: frozenset[str] | None = None

    def meets(self, complaint: Complaint) -> bool:
        reached = self.households is None or complaint.household_key in self.households
        return reached and complaint.obtained_at <= self.contacted_at


class Case(msgspec.Struct, frozen=True, gc=False):
    """The folded case. `version` 0 is a case that was never opened. Sealed texts stay sealed tokens."""

    case_id: UUID
    version: int = 0
    position: int = 0
    case_no: str = ""
    region: str = ""
    stage: Stage = "risk"
    opening: Opening | None = None
    opened_at: datetime | None = None
    updated_at: datetime | None = None
    complaints: Mapping[UUID, Complaint] = {}
    households: Mapping[str, int] = {}
    answers: tuple[Answer, ...] = ()
    responded_count: int = 0
    # Of each type of action the last one: its version and when it happened. A literal repeat says the same instant.
    last: Mapping[str, tuple[int, datetime]] = {}

    @property
    def opened(self) -> Opening:
        if self.opening is None:
            raise LookupError("the case was never opened")
        return self.opening

    @property
    def status(self) -> str:
        """`open` while a complaint is unanswered or there is none, else `responded`."""
        answered = self.complaints and self.responded_count == len(self.complaints)
        return "responded" if answered else "open"


def evolve(case: Case, action: Action, version: int, position: int, region: str, recorded_at: datetime) -> Case:
    """The case after one more action of its stream."""
    moved = replace(
        case,
        version=version,
        position=position,
        region=region,
        updated_at=recorded_at,
        last={**case.last, action.name: (version, action.occurred_at)},
    )
    if action.opening is not None:
        # Never later than its recording: a fast clock at the centre must not open a case in the future.
        opened_at = min(action.occurred_at, recorded_at)
        moved = replace(moved, opening=action.opening, case_no=action.case_no or "", opened_at=opened_at)
    match action:
        case RiskIdentified() | Noted():
            return moved
        case Warned():
            return replace(moved, stage=_later(moved.stage, "warning"))
        case Received():
            return _received(moved, action)
        case Chased(complaint=complaint_id):
            return _counted(moved, [complaint_id], chased=1)
        case ContactAttempted():
            return _counted(moved, [c.complaint_id for c in named(moved, action.complaints, action.households)], 1)
        case Responded():
            return _responded(moved, action)
        case _:
            assert_never(action)


_ORDER: dict[str, int] = {"risk": 0, "warning": 1, "complaint": 2}


def _later(stage: Stage, reached: Stage) -> Stage:
    """Only forward through the stages (house rule)."""
    return max(stage, reached, key=_ORDER.__getitem__)


def _received(case: Case, action: Received) -> Case:
    key = household_key(action.household) if action.household else None
    complaint = Complaint(
        complaint_id=action.complaint_id,
        version=case.version,
        obtained_at=action.occurred_at,
        channel=action.channel,
        obtained_by=action.obtained_by,
        household=action.household,
        household_key=key,
        complainant=action.complainant,
    )
    for answer in case.answers:
        if answer.meets(complaint):
            complaint = _met(complaint, answer)
    households = {**case.households, key: case.households.get(key, 0) + 1} if key else case.households
    return replace(
        case,
        stage="complaint",
        complaints={**case.complaints, complaint.complaint_id: complaint},
        households=households,
        responded_count=case.responded_count + (complaint.responded_at is not None),
    )


def _met(complaint: Complaint, answer: Answer) -> Complaint:
    """A complaint is met by its earliest contact, so a later proof counts (4.3)."""
    if complaint.responded_at is not None and complaint.responded_at <= answer.contacted_at:
        return complaint
    return replace(complaint, responded_at=answer.contacted_at, responded_by=answer.action_id)


def _responded(case: Case, action: Responded) -> Case:
    if action.everyone:
        answer = Answer(action.action_id, action.occurred_at)
        reached: Iterable[Complaint] = case.complaints.values()
    else:
        keys = frozenset(household_key(h) for h in action.households)
        answer = Answer(action.action_id, action.occurred_at, keys)
        reached = named(case, action.complaints, action.households)
    changed = {
        complaint.complaint_id: met
        for complaint in reached
        if complaint.obtained_at <= action.occurred_at and (met := _met(complaint, answer)) is not complaint
    }
    newly = sum(1 for complaint_id in changed if case.complaints[complaint_id].responded_at is None)
    kept = (*case.answers, answer) if answer.households is None or answer.households else case.answers
    return replace(
        case,
        complaints={**case.complaints, **changed},
        answers=kept,
        responded_count=case.responded_count + newly,
    )


def _counted(case: Case, complaint_ids: Iterable[UUID], attempts: int = 0, chased: int = 0) -> Case:
    changed = {
        c.complaint_id: replace(c, attempts=c.attempts + attempts, chased=c.chased + chased)
        for complaint_id in complaint_ids
        if (c := case.complaints.get(complaint_id))
    }
    return replace(case, complaints={**case.complaints, **changed})


def named(case: Case, complaints: Iterable[UUID], households: Iterable[str]) -> list[Complaint]:
    """The complaints that an action names, by id or through their household; unknown names name nothing."""
    by_id = [found for complaint_id in complaints if (found := case.complaints.get(complaint_id))]
    keys = {household_key(household) for household in households}
    return by_id + [c for c in case.complaints.values() if c.household_key in keys] if keys else by_id


# A client's clock may be this far ahead; beyond it an instant lies in the future.
CLOCK_TOLERANCE = timedelta(minutes=5)
