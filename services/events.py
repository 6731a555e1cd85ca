"""The facts. One frozen class per stored event; its stored name is a word of the contract and stays for ever.

Bodies are compact JSON. Fields marked personal hold plain text only between `decide` and the vault; what is stored
and read back there is the sealed token (`services.vault`).
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

import msgspec

Name = Annotated[str, msgspec.Meta(extra={"personal": "name"})]
Phone = Annotated[str, msgspec.Meta(extra={"personal": "phone"})]
Text = Annotated[str, msgspec.Meta(extra={"personal": "text"})]

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


Action = RiskIdentified | Warned | Received | Chased | ContactAttempted | Responded | Noted
Entry = RegionDescribed | ProjectDescribed
Fact = Action | Entry

ACTIONS: Mapping[str, type[Action]] = {
    kind.name: kind for kind in (RiskIdentified, Warned, Received, Chased, ContactAttempted, Responded, Noted)
}
KINDS: Mapping[str, type[Fact]] = {**ACTIONS, **{kind.name: kind for kind in (RegionDescribed, ProjectDescribed)}}
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
