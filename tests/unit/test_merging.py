"""合并 (house rule). A merged group is decided and judged as one, by its target; parting leaves no trace of it."""

from collections.abc import Callable

import pytest

from projections.case_view import links
from services.events import Action
from services.rules import Rule
from tests.steps import (
    CASE,
    OTHER,
    THIRD,
    TICK,
    Given,
    accepted,
    approved,
    ask,
    assessed,
    at,
    attempted,
    blamed,
    chased,
    closed,
    complaint_id,
    declined,
    escalated,
    given,
    lesson_recorded,
    linked,
    noted,
    proposed,
    received,
    reopened,
    respond,
    responded,
    risk_identified,
    settled,
    unlinked,
)

HERE, THERE = "3-1-201", "5-1-101"
MERGED = linked("merged_into", 5)
PLAN = proposed(20), approved(30)
# Minutes of the story until it is recorded: what happened later was told by a clock that runs ahead.
AHEAD = 24 * 60
Answering = Callable[..., Action]


def _merged(*target: Action, source: tuple[Action, ...] = (received(1, HERE),)) -> Given:
    """A case merged into another in the fifth minute, of which this is the past."""
    return given(*source, MERGED).beside(*(target or (received(2, THERE),)))


def _target(*target: Action, source: tuple[Action, ...] = (received(1, HERE),)) -> Given:
    return _merged(*target, source=source).at_the(OTHER)


def test_the_source_closes_as_merged() -> None:
    """House rule."""
    case = _merged().case
    assert (case.status, case.stands_open) == ("merged", False)
    assert case.merged is not None
    assert (case.merged.action.case, case.merged.at) == (OTHER, at(5))


def test_the_target_counts_complaints_and_households_of_its_members() -> None:
    """House rule."""
    case = _target().case
    assert (set(case.complaints), set(case.households)) == ({complaint_id(1), complaint_id(2)}, {HERE, THERE})
    assert (case.members, case.status) == ((CASE,), "open")


def test_one_household_in_both_cases_counts_once() -> None:
    """Clause 3.2(2): distinct households."""
    case = _target(received(2, "3栋1单元0201室")).case
    assert (len(case.complaints), len(case.households)) == (2, 1)


def test_a_risk_into_which_a_complaint_is_merged_counts_it() -> None:
    """House rule."""
    assert len(_target(risk_identified()).case.complaints) == 1


TAKES: list[Action] = [responded(1, minutes=10), noted("看过", 10), unlinked("merged_into", 10)]


@pytest.mark.parametrize("fact", TAKES, ids=lambda fact: fact.name)
def test_a_merged_source_still_takes(fact: Action) -> None:
    """House rule."""
    _merged().when(ask(fact)).then(fact)


def test_a_merged_source_still_takes_a_correction() -> None:
    """House rule."""
    first = received(1, HERE)
    case = _merged(source=(first,)).correct(first, {"household": "7-7-707"}).case
    assert (case.status, set(case.households)) == ("merged", {"7-7-707"})


TAKES_NOT: list[Action] = [
    received(3, minutes=10),
    chased(1, 10),
    attempted(1, minutes=10),
    assessed(10, title_deed_delayed=True),
    escalated("city", 10),
    proposed(10),
    approved(10),
    accepted(HERE, minutes=10),
    closed(10),
    reopened(10),
    blamed(10),
    lesson_recorded(10),
    linked("related", 10, THIRD),
    linked("merged_into", 10, THIRD),
]


@pytest.mark.parametrize("fact", TAKES_NOT, ids=lambda fact: fact.name)
def test_for_all_else_the_refusal_names_the_target(fact: Action) -> None:
    """House rule."""
    refusal = _merged().beside(received(3), stream=THIRD).when(ask(fact)).refused(Rule.CASE_MERGED)
    assert refusal.unmet == (("merged_into", "none", str(OTHER)),)


@pytest.mark.parametrize("story", [_merged(), _target()])
def test_a_response_to_the_source_s_complaint_is_known_to_both_wherever_it_is_told(story: Given) -> None:
    """Clause 4.3."""
    asked = story.when(respond(1, minutes=30))
    for stream in (CASE, OTHER):
        assert asked.story.at_the(stream).answered(1) == at(30)
    assert asked.story.at_the(OTHER).answered(2) is None


def test_a_response_to_everyone_at_the_target_answers_the_members_too() -> None:
    """Clause 4.3."""
    story = _target().when(respond(minutes=30)).story
    assert (story.answered(1), story.answered(2), story.at_the(CASE).answered(1)) == (at(30), at(30), at(30))
    assert story.case.status == "responded"


def test_a_response_to_everyone_at_the_source_answers_its_own() -> None:
    """Clause 4.3."""
    story = _merged().when(respond(minutes=30)).story.at_the(OTHER)
    assert (story.answered(1), story.answered(2)) == (at(30), None)


def test_the_earliest_contact_counts_wherever_in_the_group_it_was_made() -> None:
    """Clause 4.3: by clocks that run ahead, the later contact may be told first."""
    later, earlier = AHEAD + 4, AHEAD + 2
    story = _target(received(2, THERE), responded(minutes=later)).at_the(CASE).and_then(responded(minutes=earlier))
    assert story.answered(1) == at(earlier)
    assert story.at_the(OTHER).answered(1) == at(earlier)
    assert story.at_the(OTHER).answered(2) == at(later)
    story = _merged(received(2, THERE)).and_then(responded(minutes=later)).at_the(OTHER)
    assert story.and_then(responded(minutes=earlier)).answered(1) == at(earlier)


def test_an_attempt_at_the_target_counts_for_the_source_s_complaint() -> None:
    """House rule."""
    story = _target(received(2, THERE), attempted(1, minutes=30))
    assert (story.complaint(1).attempts, story.at_the(CASE).complaint(1).attempts) == (1, 1)


def test_the_group_closes_when_most_households_of_all_its_members_accept() -> None:
    """Clause 3.2(2)."""
    story = _target(received(2, THERE), responded(minutes=10), *PLAN, accepted(THERE, minutes=40))
    refusal = story.when(ask(closed(50))).refused(Rule.CLOSURE_CRITERIA_NOT_MET)
    assert refusal.unmet == (("accepting_households", "> 1/2 × 2", "1"),)
    story.and_then(accepted(HERE, minutes=41)).when(ask(closed(50))).then(closed(50))


def test_the_group_stays_open_for_a_member_s_complaint() -> None:
    """House rule."""
    answers = accepted(HERE, THERE, minutes=40)
    story = _target(received(2, THERE), responded(2, minutes=10), *PLAN, answers)
    refusal = story.when(ask(closed(50))).refused(Rule.CLOSURE_CRITERIA_NOT_MET)
    assert refusal.unmet == (("complaints_answered", "0 unanswered and untried", "1"),)
    story.and_then(responded(1, minutes=45)).when(ask(closed(50))).then(closed(50))


SOURCE = received(1, HERE), responded(minutes=1), proposed(2, 7), approved(3, 7), accepted(HERE, minutes=4)


def test_what_a_member_s_households_answered_before_counts() -> None:
    """Clause 3.2(2): answers count over the members."""
    past = received(2, THERE), responded(minutes=10), *PLAN, accepted(THERE, minutes=40)
    _target(*past, source=SOURCE).when(ask(closed(50))).then(closed(50))


def test_of_two_answers_of_a_household_in_both_cases_the_later_counts() -> None:
    """Clause 3.2(2): they may change their mind."""
    past = received(2, HERE), responded(minutes=10), *PLAN
    assert _target(*past, source=SOURCE).case.accepting == 1
    assert _target(*past, declined(HERE, minutes=40), source=SOURCE).case.accepting == 0


@pytest.mark.parametrize(("other", "answer", "accepting"), [(accepted, declined, 0), (declined, accepted, 1)])
def test_of_two_answers_at_one_instant_the_one_recorded_later_counts(
    other: Answering, answer: Answering, accepting: int
) -> None:
    """Two axes of time (house rule): ties as recorded."""
    source = received(1, HERE), responded(minutes=1), proposed(2, 7), approved(3, 7)
    target = received(2, HERE), responded(minutes=1), proposed(2), approved(3), other(HERE, minutes=4)
    story = given(*source).beside(*target).and_then(answer(HERE, minutes=4), MERGED)
    assert story.at_the(OTHER).case.accepting == accepting


def test_a_risk_into_which_a_complaint_is_merged_no_longer_closes_by_decision_alone() -> None:
    """Clause 3.2: a risk that never became a complaint does; this one has one to answer."""
    assert _target(risk_identified(), source=(risk_identified(),)).when(ask(closed(50))).fact is not None
    _target(risk_identified()).when(ask(closed(50))).refused(Rule.CLOSURE_CRITERIA_NOT_MET)


def test_a_member_s_plan_does_not_speak_for_the_group() -> None:
    """Clause 3.2(1): the target decides."""
    story = _target(received(2, THERE), responded(minutes=10), source=SOURCE)
    refusal = story.when(ask(closed(50))).refused(Rule.CLOSURE_CRITERIA_NOT_MET)
    assert [one.criterion for one in refusal.unmet] == ["plan_approved", "accepting_households"]


def test_a_reopened_group_asks_all_its_households_anew() -> None:
    """Clause 3.2(2)."""
    past = received(2, THERE), responded(minutes=10), *PLAN, accepted(THERE, minutes=40), closed(50), reopened(60)
    assert _target(*past, source=SOURCE).case.accepting == 0


def test_a_target_may_have_several_members() -> None:
    """House rule."""
    story = _merged().beside(received(3, "7-1-101"), linked("merged_into", 6), stream=THIRD).at_the(OTHER)
    assert (story.case.members, len(story.case.households)) == ((CASE, THIRD), 3)


def test_nothing_is_merged_into_a_merged_case() -> None:
    """House rule: no chains."""
    story = _merged().beside(received(3), stream=THIRD).at_the(THIRD)
    refusal = story.when(ask(linked("merged_into", 10, CASE))).refused(Rule.MERGE_CHAIN)
    assert refusal.unmet == (("target.merged_into", "none", str(OTHER)),)


def test_a_target_is_merged_into_nothing() -> None:
    """House rule: no chains."""
    story = _target().beside(received(3), stream=THIRD)
    refusal = story.when(ask(linked("merged_into", 10, THIRD))).refused(Rule.MERGE_CHAIN)
    assert refusal.unmet == (("members", "0", "1"),)


def test_a_target_is_not_merged_into_its_own_member() -> None:
    """House rule: no chains."""
    _target().when(ask(linked("merged_into", 10, CASE))).refused(Rule.MERGE_CHAIN)


def test_a_late_merger_makes_no_chain_either() -> None:
    """House rule; two axes of time."""
    story = _merged().beside(received(3), stream=THIRD).at_the(THIRD)
    story.when(ask(linked("merged_into", 4, CASE))).refused(Rule.CONTRADICTS_LATER_ACTION)


def test_a_merger_that_a_correction_turns_into_a_chain_is_inconsistent_and_moves_nothing() -> None:
    """House rule: no chains; two axes of time."""
    parting, onwards = unlinked("merged_into", 10), linked("merged_into", 20, THIRD)
    story = _merged().and_then(parting).beside(received(3, "7-1-101"), stream=THIRD).at_the(OTHER).and_then(onwards)
    assert (story.case.status, story.at_the(THIRD).case.members) == ("merged", (OTHER,))
    story = story.at_the(CASE).corrected(parting).at_the(OTHER)
    assert story.inconsistencies == [(onwards.action_id, "merge_chain")]
    assert (story.case.status, story.case.members, len(story.case.households)) == ("open", (CASE,), 2)
    assert (story.at_the(THIRD).case.members, len(story.at_the(THIRD).case.households)) == ((), 1)


def test_nothing_is_merged_into_a_void_case() -> None:
    """House rule."""
    first = received(2)
    story = given(received(1)).beside(first).at_the(OTHER).corrected(first).at_the(CASE)
    story.when(ask(linked("merged_into", 5))).refused(Rule.CASE_VOID)


def test_a_merged_case_is_not_merged_once_more() -> None:
    """House rule."""
    _merged().when(ask(linked("merged_into", 10))).refused(Rule.CASE_MERGED)


PARTED = unlinked("merged_into", 60)


def test_parting_leaves_no_trace_of_the_merger() -> None:
    """House rule."""
    apart = given(received(1, HERE)).beside(received(2, THERE))
    parted = apart.and_then(MERGED, PARTED)
    for stream in (CASE, OTHER):
        before, after = apart.at_the(stream).case, parted.at_the(stream).case
        for name in ("complaints", "households", "unanswered", "members", "merged", "links", "status", "accepting"):
            assert getattr(after, name) == getattr(before, name), name


def test_after_parting_each_goes_on_with_what_was_done_about_its_complaints() -> None:
    """Clause 4.3: who was contacted was contacted."""
    story = _target(received(2, THERE), responded(minutes=30)).at_the(CASE).and_then(PARTED)
    assert (story.answered(1), story.case.status) == (at(30), "responded")
    assert story.at_the(OTHER).case.status == "responded"
    assert story.when(ask(escalated("city", 70))).case.escalation_level == "city"


def test_after_parting_the_target_no_longer_asks_the_source_s_households() -> None:
    """Clause 3.2(2)."""
    past = received(2, THERE), responded(minutes=10), *PLAN, accepted(THERE, minutes=40)
    story = _merged(*past).and_then(PARTED).at_the(OTHER)
    story.when(ask(closed(59))).refused(Rule.CLOSURE_CRITERIA_NOT_MET)
    story.when(ask(closed(61))).then(closed(61))


def test_after_parting_the_source_has_its_own_plan_and_answers_again() -> None:
    """Clause 3.2."""
    story = _merged(source=SOURCE).and_then(PARTED)
    assert (story.case.status, story.case.accepting) == ("planned", 1)
    story.when(ask(closed(70))).then(closed(70))


def test_a_closed_source_is_closed_again_after_parting() -> None:
    """House rule."""
    story = given(*settled(), closed(50), linked("merged_into", 55)).beside(received(9, THERE))
    assert story.case.status == "merged"
    assert story.and_then(PARTED).case.status == "closed"


def test_after_parting_another_merger_is_possible_either_way() -> None:
    """House rule: no chain is left."""
    story = _merged().and_then(PARTED).beside(received(3), stream=THIRD)
    story.when(ask(linked("merged_into", 70))).then(linked("merged_into", 70))
    back = linked("merged_into", 70, CASE)
    story.at_the(OTHER).when(ask(back)).then(back)


def test_only_the_source_undoes_a_merger() -> None:
    """House rule: the target's side of it is no link of its own."""
    story = _target(received(2, THERE), linked("merged_from", 5, CASE))
    refusal = story.when(ask(unlinked("merged_into", 60, CASE))).refused(Rule.NOT_LINKED)
    assert refusal.unmet == (("links", "≥ 1", "0"),)


def test_the_target_shows_each_member_once_and_none_after_parting() -> None:
    """House rule: the counterpart in its stream tells its readers, and moves nothing."""
    story = _target(received(2, THERE), linked("merged_from", 5, CASE))
    assert links(story.case) == [{"case_id": CASE, "kind": "merged_from"}]
    parted = story.and_then(unlinked("merged_from", 60, CASE)).at_the(CASE).and_then(PARTED)
    assert links(parted.at_the(OTHER).case) == []


def test_a_retracted_merger_never_was() -> None:
    """House rule; two axes of time."""
    past = received(2, THERE), responded(minutes=10), *PLAN, accepted(HERE, THERE, minutes=40)
    story = _merged(*past).corrected(MERGED)
    assert (story.case.status, story.answered(1), story.at_the(OTHER).case.members) == ("open", None, ())
    # That the source's household answered the target's plan is then wrong.
    assert [rule for _, rule in story.at_the(OTHER).inconsistencies] == ["unknown_household"]


def test_a_merger_holds_from_its_own_instant() -> None:
    """Two axes of time (house rule)."""
    story = _target()
    assert len(story.stood(5 - TICK).complaints) == 1
    assert len(story.stood(5).complaints) == 2


def test_a_complaint_uploaded_late_to_the_source_counts_for_the_group() -> None:
    """Two axes of time (house rule): obtained before the merger, recorded after it."""
    late = received(8, "8-8-808", minutes=4)
    asked = _merged(received(2, THERE), responded(minutes=30)).when(ask(late)).then(late)
    group = asked.story.at_the(OTHER).case
    assert (len(group.households), group.status) == (3, "responded")


def test_no_order_of_recording_changes_a_merged_group() -> None:
    """Two axes of time (house rule)."""
    source, note = received(1, HERE), noted("看过", 3)
    target: list[Action] = [responded(minutes=30), *PLAN, accepted(HERE, THERE, minutes=40), closed(50)]
    told = given(source, note, MERGED).beside(received(2, THERE), *target).at_the(OTHER).case
    back = given(source, MERGED, note).beside(received(2, THERE), *reversed(target)).at_the(OTHER).case
    assert (told.status, back.status) == ("closed", "closed")
    assert (told.inconsistencies, back.inconsistencies) == ((), ())
    assert {key: one.responded_at for key, one in told.complaints.items()} == {
        key: one.responded_at for key, one in back.complaints.items()
    }
