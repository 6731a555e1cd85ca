"""响应 (3.1, 4.3). Whom a response reaches, and which contact counts."""

import pytest

from services.events import Action
from services.rules import Rule
from tests.steps import (
    at,
    attempted,
    complaint_id,
    given,
    received,
    respond,
    responded,
    risk_identified,
    warned,
)


def test_a_response_to_a_named_complaint_is_stored_as_said() -> None:
    given(received(1)).when(respond(1, minutes=30)).then(responded(1, minutes=30))


def test_a_response_to_everyone_is_kept_as_said_and_not_resolved() -> None:
    given(received(1), received(2)).when(respond(minutes=30)).then(responded(minutes=30))


def test_a_response_to_a_household_is_stored_as_said() -> None:
    given(received(1, "3栋1单元201室")).when(respond(households=("3-1-0201",), minutes=30)).then(
        responded(households=("3-1-0201",), minutes=30)
    )


def test_a_response_answers_the_complaint_at_the_instant_of_the_contact() -> None:
    assert given(received(1), responded(1, minutes=30)).answered(1) == at(30)


def test_a_named_complaint_alone_is_answered() -> None:
    story = given(received(1), received(2), responded(2, minutes=30))
    assert (story.answered(1), story.answered(2)) == (None, at(30))


def test_of_two_contacts_the_earlier_counts() -> None:
    assert given(received(1), responded(1, minutes=30), responded(1, minutes=50)).answered(1) == at(30)


def test_a_later_proof_of_an_earlier_contact_counts() -> None:
    assert given(received(1), responded(1, minutes=90), responded(1, minutes=30)).answered(1) == at(30)


def test_a_later_proof_may_be_told_of_an_answered_complaint() -> None:
    given(received(1), responded(1, minutes=90)).when(respond(1, minutes=30)).then(responded(1, minutes=30))


def test_two_contacts_at_one_instant_leave_the_first_recorded() -> None:
    first = responded(1, minutes=30)
    assert given(received(1), first, responded(minutes=30)).complaint(1).responded_by == first.action_id


def test_a_contact_before_the_complaint_was_obtained_is_refused() -> None:
    refusal = given(received(1, minutes=10)).when(respond(1, minutes=9)).refused(Rule.ANSWERED_BEFORE_OBTAINED)
    assert refusal.unmet == (("contacted_at", "≥ 2026-11-23T12:10:00Z", "2026-11-23T12:09:00Z"),)


def test_a_contact_at_the_very_instant_of_obtaining_is_a_response() -> None:
    given(received(1, minutes=10)).when(respond(1, minutes=10)).then(responded(1, minutes=10))


def test_one_complaint_obtained_too_late_refuses_the_whole_list() -> None:
    story = given(received(1), received(2, minutes=40))
    story.when(respond(1, 2, minutes=30)).refused(Rule.ANSWERED_BEFORE_OBTAINED)


def test_everyone_means_those_obtained_by_then() -> None:
    story = given(received(1), received(2, minutes=40), responded(minutes=30))
    assert (story.answered(1), story.answered(2)) == (at(30), None)


def test_everyone_includes_one_obtained_at_the_very_instant() -> None:
    assert given(received(1, minutes=30), responded(minutes=30)).answered(1) == at(30)


def test_everyone_covers_a_complaint_recorded_later_but_obtained_before() -> None:
    story = given(received(1), responded(minutes=30), received(2, minutes=29))
    assert story.answered(2) == at(30)
    assert story.case.status == "responded"


def test_everyone_does_not_cover_a_complaint_obtained_later() -> None:
    story = given(received(1), responded(minutes=30), received(2, minutes=30.001))
    assert story.answered(2) is None
    assert story.case.status == "open"


def test_of_several_earlier_responses_the_earliest_that_fits_meets_a_late_upload() -> None:
    story = given(received(1), responded(minutes=50), responded(minutes=30), received(2, minutes=20))
    assert story.answered(2) == at(30)


def test_a_response_before_a_late_upload_was_obtained_does_not_meet_it() -> None:
    story = given(received(1), responded(minutes=10), responded(minutes=50), received(2, minutes=20))
    assert story.answered(2) == at(50)


@pytest.mark.parametrize("written", ["3栋1单元0201室", "３-１-201", "3座 1单元 201房", "3#1单元201", "03-01-201号"])
def test_a_household_is_found_however_it_is_written(written: str) -> None:
    assert given(received(1, "3-1-201"), responded(households=(written,), minutes=30)).answered(1) == at(30)


def test_a_response_to_a_household_leaves_its_neighbour_waiting() -> None:
    story = given(received(1, "3-1-201"), received(2, "3-1-202"), responded(households=("3-1-201",), minutes=30))
    assert (story.answered(1), story.answered(2)) == (at(30), None)


def test_a_response_to_a_household_covers_its_complaint_recorded_later_but_obtained_before() -> None:
    story = given(
        received(1, "3-1-201"), responded(households=("3-1-201",), minutes=30), received(2, "3栋1单元201", minutes=20)
    )
    assert story.answered(2) == at(30)


def test_a_response_to_named_complaints_never_covers_a_later_recorded_one() -> None:
    assert given(received(1), responded(1, minutes=30), received(2, minutes=20)).answered(2) is None


def test_a_household_whose_first_complaint_is_later_is_refused() -> None:
    story = given(received(1, "3-1-201", minutes=40))
    story.when(respond(households=("3-1-201",), minutes=30)).refused(Rule.ANSWERED_BEFORE_OBTAINED)


def test_a_household_that_complained_by_then_may_have_a_later_complaint_too() -> None:
    story = given(received(1, "3-1-201"), received(2, "3-1-201", minutes=40))
    asked = story.when(respond(households=("3-1-201",), minutes=30))
    asked.then(responded(households=("3-1-201",), minutes=30))
    after = asked.case.complaints
    assert [after[complaint_id(n)].responded_at for n in (1, 2)] == [at(30), None]


def test_a_household_that_never_complained_is_named_in_the_fault() -> None:
    story = given(received(1, "3-1-201"))
    story.when(respond(households=("3-1-201", "9-9-909"), minutes=30)).is_malformed(
        "unknown_household", "/households/1"
    )


def test_a_complaint_of_another_case_is_named_in_the_fault() -> None:
    given(received(1)).when(respond(1, 7, minutes=30)).is_malformed("unknown_complaint", "/complaints/1")


@pytest.mark.parametrize("start", [risk_identified(), warned()])
def test_without_a_complaint_there_is_nothing_to_answer(start: Action) -> None:
    given(start).when(respond(minutes=30)).refused(Rule.NOTHING_TO_ANSWER)


def test_everyone_before_anybody_complained_is_refused() -> None:
    given(received(1, minutes=40)).when(respond(minutes=30)).refused(Rule.ANSWERED_BEFORE_OBTAINED)


def test_a_case_is_responded_once_every_complaint_is() -> None:
    past: tuple[Action, ...] = (received(1), received(2), responded(1, minutes=30))
    assert given(*past).case.status == "open"
    assert given(*past, responded(2, minutes=31)).case.status == "responded"


def test_answering_again_does_not_count_twice() -> None:
    past = responded(1, minutes=30), responded(1, minutes=20), responded(1, minutes=40)
    assert given(received(1), received(2), *past).case.status == "open"


def test_a_complaint_named_twice_counts_once() -> None:
    assert given(received(1), received(2), responded(1, 1, minutes=30)).case.status == "open"


def test_an_attempt_in_vain_is_no_response() -> None:
    story = given(received(1), attempted(1, minutes=5))
    assert (story.answered(1), story.case.status) == (None, "open")


def test_no_order_of_recording_changes_when_a_complaint_was_answered() -> None:
    opening, late = received(1), received(2, minutes=20)
    answers = responded(minutes=50), responded(minutes=30), responded(households=("3-1-201",), minutes=40)
    orders: list[tuple[Action, ...]] = [
        (opening, late, *answers),
        (opening, *answers, late),
        (opening, answers[1], late, answers[2], answers[0]),
        (opening, *reversed(answers), late),
    ]
    found = {(story.answered(1), story.answered(2)) for story in (given(*order) for order in orders)}
    assert found == {(at(30), at(30))}
