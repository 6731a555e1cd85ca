"""定级 (clause 7) of a case as it is folded: its facts as the engine takes them, and what changes with each action."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from grading_engine.facts import AMOUNTS, FLAGS, Facts
from grading_engine.grades import amount_of, grade
from services.case import Case, GradeChange, Turn
from services.fold import Step
from services.households import household_key


def facts_of(case: Case, cases: Mapping[UUID, Case]) -> Facts:
    """What is known of a case; households that complain or sue are counted over the members of its group."""
    said: Mapping[str, Any] = case.facts
    complaining = case.households.keys()
    litigating = _litigating(case)
    for member in case.members:
        if member in cases:
            litigating |= _litigating(cases[member])
    harm = said.get("casualties")
    return Facts(
        amounts=tuple(amount_of(said.get(name)) for name in AMOUNTS),
        flags=tuple(said.get(name) for name in FLAGS),
        counts=(harm["injured"], harm["dead"]) if harm else (None, None),
        complaining=len(complaining),
        litigating=len(litigating),
        either=len(complaining | litigating) if litigating else len(complaining),
    )


def graded(case: Case, cases: Mapping[UUID, Case], step: Step) -> Case:
    """The case judged anew after an action that may have moved its facts."""
    now = grade(facts_of(case, cases), case.judged_by)
    before = case.grading
    if before == now:
        return case
    turn = Turn(step.at, step.known_at, step.action.action_id)
    crossed = case.crossed
    if before is None or before.met != now.met:
        crossed = {name: crossed.get(name, turn) for name in now.met}
    changed = before is None or (before.code, before.criteria) != (now.code, now.criteria)
    return replace(
        case,
        grading=now,
        grades=(*case.grades, GradeChange(now.code, now.criteria, turn)) if changed else case.grades,
        crossed=crossed,
        # Once owed it stays owed, though fewer are left (4.4): only a correction, folded in its place, takes it away.
        key_mass=case.key_mass or (turn if now.key and now.mass else None),
    )


def _litigating(case: Case) -> set[str]:
    named: Any = case.facts.get("litigating_households") or ()
    # An opening's assessment may be a change of nothing yet.
    return {household_key(household) for household in (named if isinstance(named, list | tuple) else ())}
