"""The OpenAPI document: a named schema per type of action and per answer, examples included."""

from typing import Annotated, Any, Literal, get_args
from uuid import UUID

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Field, RootModel
from pydantic.json_schema import models_json_schema
from starlette.responses import Response

from grading_engine.policy import Policy
from intake_api.problems import CODES
from projections.findings import Kind
from services.commands import (
    AnyAction,
    AskImpact,
    AskReplay,
    Category,
    Channel,
    DescribeProject,
    DescribeRegion,
    ErasePerson,
    OpenCase,
    SearchCases,
)
from services.instants import Instant

ACTION_BODIES = get_args(AnyAction)
Tampering = Literal["altered", "unreadable", "missing"]


class Shown(BaseModel):
    """Answers may gain fields; clients ignore those that they don't know."""

    model_config = ConfigDict(extra="forbid")


class ShownComplainant(Shown):
    """投诉人; null where unknown, erased, or not for this reader."""

    name: str | None
    phone: str | None
    relation: str | None


class ShownComplaint(Shown):
    """投诉. One complaint and its answer."""

    complaint_id: str
    household: str | None
    obtained_at: Instant
    obtained_by: str | None
    channel: Channel
    complainant: ShownComplainant | None
    responded_at: Instant | None
    attempts: int
    chased: int


class ShownDuty(Shown):
    """One duty's clock; `overdue_seconds` is null while overdue, `due_at` where the policy states no time."""

    duty: str
    cycle: int
    case_id: str
    complaint_id: str | None
    household: str | None
    started_at: Instant
    due_at: Instant | None
    met_at: Instant | None
    met_by: str | None
    state: Literal["pending", "met", "overdue", "met_late", "void"]
    overdue_seconds: int | None
    was_overdue: bool
    clause: str | None
    owed_by: str | None
    owed_by_office: str
    supervised_by: str | None
    mechanism_started_at: Instant | None = None


class ShownResponsible(Shown):
    """第一处理责任人 (4.4)."""

    role: Literal["project_general_manager", "city_general_manager", "area_general_manager"]
    name: str
    phone: str | None
    clause: str


class ShownLabel(Shown):
    """What it is called on screens."""

    zh: str
    en: str


class ShownGrade(Shown):
    """定级 (clause 7). The highest level met now, and the criteria that could still raise it."""

    code: str
    label: ShownLabel
    policy: str
    policy_version: str
    criteria: list[str]
    undetermined: list[str]
    since: Instant | None


class ShownTurn(Shown):
    """The instant it became true, the instant we knew, and the action that crossed the bound."""

    since: Instant
    known_at: Instant
    action_id: str


class ShownCriterion(Shown):
    """One criterion: its verdict, the facts and bounds that decided, and where they come from."""

    grade: str
    id: str
    label: ShownLabel | None
    verdict: Literal["met", "not_met", "undetermined"]
    facts: dict[str, Any]
    bounds: list[dict[str, Any]]
    clause: str | None
    source: str
    interpretation: str | None
    crossed: ShownTurn | None


class ShownChange(ShownTurn):
    """A level that the case had from an instant on."""

    code: str
    criteria: list[str]


class GradeExplanation(Shown):
    """Why a case has its grade: `deciding` criteria give it the level, and every criterion with its verdict."""

    case_id: str
    code: str
    label: ShownLabel
    policy: str
    policy_version: str
    undetermined: list[str]
    since: Instant | None
    deciding: list[str]
    criteria: list[ShownCriterion]
    policy_effective_from: Instant
    opened_before_first_policy: bool
    key_mass_complaint_since: ShownTurn | None
    history: list[ShownChange]


class CaseHead(Shown):
    """The case without its arrays. What is not judged yet is null."""

    case_id: str
    case_no: str
    version: int
    stage: Literal["risk", "warning", "complaint"]
    status: Literal["open", "responded", "planned", "closed", "accounted", "merged", "void"]
    region: str
    project: str
    city: str | None
    area: str | None
    category: Category
    title: str | None
    household_count: int
    complaint_count: int
    grade: ShownGrade | None
    escalation_level: Literal["none", "city", "area", "region", "group"]
    responsible: ShownResponsible | None
    in_concentrated_warranty: bool | None
    complaints_since_closure: int
    external_ref: str | None
    opened_at: Instant
    closed_at: Instant | None
    updated_at: Instant


class ShownUnmet(Shown):
    """A criterion that failed, with its figures."""

    criterion: str
    required: str
    actual: str


class Remembered(BaseModel):
    """An action that the case remembers: its id, its own fields, and when it was done under a name of its own."""

    model_config = ConfigDict(extra="allow")

    action_id: str


class PlanAnswer(Shown):
    """业主答复 (3.2(2)). A household's last answer."""

    household: str
    accepted: bool
    answered_at: Instant


class Plan(Shown):
    """处理方案 (3.2). What was proposed and approved in this cycle, and how the households answered."""

    proposals: list[Remembered]
    approved: Remembered | None
    accepting: int
    answers: list[PlanAnswer]


class Accountability(Remembered):
    """问责与追责 (4.5)."""

    responsible: list[dict[str, Any]]
    no_fault: bool
    conclusion: str | None
    determined_at: Instant
    sanctions: list[Remembered]


class ShownLesson(Remembered):
    """经验教训 (4.6)."""

    root_cause: str | None
    lesson: str | None
    measures: list[str | None]
    recorded_at: Instant
    applied: list[Remembered]


class ShownLink(BaseModel):
    """关联. `merged_from`: that case is merged into this one."""

    model_config = ConfigDict(extra="allow")

    case_id: str
    kind: Literal["merged_into", "merged_from", "related", "recurrence_of"]


class ShownCycle(Shown):
    """A cycle that a reopening ended."""

    cycle: int
    plan: Plan | None
    closure: Remembered | None
    accountability: Accountability | None
    reopened: Remembered | None


class ShownInconsistency(Shown):
    """A recorded action that later truth undermines."""

    action_id: str
    rule: str


class NextAction(Shown):
    """What may be done now; for what may not, the rule."""

    type: str
    allowed: bool
    code: str | None = None
    clause: str | None = None
    unmet: list[ShownUnmet] | None = None


class Case(CaseHead):
    """投诉事件. The whole case."""

    description: str | None
    unrest: str | None
    tags: list[str]
    facts: dict[str, Any]
    duties: list[ShownDuty]
    complaints: list[ShownComplaint]
    emergencies: list[Remembered]
    plan: Plan | None
    closure: Remembered | None
    accountability: Accountability | None
    lessons: list[ShownLesson]
    links: list[ShownLink]
    cycles: list[ShownCycle]
    next_actions: list[NextAction]
    inconsistencies: list[ShownInconsistency]


class PossibleDuplicate(Shown):
    """An open case of the same project and category, opened within 30 days of this one."""

    case_id: str
    case_no: str
    opened_at: Instant


class OpenedCase(Case):
    """投诉事件. The whole case as it was opened, and up to ten that it may repeat, the newest first."""

    possible_duplicates: list[PossibleDuplicate]


class Actor(Shown):
    """Whose token recorded it."""

    sub: str
    role: str
    unit: str


class ShownOperator(Shown):
    """The person at the desk."""

    id: str
    name: str


class ShownAction(BaseModel):
    """One action; its own fields stand beside these, flat."""

    model_config = ConfigDict(extra="allow")

    action_id: str
    case_id: str
    version: int
    position: int
    type: str
    occurred_at: Instant
    recorded_at: Instant
    delay_seconds: int
    actor: Actor
    operator: ShownOperator | None
    evidence: list[dict[str, Any]]
    note: str | None
    corrected_by: str | None


class Written(Shown):
    """The stored action and the head of its case after it."""

    action: ShownAction
    case: CaseHead


class BatchItem(BaseModel):
    """One action of an upload: `open`, or `action` on the case of `case_id` or `external_ref`."""

    model_config = ConfigDict(extra="forbid")

    idempotency_key: str
    open: dict[str, Any] | None = None
    case_id: str | None = None
    external_ref: str | None = None
    action: dict[str, Any] | None = None


class BatchResult(Shown):
    """What became of one item: as if it had been sent alone."""

    status: int
    replayed: bool
    case_id: str | None = None
    action_id: str | None = None
    problem: dict[str, Any] | None = None


class BatchAnswer(Shown):
    """In the order given."""

    results: list[BatchResult]


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


class ShownPerson(Shown):
    """An office holder."""

    name: str
    phone: str | None


class ShownManagers(Shown):
    """项目总、城市总、片区总."""

    project: ShownPerson | None
    city: ShownPerson | None
    area: ShownPerson | None


class Region(Shown):
    """区域公司."""

    code: str
    name: str
    valid_from: Instant
    president: ShownPerson | None
    customer_relations_executive: ShownPerson | None
    customer_relations_lead: ShownPerson | None


class Project(Shown):
    """项目."""

    code: str
    name: str
    valid_from: Instant
    region: str
    city: str | None
    area: str | None
    handover_started_at: Instant | None
    handover_finished_at: Instant | None
    managers: ShownManagers


class PublishedPolicy(Policy):
    """A version of the regulation, whole; `published_at` is null for the one that came with the service."""

    published_at: Instant | None


class PolicyBrief(Shown):
    """A version, and from when on it judges."""

    number: str
    version: str
    effective_from: Instant
    labels: ShownLabel
    published_at: Instant | None


class PolicyPage(Shown):
    """All versions, in the order in which they take effect."""

    items: list[PolicyBrief]
    next_cursor: None


class Total(Shown):
    """How many cases of a region have a grade, by the document in force and by the draft."""

    region: str
    grade: str
    before: int
    after: int


class ShownVerdict(Shown):
    """A case's grade and duties, by one document."""

    grade: str
    criteria: list[str]
    duties: list[str]


class ShownDifference(Shown):
    """A case whose grade or duties would differ."""

    case_id: str
    case_no: str
    region: str
    opened_at: Instant
    before: ShownVerdict
    after: ShownVerdict


class Impact(Shown):
    """What a draft would change."""

    cases: int
    differing: int
    totals: list[Total]
    items: list[ShownDifference]


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


class ErasedCase(Shown):
    """A case in which the person complained."""

    case_id: str
    case_no: str


class Erased(Shown):
    """Who is forgotten: how many keys were destroyed, and in which cases. 200: there was nothing left to destroy."""

    result: Literal["erased", "already_erased", "nothing_to_erase"]
    erasure_id: str | None
    erased_at: Instant | None
    keys_destroyed: int
    cases: list[ErasedCase]


class ShownJob(Shown):
    """How far longer work has come; `progress` in percent."""

    job_id: str
    state: Literal["running", "done", "failed"]
    progress: int
    result_url: str | None


class PolicyLabels(Shown):
    """What one version of the regulation calls its levels, criteria and duties."""

    number: str
    version: str
    effective_from: Instant
    label: ShownLabel
    grades: dict[str, ShownLabel]
    criteria: dict[str, ShownLabel]
    duties: dict[str, ShownLabel]


class Labels(Shown):
    """Every enumeration by its name, with its values; under `policies` what each version names itself."""

    labels: dict[str, dict[str, ShownLabel]]
    policies: list[PolicyLabels]


class ShownRebuild(Shown):
    """The generation that is not read: `progress` in percent while it is built or after that was cancelled."""

    state: Literal["empty", "building", "cancelled"]
    running: bool
    progress: int | None


class ShownProjection(Shown):
    """How far the views have come. `lag_seconds`: how long the first action that they don't show has been waiting."""

    name: str
    generation: int
    position: int
    head: int
    lag_actions: int
    lag_seconds: float
    leading: bool
    leader: str | None
    leading_since: Instant | None
    parked: int
    rebuild: ShownRebuild


Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="32 bytes in hex")]


class AuditEvent(Shown):
    """An event as it is stored; `header_hash` binds all of the others, and is the tree's leaf.

    `case_id` is null for what belongs to no case. Texts in the body are sealed.
    """

    position: int
    recorded_at: Instant
    case_id: str | None
    stream: str
    version: int
    type: str
    schema_: int = Field(alias="schema")
    actor: str
    region: str
    header_hash: Sha256
    body_hash: Sha256
    body: str | None = None
    body_base64: str | None = None


class AuditHead(Shown):
    """The signed head of the tree over all events (RFC 9162); `checkpoint` is the signed text."""

    origin: str
    epoch: int
    size: int
    root: Sha256
    time: Instant
    checkpoint: str


class InclusionProof(Shown):
    """That an event is in the tree of `size` events: its leaf and the path to the root (RFC 9162, 2.1.3)."""

    position: int
    size: int
    leaf_index: int
    header_hash: Sha256
    leaf_hash: Sha256
    root: Sha256
    path: list[Sha256]


class ConsistencyProof(Shown):
    """That the tree of `to` events begins with that of `from` events (RFC 9162, 2.1.4)."""

    from_: int = Field(alias="from")
    to: int
    from_root: Sha256
    to_root: Sha256
    path: list[Sha256]


class Proof(RootModel[InclusionProof | ConsistencyProof]):
    """Of inclusion for `position`, of consistency for `from`."""


class ShownKey(Shown):
    """A public key that signs heads; `key` is the line for a verifier (c2sp.org/signed-note)."""

    origin: str
    algorithm: Literal["Ed25519"]
    key_id: str
    public_key: Sha256
    key: str


class KeyPage(Shown):
    """All that signed."""

    items: list[ShownKey]
    next_cursor: None


class Looker(Shown):
    """Whose token it was; of one that was over, no more than `sub`."""

    sub: str
    role: Literal["agent", "manager", "dashboard", "auditor", "admin"] | None
    unit: Literal["region", "property_services", "group"] | None


class ShownLook(Shown):
    """A look at personal data, or a refusal.

    `regions` holds `*` where all were looked in. `asked` says what the question was, by the values that cannot be
    personal, and of other parameters that they were given; equal `question`s are the same question.
    """

    looked_at: Instant
    actor: Looker
    operation: str
    outcome: Literal["shown", "unchanged", "refused"]
    status: int
    regions: list[str]
    cases: list[UUID]
    shown: int | None
    asked: dict[str, list[str]] | None
    question: str | None
    address: str | None


class LookPage(Shown):
    """A page of looks, newest first."""

    items: list[ShownLook]
    next_cursor: str | None


class ProjectionPage(Shown):
    """All projections."""

    items: list[ShownProjection]
    next_cursor: None


class RegionPage(Shown):
    """All regions."""

    items: list[Region]
    next_cursor: None


class ProjectPage(Shown):
    """All projects."""

    items: list[Project]
    next_cursor: None


class ProblemError(BaseModel):
    """Where, as the client wrote the body, and what."""

    pointer: str | None = None
    parameter: str | None = None
    message: str


class Problem(BaseModel):
    """RFC 9457. `code` is stable; the list is at `/v1/problems`."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str = Field(json_schema_extra={"enum": [*sorted(CODES)]})
    errors: list[ProblemError] = []
    clause: str | None = None
    unmet: list[ShownUnmet] | None = None


SHOWN = (
    Case,
    OpenedCase,
    CaseHead,
    GradeExplanation,
    Written,
    BatchAnswer,
    CasePage,
    Summary,
    BreachPage,
    DutyPage,
    ActionPage,
    ComplaintPage,
    Region,
    Project,
    RegionPage,
    ProjectPage,
    PolicyPage,
    PublishedPolicy,
    Impact,
    Replayed,
    ShownJob,
    Erased,
    Labels,
    AuditEvent,
    AuditHead,
    Proof,
    KeyPage,
    LookPage,
    ProjectionPage,
    Problem,
)
_REF = "#/components/schemas/{model}"
EXAMPLES: dict[str, dict[str, Any]] = {
    "OpenCase": {
        "project": "GD-FS-001",
        "category": "engineering",
        "title": "3栋外墙渗水",
        "obtained_at": "2026-11-23T16:05:00+08:00",
        "channel": "hotline",
        "household": "3栋1单元201室",
        "complainant": {"name": "李四", "phone": "13800138000"},
    },
    "Warn": {"type": "warned", "unrest": "业主群内约定周末到售楼处"},
    "Receive": {
        "type": "received",
        "obtained_at": "2026-11-23T16:20:00+08:00",
        "channel": "app",
        "household": "3-1-301",
    },
    "Chase": {"type": "chased", "complaint": "019312d0-7c1e-7bd1-9d5e-0d6f3f1c2a11", "channel": "hotline"},
    "AttemptContact": {
        "type": "contact_attempted",
        "households": ["3-1-301"],
        "attempted_at": "2026-11-23T16:30:00+08:00",
        "channel": "hotline",
        "outcome": "no_answer",
    },
    "Respond": {
        "type": "responded",
        "complaints": "all",
        "contacted_at": "2026-11-23T16:40:00+08:00",
        "contact_person": {"name": "王五", "title": "客户关系专员", "phone": "0757-22334455"},
    },
    "Assess": {"type": "assessed", "facts": {"compensation": "120000.00", "title_deed_delayed": False}},
    "Escalate": {"type": "escalated", "to": "region", "reason": "业主联名来信"},
    "StartEmergency": {
        "type": "emergency_started",
        "lead": {"name": "赵一", "title": "regional_president"},
        "members": [
            {"name": "钱二", "function": "customer_relations"},
            {"name": "孙三", "function": "media_relations"},
            {"name": "李四", "function": "marketing"},
            {"name": "周五", "function": "legal"},
            {"name": "吴六", "function": "development"},
        ],
        "reported_at": "2026-11-23T18:00:00+08:00",
    },
    "ProposePlan": {"type": "plan_proposed", "summary": "外墙整体重做防水", "cost": "380000.00"},
    "ApprovePlan": {
        "type": "plan_approved",
        "plan": "019312d0-7c1e-7bd1-9d5e-0d6f3f1c2a12",
        "approver": {"name": "郑七", "title": "区域总裁"},
    },
    "AnswerPlan": {"type": "plan_answered", "households": ["3-1-201"], "accepted": True},
    "Close": {"type": "closed", "decision": "维修完成, 业主认可", "recurrence_expected": False},
    "Reopen": {"type": "reopened", "reason": "雨后再次渗水"},
    "Blame": {
        "type": "blamed",
        "responsible": [
            {
                "party": "王八",
                "title": "项目工程经理",
                "unit": "佛山项目",
                "finding": "未按图施工",
                "share_percent": "70",
            },
            {"party": "冯九", "title": "监理", "unit": "监理单位", "finding": "未旁站", "share_percent": "30"},
        ],
        "conclusion": "施工与监理双方责任",
        "determined_by": {"name": "陈十", "title": "区域客户关系主管负责人"},
    },
    "Sanction": {"type": "sanctioned", "party": "王八", "measure": "通报批评"},
    "RecordLesson": {
        "type": "lesson_recorded",
        "root_cause": "窗框收口未做附加层",
        "lesson": "防水附加层列入隐蔽工程验收",
        "measures": ["修订验收表", "全区域自查"],
    },
    "ApplyLesson": {
        "type": "lesson_applied",
        "lesson": "019312d0-7c1e-7bd1-9d5e-0d6f3f1c2a13",
        "applied_to": "佛山二期外墙工程",
    },
    "Link": {"type": "linked", "case": "GD-20261123-0042", "kind": "merged_into", "reason": "同一外墙渗水"},
    "Unlink": {"type": "unlinked", "case": "GD-20261123-0042", "kind": "merged_into", "reason": "经查并非同源"},
    "Note": {"type": "noted", "text": "物业已到现场查看"},
    "Correct": {
        "type": "corrected",
        "action": "019312d0-7c1e-7bd1-9d5e-0d6f3f1c2a14",
        "replacement": {"facts": {"compensation": "20000.00"}},
        "reason": "多写了两个零",
    },
    "DescribeRegion": {"name": "广东区域", "president": {"name": "赵一"}},
    "DescribeProject": {"name": "佛山一号院", "region": "GD", "managers": {"project": {"name": "孙六"}}},
}


def document(app: FastAPI) -> dict[str, Any]:
    """The document, made once."""
    if app.openapi_schema:
        return app.openapi_schema
    made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    said = (
        OpenCase,
        *ACTION_BODIES,
        DescribeRegion,
        DescribeProject,
        BatchItem,
        Policy,
        AskImpact,
        AskReplay,
        ErasePerson,
        SearchCases,
    )
    bodies = [(body, "validation") for body in said]
    _, defined = models_json_schema(
        [*bodies, *((shown, "serialization") for shown in SHOWN)],  # type: ignore[list-item]
        ref_template=_REF,
    )
    schemas.update(defined["$defs"])
    # The framework takes every content that is not application/json for a string.
    made["paths"]["/v1/audit/events"]["get"]["responses"]["200"]["content"] = lines("AuditEvent")
    for name, example in EXAMPLES.items():
        schemas[name]["examples"] = [example]
    schemas["Action"] = {
        "oneOf": [{"$ref": _REF.format(model=body.__name__)} for body in ACTION_BODIES],
        "discriminator": {
            "propertyName": "type",
            "mapping": {
                body.model_fields["type"].annotation.__args__[0]: _REF.format(model=body.__name__)
                for body in ACTION_BODIES
            },
        },
    }
    schemas["Batch"] = {"type": "array", "maxItems": 1000, "items": {"$ref": _REF.format(model="BatchItem")}}
    made["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    app.openapi_schema = made
    return made


def takes(model: str) -> dict[str, Any]:
    """A route's JSON body."""
    schema = {"$ref": _REF.format(model=model)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def takes_many(model: str) -> dict[str, Any]:
    """A route's body of items: a JSON list, or one item a line."""
    lines = {"schema": {"type": "string", "description": "One item a line, as JSON."}}
    described = takes(model)
    described["requestBody"]["content"]["application/x-ndjson"] = lines
    return described


def lines(model: str) -> dict[str, Any]:
    """An answer's content: one such document a line."""
    return {Lines.media_type: {"schema": {"$ref": _REF.format(model=model)}}}


def query(**parameters: dict[str, Any]) -> dict[str, Any]:
    """A route's query parameters, each with its schema."""
    listed = [{"name": name, "in": "query", "schema": schema} for name, schema in parameters.items()]
    return {"parameters": listed}


def headers(*names: str) -> list[dict[str, Any]]:
    """Request headers of a route."""
    return [{"name": name, "in": "header", "schema": {"type": "string"}} for name in names]


def answers(model: str | None, *statuses: int) -> dict[int | str, dict[str, Any]]:
    """A route's answers: those below 400 carry the model, the others a problem."""
    problem = {"application/problem+json": {"schema": {"$ref": _REF.format(model="Problem")}}}
    found: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        content = problem if status >= 400 else _content("ShownJob" if status == 202 else model, status)
        found[status] = {"description": _SAID.get(status, "Problem"), "content": content}
    return found


class Csv(Response):
    """A list as a file."""

    media_type = "text/csv"


class Lines(Response):
    """One JSON document a line."""

    media_type = "application/x-ndjson"


class Xlsx(Response):
    """Likewise, as a workbook."""

    media_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


FILE = {Xlsx.media_type: {"schema": {"type": "string"}}}


def _content(model: str | None, status: int) -> dict[str, Any]:
    if model is None or status == 304:
        return {}
    return {"application/json": {"schema": {"$ref": _REF.format(model=model)}}}


_SAID = {200: "OK", 201: "Stored", 202: "Under way", 304: "Not modified"}
