"""Thousands of legal histories, late arrivals, corrections and mergers among them: at every T and K each duty and each
grade is what an oracle of another style says, to the microsecond and to the household."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from time import monotonic
from typing import Any
from uuid import UUID

import pytest

from grading_engine import duties as engine
from grading_engine import grades
from projections import duty_view, grade_view
from projections.duty_view import duties
from projections.grade_view import brief
from services import docket as dockets
from services import fold as folding
from services import grading
from services.case import Case
from services.docket import fold
from tests.property.duties_oracle import DutiesOracle, us
from tests.property.oracle import Row
from tests.property.worlds import SOAK, World, history, seeds, told
from tests.unit.test_planted_bugs import Edit, planted

HISTORIES = 10_000 if SOAK else 300
COMPARED = ("duty", "cycle", "complaint_id", "household", "state", "overdue_seconds", "was_overdue")
CLOCK = ("started_at", "due_at", "met_at")
_AT_MOST = 5_000
_HOUR = timedelta(hours=1)
_TICK = timedelta(microseconds=1)

pytestmark = pytest.mark.anyio


async def test_at_every_instant_grades_and_duties_are_what_the_oracle_says() -> None:
    begun = monotonic()
    seen: Counter[str] = Counter()
    async for seed in seeds(HISTORIES):
        world = history(seed)
        seen["actions"] += len(world.order)
        with told(seed, world):
            seen += _ask_everything(world)
    seconds = monotonic() - begun
    print(f"{HISTORIES} histories in {seconds:.1f} s: {dict(sorted(seen.items()))}")


def _ask_everything(world: World) -> Counter[str]:
    seen: Counter[str] = Counter()
    for known, instants in _questions(world):
        oracle = DutiesOracle(world.files, known)
        for until in instants:
            seen += _compared(world, oracle, until, known)
    return seen


def _compared(world: World, oracle: DutiesOracle, until: datetime, known: datetime | None) -> Counter[str]:
    """What was seen of each case at T and K, where both say the same."""
    docket = fold(world.files, until, known).docket
    seen: Counter[str] = Counter(states=1)
    oracle.at(until)
    for case_id in world.files:
        owed = oracle.duties(case_id)
        assert in_order(_owed(docket[case_id], until)) == in_order(owed), f"T={until} K={known}"
        grade = oracle.grade(case_id)
        assert _graded(docket[case_id]) == grade, f"T={until} K={known}"
        seen.update(f"{row['duty']} {row['state']}" for row in owed)
        seen.update(grade["criteria"] if grade else ())
        seen.update(["stood overdue, yet met"] * sum(row["was_overdue"] and row["state"] == "met" for row in owed))
    return seen


def in_order(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row["duty"], str(row["complaint_id"]), row["cycle"]))


def _owed(case: Case, now: datetime) -> list[Row]:
    """The duties as they are shown, in the oracle's units."""
    return [_in_its_units(row) for row in duties(case, {}, now)] if case.version else []


def _in_its_units(row: Mapping[str, Any]) -> Row:
    clock = {name: row[name] and us(row[name]) for name in CLOCK}
    return {**{name: row[name] for name in COMPARED}, **clock}


def _graded(case: Case) -> Row | None:
    shown = brief(case)
    if shown is None:
        return None
    names = ("code", "criteria", "undetermined")
    return {**{name: shown[name] for name in names}, "since": us(shown["since"])}


# Questions --------------------------------------------------------------------------------------------------------


def _questions(world: World) -> Iterable[tuple[datetime | None, Iterable[datetime]]]:
    """K's, as known now and twice earlier, each with T's: at, before and after what happened or falls due."""
    rng = world.rng
    recorded = sorted({entry.recorded_at for entry in world.order})
    for known, number in ((None, 20), *((one, 6) for one in rng.sample(recorded, min(2, len(recorded))))):
        oracle = DutiesOracle(world.files, known)
        dues = [row["when"] + _HOUR for row in oracle.everything if row["type"] == "received"]
        reports = [row["action"].reported_at for row in oracle.everything if row["type"] == "emergency_started"]
        marks = [*oracle.facts.instants(), *dues, *reports]
        instants = sorted({mark + ticks * _TICK for mark in marks for ticks in (-1, 0, 1)})
        yield known, [world.now, *rng.sample(instants, min(number, len(instants)))]


# What stood overdue -----------------------------------------------------------------------------------------------


async def test_what_was_overdue_is_what_once_stood_overdue_as_recorded_then() -> None:
    """Asked at every instant at which anything was recorded or fell due, with nothing but what was known then."""
    found = 0
    async for seed in seeds(HISTORIES // 10):
        world = history(seed)
        with told(seed, world):
            if not any(entry.action.name in ("corrected", "linked") for entry in world.order):
                docket = fold(world.files, world.now).docket
                rows = [row for case in docket.values() for row in _owed(case, world.now) if row["complaint_id"]]
                stood = {row["complaint_id"] for row in rows if row["was_overdue"]}
                assert stood == _once_overdue(world)
                found += len(stood)
    print(f"{found} stood overdue")


def _once_overdue(world: World) -> set[UUID]:
    recorded = {entry.recorded_at for entry in world.order}
    dues = {entry.action.occurred_at + _HOUR for entry in world.order if entry.action.name == "received"}
    asked = {instant + ticks * _TICK for instant in recorded | dues for ticks in (-1, 0, 1)} | {world.now}
    return {
        row["complaint_id"]
        for now in sorted(asked)
        if now <= world.now
        for oracle in [DutiesOracle(world.files, now).at(now)]
        for case_id in world.files
        for row in oracle.respond(case_id)
        if row["state"] in ("overdue", "met_late")
    }


# Bugs that it notices, some only among many hundred histories -------------------------------------------------------


BUGS: dict[str, tuple[Edit, ...]] = {
    "the 60th minute is late": (Edit(engine.read, "late = proof.met_at > due_at", "late = proof.met_at >= due_at"),),
    "waiting is overdue at the 60th minute": (Edit(engine.read, "overdue = now > due_at", "overdue = now >= due_at"),),
    "a clock starts when it is recorded": (
        Edit(duty_view._complaints, "yield Subject(cycle, one.obtained_at,", "yield Subject(cycle, one.recorded_at,"),
    ),
    "all belongs to the first cycle": (Edit(duty_view._cycle_at, "return 1 + sum(", "return 1 or sum("),),
    "lateness is counted from the start": (
        Edit(engine.read, "(proof.met_at - due_at) // _SECOND", "(proof.met_at - started_at) // _SECOND"),
    ),
    "blame of one cycle serves another": (
        Edit(duty_view._closures, "met = cycle.blame if", "met = case.cycle.blame if"),
    ),
    "a lesson is owed in every cycle": (
        Edit(duty_view._closures, 'if rule.met_by == "lesson_recorded":', 'if rule.met_by == "lessons_recorded":'),
    ),
    "the latest lesson counts": (Edit(duty_view._lesson, "return min(", "return max("),),
    "what was taken back is not shown": (
        Edit(dockets._voided, "standing(entry, counting) is None", "standing(entry, counting) is entry"),
    ),
    "any proof counts for when it was cleared": (
        Edit(duty_view._cleared_at, "told.at <= due_at", "told.at <= told.known_at"),
    ),
    "the last proof clears it": (Edit(duty_view._cleared_at, "return min(in_time", "return max(in_time"),),
    "a correction of anything is news to the clock": (
        Edit(dockets._is_same_contact, "return one == other", "return False"),
    ),
    "a report is no longer owed when fewer sue": (
        Edit(
            grading.graded,
            "key_mass=case.key_mass or (turn if now.key and now.mass else None),",
            "key_mass=(case.key_mass or turn) if now.key and now.mass else None,",
        ),
    ),
    "more than sixty are a mass": (Edit(grades.is_mass, ".low >= bound", ".low > bound"),),
    "who complains and sues counts twice": (
        Edit(
            grading.facts_of,
            "len(complaining | litigating) if litigating else len(complaining)",
            "len(complaining) + len(litigating)",
        ),
    ),
    "who sues in a merged case is not counted": (
        Edit(grading.facts_of, "litigating |= _litigating(cases[member])", "litigating |= set()"),
    ),
    "households that sue are spelled, not counted": (
        Edit(grading._litigating, "{household_key(household) for", "{household for"),
    ),
    "a merger does not judge its target anew": (
        Edit(
            dockets._grade, "if other and (target := cases.get(other))", "if not other and (target := cases.get(other))"
        ),
    ),
    "an assessment forgets who sued before": (
        Edit(folding.assessed, 'before.get("litigating_households") or []', "[]"),
    ),
    "more than two million": (Edit(grades._reaches, "if known.low >= bound.value:", "if known.low > bound.value:"),),
    "a level holds since its criteria changed": (
        Edit(grade_view._since, "change.code != changes[-1].code", "change != changes[-1]"),
    ),
}


_SOON_NOTICED = (
    "the 60th minute is late",
    "waiting is overdue at the 60th minute",
    "a clock starts when it is recorded",
    "all belongs to the first cycle",
    "lateness is counted from the start",
    "the latest lesson counts",
)


@pytest.mark.parametrize("name", BUGS if SOAK else _SOON_NOTICED)
async def test_the_oracle_notices(name: str) -> None:
    number = 0
    async for seed in seeds(_AT_MOST):
        number += 1
        world = history(seed)
        with planted(*BUGS[name]):
            try:
                _ask_everything(world)
            except AssertionError:
                print(f"noticed in history {number}")
                return
    pytest.fail(f"{_AT_MOST} histories agree in spite of it")


def test_the_oracle_replays_from_its_seed() -> None:
    """The same seed makes the same history."""
    one, other = history(7), history(7)
    assert list(one.story()) == list(other.story())


def test_the_oracle_knows_no_more_than_was_recorded() -> None:
    """Before anything is recorded it knows nothing."""
    world = history(7)
    nothing = DutiesOracle(world.files, world.beginning)
    case_id: UUID
    for case_id in world.files:
        assert (nothing.at(world.now).duties(case_id), nothing.grade(case_id)) == ([], None)
