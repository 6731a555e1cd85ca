"""事件评估 (clause 7). The named facts are replaced; null is "not assessed", and amounts stay exact decimals."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.case import Case
from services.events import Action
from tests.steps import assessed, at, closed, command, folded, given, opened, received, risk_identified, settled, warned

FACTS: list[dict[str, Any]] = [
    {"compensation": "2000000.00"},
    {"upgrade_cost": [{"amount": "10.50", "form": "voucher"}, {"amount": "3.00", "form": "goods"}]},
    {"economic_loss": None},
    {"casualties": {"injured": 1, "dead": 0}},
    {"litigating_households": ["3-1-201"]},
    {"litigating_households": {"add": ["3-1-201"], "remove": []}},
    {"batch_handover_delayed": True, "title_deed_delayed": False},
    {"group_milestone_delayed": True, "annual_target_lowered": None},
]


@pytest.mark.parametrize("facts", FACTS)
def test_an_assessment_is_stored_as_said(facts: dict[str, Any]) -> None:
    """Clause 7."""
    given(received(1)).when(command("assessed", occurred_at=at(5), facts=facts)).then(assessed(5, **facts))


@pytest.mark.parametrize("past", [[risk_identified()], [warned()], [received(1)], [*settled(), closed(50)]])
def test_the_world_may_change_at_any_stage_and_after_closure(past: list[Action]) -> None:
    """Clause 7."""
    facts = given(*past).when(command("assessed", facts={"title_deed_delayed": True})).case.facts
    assert facts == {"title_deed_delayed": True}


def test_only_the_named_facts_are_replaced() -> None:
    """Clause 7."""
    case = folded(
        received(1),
        assessed(1, compensation="100.00", title_deed_delayed=True),
        assessed(2, compensation="250.00"),
    )
    assert case.facts == {"compensation": "250.00", "title_deed_delayed": True}


def test_null_makes_a_fact_unknown_again_rather_than_zero() -> None:
    """Clause 7: facts nobody assessed are unknown."""
    case = folded(received(1), assessed(1, compensation="100.00"), assessed(2, compensation=None))
    assert case.facts == {}


def test_zero_and_no_are_known() -> None:
    """Clause 7: not the same as unknown."""
    known = {"compensation": "0.00", "title_deed_delayed": False, "casualties": {"injured": 0, "dead": 0}}
    assert folded(received(1), assessed(1, **known)).facts == known


def test_the_opening_may_bring_facts_and_an_assessment_goes_on_from_them() -> None:
    """Clause 7."""
    opening = opened(facts={"compensation": "100", "title_deed_delayed": True})
    case = folded(opening, assessed(1, compensation=None))
    assert case.facts == {"title_deed_delayed": True}


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("2000000", "2000000.00"),
        ("1999999.99", "1999999.99"),
        ("0.1", "0.10"),
        ("999999999999999.99", "999999999999999.99"),
    ],
)
def test_an_amount_stays_an_exact_decimal_text(written: str, kept: str) -> None:
    """Clause 7: no float on the way (house rule)."""
    asked = given(received(1)).when(command("assessed", facts={"compensation": written}))
    assert asked.case.facts == {"compensation": kept}


@pytest.mark.parametrize("amount", [2000000.0, 2000000, "2,000,000", "1.234", "-1", "1e6", "", "NaN", "１２"])
def test_what_is_no_amount_is_refused(amount: object) -> None:
    """House rule."""
    with pytest.raises(ValidationError):
        command("assessed", facts={"compensation": amount})


def test_an_assessment_of_nothing_is_refused() -> None:
    """House rule."""
    with pytest.raises(ValidationError, match="name at least one fact"):
        command("assessed", facts={})


def _sueing(*said: object) -> object:
    steps = [assessed(number, litigating_households=one) for number, one in enumerate(said, start=1)]
    case: Case = folded(received(1), *steps)
    return case.facts.get("litigating_households")


def test_households_that_sue_are_added_and_taken_out_by_normalised_address() -> None:
    """Clause 7, A-1.2: each household once."""
    change = {"add": ["3栋1单元0201室", "5-1-101"], "remove": ["３－１－202"]}
    assert _sueing(["3-1-201", "3-1-202"], change) == ["3-1-201", "5-1-101"]


def test_households_may_be_added_before_any_list_was_given() -> None:
    """Clause 7, A-1.2."""
    assert _sueing({"add": ["3-1-201"]}) == ["3-1-201"]


def test_one_household_added_twice_in_two_ways_of_writing_sues_once() -> None:
    """Clause 7, A-1.2."""
    assert _sueing({"add": ["3-1-201", "3栋1单元201室"]}, {"add": ["3座1单元201房"]}) == ["3-1-201"]


def test_taking_out_a_household_that_does_not_sue_changes_nothing() -> None:
    """House rule."""
    assert _sueing(["3-1-201"], {"remove": ["9-9-909"]}) == ["3-1-201"]


def test_when_the_last_household_withdraws_it_is_known_that_nobody_sues() -> None:
    """Clause 7: nobody is not unknown."""
    assert _sueing(["3-1-201"], {"remove": ["3-1-201"]}) == []


def test_a_new_list_replaces_the_old_and_null_makes_it_unknown() -> None:
    """Clause 7."""
    assert _sueing(["3-1-201"], ["5-1-101"]) == ["5-1-101"]
    assert _sueing(["3-1-201"], None) is None


def test_a_late_assessment_does_not_replace_a_later_one() -> None:
    """Two axes of time (house rule): facts are folded as they happened, not as they arrived."""
    earlier, later = assessed(1, compensation="100.00"), assessed(2, compensation="250.00")
    assert folded(received(1), later, earlier).facts == folded(received(1), earlier, later).facts
    assert folded(received(1), later, earlier).facts == {"compensation": "250.00"}


def test_households_added_late_are_added_before_a_later_list() -> None:
    """Two axes of time (house rule)."""
    late = assessed(1, litigating_households={"add": ["9-9-909"]})
    assert folded(received(1), assessed(2, litigating_households=["3-1-201"]), late).facts == {
        "litigating_households": ["3-1-201"]
    }
