"""投诉事件. What the rules need to remember of a case at one instant, as far as it is known. How it moves: `fold`."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID

import msgspec

from grading_engine.grades import Grading
from grading_engine.policy import Policy
from services.events import (
    Action,
    Blamed,
    Closed,
    Complainant,
    EmergencyStarted,
    Escalated,
    LessonApplied,
    LessonRecorded,
    Linked,
    Opening,
    PlanApproved,
    PlanProposed,
    Reopened,
    Sanctioned,
    Stage,
)
from services.households import household_key

# A client's clock may be this far ahead; beyond it an instant lies in the future.
CLOCK_TOLERANCE = timedelta(minutes=5)

LEVELS = ("none", "city", "area", "region", "group")

_A = TypeVar("_A", bound=Action)


class Place(NamedTuple):
    """Where a fact's texts are sealed: its stream and version, and the path to it within that body."""

    stream: UUID
    version: int
    path: str = ""


class Kept(msgspec.Struct, Generic[_A], frozen=True, gc=False):
    """An action that the case remembers as it was said (or corrected): its fold instant, and when it was recorded."""

    action: _A
    place: Place
    at: datetime
    known_at: datetime


class Turn(NamedTuple):
    """A change in what a case is judged to be: the instant of it, when it was known, and the action that made it."""

    at: datetime
    known_at: datetime
    action_id: UUID


class GradeChange(NamedTuple):
    """定级的变化. The level from an instant on, and its criteria."""

    code: str
    criteria: tuple[str, ...]
    turn: Turn


class Contacted(NamedTuple):
    """A contact that reached a complaint: when it was made, and when that became known."""

    at: datetime
    known_at: datetime


class Complaint(msgspec.Struct, frozen=True, gc=False):
    """投诉. One complaint; `owner` is the case in whose stream it was received, `position` that of its receipt.

    `contacts`: the one that counts is the earliest; of the others those that were known before an earlier one was.
    """

    complaint_id: UUID
    owner: UUID
    position: int
    place: Place
    recorded_at: datetime
    obtained_at: datetime
    channel: str
    obtained_by: str | None = None
    household: str | None = None
    household_key: str | None = None
    complainant: Complainant | None = None
    responded_at: datetime | None = None
    responded_by: UUID | None = None
    contacts: tuple[Contacted, ...] = ()
    attempts: int = 0
    chased: int = 0


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A response by a clock that ran ahead: it may still meet complaints that are folded after it."""

    action_id: UUID
    contacted_at: datetime
    recorded_at: datetime
    households: frozenset[str] | None = None

    def meets(self, complaint: Complaint) -> bool:
        reached = self.households is None or complaint.household_key in self.households
        return reached and complaint.obtained_at <= self.contacted_at


class Reply(msgspec.Struct, frozen=True, gc=False):
    """A household's last answer to the plan."""

    household: str
    accepted: bool
    at: datetime
    version: int
    position: int


class Cycle(msgspec.Struct, frozen=True, gc=False):
    """One way from plan to accountability; a reopening starts the next, in which all of it is given anew."""

    number: int = 1
    proposals: Mapping[UUID, Kept[PlanProposed]] = {}
    approved: Kept[PlanApproved] | None = None
    replies: Mapping[str, Reply] = {}
    closure: Kept[Closed] | None = None
    blame: Kept[Blamed] | None = None
    sanctions: tuple[Kept[Sanctioned], ...] = ()
    reopened: Kept[Reopened] | None = None


class Lesson(msgspec.Struct, frozen=True, gc=False):
    """经验教训 (4.6) and where it was applied."""

    recorded: Kept[LessonRecorded]
    applied: tuple[Kept[LessonApplied], ...] = ()


class Voided(NamedTuple):
    """A complaint that was recorded and taken back: nothing is owed for it any more."""

    complaint_id: UUID
    household: str | None
    obtained_at: datetime
    obtained_by: str | None
    recorded_at: datetime


class Inconsistency(msgspec.Struct, frozen=True, gc=False):
    """A recorded action that later truth undermines: it stands, and this rule says what is wrong with it."""

    action_id: UUID
    rule: str


class Case(msgspec.Struct, frozen=True, gc=False):
    """The folded case. `version` 0 is a case that was never opened. Sealed texts stay sealed tokens.

    `complaints` of a merger's target hold those of its members too; `replies_of` what members' households answered
    before they were merged. `begun`: the opening is folded. `frontier` is the place in the order of folding that the
    last folded action has.
    """

    case_id: UUID
    version: int = 0
    position: int = 0
    case_no: str = ""
    region: str = ""
    updated_at: datetime | None = None
    opening: Opening | None = None
    opened_by: UUID | None = None
    opened_in: Place | None = None
    opened_at: datetime | None = None
    policy: Policy | None = None
    judged_by_first: bool = False
    begun: bool = False
    void: bool = False
    voided: tuple[Voided, ...] = ()
    stage: Stage = "risk"
    complaints: Mapping[UUID, Complaint] = {}
    unanswered: frozenset[UUID] = frozenset()
    households: Mapping[str, int] = {}
    first_obtained: datetime | None = None
    latest_contact: datetime | None = None
    latest_proof: datetime | None = None
    ahead: tuple[Answer, ...] = ()
    facts: Mapping[str, object] = {}
    grading: Grading | None = None
    grades: tuple[GradeChange, ...] = ()
    crossed: Mapping[str, Turn] = {}
    key_mass: Turn | None = None
    escalation: Kept[Escalated] | None = None
    emergencies: tuple[Kept[EmergencyStarted], ...] = ()
    cycle: Cycle = Cycle()
    cycles: tuple[Cycle, ...] = ()
    lessons: Mapping[UUID, Lesson] = {}
    links: tuple[Kept[Linked], ...] = ()
    merged: Kept[Linked] | None = None
    members: tuple[UUID, ...] = ()
    replies_of: Mapping[UUID, Mapping[str, Reply]] = {}
    complaints_since_closure: int = 0
    inconsistencies: tuple[Inconsistency, ...] = ()
    corrected: Mapping[UUID, UUID] = {}
    # What a literal repeat would repeat: of each type of action the version of the last one, and the latest instant at
    # which one happened (by a clock that ran ahead, not always the last one's).
    last: Mapping[str, tuple[int, datetime]] = {}
    frontier: "tuple[datetime, int, int] | None" = None

    @property
    def opened(self) -> Opening:
        if self.opening is None:
            raise LookupError("the case was never opened")
        return self.opening

    @property
    def judged_by(self) -> Policy:
        """The document that was in force when the case was opened."""
        if self.policy is None:
            raise LookupError("the case was never opened")
        return self.policy

    @property
    def is_closed(self) -> bool:
        return self.cycle.closure is not None

    @property
    def status(self) -> str:
        """`void`, `merged`, `accounted` (blamed), `closed`; else by what is answered and whether a plan is approved."""
        if self.void:
            return "void"
        if self.merged:
            return "merged"
        if self.cycle.closure:
            return "accounted" if self.cycle.blame else "closed"
        if self.unanswered or not self.complaints:
            return "open"
        return "planned" if self.cycle.approved else "responded"

    @property
    def stands_open(self) -> bool:
        """Whether there is still something to decide in it."""
        return not (self.void or self.merged or self.cycle.closure)

    @property
    def escalation_level(self) -> str:
        return self.escalation.action.to if self.escalation else "none"

    @property
    def accepting(self) -> int:
        """Of the complaining households, how many accept the plan by their last answer (3.2(2))."""
        if not self.cycle.replies and not self.replies_of:
            return 0
        replies: dict[str, Reply] = dict(self.cycle.replies)
        for theirs in self.replies_of.values():
            for key, reply in theirs.items():
                held = replies.get(key)
                if held is None or (held.at, held.position) < (reply.at, reply.position):
                    replies[key] = reply
        return sum(1 for key, reply in replies.items() if reply.accepted and key in self.households)


def named(case: Case, complaints: "tuple[UUID, ...]", households: "tuple[str, ...]") -> list[Complaint]:
    """The complaints that an action names, by id or through their household; unknown names name nothing."""
    by_id = [found for complaint_id in complaints if (found := case.complaints.get(complaint_id))]
    keys = {household_key(household) for household in households}
    return by_id + [c for c in case.complaints.values() if c.household_key in keys] if keys else by_id
