"""A policy document told rule by rule, for those who read it."""

from collections.abc import Iterator
from typing import NamedTuple

from grading_engine.policy import Bound, Condition, Criterion, Duty, Policy


class PolicyRule(NamedTuple):
    """One rule: its name in the document, its clause, what it says, and where that comes from."""

    name: str
    clause: str | None
    says: str
    source: str
    reason: str


def policy_rules(policy: Policy) -> Iterator[PolicyRule]:
    """Every rule of a document, in its order."""
    for together in policy.sums:
        says = f"{' + '.join(together.of)}" if together.kind == "total" else f"distinct of {', '.join(together.of)}"
        yield PolicyRule(together.name, together.clause, says, together.source, together.reason or "")
    bound = policy.mass_bound
    yield PolicyRule("mass_bound", bound.clause, f"{bound.fact} ≥ {bound.value}", bound.source, bound.reason or "")
    for level in policy.grades:
        for criterion in level.criteria:
            yield _criterion(criterion)
    for duty in policy.duties:
        yield _duty(duty)
    for rule in policy.closure:
        says = f"more than {rule.more_than} of the complaining households" if rule.more_than else rule.criterion
        yield PolicyRule(rule.criterion, rule.clause, says, rule.source, rule.reason or "")


def _criterion(criterion: Criterion) -> PolicyRule:
    says = _told(criterion.when)
    return PolicyRule(criterion.id, criterion.clause, says, criterion.source, criterion.reason or "")


def _told(condition: Condition) -> str:
    if condition.any:
        return " or ".join(_told(one) for one in condition.any)
    if condition.all:
        return " and ".join(_told(one) for one in condition.all)
    bounds = [*_figure("≥", condition.at_least), *_figure("<", condition.below)]
    return " and ".join(f"{condition.fact} {bound}" for bound in bounds) or str(condition.fact)


def _figure(sign: str, bound: Bound | None) -> list[str]:
    if bound is None:
        return []
    return [f"{sign} {bound.value if bound.value is not None else '(open)'}"]


def _duty(duty: Duty) -> PolicyRule:
    within = f"{duty.within.amount} {duty.within.unit}" if duty.within.amount else "an open time"
    says = f"from {duty.starts} to {duty.met_by} within {within} ({duty.calendar.kind}), owed by {duty.owed.by}"
    parts = [duty.reason, duty.within.reason, duty.calendar.reason]
    return PolicyRule(duty.duty, duty.clause, says, duty.within.source, "; ".join(part for part in parts if part))
