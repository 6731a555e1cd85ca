"""What an audit replay finds."""

from typing import Literal

from pydantic import Field

from intake_api.shown.common import Shown
from projections.findings import Kind
from services.commands import Category
from services.instants import Instant

Tampering = Literal["altered", "unreadable", "missing"]


class ReplayedDuty(Shown):
    """One duty's clock at `as_of`; `due_at` is null where the policy states no time."""

    duty: str
    cycle: int
    complaint_id: str | None
    started_at: Instant
    due_at: Instant | None
    met_at: Instant | None
    state: Literal["pending", "met", "overdue", "met_late", "void"]
    was_overdue: bool


class ReplayedPlace(Shown):
    """Which case."""

    case_id: str
    case_no: str
    region: str
    project: str


class ReplayedCase(ReplayedPlace):
    """A case as the events alone tell it; nothing personal, no free text."""

    category: Category
    opened_at: Instant
    stage: Literal["risk", "warning", "complaint"]
    status: str
    grade: str
    criteria: list[str]
    policy_version: str
    household_count: int
    complaint_count: int
    breached: bool
    duties: list[ReplayedDuty]


class ReplayedBreach(ReplayedPlace, ReplayedDuty):
    """逾期. A duty that was late at `as_of`; `owed_by` is a unit or an office, never a name."""

    due_at: Instant
    state: Literal["overdue", "met_late"]
    overdue_seconds: int | None
    clause: str | None
    owed_by: str


class ReplayedFinding(ReplayedPlace):
    """What an auditor would look at twice, with the actions that show it and the house's figure it was held against."""

    kind: Kind
    clause: str | None
    positions: list[int]
    actions: list[str]
    dated_at: Instant | None
    recorded_at: Instant | None
    due_at: Instant | None
    duty: str | None
    complaint_id: str | None
    threshold_seconds: int | None
    reasons: list[str]


class ReplayedField(Shown):
    """`field` null: the row itself. Texts and what is personal are named, and never shown."""

    table: str
    key: str | None
    field: str | None
    replayed: str | None
    live: str | None
    unexplained: bool


class Explanation(Shown):
    """Positions that one side knows and the other doesn't (the first 50 of each)."""

    recorded_later: list[int]
    occurred_later: list[int]
    not_followed_yet: list[int]
    other_policy: bool


class ReplayedDifference(Shown):
    """Where the live views say something else; an unexplained field was changed by something that is no event."""

    case_id: str
    case_no: str | None
    region: str | None
    fields: list[ReplayedField]
    explained_by: Explanation | None


class Tampered(Shown):
    """Records whose hash is not that of their content, that cannot be read, or that are gone.

    `known`: by `known_at`, and so part of the digest.
    """

    kind: Tampering
    position: int
    to: int
    case_id: str | None
    region: str | None
    fault: str | None
    known: bool


class ReplayedRegion(Shown):
    """A region's sums."""

    region: str
    cases: int
    complaints: int
    breached: int
    breaches: int
    findings: int


class ReplayTotals(Shown):
    """Sums over everything, also what is left out below."""

    cases: int
    complaints: int
    breached: int
    breaches: dict[str, int]
    findings: dict[str, int]
    differences: int
    unexplained: int
    tampered: int
    grades: dict[str, int]
    statuses: dict[str, int]
    regions: list[ReplayedRegion]


class ReplayPolicy(Shown):
    """The document that judged instead of those in force."""

    number: str
    version: str


class Replayed(Shown):
    """审计回放. `digest` is over question, cases, breaches, findings and what was tampered with by `known_at`.

    `left_out`: how many items of a kind are counted and not listed.
    """

    region: str | None
    project: str | None
    from_: Instant | None = Field(alias="from")
    to: Instant | None
    basis: Literal["opened", "due", "recorded"]
    as_of: Instant
    known_at: Instant
    policy: ReplayPolicy | None
    position: int
    views_position: int | None
    epoch: int
    digest: str
    totals: ReplayTotals
    left_out: dict[str, int]
    cases: list[ReplayedCase]
    breaches: list[ReplayedBreach]
    findings: list[ReplayedFinding]
    differences: list[ReplayedDifference]
    tampered: list[Tampered]
