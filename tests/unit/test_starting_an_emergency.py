"""启动突发应急小组 (4.4). Led by the regional president, covering five functions, together with the report."""

import pytest

from services.permit import FUNCTIONS
from services.rules import Rule
from tests.steps import NOW, TICK, ask, at, closed, emergency, given, received, settled


def test_a_whole_team_is_stored_as_said() -> None:
    """Clause 4.4."""
    asked = given(received(1)).when(ask(emergency(5)))
    asked.then(emergency(5))
    assert [held.at for held in asked.case.emergencies] == [at(5)]


@pytest.mark.parametrize("title", ["regional_president", "区域总裁"])
def test_the_president_is_known_by_either_name(title: str) -> None:
    """Clause 4.4."""
    given(received(1)).when(ask(emergency(5, title=title))).then(emergency(5, title=title))


@pytest.mark.parametrize("title", ["city_general_manager", "区域副总裁"])
def test_nobody_else_leads_the_team(title: str) -> None:
    """Clause 4.4."""
    refusal = given(received(1)).when(ask(emergency(5, title=title))).refused(Rule.LEAD_NOT_PRESIDENT)
    assert (refusal.rule.clause, refusal.unmet) == ("4.4", (("lead.title", "regional_president", title),))


@pytest.mark.parametrize("missing", FUNCTIONS)
def test_each_missing_function_is_named(missing: str) -> None:
    """Clause 4.4."""
    team = tuple(function for function in FUNCTIONS if function != missing)
    refusal = given(received(1)).when(ask(emergency(5, team))).refused(Rule.EMERGENCY_TEAM_INCOMPLETE)
    assert (refusal.rule.clause, refusal.unmet) == ("4.4", ((f"members.{missing}", "covered", "missing"),))


def test_every_missing_function_is_named_at_once() -> None:
    """Clause 4.4."""
    refusal = given(received(1)).when(ask(emergency(5, ("legal",)))).refused(Rule.EMERGENCY_TEAM_INCOMPLETE)
    assert [one.criterion for one in refusal.unmet] == [f"members.{f}" for f in FUNCTIONS if f != "legal"]


def test_other_functions_may_join() -> None:
    """Clause 4.4: covering, not limited to."""
    team = (*FUNCTIONS, "finance")
    given(received(1)).when(ask(emergency(5, team))).then(emergency(5, team))


def test_one_member_may_not_be_spread_over_a_function_it_does_not_name() -> None:
    """Clause 4.4: only the names of the contract count."""
    team = (*FUNCTIONS[:-1], "开发")
    given(received(1)).when(ask(emergency(5, team))).refused(Rule.EMERGENCY_TEAM_INCOMPLETE)


def test_a_second_one_adds_to_the_first() -> None:
    """Clause 4.4: together they cover every function."""
    asked = given(received(1), emergency(5)).when(ask(emergency(9, ("legal",))))
    asked.then(emergency(9, ("legal",)))
    assert len(asked.case.emergencies) == 2


def test_a_second_one_completes_a_first_that_was_recorded_incomplete() -> None:
    """Clause 4.4."""
    first = emergency(5, FUNCTIONS[:3])
    story = given(received(1), first)
    assert story.inconsistencies == [(first.action_id, "emergency_team_incomplete")]
    story.when(ask(emergency(9, FUNCTIONS[3:]))).then(emergency(9, FUNCTIONS[3:]))
    story.when(ask(emergency(9, FUNCTIONS[4:]))).refused(Rule.EMERGENCY_TEAM_INCOMPLETE)


def test_a_second_one_is_led_by_the_president_too() -> None:
    """Clause 4.4."""
    asked = ask(emergency(9, ("legal",), title="区域副总裁"))
    given(received(1), emergency(5)).when(asked).refused(Rule.LEAD_NOT_PRESIDENT)


def test_a_report_of_the_future_is_refused() -> None:
    """House rule: five minutes, to the microsecond."""
    ahead = 24 * 60 + 5
    assert at(24 * 60) == NOW
    given(received(1)).when(ask(emergency(ahead))).then(emergency(ahead))
    reported = ask(emergency(5)).model_copy(update={"reported_at": at(ahead + TICK)})
    given(received(1)).when(reported).is_malformed("in_the_future", "/reported_at")


def test_an_emergency_may_still_be_told_of_a_closed_case() -> None:
    """Clause 4.4."""
    given(*settled(), closed(50)).when(ask(emergency(60))).then(emergency(60))
