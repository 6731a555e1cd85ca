"""不超过1个小时 (4.3): the 60th minute is in time, one microsecond later is not."""

from datetime import datetime, timedelta

import pytest

from grading_engine.duties import Owed, Proof, owed
from grading_engine.policy import shipped
from tests.steps import NOON

RULE = shipped().duty("respond")
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)


def respond_duty(contacted_at: datetime | None, now: datetime) -> Owed:
    """Of a complaint obtained and recorded at noon; an answer is recorded as it is given."""
    return owed(RULE, NOON, NOON, Proof(contacted_at, contacted_at) if contacted_at else None, now)


def test_the_document_states_one_hour_of_clock_time() -> None:
    assert (RULE.within.amount, RULE.within.unit, RULE.clause, RULE.within.source) == (1, "hours", "4.3", "stated")
    assert respond_duty(None, NOON).due_at == NOON + HOUR


ANSWERED = {
    "at once": (timedelta(0), "met", 0),
    "59:59": (timedelta(minutes=59, seconds=59), "met", 0),
    "60:00.000000": (HOUR, "met", 0),
    "60:00.000001": (HOUR + TICK, "met_late", 0),
    "60:00.999999": (HOUR + timedelta(seconds=1) - TICK, "met_late", 0),
    "60:01": (HOUR + timedelta(seconds=1), "met_late", 1),
    "a day": (timedelta(days=1), "met_late", 23 * 3600),
}


@pytest.mark.parametrize("after", ANSWERED)
def test_an_answer_is_in_time_through_the_60th_minute(after: str) -> None:
    passed, state, seconds = ANSWERED[after]
    clock = respond_duty(NOON + passed, NOON + timedelta(days=30))
    assert (clock.state, clock.overdue_seconds, clock.met_at) == (state, seconds, NOON + passed)


WAITING = {
    "59:59": (timedelta(minutes=59, seconds=59), "pending", 0),
    "60:00.000000": (HOUR, "pending", 0),
    "60:00.000001": (HOUR + TICK, "overdue", None),
    "a year": (timedelta(days=365), "overdue", None),
}


@pytest.mark.parametrize("after", WAITING)
def test_waiting_is_overdue_after_the_60th_minute_with_no_job_having_run(after: str) -> None:
    passed, state, seconds = WAITING[after]
    clock = respond_duty(None, NOON + passed)
    assert (clock.state, clock.overdue_seconds, clock.met_at) == (state, seconds, None)


def test_a_met_duty_no_longer_depends_on_the_time() -> None:
    asked = [NOON + HOUR * hours for hours in (1, 2, 1000)]
    assert len({respond_duty(NOON + HOUR + TICK, now) for now in asked}) == 1


def test_a_late_proof_of_a_timely_contact_clears_the_duty_and_leaves_that_it_stood_overdue() -> None:
    clock = owed(RULE, NOON, NOON, Proof(NOON + HOUR, NOON + HOUR * 3), NOON + HOUR * 4)
    assert (clock.state, clock.was_overdue) == ("met", True)


def test_a_complaint_recorded_after_its_answer_never_stood_overdue() -> None:
    clock = owed(RULE, NOON, NOON + HOUR * 5, Proof(NOON + HOUR, NOON + HOUR), NOON + HOUR * 6)
    assert (clock.state, clock.was_overdue) == ("met", False)
