"""State(T, K) (house rule): the case at an instant, as known at another; and the clock of 4.3 to the microsecond."""

from datetime import datetime
from typing import Any

import pytest

from projections.duty_view import duties
from services.case import Case
from services.docket import advanced, comes_last, fold, opened
from services.events import Action
from tests.steps import (
    CASE,
    NOW,
    TICK,
    accepted,
    approved,
    assessed,
    at,
    blamed,
    closed,
    complaint_id,
    given,
    proposed,
    received,
    recorded,
    reopened,
    responded,
    risk_identified,
    settled,
    warned,
)

LIFE: list[Action] = [
    risk_identified(),
    warned(5),
    received(1, minutes=10),
    responded(minutes=20),
    proposed(30),
    approved(40),
    accepted("3-1-201", minutes=50),
    closed(60),
    blamed(70),
    reopened(80),
]
STATES = {
    0: ("risk", "open"),
    5: ("warning", "open"),
    10: ("complaint", "open"),
    20: ("complaint", "responded"),
    40: ("complaint", "planned"),
    60: ("complaint", "closed"),
    70: ("complaint", "accounted"),
    80: ("complaint", "responded"),
}


@pytest.mark.parametrize("minutes", STATES)
def test_a_case_stands_as_it_stood_from_the_very_instant_of_each_step(minutes: int) -> None:
    """State(T, K): up to and including T."""
    story = given(*LIFE)
    case = story.stood(minutes)
    assert (case.stage, case.status) == STATES[minutes]
    if minutes:
        before = story.stood(minutes - TICK)
        assert (before.stage, before.status) == STATES[max(key for key in STATES if key < minutes)]


def test_what_was_recorded_is_known_from_the_very_instant_of_recording() -> None:
    """State(T, K): recorded at or before K."""
    story = given(*LIFE)
    assert [story.stood(known=recorded(n)).version for n in (1, 2, 10)] == [1, 2, 10]
    just_before = recorded(4).replace(microsecond=recorded(4).microsecond - 1)
    assert (story.stood(known=just_before).status, story.stood(known=recorded(4)).status) == ("open", "responded")


def test_a_case_of_which_nothing_is_known_yet_has_no_version() -> None:
    """State(T, K): then it is not found."""
    case = given(*LIFE).stood(known=NOW)
    assert (case.version, case.opening, case.opened_at) == (0, None, None)


def test_a_late_fact_changes_the_past_only_for_those_who_know_it() -> None:
    """State(T, K): both axes."""
    story = given(received(1), responded(1, minutes=90), responded(1, minutes=30))
    then, now = recorded(2), recorded(3)
    answers = [story.stood(100, known=known).complaints[complaint_id(1)].responded_at for known in (then, now)]
    assert answers == [at(90), at(30)]
    assert [len(story.stood(60, known=known).unanswered) for known in (then, now)] == [1, 0]


def test_a_correction_is_applied_from_when_it_was_recorded_to_all_instants() -> None:
    """State(T, K): corrections first."""
    wrong = assessed(5, compensation="100.00")
    story = given(received(1), wrong).corrected(wrong, {"facts": {"compensation": "1.00"}})
    assert [story.stood(9, known=recorded(n)).facts for n in (2, 3)] == [
        {"compensation": "100.00"},
        {"compensation": "1.00"},
    ]


def test_a_correction_that_was_retracted_counted_in_between() -> None:
    """State(T, K)."""
    wrong = assessed(5, compensation="100.00")
    story = given(received(1), wrong).corrected(wrong)
    story = story.corrected(story.last)
    assert [len(story.stood(known=recorded(n)).facts) for n in (1, 2, 3, 4)] == [0, 1, 0, 1]


def test_an_inconsistency_is_there_once_it_is_known_and_its_instant_has_come() -> None:
    """State(T, K)."""
    *past, acceptance = settled()
    closing = closed(50)
    story = given(*past, acceptance, closing).corrected(acceptance)
    number = len(past) + 3
    seen = [
        len(story.stood(minutes, known=recorded(known)).inconsistencies)
        for minutes, known in ((60, number - 1), (50 - TICK, number), (50, number))
    ]
    assert seen == [0, 0, 1]


def test_state_without_cuts_is_state_now() -> None:
    """State(T, K): both default to now."""
    story = given(*LIFE)
    later = recorded(len(LIFE))
    assert fold(story.files).docket == fold(story.files, later, later).docket


def test_what_came_one_by_one_stands_as_what_is_folded_at_once() -> None:
    """State(T, K): a case kept in memory is the case folded from its ledger."""
    story = given(*LIFE)
    first, *rest = story.files[CASE]
    docket = opened(first)
    for entry in rest:
        assert comes_last(docket, entry.action.name, entry.at)
        docket = advanced(docket, entry)
        assert docket[CASE] == story.stood(known=entry.recorded_at)
    assert docket == fold(story.files).docket


def test_what_is_late_does_not_come_last() -> None:
    """State(T, K): nor does a correction or a link, whenever it is told."""
    docket = fold(given(*LIFE).files).docket
    assert [comes_last(docket, "reopened", at(minutes)) for minutes in (80 - TICK, 80)] == [False, True]
    assert [comes_last(docket, kind, at(80)) for kind in ("closed", "blamed", "noted")] == [False, True, True]
    assert not any(comes_last(docket, kind, at(90)) for kind in ("corrected", "linked", "unlinked"))


@pytest.mark.parametrize(("minutes", "answered"), [(30, at(30)), (30 + TICK, None)])
@pytest.mark.parametrize("contact", [responded(minutes=30), responded(minutes=30, households=("3-1-201",))])
def test_a_contact_covers_what_was_obtained_by_its_very_instant(
    minutes: float, answered: object, contact: Action
) -> None:
    """Clause 3.1: not a microsecond later, and in either order of recording."""
    complaint = received(2, "3-1-201", minutes=minutes)
    assert given(received(1), contact, complaint).answered(2) == answered
    assert given(received(1), complaint, contact).answered(2) == answered


def _respond_duty(case: Case, now: datetime) -> dict[str, Any]:
    (found,) = [one for one in duties(case, {}, now) if one["duty"] == "respond"]
    return found


@pytest.mark.parametrize(
    ("minutes", "state", "seconds"),
    [(60 - TICK, "met", 0), (60, "met", 0), (60 + TICK, "met_late", 0), (60 + 1 / 60, "met_late", 1)],
)
def test_an_answer_at_exactly_60_minutes_is_in_time(minutes: float, state: str, seconds: int) -> None:
    """Clause 4.3: 60:00.000000 is in time, 60:00.000001 is not."""
    duty = _respond_duty(given(received(1), responded(1, minutes=minutes)).case, NOW)
    assert (duty["state"], duty["overdue_seconds"], duty["due_at"]) == (state, seconds, at(60))


@pytest.mark.parametrize(("minutes", "state"), [(60, "pending"), (60 + TICK, "overdue")])
def test_a_complaint_stands_overdue_from_one_microsecond_after_the_hour(minutes: float, state: str) -> None:
    """Clause 4.3; T is the now of duties."""
    assert _respond_duty(given(received(1)).stood(minutes), at(minutes))["state"] == state


def test_an_answer_of_later_does_not_meet_a_duty_at_an_earlier_instant() -> None:
    """Clause 4.3; State(T, K)."""
    story = given(received(1), responded(1, minutes=90))
    states = [_respond_duty(story.stood(minutes), at(minutes))["state"] for minutes in (50, 61, 90)]
    assert states == ["pending", "overdue", "met_late"]
