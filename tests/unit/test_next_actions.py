"""What may be done next (house rule): it agrees with what is then taken or refused, clause and figures included."""

from typing import Any

import msgspec
import pytest

from projections.case_view import next_actions
from services.events import ACTIONS, Action
from services.permit import circumstances
from tests.steps import (
    OTHER,
    Given,
    accepted,
    approved,
    ask,
    assessed,
    attempted,
    blamed,
    chased,
    closed,
    declined,
    emergency,
    escalated,
    given,
    lesson_applied,
    lesson_recorded,
    linked,
    noted,
    proposed,
    received,
    reopened,
    responded,
    risk_identified,
    sanctioned,
    settled,
    unlinked,
    warned,
)

FIRST = risk_identified()
CLOSED = [*settled(), closed(50)]


def _beside(*past: Action) -> Given:
    return given(*past).beside(received(9, "9-9-909"))


STORIES: dict[str, Given] = {
    "a risk": _beside(risk_identified()),
    "a warning": _beside(warned()),
    "a complaint": _beside(received(1)),
    "answered": _beside(received(1), responded(minutes=10)),
    "tried in vain": _beside(received(1), attempted(1, minutes=10)),
    "proposed": _beside(received(1), responded(minutes=10), proposed(20)),
    "approved": _beside(received(1), responded(minutes=10), proposed(20), approved(30)),
    "declined": _beside(*settled(), declined("3-1-201", minutes=41)),
    "to be closed": _beside(*settled()),
    "closed": _beside(*CLOSED),
    "a closed risk": _beside(risk_identified(), closed(50)),
    "blamed": _beside(*CLOSED, blamed(55)),
    "blamed and taught": _beside(*CLOSED, blamed(55), lesson_recorded(56, 5)),
    "reopened": _beside(*CLOSED, reopened(60)),
    "at the top": _beside(received(1), escalated("group", 10)),
    "half way up": _beside(received(1), escalated("area", 10)),
    "linked": _beside(received(1), linked("related", 10)),
    "merged": _beside(received(1), linked("merged_into", 10)),
    "a target": given(received(9, "9-9-909"), linked("merged_into", 5, OTHER)).beside(*settled()).at_the(OTHER),
    "void": _beside(FIRST, noted("看过", 5)).corrected(FIRST),
}


def _attempts(story: Given) -> list[Action]:
    """Of each type one that could well be taken, if any may."""
    case = story.case
    complaint = next(iter(case.complaints.values()), None)
    number = int(str(complaint.complaint_id)[-4:]) if complaint else 1
    household = next(iter(case.households), "3-1-201")
    plan = next((int(str(one)[-4:]) for one in case.cycle.proposals), 1)
    lesson = next((int(str(one)[-4:]) for one in case.lessons), 5)
    link = case.links[-1].action if case.links else linked("related", 0)
    return [
        warned(90, "聚集"),
        received(8, minutes=90),
        chased(number, 90),
        attempted(number, minutes=90),
        responded(number, minutes=90),
        assessed(90, title_deed_delayed=True),
        escalated("group", 90),
        emergency(90),
        proposed(90, 8),
        approved(90, plan),
        accepted(household, minutes=90),
        closed(90),
        reopened(90),
        blamed(90),
        sanctioned(90),
        lesson_recorded(90, 8),
        lesson_applied(90, lesson),
        linked("recurrence_of", 90),
        unlinked(link.kind, 90, link.case),
        noted("看过", 90),
    ]


@pytest.mark.parametrize("name", STORIES)
def test_what_is_said_to_be_allowed_is_taken_and_what_is_not_is_refused_so(name: str) -> None:
    """Each by its own clause."""
    story = STORIES[name]
    said = {one["type"]: one for one in next_actions(story.case)}
    for fact in _attempts(story):
        asked = story.when(ask(fact))
        expected = said[fact.name]
        if not expected["allowed"]:
            rule = asked.refusal.rule if asked.refusal else None
            assert rule is not None, (fact.name, asked)
            assert (rule.code, rule.clause) == (expected["code"], expected["clause"]), fact.name
            assert asked.refusal is not None
            assert [one._asdict() for one in asked.refusal.unmet] == expected["unmet"], fact.name
        else:
            asked.then(fact)


@pytest.mark.parametrize("name", STORIES)
def test_every_action_that_can_be_asked_for_is_listed_once(name: str) -> None:
    """House rule: in the order of the table."""
    listed = [one["type"] for one in next_actions(STORIES[name].case)]
    assert listed == [kind for kind in ACTIONS if kind != "risk_identified"]


def _allowed(name: str) -> set[str]:
    return {one["type"] for one in next_actions(STORIES[name].case) if one["allowed"]}


def test_a_void_case_offers_notes_and_corrections() -> None:
    """House rule."""
    assert _allowed("void") == {"noted", "corrected"}


def test_a_merged_case_offers_what_a_source_still_takes() -> None:
    """House rule."""
    assert _allowed("merged") == {"responded", "noted", "corrected", "unlinked"}


def test_closing_is_offered_once_only_the_attested_criterion_is_left() -> None:
    """Clause 3.2: that no recurrence is expected is said when closing."""
    assert {name for name in STORIES if "closed" in _allowed(name)} >= {"to be closed", "a risk", "a warning"}
    (said,) = [one for one in next_actions(STORIES["approved"].case) if one["type"] == "closed"]
    assert (said["code"], said["clause"]) == ("closure_criteria_not_met", "3.2")
    assert said["unmet"] == [{"criterion": "accepting_households", "required": "> 1/2 × 1", "actual": "0"}]


def test_cases_of_equal_circumstances_are_offered_the_same() -> None:
    """House rule: so the answer may be remembered."""
    known: dict[Any, bytes] = {}
    cases = [story.stood(minutes) for story in STORIES.values() for minutes in range(0, 100, 5)]
    for case in cases:
        said = msgspec.json.encode(next_actions(case))
        assert known.setdefault(circumstances(case), said) == said
    assert len(known) > 15
