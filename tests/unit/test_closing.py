"""完结 (3.2). Each criterion alone keeps a case open; what is not met is named."""

import pytest

from services.case import Case
from services.events import Action
from services.rules import Rule
from tests.steps import (
    accepted,
    approved,
    ask,
    at,
    attempted,
    closed,
    declined,
    folded,
    given,
    proposed,
    received,
    responded,
    risk_identified,
    settled,
    warned,
)


def _unmet(*past: Action, recurrence_expected: bool = False) -> tuple[tuple[str, str, str], ...]:
    refusal = given(*past).when(ask(closed(50, recurrence_expected))).refused(Rule.CLOSURE_CRITERIA_NOT_MET)
    assert refusal.rule.clause == "3.2"
    return refusal.unmet


def test_a_case_that_meets_every_criterion_closes() -> None:
    """Clause 3.2."""
    asked = given(*settled()).when(ask(closed(50)))
    asked.then(closed(50))
    assert (asked.case.status, asked.case.is_closed) == ("closed", True)


def test_without_an_approved_plan_nothing_closes() -> None:
    """Clause 3.2(1)."""
    assert _unmet(received(1, None), responded(minutes=10)) == (("plan_approved", "true", "false"),)
    assert _unmet(received(1, None), responded(minutes=10), proposed(20)) == (("plan_approved", "true", "false"),)


def test_while_recurrence_is_expected_nothing_closes() -> None:
    """Clause 3.2(2)."""
    assert _unmet(*settled(), recurrence_expected=True) == (("recurrence_expected", "false", "true"),)


def test_a_complaint_neither_answered_nor_tried_keeps_the_case_open() -> None:
    """House rule."""
    unanswered = ("complaints_answered", "0 unanswered and untried", "1")
    assert _unmet(*settled(), received(9, minutes=45)) == (unanswered,)
    assert _unmet(*settled(), received(9, None, minutes=45)) == (unanswered,)


def test_a_complaint_tried_in_vain_is_enough() -> None:
    """House rule."""
    past = *settled(), received(9, minutes=45), attempted(9, minutes=46)
    given(*past).when(ask(closed(50))).then(closed(50))


def test_trying_another_complaint_is_not() -> None:
    """House rule."""
    past = *settled(), received(9, None, minutes=45), attempted(1, minutes=46)
    assert _unmet(*past) == (("complaints_answered", "0 unanswered and untried", "1"),)


HOMES = [f"3-1-{number}" for number in (101, 102, 103, 104)]


def _asked_of_four(accepting: int) -> list[Action]:
    complaints = [received(number, home) for number, home in enumerate(HOMES, start=1)]
    answers = [accepted(*HOMES[:accepting], minutes=40)] if accepting else []
    return [*complaints, responded(minutes=10), proposed(20), approved(30), *answers]


@pytest.mark.parametrize("accepting", [0, 1, 2])
def test_one_half_of_the_households_is_not_most(accepting: int) -> None:
    """Clause 3.2(2): more than one half."""
    assert _unmet(*_asked_of_four(accepting)) == (("accepting_households", "> 1/2 × 4", str(accepting)),)


@pytest.mark.parametrize("accepting", [3, 4])
def test_one_household_more_than_half_is_most(accepting: int) -> None:
    """Clause 3.2(2)."""
    given(*_asked_of_four(accepting)).when(ask(closed(50))).then(closed(50))


def test_of_an_odd_number_the_greater_half_is_most() -> None:
    """Clause 3.2(2): 2 of 3, exactly."""
    complaints = [received(number, home) for number, home in enumerate(HOMES[:3], start=1)]
    past: list[Action] = [*complaints, responded(minutes=10), proposed(20), approved(30)]
    assert _unmet(*past, accepted(HOMES[0], minutes=40))
    given(*past, accepted(*HOMES[:2], minutes=40)).when(ask(closed(50))).then(closed(50))


def test_households_are_counted_once_however_often_they_complain() -> None:
    """Clause 3.2(2): distinct households."""
    again = received(8, "3栋1单元101室", minutes=5), received(9, HOMES[0], minutes=6)
    opening, *rest = _asked_of_four(3)
    given(opening, *again, *rest).when(ask(closed(50))).then(closed(50))


def test_a_household_that_changes_its_mind_tips_the_balance_both_ways() -> None:
    """Clause 3.2(2)."""
    past = *_asked_of_four(3), declined(HOMES[0], minutes=41)
    assert _unmet(*past) == (("accepting_households", "> 1/2 × 4", "2"),)
    given(*past, accepted(HOMES[3], minutes=42)).when(ask(closed(50))).then(closed(50))


def test_a_household_that_complains_after_the_answers_is_still_to_be_won() -> None:
    """Clause 3.2(2)."""
    late = received(9, "5-1-101", minutes=41), responded(9, minutes=42)
    assert _unmet(*settled(), *late) == (("accepting_households", "> 1/2 × 2", "1"),)


def test_anonymous_complaints_alone_leave_nobody_to_accept() -> None:
    """Clause 3.2(2): with no household, a plan and answers are enough (interpretation)."""
    past = received(1, None), received(2, None), responded(minutes=10), proposed(20), approved(30)
    given(*past).when(ask(closed(50))).then(closed(50))


def test_an_anonymous_complaint_beside_a_household_does_not_weigh() -> None:
    """Clause 3.2(2)."""
    opening, *rest = settled()
    given(opening, received(8, None), received(9, None), *rest).when(ask(closed(50))).then(closed(50))


@pytest.mark.parametrize("start", [risk_identified(), warned()])
@pytest.mark.parametrize("recurrence_expected", [False, True])
def test_a_risk_or_warning_closes_by_decision_alone(start: Action, recurrence_expected: bool) -> None:
    """House rule."""
    given(start).when(ask(closed(50, recurrence_expected))).then(closed(50, recurrence_expected))


def test_a_risk_that_became_a_complaint_no_longer_does() -> None:
    """Clause 3.2."""
    assert len(_unmet(risk_identified(), warned(1), received(1, minutes=2))) == 3


def test_every_unmet_criterion_is_named_at_once() -> None:
    """Clause 3.2."""
    assert [one[0] for one in _unmet(received(1), recurrence_expected=True)] == [
        "plan_approved",
        "accepting_households",
        "recurrence_expected",
        "complaints_answered",
    ]


@pytest.mark.parametrize("past", [[*settled(), closed(50)], [risk_identified(), closed(50)]])
def test_a_closed_case_does_not_close_again(past: list[Action]) -> None:
    """House rule."""
    refusal = given(*past).when(ask(closed(60))).refused(Rule.ALREADY_CLOSED)
    assert refusal.unmet == (("status", "open", "closed"),)


def _since_closure(*after: Action) -> Case:
    return folded(*settled(), closed(50), *after)


def test_a_complaint_on_a_closed_case_is_taken_and_its_clock_runs() -> None:
    """Clause 4.3; the case stays closed (house rule)."""
    complaint = received(9, "5-1-101", minutes=60)
    given(*settled(), closed(50)).when(ask(complaint)).then(complaint)
    case = _since_closure(complaint)
    assert (case.status, case.complaints_since_closure, len(case.unanswered)) == ("closed", 1, 1)


def test_complaints_before_closure_are_none_since_closure() -> None:
    """House rule."""
    assert _since_closure().complaints_since_closure == 0
    assert (
        folded(*settled(), received(9, minutes=41), attempted(9, minutes=42), closed(50)).complaints_since_closure == 0
    )


def test_a_household_that_withdraws_after_closure_does_not_undo_it() -> None:
    """Clause 3.2(2): judged when it closed."""
    story = given(*settled(), closed(50))
    after = declined("3-1-201", minutes=60)
    asked = story.when(ask(after))
    asked.then(after)
    assert (asked.case.status, asked.case.inconsistencies, asked.case.accepting) == ("closed", (), 0)


def test_a_late_closing_is_judged_where_it_happened() -> None:
    """Clause 3.2; two axes of time."""
    story = given(*settled(), declined("3-1-201", minutes=60))
    story.when(ask(closed(70))).refused(Rule.CLOSURE_CRITERIA_NOT_MET)
    asked = story.when(ask(closed(50)))
    asked.then(closed(50))
    assert asked.case.cycle.closure is not None
    assert asked.case.cycle.closure.at == at(50)


def test_a_late_closing_before_the_acceptance_is_refused() -> None:
    """Clause 3.2(2); two axes of time."""
    refusal = given(*settled()).when(ask(closed(39))).refused(Rule.CLOSURE_CRITERIA_NOT_MET)
    assert refusal.unmet == (("accepting_households", "> 1/2 × 1", "0"),)
