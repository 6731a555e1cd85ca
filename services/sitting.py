"""A case on the desk: it is judged, moved by what was just decided, and judged again, before anything is stored."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from services.case import Case
from services.docket import (
    Docket,
    Entry,
    Files,
    Folded,
    Policies,
    advanced,
    comes_last,
    complaint_after_closure,
    contradicted,
    fold,
    rule_of,
)
from services.events import Corrected, Noted
from services.permit import known, permit, too_early
from services.rules import Refusal, Rule, Unmet

# After these a case may stand open, or no longer.
_OPENS_OR_ENDS = frozenset({"closed", "reopened", "linked", "unlinked", "corrected"})


class Sitting:
    """One case (`subject`) being worked on, in its docket.

    With `files` anything may be judged; without, only what comes last.
    """

    def __init__(self, docket: Docket, subject: UUID, policies: Policies | None = None) -> None:
        self.subject = subject
        self._policies = policies
        self.docket = self._first = docket
        self.files: Files | None = None
        self._files: Files | None = None
        self._folded = Folded(docket, {})
        self._added: list[Entry] = []
        self._tried: tuple[Entry, Folded] | None = None

    def take(self, files: Files) -> None:
        """Work on with everything that was recorded, as it is now."""
        self._files = files
        self._folded = fold(files, policies=self._policies)
        self._first = self._folded.docket
        # What was decided here meanwhile is not among them.
        for entry in self._added:
            files = {**files, entry.stream: [*files.get(entry.stream, ()), entry]}
        self.files = files
        self._folded = fold(files, policies=self._policies) if self._added else self._folded
        self.docket = self._folded.docket

    @property
    def case(self) -> Case:
        """The case that is worked on, as it stands after what was decided here."""
        return self.docket[self.subject]

    @property
    def versions(self) -> dict[UUID, int]:
        """How far each stream was read."""
        return {case_id: case.version for case_id, case in self._first.items()}

    @property
    def has_decided(self) -> bool:
        """Whether anything was decided here that is not stored yet."""
        return bool(self._added)

    def needs_files(self, name: str, at: datetime) -> bool:
        """Whether judging an action of that type and fold instant takes everything that was recorded."""
        return self.files is None and not comes_last(self.docket, name, at)

    def judge(self, entry: Entry) -> None:
        """Raise `Refusal` or `Malformed` if the action may not be recorded.

        What comes last is judged on the case as it stands. A late action is judged on the case as it stood at its
        fold instant, and may not make a later recorded step illegal; a correction may, and says so as inconsistency.
        """
        if isinstance(entry.action, Noted) and entry.action.complaint:
            # A note may speak of a complaint that was obtained after it: it has to be known, whenever.
            known(self.docket[entry.stream], [entry.action.complaint], "/complaint")
        if comes_last(self.docket, entry.action.name, entry.at):
            permit(self.docket[entry.stream], entry.action, self.docket)
            return
        action = entry.action
        after = self._after(entry)
        self._tried = entry, after
        judged = action.root if isinstance(action, Corrected) else action.action_id
        if (fault := after.faults.get(judged)) and judged not in self._folded.faults:
            becomes = action.becomes.action if isinstance(action, Corrected) and action.becomes else action
            raise too_early(self.docket[entry.stream], becomes) or fault
        if isinstance(action, Corrected):
            permit(self.docket[entry.stream], action, self.docket)
        else:
            self._contradicts_nothing(after, entry)

    def add(self, entry: Entry) -> None:
        """The action was decided: go on from there."""
        self._folded = self._after(entry)
        self.docket = self._folded.docket
        self._added.append(entry)
        self._tried = None
        if self.files is not None:
            self.files = self._with(entry)

    def decided(self, case_id: UUID, version: int) -> Entry | None:
        """An action that was decided here and is not stored yet."""
        return next((one for one in self._added if (one.stream, one.version) == (case_id, version)), None)

    def stored(self, entries: Sequence[Entry]) -> tuple[Docket, bool]:
        """The docket once these are recorded, from what it was at first; and whether that is exact.

        A clock that ran ahead may give a fold instant that was not foreseen; without everything at hand the case is
        then shown as if it came last, and has to be read again.
        """
        docket = self._first
        for entry in entries:
            if docket[entry.stream].version == 0 or not comes_last(docket, entry.action.name, entry.at):
                return self._folded_with(entries) if self._files is not None else (docket, False)
            docket = advanced(docket, entry)
        return docket, True

    def _folded_with(self, entries: Sequence[Entry]) -> tuple[Docket, bool]:
        assert self._files is not None
        files = {stream: list(held) for stream, held in self._files.items()}
        for entry in entries:
            files.setdefault(entry.stream, []).append(entry)
        return fold(files, policies=self._policies).docket, True

    def opens_or_ends(self, entry: Entry) -> bool | None:
        """Whether the case stands open after the action, if that changes with it."""
        if entry.action.name not in _OPENS_OR_ENDS:
            return None
        stands = self._after(entry).docket[entry.stream].stands_open
        return stands if stands != self.docket[entry.stream].stands_open else None

    def _after(self, entry: Entry) -> Folded:
        if self._tried and self._tried[0] is entry:
            return self._tried[1]
        # What opens a case is folded: only so is it known whose case it is.
        if self.docket[entry.stream].version and comes_last(self.docket, entry.action.name, entry.at):
            return Folded(advanced(self.docket, entry), self._folded.faults)
        return fold(self._with(entry), policies=self._policies)

    def _with(self, entry: Entry) -> Files:
        assert self.files is not None
        return {**self.files, entry.stream: [*self.files.get(entry.stream, ()), entry]}

    def _contradicts_nothing(self, after: Folded, entry: Entry) -> None:
        assert self.files is not None
        if action_id := contradicted(self._folded, after, entry.action.action_id):
            broken = Unmet(rule_of(after.faults[action_id]), "possible", str(action_id))
            raise Refusal(Rule.CONTRADICTS_LATER_ACTION, [broken])
        if action_id := complaint_after_closure(self.files, entry):
            raise Refusal(Rule.CONTRADICTS_LATER_ACTION, [Unmet("received", "before closure", str(action_id))])
