"""What an action asked for becomes: pure, from the command, the instant and new ids. Whether it may, `permit` says."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, assert_never
from uuid import UUID

from services.case import CLOCK_TOLERANCE
from services.commands import (
    AnswerPlan,
    ApplyLesson,
    ApprovePlan,
    Assess,
    AttemptContact,
    Blame,
    Chase,
    Close,
    Command,
    ComplainantBody,
    ContactPersonBody,
    Escalate,
    EvidenceBody,
    FactsBody,
    Link,
    Note,
    OfficialBody,
    OpenCase,
    OperatorBody,
    Plain,
    ProposePlan,
    Receive,
    RecordLesson,
    Reopen,
    Respond,
    Sanction,
    StartEmergency,
    Unlink,
    Warn,
)
from services.events import (
    Action,
    Assessed,
    Blamed,
    Chased,
    Closed,
    Complainant,
    ContactAttempted,
    ContactPerson,
    EmergencyStarted,
    Escalated,
    Evidence,
    Finding,
    LessonApplied,
    LessonRecorded,
    Linked,
    Member,
    Noted,
    Official,
    Opening,
    Operator,
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
from services.rules import Fault, Malformed

NewId = Callable[[], UUID]


def open_case(command: OpenCase, at: datetime, new_id: NewId) -> Action:
    """The first action of a new case (4.1): `received`, `warned` or `risk_identified`."""
    opening = _opening(command)
    match command.stage:
        case "risk":
            return RiskIdentified(opening=opening, **common(command, command.occurred_at, at, new_id))
        case "warning":
            return Warned(opening=opening, **common(command, command.occurred_at, at, new_id))
        case "complaint":
            return Received(
                opening=opening,
                complaint_id=new_id(),
                obtained_by=command.obtained_by,
                channel=command.channel or "other",
                household=command.household,
                complainant=_complainant(command.complainant),
                **common(command, command.obtained_at, at, new_id),
            )
        case _:
            assert_never(command.stage)


def make(command: Plain, at: datetime, new_id: NewId, case: UUID | None = None) -> Action:
    """The fact that the command becomes; `case` is the one that a link names. Raises `Malformed` (422)."""
    match command:
        case Receive(obtained_at=own) | AttemptContact(attempted_at=own) | Respond(contacted_at=own):
            said = common(command, own, at, new_id)
        case _:
            said = common(command, command.occurred_at, at, new_id)
    match command:
        case Warn():
            return Warned(unrest=command.unrest, **said)
        case Receive():
            return Received(
                complaint_id=new_id(),
                obtained_by=command.obtained_by,
                channel=command.channel,
                household=command.household,
                complainant=_complainant(command.complainant),
                **said,
            )
        case Chase():
            return Chased(complaint=command.complaint, channel=command.channel, **said)
        case AttemptContact():
            return ContactAttempted(
                complaints=command.complaints or (),
                households=command.households or (),
                channel=command.channel,
                outcome=command.outcome,
                **said,
            )
        case Respond():
            return Responded(
                complaints=command.complaints if isinstance(command.complaints, tuple) else (),
                households=command.households or (),
                everyone=command.complaints == "all",
                channel=command.channel,
                contact_person=_contact_person(command.contact_person),
                **said,
            )
        case Note():
            return Noted(text=command.text, complaint=command.complaint, **said)
        case Assess():
            return Assessed(facts=_facts(command.facts), **said)
        case Escalate():
            return Escalated(to=command.to, reason=command.reason, **said)
        case StartEmergency():
            _not_ahead(command.reported_at, at, "/reported_at")
            members = tuple(Member(one.name, one.function) for one in command.members)
            lead = Official(command.lead.name, command.lead.title)
            return EmergencyStarted(lead=lead, members=members, reported_at=command.reported_at, **said)
        case ProposePlan():
            return PlanProposed(summary=command.summary, cost=command.cost, **said)
        case ApprovePlan():
            return PlanApproved(plan=command.plan, approver=_official(command.approver), **said)
        case AnswerPlan():
            return PlanAnswered(households=command.households, accepted=command.accepted, **said)
        case Close():
            return Closed(decision=command.decision, recurrence_expected=command.recurrence_expected, **said)
        case Reopen():
            return Reopened(reason=command.reason, **said)
        case Blame():
            return Blamed(
                responsible=tuple(
                    Finding(one.party, one.title, one.unit, one.finding, one.share_percent)
                    for one in command.responsible or ()
                ),
                no_fault=bool(command.no_fault),
                conclusion=command.conclusion,
                determined_by=_official(command.determined_by),
                **said,
            )
        case Sanction():
            if command.implemented_at:
                _not_ahead(command.implemented_at, at, "/implemented_at")
            return Sanctioned(
                party=command.party, measure=command.measure, implemented_at=command.implemented_at, **said
            )
        case RecordLesson():
            measures = (command.measures,) if isinstance(command.measures, str) else command.measures
            return LessonRecorded(root_cause=command.root_cause, lesson=command.lesson, measures=measures, **said)
        case ApplyLesson():
            return LessonApplied(lesson=command.lesson, applied_to=command.applied_to, **said)
        case Link() | Unlink():
            kind = Linked if isinstance(command, Link) else Unlinked
            return kind(case=case or UUID(int=0), kind=command.kind, reason=command.reason, **said)
        case _:
            assert_never(command)


def common(command: Command, occurred_at: datetime | None, at: datetime, new_id: NewId) -> dict[str, Any]:
    """What every action carries. More than five minutes ahead of us is refused; left out is now."""
    if occurred_at is not None:
        _not_ahead(occurred_at, at, _time_field(command))
    return {
        "action_id": new_id(),
        "occurred_at": occurred_at or at,
        "operator": _operator(command.operator),
        "evidence": tuple(_evidence(item) for item in command.evidence),
        "note": command.note,
    }


def _not_ahead(instant: datetime, at: datetime, pointer: str) -> None:
    if instant > at + CLOCK_TOLERANCE:
        raise Malformed([Fault(pointer, "in_the_future", format_instant(at))], "in_the_future")


def _time_field(command: Command) -> str:
    for field in ("obtained_at", "contacted_at", "attempted_at"):
        if getattr(command, field, None) is not None:
            return f"/{field}"
    return "/occurred_at"


def _operator(body: OperatorBody | None) -> Operator | None:
    return Operator(body.id, body.name) if body else None


def _evidence(body: EvidenceBody) -> Evidence:
    return Evidence(body.kind, body.ref, body.sha256, body.at)


def _complainant(body: ComplainantBody | None) -> Complainant | None:
    return Complainant(body.name, body.phone, body.relation) if body else None


def _official(body: OfficialBody) -> Official:
    return Official(body.name, body.title)


def _facts(body: FactsBody) -> dict[str, Any]:
    """As said: what is null was said to be unknown, what is left out was not spoken of."""
    return body.model_dump(mode="json", exclude_unset=True)


def _contact_person(body: ContactPersonBody) -> ContactPerson:
    return ContactPerson(body.name, body.title, body.phone)


def _opening(command: OpenCase) -> Opening:
    facts = _facts(command.facts) if command.facts else None
    return Opening(
        project=command.project,
        category=command.category,
        title=command.title,
        description=command.description,
        unrest=command.unrest,
        facts=facts or None,
        tags=command.tags,
        external_ref=command.external_ref,
    )
