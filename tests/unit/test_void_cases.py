"""作废 (house rule). A case whose opening is retracted is void: it takes notes and corrections alone."""

import pytest

from services.events import Action
from services.rules import Rule
from tests.steps import (
    Given,
    accepted,
    approved,
    ask,
    assessed,
    at,
    attempted,
    blamed,
    chased,
    closed,
    emergency,
    escalated,
    given,
    lesson_applied,
    lesson_recorded,
    linked,
    noted,
    proposed,
    received,
    reopened,
    responded,
    risk_identified,
    sanctioned,
    settled,
    unlinked,
    warned,
)


def _void(opening: Action, *past: Action) -> Given:
    story = given(opening, *past).beside(received(9))
    return story.corrected(opening)


@pytest.mark.parametrize("opening", [risk_identified(), warned(), received(1)])
def test_a_case_whose_opening_is_retracted_is_void(opening: Action) -> None:
    """House rule."""
    case = _void(opening).case
    assert (case.status, case.stands_open, len(case.complaints)) == ("void", False, 0)


TAKES_NOT: list[Action] = [
    warned(60, "聚集"),
    received(2, minutes=60),
    chased(2, 60),
    attempted(2, minutes=60),
    responded(minutes=60),
    assessed(60, title_deed_delayed=True),
    escalated("city", 60),
    emergency(60),
    proposed(60),
    approved(60),
    accepted("5-1-101", minutes=60),
    closed(60),
    reopened(60),
    blamed(60),
    sanctioned(60),
    lesson_recorded(60),
    lesson_applied(60),
    linked("related", 60),
    linked("merged_into", 60),
    unlinked("related", 60),
]


@pytest.mark.parametrize("fact", TAKES_NOT, ids=lambda fact: fact.name)
def test_a_void_case_takes_nothing_that_happens_to_a_case(fact: Action) -> None:
    """House rule."""
    _void(received(1), received(2, "5-1-101"), linked("related", 5)).when(ask(fact)).refused(Rule.CASE_VOID)


def test_a_void_case_takes_a_note() -> None:
    """House rule."""
    _void(received(1)).when(ask(noted("误建", 60))).then(noted("误建", 60))


def test_a_void_case_takes_a_correction() -> None:
    """House rule."""
    wrong = assessed(5, title_deed_delayed=True)
    assert _void(received(1), wrong).correct(wrong).case.status == "void"


def test_the_rest_of_a_void_case_stays_readable_and_is_marked() -> None:
    """Two axes of time (house rule): nothing is dropped."""
    second, note = received(2, "5-1-101", minutes=5), noted("看过", 6)
    story = _void(received(1), second, note)
    assert story.inconsistencies == [(second.action_id, "case_void")]
    assert len(story.case.complaints) == 1


def test_retracting_the_retraction_brings_the_case_back() -> None:
    """House rule: corrections can be corrected."""
    *past, acceptance = settled()
    void = _void(*past, acceptance, closed(50))
    story = void.corrected(void.last)
    assert (story.case.status, story.inconsistencies, story.answered(1)) == ("closed", [], at(10))


def test_a_case_was_not_void_before_that_was_known() -> None:
    """Two axes of time (house rule)."""
    story = _void(received(1))
    known = story.files[story.subject][0].recorded_at
    assert (story.stood().status, story.stood(known=known).status) == ("void", "open")


def test_a_corrected_opening_does_not_make_a_case_void() -> None:
    """House rule: only a retraction does."""
    story = given(received(1))
    opening = story.last
    assert story.corrected(opening, {"title": "误写"}).case.status == "open"
    assert story.corrected(opening).corrected(opening, {"title": "误写"}).case.status == "open"
