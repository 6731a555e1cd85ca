"""更正 (house rule). The wrong action stays; what it should have said, or that it never happened, counts instead."""

from typing import Any

import pytest

from services.events import Action, Assessed, Corrected, Received
from services.instants import format_instant
from services.rules import Rule
from tests.steps import (
    OTHER,
    TICK,
    ask,
    assessed,
    at,
    attempted,
    closed,
    complaint_id,
    declined,
    escalated,
    given,
    lesson_recorded,
    linked,
    noted,
    opened,
    proposed,
    received,
    recorded,
    reopened,
    responded,
    risk_identified,
    sanctioned,
    settled,
    unlinked,
)

WRONG = assessed(5, compensation="2000000.00", title_deed_delayed=True)


def test_a_correction_keeps_what_it_corrects_its_root_and_what_that_becomes() -> None:
    """House rule."""
    story = given(received(1), WRONG)
    fact = story.correct(WRONG, {"facts": {"compensation": "20000.00"}}).fact
    assert isinstance(fact, Corrected)
    assert (fact.action, fact.root, fact.retract, fact.replaced) == (
        WRONG.action_id,
        WRONG.action_id,
        False,
        ("facts",),
    )
    assert fact.becomes is not None
    becomes = fact.becomes.action
    assert isinstance(becomes, Assessed)
    assert (becomes.action_id, becomes.occurred_at) == (WRONG.action_id, WRONG.occurred_at)
    assert becomes.facts == {"compensation": "20000.00", "title_deed_delayed": True}


def test_the_wrong_action_stays_in_the_ledger() -> None:
    """House rule."""
    story = given(received(1), WRONG).corrected(WRONG, {"facts": {"compensation": "20000.00"}})
    assert [one.action for one in story.files[story.subject]][1] == WRONG
    assert (story.case.version, dict(story.case.corrected)) == (3, {WRONG.action_id: story.last.action_id})


@pytest.mark.parametrize(
    ("patch", "facts"),
    [
        ({"facts": {"compensation": "20000.00"}}, {"compensation": "20000.00", "title_deed_delayed": True}),
        ({"facts": {"compensation": None}}, {"title_deed_delayed": True}),
        ({"facts": {"upgrade_cost": "1.00"}}, {**WRONG.facts, "upgrade_cost": "1.00"}),
        ({"note": "两个零"}, WRONG.facts),
        ({}, WRONG.facts),
    ],
)
def test_a_replacement_is_a_merge_patch(patch: dict[str, Any], facts: dict[str, Any]) -> None:
    """House rule: RFC 7396; objects merge, null takes out, all else replaces."""
    assert given(received(1), WRONG).corrected(WRONG, patch).case.facts == facts


def test_a_list_is_replaced_as_a_whole() -> None:
    """House rule: RFC 7396."""
    wrong = assessed(5, litigating_households=["3-1-201", "3-1-202"])
    story = given(received(1), wrong).corrected(wrong, {"facts": {"litigating_households": ["5-1-101"]}})
    assert story.case.facts == {"litigating_households": ["5-1-101"]}


def test_null_takes_out_an_optional_field() -> None:
    """House rule: RFC 7396."""
    wrong = received(1, "3-1-201", obtained_by="客服中心")
    case = given(risk_identified(), wrong).corrected(wrong, {"household": None}).case
    assert (case.complaints[complaint_id(1)].household, dict(case.households)) == (None, {})
    assert case.complaints[complaint_id(1)].obtained_by == "客服中心"


MISSING: list[tuple[Action, str]] = [
    (received(1), "channel"),
    (received(1), "obtained_at"),
    (responded(1, minutes=10), "contacted_at"),
    (responded(1, minutes=10), "contact_person"),
    (attempted(1, minutes=10), "outcome"),
    (noted("看过", 10), "text"),
    (escalated("city", 10), "reason"),
]


@pytest.mark.parametrize(("wrong", "field"), MISSING)
def test_null_does_not_take_out_what_an_action_needs(wrong: Action, field: str) -> None:
    """House rule; of a response the contact person: clause 3.1."""
    past = [risk_identified(), received(1)] if wrong.name != "received" else [risk_identified()]
    malformed = given(*past, wrong).correct(wrong, {field: None}).malformed
    assert malformed is not None
    assert malformed.faults[0].pointer == f"/replacement/{field}"


@pytest.mark.parametrize("value", [None, "x"])
@pytest.mark.parametrize("name", ["housheold", "complaint_id", "action_id", "recorded_at", "case_no"])
def test_what_is_no_field_of_the_action_is_refused_even_as_null(name: str, value: object) -> None:
    """House rule: a typo never loses data."""
    wrong = received(1)
    asked = given(risk_identified(), wrong).correct(wrong, {name: value})
    assert asked.is_malformed("validation_failed", f"/replacement/{name}").faults[0].code == "extra_forbidden"


FIXED: list[tuple[Action, str, object]] = [
    (noted("看过", 10), "type", "warned"),
    (noted("看过", 10), "type", None),
    (linked("related", 10), "case", "GD-20261123-0001"),
    (linked("related", 10), "kind", "merged_into"),
    (unlinked("related", 11), "kind", "merged_into"),
]


@pytest.mark.parametrize(("wrong", "field", "value"), FIXED)
def test_what_an_action_is_and_where_it_belongs_is_not_corrected(wrong: Action, field: str, value: object) -> None:
    """House rule."""
    past = [linked("related", 10)] if wrong.name == "unlinked" else []
    story = given(received(1), *past, wrong).beside(received(2))
    fault = story.correct(wrong, {field: value}).is_malformed("validation_failed", f"/replacement/{field}").faults[0]
    assert fault.code == "not_correctable"


@pytest.mark.parametrize("field", ["stage", "region", "external_ref", "type"])
def test_of_an_opening_stage_region_and_reference_stay(field: str) -> None:
    """House rule."""
    opening = opened(external_ref="A-1")
    fault = given(opening).correct(opening, {field: "risk"}).is_malformed("validation_failed", f"/replacement/{field}")
    assert fault.faults[0].code == "not_correctable"


def test_what_an_opening_says_of_the_case_is_corrected_and_its_reference_kept() -> None:
    """House rule."""
    opening = opened(external_ref="A-1", household="3-1-201", facts={"title_deed_delayed": True})
    patch = {"title": "4栋外墙渗水", "category": "marketing", "household": "4-1-201", "facts": None}
    case = given(opening).corrected(opening, patch).case
    assert (case.opened.title, case.opened.category, case.opened.external_ref) == ("4栋外墙渗水", "marketing", "A-1")
    assert (dict(case.households), dict(case.facts)) == ({"4-1-201": 1}, {})
    assert isinstance(opening, Received)
    assert list(case.complaints) == [opening.complaint_id]


def test_a_corrected_opening_time_moves_when_the_case_was_opened() -> None:
    """Clause 4.3: the clock starts when the complaint was obtained."""
    opening = opened(household="3-1-201")
    case = given(opening).corrected(opening, {"obtained_at": format_instant(at(-30))}).case
    assert (case.opened_at, case.first_obtained) == (at(-30), at(-30))


def test_the_last_correction_counts() -> None:
    """House rule."""
    story = given(received(1), WRONG)
    for amount in ("1.00", "3.00", "2.00"):
        story = story.corrected(WRONG, {"facts": {"compensation": amount}})
    assert story.case.facts["compensation"] == "2.00"


def test_each_correction_is_a_patch_of_the_action_as_it_was_recorded() -> None:
    """House rule: of that action's own fields, not of what another correction made of them."""
    story = given(received(1), WRONG).corrected(WRONG, {"facts": {"title_deed_delayed": None}})
    story = story.corrected(WRONG, {"facts": {"compensation": "1.00"}})
    assert story.case.facts == {"compensation": "1.00", "title_deed_delayed": True}


def test_a_retracted_action_never_happened() -> None:
    """House rule."""
    story = given(received(1), WRONG).corrected(WRONG)
    assert (story.case.facts, story.case.version) == ({}, 3)


def test_a_retracted_complaint_counts_no_household_and_owes_no_answer() -> None:
    """Clause 4.3."""
    wrong = received(2, "5-1-101")
    case = given(received(1), responded(1, minutes=10), wrong).corrected(wrong).case
    assert (len(case.complaints), len(case.households), case.status) == (1, 1, "responded")


def test_a_retracted_response_leaves_the_complaint_to_the_next_one() -> None:
    """Clause 4.3: met by its earliest contact."""
    wrong = responded(1, minutes=10)
    assert given(received(1), wrong).corrected(wrong).answered(1) is None
    assert given(received(1), wrong, responded(1, minutes=50)).corrected(wrong).answered(1) == at(50)


def test_a_retraction_is_itself_retracted() -> None:
    """House rule."""
    story = given(received(1), WRONG).corrected(WRONG)
    assert story.corrected(story.last).case.facts == WRONG.facts


def test_a_correction_that_is_retracted_gives_way_to_the_one_before() -> None:
    """House rule: the last correction that stands."""
    story = given(received(1), WRONG).corrected(WRONG, {"facts": {"compensation": "1.00"}})
    story = story.corrected(WRONG, {"facts": {"compensation": "2.00"}})
    assert story.corrected(story.last).case.facts["compensation"] == "1.00"


def test_a_retracted_retraction_of_a_correction_lets_it_count_again() -> None:
    """House rule: to any depth."""
    story = given(received(1), WRONG).corrected(WRONG, {"facts": {"compensation": "1.00"}})
    seen = []
    for _ in range(4):
        story = story.corrected(story.last)
        seen.append(story.case.facts["compensation"])
    assert seen == ["2000000.00", "1.00", "2000000.00", "1.00"]


def test_a_correction_is_corrected() -> None:
    """House rule: its fields are the replacement and the reason."""
    story = given(received(1), WRONG).corrected(WRONG, {"facts": {"compensation": "1.00"}})
    patch = {"replacement": {"facts": {"compensation": "2.00"}}, "reason": "又记错"}
    story = story.corrected(story.last, patch)
    fact = story.last
    assert isinstance(fact, Corrected)
    assert (fact.root, fact.reason) == (WRONG.action_id, "又记错")
    assert story.case.facts == {"compensation": "2.00", "title_deed_delayed": True}


def test_a_correction_of_a_correction_corrects_the_root_in_all_its_fields() -> None:
    """House rule: merged into the earlier replacement."""
    wrong = received(1, "3-1-201", obtained_by="客服")
    story = given(risk_identified(), wrong).corrected(wrong, {"household": "3-1-202", "obtained_by": "物业"})
    complaint = story.corrected(story.last, {"replacement": {"obtained_by": None}}).complaint(1)
    assert (complaint.household, complaint.obtained_by) == ("3-1-202", "客服")


def test_a_retraction_is_corrected_into_a_replacement_and_back() -> None:
    """House rule."""
    story = given(received(1), WRONG).corrected(WRONG)
    patch: dict[str, Any] = {"retract": None, "replacement": {"facts": {"compensation": "1.00"}}}
    story = story.corrected(story.last, patch)
    assert story.case.facts["compensation"] == "1.00"
    asked = story.correct(story.last, {"replacement": None, "retract": True})
    asked.is_malformed("validation_failed", "/replacement")
    assert story.corrected(story.last).case.facts == {}


@pytest.mark.parametrize("patch", [{"retract": True}, {"replacement": None}])
def test_a_corrected_correction_still_goes_one_way(patch: dict[str, Any]) -> None:
    """House rule: a replacement or a retraction."""
    story = given(received(1), WRONG).corrected(WRONG, {"facts": {"compensation": "1.00"}})
    asked = story.correct(story.last, patch)
    assert asked.is_malformed("validation_failed", "/replacement").faults[0].code == "replacement_or_retract"


@pytest.mark.parametrize("field", ["action", "root", "becomes", "occurred_at", "type"])
def test_of_a_correction_nothing_else_is_corrected(field: str) -> None:
    """House rule: a correction's own time plays no part."""
    story = given(received(1), WRONG).corrected(WRONG)
    fault = story.correct(story.last, {field: "x"}).is_malformed("validation_failed", f"/replacement/{field}").faults[0]
    assert fault.code == "not_correctable"


def test_a_corrected_time_moves_the_action_in_the_order_of_folding() -> None:
    """Two axes of time (house rule)."""
    first, second = assessed(5, compensation="1.00"), assessed(9, compensation="2.00")
    story = given(received(1), first, second)
    assert story.case.facts["compensation"] == "2.00"
    story = story.corrected(first, {"occurred_at": format_instant(at(10))})
    assert (story.case.facts["compensation"], story.stood(9.5).facts["compensation"]) == ("1.00", "2.00")


def test_a_time_left_out_goes_back_to_when_it_was_recorded() -> None:
    """House rule: left out is now, and that was then."""
    wrong = assessed(5, compensation="1.00")
    story = given(received(1), wrong).corrected(wrong, {"occurred_at": None})
    assert story.case.frontier is not None
    assert story.case.frontier[0] == recorded(2)


def test_a_corrected_contact_is_in_time_after_all() -> None:
    """Clause 4.3: met by its earliest contact."""
    wrong = responded(1, minutes=90)
    story = given(received(1), wrong)
    for field in ("contacted_at", "occurred_at"):
        assert story.corrected(wrong, {field: format_instant(at(60))}).answered(1) == at(60)


def test_a_contact_corrected_to_the_instant_of_obtaining_stands_and_a_microsecond_earlier_not() -> None:
    """Clause 3.1."""
    wrong = responded(1, minutes=30)
    story = given(received(2), received(1, minutes=10), wrong)
    assert story.corrected(wrong, {"contacted_at": format_instant(at(10))}).answered(1) == at(10)
    story.correct(wrong, {"contacted_at": format_instant(at(10 - TICK))}).refused(Rule.ANSWERED_BEFORE_OBTAINED)


def test_an_attempt_corrected_to_before_the_complaint_is_refused() -> None:
    """Clause 3.1."""
    wrong = attempted(1, minutes=30)
    story = given(received(2), received(1, minutes=10), wrong)
    story.correct(wrong, {"attempted_at": format_instant(at(9))}).refused(Rule.ATTEMPTED_BEFORE_OBTAINED)


def test_a_correction_to_the_future_is_refused() -> None:
    """House rule: no further ahead than it might have been recorded with; five minutes, to the microsecond."""
    bound = 24 * 60 + 5 + 2 * TICK
    story = given(received(1), WRONG)
    assert story.correct(WRONG, {"occurred_at": format_instant(at(bound))}).fact is not None
    late = story.correct(WRONG, {"occurred_at": format_instant(at(bound + TICK))})
    late.is_malformed("in_the_future", "/replacement/occurred_at")


REFUSED: list[tuple[list[Action], Action, dict[str, Any], Rule]] = [
    ([*settled()], closed(50), {"recurrence_expected": True}, Rule.CLOSURE_CRITERIA_NOT_MET),
    ([*settled()], closed(50), {"occurred_at": format_instant(at(39))}, Rule.CLOSURE_CRITERIA_NOT_MET),
    ([received(1), escalated("area", 5)], escalated("region", 6), {"to": "city"}, Rule.NOT_UPWARDS),
    (
        [*settled(), closed(50)],
        lesson_recorded(60, 5),
        {"occurred_at": format_instant(at(49))},
        Rule.LESSON_BEFORE_CLOSURE,
    ),
    ([*settled(), closed(50)], reopened(60), {"occurred_at": format_instant(at(49))}, Rule.NOT_CLOSED),
]


@pytest.mark.parametrize(("past", "wrong", "patch", "rule"), REFUSED)
def test_what_an_action_becomes_has_to_be_allowed_where_it_then_stands(
    past: list[Action], wrong: Action, patch: dict[str, Any], rule: Rule
) -> None:
    """Each by its own clause."""
    given(*past, wrong).correct(wrong, patch).refused(rule)


def test_a_correction_may_undermine_a_later_step_which_then_is_inconsistent() -> None:
    """Two axes of time (house rule): never refused, never dropped."""
    *past, acceptance = settled()
    closing = closed(50)
    story = given(*past, acceptance, closing).corrected(acceptance)
    assert story.inconsistencies == [(closing.action_id, "closure_criteria_not_met")]
    assert story.case.status == "closed"


def test_an_inconsistent_step_may_be_corrected_and_is_consistent_again_with_its_ground() -> None:
    """Two axes of time (house rule)."""
    *past, acceptance = settled()
    closing = closed(50)
    story = given(*past, acceptance, closing).corrected(acceptance)
    assert story.correct(closing, {"decision": "另一决定"}).fact is not None
    assert story.corrected(closing).case.status == "planned"
    assert story.corrected(story.last).inconsistencies == []


def test_a_retracted_approval_undermines_the_answers_and_the_closure() -> None:
    """Clause 3.2."""
    *past, approval, acceptance = settled()
    closing, punished = closed(50), sanctioned(60)
    story = given(*past, approval, acceptance, closing, punished).corrected(approval)
    assert story.inconsistencies == [
        (acceptance.action_id, "no_plan_approved"),
        (closing.action_id, "closure_criteria_not_met"),
        (punished.action_id, "not_blamed"),
    ]


def test_a_complaint_corrected_to_after_its_response_is_unanswered_again() -> None:
    """Clause 4.3."""
    wrong, answer = received(1, minutes=10), responded(minutes=30)
    story = given(received(2), wrong, answer).corrected(wrong, {"obtained_at": format_instant(at(40))})
    assert (story.answered(1), story.answered(2), story.case.status) == (None, at(30), "open")
    assert story.inconsistencies == []


def test_any_case_takes_a_correction() -> None:
    """House rule: closed, reopened, with links."""
    for past in ([*settled(), closed(50)], [*settled(), closed(50), reopened(60)], [received(1), linked("related", 5)]):
        story = given(*past, WRONG).beside(received(9)) if past[-1].name == "linked" else given(*past, WRONG)
        assert story.correct(WRONG).fact is not None


def test_the_time_of_a_correction_itself_plays_no_part() -> None:
    """Two axes of time (house rule): only when it was recorded."""
    wrong = assessed(50, compensation="1.00")
    story = given(received(1), wrong)
    early = story.corrected(wrong, {"facts": {"compensation": "2.00"}})
    assert story.stood(50).facts["compensation"] == "1.00"
    assert early.stood(50).facts["compensation"] == "2.00"
    assert early.stood(50, known=recorded(2)).facts["compensation"] == "1.00"
    assert early.stood(50, known=recorded(3)).facts["compensation"] == "2.00"


def test_a_corrected_answer_of_a_household_tips_the_balance() -> None:
    """Clause 3.2(2)."""
    wrong = declined("3-1-201", minutes=41)
    story = given(*settled(), wrong)
    story.when(ask(closed(50))).refused(Rule.CLOSURE_CRITERIA_NOT_MET)
    story.corrected(wrong, {"accepted": True}).when(ask(closed(50))).then(closed(50))


def test_a_retracted_plan_is_no_longer_approved_by_anything() -> None:
    """Clause 3.2(1)."""
    plan = proposed(20, 4)
    given(received(1), plan).corrected(plan).when(ask(proposed(30, 4))).then(proposed(30, 4))
    assert given(received(1), plan).corrected(plan).case.cycle.proposals == {}


def test_a_retracted_link_never_was() -> None:
    """House rule."""
    link = linked("related", 5)
    story = given(received(1), link).beside(received(2)).corrected(link)
    assert story.case.links == ()
    assert story.when(ask(linked("related", 6))).then(linked("related", 6)).case.links[0].action.case == OTHER
