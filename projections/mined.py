"""What process mining is told of a case: its actions in the order of folding, its complaints, and how it changed.

Each recorded action is one event, under its own type and at its own instant, as it was recorded: a correction is an
event too, the action that it corrects says `corrected_by`, and one that is taken back stays and is flagged `retracted`.
So the events of a file are the actions of the ledger, one to one, and rework can be seen; whoever wants the world
rather than the desk drops what is flagged. What is told of the *case* and its *complaints* (stage, status, grade,
answers) is the truth as it stands after corrections.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from grading_engine.grades import UNGRADED
from services.case import Case, named
from services.docket import Docket, Entry, Files, Policies, corrections, fold, standing
from services.events import (
    Action,
    Chased,
    ContactAttempted,
    Linked,
    Noted,
    PlanAnswered,
    Received,
    Responded,
    Unlinked,
)
from services.fold import Step
from services.households import household_key


class Act(NamedTuple):
    """One recorded action. `complaints`, `households` (as keys) and the `other` case are those that it is about."""

    entry: Entry
    corrected_by: UUID | None
    retracted: bool
    complaints: tuple[UUID, ...]
    households: tuple[str, ...]
    other: UUID | None


class Grievance(NamedTuple):
    """A complaint as it stands; `household` is a key. One that is `retracted` was recorded and taken back."""

    complaint_id: UUID
    obtained_at: datetime
    channel: str
    household: str | None
    anonymous: bool
    answered_at: datetime | None
    retracted: bool


class Change(NamedTuple):
    """What a field of the case became, at the fold instant of the action that moved it."""

    at: datetime
    name: str
    value: str


class Mined(NamedTuple):
    """A case with what happened in it."""

    case: Case
    acts: Sequence[Act]
    grievances: Sequence[Grievance]
    changes: Sequence[Change]


CHANGING = ("stage", "status", "grade", "escalation_level")


def mined(files: Files, policies: Policies, told: Callable[[Case], bool]) -> list[Mined]:
    """The cases of a group of which `told` says that they belong into the file."""
    history = _History()
    docket = fold(files, policies=policies, seen=history.see).docket
    cases = [case for case in docket.values() if case.version and told(case)]
    complaints = {one for case in cases for one in _received(files[case.case_id])}
    return [_of(case, files[case.case_id], history, complaints) for case in cases]


def state(case: Case) -> tuple[str, ...]:
    """What is followed over time, in the order of `CHANGING`."""
    return (case.stage, case.status, case.grading.code if case.grading else UNGRADED, case.escalation_level)


class _History:
    """Looks on while a group is folded: what changed of each case, and whom each contact reached."""

    def __init__(self) -> None:
        self._states: dict[UUID, tuple[str, ...]] = {}
        self.changes: dict[UUID, list[Change]] = {}
        self.reached: dict[UUID, tuple[UUID, ...]] = {}

    def see(self, step: Step, cases: Docket) -> None:
        action = step.action
        if isinstance(action, Responded | ContactAttempted):
            self.reached[action.action_id] = _reached(cases[step.stream], action)
        for case in cases.values():
            if case.begun:
                self._compare(case, step.at)

    def _compare(self, case: Case, at: datetime) -> None:
        before, now = self._states.get(case.case_id), state(case)
        if before == now:
            return
        self._states[case.case_id] = now
        changed = self.changes.setdefault(case.case_id, [])
        for number, name in enumerate(CHANGING):
            if before is None or before[number] != now[number]:
                changed.append(Change(at, name, now[number]))


def _of(case: Case, entries: Sequence[Entry], history: _History, complaints: set[UUID]) -> Mined:
    counting = corrections(entries)
    ordered = sorted(entries, key=lambda entry: entry.step.key)
    acts = [_act(case, entry, counting, history, complaints) for entry in ordered]
    changes = history.changes.get(case.case_id) or _never_begun(case)
    return Mined(case, acts, list(_grievances(case, entries, counting)), changes)


def _never_begun(case: Case) -> list[Change]:
    """A case whose opening was taken back is void from the beginning."""
    assert case.opened_at is not None
    return [Change(case.opened_at, name, value) for name, value in zip(CHANGING, state(case), strict=True)]


def _act(case: Case, entry: Entry, counting: Mapping[UUID, Entry], history: _History, complaints: set[UUID]) -> Act:
    action = entry.action
    word = counting.get(action.action_id)
    about = _about(action)
    if isinstance(action, Responded | ContactAttempted):
        # A corrected contact was folded as what it became; whom it reached as it was recorded is asked of the end.
        reached = None if word else history.reached.get(action.action_id)
        about = (*about, *(_reached(case, action) if reached is None else reached))
    return Act(
        entry,
        word.action.action_id if word else None,
        word is not None and standing(entry, counting) is None,
        tuple(one for one in dict.fromkeys(about) if one in complaints),
        tuple(dict.fromkeys(household_key(one) for one in _households(action))),
        action.case if isinstance(action, Linked | Unlinked) else None,
    )


def _about(action: Action) -> tuple[UUID, ...]:
    match action:
        case Received(complaint_id=one):
            return (one,)
        case Chased(complaint=one):
            return (one,)
        case Noted(complaint=UUID() as one):
            return (one,)
        # By name, even if it was taken back, or its case parted again.
        case Responded(complaints=several) | ContactAttempted(complaints=several):
            return several
        case _:
            return ()


def _reached(case: Case, action: Responded | ContactAttempted) -> tuple[UUID, ...]:
    """The complaints of the households that are named; of a response to all those that it was the first to answer.

    Else a case with thousands of complaints and responses to all would be told in millions of relations.
    """
    if isinstance(action, Responded) and action.everyone:
        return tuple(key for key, one in case.complaints.items() if one.responded_by == action.action_id)
    return tuple(one.complaint_id for one in named(case, (), action.households))


def _households(action: Action) -> tuple[str, ...]:
    match action:
        case Received(household=str() as one):
            return (one,)
        case Responded(households=several) | ContactAttempted(households=several) | PlanAnswered(households=several):
            return several
        case _:
            return ()


def _received(entries: Iterable[Entry]) -> Iterator[UUID]:
    return (entry.action.complaint_id for entry in entries if isinstance(entry.action, Received))


def _grievances(case: Case, entries: Sequence[Entry], counting: Mapping[UUID, Entry]) -> Iterator[Grievance]:
    for entry in entries:
        if not isinstance(entry.action, Received):
            continue
        step = standing(entry, counting)
        said = step.action if step else entry.action
        assert isinstance(said, Received)
        held = case.complaints.get(said.complaint_id)
        who = said.complainant
        yield Grievance(
            said.complaint_id,
            said.occurred_at,
            said.channel,
            household_key(said.household) if said.household else None,
            not (who and (who.name or who.phone)),
            held.responded_at if held else None,
            step is None,
        )
