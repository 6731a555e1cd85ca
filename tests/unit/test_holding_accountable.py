"""问责 and 追责 (4.5). After closure, once a cycle, in shares that make exactly 100; then what follows."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.corrections import body_of
from services.events import Action, Blamed
from services.rules import Rule
from tests.steps import (
    TICK,
    ask,
    at,
    blamed,
    closed,
    command,
    given,
    received,
    risk_identified,
    sanctioned,
    settled,
)

CLOSED: list[Action] = [*settled(), closed(50)]


def _blame(*shares: object, **changed: Any) -> Any:
    """As a client writes it: with shares as texts or as JSON numbers."""
    body = body_of(blamed(60, *["100"] * len(shares)))
    parties = [{**one, "share_percent": share} for one, share in zip(body.get("responsible", []), shares, strict=True)]
    return command(body.pop("type"), **{**body, **({"responsible": parties} if parties else {}), **changed})


SHARES = [
    ("100",),
    ("33.3", "66.7"),
    ("33.333333", "33.333333", "33.333334"),
    ("0.1",) * 3 + ("99.7",),
    ("50", "50.00"),
]


@pytest.mark.parametrize("shares", SHARES)
def test_shares_that_make_exactly_100_are_kept_as_written(shares: tuple[str, ...]) -> None:
    """Clause 4.5."""
    asked = given(*CLOSED).when(_blame(*shares))
    asked.then(blamed(60, *shares))
    assert asked.case.status == "accounted"


@pytest.mark.parametrize("shares", [(33.3, 66.7), (0.1, 0.2, 99.7), (70, 30), (12.5, "87.5")])
def test_shares_may_be_json_numbers_and_are_what_was_written(shares: tuple[float | str, ...]) -> None:
    """Clause 4.5: 33.3 and 66.7 make 100, whatever floats they are near to."""
    given(*CLOSED).when(_blame(*shares)).then(blamed(60, *map(str, shares)))


@pytest.mark.parametrize("shares", [("33.33",) * 3, (33.33,) * 3, ("99.999999",), ("50", "50.000001"), ("70", "40")])
def test_shares_that_do_not_make_100_are_refused(shares: tuple[str | float, ...]) -> None:
    """Clause 4.5."""
    with pytest.raises(ValidationError, match="the shares make"):
        _blame(*shares)


@pytest.mark.parametrize("share", ["0", "-1", "100.1", "1e2", "33.3333333", "", "NaN", "１００", True, None])
def test_what_is_no_share_of_100_is_refused(share: object) -> None:
    """Clause 4.5."""
    with pytest.raises(ValidationError, match="not a share of 100"):
        _blame(share)


def test_that_nobody_is_at_fault_is_an_answer_too() -> None:
    """Clause 4.5."""
    asked = given(*CLOSED).when(ask(blamed(60)))
    asked.then(blamed(60))
    assert asked.case.status == "accounted"


def test_either_somebody_is_responsible_or_nobody() -> None:
    """Clause 4.5."""
    with pytest.raises(ValidationError, match="either responsible or no_fault"):
        _blame("100", no_fault=True)
    with pytest.raises(ValidationError, match="either responsible or no_fault"):
        _blame(no_fault=None)


@pytest.mark.parametrize("past", [[received(1)], settled(), [risk_identified()]])
def test_nobody_is_blamed_before_closure(past: list[Action]) -> None:
    """Clause 4.5."""
    refusal = given(*past).when(ask(blamed(60, "100"))).refused(Rule.BLAMED_BEFORE_CLOSURE)
    assert (refusal.rule.clause, refusal.unmet[0].required) == ("4.5", "closed")


def test_blame_follows_closure_to_the_microsecond() -> None:
    """Clause 4.5: at the instant of closing, closing comes first."""
    given(*CLOSED).when(ask(blamed(50 - TICK))).refused(Rule.BLAMED_BEFORE_CLOSURE)
    given(*CLOSED).when(ask(blamed(50))).then(blamed(50))


def test_blame_is_determined_once_a_cycle() -> None:
    """Clause 4.5."""
    first = blamed(60, "100")
    refusal = given(*CLOSED, first).when(ask(blamed(70, "60", "40"))).refused(Rule.ALREADY_BLAMED)
    assert refusal.unmet == (("accountability", "none", str(first.action_id)),)


def test_blame_told_late_for_an_earlier_instant_contradicts_the_recorded_one() -> None:
    """Clause 4.5; two axes of time."""
    given(*CLOSED, blamed(60, "100")).when(ask(blamed(55))).refused(Rule.CONTRADICTS_LATER_ACTION)


def test_wrong_blame_is_corrected() -> None:
    """Clause 4.5: once a cycle, then corrected."""
    wrong = blamed(60, "100")
    patch: dict[str, Any] = {"responsible": None, "no_fault": True}
    case = given(*CLOSED, wrong).correct(wrong, patch).case
    assert case.cycle.blame is not None
    blame: Blamed = case.cycle.blame.action
    assert (blame.no_fault, blame.responsible, case.status) == (True, (), "accounted")


def test_a_correction_of_shares_has_to_make_100_as_well() -> None:
    """Clause 4.5."""
    wrong = blamed(60, "100")
    party = {"party": "王八", "title": "经理", "unit": "项目", "finding": "未按图", "share_percent": "99.99"}
    given(*CLOSED, wrong).correct(wrong, {"responsible": [party]}).is_malformed("validation_failed", "/replacement")


def test_retracted_blame_leaves_the_case_to_be_blamed() -> None:
    """Clause 4.5."""
    wrong = blamed(60, "100")
    story = given(*CLOSED, wrong).corrected(wrong)
    assert story.case.status == "closed"
    story.when(ask(blamed(70))).then(blamed(70))


@pytest.mark.parametrize("shares", [("100",), ()])
def test_a_sanction_follows_blame(shares: tuple[str, ...]) -> None:
    """Clause 4.5."""
    asked = given(*CLOSED, blamed(60, *shares)).when(ask(sanctioned(70)))
    asked.then(sanctioned(70))
    assert len(asked.case.cycle.sanctions) == 1


@pytest.mark.parametrize("past", [settled(), CLOSED])
def test_nothing_follows_before_blame(past: list[Action]) -> None:
    """Clause 4.5."""
    refusal = given(*past).when(ask(sanctioned(70))).refused(Rule.NOT_BLAMED)
    assert (refusal.rule.clause, refusal.unmet) == ("4.5", (("accountability", "determined", "none"),))


def test_a_sanction_is_told_once_more_when_it_is_enforced() -> None:
    """Clause 5.3(4)."""
    asked = given(*CLOSED, blamed(60, "100"), sanctioned(70)).when(ask(sanctioned(80, enforced=79)))
    asked.then(sanctioned(80, enforced=79))
    assert [held.action.implemented_at for held in asked.case.cycle.sanctions] == [None, at(79)]


def test_a_sanction_is_not_enforced_in_the_future() -> None:
    """House rule: five minutes, to the microsecond."""
    story = given(*CLOSED, blamed(60, "100"))
    ahead = 24 * 60 + 5
    story.when(ask(sanctioned(80, enforced=ahead))).then(sanctioned(80, enforced=ahead))
    story.when(ask(sanctioned(80, enforced=ahead + TICK))).is_malformed("in_the_future", "/implemented_at")
