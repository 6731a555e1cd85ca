"""重启 (house rule; 3.2 fears a recurrence). The next cycle: plan, answers, closure and blame are given anew."""

import pytest

from services.case import Cycle
from services.events import Action
from services.rules import Rule
from tests.steps import (
    accepted,
    approved,
    ask,
    at,
    blamed,
    closed,
    given,
    lesson_applied,
    lesson_recorded,
    plan_id,
    proposed,
    received,
    reopened,
    responded,
    risk_identified,
    sanctioned,
    settled,
)

CLOSED: list[Action] = [*settled(), closed(50)]
REOPENED: list[Action] = [*CLOSED, blamed(55, "100"), sanctioned(56), reopened(60)]


def test_a_closed_case_is_reopened() -> None:
    """House rule."""
    asked = given(*CLOSED).when(ask(reopened(60)))
    asked.then(reopened(60))
    assert (asked.case.is_closed, asked.case.cycle) == (False, Cycle(2))


@pytest.mark.parametrize("past", [[received(1)], [risk_identified()], settled(), REOPENED])
def test_what_is_not_closed_is_not_reopened(past: list[Action]) -> None:
    """House rule."""
    refusal = given(*past).when(ask(reopened(70))).refused(Rule.NOT_CLOSED)
    assert (refusal.unmet[0].criterion, refusal.unmet[0].required) == ("status", "closed")


def test_a_case_is_not_reopened_before_it_closed() -> None:
    """House rule; two axes of time."""
    given(*CLOSED).when(ask(reopened(49))).refused(Rule.NOT_CLOSED)


def test_answered_complaints_stay_answered() -> None:
    """Clause 4.3: each complaint has one clock."""
    story = given(*REOPENED)
    assert (story.answered(1), story.case.status) == (at(10), "responded")


def test_the_next_cycle_needs_a_plan_and_answers_of_its_own() -> None:
    """Clause 3.2."""
    story = given(*REOPENED)
    refusal = story.when(ask(closed(90))).refused(Rule.CLOSURE_CRITERIA_NOT_MET)
    assert [one.criterion for one in refusal.unmet] == ["plan_approved", "accepting_households"]
    story.when(ask(accepted("3-1-201", minutes=70))).refused(Rule.NO_PLAN_APPROVED)
    story = story.and_then(proposed(70, 2), approved(71, 2))
    refusal = story.when(ask(closed(90))).refused(Rule.CLOSURE_CRITERIA_NOT_MET)
    assert refusal.unmet == (("accepting_households", "> 1/2 × 1", "0"),)
    story.and_then(accepted("3-1-201", minutes=72)).when(ask(closed(90))).then(closed(90))


def test_closing_again_ends_the_second_cycle() -> None:
    """Clause 3.2."""
    case = given(*REOPENED, proposed(70, 2), approved(71, 2), accepted("3-1-201", minutes=72), closed(90)).case
    assert (case.status, case.cycle.number, case.inconsistencies) == ("closed", 2, ())


def test_blame_is_given_anew() -> None:
    """Clause 4.5."""
    story = given(*REOPENED)
    assert story.when(ask(blamed(65))).refused(Rule.BLAMED_BEFORE_CLOSURE).rule.clause == "4.5"
    again = story.and_then(proposed(70, 2), approved(71, 2), accepted("3-1-201", minutes=72), closed(90))
    again.when(ask(sanctioned(95))).refused(Rule.NOT_BLAMED)
    assert again.when(ask(blamed(95))).then(blamed(95)).case.status == "accounted"


def test_an_earlier_cycle_stays_readable() -> None:
    """Clause 4.5."""
    (first,) = given(*REOPENED, proposed(70, 2)).case.cycles
    assert first.approved and first.closure and first.blame and first.reopened
    assert (list(first.proposals), [reply.accepted for reply in first.replies.values()]) == ([plan_id(1)], [True])
    assert (first.number, first.closure.at, first.reopened.at) == (1, at(50), at(60))
    assert first.blame.action.responsible[0].share_percent == "100"
    assert len(first.sanctions) == 1


def test_cycles_are_numbered_in_their_order() -> None:
    """House rule."""
    second = proposed(70, 2), approved(71, 2), accepted("3-1-201", minutes=72), closed(90), reopened(100)
    case = given(*REOPENED, *second).case
    assert ([cycle.number for cycle in case.cycles], case.cycle.number) == ([1, 2], 3)
    assert [list(cycle.proposals) for cycle in case.cycles] == [[plan_id(1)], [plan_id(2)]]


def test_complaints_since_closure_are_none_since_reopening() -> None:
    """House rule."""
    story = given(*CLOSED, received(9, minutes=55))
    assert story.case.complaints_since_closure == 1
    reopened_ = story.and_then(reopened(60))
    assert (reopened_.case.complaints_since_closure, reopened_.case.status) == (0, "open")


def test_a_complaint_since_closure_has_to_be_answered_before_closing_again() -> None:
    """House rule."""
    again = proposed(70, 2), approved(71, 2), accepted("3-1-201", minutes=72)
    story = given(*CLOSED, received(9, minutes=55), reopened(60), *again)
    assert (
        story.when(ask(closed(90))).refused(Rule.CLOSURE_CRITERIA_NOT_MET).unmet[0].criterion == "complaints_answered"
    )
    story.and_then(responded(9, minutes=80)).when(ask(closed(90))).then(closed(90))


def test_lessons_outlive_a_reopening_and_are_applied_once_closed_again() -> None:
    """Clause 4.6."""
    story = given(*CLOSED, lesson_recorded(55, 5), reopened(60))
    assert list(story.case.lessons) == [plan_id(5)]
    story.when(ask(lesson_applied(65, 5))).refused(Rule.LESSON_BEFORE_CLOSURE)
    again = story.and_then(proposed(70, 2), approved(71, 2), accepted("3-1-201", minutes=72), closed(90))
    again.when(ask(lesson_applied(95, 5))).then(lesson_applied(95, 5))


def test_what_is_told_late_of_an_earlier_cycle_belongs_to_it() -> None:
    """Clause 4.5; two axes of time."""
    story = given(*CLOSED, reopened(60))
    late = story.when(ask(blamed(55))).then(blamed(55)).case
    assert late.cycles[0].blame is not None
    assert (late.cycle.blame, late.status) == (None, "responded")


def test_a_reopened_risk_may_close_by_decision_again() -> None:
    """House rule."""
    given(risk_identified(), closed(50), reopened(60)).when(ask(closed(70))).then(closed(70))
