"""Pages of cases, duties, breaches, actions and complaints, and sums of them."""

from typing import Literal

from pydantic import Field

from intake_api.shown.cases import CaseHead, ShownAction, ShownComplaint, ShownDuty
from intake_api.shown.common import Shown
from services.instants import Instant


class ListedCase(CaseHead):
    """A head in a list: `due_at` is when the first of its duties that nothing has met yet falls due, or fell."""

    due_at: Instant | None


class CasePage(Shown):
    """Heads, those opened last first."""

    items: list[ListedCase]
    next_cursor: str | None
    total: int = Field(default=0)


class SummaryItem(Shown):
    """Sums over the cases of one group, its dimensions first. A share has four decimals, halves rounded up."""

    region: str = Field(default="")
    city: str | None = Field(default=None, description="Where the project lies now, by the directory.")
    area: str | None = Field(default=None, description="Likewise.")
    project: str = Field(default="")
    category: str = Field(default="")
    grade: str = Field(default="")
    status: str = Field(default="")
    stage: str = Field(default="")
    month: str = Field(default="", description="Of `opened_at`, in Asia/Shanghai: `2026-11`.")
    opened: int = Field(description="Cases that are not void, merged ones included.")
    closed: int = Field(description="Of these, closed or accounted now.")
    reopened: int = Field(description="How often they were reopened.")
    open: int = Field(description="Of these, standing open now.")
    household_count: int = Field(
        description="Complaining households, distinct within each case; a merged case's count in its target."
    )
    duties_due: int = Field(description="Duties owed; void ones are not. A merged case's complaints: in its target.")
    duties_pending: int = Field(description="Duties that nothing has met yet and that are not overdue now.")
    breaches: int = Field(description="Duties overdue now, or met late.")
    responded_in_time: int = Field(description="Of `responses_due`, met within their time.")
    responses_due: int = Field(description="Responses owed to complaints whose time is over, or that were given.")
    closed_share: str | None = Field(description="`closed` of `opened`; null if that is 0.", examples=["0.4286"])
    breached_share: str | None = Field(description="`breaches` of `duties_due`; null if that is 0.")
    responded_in_time_share: str | None = Field(
        description="`responded_in_time` of `responses_due`; null if that is 0."
    )
    median_seconds_to_respond: int | None = Field(
        description="Of the answered complaints of these cases (each in the case that received it), from `obtained_at` "
        "to `responded_at` in whole seconds: the one of rank ceil(n × 0.5), the shortest first. Null if there is none."
    )
    p90_seconds_to_respond: int | None = Field(description="Likewise, of rank ceil(n × 0.9).")


class Summary(Shown):
    """One item a group that has a case, sorted by its dimensions (null last); without `group_by`, one of all cases."""

    items: list[SummaryItem]


class DutyPage(Shown):
    """Duties, those due first first; what has no time comes last."""

    items: list[ShownDuty]
    next_cursor: str | None
    total: int = Field(default=0)


class ShownBreach(ShownDuty):
    """逾期. A duty that is late, or was met late."""

    due_at: Instant
    state: Literal["overdue", "met_late"]


class BreachPage(Shown):
    """Breaches, those due last first."""

    items: list[ShownBreach]
    next_cursor: str | None
    total: int = Field(default=0)


class ActionPage(Shown):
    """Actions in version order."""

    items: list[ShownAction]
    next_cursor: str | None
    total: int = Field(default=0)


class ComplaintPage(Shown):
    """Complaints as recorded."""

    items: list[ShownComplaint]
    next_cursor: str | None
    total: int = Field(default=0)
