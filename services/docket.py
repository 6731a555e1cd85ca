"""State(T, K): cases at an instant T, as known at K; and how one more recorded action moves them.

A docket holds one case, or all cases that were ever merged with one another. What was recorded by K is taken, the
corrections among it are applied, and the rest is folded in the order of fold instants up to T. An action's fold
instant is its `occurred_at`, never later than its `recorded_at`, so the order in which facts arrive never matters.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
from msgspec.structs import replace

from grading_engine.policy import Policy, in_force, shipped
from services.case import Case, Complaint, Inconsistency, Place, Reply, Voided
from services.events import RANK, Action, Closed, Corrected, Linked, Received, Reopened, Responded, Unlinked
from services.fold import Step, evolve
from services.grading import graded
from services.permit import permit
from services.rules import Malformed, Refusal

Docket = Mapping[UUID, Case]


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One recorded action: what a case's stream holds, decoded."""

    stream: UUID
    version: int
    position: int
    recorded_at: datetime
    region: str
    actor: str
    action: Action

    @property
    def at(self) -> datetime:
        """The fold instant of the action as recorded."""
        return min(self.action.occurred_at, self.recorded_at)

    @property
    def step(self) -> Step:
        """The action as recorded, in its place."""
        place = Place(self.stream, self.version)
        return Step(self.action, place, self.at, self.recorded_at, self.version, self.position, self.recorded_at)


Files = Mapping[UUID, Sequence[Entry]]
Policies = tuple[Policy, ...]

# What can move the facts that a case is graded by.
_MOVES_FACTS = frozenset({"received", "assessed", "linked", "unlinked"})
_FOLDED_ANEW = frozenset({"corrected", "linked", "unlinked"})


class Folded(NamedTuple):
    """The cases, and for each action that later truth undermines the rule with its figures."""

    docket: Docket
    faults: Mapping[UUID, Refusal | Malformed]


def fold(
    files: Files,
    until: datetime | None = None,
    known: datetime | None = None,
    policies: Policies | None = None,
    seen: Callable[[Step, Docket], None] | None = None,
) -> Folded:
    """State(until, known) of all the cases; without them: now. A case of which nothing is known yet has version 0.

    Each is judged by the one of the `policies` (without them: the shipped one) in force when it was opened. `seen` is
    told each step with the cases as they stand after it.
    """
    policies = policies or (shipped(),)
    if known is not None:
        files = {stream: [e for e in entries if e.recorded_at <= known] for stream, entries in files.items()}
    counting = {stream: corrections(entries) for stream, entries in files.items()}
    cases = {stream: _begun(stream, entries, counting[stream], policies) for stream, entries in files.items()}
    faults: dict[UUID, Refusal | Malformed] = {}
    steps = [step for stream, entries in files.items() for step in _steps(entries, counting[stream])]
    for step in sorted(steps, key=lambda step: step.key):
        if until is None or step.at <= until:
            _advance(cases, step, faults)
            if seen:
                seen(step, cases)
    return Folded(cases, faults)


def comes_last(docket: Docket, name: str, at: datetime) -> bool:
    """Whether an action of that type and fold instant follows all that is folded, so that it can be folded next.

    A correction moves what lies before, and a merger moves two cases: for them everything is folded anew.
    """
    if name in _FOLDED_ANEW:
        return False
    key = (at, RANK[name])
    return all(case.frontier is None or case.frontier[:2] <= key for case in docket.values())


def advanced(docket: Docket, entry: Entry) -> Docket:
    """The docket after one more action that is on time."""
    case = docket[entry.stream]
    cases = dict(docket)
    cases[entry.stream] = replace(case, version=entry.version, position=entry.position, updated_at=entry.recorded_at)
    _advance(cases, entry.step, {})
    return cases


def opened(entry: Entry, policies: Policies | None = None) -> Docket:
    """The docket of a case that this very action opens."""
    return fold({entry.stream: [entry]}, policies=policies).docket


def contradicted(before: Folded, after: Folded, action_id: UUID) -> UUID | None:
    """The first recorded step that a late action would make illegal, if there is one."""
    broken = (step for step in after.faults if step != action_id and step not in before.faults)
    return next(broken, None)


def complaint_after_closure(files: Files, entry: Entry) -> UUID | None:
    """A complaint recorded as one of the open case that a late closing would turn into one since closure."""
    if not isinstance(entry.action, Closed):
        return None
    entries = files[entry.stream]
    for step in sorted(_steps(entries, corrections(entries)), key=lambda step: step.key):
        if step.key > entry.step.key:
            if isinstance(step.action, Reopened):
                return None
            if isinstance(step.action, Received):
                return step.action.action_id
    return None


# Corrections ------------------------------------------------------------------------------------------------------


def corrections(entries: Sequence[Entry]) -> Mapping[UUID, Entry]:
    """Of each corrected action the correction that counts: the last one that was not itself retracted."""
    counting: dict[UUID, Entry] = {}
    for entry in reversed(entries):
        correction = entry.action
        if isinstance(correction, Corrected) and not _is_retracted(counting, correction.action_id):
            counting.setdefault(correction.action, entry)
    return counting


def _is_retracted(counting: Mapping[UUID, Entry], action_id: UUID) -> bool:
    """A correction is retracted when the last word on it says so, and not what the root should become."""
    last = counting.get(action_id)
    return last is not None and isinstance(last.action, Corrected) and last.action.retract


def standing(entry: Entry, counting: Mapping[UUID, Entry]) -> Step | None:
    """An action as it stands after corrections, in its place; None: retracted."""
    last = _last_word(entry.action.action_id, counting)
    if last is None:
        return entry.step
    correction = last.action
    assert isinstance(correction, Corrected)
    if correction.becomes is None:
        return None
    action = correction.becomes.action
    place = Place(last.stream, last.version, f"becomes.{action.name}.")
    at = min(action.occurred_at, entry.recorded_at)
    known_at = entry.recorded_at if _is_same_contact(action, entry.action) else last.recorded_at
    return Step(action, place, at, known_at, entry.version, entry.position, entry.recorded_at)


def _is_same_contact(said: Action, before: Action) -> bool:
    """A correction that leaves alone whom a response reached, and when, says nothing new about a clock (4.3)."""
    if not isinstance(said, Responded) or not isinstance(before, Responded):
        return False
    one, other = ((it.occurred_at, it.everyone, set(it.complaints), set(it.households)) for it in (said, before))
    return one == other


def _last_word(action_id: UUID, counting: Mapping[UUID, Entry]) -> Entry | None:
    """The correction that says what an action becomes: that of its correction, if there is one, and so on."""
    word = counting.get(action_id)
    while word is not None and (further := counting.get(word.action.action_id)):
        word = further
    return word


def _steps(entries: Sequence[Entry], counting: Mapping[UUID, Entry]) -> Iterable[Step]:
    """The actions of a stream as they stand."""
    if not counting:
        return [entry.step for entry in entries]
    stand = [standing(entry, counting) for entry in entries if not isinstance(entry.action, Corrected)]
    return [step for step in stand if step]


def _begun(stream: UUID, entries: Sequence[Entry], counting: Mapping[UUID, Entry], policies: Policies) -> Case:
    """The case before anything is folded: what its opening says of it, and how far its stream is known."""
    if not entries:
        return Case(stream)
    first, last = entries[0], entries[-1]
    opening = standing(first, counting)
    step = opening or first.step
    policy, in_time = in_force(policies, step.at)
    return Case(
        stream,
        version=last.version,
        position=last.position,
        case_no=first.action.case_no or "",
        region=first.region,
        updated_at=last.recorded_at,
        opening=step.action.opening,
        opened_by=first.action.action_id,
        opened_in=step.place,
        opened_at=step.at,
        policy=policy,
        judged_by_first=not in_time,
        void=opening is None,
        voided=tuple(_voided(entries, counting)) if counting else (),
        corrected={action_id: word.action.action_id for action_id, word in counting.items()},
        last={e.action.name: (e.version, e.action.occurred_at) for e in entries if isinstance(e.action, Corrected)},
    )


def _voided(entries: Iterable[Entry], counting: Mapping[UUID, Entry]) -> Iterator[Voided]:
    for entry in entries:
        said = entry.action
        if isinstance(said, Received) and standing(entry, counting) is None:
            yield Voided(said.complaint_id, said.household, said.occurred_at, said.obtained_by, entry.recorded_at)


# Folding ----------------------------------------------------------------------------------------------------------


def _advance(cases: dict[UUID, Case], step: Step, faults: dict[UUID, Refusal | Malformed]) -> None:
    """Fold one action into its case, and into those that are merged with it."""
    case = cases[step.stream]
    if step.action.opening is None:
        try:
            permit(case, step.action, cases)
        except (Refusal, Malformed) as fault:
            faults[step.action.action_id] = fault
            wrong = Inconsistency(step.action.action_id, rule_of(fault))
            case = replace(case, inconsistencies=(*case.inconsistencies, wrong))
    cases[step.stream] = evolve(case, step)
    match step.action:
        case Linked(kind="merged_into"):
            _merge(cases, step)
        case Unlinked(kind="merged_into"):
            _part(cases, step)
        case _:
            _share(cases, step.stream)
    if step.action.name in _MOVES_FACTS or step.action.opening is not None:
        _grade(cases, step)


def _grade(cases: dict[UUID, Case], step: Step) -> None:
    """Judge anew the case whose facts moved, and the one that it is merged into or was parted from."""
    case = cases[step.stream]
    cases[step.stream] = graded(case, cases, step)
    other = case.merged.action.case if case.merged else None
    if isinstance(step.action, Linked | Unlinked):
        other = step.action.case if step.action.kind == "merged_into" else None
    if other and (target := cases.get(other)) and target.version:
        cases[other] = graded(target, cases, step)


def rule_of(fault: Refusal | Malformed) -> str:
    """The code of the rule that was broken."""
    return fault.rule.code if isinstance(fault, Refusal) else fault.code


def _merge(cases: dict[UUID, Case], step: Step) -> None:
    """From now on the target decides for both: it counts the source's complaints, households and answers as its own.

    A merger that later truth turned into a link of a chain is inconsistent, and moves nothing.
    """
    source, target = cases[step.stream], cases.get(step.action.case)  # type: ignore[union-attr]
    if target is None or target.case_id == source.case_id:
        return
    if source.merged or source.members or target.merged:
        return
    cases[source.case_id] = replace(source, merged=step.kept)
    joined = {**target.complaints, **source.complaints}
    replies: Mapping[UUID, Mapping[str, Reply]] = {**target.replies_of, source.case_id: source.cycle.replies}
    members = (*target.members, source.case_id)
    cases[target.case_id] = replace(_counting(target, joined), members=members, replies_of=replies)


def _part(cases: dict[UUID, Case], step: Step) -> None:
    """Undo a merger: each has its own complaints again, with what was meanwhile done about them."""
    source, target = cases[step.stream], cases.get(step.action.case)  # type: ignore[union-attr]
    if target is None or source.merged is None or source.merged.action.case != target.case_id:
        return
    cases[source.case_id] = replace(source, merged=None)
    kept = {key: one for key, one in target.complaints.items() if one.owner != source.case_id}
    replies = {member: said for member, said in target.replies_of.items() if member != source.case_id}
    members = tuple(member for member in target.members if member != source.case_id)
    cases[target.case_id] = replace(_counting(target, kept), members=members, replies_of=replies)


def _share(cases: dict[UUID, Case], stream: UUID) -> None:
    """What was just done about a complaint is known to both the target and the case that received it."""
    case = cases[stream]
    if not case.merged and not case.members:
        return
    if case.merged and (target := cases.get(case.merged.action.case)):
        cases[target.case_id] = _counting(target, {**target.complaints, **case.complaints})
    for member in case.members:
        own = {key: one for key, one in case.complaints.items() if one.owner == member}
        cases[member] = _counting(cases[member], own)


def _counting(case: Case, complaints: Mapping[UUID, Complaint]) -> Case:
    """The case with these complaints, and what is counted of them."""
    households: dict[str, int] = {}
    for one in complaints.values():
        if one.household_key:
            households[one.household_key] = households.get(one.household_key, 0) + 1
    return replace(
        case,
        complaints=complaints,
        households=households,
        unanswered=frozenset(key for key, one in complaints.items() if one.responded_at is None),
        first_obtained=min((one.obtained_at for one in complaints.values()), default=None),
        latest_contact=max((one.responded_at for one in complaints.values() if one.responded_at), default=None),
        latest_proof=max((told.known_at for one in complaints.values() for told in one.contacts), default=None),
    )


def linked_streams(entries: Iterable[Entry]) -> set[UUID]:
    """The cases that the stream was ever merged with, whichever way."""
    return {
        entry.action.case
        for entry in entries
        if isinstance(entry.action, Linked) and entry.action.kind in ("merged_into", "merged_from")
    }


def groups(files: Files) -> list[Files]:
    """The cases, those that were ever merged with one another together."""
    left = dict(files)
    found: list[Files] = []
    while left:
        stream = next(iter(left))
        group: dict[UUID, Sequence[Entry]] = {}
        wanted = {stream}
        while wanted:
            for one in wanted:
                group[one] = left.pop(one, ())
            wanted = {linked for entries in group.values() for linked in linked_streams(entries)} - group.keys()
        found.append(group)
    return found
