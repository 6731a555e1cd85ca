"""关联 (house rule). Cases that have to do with one another: related, a recurrence, and the rules of all links."""

import pytest

from services.rules import Rule
from tests.steps import (
    CASE,
    OTHER,
    THIRD,
    ask,
    closed,
    given,
    linked,
    received,
    settled,
    unlinked,
)

KINDS = ("merged_into", "related", "recurrence_of")
POINTERS = ("related", "recurrence_of")


@pytest.mark.parametrize("kind", KINDS)
def test_a_link_is_stored_as_said(kind: str) -> None:
    """House rule."""
    asked = given(received(1)).beside(received(2)).when(ask(linked(kind, 5)))
    asked.then(linked(kind, 5))
    assert [(held.action.case, held.action.kind) for held in asked.case.links] == [(OTHER, kind)]


@pytest.mark.parametrize("kind", POINTERS)
def test_a_link_that_only_points_moves_neither_case(kind: str) -> None:
    """House rule."""
    apart = given(received(1, "3-1-201")).beside(received(2, "5-1-101"))
    story = apart.and_then(linked(kind, 5))
    assert story.at_the(OTHER).case == apart.at_the(OTHER).case
    assert (story.case.status, len(story.case.complaints), len(story.case.households)) == ("open", 1, 1)


@pytest.mark.parametrize("kind", POINTERS)
def test_a_pointer_from_before_the_other_case_was_opened_does_not_move_it_either(kind: str) -> None:
    """House rule: its grade begins with its own opening."""
    apart = given(received(1, "3-1-201")).beside(received(2, "5-1-101", minutes=10))
    assert apart.and_then(linked(kind, 5)).at_the(OTHER).case == apart.at_the(OTHER).case


@pytest.mark.parametrize("kind", POINTERS)
def test_a_closed_case_may_point_to_another(kind: str) -> None:
    """House rule: a recurrence shows after closure."""
    given(*settled(), closed(50)).beside(received(9)).when(ask(linked(kind, 60))).then(linked(kind, 60))


@pytest.mark.parametrize("kind", POINTERS)
def test_the_same_link_twice_is_refused(kind: str) -> None:
    """House rule."""
    story = given(received(1), linked(kind, 5)).beside(received(2))
    refusal = story.when(ask(linked(kind, 6))).refused(Rule.ALREADY_LINKED)
    assert refusal.unmet == (("links", "none", f"{kind} {OTHER}"),)


def test_a_case_may_have_links_of_several_kinds_and_to_several_cases() -> None:
    """House rule."""
    story = given(received(1), linked("related", 5)).beside(received(2)).beside(received(3), stream=THIRD)
    story = story.when(ask(linked("recurrence_of", 6))).story
    assert len(story.when(ask(linked("related", 7, THIRD))).case.links) == 3


def test_both_cases_may_point_at_each_other() -> None:
    """House rule."""
    back = linked("related", 6, CASE)
    given(received(1), linked("related", 5)).beside(received(2)).at_the(OTHER).when(ask(back)).then(back)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unlinked_link_holds_no_longer_and_may_be_made_again(kind: str) -> None:
    """House rule."""
    story = given(received(1), linked(kind, 5)).beside(received(2))
    asked = story.when(ask(unlinked(kind, 6)))
    asked.then(unlinked(kind, 6))
    assert (asked.case.links, asked.case.status) == ((), "open")
    asked.story.when(ask(linked(kind, 7))).then(linked(kind, 7))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_linked_is_not_unlinked(kind: str) -> None:
    """House rule."""
    refusal = given(received(1)).beside(received(2)).when(ask(unlinked(kind, 6))).refused(Rule.NOT_LINKED)
    assert refusal.unmet == (("links", "≥ 1", "0"),)


def test_a_link_of_another_kind_or_to_another_case_is_not_meant() -> None:
    """House rule."""
    story = given(received(1), linked("related", 5)).beside(received(2)).beside(received(3), stream=THIRD)
    for wrong in (unlinked("recurrence_of", 6), unlinked("merged_into", 6), unlinked("related", 6, THIRD)):
        refusal = story.when(ask(wrong)).refused(Rule.NOT_LINKED)
        assert refusal.unmet == (("links", f"{wrong.kind} {wrong.case}", "none"),)


def test_a_link_is_not_undone_before_it_was_made() -> None:
    """Two axes of time (house rule)."""
    story = given(received(1), linked("related", 5)).beside(received(2))
    story.when(ask(unlinked("related", 4))).refused(Rule.NOT_LINKED)


def test_a_link_told_late_contradicts_the_same_link_recorded_later() -> None:
    """Two axes of time (house rule)."""
    story = given(received(1), linked("related", 5)).beside(received(2))
    story.when(ask(linked("related", 4))).refused(Rule.CONTRADICTS_LATER_ACTION)
