"""客户投诉预警 (3.4). Only a risk can become a warning."""

import pytest

from services.events import Action
from services.rules import Rule
from tests.steps import NOW, command, given, received, risk_identified, warned


def test_a_risk_becomes_a_warning() -> None:
    asked = given(risk_identified()).when(command("warned", unrest="业主群内约定周末到售楼处"))
    assert asked.case.stage == "warning"
    asked.then(warned(24 * 60, "业主群内约定周末到售楼处"))


@pytest.mark.parametrize("past", [[warned()], [received(1)], [risk_identified(), warned(1)]])
def test_past_the_risk_stage_there_is_nothing_to_warn_of(past: list[Action]) -> None:
    refusal = given(*past).when(command("warned", unrest="再次聚集")).refused(Rule.NOT_AT_RISK_STAGE)
    assert [(u.criterion, u.required) for u in refusal.unmet] == [("stage", "risk")]
    assert refusal.rule.clause == "4.1"


def test_a_warning_without_its_instant_happened_now() -> None:
    asked = given(risk_identified()).when(command("warned", unrest="聚集"))
    assert asked.fact is not None
    assert asked.fact.occurred_at == NOW
