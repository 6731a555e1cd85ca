"""No value of any enumeration reaches a reader without a name in both languages."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, get_args

import pytest

from grading_engine import facts, policy
from grading_engine.duties import State
from grading_engine.grades import UNGRADED, Verdict
from intake_api import asked
from intake_api.app import create_app
from projections import findings, replay_run
from projections.labels import LABELS
from projections.replay import BASES
from services import caller, commands, events
from services.access_log import OUTCOMES
from services.case import LEVELS
from services.permit import FUNCTIONS
from services.settings import Settings

_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_SHIPPED = policy.shipped()
EXPECTED: dict[str, Sequence[str]] = {
    "stage": get_args(events.Stage),
    "status": asked.STATUSES,
    "category": get_args(commands.Category),
    "channel": get_args(commands.Channel),
    "outcome": get_args(commands.Outcome),
    "escalation_level": LEVELS,
    "action": [*events.ACTIONS],
    "duty": [duty.duty for duty in _SHIPPED.duties],
    "duty_state": get_args(State),
    "grade": [UNGRADED],
    "verdict": get_args(Verdict),
    "source": get_args(policy.Source),
    "fact": [*facts.AMOUNTS, *facts.FLAGS, *facts.COUNTS, *facts.HOUSEHOLDS, "casualties"],
    "compensation_form": get_args(commands.CostBody.model_fields["form"].annotation),
    "link_kind": [*get_args(commands.Link.model_fields["kind"].annotation), "merged_from"],
    "emergency_function": FUNCTIONS,
    "closure_criterion": get_args(policy.ClosureCriterion.model_fields["criterion"].annotation),
    "office": get_args(policy.Office),
    "role": caller.ROLES,
    "unit": caller.UNITS,
    "basis": BASES,
    "look_outcome": [*OUTCOMES],
    "finding": findings.KINDS,
    "finding_reason": findings.REASONS,
    "tampering": replay_run.TAMPERING,
    "time_unit": get_args(policy.Allowed.model_fields["unit"].annotation),
    "calendar": get_args(policy.Calendar.model_fields["kind"].annotation),
}
# Published in both languages in a list of their own, or words of a document's grammar that no reader is shown.
_ELSEWHERE = ({"starts", "met_by", "kind", "supervised_by"}, {"code", "type", "title"})


@pytest.mark.parametrize("name", EXPECTED)
def test_an_enumeration_has_a_label_for_each_of_its_values(name: str) -> None:
    assert set(EXPECTED[name]) - LABELS[name].keys() == set()
    assert LABELS[name].keys() - set(EXPECTED[name]) == set()


@pytest.mark.parametrize("name", LABELS)
def test_a_label_is_said_in_both_languages(name: str) -> None:
    for value, label in LABELS[name].items():
        assert _CHINESE.search(label.zh), f"{name}.{value} has no Chinese label"
        assert label.en.strip() and not _CHINESE.search(label.en), f"{name}.{value} has no English label"


def test_every_enumeration_of_the_published_document_is_labelled() -> None:
    keys = dict.fromkeys(("ANJUAN_TOKEN_KEY", "ANJUAN_MASTER_KEY", "ANJUAN_PHONE_KEY"), "A" * 43 + "=")
    document = create_app(Settings(keys), "postgresql://nowhere").openapi()
    known = [set(values) for values in LABELS.values()]
    for where, values in _enumerations(document):
        assert any(values <= one for one in known), f"no labels for {where}: {sorted(values)}"


def _enumerations(value: Any, where: str = "") -> Iterator[tuple[str, set[str]]]:
    """Every `enum` with the name of the property or parameter that has it."""
    if isinstance(value, dict):
        found = value.get("enum")
        grammar, elsewhere = _ELSEWHERE
        last = where.rpartition(".")[2]
        if isinstance(found, list) and last not in elsewhere and not (last in grammar and ".schemas." in where):
            yield where, set(found)
        named = f"{where}.{value['name']}" if value.get("in") == "query" else where
        for key, inner in value.items():
            yield from _enumerations(inner, named if key in _STEPS else f"{where}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from _enumerations(inner, where)


# Steps of a schema that do not change whose values these are.
_STEPS = frozenset({"schema", "items", "anyOf", "allOf", "properties", "additionalProperties", "propertyNames"})
