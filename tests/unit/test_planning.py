"""处理方案 (3.2). Proposed, approved, and answered by the households that complain."""

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
    given,
    plan_id,
    proposed,
    received,
    reopened,
    responded,
    risk_identified,
    settled,
    warned,
)

HOME = "3-1-201"
PLANNED: list[Action] = [received(1, HOME), responded(minutes=10), proposed(20), approved(30)]


@pytest.mark.parametrize("start", [risk_identified(), warned(), received(1)])
def test_a_plan_may_be_proposed_while_the_case_is_open(start: Action) -> None:
    """Clause 3.2(1)."""
    given(start).when(ask(proposed(20, cost="380000.00"))).then(proposed(20, cost="380000.00"))


def test_several_plans_may_be_proposed_and_any_of_them_approved() -> None:
    """Clause 3.2(1)."""
    story = given(received(1), proposed(20), proposed(21, 2))
    assert list(story.case.cycle.proposals) == [plan_id(1), plan_id(2)]
    for number in (1, 2):
        story.when(ask(approved(30, number))).then(approved(30, number))


def test_a_plan_that_nobody_proposed_is_not_approved() -> None:
    """Clause 3.2(1)."""
    given(received(1), proposed(20)).when(ask(approved(30, 7))).is_malformed("unknown_plan", "/plan")


def test_a_plan_is_not_approved_before_it_was_proposed() -> None:
    """Clause 3.2(1)."""
    given(received(1), proposed(20)).when(ask(approved(19))).refused(Rule.NO_PLAN_PROPOSED)
    given(received(1), proposed(20)).when(ask(approved(20))).then(approved(20))


def test_a_plan_of_an_earlier_cycle_is_not_approved() -> None:
    """House rule: plan, answers, closure and blame are given anew."""
    given(*settled(), closed(50), reopened(60)).when(ask(approved(70))).refused(Rule.NO_PLAN_PROPOSED)
    given(*settled(), closed(50), reopened(60), proposed(65, 2)).when(ask(approved(70))).is_malformed(
        "unknown_plan", "/plan"
    )


def test_the_last_approval_counts() -> None:
    """Clause 3.2(1)."""
    case = given(received(1), proposed(20), proposed(21, 2), approved(30), approved(31, 2)).case
    assert case.cycle.approved is not None
    assert (case.cycle.approved.action.plan, case.cycle.approved.at) == (plan_id(2), at(31))


@pytest.mark.parametrize("fact", [proposed(60, 2), approved(60)])
def test_a_closed_case_takes_no_plan(fact: Action) -> None:
    """House rule."""
    refusal = given(*settled(), closed(50)).when(ask(fact)).refused(Rule.ALREADY_CLOSED)
    assert refusal.unmet == (("status", "open", "closed"),)


def test_a_case_is_planned_once_all_is_answered_and_a_plan_approved() -> None:
    """Clause 3.2(1)."""
    assert [given(*PLANNED[:n]).case.status for n in (1, 2, 3, 4)] == ["open", "responded", "responded", "planned"]


def test_a_case_with_an_unanswered_complaint_is_open_whatever_is_planned() -> None:
    """House rule."""
    assert given(received(1), attempted(1, minutes=10), proposed(20), approved(30)).case.status == "open"


@pytest.mark.parametrize("answer", [accepted(HOME, minutes=40), declined(HOME, minutes=40)])
def test_an_answer_is_stored_as_said(answer: Action) -> None:
    """Clause 3.2(2)."""
    given(*PLANNED).when(ask(answer)).then(answer)


@pytest.mark.parametrize("past", [[received(1, HOME)], [received(1, HOME), proposed(20)]])
def test_nobody_answers_a_plan_that_is_not_approved(past: list[Action]) -> None:
    """Clause 3.2(2)."""
    refusal = given(*past).when(ask(accepted(HOME, minutes=40))).refused(Rule.NO_PLAN_APPROVED)
    assert (refusal.rule.clause, refusal.unmet) == ("3.2", (("plan_approved", "true", "false"),))


def test_an_answer_before_the_approval_is_refused_to_the_microsecond() -> None:
    """Clause 3.2(2)."""
    story = given(*PLANNED)
    story.when(ask(accepted(HOME, minutes=29.999))).refused(Rule.NO_PLAN_APPROVED)
    story.when(ask(accepted(HOME, minutes=30))).then(accepted(HOME, minutes=30))


def test_only_complaining_households_answer() -> None:
    """Clause 3.2(2)."""
    given(*PLANNED).when(ask(accepted(HOME, "9-9-909", minutes=40))).is_malformed("unknown_household", "/households/1")


def test_a_household_answers_only_once_it_complained() -> None:
    """Clause 3.2(2): judged at its own instant."""
    story = given(*PLANNED, received(2, "5-1-101", minutes=45))
    story.when(ask(accepted("5-1-101", minutes=40))).is_malformed("unknown_household", "/households/0")
    story.when(ask(accepted("5-1-101", minutes=45))).then(accepted("5-1-101", minutes=45))


def _accepting(*answers: Action) -> int:
    case: Case = given(*PLANNED, received(2, "3-1-202", minutes=31), *answers).case
    return case.accepting


def test_a_household_may_change_its_mind_and_the_last_word_counts() -> None:
    """Clause 3.2(2)."""
    assert _accepting(accepted(HOME, minutes=40)) == 1
    assert _accepting(accepted(HOME, minutes=40), declined("3栋1单元0201室", minutes=41)) == 0
    assert _accepting(declined(HOME, minutes=40), accepted(HOME, minutes=41)) == 1


def test_a_last_word_is_last_in_the_world_and_not_in_the_ledger() -> None:
    """Two axes of time (house rule)."""
    assert _accepting(declined(HOME, minutes=41), accepted(HOME, minutes=40)) == 0


def test_a_household_that_accepts_twice_counts_once() -> None:
    """Clause 3.2(2): distinct households."""
    assert _accepting(accepted(HOME, "3栋1单元201室", minutes=40), accepted(HOME, minutes=41)) == 1


def test_one_answer_may_speak_for_several_households() -> None:
    """Clause 3.2(2)."""
    assert _accepting(accepted(HOME, "3-1-202", minutes=40)) == 2
