"""What a batch does to the table of cases: which it begins, under what number, and which still stand open.

The table answers one question inside the append: whether a new case looks like one that stands open. It is kept with
the facts, in their transaction, so that of two alike at one instant the second is told of the first.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from services.event_log.proposal import Begun, Fact, Similar

_BEIJING = ZoneInfo("Asia/Shanghai")
# As in `statements.LOOK`.
_NEAR = timedelta(days=30)
_MOST = 10


class NewCase(NamedTuple):
    """A row to be."""

    case_no: str
    stream: UUID
    project: str
    category: str
    opened_at: datetime
    is_open: bool

    def to_others(self) -> Similar:
        """How it is named to those that come after it."""
        return Similar(self.stream, self.case_no, self.opened_at)


class _Changes:
    """Of each region the recording day and the last number given out on it; new cases; old ones that turned."""

    __slots__ = ("begun", "numbers", "turned")

    def __init__(self) -> None:
        self.numbers: dict[str, tuple[str, int]] = {}
        self.begun: dict[UUID, NewCase] = {}
        self.turned: dict[UUID, bool] = {}

    def turn(self, stream: UUID, is_open: bool) -> None:
        """Close or reopen a case. One statement cannot insert a row and update it, so a row to be is changed here."""
        if case := self.begun.get(stream):
            self.begun[stream] = case._replace(is_open=is_open)
        else:
            self.turned[stream] = is_open

    def stands_open(self, stream: UUID) -> bool | None:
        """As far as it was changed here."""
        case = self.begun.get(stream)
        return case.is_open if case else self.turned.get(stream)


class Cases(_Changes):
    """The batch's changes, over what the transaction found."""

    __slots__ = ("_alike", "found_numbers", "found_similar")

    def __init__(self, numbers: Mapping[str, tuple[str, int]], similar: Mapping[Begun, Sequence[Similar]]) -> None:
        super().__init__()
        self.found_numbers, self.found_similar = numbers, similar
        self._alike: dict[tuple[str, str], list[Similar]] = {}

    def alike(self, begun: Begun) -> Sequence[Similar]:
        """The batch's own cases of the same project and category, open or not, in order."""
        return self._alike.get((begun.project, begun.category), ())

    def keep(self, trial: "Trial") -> None:
        """A proposal was accepted."""
        self.numbers |= trial.numbers
        self.begun |= trial.begun
        for case in trial.begun.values():
            self._alike.setdefault((case.project, case.category), []).append(case.to_others())
        for stream, is_open in trial.turned.items():
            self.turn(stream, is_open)


class Trial(_Changes):
    """One proposal's changes, over the batch's; forgotten with the proposal if it loses."""

    __slots__ = ("_cases",)

    def __init__(self, cases: Cases) -> None:
        super().__init__()
        self._cases = cases

    def next_number(self, region: str, recorded_at: datetime) -> str:
        """The region's next case number on the recording day (Asia/Shanghai)."""
        cases = self._cases
        day = f"{recorded_at.astimezone(_BEIJING):%Y%m%d}"
        last = self.numbers.get(region) or cases.numbers.get(region) or cases.found_numbers.get(region)
        number = last[1] + 1 if last and last[0] == day else 1
        self.numbers[region] = (day, number)
        return f"{region}-{day}-{number:04d}"

    def begin(self, fact: Fact, begun: Begun, case_no: str, recorded_at: datetime) -> list[Similar]:
        """Begin a case; the open ones that it looks like, the newest first."""
        similar = self._similar(begun)
        # As the case itself is folded: a fast clock at the centre must not open it in the future.
        opened_at = min(begun.opened_at, recorded_at)
        is_open = fact.is_open is not False
        self.begun[fact.stream] = NewCase(case_no, fact.stream, begun.project, begun.category, opened_at, is_open)
        return similar

    def _similar(self, begun: Begun) -> list[Similar]:
        own = [case.to_others() for case in self.begun.values() if (case.project, case.category) == begun[:2]]
        # Reversed: of those opened at one instant the last recorded comes first.
        batch = reversed([*self._cases.alike(begun), *own])
        near = [one for one in batch if abs(one.opened_at - begun.opened_at) <= _NEAR]
        found = [*near, *self._cases.found_similar.get(begun, ())]
        still = [one for one in found if self._still_open(one.stream)]
        return sorted(still, key=_opened_at, reverse=True)[:_MOST]

    def _still_open(self, stream: UUID) -> bool:
        changed = self.stands_open(stream)
        return (self._cases.stands_open(stream) if changed is None else changed) is not False


def _opened_at(similar: Similar) -> datetime:
    return similar.opened_at
