"""Bugs planted in the policy engine and in what folds for it: for each of them there is a test that fails."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import CodeType
from typing import Any, NamedTuple

import pytest

from grading_engine import closure, duties, grades, working_days
from grading_engine.facts import Facts
from projections import duty_view
from services import directory, docket, fold, grading
from tests.unit import test_answering_within_an_hour as answering
from tests.unit import test_closing as closing
from tests.unit import test_concentrated_warranty as warranty
from tests.unit import test_cuts_in_time as cuts
from tests.unit import test_grading_key_events as key_events
from tests.unit import test_other_regulations as others
from tests.unit import test_reopening as reopening
from tests.unit import test_responding as responding
from tests.unit import test_what_a_case_owes as owing


class Edit(NamedTuple):
    """One place of a function that says something else for a while; `was` stands in it exactly once."""

    of: Callable[..., Any]
    was: str
    becomes: str


class Bug(NamedTuple):
    """What is spoiled, and the test that is bound to notice."""

    edits: tuple[Edit, ...]
    caught_by: Callable[..., None]
    given: tuple[Any, ...] = ()


@contextmanager
def planted(*edits: Edit) -> Iterator[None]:
    """The functions run the spoiled code, whoever imported them; nothing of it is left afterwards."""
    with ExitStack() as stack:
        stack.callback(grades.grade.cache_clear)
        for edit in edits:
            function = inspect.unwrap(edit.of)
            stack.callback(setattr, function, "__code__", function.__code__)
            function.__code__ = _spoiled(function, edit)
        grades.grade.cache_clear()
        yield


def _spoiled(function: Any, edit: Edit) -> CodeType:
    module = inspect.getmodule(function)
    assert module is not None and module.__file__
    whole, own = inspect.getsource(module), inspect.getsource(function)
    name = f"{function.__module__}.{function.__qualname__}"
    found = own.count(edit.was)
    assert found == 1, f"{name} says {edit.was!r} {found} times, not once: the code has moved, plant this bug anew"
    assert whole.count(own) == 1, f"{name} stands more than once in its file"
    spoiled = compile(whole.replace(own, own.replace(edit.was, edit.becomes)), module.__file__, "exec")
    return next(code for code in _within(spoiled) if code.co_qualname == function.__qualname__)


def _within(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _within(constant)


def bug(of: Callable[..., Any], was: str, becomes: str, caught_by: Callable[..., None], *given: Any) -> Bug:
    """One that lies in a single place."""
    return Bug((Edit(of, was, becomes),), caught_by, given)


_LEVEL = key_events.test_a_level_is_met_from_its_bound_on
_UNKNOWN = key_events.test_what_nobody_assessed_is_unknown_and_could_still_raise_the_level
_ANSWERED = answering.test_an_answer_is_in_time_through_the_60th_minute
_WAITING = answering.test_waiting_is_overdue_after_the_60th_minute_with_no_job_having_run
_OPEN_BOUND = key_events.test_the_open_lower_bound_leaves_costs_below_two_million_undetermined_and_no_costs_not_met
_WORKING_DAYS = others.test_working_days_skip_the_national_holiday_and_take_the_make_up_day

_REACHED = "if known.low >= bound.value:"
_BELOW = """    if known.low >= bound.value:
        return "not_met"
    return "met" if known.high is not None and known.high < bound.value else "undetermined"
"""
_NOT_BELOW = _BELOW.replace(">=", ">").replace("<", "<=")


def _more_than(figure: int) -> str:
    """Only at this one bound more than it is asked for."""
    return f"if known.low > bound.value or (known.low == bound.value and bound.value != {figure}):"


BUGS: dict[str, Bug] = {
    "more than 60 households": bug(grades._reaches, _REACHED, _more_than(60), _LEVEL, "A-2.1 60 households"),
    "more than 100 households": bug(grades._reaches, _REACHED, _more_than(100), _LEVEL, "A-1.2 100 households"),
    "more than two million": bug(grades._reaches, _REACHED, _more_than(2_000_000), _LEVEL, "A-1.3 2,000,000.00"),
    "up to 100 households, that one included": bug(
        grades._stays_below,
        _BELOW,
        _NOT_BELOW,
        key_events.test_a_hundred_households_are_not_fewer_than_a_hundred,
    ),
    "a mass complaint from 61 households on": bug(
        grades.is_mass,
        ".low >= bound",
        ".low > bound",
        key_events.test_a_key_event_is_a_mass_complaint_from_sixty_households_on,
        60,
    ),
    "a household that complains and sues counts twice": bug(
        grading.facts_of,
        "len(complaining | litigating) if litigating else len(complaining)",
        "len(complaining) + len(litigating)",
        owing.test_a_household_that_complains_and_sues_is_one_household,
    ),
    "households that sue are left out": bug(
        Facts.distinct, "return self.either", "return self.complaining", _LEVEL, "A-1.2 99 complain and 1 sues"
    ),
    "the parts of an amount are added up as floats": bug(
        grades.amount_of,
        'sum((Decimal(part["amount"]) for part in said), _ZERO)',
        'Decimal(sum(float(part["amount"]) for part in said))',
        key_events.test_six_parts_that_floats_add_up_wrongly_make_exactly_two_million,
    ),
    "what nobody assessed is zero": bug(
        Facts.number, "UNKNOWN if known is None else Range.exactly(known)", "Range.exactly(known or 0)", _UNKNOWN
    ),
    "what nobody assessed is met": bug(
        grades._flag, '"undetermined" if value is None else "met"', '"met" if value is None else "met"', _UNKNOWN
    ),
    "a sum is no more than what is known of it": bug(
        grades.number,
        "None if any(part.high is None for part in parts) else low",
        "low",
        key_events.test_a_sum_is_at_least_what_is_known_of_it,
    ),
    "an open lower bound is met by nothing at all": bug(
        grades._reaches, 'return "not_met" if known.high == 0 else "undetermined"', 'return "met"', _OPEN_BOUND
    ),
    "economic loss is left out of the sum": bug(
        grades.number, "for part in together.of]", "for part in together.of[:-1]]", _LEVEL, "A-1.3 economic loss"
    ),
    "a correction restarts the clock": bug(
        fold._received,
        "obtained_at=action.occurred_at,",
        "obtained_at=step.known_at if step.place.path else action.occurred_at,",
        owing.test_a_correction_never_restarts_the_clock,
    ),
    "the clock starts when the complaint is recorded": bug(
        duty_view._complaints,
        "yield Subject(cycle, one.obtained_at, one.recorded_at,",
        "yield Subject(cycle, one.recorded_at, one.recorded_at,",
        cuts.test_an_answer_at_exactly_60_minutes_is_in_time,
        60,
        "met",
        0,
    ),
    "an answer at the 60th minute is late": bug(
        duties.read, "late = proof.met_at > due_at", "late = proof.met_at >= due_at", _ANSWERED, "60:00.000000"
    ),
    "waiting is overdue at the 60th minute": bug(
        duties.read, "overdue = now > due_at", "overdue = now >= due_at", _WAITING, "60:00.000000"
    ),
    "it never stood overdue": bug(
        duties.read,
        "late or stood_overdue",
        "False",
        answering.test_a_late_proof_of_a_timely_contact_clears_the_duty_and_leaves_that_it_stood_overdue,
    ),
    "the latest contact counts": Bug(
        (
            Edit(fold._met, "complaint.responded_at <= said", "complaint.responded_at >= said"),
            Edit(fold._tells_more, "return one.at <= other.at and", "return one.at >= other.at and"),
            Edit(
                fold._reached,
                "return [case.complaints[complaint_id] for complaint_id in case.unanswered]",
                "return case.complaints.values()",
            ),
        ),
        responding.test_a_later_proof_of_an_earlier_contact_counts,
    ),
    "a reopened case keeps its plan": bug(
        fold.evolve,
        "cycle=Cycle(moved.cycle.number + 1),",
        "cycle=replace(moved.cycle, number=moved.cycle.number + 1, closure=None, blame=None),",
        reopening.test_the_next_cycle_needs_a_plan_and_answers_of_its_own,
    ),
    "a reopened case keeps its blame": bug(
        fold.evolve,
        "cycle=Cycle(moved.cycle.number + 1),",
        "cycle=Cycle(moved.cycle.number + 1, blame=moved.cycle.blame),",
        reopening.test_blame_is_given_anew,
    ),
    "the report is no longer owed when fewer are left": bug(
        grading.graded,
        "key_mass=case.key_mass or (turn if now.key and now.mass else None),",
        "key_mass=(case.key_mass or turn) if now.key and now.mass else None,",
        owing.test_a_report_stays_owed_though_fewer_households_are_left,
    ),
    "the report told first counts, not the earliest": bug(
        duty_view._emergency,
        "first = min(reported, key=lambda held: held.action.reported_at, default=None)",
        "first = reported[0] if reported else None",
        owing.test_the_earliest_report_meets_the_duty,
    ),
    "one half of the households is most of them": bug(
        closure._judged,
        "facts.accepting * share.denominator > share.numerator",
        "facts.accepting * share.denominator >= share.numerator",
        closing.test_one_half_of_the_households_is_not_most,
        2,
    ),
    "a complaint that was taken back is still owed an answer": bug(
        duty_view._voided, ", *complaint, void=True)", ", *complaint)", owing.test_nothing_is_owed_to_a_mistake
    ),
    "the make-up day is a day off": bug(
        working_days.is_working_day,
        "bool(_china(day.year).is_working_day(day))",
        "day.weekday() < 5 and day not in _china(day.year)",
        _WORKING_DAYS,
    ),
    "a holiday is worked": bug(
        working_days.is_working_day,
        "bool(_china(day.year).is_working_day(day))",
        "day.weekday() < 5 or bool(_china(day.year).is_working_day(day))",
        _WORKING_DAYS,
    ),
    "a case is judged by the latest document": bug(
        docket._begun,
        "in_force(policies, step.at)",
        "in_force(policies, last.recorded_at)",
        owing.test_a_case_is_judged_by_the_document_of_its_opening,
    ),
    "the last day of the warranty is left out": bug(
        directory.in_concentrated_warranty,
        "day <= _six_months_after",
        "day < _six_months_after",
        warranty.test_the_last_day_is_included,
    ),
}


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_caught(name: str) -> None:
    planned = BUGS[name]
    planned.caught_by(*planned.given)
    with planted(*planned.edits), pytest.raises(AssertionError):
        planned.caught_by(*planned.given)
    planned.caught_by(*planned.given)


def test_a_bug_that_no_longer_finds_its_place_says_so() -> None:
    gone = Edit(grades.is_mass, "no such words", "none")
    with pytest.raises(AssertionError, match="plant this bug anew"), planted(gone):
        pass
