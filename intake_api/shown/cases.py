"""A case as it is answered: its head, its whole, its grade explained, its actions."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from intake_api.shown.common import Remembered, Shown
from services.commands import Category, Channel
from services.instants import Instant


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
