"""案例沉淀应用 (4.6). The lesson of a closed case is recorded, then applied to the work."""

import pytest

from services.corrections import body_of
from services.events import Action
from services.rules import Rule
from tests.steps import (
    ask,
    at,
    blamed,
    closed,
    command,
    given,
    lesson_applied,
    lesson_recorded,
    plan_id,
    received,
    risk_identified,
    settled,
)

CLOSED: list[Action] = [*settled(), closed(50)]


@pytest.mark.parametrize("past", [CLOSED, [*CLOSED, blamed(55)], [risk_identified(), closed(50)]])
def test_a_closed_case_has_a_lesson(past: list[Action]) -> None:
    """Clause 4.6."""
    given(*past).when(ask(lesson_recorded(60))).then(lesson_recorded(60))


@pytest.mark.parametrize("past", [[received(1)], settled(), [risk_identified()]])
@pytest.mark.parametrize("fact", [lesson_recorded(60), lesson_applied(60)])
def test_lessons_follow_closure(past: list[Action], fact: Action) -> None:
    """Clause 4.6."""
    refusal = given(*past).when(ask(fact)).refused(Rule.LESSON_BEFORE_CLOSURE)
    assert (refusal.rule.clause, refusal.unmet[0].required) == ("4.6", "closed")


def test_one_measure_may_be_a_text() -> None:
    """Clause 4.6."""
    body = {**body_of(lesson_recorded(60)), "measures": "修订"}
    given(*CLOSED).when(command(body.pop("type"), **body)).then(lesson_recorded(60))


def test_a_case_may_teach_several_lessons() -> None:
    """Clause 4.6."""
    case = given(*CLOSED, lesson_recorded(60)).when(ask(lesson_recorded(61, 2))).case
    assert len(case.lessons) == 2


def test_a_lesson_is_applied_as_often_as_it_is() -> None:
    """Clause 4.6."""
    asked = given(*CLOSED, lesson_recorded(60), lesson_applied(70)).when(ask(lesson_applied(80)))
    asked.then(lesson_applied(80))
    assert [held.at for held in asked.case.lessons[plan_id(1)].applied] == [at(70), at(80)]


def test_a_lesson_that_nobody_recorded_is_not_applied() -> None:
    """Clause 4.6."""
    given(*CLOSED, lesson_recorded(60)).when(ask(lesson_applied(70, 9))).is_malformed("unknown_lesson", "/lesson")


def test_a_lesson_is_not_applied_before_it_was_recorded() -> None:
    """Clause 4.6; two axes of time."""
    story = given(*CLOSED, lesson_recorded(60))
    story.when(ask(lesson_applied(59))).refused(Rule.NO_LESSON_RECORDED)
    story.when(ask(lesson_applied(60))).then(lesson_applied(60))


def test_a_plan_is_no_lesson() -> None:
    """Clause 4.6."""
    given(*CLOSED).when(ask(lesson_applied(70))).refused(Rule.NO_LESSON_RECORDED)
    given(*CLOSED, lesson_recorded(60, 5)).when(ask(lesson_applied(70))).is_malformed("unknown_lesson", "/lesson")


def test_a_retracted_lesson_leaves_its_application_inconsistent() -> None:
    """Two axes of time (house rule): nothing is dropped."""
    lesson, applied = lesson_recorded(60, 5), lesson_applied(70, 5)
    story = given(*CLOSED, lesson, applied).corrected(lesson)
    assert story.inconsistencies == [(applied.action_id, "no_lesson_recorded")]
