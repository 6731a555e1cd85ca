"""What an auditor would look at twice: pure questions to the history of one case, each answered with its evidence.

Nothing here is a verdict: each finding names actions by their positions in the ledger, and the figure it was held
against. The figures are the house's own; none stands in the regulation.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, get_args
from uuid import UUID

from projections.duty_view import Due
from projections.turns import Turn, lowered, turns
from services.case import Case, Complaint, Cycle
from services.docket import Docket, Entry, Files, Policies
from services.events import Closed, PlanApproved, Responded
from services.rules import Malformed, Refusal, Rule

Kind = Literal[
    "late_proof",
    "facts_lowered",
    "closed_and_reopened",
    "corrected_for_others",
    "one_hand",
    "claimed_before_recorded",
    "closed_in_hindsight",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
# The signs of a finding; those of a closing are the criteria that are not met (3.2).
REASONS = (
    *("recorded_shortly_after", "redated", "no_longer_key", "duty_fell_away", "shortly_before_due"),
    *("reopened_at_once", "reopened_again"),
    *("fewer_late_duties", "lesser_facts", "fewer_complaints", "fewer_inconsistencies"),
)

# A proof that arrives so soon after the time is over, dated before its end, clears what everybody saw overdue.
SHORTLY_AFTER = timedelta(hours=1)
# Facts that become less so soon before what rests on them falls due.
SHORTLY_BEFORE = timedelta(hours=24)
# A complaint taken back so soon before its answer falls due, or later.
TAKEN_BACK_BEFORE = timedelta(minutes=30)
# A case that begins again so soon after it was closed was perhaps never over.
REOPENED_WITHIN = timedelta(hours=24)
# And one that was reopened so often.
REOPENED_TIMES = 2


class History(NamedTuple):
    """One case at (T, K): `now` is T; `files` hold what was recorded by K of it and of those merged with it."""

    case: Case
    docket: Docket
    files: Files
    faults: Mapping[UUID, Refusal | Malformed]
    owed: Sequence[Due]
    policies: Policies
    now: datetime

    @property
    def own(self) -> Sequence[Entry]:
        """The case's own actions, as recorded."""
        return self.files[self.case.case_id]

    def recorded(self, action_id: UUID | None) -> Entry | None:
        """Where an action stands in the ledger."""
        return next((e for held in self.files.values() for e in held if e.action.action_id == action_id), None)

    def as_corrected(self, action_id: UUID) -> list[Entry]:
        """An action, and the correction that says how it stands now."""
        word = next((case.corrected[action_id] for case in self.docket.values() if action_id in case.corrected), None)
        return [one for one in (self.recorded(action_id), self.recorded(word) if word else None) if one]


class Finding(NamedTuple):
    """`dated_at`: when it is said to have happened; `recorded_at`: when that was recorded.

    `threshold`: the house's figure; `reasons`: of several signs those that were seen.
    """

    kind: Kind
    clause: str | None
    evidence: tuple[Entry, ...]
    dated_at: datetime | None = None
    recorded_at: datetime | None = None
    due_at: datetime | None = None
    duty: str | None = None
    complaint_id: UUID | None = None
    threshold: timedelta | None = None
    reasons: tuple[str, ...] = ()


def findings(history: History) -> list[Finding]:
    """All that is found about a case."""
    return [found for seek in _SOUGHT for found in seek(history)]


def _late_proof(history: History) -> Iterator[Finding]:
    """In time by its date, but recorded only after everybody saw it overdue: soon after, or as a change of a date."""
    for due in history.owed:
        clock, proof, due_at = due.clock, due.clock.proof, due.clock.due_at
        if proof is None or due_at is None or proof.known_at <= due_at or clock.void or proof.met_at > due_at:
            continue
        if clock.known_at > due_at or due.subject.met_by is None:
            # Told when its time was over already, as after an outage: nobody saw it overdue.
            continue
        evidence = history.as_corrected(due.subject.met_by)
        redated = bool(evidence) and len(evidence) > 1 and evidence[0].action.occurred_at > due_at
        if redated or (proof.known_at - due_at <= SHORTLY_AFTER and not _was_in_time(evidence, due_at)):
            yield Finding(
                "late_proof",
                due.rule.clause,
                tuple(evidence),
                proof.met_at,
                proof.known_at,
                due_at,
                due.rule.duty,
                due.subject.complaint_id,
                SHORTLY_AFTER,
                ("redated",) if redated else ("recorded_shortly_after",),
            )


def _was_in_time(evidence: Sequence[Entry], due_at: datetime) -> bool:
    """A correction may only say once more what was recorded in time."""
    return len(evidence) > 1 and evidence[0].recorded_at <= due_at and evidence[0].action.occurred_at <= due_at


def _facts_lowered(history: History) -> Iterator[Finding]:
    """Facts became less, so that something was no longer owed, or the case no longer key, or soon before a duty fell
    due that rests on them; a complaint was taken back when its time was nearly over."""
    for turn in turns(
        history.own, history.files, history.policies, lambda e, root: e.at <= history.now and lowered(e, root)
    ):
        reasons = tuple(_lowering(turn))
        if reasons:
            yield Finding(
                "facts_lowered",
                "7",
                (turn.entry,),
                turn.entry.at,
                turn.entry.recorded_at,
                min((d.clock.due_at for d in turn.open_before if d.clock.due_at), default=None),
                threshold=SHORTLY_BEFORE,
                reasons=reasons,
            )


def _lowering(turn: Turn) -> Iterator[str]:
    at = turn.entry.recorded_at
    if turn.before.grading and turn.before.grading.key and not (turn.after.grading and turn.after.grading.key):
        yield "no_longer_key"
    for due in turn.fallen_away:
        due_at = due.clock.due_at
        if due.rule.starts != "complaint_obtained" or due_at is None or at >= due_at - TAKEN_BACK_BEFORE:
            yield "duty_fell_away"
            break
    resting = [due for due in turn.open_before if due.rule.starts == "key_mass_complaint"]
    if turn.facts_less and any(d.clock.due_at and at <= d.clock.due_at <= at + SHORTLY_BEFORE for d in resting):
        yield "shortly_before_due"


def _closed_and_reopened(history: History) -> Iterator[Finding]:
    """Closed, and begun again at once, or again and again."""
    ended = [(one.closure, one.reopened) for one in history.case.cycles if one.closure and one.reopened]
    reasons = []
    if any(begun.at - over.at <= REOPENED_WITHIN for over, begun in ended):
        reasons.append("reopened_at_once")
    if len(ended) >= REOPENED_TIMES:
        reasons.append("reopened_again")
    if reasons:
        evidence = [history.recorded(held.action.action_id) for pair in ended for held in pair]
        over, begun = ended[-1]
        yield Finding(
            "closed_and_reopened",
            "3.2",
            tuple(one for one in evidence if one),
            over.at,
            begun.known_at,
            threshold=REOPENED_WITHIN,
            reasons=tuple(reasons),
        )


def _corrected_for_others(history: History) -> Iterator[Finding]:
    """Somebody corrected what another had recorded, and the case looks better since."""
    for turn in turns(history.own, history.files, history.policies, _by_another):
        if reasons := tuple(turn.bettered):
            evidence = (turn.root, turn.entry) if turn.root else (turn.entry,)
            yield Finding(
                "corrected_for_others",
                None,
                evidence,
                turn.root.at if turn.root else None,
                turn.entry.recorded_at,
                reasons=reasons,
            )


def _by_another(entry: Entry, root: Entry | None) -> bool:
    return root is not None and not _persons(entry) & _persons(root)


def _one_hand(history: History) -> Iterator[Finding]:
    """One person proposed the plan, approved it and closed the case."""
    for cycle in (*history.case.cycles, history.case.cycle):
        steps = _steps_to_closure(history, cycle)
        if steps and frozenset.intersection(*map(_persons, steps)):
            closed = steps[-1]
            yield Finding("one_hand", "3.2", tuple(steps), closed.at, closed.recorded_at)


def _steps_to_closure(history: History, cycle: Cycle) -> list[Entry]:
    """Proposal, approval and closing as recorded; nothing unless there are all three."""
    if cycle.closure is None or cycle.approved is None:
        return []
    asked = (cycle.approved.action.plan, cycle.approved.action.action_id, cycle.closure.action.action_id)
    found = [one for action_id in asked if (one := history.recorded(action_id))]
    return found if len(found) == len(asked) else []


def _persons(entry: Entry) -> frozenset[tuple[str, str]]:
    """Who stands behind an action: the person at the desk, else whose token it was; who approved. Only compared."""
    said = entry.action
    found = {("id", said.operator.id), ("name", said.operator.name)} if said.operator else {("sub", entry.actor)}
    if isinstance(said, PlanApproved):
        found.add(("name", said.approver.name))
    return frozenset(found)


def _claimed_before_recorded(history: History) -> Iterator[Finding]:
    """A complaint was recorded when its time was over, and a response that was recorded before it claims it."""
    claims = [one.position for one in history.own if isinstance(one.action, Responded) and not one.action.complaints]
    if not claims:
        return
    dues = {due.subject.complaint_id: due for due in history.owed if due.rule.met_by == "responded"}
    for one in history.case.complaints.values():
        due = dues.get(one.complaint_id)
        if due is None or one.position < claims[0] or not _is_claimed(one, due):
            continue
        answer = history.recorded(one.responded_by)
        receipt = next((e for e in history.files[one.owner] if e.position == one.position), None)
        if answer and receipt and answer.position < receipt.position:
            yield Finding(
                "claimed_before_recorded",
                due.rule.clause,
                (answer, receipt),
                one.responded_at,
                one.recorded_at,
                due.clock.due_at,
                due.rule.duty,
                one.complaint_id,
            )


def _is_claimed(one: Complaint, due: Due) -> bool:
    """Answered in time by its date, and told only when its time was over."""
    due_at = due.clock.due_at
    return due_at is not None and one.responded_at is not None and one.responded_at <= due_at < one.recorded_at


def _closed_in_hindsight(history: History) -> Iterator[Finding]:
    """By what is known now the case could not have been closed."""
    for wrong in history.case.inconsistencies:
        if wrong.rule != Rule.CLOSURE_CRITERIA_NOT_MET.code:
            continue
        closed = history.recorded(wrong.action_id)
        if closed is None or not isinstance(closed.action, Closed):
            continue
        fault = history.faults.get(wrong.action_id)
        unmet = tuple(one.criterion for one in fault.unmet) if isinstance(fault, Refusal) else ()
        clause = Rule.CLOSURE_CRITERIA_NOT_MET.clause
        yield Finding("closed_in_hindsight", clause, (closed,), closed.at, closed.recorded_at, reasons=unmet)


_SOUGHT: tuple[Callable[[History], Iterator[Finding]], ...] = (
    _late_proof,
    _facts_lowered,
    _closed_and_reopened,
    _corrected_for_others,
    _one_hand,
    _claimed_before_recorded,
    _closed_in_hindsight,
)
