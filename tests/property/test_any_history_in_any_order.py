"""The facts of a random history, told in many orders: grade and duties end the same, to the microsecond.

Everything is told only once it has all happened, so that each fact keeps its instant in whatever order it comes. Of two
facts of one type and one instant the contract lets the order of recording decide: of those only one is told.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import msgspec
import pytest

from projections import duty_view
from projections.duty_view import duties
from projections.grade_view import brief
from services.docket import Entry, fold
from services.events import Corrected
from services.rules import Malformed, Refusal
from services.sitting import Sitting
from tests.property.oracle import Oracle
from tests.property.worlds import SOAK, World, history, seeds, told
from tests.unit.test_planted_bugs import Edit, planted

HISTORIES = 2_000 if SOAK else 100
_ORDERS = 4
_AT_MOST = 2_000
_TICK = timedelta(microseconds=1)
_LONG_AFTER = timedelta(days=30)

pytestmark = pytest.mark.anyio

# What is recorded at once: an action, and with a merger what its target is told.
Told = tuple[Entry, ...]


async def test_whatever_the_order_every_case_ends_the_same() -> None:
    orders = facts = 0
    async for seed in seeds(HISTORIES):
        world = history(seed)
        with told(seed, world):
            number, told_so = _ended_the_same(world, Random(seed))
        orders, facts = orders + number, facts + told_so
    print(f"{HISTORIES} histories, {facts} facts: the same in {orders} other orders")
    assert orders > HISTORIES


BUGS = {
    "a clock starts when it is recorded": Edit(
        duty_view._complaints, "yield Subject(cycle, one.obtained_at,", "yield Subject(cycle, one.recorded_at,"
    ),
    "the cycle goes by what was recorded": Edit(
        duty_view._complaints,
        "cycle = _cycle_at(case, one.obtained_at)",
        "cycle = 1 + sum(1 for ended in case.cycles if ended.reopened.known_at <= one.recorded_at)",
    ),
    "the report told first counts": Edit(
        duty_view._emergency,
        "first = min(reported, key=lambda held: held.action.reported_at, default=None)",
        "first = min(reported, key=lambda held: held.known_at, default=None)",
    ),
    "the lesson told first counts": Edit(
        duty_view._lesson, "key=lambda held: held.at,", "key=lambda held: held.known_at,"
    ),
}


@pytest.mark.parametrize("name", BUGS if SOAK else list(BUGS)[:1])
async def test_an_order_that_mattered_would_be_noticed(name: str) -> None:
    async for seed in seeds(_AT_MOST):
        world = history(seed)
        with planted(BUGS[name]):
            try:
                _ended_the_same(world, Random(seed))
            except AssertionError:
                return
    pytest.fail(f"{_AT_MOST} histories end the same in spite of it")


def _ended_the_same(world: World, rng: Random) -> tuple[int, int]:
    """In how many other orders the facts came to the same end, and how many there were."""
    first = _Desk(world)
    facts = [one for one in _together(world.order) if first.takes(one)]
    instants = [world.now + _LONG_AFTER, *rng.sample(Oracle(first.files).instants(), 1)]
    orders = 0
    for _ in range(_ORDERS):
        other = _Desk(world)
        if other.takes_all(facts, rng):
            orders += 1
            for until in instants:
                assert other.ended(until) == first.ended(until), f"T={until}"
    return orders, len(facts)


def _together(order: Sequence[Entry]) -> Iterable[Told]:
    """Each action as it was asked for; what opened a case is there already."""
    mirrored = {entry.position for entry in order if getattr(entry.action, "kind", None) == "merged_from"}
    for entry, following in zip(order, [*order[1:], None], strict=True):
        if entry.version > 1 and entry.position not in mirrored:
            yield (entry, following) if following and following.position in mirrored else (entry,)


class _Desk:
    """Where the facts of a world are told anew, long after all of them."""

    def __init__(self, world: World) -> None:
        self.now = world.now + timedelta(days=1)
        self.files: dict[UUID, list[Entry]] = {case_id: [] for case_id in world.files}
        self.number = 0
        for case_id in sorted(world.files):
            self.files[case_id] = [self._anew(world.files[case_id][0], 1)]

    def _anew(self, entry: Entry, version: int) -> Entry:
        self.number += 1
        at = self.now + self.number * _TICK
        return msgspec.structs.replace(entry, version=version, position=self.number, recorded_at=at)

    def takes(self, facts: Told) -> bool:
        """Whether they may be recorded now; if so they are."""
        if any(not self._is_there(entry) for entry in facts):
            return False
        drafts = [self._anew(entry, len(self.files[entry.stream]) + 1) for entry in facts]
        after = {**self.files}
        for draft in drafts:
            after[draft.stream] = [*after[draft.stream], draft]
        if _has_ties(after) or not self._permitted(drafts[0]):
            return False
        self.files = after
        return True

    def _is_there(self, entry: Entry) -> bool:
        """A correction comes after what it corrects."""
        said = entry.action
        if not isinstance(said, Corrected):
            return True
        return any(held.action.action_id == said.action for held in self.files[entry.stream])

    def _permitted(self, draft: Entry) -> bool:
        sitting = Sitting(fold(self.files).docket, draft.stream)
        sitting.take(self.files)
        try:
            sitting.judge(draft)
        except (Refusal, Malformed):
            return False
        return True

    def takes_all(self, facts: Sequence[Told], rng: Random) -> bool:
        """Tell them in a random order, as far as the rules allow; corrections of one case keep theirs."""
        left = list(facts)
        while left:
            corrected: set[UUID] = set()
            may_come = []
            for one in left:
                is_correction = isinstance(one[0].action, Corrected)
                if not is_correction or one[0].stream not in corrected:
                    may_come.append(one)
                if is_correction:
                    corrected.add(one[0].stream)
            came = next((one for one in rng.sample(may_come, len(may_come)) if self.takes(one)), None)
            if came is None:
                return False
            left.remove(came)
        return True

    def ended(self, until: datetime) -> list[Any]:
        """Each case's grade and duties; `was_overdue` tells how it stood before a proof arrived, so it is left out."""
        docket = fold(self.files, until).docket
        return [(_grade(brief(case)), _owed(duties(case, {}, until))) for _, case in sorted(docket.items())]


def _has_ties(files: dict[UUID, list[Entry]]) -> bool:
    places = [(row["at"], row["type"]) for row in Oracle(files).everything]
    return len(set(places)) < len(places)


def _grade(shown: dict[str, Any] | None) -> Any:
    return shown and [shown[name] for name in ("code", "criteria", "undetermined", "since")]


def _owed(shown: Iterable[dict[str, Any]]) -> list[str]:
    names = ("duty", "cycle", "complaint_id", "household", "started_at", "due_at", "met_at", "state", "overdue_seconds")
    return sorted(repr([one[name] for name in names]) for one in shown)
