"""定级 (clause 7) as it is shown: the level, and why; every criterion with its facts, bound, clause and verdict."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from grading_engine.facts import FLAGS, Facts
from grading_engine.grades import UNGRADED, grade, judged, level, names, number
from grading_engine.policy import Bound, Condition, Criterion, Policy
from services.case import Case, GradeChange, Turn
from services.grading import facts_of

_UNGRADED = {"zh": "未定级", "en": "ungraded"}


def brief(case: Case) -> dict[str, Any] | None:
    """The level met now; null while nothing has been folded."""
    grading, policy = case.grading, case.policy
    if grading is None or policy is None:
        return None
    return {
        "code": grading.code,
        "label": _label(policy, grading.code),
        "policy": policy.number,
        "policy_version": policy.version,
        "criteria": grading.criteria,
        "undetermined": grading.undetermined,
        "since": _since(case.grades),
    }


def explained(case: Case, cases: Mapping[UUID, Case]) -> dict[str, Any]:
    """The level with every criterion, the history of levels, and which document judged."""
    policy = case.judged_by
    facts = facts_of(case, cases)
    if case.grading is None:
        # Nothing that moves facts was folded: its opening was taken back.
        case = replace(case, grading=grade(facts, policy))
    return {
        **(brief(case) or {}),
        "deciding": case.grading.criteria if case.grading else (),
        "case_id": case.case_id,
        "policy_effective_from": policy.effective_from,
        "opened_before_first_policy": case.judged_by_first,
        "criteria": [
            _criterion(one.grade, one.criterion, one.verdict, facts, policy, case.crossed.get(one.criterion.id))
            for one in judged(facts, policy)
        ],
        "key_mass_complaint_since": case.key_mass and _turn(case.key_mass),
        "history": [{"code": change.code, "criteria": change.criteria, **_turn(change.turn)} for change in case.grades],
    }


def _since(changes: tuple[GradeChange, ...]) -> Any:
    """The instant from which this level has held, though its criteria may have changed since."""
    since = None
    for change in reversed(changes):
        if change.code != changes[-1].code:
            break
        since = change.turn.at
    return since


def _criterion(
    grade: str, criterion: Criterion, verdict: str, facts: Facts, policy: Policy, turn: Turn | None
) -> dict[str, Any]:
    return {
        "grade": grade,
        "id": criterion.id,
        "label": criterion.label.model_dump() if criterion.label else None,
        "verdict": verdict,
        "facts": {name: _fact(name, facts, policy) for name in dict.fromkeys(names(criterion.when))},
        "bounds": [one for name, at in _bounds(criterion.when) if (one := _bound(name, at))],
        "clause": criterion.clause,
        "source": criterion.source,
        "interpretation": criterion.reason,
        "crossed": _turn(turn) if turn else None,
    }


def _fact(name: str, facts: Facts, policy: Policy) -> Any:
    """What is known of a fact: true, false, a number, at least a number; null is unknown."""
    if name in FLAGS:
        return facts.flag(name)
    known = number(name, facts, policy)
    if known.high is not None:
        return str(known.low)
    return {"at_least": str(known.low)} if known.low else None


def _bounds(condition: Condition) -> list[tuple[str, Condition]]:
    inner = [*(condition.any or ()), *(condition.all or ())]
    own = [(condition.fact, condition)] if condition.fact else []
    return own + [found for one in inner for found in _bounds(one)]


def _bound(name: str, at: Condition) -> dict[str, Any] | None:
    if at.at_least is None and at.below is None:
        return None
    return {"fact": name, "at_least": _figure(at.at_least), "below": _figure(at.below)}


def _figure(bound: Bound | None) -> dict[str, Any] | None:
    if bound is None:
        return None
    value = str(bound.value) if bound.value is not None else None
    return {"value": value, "clause": bound.clause, "source": bound.source, "interpretation": bound.reason}


def _turn(turn: Turn) -> dict[str, Any]:
    """The instant it became true, the instant we knew, and the action that crossed the bound."""
    return {"since": turn.at, "known_at": turn.known_at, "action_id": turn.action_id}


def _label(policy: Policy, code: str) -> dict[str, str]:
    found = level(policy, code)
    return _UNGRADED if code == UNGRADED or found is None else {"zh": found.label.zh, "en": found.label.en}
