"""What may happen to a case: pure, from the case as it stands and the action. Each rule with its clause.

One judgement serves three questions: may this be recorded (`decide`), what may be done now (`next_actions`), and is
what was recorded still right in the light of later truth (`inconsistencies`).
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from uuid import UUID

from grading_engine.closure import ClosureFacts, unmet
from services.case import LEVELS, Case, Complaint, named
from services.events import (
    Action,
    Chased,
    Closed,
    ContactAttempted,
    EmergencyStarted,
    Escalated,
    LessonApplied,
    Linked,
    PlanAnswered,
    PlanApproved,
    Responded,
    Unlinked,
)
from services.households import household_key
from services.instants import format_instant
from services.rules import Fault, Malformed, Refusal, Rule, Unmet

# The functions that an emergency team covers (4.4).
FUNCTIONS = ("customer_relations", "media_relations", "marketing", "legal", "development")
_PRESIDENT = ("regional_president", "区域总裁")
# What a case still takes once it is merged into another, and once it is void.
_MERGED_TAKES = frozenset({"responded", "noted", "corrected", "unlinked"})
_VOID_TAKES = frozenset({"noted", "corrected"})
# What may have happened before the instant at which a case was opened: a complaint that was told late, and its answer.
_TAKEN_BEFORE_OPENING = frozenset({"received", "chased", "contact_attempted", "responded", "noted", "corrected"})

# Which rules of its own can refuse an action of each type; void, merged and contradiction can refuse any.
RULES: Mapping[str, tuple[Rule, ...]] = {
    "warned": (Rule.NOT_AT_RISK_STAGE,),
    "chased": (Rule.NOTHING_TO_ANSWER, Rule.CHASED_BEFORE_OBTAINED),
    "contact_attempted": (Rule.NOTHING_TO_ANSWER, Rule.ATTEMPTED_BEFORE_OBTAINED),
    "responded": (Rule.NOTHING_TO_ANSWER, Rule.ANSWERED_BEFORE_OBTAINED),
    "escalated": (Rule.NOT_UPWARDS,),
    "emergency_started": (Rule.LEAD_NOT_PRESIDENT, Rule.EMERGENCY_TEAM_INCOMPLETE),
    "plan_proposed": (Rule.ALREADY_CLOSED,),
    "plan_approved": (Rule.ALREADY_CLOSED, Rule.NO_PLAN_PROPOSED),
    "plan_answered": (Rule.NO_PLAN_APPROVED,),
    "closed": (Rule.ALREADY_CLOSED, Rule.CLOSURE_CRITERIA_NOT_MET),
    "reopened": (Rule.NOT_CLOSED,),
    "blamed": (Rule.BLAMED_BEFORE_CLOSURE, Rule.ALREADY_BLAMED),
    "sanctioned": (Rule.NOT_BLAMED,),
    "lesson_recorded": (Rule.LESSON_BEFORE_CLOSURE,),
    "lesson_applied": (Rule.LESSON_BEFORE_CLOSURE, Rule.NO_LESSON_RECORDED),
    "linked": (Rule.ALREADY_LINKED, Rule.MERGE_CHAIN),
    "unlinked": (Rule.NOT_LINKED,),
}

Cases = Mapping[UUID, Case]


# What names complaints is wrong about its time rather than about their names when they were obtained later.
_TOO_EARLY = frozenset({Rule.ANSWERED_BEFORE_OBTAINED, Rule.ATTEMPTED_BEFORE_OBTAINED, Rule.CHASED_BEFORE_OBTAINED})


def too_early(case: Case, action: Action) -> Refusal | None:
    """Of an action that was judged at an earlier instant: the complaint that it names was obtained only later."""
    if action.name not in ("responded", "contact_attempted", "chased"):
        return None
    try:
        permit(case, action, {})
    except Refusal as refusal:
        return refusal if refusal.rule in _TOO_EARLY else None
    except Malformed:
        return None
    return None


def permit(case: Case, action: Action, cases: Cases) -> None:
    """Raise `Refusal` (409) or `Malformed` (422) if the action may not happen to the case as it stands.

    `cases`: the case and those that it is linked or is to be linked with.
    """
    if isinstance(action, Linked | Unlinked) and action.kind == "merged_from":
        # The target is only told; the source's own action was judged.
        return
    refusal = barred(case, action.name)
    # Of a closing every unmet criterion is named, the attested one too.
    if refusal and not (isinstance(action, Closed) and refusal.rule is Rule.CLOSURE_CRITERIA_NOT_MET):
        raise refusal
    match action:
        case Chased(complaint=complaint_id):
            known(case, [complaint_id], "/complaint")
            obtained_at = case.complaints[complaint_id].obtained_at
            _obtained_by(obtained_at, action.occurred_at, Rule.CHASED_BEFORE_OBTAINED, "occurred_at")
        case ContactAttempted():
            for complaint in _targets(case, action.complaints, action.households):
                _obtained_by(complaint.obtained_at, action.occurred_at, Rule.ATTEMPTED_BEFORE_OBTAINED)
        case Responded():
            _responded(case, action)
        case Escalated():
            _escalated(case, action)
        case EmergencyStarted():
            _emergency(case, action)
        case PlanApproved():
            if action.plan not in case.cycle.proposals:
                raise Malformed([Fault("/plan", "unknown_plan", str(action.plan))], "unknown_plan")
        case PlanAnswered():
            _complaining(case, action.households)
        case Closed():
            if missing := closure_unmet(case, action.recurrence_expected):
                raise Refusal(Rule.CLOSURE_CRITERIA_NOT_MET, missing)
        case LessonApplied():
            if action.lesson not in case.lessons:
                raise Malformed([Fault("/lesson", "unknown_lesson", str(action.lesson))], "unknown_lesson")
        case Linked():
            _link(case, action, cases)
        case Unlinked():
            if not any((held.action.case, held.action.kind) == (action.case, action.kind) for held in case.links):
                raise Refusal(Rule.NOT_LINKED, [Unmet("links", f"{action.kind} {action.case}", "none")])
        case _:
            return


def barred(case: Case, kind: str) -> Refusal | None:
    """Why no action of that type may happen to the case now, whatever it says; None: some may."""
    if case.void and kind not in _VOID_TAKES:
        return Refusal(Rule.CASE_VOID)
    if case.merged and kind not in _MERGED_TAKES:
        return Refusal(Rule.CASE_MERGED, [Unmet("merged_into", "none", str(case.merged.action.case))])
    if not case.begun and kind not in _TAKEN_BEFORE_OPENING:
        return Refusal(Rule.BEFORE_OPENING)
    judge = _STATE_RULES.get(kind)
    return judge(case) if judge else None


def circumstances(case: Case) -> tuple[object, ...]:
    """All that `barred` looks at: of two cases with equal circumstances it says the same about every type."""
    cycle = case.cycle
    return (
        case.void,
        case.merged and case.merged.action.case,
        case.stage,
        bool(case.complaints),
        case.escalation_level,
        case.status,
        bool(cycle.proposals),
        cycle.approved is not None,
        bool(case.lessons),
        cycle.blame and cycle.blame.action.action_id,
        _closure_facts(case, None),
        any(held.action.kind != "merged_from" for held in case.links),
    )


def _at_risk(case: Case) -> Refusal | None:
    return Refusal(Rule.NOT_AT_RISK_STAGE, [Unmet("stage", "risk", case.stage)]) if case.stage != "risk" else None


def _has_complaint(case: Case) -> Refusal | None:
    return None if case.complaints else Refusal(Rule.NOTHING_TO_ANSWER, [Unmet("complaints", "≥ 1", "0")])


def _below_group(case: Case) -> Refusal | None:
    if case.escalation_level != LEVELS[-1]:
        return None
    return Refusal(Rule.NOT_UPWARDS, [Unmet("to", f"> {LEVELS[-1]}", LEVELS[-1])])


def _still_open(case: Case) -> Refusal | None:
    return Refusal(Rule.ALREADY_CLOSED, [Unmet("status", "open", case.status)]) if case.is_closed else None


def _plan_proposed(case: Case) -> Refusal | None:
    if refusal := _still_open(case):
        return refusal
    return None if case.cycle.proposals else Refusal(Rule.NO_PLAN_PROPOSED, [Unmet("plan_proposed", "≥ 1", "0")])


def _plan_approved(case: Case) -> Refusal | None:
    if case.cycle.approved:
        return None
    return Refusal(Rule.NO_PLAN_APPROVED, [Unmet("plan_approved", "true", "false")])


def _closable(case: Case) -> Refusal | None:
    if refusal := _still_open(case):
        return refusal
    missing = closure_unmet(case, None)
    return Refusal(Rule.CLOSURE_CRITERIA_NOT_MET, missing) if missing else None


def _closed(rule: Rule) -> Callable[[Case], Refusal | None]:
    def judge(case: Case) -> Refusal | None:
        return None if case.is_closed else Refusal(rule, [Unmet("status", "closed", case.status)])

    return judge


def _lesson_recorded(case: Case) -> Refusal | None:
    if refusal := _closed(Rule.LESSON_BEFORE_CLOSURE)(case):
        return refusal
    return None if case.lessons else Refusal(Rule.NO_LESSON_RECORDED, [Unmet("lesson_recorded", "≥ 1", "0")])


def _not_blamed_yet(case: Case) -> Refusal | None:
    if case.cycle.blame:
        return Refusal(Rule.ALREADY_BLAMED, [Unmet("accountability", "none", str(case.cycle.blame.action.action_id))])
    return _closed(Rule.BLAMED_BEFORE_CLOSURE)(case)


def _blamed(case: Case) -> Refusal | None:
    return None if case.cycle.blame else Refusal(Rule.NOT_BLAMED, [Unmet("accountability", "determined", "none")])


def _has_link(case: Case) -> Refusal | None:
    ours = [held for held in case.links if held.action.kind != "merged_from"]
    return None if ours else Refusal(Rule.NOT_LINKED, [Unmet("links", "≥ 1", "0")])


_STATE_RULES: Mapping[str, Callable[[Case], Refusal | None]] = {
    "warned": _at_risk,
    "chased": _has_complaint,
    "contact_attempted": _has_complaint,
    "responded": _has_complaint,
    "escalated": _below_group,
    "plan_proposed": _still_open,
    "plan_approved": _plan_proposed,
    "plan_answered": _plan_approved,
    "closed": _closable,
    "reopened": _closed(Rule.NOT_CLOSED),
    "blamed": _not_blamed_yet,
    "sanctioned": _blamed,
    "lesson_recorded": _closed(Rule.LESSON_BEFORE_CLOSURE),
    "lesson_applied": _lesson_recorded,
    "unlinked": _has_link,
}


def closure_unmet(case: Case, recurrence_expected: bool | None) -> list[Unmet]:
    """The criteria of closing (3.2) that are not met; a risk or warning closes by decision alone (house rule).

    Not so when complaints were merged into it: they are decided as if they were its own.
    """
    if case.stage != "complaint" and not case.complaints:
        return []
    return [Unmet(*found) for found in unmet(case.judged_by, _closure_facts(case, recurrence_expected))]


def _closure_facts(case: Case, recurrence_expected: bool | None) -> ClosureFacts:
    return ClosureFacts(
        plan_approved=case.cycle.approved is not None,
        households=len(case.households),
        accepting=case.accepting,
        recurrence_expected=recurrence_expected,
        untried=sum(1 for complaint_id in case.unanswered if not case.complaints[complaint_id].attempts),
    )


def _responded(case: Case, action: Responded) -> None:
    if action.everyone and case.first_obtained:
        _obtained_by(case.first_obtained, action.occurred_at, Rule.ANSWERED_BEFORE_OBTAINED)
    elif action.complaints:
        for complaint in _targets(case, action.complaints, ()):
            _obtained_by(complaint.obtained_at, action.occurred_at, Rule.ANSWERED_BEFORE_OBTAINED)
    else:
        _someone_in_each(case, action.households, action.occurred_at)


def _someone_in_each(case: Case, households: tuple[str, ...], contacted_at: datetime) -> None:
    """Each household complained by then; a later complaint of it is simply not covered."""
    _complaining(case, households)
    for household in households:
        first = min(c.obtained_at for c in named(case, (), (household,)))
        _obtained_by(first, contacted_at, Rule.ANSWERED_BEFORE_OBTAINED)


def _targets(case: Case, complaints: tuple[UUID, ...], households: tuple[str, ...]) -> list[Complaint]:
    known(case, complaints, "/complaints")
    _complaining(case, households)
    return named(case, complaints, households)


def known(case: Case, complaints: Iterable[UUID], pointer: str) -> None:
    """Raise `Malformed` for complaints that the case doesn't have."""
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


def _obtained_by(obtained_at: datetime, at: datetime, rule: Rule, criterion: str = "contacted_at") -> None:
    """Nobody is contacted about a complaint that nobody has obtained yet."""
    if obtained_at > at:
        raise Refusal(rule, [Unmet(criterion, f"≥ {format_instant(obtained_at)}", format_instant(at))])


def _escalated(case: Case, action: Escalated) -> None:
    level = case.escalation_level
    if LEVELS.index(action.to) <= LEVELS.index(level):
        raise Refusal(Rule.NOT_UPWARDS, [Unmet("to", f"> {level}", action.to)])


def _emergency(case: Case, action: EmergencyStarted) -> None:
    """The president leads; the team covers every function, together with what an earlier one brought (4.4)."""
    if action.lead.title.strip() not in _PRESIDENT:
        raise Refusal(Rule.LEAD_NOT_PRESIDENT, [Unmet("lead.title", _PRESIDENT[0], action.lead.title)])
    covered = {member.function for member in action.members}
    covered |= {member.function for held in case.emergencies for member in held.action.members}
    if missing := [function for function in FUNCTIONS if function not in covered]:
        raise Refusal(
            Rule.EMERGENCY_TEAM_INCOMPLETE, [Unmet(f"members.{name}", "covered", "missing") for name in missing]
        )


def _link(case: Case, action: Linked, cases: Cases) -> None:
    if any((held.action.case, held.action.kind) == (action.case, action.kind) for held in case.links):
        raise Refusal(Rule.ALREADY_LINKED, [Unmet("links", "none", f"{action.kind} {action.case}")])
    other = cases.get(action.case)
    if action.kind != "merged_into" or other is None:
        return
    if case.members:
        raise Refusal(Rule.MERGE_CHAIN, [Unmet("members", "0", str(len(case.members)))])
    if other.merged:
        raise Refusal(Rule.MERGE_CHAIN, [Unmet("target.merged_into", "none", str(other.merged.action.case))])
    if other.void:
        raise Refusal(Rule.CASE_VOID, [Unmet("target.status", "not void", "void")])
