"""What judging costs: grade and duties of one case, and a draft of the policy held against very many. In memory."""

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from statistics import median
from time import perf_counter, process_time
from typing import Any
from uuid import UUID

import msgspec

from grading_engine.grades import grade
from grading_engine.policy import Policy, shipped
from projections.duty_view import duties
from projections.impact import Period, impact
from services.case import Case
from services.docket import Files, fold
from services.events import Action
from services.grading import facts_of
from services.households import household_key
from tests.bench.measuring import Contender, Ratio, Report, Slot, Spread, interleave
from tests.steps import (
    CASE,
    NOW,
    accepted,
    approved,
    assessed,
    attempted,
    blamed,
    chased,
    closed,
    entries,
    escalated,
    lesson_recorded,
    noted,
    proposed,
    received,
    responded,
)

_ROUNDS = 5
_SECONDS = 1.0
_CASES = 20_000
_TARGET_MICROS = 150
_TARGET_CASES = 5_000
_HOMES = tuple(f"3-1-{number}" for number in range(101, 113))
_ANY_TIME = Period(None, None, frozenset())
_RANDOM = random.Random(20_200_927)
_streams = count(1)


def measure(rounds: int = _ROUNDS, seconds: float = _SECONDS) -> Report:
    """One case in turn with a plain fold of it; then the impact of a draft, as often as there are rounds."""
    facts = _thirty()
    files: Files = {CASE: entries(*facts)}
    case = fold(files).docket[CASE]
    said = [_as_plain(fact) for fact in facts]
    _compare(case, _plain(said, NOW))
    judged = _repeated("judged: grade and all duties", lambda: _judge(case))
    folded = _repeated("folded and judged", lambda: _judge(fold(files).docket[CASE]))
    plain = _repeated("plain dicts, folded and judged", lambda: _plain(said, NOW))
    interleave([judged, folded, plain], rounds, seconds)
    impacted = _impact(rounds)
    ratios = [
        Ratio(f"{_TARGET_MICROS} µs ÷ judged (median)", Spread.of([_within(slot) for slot in judged.slots]), 1.0),
        Ratio.of("judged ÷ plain dicts", judged, plain),
        Ratio.of("folded and judged ÷ plain dicts", folded, plain),
        Ratio(f"impact ÷ {_TARGET_CASES} cases/s", _share(impacted), 1.0),
    ]
    medians = ", ".join(f"{one.name} {one.milliseconds(50) * 1e3:.0f} µs" for one in (judged, folded, plain))
    notes = (
        f"medians of one case of {len(facts)} actions, {len(_HOMES)} of them complaints, one core: {medians}",
        "judged: from the folded case, its grade remembered nowhere; plain dicts: hard-coded rules, no reasons,"
        " no corrections, no order of arrival, no cuts in time",
        f"impact: {rounds} × {_CASES} cases of 3 to 10 actions, each folded and judged by both documents;"
        " the draft halves the cost bound; facts that are equal are judged once, as the service does",
    )
    return Report("Judging by the policy", [judged, folded, plain, impacted], ratios, "case", notes)


def _repeated(name: str, once: Callable[[], object]) -> Contender:
    def run(seconds: float) -> Slot:
        latencies: list[float] = []
        begun, used = perf_counter(), process_time()
        now = begun
        while now - begun < seconds:
            once()
            last, now = now, perf_counter()
            latencies.append(now - last)
        return Slot(len(latencies), now - begun, process_time() - used, latencies=latencies)

    return Contender(name, run)


def _within(slot: Slot) -> float:
    return _TARGET_MICROS / (median(slot.latencies) * 1e6)


def _share(contender: Contender) -> Spread:
    return Spread.of([slot.rate / _TARGET_CASES for slot in contender.slots])


def _judge(case: Case) -> list[dict[str, Any]]:
    # Not from memory: every case is judged as if its facts were new.
    grade.__wrapped__(facts_of(case, {}), case.judged_by)
    return duties(case, {}, NOW)


# One case ---------------------------------------------------------------------------------------------------------


def _thirty() -> list[Action]:
    """A life of 30 actions: complaints, answers, assessments, a plan, closure, accountability, a lesson."""
    complaints = [received(number, home, minutes=number) for number, home in enumerate(_HOMES, start=1)]
    answers = [responded(number, minutes=30 + number) for number in (1, 2, 3)]
    calls = [attempted(number, minutes=40 + number) for number in (4, 5)]
    found = [
        assessed(50, compensation="150000.00", casualties={"injured": 0, "dead": 0}),
        assessed(55, litigating_households=[*_HOMES[:3]]),
    ]
    told: list[Action] = [noted("一", 56), noted("二", 57), chased(6, 58), escalated("city", 59)]
    plan: list[Action] = [responded(minutes=75), proposed(80), approved(90), accepted(*_HOMES[:8], minutes=100)]
    ended: list[Action] = [closed(110), blamed(120, "100"), lesson_recorded(130)]
    facts: list[Action] = [*complaints, *answers, *calls, *found, *told, *plan, *ended]
    if len(facts) != 30:
        raise RuntimeError(f"{len(facts)} actions")
    return facts


def _as_plain(fact: Action) -> dict[str, Any]:
    """What a JSON column would hold, instants read."""
    return {"type": fact.name, **msgspec.to_builtins(fact), "occurred_at": fact.occurred_at}


def _plain(actions: Sequence[dict[str, Any]], now: datetime) -> dict[str, Any]:
    """The same story as anybody would fold it first: one dict, hard-coded rules."""
    case: dict[str, Any] = {"complaints": {}, "households": set(), "facts": {}, "closed_at": None}
    for action in actions:
        kind, at = action["type"], action["occurred_at"]
        if kind == "received":
            key = household_key(action["household"])
            case["complaints"][action["complaint_id"]] = {"obtained_at": at, "responded_at": None, "household": key}
            case["households"].add(key)
        elif kind == "responded":
            for complaint in action.get("complaints") or case["complaints"]:
                if case["complaints"][complaint]["responded_at"] is None:
                    case["complaints"][complaint]["responded_at"] = at
        elif kind == "assessed":
            case["facts"].update(action["facts"])
        elif kind in ("plan_approved", "closed", "blamed", "lesson_recorded"):
            case[f"{kind}_at"] = at
        elif kind == "plan_answered":
            case["accepted"] = len(action["households"])
    case["grade"] = _plain_grade(case)
    case["duties"] = _plain_duties(case, now)
    return case


def _compare(case: Case, plain: dict[str, Any]) -> None:
    """Both have to say the same, or there is nothing to compare."""
    ours = [(one["duty"], one["met_at"], one["state"] == "met_late") for one in duties(case, {}, NOW)]
    theirs = [(one["duty"], one["met_at"], one["late"]) for one in plain["duties"]]
    if ours != theirs or case.grading is None or case.grading.code != plain["grade"]:
        raise RuntimeError(f"{ours} is not {theirs}")


def _plain_grade(case: dict[str, Any]) -> str:
    facts = case["facts"]
    sueing = {household_key(home) for home in facts.get("litigating_households", ())}
    homes = len(case["households"] | sueing)
    cost = sum(float(facts.get(name, 0)) for name in ("compensation", "upgrade_cost", "economic_loss"))
    flags = ("batch_handover_delayed", "title_deed_delayed", "group_milestone_delayed", "annual_target_lowered")
    harmed = any(facts.get("casualties", {}).values())
    if homes >= 100 or cost >= 2_000_000 or harmed or any(facts.get(name) for name in flags):
        return "A-1"
    return "A-2" if homes >= 60 else "ungraded"


def _plain_duties(case: dict[str, Any], now: datetime) -> list[dict[str, Any]]:
    owed = []
    for complaint in case["complaints"].values():
        due_at = complaint["obtained_at"] + timedelta(hours=1)
        met_at = complaint["responded_at"]
        late = (met_at or now) > due_at
        owed.append({"duty": "respond", "due_at": due_at, "met_at": met_at, "late": late})
    if case["closed_at"]:
        for duty, met_at in (("hold_accountable", "blamed_at"), ("record_lesson", "lesson_recorded_at")):
            owed.append({"duty": duty, "due_at": None, "met_at": case.get(met_at), "late": False})
    return owed


# Very many --------------------------------------------------------------------------------------------------------


def _impact(rounds: int) -> Contender:
    """All cases under both documents, once a turn; the turn that warms up looks at a twentieth."""
    groups = [_small() for _ in range(_CASES)]
    draft = draft_of_half_the_bound()

    def run(seconds: float) -> Slot:
        part = groups if seconds else groups[: _CASES // 20]
        begun, used = perf_counter(), process_time()
        found = impact(part, (shipped(),), draft, _ANY_TIME, NOW)
        slot = Slot(found.cases, perf_counter() - begun, process_time() - used)
        if found.cases != len(part) or not found.differences:
            raise RuntimeError(f"{found.cases} of {len(part)} cases, {len(found.differences)} differ")
        return slot

    contender = Contender("impact of a draft", run)
    contender.turn(0.0, counts=False)
    for _ in range(rounds):
        contender.turn(1.0)
    return contender


def _small() -> Files:
    """An everyday case: a few complaints, an answer, perhaps a note, an assessment, a whole way to closure."""
    homes = [f"{number}-{_RANDOM.randrange(1, 900)}" for number in range(1, _RANDOM.choice((2, 2, 2, 3, 4)))]
    facts: list[Action] = [received(number, home, minutes=number) for number, home in enumerate(homes, start=1)]
    facts.append(responded(minutes=_RANDOM.choice((10, 40, 90))))
    facts.append(noted("一", 95))
    if _RANDOM.random() < 0.3:
        facts.append(assessed(96, compensation=f"{_RANDOM.randrange(1, 2_500_000)}.00"))
    if _RANDOM.random() < 0.2:
        facts += [proposed(100), approved(110), accepted(*homes, minutes=115), closed(120)]
    stream = UUID(int=next(_streams))
    return {stream: entries(*facts, stream=stream)}


def draft_of_half_the_bound() -> Policy:
    """The shipped document under another version, with half the cost bound."""
    plain = shipped().model_dump()
    plain["version"] = "V1.1"
    for level in plain["grades"]:
        for criterion in level["criteria"]:
            when = criterion["when"]
            for bound in (when["at_least"], when["below"]) if when["fact"] == "cost" else ():
                if bound and bound["value"]:
                    bound["value"] = str(Decimal(bound["value"]) / 2)
    return Policy.model_validate(plain)
