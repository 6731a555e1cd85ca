"""What is owed about a case at an instant, by whom, until when, met when: every duty of its policy, per cycle."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from grading_engine.duties import Clock, Owed, Proof, clock, due, read
from grading_engine.policy import Duty
from services.case import Case, Complaint, Kept
from services.directory import Entry, in_force
from services.events import RegionDescribed
from services.vault import staff

EVER = datetime.max.replace(tzinfo=UTC)

Regions = Mapping[str, tuple[Entry[RegionDescribed], ...]]


class Subject(NamedTuple):
    """What a duty is about: when it started, when we knew, what met it, and the complaint if it is about one."""

    cycle: int
    started_at: datetime
    known_at: datetime
    proof: Proof | None
    met_by: UUID | None = None
    complaint_id: UUID | None = None
    household: str | None = None
    unit: str | None = None
    void: bool = False
    mechanism_started_at: datetime | None = None


class Due(NamedTuple):
    """One duty of a case: its rule, its clock, and what is told of it whatever the time is."""

    rule: Duty
    subject: Subject
    clock: Clock
    office: str

    @property
    def unit(self) -> str | None:
        """Who owes it, where the case itself says so."""
        return self.subject.unit if self.office == "obtaining_unit" else None


def duties(case: Case, regions: Regions, now: datetime, known: datetime | None = None) -> list[dict[str, Any]]:
    """Every duty as it stands at `now`; who holds an office is told by the directory as known by `known`."""
    return [
        {
            **told(case, one),
            **stands(one.clock, now),
            "owed_by": one.unit
            if one.office == "obtaining_unit"
            else holder(case.region, one.office, regions, now, known),
        }
        for one in dues(case, now)
    ]


def dues(case: Case, now: datetime = EVER) -> list[Due]:
    """Every duty of the policy that judges the case, with its clock; of what is said to come after `now` nothing."""
    category = case.opened.category
    return [
        Due(
            rule,
            subject,
            clock(rule, *subject[1:4], subject.void or case.void),
            rule.owed.in_category.get(category, rule.owed.by),
        )
        for rule in case.judged_by.duties
        for subject in _subjects(case, rule, now)
    ]


def stands(clock: Clock, now: datetime) -> dict[str, Any]:
    """What depends on the time at which one looks."""
    owed: Owed = read(clock, now)
    return {"state": owed.state, "overdue_seconds": owed.overdue_seconds, "was_overdue": owed.was_overdue}


def _subjects(case: Case, rule: Duty, now: datetime) -> Iterator[Subject]:
    match rule.starts:
        case "complaint_obtained":
            yield from _complaints(case, rule)
            yield from _voided(case, now)
        case "key_mass_complaint":
            yield from _emergency(case, now)
        case "closure":
            yield from _closures(case, rule)


def _complaints(case: Case, rule: Duty) -> Iterator[Subject]:
    """One a complaint, in the order in which they were recorded."""
    closures = [held for held in (*(c.closure for c in case.cycles), case.cycle.closure) if held]
    for one in sorted(case.complaints.values(), key=lambda one: one.position):
        proof, met_by = None, None
        if rule.met_by == "responded" and one.responded_at:
            proof, met_by = Proof(one.responded_at, _cleared_at(rule, one)), one.responded_by
        elif rule.met_by == "closed":
            ending = next((held for held in closures if held.at >= one.obtained_at), None)
            if ending:
                proof, met_by = Proof(ending.at, ending.known_at), ending.action.action_id
        complaint = (one.complaint_id, one.household, one.obtained_by)
        cycle = _cycle_at(case, one.obtained_at)
        yield Subject(cycle, one.obtained_at, one.recorded_at, proof, met_by, *complaint)


def _cleared_at(rule: Duty, one: Complaint) -> datetime:
    """Since when it is known that the complaint was answered: in time, if it was."""
    due_at = due(rule, one.obtained_at)
    in_time = [told.known_at for told in one.contacts if due_at is None or told.at <= due_at]
    return min(in_time or [told.known_at for told in one.contacts])


def _voided(case: Case, now: datetime) -> Iterator[Subject]:
    """What was taken back is void from the instant at which it was said to have happened."""
    for gone in case.voided:
        if min(gone.obtained_at, gone.recorded_at) <= now:
            complaint = (gone.complaint_id, gone.household, gone.obtained_by)
            cycle = _cycle_at(case, gone.obtained_at)
            yield Subject(cycle, gone.obtained_at, gone.recorded_at, None, None, *complaint, void=True)


def _cycle_at(case: Case, instant: datetime) -> int:
    """A reopening starts the next cycle at its very instant."""
    return 1 + sum(1 for ended in case.cycles if ended.reopened and ended.reopened.at <= instant)


def _emergency(case: Case, now: datetime) -> Iterator[Subject]:
    """上报 (4.4): from becoming a key mass complaint to the earliest report; the mechanism's start shows the gap.

    A team may have started before it was reported: until then the report is owed.
    """
    if case.key_mass is None:
        return
    reported = [held for held in case.emergencies if min(held.action.reported_at, held.known_at) <= now]
    first = min(reported, key=lambda held: held.action.reported_at, default=None)
    proof = Proof(first.action.reported_at, first.known_at) if first else None
    started = min((held.at for held in case.emergencies), default=None)
    met_by = first.action.action_id if first else None
    at, known_at, _ = case.key_mass
    yield Subject(_cycle_at(case, at), at, known_at, proof, met_by, mechanism_started_at=started)


def _closures(case: Case, rule: Duty) -> Iterator[Subject]:
    if case.stage != "complaint" and not case.complaints:
        # A risk or warning that never became a complaint has nobody to answer for.
        return
    for cycle in (*case.cycles, case.cycle):
        if cycle.closure is None:
            continue
        met = cycle.blame if rule.met_by == "blamed" else _lesson(case)
        proof = Proof(met.at, met.known_at) if met else None
        met_by = met.action.action_id if met else None
        yield Subject(cycle.number, cycle.closure.at, cycle.closure.known_at, proof, met_by)
        if rule.met_by == "lesson_recorded":
            # One per case (4.6: interpretation).
            return


def _lesson(case: Case) -> Kept[Any] | None:
    return min((lesson.recorded for lesson in case.lessons.values()), key=lambda held: held.at, default=None)


def told(case: Case, one: Due) -> dict[str, Any]:
    """What is told of a duty whatever the time is, and whoever holds the office."""
    rule, subject, clock, office = one
    key = case.grading is not None and case.grading.key
    supervisor = rule.supervised_by.get("key") if key else None
    shown = {
        "duty": rule.duty,
        "cycle": subject.cycle,
        "case_id": case.case_id,
        "complaint_id": subject.complaint_id,
        "household": subject.household,
        "started_at": clock.started_at,
        "due_at": clock.due_at,
        "met_at": clock.proof.met_at if clock.proof else None,
        "met_by": subject.met_by,
        "clause": rule.clause,
        "owed_by_office": office,
        "supervised_by": supervisor or rule.supervised_by.get("all"),
    }
    if rule.starts == "key_mass_complaint":
        shown["mechanism_started_at"] = subject.mechanism_started_at
    return shown


def holder(region: str, office: str, regions: Regions, now: datetime, known: datetime | None = None) -> Any:
    """Who holds the office at the instant, by name; the office itself while nobody is named."""
    if office != "regional_customer_relations_executive":
        return region if office == "region" else office
    entries = regions.get(region, ())
    if known:
        entries = tuple(entry for entry in entries if entry.recorded_at <= known)
    held = in_force(entries, now).fact.customer_relations_executive if entries else None
    return staff(held.name) if held else office
