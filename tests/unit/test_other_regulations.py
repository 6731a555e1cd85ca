"""Other regulations are documents: levels, working-day duties and closure rules that no code knows."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from grading_engine.closure import ClosureFacts, unmet
from grading_engine.duties import Proof, due, owed
from grading_engine.facts import Facts
from grading_engine.grades import grade
from grading_engine.policy import Policy, read
from grading_engine.soundness import examined

DOCUMENTS = Path(__file__).parent.parent / "documents"
TICK = timedelta(microseconds=1)


def policy(name: str) -> Policy:
    """A document that is sound."""
    found, faults = examined(read((DOCUMENTS / f"{name}.yaml").read_text("utf-8")))
    assert found is not None, faults
    return found


NONE = Facts((Decimal(0),) * 3, (False,) * 4, (0, 0))
LEVELS = {
    "nobody": (NONE, "ungraded"),
    "one household": (NONE._replace(complaining=1, either=1), "IV"),
    "two and 4,999.99": (NONE._replace(complaining=2, amounts=(Decimal("4999.99"), Decimal(0), Decimal(0))), "IV"),
    "two and 5,000": (NONE._replace(complaining=2, amounts=(Decimal("5000.00"), Decimal(0), Decimal(0))), "III"),
    "one and 5,000": (NONE._replace(complaining=1, amounts=(Decimal("5000.00"), Decimal(0), Decimal(0))), "IV"),
    "20,000 in two parts": (NONE._replace(amounts=(Decimal("15000"), Decimal(0), Decimal("5000"))), "II"),
    "upgrade cost is no claim here": (NONE._replace(amounts=(Decimal(0), Decimal("99999"), Decimal(0))), "ungraded"),
    "five households": (NONE._replace(complaining=5, either=5), "II"),
    "somebody died": (NONE._replace(counts=(0, 1)), "I"),
}


@pytest.mark.parametrize("case", LEVELS)
def test_four_levels_as_a_document_alone(case: str) -> None:
    facts, code = LEVELS[case]
    assert grade(facts, policy("another-developer")).code == code


def test_working_days_skip_the_national_holiday_and_take_the_make_up_day() -> None:
    """Wednesday 30 September 2026: the third working day after is Saturday 10 October, worked to make up."""
    rule = policy("another-developer").duty("answer")
    started = datetime(2026, 9, 30, 1, tzinfo=UTC)
    last = due(rule, started)
    assert last == datetime(2026, 10, 10, 15, 59, 59, 999999, tzinfo=UTC)
    in_time, late = (owed(rule, started, started, Proof(at, at), at).state for at in (last, last + TICK))
    assert (in_time, late) == ("met", "met_late")


def test_closing_by_two_thirds() -> None:
    facts = ClosureFacts(plan_approved=True, households=3, accepting=2, recurrence_expected=True, untried=9)
    assert [one.criterion for one in unmet(policy("another-developer"), facts)] == ["accepting_households"]
    assert unmet(policy("another-developer"), facts._replace(accepting=3)) == []


def test_a_public_scheme_without_levels() -> None:
    scheme = policy("market-regulation-12315")
    assert grade(NONE, scheme).code == "ungraded"
    # Seven working days from a Friday, over one weekend: Tuesday of the week after next.
    last = due(scheme.duty("accept_or_refuse"), datetime(2026, 11, 13, 2, tzinfo=UTC))
    assert last == datetime(2026, 11, 24, 15, 59, 59, 999999, tzinfo=UTC)
