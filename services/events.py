"""The facts. One frozen class per stored event; its stored name is a word of the contract and stays for ever.

Bodies are compact JSON. Fields marked personal hold plain text only between `decide` and the vault; what is stored
and read back there is the sealed token (`services.vault`).
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, get_args
from uuid import UUID

import msgspec

Name = Annotated[str, msgspec.Meta(extra={"personal": "name"})]
Phone = Annotated[str, msgspec.Meta(extra={"personal": "phone"})]
Text = Annotated[str, msgspec.Meta(extra={"personal": "text"})]
# Who answers for a case (4.5): kept in clear, since accountability outlives an erasure, but not for every reader.
StaffName = Annotated[str, msgspec.Meta(extra={"personal": "staff"})]

Stage = Literal["risk", "warning", "complaint"]


class Part(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A piece of an event."""


class Operator(Part, frozen=True):
    """The person at the desk; the token is the call centre."""

    id: str
    name: str


class Evidence(Part, frozen=True):
    """A call, recording, photo or document, named by reference."""

    kind: str
    ref: Text
    sha256: str | None = None
    at: datetime | None = None


class Complainant(Part, frozen=True):
    """投诉人. Who complains; `relation` is to the household."""

    name: Name | None = None
    phone: Phone | None = None
    relation: Text | None = None


class ContactPerson(Part, frozen=True):
    """投诉对接人 (3.1). Who follows up from now on. Name and title stay in clear: they answer for the case."""

    name: str
    title: str
    phone: Phone | None = None


class Opening(Part, frozen=True):
    """What the first action says about the case itself. `facts` is an `assessed` body's, as JSON."""

    project: str
    category: str
    title: Text
    description: Text | None = None
    unrest: Text | None = None
    facts: dict[str, Any] | None = None
    tags: tuple[str, ...] = ()
    external_ref: str | None = None


class Official(Part, frozen=True):
    """An office holder who led, approved or determined something. In clear: they answer for it."""

    name: StaffName
    title: str


class Event(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What every action carries. `occurred_at` is when it happened in the world."""

    name: ClassVar[str]
    schema: ClassVar[int] = 1

    case_no: str | None = None
    opening: Opening | None = None
    action_id: UUID
    occurred_at: datetime
    operator: Operator | None = None
    evidence: tuple[Evidence, ...] = ()
    note: Text | None = None

    def about(self) -> UUID | None:
        """The one complaint whose key seals this action's texts; None: the case's."""
        return None


class RiskIdentified(Event, frozen=True, kw_only=True):
    """客户风险预控 (3.3). A risk source is identified; customers don't know, or know and are calm."""

    name = "risk_identified"


class Warned(Event, frozen=True, kw_only=True):
    """客户投诉预警 (3.4). Customers are stirring, or a complaint is imminent."""

    name = "warned"
    unrest: Text | None = None


class Received(Event, frozen=True, kw_only=True):
    """客户投诉 (3.5). A complaint was obtained; `occurred_at` is when any unit first obtained it (4.3)."""

    name = "received"
    complaint_id: UUID
    obtained_by: str | None = None
    channel: str
    household: str | None = None
    complainant: Complainant | None = None

    def about(self) -> UUID | None:
        return self.complaint_id


class Chased(Event, frozen=True, kw_only=True):
    """催办 (house rule). The same matter again: no new complaint, no clock."""

    name = "chased"
    complaint: UUID
    channel: str

    def about(self) -> UUID | None:
        return self.complaint


class ContactAttempted(Event, frozen=True, kw_only=True):
    """未能联系 (3.1). A contact was tried in vain; it stops no clock. `occurred_at` is the attempt."""

    name = "contact_attempted"
    complaints: tuple[UUID, ...] = ()
    households: tuple[str, ...] = ()
    channel: str
    outcome: str

    def about(self) -> UUID | None:
        return self.complaints[0] if len(self.complaints) == 1 else None


class Responded(Event, frozen=True, kw_only=True):
    """响应客户 (3.1). The customers were contacted and told who follows up. `occurred_at` is the contact.

    `everyone`: each complaint obtained at or before the contact, whenever it is recorded.
    """

    name = "responded"
    complaints: tuple[UUID, ...] = ()
    households: tuple[str, ...] = ()
    everyone: bool = False
    channel: str | None = None
    contact_person: ContactPerson

    def about(self) -> UUID | None:
        return self.complaints[0] if len(self.complaints) == 1 else None


class Noted(Event, frozen=True, kw_only=True):
    """备注 (house rule). Something worth keeping beside the case."""

    name = "noted"
    text: Text
    complaint: UUID | None = None

    def about(self) -> UUID | None:
        return self.complaint


class PolicyPublished(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """制度发布 (house rule: grades are data). A version of the regulation, whole, as published."""

    name: ClassVar[str] = "policy_published"
    schema: ClassVar[int] = 1

    document: dict[str, Any]

    def about(self) -> UUID | None:
        return None


class Assessed(Event, frozen=True, kw_only=True):
    """事件评估 (clause 7). The world changed: what the event has cost, harmed or delayed. Named facts are replaced.

    `facts` is the body's, as JSON: null is "not assessed"; `litigating_households` a list, or `{add, remove}`.
    """

    name = "assessed"
    facts: dict[str, Any]


class Escalated(Event, frozen=True, kw_only=True):
    """升级 (clause 5). The case is taken to a higher level: city, area, region or group."""

    name = "escalated"
    to: str
    reason: Text


class Member(Part, frozen=True):
    """A member of the emergency team and the function covered (4.4)."""

    name: StaffName
    function: str


class EmergencyStarted(Event, frozen=True, kw_only=True):
    """启动突发应急小组 (4.4). Reported to the group, and the emergency team led by the regional president."""

    name = "emergency_started"
    lead: Official
    members: tuple[Member, ...]
    reported_at: datetime


class PlanProposed(Event, frozen=True, kw_only=True):
    """提出处理方案 (3.2(1)). What is offered to the customers; `cost` in yuan."""

    name = "plan_proposed"
    summary: Text
    cost: str | None = None


class PlanApproved(Event, frozen=True, kw_only=True):
    """处理方案已审批 (3.2(1)). The decision and plan are approved and executable."""

    name = "plan_approved"
    plan: UUID
    approver: Official


class PlanAnswered(Event, frozen=True, kw_only=True):
    """业主答复方案 (3.2(2)). Complaining households accept the plan, or don't; they may change their mind."""

    name = "plan_answered"
    households: tuple[str, ...]
    accepted: bool


class Closed(Event, frozen=True, kw_only=True):
    """完结 (3.2). Calmed down, no major risk left: the closure criteria are met."""

    name = "closed"
    decision: Text
    recurrence_expected: bool


class Reopened(Event, frozen=True, kw_only=True):
    """重启 (house rule; 3.2 fears a recurrence). Starts the next cycle."""

    name = "reopened"
    reason: Text


class Finding(Part, frozen=True):
    """One responsible party and its share, a decimal of 100 (4.5)."""

    party: StaffName
    title: str
    unit: str
    finding: Text
    share_percent: str


class Blamed(Event, frozen=True, kw_only=True):
    """问责 (4.5). Who is responsible, in shares that make 100 together, or that nobody is."""

    name = "blamed"
    responsible: tuple[Finding, ...] = ()
    no_fault: bool = False
    conclusion: Text
    determined_by: Official


class Sanctioned(Event, frozen=True, kw_only=True):
    """追责 (4.5). What follows for a responsible party; once more with `implemented_at` when enforced (5.3(4))."""

    name = "sanctioned"
    party: StaffName
    measure: Text
    implemented_at: datetime | None = None


class LessonRecorded(Event, frozen=True, kw_only=True):
    """案例沉淀 (4.6). The lesson of the case, for the case library."""

    name = "lesson_recorded"
    root_cause: Text
    lesson: Text
    measures: tuple[Text, ...]


class LessonApplied(Event, frozen=True, kw_only=True):
    """案例应用 (4.6). A recorded lesson was applied to the work."""

    name = "lesson_applied"
    lesson: UUID
    applied_to: Text


class Linked(Event, frozen=True, kw_only=True):
    """关联 (house rule). `merged_into`: both are decided as one from now on; `related`, `recurrence_of` only point.

    The target's stream gets a counterpart of kind `merged_from`, so that each member's version tells of the merger.
    """

    name = "linked"
    case: UUID
    kind: str
    reason: Text


class Unlinked(Event, frozen=True, kw_only=True):
    """取消关联 (house rule). The link holds no longer."""

    name = "unlinked"
    case: UUID
    kind: str
    reason: Text


class Corrected(Event, frozen=True, kw_only=True):
    """更正 (house rule). An earlier action was recorded wrongly: what it should have said, or that it never happened.

    `action` is the one corrected, itself perhaps a correction; `root` the first of that chain. `becomes` is the whole
    root as it should read, sealed like any action; `replaced` names the fields that the correction changed.
    """

    name = "corrected"
    action: UUID
    root: UUID
    replaced: tuple[str, ...] = ()
    becomes: "Becomes | None" = None
    retract: bool = False
    reason: Text

    def about(self) -> UUID | None:
        return self.becomes.action.about() if self.becomes else None


class Becomes(Part, frozen=True):
    """One action of any type, under its stored name."""

    risk_identified: RiskIdentified | None = None
    warned: Warned | None = None
    received: Received | None = None
    chased: Chased | None = None
    contact_attempted: ContactAttempted | None = None
    responded: Responded | None = None
    assessed: Assessed | None = None
    escalated: Escalated | None = None
    emergency_started: EmergencyStarted | None = None
    plan_proposed: PlanProposed | None = None
    plan_approved: PlanApproved | None = None
    plan_answered: PlanAnswered | None = None
    closed: Closed | None = None
    reopened: Reopened | None = None
    blamed: Blamed | None = None
    sanctioned: Sanctioned | None = None
    lesson_recorded: LessonRecorded | None = None
    lesson_applied: LessonApplied | None = None
    linked: Linked | None = None
    unlinked: Unlinked | None = None
    noted: Noted | None = None

    @classmethod
    def of(cls, action: "Action") -> "Becomes":
        """That action, under its name."""
        given: dict[str, Any] = {action.name: action}
        return cls(**given)

    @property
    def action(self) -> "Action":
        """The one that is given."""
        for name in self.__struct_fields__:
            if (action := getattr(self, name)) is not None:
                return action  # type: ignore[no-any-return]
        raise LookupError("a correction that becomes nothing")


class Person(Part, frozen=True):
    """A named office holder of the directory."""

    name: str
    phone: Phone | None = None


class RegionDescribed(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """区域公司 (5.3). A region and who leads its customer relations, from an instant on."""

    name: ClassVar[str] = "region_described"
    schema: ClassVar[int] = 1

    code: str
    title: str
    valid_from: datetime
    president: Person | None = None
    customer_relations_executive: Person | None = None
    customer_relations_lead: Person | None = None

    def about(self) -> UUID | None:
        return None


class Managers(Part, frozen=True):
    """项目总、城市总、片区总 (4.4)."""

    project: Person | None = None
    city: Person | None = None
    area: Person | None = None


class ProjectDescribed(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """项目 (4.4). A housing estate, where it belongs and who manages it, from an instant on."""

    name: ClassVar[str] = "project_described"
    schema: ClassVar[int] = 1

    code: str
    title: str
    region: str
    valid_from: datetime
    city: str | None = None
    area: str | None = None
    handover_started_at: datetime | None = None
    handover_finished_at: datetime | None = None
    managers: Managers | None = None

    def about(self) -> UUID | None:
        return None


class DutyMissed(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """逾期通报 (house rule; 4.3). A duty's time was over and it was not met; told once a duty, subject and cycle.

    In the region's stream of notices, read by no verdict: a proof that is recorded later changes the duty, not this.
    """

    name: ClassVar[str] = "duty_missed"
    schema: ClassVar[int] = 1

    notice_id: UUID
    duty: str
    cycle: int
    case_id: UUID
    complaint_id: UUID | None = None
    due_at: datetime

    def about(self) -> UUID | None:
        return None


class LedgerRestored(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """账本恢复 (house rule). The database was restored from a backup: what the ledger held behind `base` is lost.

    This event stands right behind `base` and is the first of `epoch`. `kept_*`: the last head known of before, which
    the ledger no longer extends; its root in hex.
    """

    name: ClassVar[str] = "ledger_restored"
    schema: ClassVar[int] = 1

    epoch: int
    base: int
    reason: str
    kept_epoch: int | None = None
    kept_size: int | None = None
    kept_root: str | None = None

    def about(self) -> UUID | None:
        return None


class DestroyedKey(Part, frozen=True):
    """A data key that is gone for ever; `case_id`: the case whose own texts it sealed."""

    key_id: UUID
    case_id: UUID | None = None


class PersonErased(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """删除个人信息 (house rule). Somebody is forgotten: these data keys were destroyed with this very event.

    In a stream of its own; `case_id` and `complaint_id` are what was named. `reason` is sealed under a key of the
    erasure's own, and names nobody.
    """

    name: ClassVar[str] = "person_erased"
    schema: ClassVar[int] = 1

    erasure_id: UUID
    case_id: UUID
    complaint_id: UUID
    destroyed: tuple[DestroyedKey, ...]
    reason: Text

    def about(self) -> UUID | None:
        return self.erasure_id


Action = (
    RiskIdentified
    | Warned
    | Received
    | Chased
    | ContactAttempted
    | Responded
    | Assessed
    | Escalated
    | EmergencyStarted
    | PlanProposed
    | PlanApproved
    | PlanAnswered
    | Closed
    | Reopened
    | Blamed
    | Sanctioned
    | LessonRecorded
    | LessonApplied
    | Linked
    | Unlinked
    | Noted
    | Corrected
)
Entry = RegionDescribed | ProjectDescribed | PolicyPublished | DutyMissed | LedgerRestored | PersonErased
Fact = Action | Entry

# In the order in which actions of one instant are folded: the contract's table, openings first.
ACTIONS: Mapping[str, type[Action]] = {kind.name: kind for kind in get_args(Action)}
RANK: Mapping[str, int] = {name: rank for rank, name in enumerate(ACTIONS)}
KINDS: Mapping[str, type[Fact]] = {**ACTIONS, **{kind.name: kind for kind in get_args(Entry)}}
_DECODERS = {name: msgspec.json.Decoder(kind) for name, kind in KINDS.items()}
_ENCODER = msgspec.json.Encoder()

# (name, schema) of an older form -> the body of the next schema. Stored bytes are never rewritten.
Upcast = Callable[[dict[str, Any]], dict[str, Any]]
UPCASTS: dict[tuple[str, int], Upcast] = {}


class UnknownEvent(Exception):
    """The ledger holds an event of a newer release."""


def encode(fact: Fact) -> bytes:
    """The body as stored, once and for ever."""
    return _ENCODER.encode(fact)


def decode(name: str, schema: int, body: bytes) -> Fact:
    """The fact in a stored body of any schema version that was ever written; raises `UnknownEvent`."""
    kind = KINDS.get(name)
    if kind is None or schema > kind.schema:
        raise UnknownEvent(f"{name} {schema}")
    if schema == kind.schema:
        return _DECODERS[name].decode(body)
    older = msgspec.json.decode(body)
    for step in range(schema, kind.schema):
        older = UPCASTS[name, step](older)
    return msgspec.convert(older, kind)
