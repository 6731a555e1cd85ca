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
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$")]
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


class FactsBody(Body):
    """What was assessed (clause 7). Left out or null: not assessed, which is not zero."""

    compensation: Cost | None = None
    upgrade_cost: Cost | None = None
    economic_loss: Cost | None = None
    casualties: CasualtiesBody | None = None
    litigating_households: Annotated[tuple[Label, ...], Field(max_length=_MANY)] | None = None
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


class Note(Command):
    """备注: something worth keeping beside the case."""

    type: Literal["noted"]
    text: Prose
    complaint: Id | None = None


ActionCommand = Annotated[Warn | Receive | Chase | AttemptContact | Respond | Note, Field(discriminator="type")]


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


ACTION = TypeAdapter[Warn | Receive | Chase | AttemptContact | Respond | Note](ActionCommand)
OPENING = TypeAdapter(OpenCase)
REGION = TypeAdapter(DescribeRegion)
PROJECT = TypeAdapter(DescribeProject)
