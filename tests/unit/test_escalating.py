"""升级 (clause 5). A case is taken upwards only: city, area, region, group."""

import pytest

from services.events import Action
from services.rules import Rule
from tests.steps import ask, closed, escalated, folded, given, received, reopened, risk_identified, settled

UPWARDS = ("city", "area", "region", "group")


@pytest.mark.parametrize("to", UPWARDS)
def test_a_case_may_go_to_any_level_at_once(to: str) -> None:
    """Clause 5."""
    asked = given(risk_identified()).when(ask(escalated(to, 5)))
    asked.then(escalated(to, 5))
    assert asked.case.escalation_level == to


def test_a_case_nobody_escalated_is_at_no_level() -> None:
    """Clause 5."""
    assert folded(received(1)).escalation_level == "none"


@pytest.mark.parametrize(("now", "to"), [(now, to) for n, now in enumerate(UPWARDS) for to in UPWARDS[n + 1 :]])
def test_a_higher_level_is_upwards(now: str, to: str) -> None:
    """Clause 5."""
    assert given(received(1), escalated(now, 5)).when(ask(escalated(to, 6))).case.escalation_level == to


@pytest.mark.parametrize(("now", "to"), [(now, to) for n, now in enumerate(UPWARDS) for to in UPWARDS[: n + 1]])
def test_the_same_or_a_lower_level_is_not(now: str, to: str) -> None:
    """House rule: upwards only."""
    refusal = given(received(1), escalated(now, 5)).when(ask(escalated(to, 6))).refused(Rule.NOT_UPWARDS)
    assert refusal.unmet[0].criterion == "to"
    assert refusal.unmet[0].actual == ("group" if now == "group" else to)


@pytest.mark.parametrize("past", [[closed(50)], [closed(50), reopened(60)]])
def test_the_level_outlives_closure_and_reopening(past: list[Action]) -> None:
    """House rule: the highest so far."""
    story = given(*settled(), escalated("region", 45), *past)
    assert story.case.escalation_level == "region"
    story.when(ask(escalated("area", 70))).refused(Rule.NOT_UPWARDS)


def test_a_late_escalation_is_judged_where_it_happened() -> None:
    """Two axes of time (house rule): area before region is upwards, whenever it is told."""
    asked = given(received(1), escalated("region", 20)).when(ask(escalated("area", 10)))
    asked.then(escalated("area", 10))
    assert asked.case.escalation_level == "region"


def test_a_late_escalation_above_a_recorded_one_contradicts_it() -> None:
    """Two axes of time (house rule)."""
    step = escalated("area", 20)
    refusal = given(received(1), step).when(ask(escalated("group", 10))).refused(Rule.CONTRADICTS_LATER_ACTION)
    assert refusal.unmet == (("not_upwards", "possible", str(step.action_id)),)


def test_the_highest_level_so_far_counts_though_a_correction_leaves_a_lower_one_after_it() -> None:
    """House rule: the lower one stands, as an inconsistency."""
    wrong, later = escalated("city", 10), escalated("area", 20)
    story = given(received(1), wrong, later).corrected(wrong, {"to": "group"})
    assert story.case.escalation_level == "group"
    assert story.inconsistencies == [(later.action_id, "not_upwards")]
