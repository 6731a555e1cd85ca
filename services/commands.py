"""What can be asked for. The HTTP body is this very class: strict, closed, frozen."""

import re
from decimal import Decimal
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    TypeAdapter,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from services.identifiers import parse_uuid
from services.instants import Instant
from services.telephones import normalised_phone
from services.texts import Label, OptionalLabel, OptionalProse, Prose

CHANNELS = ("hotline", "app", "wechat", "visit", "letter", "email", "media", "government", "other")
CATEGORIES = ("engineering", "planning_design", "marketing", "customer_service", "property_service")

Channel = Literal["hotline", "app", "wechat", "visit", "letter", "email", "media", "government", "other"]
Category = Literal["engineering", "planning_design", "marketing", "customer_service", "property_service"]
Outcome = Literal["no_answer", "busy", "refused", "wrong_number", "no_contact_details"]

_MANY = 5000


def _id(value: Any) -> UUID:
    found = parse_uuid(value) if isinstance(value, str) else None
    if found is None:
        raise PydanticCustomError("uuid_malformed", "not a UUID")
    return found


def _phone(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 64 or normalised_phone(value) is None:
        raise PydanticCustomError("phone_malformed", "not a telephone number")
    return value


def _money(value: Any) -> str:
    """Yuan as a decimal string with up to 2 places, kept as given: no float on the way."""
    if not isinstance(value, str) or not _MONEY.fullmatch(value):
        raise PydanticCustomError("money_malformed", 'not an amount like "2000000.00"')
    return str(Decimal(value).quantize(Decimal("0.01")))


def _share(value: Any) -> str:
    """A share of 100 as a decimal, a string or a JSON number: what a float was written as, never what it is near to."""
    text = value if isinstance(value, str) else repr(value) if type(value) in (int, float) else ""
    if not _SHARE.fullmatch(text) or not 0 < Decimal(text) <= 100:
        raise PydanticCustomError("share_malformed", "not a share of 100")
    return text


_SHARE = re.compile(r"\d{1,3}(\.\d{1,6})?", re.ASCII)
_MONEY = re.compile(r"\d{1,15}(\.\d{1,2})?", re.ASCII)

Id = Annotated[UUID, PlainValidator(_id), WithJsonSchema({"type": "string", "format": "uuid"})]
PhoneNumber = Annotated[
    str, PlainValidator(_phone), WithJsonSchema({"type": "string", "maxLength": 64, "examples": ["13800138000"]})
]
Money = Annotated[
    str,
    PlainValidator(_money),
    WithJsonSchema({"type": "string", "pattern": r"^\d{1,15}(\.\d{1,2})?$", "examples": ["2000000.00"]}),
]
Share = Annotated[
    str,
    PlainValidator(_share),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": r"^\d{1,3}(\.\d{1,6})?$"}, {"type": "number"}], "examples": ["60"]}
    ),
]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$")]
Measures = Prose | Annotated[tuple[Prose, ...], Field(min_length=1, max_length=100)]
Tags = Annotated[tuple[Label, ...], Field(max_length=50)]
ProjectCode = Annotated[str, StringConstraints(pattern=r"^[\w.-]{1,64}$")]
RegionCode = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9_]{1,32}$")]


class Body(BaseModel):
    """Closed and strict: an unknown field or a number in quotes is refused, so that no typo loses data."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class OperatorBody(Body):
    """The person at the desk."""

    id: Label
    name: Label


class EvidenceBody(Body):
    """A call, recording, photo or document by reference."""

    kind: Label
    ref: Prose
    sha256: Sha256 | None = None
    at: Instant | None = None


class ComplainantBody(Body):
    """投诉人. Every part may be unknown: anonymous complaints exist."""

    name: OptionalLabel = None
    phone: PhoneNumber | None = None
    relation: OptionalLabel = None


class ContactPersonBody(Body):
    """投诉对接人 (3.1). Who follows up from now on."""

    name: Label
    title: Label
    phone: PhoneNumber | None = None


class CostBody(Body):
    """One part of a cost, with its form (clause 7, margin note 1)."""

    amount: Money
    form: Literal["cash", "voucher", "goods", "fee_waiver", "other"]


class CasualtiesBody(Body):
    """人员伤亡 (clause 7, A-1.5)."""

    injured: Annotated[int, Field(ge=0, le=1_000_000)]
    dead: Annotated[int, Field(ge=0, le=1_000_000)]


Cost = Money | Annotated[tuple[CostBody, ...], Field(min_length=1, max_length=1000)]


class HouseholdsChange(Body):
    """Households that sue by now, and those that no longer do."""

    add: Annotated[tuple[Label, ...], Field(max_length=_MANY)] = ()
    remove: Annotated[tuple[Label, ...], Field(max_length=_MANY)] = ()


class FactsBody(Body):
    """What was assessed (clause 7). Left out: as before. Null: not assessed, which is not zero."""

    compensation: Cost | None = None
    upgrade_cost: Cost | None = None
    economic_loss: Cost | None = None
    casualties: CasualtiesBody | None = None
    litigating_households: Annotated[tuple[Label, ...], Field(max_length=_MANY)] | HouseholdsChange | None = None
    batch_handover_delayed: bool | None = None
    title_deed_delayed: bool | None = None
    group_milestone_delayed: bool | None = None
    annual_target_lowered: bool | None = None


class Command(Body):
    """What every action may carry."""

    occurred_at: Instant | None = None
    operator: OperatorBody | None = None
    evidence: Annotated[tuple[EvidenceBody, ...], Field(max_length=100)] = ()
    note: OptionalProse = None


def _same_instant(command: Command, own: Any, field: str) -> None:
    """`occurred_at` *is* that field on this action."""
    if command.occurred_at is not None and own is not None and command.occurred_at != own:
        raise PydanticCustomError("differs_from_own_time", "occurred_at differs from {field}", {"field": field})


class Warn(Command):
    """客户投诉预警 (3.4): customers are stirring, or a complaint is imminent."""

    type: Literal["warned"]
    unrest: Prose


class Receive(Command):
    """客户投诉 (3.5): a further complaint about the same event."""

    type: Literal["received"]
    obtained_at: Instant
    obtained_by: OptionalLabel = None
    channel: Channel
    household: OptionalLabel = None
    complainant: ComplainantBody | None = None

    @model_validator(mode="after")
    def _one_time(self) -> Self:
        _same_instant(self, self.obtained_at, "obtained_at")
        return self


class Chase(Command):
    """催办: the same matter again; no new complaint, no clock."""

    type: Literal["chased"]
    complaint: Id
    channel: Channel


def _one_target(complaints: object, households: object) -> None:
    if (complaints is None) == (households is None):
        raise PydanticCustomError("complaints_or_households", "name either complaints or households")


class AttemptContact(Command):
    """未能联系: a contact tried in vain; it stops no clock."""

    type: Literal["contact_attempted"]
    complaints: Annotated[tuple[Id, ...], Field(min_length=1, max_length=_MANY)] | None = None
    households: Annotated[tuple[Label, ...], Field(min_length=1, max_length=_MANY)] | None = None
    attempted_at: Instant
    channel: Channel
    outcome: Outcome

    @model_validator(mode="after")
    def _sound(self) -> Self:
        _one_target(self.complaints, self.households)
        _same_instant(self, self.attempted_at, "attempted_at")
        return self


class Respond(Command):
    """响应客户 (3.1): contacted, and told who follows up from now on. Both, or it is no response."""

    type: Literal["responded"]
    complaints: Annotated[tuple[Id, ...], Field(min_length=1, max_length=_MANY)] | Literal["all"] | None = None
    households: Annotated[tuple[Label, ...], Field(min_length=1, max_length=_MANY)] | None = None
    contacted_at: Instant
    channel: Channel | None = None
    contact_person: ContactPersonBody

    @model_validator(mode="after")
    def _sound(self) -> Self:
        _one_target(self.complaints, self.households)
        _same_instant(self, self.contacted_at, "contacted_at")
        return self


class Assess(Command):
    """事件评估 (clause 7): the world changed; the named facts are replaced, null is "not assessed"."""

    type: Literal["assessed"]
    facts: FactsBody

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.facts.model_fields_set:
            raise PydanticCustomError("facts_needed", "name at least one fact")
        return self


class Escalate(Command):
    """升级 (clause 5): to a higher level."""

    type: Literal["escalated"]
    to: Literal["city", "area", "region", "group"]
    reason: Prose


class LeadBody(Body):
    """区域总裁 (4.4): leads the emergency team."""

    name: Label
    title: Label


class MemberBody(Body):
    """A member of the emergency team and the function covered."""

    name: Label
    function: Label


class StartEmergency(Command):
    """启动突发应急小组 (4.4): reported to the group, team led by the regional president."""

    type: Literal["emergency_started"]
    lead: LeadBody
    members: Annotated[tuple[MemberBody, ...], Field(min_length=1, max_length=200)]
    reported_at: Instant


class ProposePlan(Command):
    """提出处理方案 (3.2(1))."""

    type: Literal["plan_proposed"]
    summary: Prose
    cost: Money | None = None


class OfficialBody(Body):
    """Who approved or determined something."""

    name: Label
    title: Label


class ApprovePlan(Command):
    """处理方案已审批 (3.2(1)): `plan` is the action that proposed it."""

    type: Literal["plan_approved"]
    plan: Id
    approver: OfficialBody


class AnswerPlan(Command):
    """业主答复方案 (3.2(2)): complaining households accept the approved plan, or don't."""

    type: Literal["plan_answered"]
    households: Annotated[tuple[Label, ...], Field(min_length=1, max_length=_MANY)]
    accepted: bool


class Close(Command):
    """完结 (3.2): when the policy's closure criteria are met."""

    type: Literal["closed"]
    decision: Prose
    recurrence_expected: bool


class Reopen(Command):
    """重启: starts the next cycle."""

    type: Literal["reopened"]
    reason: Prose


class FindingBody(Body):
    """One responsible party; all shares together are exactly 100."""

    party: Label
    title: Label
    unit: Label
    finding: Prose
    share_percent: Share


class Blame(Command):
    """问责 (4.5): who is responsible, or `no_fault`."""

    type: Literal["blamed"]
    responsible: Annotated[tuple[FindingBody, ...], Field(min_length=1, max_length=100)] | None = None
    no_fault: Literal[True] | None = None
    conclusion: Prose
    determined_by: OfficialBody

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.responsible is None) == (self.no_fault is None):
            raise PydanticCustomError("responsible_or_no_fault", "give either responsible or no_fault")
        total = sum((Decimal(one.share_percent) for one in self.responsible or ()), Decimal(0))
        if self.responsible and total != 100:
            raise PydanticCustomError("shares_not_100", "the shares make {total}", {"total": str(total)})
        return self


class Sanction(Command):
    """追责 (4.5): what follows; again with `implemented_at` when enforced."""

    type: Literal["sanctioned"]
    party: Label
    measure: Prose
    implemented_at: Instant | None = None


class RecordLesson(Command):
    """案例沉淀 (4.6): for the case library."""

    type: Literal["lesson_recorded"]
    root_cause: Prose
    lesson: Prose
    measures: Measures


class ApplyLesson(Command):
    """案例应用 (4.6): `lesson` is the action that recorded it."""

    type: Literal["lesson_applied"]
    lesson: Id
    applied_to: Prose


class Link(Command):
    """关联: `merged_into` decides both as one from now on; `case` is an id or a case number of the same region."""

    type: Literal["linked"]
    case: Label
    kind: Literal["merged_into", "related", "recurrence_of"]
    reason: Prose


class Unlink(Command):
    """取消关联."""

    type: Literal["unlinked"]
    case: Label
    kind: Literal["merged_into", "related", "recurrence_of"]
    reason: Prose


class Note(Command):
    """备注: something worth keeping beside the case."""

    type: Literal["noted"]
    text: Prose
    complaint: Id | None = None


class Correct(Command):
    """更正: what an earlier action should have said (RFC 7396 merge patch of its fields), or that it never happened."""

    type: Literal["corrected"]
    action: Id
    replacement: dict[str, Any] | None = None
    retract: Literal[True] | None = None
    reason: Prose

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.replacement is None) == (self.retract is None):
            raise PydanticCustomError("replacement_or_retract", "give either replacement or retract")
        return self


# What can be made without looking anything up: a correction needs the action that it corrects.
Plain = (
    Warn
    | Receive
    | Chase
    | AttemptContact
    | Respond
    | Assess
    | Escalate
    | StartEmergency
    | ProposePlan
    | ApprovePlan
    | AnswerPlan
    | Close
    | Reopen
    | Blame
    | Sanction
    | RecordLesson
    | ApplyLesson
    | Link
    | Unlink
    | Note
)
AnyAction = Plain | Correct
ActionCommand = Annotated[AnyAction, Field(discriminator="type")]


class OpenCase(Command):
    """Open a case at stage `risk`, `warning` or `complaint`; a complaint brings the first one inline."""

    project: ProjectCode
    category: Category
    title: Label
    stage: Literal["risk", "warning", "complaint"] = "complaint"
    region: RegionCode | None = None
    description: OptionalProse = None
    unrest: OptionalProse = None
    facts: FactsBody | None = None
    tags: Tags = ()
    external_ref: OptionalLabel = None
    obtained_at: Instant | None = None
    obtained_by: OptionalLabel = None
    channel: Channel | None = None
    household: OptionalLabel = None
    complainant: ComplainantBody | None = None

    @model_validator(mode="after")
    def _complaint_comes_whole(self) -> Self:
        _same_instant(self, self.obtained_at, "obtained_at")
        inline = ("obtained_at", "obtained_by", "channel", "household", "complainant")
        given = [name for name in inline if getattr(self, name) is not None]
        if self.stage != "complaint" and given:
            raise PydanticCustomError("not_at_this_stage", "{field} needs a complaint", {"field": given[0]})
        for name in ("obtained_at", "channel"):
            if self.stage == "complaint" and name not in given:
                raise PydanticCustomError("complaint_needs", "a complaint needs {field}", {"field": name})
        return self


class PersonBody(Body):
    """An office holder."""

    name: Label
    phone: PhoneNumber | None = None


class ManagersBody(Body):
    """项目总、城市总、片区总 (4.4)."""

    project: PersonBody | None = None
    city: PersonBody | None = None
    area: PersonBody | None = None


class DescribeRegion(Body):
    """A region as it is from `valid_from` on (default: now; the first entry reaches back without limit)."""

    name: Label
    president: PersonBody | None = None
    customer_relations_executive: PersonBody | None = None
    customer_relations_lead: PersonBody | None = None
    valid_from: Instant | None = None


class DescribeProject(Body):
    """A housing estate as it is from `valid_from` on (default: now)."""

    name: Label
    region: RegionCode
    city: OptionalLabel = None
    area: OptionalLabel = None
    handover_started_at: Instant | None = None
    handover_finished_at: Instant | None = None
    managers: ManagersBody | None = None
    valid_from: Instant | None = None


class AskImpact(Body):
    """A draft of the policy, and the cases to try it on: opened from `from` on and before `to`, in these regions."""

    policy: dict[str, Any]
    from_: Annotated[Instant | None, Field(alias="from")] = None
    to: Instant | None = None
    regions: Annotated[tuple[RegionCode, ...], Field(max_length=1000)] = ()


class AskReplay(Body):
    """审计回放. Cases of a region or project by when they were opened, fell due or had an action recorded.

    State(`as_of`, `known_at`), judged by the documents in force, or by a whole one or a published version.
    """

    region: RegionCode | None = None
    project: ProjectCode | None = None
    from_: Annotated[Instant | None, Field(alias="from")] = None
    to: Instant | None = None
    basis: Literal["opened", "due", "recorded"] = "opened"
    as_of: Instant | None = None
    known_at: Instant | None = None
    policy: dict[str, Any] | Annotated[str, StringConstraints(max_length=64)] | None = None


class SearchCases(Body):
    """查找案卷. By what must not stand in an address; all that is given must fit."""

    phone: PhoneNumber | None = None
    household: OptionalLabel = None
    project: ProjectCode | None = None
    external_ref: OptionalLabel = None
    q: OptionalLabel = None

    @model_validator(mode="after")
    def _something_is_asked(self) -> Self:
        if all(getattr(self, name) is None for name in ("phone", "household", "external_ref", "q")):
            raise PydanticCustomError("missing", "one of phone, household, external_ref and q is needed")
        return self


class ErasePerson(Body):
    """删除个人信息. Who made a complaint is forgotten, in all cases; `texts`: and what was said of it and its case."""

    case_id: Label
    complaint_id: Id
    reason: Label
    texts: bool = False


SEARCH = TypeAdapter(SearchCases)
ERASURE = TypeAdapter(ErasePerson)
IMPACT = TypeAdapter(AskImpact)
REPLAY = TypeAdapter(AskReplay)
ACTION = TypeAdapter[AnyAction](ActionCommand)
OPENING = TypeAdapter(OpenCase)
REGION = TypeAdapter(DescribeRegion)
PROJECT = TypeAdapter(DescribeProject)
