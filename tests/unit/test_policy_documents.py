"""Policy documents: what is not sound is refused, every fault named with its place."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import grading_engine
from grading_engine.policy import read, shipped
from grading_engine.soundness import examined, faults_of

_SHIPPED = Path(grading_engine.__file__).parent / "policies" / "RC-JT-PM-GZ001-V1.0.yaml"


def document() -> Any:
    """The shipped document as plain values."""
    return read(_SHIPPED.read_text("utf-8"))


def test_the_shipped_document_is_sound() -> None:
    assert list(faults_of(shipped())) == []


def _grade(document: Any, number: int = 0) -> Any:
    return document["grades"][number]


def _set(target: Any, **fields: Any) -> None:
    target.update(fields)


UNSOUND: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "an unknown fact": (
        lambda d: _set(_grade(d)["criteria"][1]["when"], fact="households"),
        "/grades/0/criteria/1/when/fact",
        "unknown_fact",
    ),
    "an unknown part of a sum": (lambda d: _set(d["sums"][0], of=["rent"]), "/sums/0/of/0", "unknown_fact"),
    "a sum named like a fact": (lambda d: _set(d["sums"][0], name="dead"), "/sums/0/name", "name_of_a_fact"),
    "a bound without a clause": (
        lambda d: _grade(d)["criteria"][1]["when"]["at_least"].pop("clause"),
        "/grades/0/criteria/1/when/at_least",
        "clause_missing",
    ),
    "an interpretation without a reason": (lambda d: d["sums"][0].pop("reason"), "/sums/0", "reason_missing"),
    "a figure as a float": (
        lambda d: _set(_grade(d)["criteria"][2]["when"]["at_least"], value=2e6),
        "/grades/0/criteria/2/when/at_least/value",
        "number_malformed",
    ),
    "a bound on a flag": (
        lambda d: _set(
            _grade(d)["criteria"][0]["when"]["any"][0], at_least={"value": 1, "clause": "7", "source": "stated"}
        ),
        "/grades/0/criteria/0/when/any/0",
        "bound_on_a_flag",
    ),
    "a number without a bound": (
        lambda d: _grade(d)["criteria"][1]["when"].pop("at_least"),
        "/grades/0/criteria/1/when",
        "bound_needed",
    ),
    "nothing between the bounds": (
        lambda d: _set(_grade(d, 1)["criteria"][0]["when"]["below"], value=60),
        "/grades/1/criteria/0/when",
        "nothing_between_the_bounds",
    ),
    "a level that a more severe one always covers": (
        lambda d: d.update(grades=[_grade(d), {**_grade(d, 1), "criteria": [{**_grade(d)["criteria"][1], "id": "X"}]}]),
        "/grades/1",
        "unreachable",
    ),
    "a duty that nothing can meet": (
        lambda d: _set(d["duties"][0], met_by="blamed"),
        "/duties/0/met_by",
        "nothing_can_meet_it",
    ),
    "working days by the clock": (
        lambda d: _set(d["duties"][0]["within"], unit="working_days"),
        "/duties/0/within/unit",
        "calendar_differs",
    ),
    "one criterion twice": (lambda d: _set(_grade(d)["criteria"][1], id="A-1.1"), "/grades", "named_twice"),
    "an open time with a figure": (
        lambda d: _set(d["duties"][1]["within"], amount=1),
        "/duties/1/within",
        "bound_open",
    ),
    "an unknown field": (lambda d: d.update(sla="1h"), "/sla", "extra_forbidden"),
    "no offset": (lambda d: d.update(effective_from="2020-09-27T00:00:00"), "/effective_from", "timezone_aware"),
    "a share above one": (lambda d: _set(d["closure"][1], more_than="3/2"), "/closure/1/more_than", "share_malformed"),
}


@pytest.mark.parametrize("fault", UNSOUND)
def test_what_is_not_sound_is_refused_with_its_place(fault: str) -> None:
    spoil, pointer, code = UNSOUND[fault]
    spoiled = copy.deepcopy(document())
    spoil(spoiled)
    policy, found = examined(spoiled)
    assert policy is None
    assert (pointer, code) in [(one.pointer, one.code) for one in found]


def test_every_fault_is_named_at_once() -> None:
    spoiled = document()
    spoiled["duties"][0]["met_by"] = "blamed"
    spoiled["sums"][0]["of"] = ["rent"]
    assert {one.code for one in examined(spoiled)[1]} >= {"nothing_can_meet_it", "unknown_fact"}
