"""完结 (3.2). Which criteria of closing are not met yet, with their figures."""

from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from grading_engine.policy import ClosureCriterion, Policy


class ClosureFacts(NamedTuple):
    """What closing rests on. `recurrence_expected` None: nobody has said yet."""

    plan_approved: bool
    households: int
    accepting: int
    recurrence_expected: bool | None
    untried: int


class UnmetCriterion(NamedTuple):
    """A criterion of the document that is not met."""

    criterion: str
    required: str
    actual: str


def unmet(policy: Policy, facts: ClosureFacts) -> list[UnmetCriterion]:
    """Every criterion that is not met, in the document's order. With no household, nobody is left to accept."""
    return [found for rule in policy.closure for found in _judged(rule, facts)]


def _judged(rule: ClosureCriterion, facts: ClosureFacts) -> Iterator[UnmetCriterion]:
    match rule.criterion:
        case "plan_approved":
            if not facts.plan_approved:
                yield UnmetCriterion(rule.criterion, "true", "false")
        case "accepting_households":
            share = rule.more_than or Fraction(0)
            # In whole numbers: exact, and a tenth of what arithmetic with fractions costs.
            exceeded = facts.accepting * share.denominator > share.numerator * facts.households
            if facts.households and not exceeded:
                required = f"> {share} × {facts.households}"
                yield UnmetCriterion(rule.criterion, required, str(facts.accepting))
        case "recurrence_expected":
            if facts.recurrence_expected:
                yield UnmetCriterion(rule.criterion, "false", "true")
        case "complaints_answered":
            if facts.untried:
                yield UnmetCriterion(rule.criterion, "0 unanswered and untried", str(facts.untried))
