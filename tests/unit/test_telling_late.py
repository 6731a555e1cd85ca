"""Two axes of time (house rule). A late action is judged where it happened, and contradicts no later step."""

from datetime import timedelta
from itertools import permutations

import pytest

from services.events import Action
from services.rules import Refusal, Rule
from tests.steps import (
    CASE,
    NOW,
    TICK,
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
    declined,
    escalated,
    folded,
    given,
    noted,
    proposed,
    received,
    reopened,
    responded,
    risk_identified,
    sanctioned,
    settled,
    warned,
)

LIFE: list[Action] = [*settled(), closed(50), blamed(60), sanctioned(70), reopened(80)]
TOO_SOON: list[tuple[Action, Rule]] = [
    (closed(5), Rule.CLOSURE_CRITERIA_NOT_MET),
    (accepted("3-1-201", minutes=25), Rule.NO_PLAN_APPROVED),
    (blamed(45), Rule.BLAMED_BEFORE_CLOSURE),
    (reopened(45), Rule.NOT_CLOSED),
    (sanctioned(55), Rule.NOT_BLAMED),
    (proposed(55, 2), Rule.ALREADY_CLOSED),
    (blamed(85), Rule.BLAMED_BEFORE_CLOSURE),
]


@pytest.mark.parametrize(("fact", "rule"), TOO_SOON, ids=lambda one: getattr(one, "name", one))
def test_a_late_action_is_judged_on_the_case_as_it_stood(fact: Action, rule: Rule) -> None:
    """Each by its own clause."""
    given(*LIFE).when(ask(fact)).refused(rule)


IN_TIME: list[Action] = [
    proposed(45, 2),
    declined("3-1-201", minutes=35),
    sanctioned(75),
    escalated("city", 1),
    assessed(2, title_deed_delayed=True),
    noted("看过", 3),
    received(7, None, minutes=55),
]


@pytest.mark.parametrize("fact", IN_TIME, ids=lambda one: one.name)
def test_a_late_action_that_was_possible_then_is_taken(fact: Action) -> None:
    """Two axes of time."""
    asked = given(*LIFE).when(ask(fact))
    asked.then(fact)
    assert asked.case.inconsistencies == ()


def _contradiction(story: Given, fact: Action) -> tuple[str, str]:
    refusal: Refusal = story.when(ask(fact)).refused(Rule.CONTRADICTS_LATER_ACTION)
    ((criterion, _, actual),) = refusal.unmet
    return criterion, actual


@pytest.mark.parametrize("start", [risk_identified(), warned()])
def test_a_late_closing_before_a_recorded_complaint_contradicts_it(start: Action) -> None:
    """Two axes of time: the complaint was taken as one of the open case."""
    complaint = received(1, minutes=30)
    assert _contradiction(given(start, complaint), closed(20)) == ("received", str(complaint.action_id))


def test_a_late_closing_after_all_complaints_contradicts_nothing() -> None:
    """Two axes of time."""
    complaint = received(9, "5-1-101", minutes=55)
    story = given(*settled(), complaint)
    assert _contradiction(story, closed(50)) == ("received", str(complaint.action_id))
    settled_too = story.and_then(responded(9, minutes=56), accepted("5-1-101", minutes=57))
    settled_too.when(ask(closed(58))).then(closed(58))


def test_at_the_instant_of_the_closing_the_complaint_comes_first() -> None:
    """Ties: in the order of the table."""
    story = given(*settled(), received(9, None, minutes=50))
    story.when(ask(closed(50))).refused(Rule.CLOSURE_CRITERIA_NOT_MET)
    assert _contradiction(story, closed(50 - TICK))[0] == "received"


def test_a_late_closing_before_a_recorded_one_contradicts_that() -> None:
    """Two axes of time."""
    recorded = closed(50)
    assert _contradiction(given(*settled(), recorded), closed(45)) == ("already_closed", str(recorded.action_id))


def test_a_late_refusal_by_a_household_contradicts_the_closure_that_rests_on_it() -> None:
    """Clause 3.2(2)."""
    closing = closed(50)
    story = given(*settled(), closing)
    assert _contradiction(story, declined("3-1-201", minutes=45)) == (
        "closure_criteria_not_met",
        str(closing.action_id),
    )


def test_a_late_complaint_that_the_closure_overlooked_contradicts_it() -> None:
    """Clause 3.2 (house rule: every complaint was answered, or tried in vain)."""
    closing = closed(50)
    story = given(*settled(), closing)
    assert _contradiction(story, received(9, None, minutes=45)) == ("closure_criteria_not_met", str(closing.action_id))


def test_a_late_complaint_that_an_earlier_response_covers_is_taken() -> None:
    """Clause 4.3: everyone means everyone obtained by then, whenever recorded."""
    late = received(9, None, minutes=9)
    given(*settled(), closed(50)).when(ask(late)).then(late)
    story = given(*settled(), closed(50), late)
    assert (story.answered(9), story.case.complaints_since_closure, story.inconsistencies) == (at(10), 0, [])


def test_a_late_complaint_after_the_closure_counts_as_one_since() -> None:
    """House rule."""
    late = received(9, None, minutes=55)
    assert given(*settled(), closed(50), noted("看过", 90)).when(ask(late)).case.complaints_since_closure == 1


def test_a_late_complaint_contradicts_a_recorded_warning() -> None:
    """Clause 4.1: only forward through the stages."""
    step = warned(20)
    assert _contradiction(given(risk_identified(), step), received(1, minutes=10))[0] == "not_at_risk_stage"


def test_the_first_contradicted_step_is_named() -> None:
    """Two axes of time."""
    life = [*settled(), closed(50), blamed(60), reopened(80)]
    assert _contradiction(given(*life), reopened(55)) == ("blamed_before_closure", str(life[-2].action_id))


def test_what_was_inconsistent_before_is_no_contradiction() -> None:
    """Two axes of time: only what the late action itself would break."""
    *past, acceptance = settled()
    story = given(*past, acceptance, closed(50)).corrected(acceptance)
    late = noted("看过", 45)
    story.when(ask(late)).then(late)
    story.when(ask(escalated("city", 45))).then(escalated("city", 45))


NAMED: list[tuple[Action, Rule]] = [
    (responded(1, minutes=9), Rule.ANSWERED_BEFORE_OBTAINED),
    (attempted(1, minutes=9), Rule.ATTEMPTED_BEFORE_OBTAINED),
    (chased(1, 9), Rule.CHASED_BEFORE_OBTAINED),
]


@pytest.mark.parametrize(("fact", "rule"), NAMED, ids=lambda one: getattr(one, "name", one))
def test_a_complaint_obtained_later_is_known_but_not_yet_obtained(fact: Action, rule: Rule) -> None:
    """Clause 3.1; of chasing a house rule."""
    given(risk_identified(), received(1, minutes=10), noted("看过", 20)).when(ask(fact)).refused(rule)


@pytest.mark.parametrize(
    "fact", [responded(1, minutes=10), attempted(1, minutes=10), chased(1, 10)], ids=lambda one: one.name
)
def test_at_the_very_instant_of_obtaining_a_complaint_may_be_named(fact: Action) -> None:
    """Clause 3.1; of chasing a house rule."""
    given(risk_identified(), received(1, minutes=10), noted("看过", 20)).when(ask(fact)).then(fact)


def test_a_late_note_may_speak_of_a_complaint_that_was_obtained_after_it() -> None:
    """House rule."""
    late = noted("此前已有耳闻", 5, about=1)
    given(risk_identified(), received(1, minutes=10)).when(ask(late)).then(late)


# Clocks that run ahead: the fold instant is never later than the record.


def test_what_a_fast_clock_says_is_folded_when_it_was_recorded() -> None:
    """Two axes of time: never later than its `recorded_at`."""
    ahead = assessed(24 * 60 + 4, compensation="1.00")
    story = given(received(1), ahead, assessed(24 * 60, compensation="2.00"))
    assert story.case.facts["compensation"] == "1.00"
    assert story.files[CASE][1].at == NOW + timedelta(microseconds=2)
    assert story.case.frontier is not None
    assert story.case.frontier[0] == NOW + timedelta(microseconds=2)


def test_a_contact_by_a_fast_clock_meets_a_complaint_obtained_before_it() -> None:
    """Clause 4.3: the earliest contact, by what both clocks say."""
    contact, complaint = responded(minutes=24 * 60 + 4), received(2, minutes=24 * 60 + 3)
    assert given(received(1), contact, complaint).answered(2) == at(24 * 60 + 4)
    assert given(received(1), complaint, contact).answered(2) == at(24 * 60 + 4)
    assert given(received(1), contact, received(2, minutes=24 * 60 + 4.5)).answered(2) is None


# Ties --------------------------------------------------------------------------------------------------------------


def test_a_whole_life_in_one_instant_is_folded_in_the_order_of_the_table() -> None:
    """Two axes of time: ties."""
    facts: list[Action] = [
        received(1, minutes=10),
        responded(minutes=10),
        proposed(10),
        approved(10),
        accepted("3-1-201", minutes=10),
        closed(10),
    ]
    for order in permutations(facts[1:]):
        case = folded(facts[0], *order)
        assert (case.status, case.inconsistencies) == ("closed", ())


def test_of_one_type_at_one_instant_the_last_recorded_counts() -> None:
    """Two axes of time: ties, then as recorded."""
    one, two = assessed(5, compensation="1.00"), assessed(5, compensation="2.00")
    assert folded(received(1), one, two).facts["compensation"] == "2.00"
    assert folded(received(1), two, one).facts["compensation"] == "1.00"


def test_what_is_told_later_of_the_same_instant_still_has_its_place_in_the_table() -> None:
    """Two axes of time: a plan proposed at the instant of closing comes before it."""
    given(*settled(), closed(50)).when(ask(proposed(50, 2))).then(proposed(50, 2))
    given(*settled(), closed(50)).when(ask(proposed(50 + TICK, 2))).refused(Rule.ALREADY_CLOSED)


# The order in which facts arrive -----------------------------------------------------------------------------------


def test_no_order_of_arrival_changes_the_final_verdict() -> None:
    """Two axes of time."""
    opening, *rest = settled()
    facts = [*rest, closed(50), received(9, None, minutes=55), escalated("city", 56)]
    seen = set()
    for order in permutations(facts, len(facts)):
        case = folded(opening, *order)
        complaints = tuple(sorted((c.obtained_at, c.responded_at or NOW) for c in case.complaints.values()))
        levels = case.escalation_level, case.complaints_since_closure, case.accepting
        seen.add((case.status, case.inconsistencies, complaints, levels))
        if len(seen) > 1:
            break
    assert len(seen) == 1


def test_before_the_opening_only_a_complaint_told_late_and_its_answer_have_happened() -> None:
    """House rule; clause 4.1."""
    story = given(risk_identified(30))
    story.when(ask(closed(10))).refused(Rule.BEFORE_OPENING)
    story.when(ask(escalated("city", 10))).refused(Rule.BEFORE_OPENING)
    story.when(ask(received(1, minutes=10))).then(received(1, minutes=10))
