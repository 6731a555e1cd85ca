"""Where each finding begins and where it ends: one microsecond, one other person, one honest reason."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from grading_engine.policy import Policy, shipped
from projections.findings import REOPENED_WITHIN, SHORTLY_AFTER, SHORTLY_BEFORE, Finding, History, findings
from projections.rows import owing
from services.docket import Entry, fold
from services.events import Action, Operator
from tests.steps import (
    CASE,
    TICK,
    accepted,
    approved,
    assessed,
    at,
    closed,
    entry,
    proposed,
    received,
    reopened,
    responded,
)

_HOUR = 60.0
_DAY = 24 * _HOUR
Said = tuple[Action, float] | tuple[Action, float, str]


def found(*told: Said, policy: Policy | None = None) -> list[Finding]:
    """What is found of these actions, each with the minute at which, and perhaps the desk where it was recorded."""
    held: list[Entry] = []
    for number, (action, minutes, *desk) in enumerate(told, 1):
        first = entry(action, number) if number > 1 else entry(_opening(action), number)
        actor = f"manager/region/{desk[0] if desk else number}"
        held.append(replace(first, recorded_at=at(minutes), actor=actor))
    policies = (policy or shipped(),)
    now = at(90 * _DAY)
    state = fold({CASE: held}, now, policies=policies)
    case = state.docket[CASE]
    return findings(History(case, state.docket, {CASE: held}, state.faults, list(owing(case, now)), policies, now))


def _opening(action: Action) -> Action:
    from tests.steps import entries

    return entries(action)[0].action


def kinds(seen: Sequence[Finding]) -> list[str]:
    return [one.kind for one in seen]


_SHORTLY = SHORTLY_AFTER / timedelta(minutes=1)


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [(60, []), (60 + TICK, ["late_proof"]), (60 + _SHORTLY, ["late_proof"]), (60 + _SHORTLY + TICK, [])],
)
def test_a_proof_is_late_from_the_time_s_end_on_for_an_hour(recorded: float, expected: list[str]) -> None:
    assert kinds(found((received(), 0), (responded(minutes=50), recorded))) == expected


def test_a_proof_that_says_that_it_was_late_is_no_finding() -> None:
    assert found((received(), 0), (responded(minutes=61), 62)) == []


def test_after_an_outage_nobody_saw_it_overdue() -> None:
    assert found((received(), 65), (responded(minutes=50), 66)) == []


def test_a_complaint_told_too_late_is_claimed_by_an_answer_that_was_told_before_it() -> None:
    first, second = received(1, minutes=0), received(2, "3-1-202", minutes=10)
    assert kinds(found((first, 0), (responded(minutes=20), 20), (second, 70 + TICK))) == ["claimed_before_recorded"]
    assert found((first, 0), (responded(minutes=20), 20), (second, 70)) == []
    assert found((first, 0), (responded(1, minutes=20), 20), (second, 71), (responded(2, minutes=15), 200)) == []


def _ended(desks: Sequence[str], approver: Any = None, operator: Operator | None = None) -> list[Said]:
    plan = proposed(100)
    steps: list[tuple[Action, str]] = [(plan, desks[0]), (approved(110), desks[1])]
    steps += [(accepted("3-1-201", minutes=120), "other"), (closed(130), desks[2])]
    begun: list[Said] = [(received(), 0), (responded(minutes=10), 10)]
    for number, (action, desk) in enumerate(steps):
        begun.append((replace(action, operator=operator) if operator else action, 140 + number, desk))
    return begun


@pytest.mark.parametrize(("desks", "expected"), [("aaa", ["one_hand"]), ("aab", []), ("aba", []), ("baa", [])])
def test_one_hand_is_one_in_all_three_steps(desks: str, expected: list[str]) -> None:
    assert kinds(found(*_ended(desks))) == expected


def test_the_person_at_the_desk_counts_rather_than_the_token() -> None:
    assert kinds(found(*_ended("abc", operator=Operator("7", "坐席")))) == ["one_hand"]
    # Three tokens, and one person behind them, who is the named approver too.
    assert kinds(found(*_ended("abc", operator=Operator("8", "郑七")))) == ["one_hand"]


@pytest.mark.parametrize(
    ("after", "expected"), [(REOPENED_WITHIN, ["closed_and_reopened"]), (REOPENED_WITHIN + timedelta(hours=1), [])]
)
def test_a_case_is_reopened_at_once_within_a_day(after: timedelta, expected: list[str]) -> None:
    minutes = 130 + after / timedelta(minutes=1)
    assert kinds(found(*_ended("abc"), (reopened(minutes), minutes))) == expected


def _with_a_time_to_report(hours: int) -> Policy:
    plain = shipped().model_dump(mode="json")
    for duty in plain["duties"]:
        if duty["starts"] == "key_mass_complaint":
            duty["within"] = {**duty["within"], "amount": hours, "unit": "hours", "source": "stated"}
    return Policy.model_validate(plain)


def test_facts_that_are_lowered_while_a_report_is_due_soon() -> None:
    homes = [f"9-1-{number}" for number in range(101, 201)]
    key: list[Said] = [(received(), 0), (responded(minutes=10), 10), (assessed(20, litigating_households=homes), 20)]
    fewer = (assessed(60, litigating_households={"add": [], "remove": homes[:30]}), 60)
    soon = int(SHORTLY_BEFORE / timedelta(hours=1))
    assert found(*key, fewer) == []
    (seen,) = found(*key, fewer, policy=_with_a_time_to_report(soon))
    assert (seen.kind, seen.reasons, seen.due_at) == ("facts_lowered", ("shortly_before_due",), at(20 + soon * _HOUR))
    assert found(*key, fewer, policy=_with_a_time_to_report(soon + 1)) == []


def test_an_assessment_that_only_adds_is_no_finding() -> None:
    more = [(assessed(20, compensation="2000000.00"), 20), (assessed(30, compensation="2500000.00"), 30)]
    assert found((received(), 0), (responded(minutes=10), 10), *more) == []
