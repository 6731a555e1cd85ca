"""What the views hold of a case: a pure function of its folded state. Texts in it are sealed."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from grading_engine.grades import UNGRADED
from projections.case_view import encode, own_head
from projections.duty_view import EVER, Due, dues, told
from services.case import Case, Complaint
from services.docket import Docket
from services.vault import key_of, marked

_BEIJING = ZoneInfo("Asia/Shanghai")
_SECOND = timedelta(seconds=1)
_CLOSED = frozenset({"closed", "accounted"})

Row = tuple[object, ...]
# The opening's texts with where each is sealed: what the case is searched by.
Sealed = tuple[str, UUID, int, str]


class Counted(NamedTuple):
    """What a case adds to the sums of those that are alike (`tables.COUNTED`)."""

    opened: int
    closed: int
    reopened: int
    open: int
    household_count: int
    duties_due: int
    duties_met: int
    duties_late: int
    duties_untimed: int
    responses: int
    responses_met: int
    responses_late: int


class CaseRows(NamedTuple):
    """The rows of one case, but for what it is found by, which needs its texts opened (`words`)."""

    case_id: UUID
    region: str
    case: Row
    complaints: Sequence[Row]
    duties: Sequence[Row]
    grades: Sequence[Row]
    texts: tuple[Sealed, ...]


# A case's rows with its words; None: the words are as they were written before.
FoundRows = tuple[CaseRows, Row | None]


def rows_of(docket: Docket) -> Iterator[CaseRows]:
    """The rows of each case of a docket; `position` is that of the last action that may have moved any of them."""
    position = max(case.position for case in docket.values())
    for case in docket.values():
        if case.version and case.opening:
            yield _rows(case, position)


def _rows(case: Case, position: int) -> CaseRows:
    owed = list(owing(case))
    own = [one for one in case.complaints.values() if one.owner == case.case_id]
    return CaseRows(
        case.case_id,
        case.region,
        _case(case, owed, own, position),
        [_complaint(case, one) for one in own],
        [_duty(case, one) for one in owed],
        [_grade(case, number) for number in range(len(case.grades))],
        _texts(case),
    )


def owing(case: Case, now: datetime = EVER) -> Iterator[Due]:
    """The case's duties; what is owed for the complaints of a merged case is told of its target, which decides."""
    for one in dues(case, now):
        if not (case.merged and one.subject.complaint_id and not one.subject.void):
            yield one


def _case(case: Case, owed: Sequence[Due], own: Sequence[Complaint], position: int) -> Row:
    opening, opened_at = case.opened, case.opened_at
    assert opened_at is not None and case.updated_at is not None
    unmet = [due for one in owed if (due := one.clock.due_at) and not one.clock.proof and not one.clock.void]
    late = [due for one in owed if (due := one.clock.due_at) and _may_be_late(one)]
    code = case.grading.code if case.grading else UNGRADED
    counted = _counted(case, owed)
    return (
        case.case_id,
        case.case_no,
        case.region,
        opening.project,
        opening.category,
        case.stage,
        case.status,
        code,
        _severity(case, code),
        month_of(opened_at),
        case.escalation_level,
        opening.external_ref,
        sorted({one.channel for one in own}),
        list(opening.tags),
        opened_at,
        case.updated_at,
        min(unmet, default=None),
        min(late, default=None),
        position,
        case.version,
        *counted[1:],
        # Open at its end, so that what the directory says can follow.
        encode(own_head(case))[:-1],
    )


def words(one: CaseRows, grams: list[int]) -> Row:
    """What the case is found by, with the texts that were looked at."""
    said = encode([marked("text", stream, version, path, token) for token, stream, version, path in one.texts])
    return (one.case_id, said, grams)


def _may_be_late(one: Due) -> bool:
    """Whether the duty is late once its time is over: nothing met it, or not in time."""
    clock = one.clock
    return not clock.void and clock.due_at is not None and (not clock.proof or clock.proof.met_at > clock.due_at)


def _severity(case: Case, code: str) -> int:
    """The place of the grade in its policy, the most severe first; what has none comes last."""
    codes = [grade.code for grade in case.judged_by.grades]
    return codes.index(code) if code in codes else 99


def _counted(case: Case, owed: Sequence[Due]) -> Counted:
    """A void case counts for nothing; a merged one's households are its target's."""
    if case.void:
        return Counted(*[0] * len(Counted._fields))
    standing = [one for one in owed if not one.clock.void]
    responses = [one for one in standing if one.rule.duty == "respond"]
    met, late, untimed = _tally(standing)
    responses_met, responses_late, _ = _tally(responses)
    return Counted(
        1,
        int(case.status in _CLOSED),
        sum(1 for cycle in case.cycles if cycle.reopened),
        int(case.stands_open),
        0 if case.merged else len(case.households),
        len(standing),
        met,
        late,
        untimed,
        len(responses),
        responses_met,
        responses_late,
    )


def _tally(owed: Sequence[Due]) -> tuple[int, int, int]:
    """How many were met in time, met late, and are owed without a time."""
    met = late = untimed = 0
    for one in owed:
        _, _, due_at, proof, _ = one.clock
        if proof:
            in_time = due_at is None or proof.met_at <= due_at
            met, late = met + in_time, late + (not in_time)
        elif due_at is None:
            untimed += 1
    return met, late, untimed


def _complaint(case: Case, one: Complaint) -> Row:
    who = one.complainant
    return (
        one.complaint_id,
        case.case_id,
        case.region,
        case.opened.project,
        one.channel,
        one.household_key,
        key_of(who.phone) if who and who.phone else None,
        one.obtained_at,
        one.responded_at,
        # What was answered in a void case counts for nothing.
        (one.responded_at - one.obtained_at) // _SECOND if one.responded_at and not case.void else None,
    )


def _duty(case: Case, one: Due) -> Row:
    clock, subject = one.clock, one.subject
    return (
        duty_id(case.case_id, one.rule.duty, subject.cycle, subject.complaint_id),
        case.case_id,
        case.region,
        case.opened.project,
        one.rule.duty,
        subject.cycle,
        subject.complaint_id,
        one.office,
        one.unit,
        clock.started_at,
        clock.known_at,
        clock.due_at,
        clock.proof.met_at if clock.proof else None,
        clock.proof.known_at if clock.proof else None,
        clock.void,
        encode(told(case, one))[:-1],
    )


def duty_id(case_id: UUID, duty: str, cycle: int, complaint_id: UUID | None) -> UUID:
    """One name for a duty, its subject and its cycle, for ever: of a complaint, whichever case it is merged into."""
    subject = complaint_id.bytes if complaint_id else b"%b%d" % (case_id.bytes, cycle)
    said = b"%b|%b" % (subject, duty.encode())
    return UUID(bytes=blake2b(said, digest_size=16, person=b"anjuan.duty").digest())


def _grade(case: Case, number: int) -> Row:
    change = case.grades[number]
    turn = change.turn
    return (case.case_id, number, change.code, list(change.criteria), turn.at, turn.known_at, turn.action_id)


def _texts(case: Case) -> tuple[Sealed, ...]:
    place, opening = case.opened_in, case.opened
    if place is None:
        return ()
    named: tuple[tuple[str, str | None], ...] = (("title", opening.title), ("description", opening.description))
    return tuple(
        (token, place.stream, place.version, f"{place.path}opening.{field}") for field, token in named if token
    )


def month_of(instant: datetime) -> str:
    """The month in which an instant lies (Asia/Shanghai)."""
    return f"{instant.astimezone(_BEIJING):%Y-%m}"


def begins_a_month(instant: datetime) -> bool:
    """Whether a month begins at an instant (Asia/Shanghai)."""
    here = instant.astimezone(_BEIJING)
    return (here.day, here.hour, here.minute, here.second, here.microsecond) == (1, 0, 0, 0, 0)
