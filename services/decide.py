"""What an action asked for becomes, or why it may not: pure, from the case, the command, the instant and new ids."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, assert_never
from uuid import UUID

from services.case import CLOCK_TOLERANCE, Case, Complaint, named
from services.commands import (
    AttemptContact,
    Chase,
    Command,
    ComplainantBody,
    ContactPersonBody,
    EvidenceBody,
    Note,
    OpenCase,
    OperatorBody,
    Receive,
    Respond,
    Warn,
)
from services.events import (
    Action,
    Chased,
    Complainant,
    ContactAttempted,
    ContactPerson,
    Evidence,
    Noted,
    Opening,
    Operator,
    Received,
    Responded,
    RiskIdentified,
    Warned,
)
from services.households import household_key
from services.instants import format_instant
from services.rules import Fault, Malformed, Refusal, Rule, Unmet

NewId = Callable[[], UUID]
ActionBody = Warn | Receive | Chase | AttemptContact | Respond | Note


def open_case(command: OpenCase, at: datetime, new_id: NewId) -> Action:
    """The first action of a new case (4.1): `received`, `warned` or `risk_identified`."""
    opening = _opening(command)
    match command.stage:
        case "risk":
            return RiskIdentified(opening=opening, **_common(command, command.occurred_at, at, new_id))
        case "warning":
            return Warned(opening=opening, **_common(command, command.occurred_at, at, new_id))
        case "complaint":
            return Received(
                opening=opening,
                complaint_id=new_id(),
                obtained_by=command.obtained_by,
                channel=command.channel or "other",
                household=command.household,
                complainant=_complainant(command.complainant),
                **_common(command, command.obtained_at, at, new_id),
            )
        case _:
            assert_never(command.stage)


def decide(case: Case, command: ActionBody, at: datetime, new_id: NewId) -> Action:
    """The fact that the command becomes on this case; raises `Refusal` (409) or `Malformed` (422)."""
    match command:
        case Warn():
            if case.stage != "risk":
                raise Refusal(Rule.NOT_AT_RISK_STAGE, [Unmet("stage", "risk", case.stage)])
            return Warned(unrest=command.unrest, **_common(command, command.occurred_at, at, new_id))
        case Receive():
            return Received(
                complaint_id=new_id(),
                obtained_by=command.obtained_by,
                channel=command.channel,
                household=command.household,
                complainant=_complainant(command.complainant),
                **_common(command, command.obtained_at, at, new_id),
            )
        case Chase():
            _known(case, [command.complaint], "/complaint")
            return Chased(
                complaint=command.complaint,
                channel=command.channel,
                **_common(command, command.occurred_at, at, new_id),
            )
        case AttemptContact():
            return _attempt(case, command, at, new_id)
        case Respond():
            return _respond(case, command, at, new_id)
        case Note():
            if command.complaint:
                _known(case, [command.complaint], "/complaint")
            return Noted(
                text=command.text,
                complaint=command.complaint,
                **_common(command, command.occurred_at, at, new_id),
            )
        case _:
            assert_never(command)


def _attempt(case: Case, command: AttemptContact, at: datetime, new_id: NewId) -> ContactAttempted:
    for complaint in _targets(case, command.complaints or (), command.households or ()):
        _obtained_by(complaint.obtained_at, command.attempted_at, Rule.ATTEMPTED_BEFORE_OBTAINED)
    return ContactAttempted(
        complaints=command.complaints or (),
        households=command.households or (),
        channel=command.channel,
        outcome=command.outcome,
        **_common(command, command.attempted_at, at, new_id),
    )


def _respond(case: Case, command: Respond, at: datetime, new_id: NewId) -> Responded:
    everyone = command.complaints == "all"
    ids = command.complaints if isinstance(command.complaints, tuple) else ()
    if everyone:
        _someone_to_answer(case, command.contacted_at)
    elif ids:
        for complaint in _targets(case, ids, ()):
            _obtained_by(complaint.obtained_at, command.contacted_at, Rule.ANSWERED_BEFORE_OBTAINED)
    else:
        _someone_in_each(case, command.households or (), command.contacted_at)
    return Responded(
        complaints=ids,
        households=command.households or (),
        everyone=everyone,
        channel=command.channel,
        contact_person=_contact_person(command.contact_person),
        **_common(command, command.contacted_at, at, new_id),
    )


def _someone_to_answer(case: Case, contacted_at: datetime) -> None:
    first = min((c.obtained_at for c in case.complaints.values()), default=None)
    if first is None:
        raise Refusal(Rule.NOTHING_TO_ANSWER, [Unmet("complaints", "≥ 1", "0")])
    _obtained_by(first, contacted_at, Rule.ANSWERED_BEFORE_OBTAINED)


def _someone_in_each(case: Case, households: tuple[str, ...], contacted_at: datetime) -> None:
    """Each household complained by then; a later complaint of it is simply not covered."""
    _complaining(case, households)
    for household in households:
        first = min(c.obtained_at for c in named(case, (), [household]))
        _obtained_by(first, contacted_at, Rule.ANSWERED_BEFORE_OBTAINED)


def _targets(case: Case, complaints: tuple[UUID, ...], households: tuple[str, ...]) -> list[Complaint]:
    _known(case, complaints, "/complaints")
    _complaining(case, households)
    return named(case, complaints, households)


def _known(case: Case, complaints: Iterable[UUID], pointer: str) -> None:
    faults = [
        Fault(pointer if pointer == "/complaint" else f"{pointer}/{index}", "unknown_complaint", str(complaint))
        for index, complaint in enumerate(complaints)
        if complaint not in case.complaints
    ]
    if faults:
        raise Malformed(faults, "unknown_complaint")


def _complaining(case: Case, households: Iterable[str]) -> None:
    faults = [
        Fault(f"/households/{index}", "unknown_household", household)
        for index, household in enumerate(households)
        if household_key(household) not in case.households
    ]
    if faults:
        raise Malformed(faults, "unknown_household")


def _obtained_by(obtained_at: datetime, contacted_at: datetime, rule: Rule) -> None:
    """Nobody is contacted about a complaint that nobody has obtained yet."""
    if obtained_at > contacted_at:
        required = f"≥ {format_instant(obtained_at)}"
        raise Refusal(rule, [Unmet("contacted_at", required, format_instant(contacted_at))])


def _common(command: Command, occurred_at: datetime | None, at: datetime, new_id: NewId) -> dict[str, Any]:
    """What every action carries. More than five minutes ahead of us is refused; left out is now."""
    if occurred_at is not None and occurred_at > at + CLOCK_TOLERANCE:
        raise Malformed([Fault(_time_field(command), "in_the_future", format_instant(at))], "in_the_future")
    return {
        "action_id": new_id(),
        "occurred_at": occurred_at or at,
        "operator": _operator(command.operator),
        "evidence": tuple(_evidence(item) for item in command.evidence),
        "note": command.note,
    }


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


def _contact_person(body: ContactPersonBody) -> ContactPerson:
    return ContactPerson(body.name, body.title, body.phone)


def _opening(command: OpenCase) -> Opening:
    facts = command.facts.model_dump(mode="json", exclude_none=True) if command.facts else None
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
