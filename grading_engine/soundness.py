"""Whether a policy document is sound: every fault named, and where. A document that is not is never published."""

from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from pydantic import ValidationError

from grading_engine.facts import AMOUNTS, FLAGS, HOUSEHOLDS, NUMBERS
from grading_engine.policy import Condition, Duty, Policy

# What can meet a duty that starts so.
_CAN_MEET = {
    "complaint_obtained": ("responded", "closed"),
    "key_mass_complaint": ("emergency_reported",),
    "closure": ("blamed", "lesson_recorded"),
}


class DocumentFault(NamedTuple):
    """Where in the document (a JSON pointer), and what is wrong; `given` is the name or figure that it is about."""

    pointer: str
    code: str
    given: str | None = None


def examined(document: Any) -> tuple[Policy | None, list[DocumentFault]]:
    """The policy in plain values, or every fault that it has."""
    try:
        policy = Policy.model_validate(document)
    except ValidationError as invalid:
        return None, [
            DocumentFault("".join(f"/{part}" for part in error["loc"]), error["type"])
            for error in invalid.errors(include_url=False, include_input=False)
        ]
    faults = list(faults_of(policy))
    return (None, faults) if faults else (policy, [])


def faults_of(policy: Policy) -> Iterator[DocumentFault]:
    """What no shape can tell: names that mean nothing, levels that nothing reaches, duties that nothing meets."""
    yield from _doubled("/sums", [one.name for one in policy.sums])
    yield from _doubled("/grades", [one.code for one in policy.grades])
    yield from _doubled("/grades", [c.id for level in policy.grades for c in level.criteria])
    yield from _doubled("/duties", [one.duty for one in policy.duties])
    yield from _doubled("/closure", [one.criterion for one in policy.closure])
    yield from _sums(policy)
    yield from _mass_bound(policy)
    for index, level in enumerate(policy.grades):
        for number, criterion in enumerate(level.criteria):
            yield from _condition(criterion.when, f"/grades/{index}/criteria/{number}/when", policy)
    yield from _out_of_reach(policy)
    for index, duty in enumerate(policy.duties):
        yield from _duty(duty, f"/duties/{index}")


def _doubled(pointer: str, names: Iterable[str]) -> Iterator[DocumentFault]:
    for name, times in Counter(names).items():
        if times > 1:
            yield DocumentFault(pointer, "named_twice", name)


def _sums(policy: Policy) -> Iterator[DocumentFault]:
    for index, together in enumerate(policy.sums):
        parts = AMOUNTS if together.kind == "total" else HOUSEHOLDS
        if together.name in (*NUMBERS, *FLAGS):
            yield DocumentFault(f"/sums/{index}/name", "name_of_a_fact", together.name)
        for number, part in enumerate(together.of):
            if part not in parts:
                yield DocumentFault(f"/sums/{index}/of/{number}", "unknown_fact", part)


def _mass_bound(policy: Policy) -> Iterator[DocumentFault]:
    counted = policy.mass_bound.fact
    together = policy.sum_of.get(counted)
    if counted not in HOUSEHOLDS and (together is None or together.kind != "distinct"):
        yield DocumentFault("/mass_bound/fact", "unknown_fact", counted)
    if policy.mass_bound.value is None and any(duty.starts == "key_mass_complaint" for duty in policy.duties):
        yield DocumentFault("/mass_bound", "bound_needed")


def _condition(condition: Condition, pointer: str, policy: Policy) -> Iterator[DocumentFault]:
    for kind in ("any", "all"):
        for index, one in enumerate(getattr(condition, kind) or ()):
            yield from _condition(one, f"{pointer}/{kind}/{index}", policy)
    fact = condition.fact
    if fact is None:
        return
    bounds = condition.at_least or condition.below
    if fact in FLAGS:
        if bounds:
            yield DocumentFault(pointer, "bound_on_a_flag", fact)
    elif fact not in NUMBERS and fact not in policy.sum_of:
        yield DocumentFault(f"{pointer}/fact", "unknown_fact", fact)
    elif not bounds:
        yield DocumentFault(pointer, "bound_needed", fact)
    elif _is_empty(condition):
        yield DocumentFault(pointer, "nothing_between_the_bounds", fact)


def _is_empty(condition: Condition) -> bool:
    low = condition.at_least.value if condition.at_least else None
    high = condition.below.value if condition.below else None
    return high is not None and high <= (low or Decimal(0))


def _out_of_reach(policy: Policy) -> Iterator[DocumentFault]:
    """A level all of whose criteria are covered by a more severe one is never the highest level met."""
    for index, level in enumerate(policy.grades):
        more_severe = [c.when for other in policy.grades[:index] for c in other.criteria]
        if all(any(_covers(severe, c.when) for severe in more_severe) for c in level.criteria):
            yield DocumentFault(f"/grades/{index}", "unreachable", level.code)


def _covers(severe: Condition, condition: Condition) -> bool:
    """Whether whatever meets the condition meets the more severe one too; False where that cannot be told."""
    if severe == condition:
        return True
    if condition.any:
        return all(_covers(severe, one) for one in condition.any)
    if severe.any:
        return any(_covers(one, condition) for one in severe.any)
    if severe.fact is None or severe.fact != condition.fact or severe.below:
        return False
    if severe.fact in FLAGS:
        return True
    needed = severe.at_least.value if severe.at_least else None
    given = condition.at_least.value if condition.at_least else None
    return needed is not None and given is not None and given >= needed


def _duty(duty: Duty, pointer: str) -> Iterator[DocumentFault]:
    if duty.met_by not in _CAN_MEET[duty.starts]:
        yield DocumentFault(f"{pointer}/met_by", "nothing_can_meet_it", duty.met_by)
    working = duty.calendar.kind == "working_days_of_china"
    if duty.within.amount is not None and (duty.within.unit == "working_days") != working:
        yield DocumentFault(f"{pointer}/within/unit", "calendar_differs", duty.within.unit)
