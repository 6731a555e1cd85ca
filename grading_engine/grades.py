"""定级 (clause 7). Three-valued: a criterion is met, not met, or undetermined while facts that nobody assessed could
still decide it upward. Exact; pure; more harm never lowers a grade.
"""

from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from grading_engine.facts import FLAGS, Facts, Range
from grading_engine.policy import Bound, Condition, Criterion, Grade, Policy

Verdict = Literal["met", "not_met", "undetermined"]
UNGRADED = "ungraded"

_ZERO = Decimal(0)


class Judged(NamedTuple):
    """One criterion's verdict."""

    grade: str
    criterion: Criterion
    verdict: Verdict


class Grading(NamedTuple):
    """The highest level met now (`ungraded`: none), its criteria that are met, and those that could still raise it.

    `met` are the criteria of any level that are met; `mass`: so many households that a key event is a mass complaint.
    """

    code: str
    criteria: tuple[str, ...]
    undetermined: tuple[str, ...]
    key: bool
    met: frozenset[str]
    mass: bool


@lru_cache(maxsize=10_000)
def grade(facts: Facts, policy: Policy) -> Grading:
    """The level of a case with these facts; the same facts are judged once."""
    everything = judged(facts, policy)
    met = frozenset(one.criterion.id for one in everything if one.verdict == "met")
    mass = is_mass(facts, policy)
    undetermined: tuple[str, ...] = ()
    for level in policy.grades:
        own = [one for one in everything if one.grade == level.code]
        if deciding := tuple(one.criterion.id for one in own if one.verdict == "met"):
            return Grading(level.code, deciding, undetermined, level.key, met, mass)
        undetermined += tuple(one.criterion.id for one in own if one.verdict == "undetermined")
    return Grading(UNGRADED, (), undetermined, False, met, mass)


def judged(facts: Facts, policy: Policy) -> list[Judged]:
    """Every criterion's verdict, the most severe grade first."""
    return [
        Judged(level.code, criterion, judge(criterion.when, facts, policy))
        for level in policy.grades
        for criterion in level.criteria
    ]


def judge(condition: Condition, facts: Facts, policy: Policy) -> Verdict:
    """Whether a condition holds."""
    if condition.any:
        return _strongest(judge(one, facts, policy) for one in condition.any)
    if condition.all:
        return _weakest(judge(one, facts, policy) for one in condition.all)
    name = condition.fact or ""
    if name in FLAGS:
        return _flag(facts.flag(name))
    return _within(number(name, facts, policy), condition.at_least, condition.below)


def number(name: str, facts: Facts, policy: Policy) -> Range:
    """What is known of a number or of a sum; a sum is at least what is known of its parts."""
    together = policy.sum_of.get(name)
    if together is None:
        return facts.number(name)
    if together.kind == "distinct":
        return Range.exactly(facts.distinct(together.of))
    parts = [facts.number(part) for part in together.of]
    low = sum((part.low for part in parts), _ZERO)
    return Range(low, None if any(part.high is None for part in parts) else low)


def is_mass(facts: Facts, policy: Policy) -> bool:
    """Whether so many households are concerned that a key event is a mass complaint (4.4)."""
    bound = policy.mass_bound.value
    return bound is not None and number(policy.mass_bound.fact, facts, policy).low >= bound


def level(policy: Policy, code: str) -> Grade | None:
    """The document's grade of that code."""
    return next((one for one in policy.grades if one.code == code), None)


def names(condition: Condition) -> Iterable[str]:
    """The facts that a condition speaks of."""
    for one in (*(condition.any or ()), *(condition.all or ())):
        yield from names(one)
    if condition.fact:
        yield condition.fact


def _flag(value: bool | None) -> Verdict:
    return "undetermined" if value is None else "met" if value else "not_met"


def _within(known: Range, at_least: Bound | None, below: Bound | None) -> Verdict:
    return _weakest([_reaches(known, at_least), _stays_below(known, below)])


def _reaches(known: Range, bound: Bound | None) -> Verdict:
    """大于等于: the bound itself is included. Where it is open, only what is known to be nothing is decided."""
    if bound is None:
        return "met"
    if bound.value is None:
        return "not_met" if known.high == 0 else "undetermined"
    if known.low >= bound.value:
        return "met"
    return "undetermined" if known.high is None or known.high >= bound.value else "not_met"


def _stays_below(known: Range, bound: Bound | None) -> Verdict:
    """小于: the bound itself is excluded."""
    if bound is None:
        return "met"
    if bound.value is None:
        return "undetermined"
    if known.low >= bound.value:
        return "not_met"
    return "met" if known.high is not None and known.high < bound.value else "undetermined"


def _strongest(verdicts: Iterable[Verdict]) -> Verdict:
    found = set(verdicts)
    return "met" if "met" in found else "undetermined" if "undetermined" in found else "not_met"


def _weakest(verdicts: Iterable[Verdict]) -> Verdict:
    found = set(verdicts)
    return "not_met" if "not_met" in found else "undetermined" if "undetermined" in found else "met"


def amount_of(said: Any) -> Decimal | None:
    """What an assessment says of an amount: all its forms together (margin note 1); None: nothing."""
    if said is None:
        return None
    if isinstance(said, str):
        return Decimal(said)
    return sum((Decimal(part["amount"]) for part in said), _ZERO)
