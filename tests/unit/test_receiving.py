"""投诉 (3.5). Further complaints, stages and households."""

import pytest

from services.case import Case
from services.events import Action, Complainant, Received, RiskIdentified, Warned
from tests.steps import (
    NOON,
    NOW,
    at,
    attempted,
    folded,
    given,
    noted,
    opened,
    receive,
    received,
    risk_identified,
    warned,
)


def test_a_further_complaint_is_stored_with_its_own_clock() -> None:
    asked = given(received(1)).when(receive("3-1-202", minutes=45))
    asked.then(received(2, "3-1-202", minutes=45))
    assert [c.obtained_at for c in asked.case.complaints.values()] == [at(0), at(45)]


def test_who_complains_is_kept_with_the_complaint() -> None:
    asked = given(received(1)).when(
        receive("3-1-202", complainant={"name": "李四", "phone": "138-0013-8000", "relation": "业主"})
    )
    asked.then(received(2, "3-1-202", complainant=Complainant("李四", "138-0013-8000", "业主")))


@pytest.mark.parametrize(
    ("past", "stage"),
    [
        ([risk_identified()], "risk"),
        ([risk_identified(), noted("看过", 1)], "risk"),
        ([risk_identified(), warned(1)], "warning"),
        ([risk_identified(), received(1)], "complaint"),
        ([warned(), received(1)], "complaint"),
        ([received(1), attempted(1, minutes=2)], "complaint"),
        # Recorded although it is past: an old fact always loads, and never moves a stage back.
        ([received(1), warned(2)], "complaint"),
        ([warned(), risk_identified(1)], "warning"),
    ],
)
def test_a_case_moves_only_forward_through_its_stages(past: list[Action], stage: str) -> None:
    assert folded(*past).stage == stage


def test_a_risk_may_become_a_complaint_at_once() -> None:
    assert given(risk_identified()).when(receive()).case.stage == "complaint"


def _households(*written: str | None) -> Case:
    return folded(*(received(number, household) for number, household in enumerate(written, start=1)))


def test_the_same_household_again_is_a_further_complaint_counted_once() -> None:
    case = _households("3-1-201", "3栋1单元0201室", "３－１－２０１")
    assert (len(case.complaints), dict(case.households)) == (3, {"3-1-201": 3})


def test_the_household_stays_as_it_was_given() -> None:
    case = _households("3栋1单元0201室")
    assert [c.household for c in case.complaints.values()] == ["3栋1单元0201室"]


def test_neighbours_count_each() -> None:
    assert len(_households("3-1-201", "3-1-202", "3-2-201", "13-1-201").households) == 4


def test_an_anonymous_complaint_is_owed_an_answer_and_counts_no_household() -> None:
    case = folded(received(1), received(2, None, minutes=5))
    assert (len(case.complaints), len(case.households), case.status) == (2, 1, "open")


def test_an_opening_complaint_is_a_received_action() -> None:
    action = opened(household="3-1-201", obtained_by="客服中心")
    assert isinstance(action, Received)
    assert (action.occurred_at, action.obtained_by) == (NOON, "客服中心")
    assert action.opening is not None
    assert (action.opening.project, action.opening.title) == ("GD-FS-001", "3栋外墙渗水")


def test_a_case_may_start_at_each_of_the_first_three_stages() -> None:
    kinds = [type(opened(stage=stage)) for stage in ("risk", "warning", "complaint")]
    assert kinds == [RiskIdentified, Warned, Received]


def test_an_opening_without_its_instant_happened_now() -> None:
    assert opened(stage="risk").occurred_at == NOW


def test_a_case_opened_by_a_fast_clock_was_opened_when_it_was_recorded() -> None:
    ahead = received(1, minutes=24 * 60 + 4)
    case = folded(ahead)
    assert case.opened_at is not None
    assert case.opened_at == case.updated_at
    assert case.opened_at < ahead.occurred_at
