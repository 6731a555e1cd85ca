"""审计回放. What the ledger alone says of the cases of a period: their state, grade and duties, and what is late.

Pure; with no personal data, no free text, and no view ever asked.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, get_args
from uuid import UUID

import msgspec

from grading_engine.duties import Owed, read
from grading_engine.grades import UNGRADED
from grading_engine.policy import Policy
from projections.duty_view import Due
from projections.findings import Finding, History, findings
from projections.rows import owing
from services.case import Case
from services.docket import Entry, Files, Folded, Policies, fold

Basis = Literal["opened", "due", "recorded"]
BASES: tuple[Basis, ...] = get_args(Basis)
LATE = frozenset({"overdue", "met_late"})


class Question(msgspec.Struct, frozen=True):
    """What is replayed: cases of a region or project (None: all), by the instant at which `basis` says they count.

    State(`as_of`, `known_at`); `policy`: a document that judges instead of those that were in force.
    """

    as_of: datetime
    known_at: datetime
    region: str | None = None
    project: str | None = None
    begin: datetime | None = None
    end: datetime | None = None
    basis: Basis = "opened"
    policy: dict[str, Any] | None = None

    def shown(self) -> dict[str, Any]:
        """As it is answered; of a document its number and version."""
        judged_by = {"number": self.policy["number"], "version": self.policy["version"]} if self.policy else None
        return {
            "region": self.region,
            "project": self.project,
            "from": self.begin,
            "to": self.end,
            "basis": self.basis,
            "as_of": self.as_of,
            "known_at": self.known_at,
            "policy": judged_by,
        }

    def judging(self, published: Policies) -> Policies:
        """The documents that judge."""
        return (Policy.model_validate(self.policy),) if self.policy else published

    def concerns(self, files: Files) -> bool:
        """Whether any case of the docket may be asked for."""
        if self.region is None:
            return True
        return any(entry.region == self.region for entries in files.values() for entry in entries)

    def holds(self, case: Case, owed: Sequence[Due], entries: Sequence[Entry]) -> bool:
        """Whether the case belongs to what is asked."""
        if (self.region and case.region != self.region) or (self.project and case.opened.project != self.project):
            return False
        if self.begin is None and self.end is None:
            return True
        if self.basis == "opened":
            return case.opened_at is not None and self.within(case.opened_at)
        if self.basis == "due":
            return any(due.clock.due_at and not due.clock.void and self.within(due.clock.due_at) for due in owed)
        return any(self.within(entry.recorded_at) for entry in entries)

    def counts(self, stands: Owed) -> bool:
        """Whether a breach is told: of what fell due in a period, not what the same cases owed at other times."""
        return self.basis != "due" or (stands.due_at is not None and self.within(stands.due_at))

    def within(self, instant: datetime) -> bool:
        """Whether an instant lies in the half-open period."""
        return (self.begin is None or self.begin <= instant) and (self.end is None or instant < self.end)


class Stood(NamedTuple):
    """A docket at (T, K), and its actions recorded by K."""

    folded: Folded
    files: Files


class Told(NamedTuple):
    """One case as it is answered."""

    case: dict[str, Any]
    breaches: list[dict[str, Any]]
    findings: list[dict[str, Any]]


def stood(files: Files, question: Question, policies: Policies) -> Stood:
    """The docket as it stood."""
    known = {stream: [e for e in held if e.recorded_at <= question.known_at] for stream, held in files.items()}
    return Stood(fold(known, question.as_of, policies=policies), known)


def has_begun(case: Case, as_of: datetime) -> bool:
    """Whether anything of the case had happened by then, as far as is known."""
    return bool(case.version and case.opening and (case.frontier or (case.opened_at and case.opened_at <= as_of)))


def told(case_id: UUID, then: Stood, question: Question, policies: Policies) -> Told | None:
    """The case, if it is asked for."""
    case = then.folded.docket[case_id]
    if not has_begun(case, question.as_of):
        return None
    owed = list(owing(case, question.as_of))
    if not question.holds(case, owed, then.files[case_id]):
        return None
    reads = [(due, read(due.clock, question.as_of)) for due in owed]
    late = [one for one in reads if one[1].state in LATE]
    history = History(case, then.folded.docket, then.files, then.folded.faults, owed, policies, question.as_of)
    return Told(
        _case(case, reads, bool(late)),
        [_breach(case, due, stands) for due, stands in late if question.counts(stands)],
        [_finding(case, one) for one in findings(history)],
    )


def _case(case: Case, reads: Sequence[tuple[Due, Owed]], breached: bool) -> dict[str, Any]:
    grading = case.grading
    return {
        **_whose(case),
        "category": case.opened.category,
        "opened_at": case.opened_at,
        "stage": case.stage,
        "status": case.status,
        "grade": grading.code if grading else UNGRADED,
        "criteria": grading.criteria if grading else (),
        "policy_version": case.judged_by.version,
        "household_count": len(case.households),
        "complaint_count": len(case.complaints),
        "breached": breached,
        "duties": [_duty(due, stands) for due, stands in reads],
    }


def _whose(case: Case) -> dict[str, Any]:
    return {
        "case_id": case.case_id,
        "case_no": case.case_no,
        "region": case.region,
        "project": case.opened.project,
    }


def _duty(due: Due, stands: Owed) -> dict[str, Any]:
    return {
        "duty": due.rule.duty,
        "cycle": due.subject.cycle,
        "complaint_id": due.subject.complaint_id,
        "started_at": stands.started_at,
        "due_at": stands.due_at,
        "met_at": stands.met_at,
        "state": stands.state,
        "was_overdue": stands.was_overdue,
    }


def _breach(case: Case, due: Due, stands: Owed) -> dict[str, Any]:
    return {
        **_whose(case),
        **_duty(due, stands),
        "overdue_seconds": stands.overdue_seconds,
        "clause": due.rule.clause,
        "owed_by": due.unit or due.office,
    }


def _finding(case: Case, one: Finding) -> dict[str, Any]:
    return {
        **_whose(case),
        "kind": one.kind,
        "clause": one.clause,
        "positions": [entry.position for entry in one.evidence],
        "actions": [entry.action.action_id for entry in one.evidence],
        "dated_at": one.dated_at,
        "recorded_at": one.recorded_at,
        "due_at": one.due_at,
        "duty": one.duty,
        "complaint_id": one.complaint_id,
        "threshold_seconds": int(one.threshold.total_seconds()) if one.threshold else None,
        "reasons": one.reasons,
    }
