"""What is owed and since when: the clock of the duty to respond (4.3), at any instant, with no job having run."""

from datetime import datetime, timedelta
from typing import NamedTuple

from grading_engine.policy import Duty


class Owed(NamedTuple):
    """One duty's clock. `state`: `pending`, `met`, `overdue`, `met_late`; `overdue_seconds` is final once met."""

    started_at: datetime
    due_at: datetime
    met_at: datetime | None
    state: str
    overdue_seconds: int | None


def respond_duty(rule: Duty, obtained_at: datetime, contacted_at: datetime | None, now: datetime) -> Owed:
    """不超过1个小时: at exactly the 60th minute it is in time, one microsecond later it is not (4.3)."""
    due_at = obtained_at + timedelta(seconds=rule.within_seconds)
    if contacted_at is None:
        return Owed(obtained_at, due_at, None, "overdue" if now > due_at else "pending", None if now > due_at else 0)
    late = contacted_at > due_at
    seconds = (contacted_at - due_at) // timedelta(seconds=1) if late else 0
    return Owed(obtained_at, due_at, contacted_at, "met_late" if late else "met", seconds)
