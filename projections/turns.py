"""What one recorded action changed about a case: the case as it was known just before it, and just after."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

from grading_engine.duties import read
from grading_engine.facts import Facts
from grading_engine.grades import amount_of
from projections.duty_view import Due, dues
from services.case import Case
from services.docket import Docket, Entry, Files, Policies, fold
from services.events import Assessed, Corrected
from services.grading import facts_of

Which = Callable[[Entry, Entry | None], bool]
Name = tuple[str, int, UUID | None]


class State(NamedTuple):
    """A case among those that it is merged with."""

    case: Case
    docket: Docket

    @property
    def facts(self) -> Facts:
        return facts_of(self.case, self.docket)


class Turn:
    """One action with the case before and after it, all as known at the instant at which it was recorded.

    `root`: of a correction the action that it corrects, however many corrections lie between.
    """

    def __init__(self, entry: Entry, root: Entry | None, before: State, after: State) -> None:
        self.entry, self.root = entry, root
        self.before, self.after = before.case, after.case
        self._facts = before.facts, after.facts

    @cached_property
    def open_before(self) -> list[Due]:
        """What was owed and not met before."""
        return [due for due in self._before if not due.clock.void and not due.clock.proof]

    @cached_property
    def fallen_away(self) -> list[Due]:
        """What was owed and not met before, and is owed no longer."""
        left = {_name(due) for due in self._after if not due.clock.void}
        return [due for due in self.open_before if _name(due) not in left]

    @property
    def facts_less(self) -> bool:
        """Whether any fact is less than before, or no longer known."""
        one, other = self._facts
        pairs: list[tuple[Any, Any]] = [(one.either, other.either)]
        for then, now in ((one.amounts, other.amounts), (one.flags, other.flags), (one.counts, other.counts)):
            pairs += zip(then, now, strict=True)
        return any(_less(then, now) for then, now in pairs)

    @property
    def bettered(self) -> Iterator[str]:
        """In what the case looks better since."""
        if self._late(self._after) < self._late(self._before):
            yield "fewer_late_duties"
        if self.facts_less:
            yield "lesser_facts"
        if len(self.after.complaints) < len(self.before.complaints):
            yield "fewer_complaints"
        if len(self.after.inconsistencies) < len(self.before.inconsistencies):
            yield "fewer_inconsistencies"

    @cached_property
    def _before(self) -> list[Due]:
        return dues(self.before) if self.before.opening else []

    @cached_property
    def _after(self) -> list[Due]:
        return dues(self.after) if self.after.opening else []

    def _late(self, owed: Sequence[Due]) -> int:
        at = self.entry.recorded_at
        return sum(read(due.clock, at).state in ("overdue", "met_late") for due in owed)


def turns(own: Sequence[Entry], files: Files, policies: Policies, which: Which) -> Iterator[Turn]:
    """The turns of the case's assessments and corrections that are asked for: `which` takes the action and its root."""
    asked = [one for one in own[1:] if isinstance(one.action, Assessed | Corrected)]
    if not asked:
        return
    known = {one.action.action_id: one for one in own}
    first = _only_more(own)
    for entry in asked:
        if entry.version in first:
            continue
        said = entry.action
        root = known.get(said.root) if isinstance(said, Corrected) else None
        if which(entry, root):
            yield Turn(entry, root, _known(files, policies, entry, 0), _known(files, policies, entry, 1))


def _only_more(own: Sequence[Entry]) -> set[int]:
    """The assessments, by version, that only add to what was told before, as nearly all do: they need no folding."""
    found: set[int] = set()
    told: dict[str, Any] = {}
    for entry in own:
        said = entry.action
        facts = said.facts if isinstance(said, Assessed) else (said.opening.facts if said.opening else None) or {}
        if isinstance(said, Assessed) and all(_more(told.get(name), value) for name, value in facts.items()):
            found.add(entry.version)
        told.update(facts)
    return found


def _more(then: Any, now: Any) -> bool:
    """Whether an amount is not less than it was; of what is no plain amount nobody knows."""
    if then is None:
        return True
    one, other = (amount_of(value) if isinstance(value, str) else None for value in (then, now))
    return one is not None and other is not None and other >= one


def lowered(entry: Entry, root: Entry | None) -> bool:
    """Whether an action may have made facts less: any assessment, and corrections of what tells facts."""
    if isinstance(entry.action, Assessed):
        return True
    return root is not None and (root.action.name in ("assessed", "received") or root.action.opening is not None)


def _known(files: Files, policies: Policies, entry: Entry, more: int) -> State:
    """The case as known when the action was recorded, without it or with it."""
    until = entry.position + more
    then = {stream: [one for one in held if one.position < until] for stream, held in files.items()}
    docket = fold(then, policies=policies).docket
    return State(docket[entry.stream], docket)


def _name(due: Due) -> Name:
    return due.rule.duty, due.subject.cycle, due.subject.complaint_id


def _less(then: Any, now: Any) -> bool:
    return then is not None and (now is None or now < then)
