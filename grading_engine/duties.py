"""What is owed and since when, at any instant, with no job having run. A clock starts once and never anew."""

from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from grading_engine.policy import Allowed, Duty
from grading_engine.working_days import end_of_working_day_after

State = Literal["pending", "met", "overdue", "met_late", "void"]

_SECOND = timedelta(seconds=1)
_UNITS = {"minutes": timedelta(minutes=1), "hours": timedelta(hours=1), "days": timedelta(days=1)}


class Proof(NamedTuple):
    """What met a duty: when it was done in the world, and when it became known here."""

    met_at: datetime
    known_at: datetime


class Clock(NamedTuple):
    """One duty's clock, as it is kept: what it shows follows from the time at which one looks.

    `known_at`: when it became known here that it had started. `due_at` None: the document states no time.
    """

    started_at: datetime
    known_at: datetime
    due_at: datetime | None
    proof: Proof | None
    void: bool


class Owed(NamedTuple):
    """One duty's clock. `due_at` None: the document states no time, so it is tracked and never overdue.

    `overdue_seconds` is None while overdue (count from `due_at`), final once met. `was_overdue`: as recorded then, it
    stood overdue before the proof that cleared it arrived.
    """

    started_at: datetime
    due_at: datetime | None
    met_at: datetime | None
    state: State
    overdue_seconds: int | None
    was_overdue: bool


def clock(rule: Duty, started_at: datetime, known_at: datetime, proof: Proof | None, void: bool = False) -> Clock:
    """The duty's clock under that rule."""
    return Clock(started_at, known_at, due(rule, started_at), proof, void)


def owed(
    rule: Duty, started_at: datetime, known_at: datetime, proof: Proof | None, now: datetime, void: bool = False
) -> Owed:
    """The duty at `now`. `known_at`: when it became known here that it had started."""
    return read(clock(rule, started_at, known_at, proof, void), now)


def read(clock: Clock, now: datetime) -> Owed:
    """What the clock shows at `now`."""
    started_at, known_at, due_at, proof, void = clock
    met_at = proof.met_at if proof else None
    if void:
        return Owed(started_at, due_at, met_at, "void", 0, was_overdue=False)
    if due_at is None:
        return Owed(started_at, None, met_at, "met" if proof else "pending", 0, was_overdue=False)
    if proof is None:
        overdue = now > due_at
        return Owed(started_at, due_at, None, "overdue" if overdue else "pending", None if overdue else 0, overdue)
    # 不超过: at exactly the 60th minute it is in time, one microsecond later it is not (4.3).
    late = proof.met_at > due_at
    seconds = (proof.met_at - due_at) // _SECOND if late else 0
    stood_overdue = proof.known_at > max(due_at, known_at)
    return Owed(started_at, due_at, met_at, "met_late" if late else "met", seconds, late or stood_overdue)


def due(rule: Duty, started_at: datetime) -> datetime | None:
    """The last instant at which the duty is met in time; None where the document leaves it open."""
    within: Allowed = rule.within
    if within.amount is None:
        return None
    if within.unit == "working_days":
        return end_of_working_day_after(started_at, within.amount)
    return started_at + within.amount * _UNITS[within.unit]
