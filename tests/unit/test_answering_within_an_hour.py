"""不超过1个小时 (4.3): the 60th minute is in time, one microsecond later is not."""

from datetime import timedelta

import pytest

from grading_engine.duties import respond_duty
from grading_engine.policy import shipped
from tests.steps import NOON

RULE = shipped().duty("respond")
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)


def test_the_document_states_one_hour_of_clock_time() -> None:
    assert (RULE.within_seconds, RULE.clause, RULE.source) == (3600, "4.3", "stated")
    assert respond_duty(RULE, NOON, None, NOON).due_at == NOON + HOUR


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
    owed = respond_duty(RULE, NOON, NOON + passed, NOON + timedelta(days=30))
    assert (owed.state, owed.overdue_seconds, owed.met_at) == (state, seconds, NOON + passed)


WAITING = {
    "59:59": (timedelta(minutes=59, seconds=59), "pending", 0),
    "60:00.000000": (HOUR, "pending", 0),
    "60:00.000001": (HOUR + TICK, "overdue", None),
    "a year": (timedelta(days=365), "overdue", None),
}


@pytest.mark.parametrize("after", WAITING)
def test_waiting_is_overdue_after_the_60th_minute_with_no_job_having_run(after: str) -> None:
    passed, state, seconds = WAITING[after]
    owed = respond_duty(RULE, NOON, None, NOON + passed)
    assert (owed.state, owed.overdue_seconds, owed.met_at) == (state, seconds, None)


def test_a_met_duty_no_longer_depends_on_the_time() -> None:
    asked = [NOON + HOUR * hours for hours in (1, 2, 1000)]
    assert len({respond_duty(RULE, NOON, NOON + HOUR + TICK, now) for now in asked}) == 1
