"""The policy document: what the regulation says in figures, each with its clause and where it comes from.

Grades, duties and closure are data. A document that is not sound is refused with every fault named (`soundness`).
"""

from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

_SHIPPED = Path(__file__).parent / "policies"


def _decimal(value: Any) -> Decimal:
    """Exact: a string or a whole number, never a float."""
    if isinstance(value, Decimal):
        return value
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise PydanticCustomError("number_malformed", "not a whole number or a decimal string")
    try:
        number = Decimal(value)
    except ArithmeticError:
        raise PydanticCustomError("number_malformed", "not a whole number or a decimal string") from None
    if not number.is_finite() or number < 0:
        raise PydanticCustomError("number_malformed", "not a number of 0 or more")
    return number


def _fraction(value: Any) -> Fraction:
    if isinstance(value, Fraction):
        return value
    try:
        share = Fraction(value) if isinstance(value, str) else None
    except (ValueError, ZeroDivisionError):
        share = None
    if share is None or not 0 <= share <= 1:
        raise PydanticCustomError("share_malformed", 'not a share like "1/2"')
    return share


_FIGURE = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^\d+(\.\d+)?$"}]}
_SHARE = {"type": "string", "examples": ["1/2"]}
Number = Annotated[Decimal, BeforeValidator(_decimal), PlainSerializer(str), WithJsonSchema(_FIGURE)]
Share = Annotated[Fraction, BeforeValidator(_fraction), PlainSerializer(str), WithJsonSchema(_SHARE)]
Source = Literal["stated", "interpretation", "open", "house_rule"]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Code = Annotated[str, Field(pattern=r"^[\w.-]{1,32}$")]


class Part(BaseModel):
    """A piece of the document: closed, so that no typo changes a rule."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Label(Part):
    """What it is called on screens."""

    zh: str
    en: str


class Sourced(Part):
    """Where a figure or rule comes from: the clause says it, leaves it to the reader, or gives no number."""

    source: Source
    clause: str | None = None
    reason: str | None = None

    @model_validator(mode="after")
    def _accounted_for(self) -> Self:
        if self.source != "house_rule" and not self.clause:
            raise PydanticCustomError("clause_missing", "a rule of the regulation names its clause")
        if self.source != "stated" and not self.reason:
            raise PydanticCustomError("reason_missing", "what the clause does not state needs a reason")
        return self


class Bound(Sourced):
    """A bound of a number; one whose source is `open` has no value."""

    value: Number | None = None

    @model_validator(mode="after")
    def _given_or_open(self) -> Self:
        if (self.value is None) != (self.source == "open"):
            raise PydanticCustomError("bound_open", "a bound has a value, or its source is open")
        return self


class MassBound(Bound):
    """From how many households on a key event is a mass complaint (4.4); `fact` says which are counted."""

    fact: str


class Sum(Sourced):
    """Several facts held against one bound: amounts added up, or households counted each once."""

    name: Name
    kind: Literal["total", "distinct"]
    of: Annotated[tuple[str, ...], Field(min_length=1)]


class Condition(Part):
    """A flag that is set, a number within bounds (the lower one included), or several of them."""

    any: "tuple[Condition, ...] | None" = None
    all: "tuple[Condition, ...] | None" = None
    fact: str | None = None
    at_least: Bound | None = None
    below: Bound | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [name for name in ("any", "all", "fact") if getattr(self, name)]
        if len(given) != 1 or (self.fact is None and (self.at_least or self.below)):
            raise PydanticCustomError("condition_malformed", "a condition is any, all, or a fact with its bounds")
        return self


class Criterion(Sourced):
    """One reason to have a grade. Any one of a grade's criteria is enough."""

    id: Code
    when: Condition
    label: Label | None = None


class Grade(Part):
    """One level, with its criteria. `key`: a case of it is a key event (5.1(3), 4.4)."""

    code: Code
    label: Label
    clause: str
    key: bool
    criteria: Annotated[tuple[Criterion, ...], Field(min_length=1)]


class Allowed(Sourced):
    """The time allowed; with source `open` the duty is tracked and never overdue."""

    amount: Annotated[int, Field(gt=0, le=100_000)] | None = None
    unit: Literal["minutes", "hours", "days", "working_days"] = "hours"

    @model_validator(mode="after")
    def _given_or_open(self) -> Self:
        if (self.amount is None) != (self.source == "open"):
            raise PydanticCustomError("bound_open", "the time allowed has an amount, or its source is open")
        return self


class Calendar(Sourced):
    """Which hours count."""

    kind: Literal["round_the_clock", "working_days_of_china"]


Office = Literal[
    "obtaining_unit", "region", "regional_customer_relations_executive", "property_services_group", "group"
]


class Owed(Part):
    """Who owes a duty: in general, and in a category of its own rules."""

    by: Office
    in_category: dict[str, Office] = {}


class Duty(Sourced):
    """One thing that is owed: what starts its clock, what meets it, and the time between."""

    duty: Name
    starts: Literal["complaint_obtained", "key_mass_complaint", "closure"]
    met_by: Literal["responded", "closed", "emergency_reported", "blamed", "lesson_recorded"]
    within: Allowed
    calendar: Calendar
    owed: Owed
    supervised_by: dict[Literal["all", "key"], Office] = {}
    label: Label | None = None


class ClosureCriterion(Sourced):
    """One condition of closing (3.2); `more_than`: the share of complaining households that must be exceeded."""

    criterion: Literal["plan_approved", "accepting_households", "recurrence_expected", "complaints_answered"]
    more_than: Share | None = None

    @model_validator(mode="after")
    def _has_its_share(self) -> Self:
        if (self.more_than is None) != (self.criterion != "accepting_households"):
            raise PydanticCustomError("share_missing", "accepting_households, and nothing else, has a share")
        return self


class Policy(Part):
    """One version of a regulation. `grades` stand in order of severity, the most severe first."""

    number: Annotated[str, Field(min_length=1, max_length=64)]
    version: Code
    effective_from: AwareDatetime
    effective_from_source: Source = "stated"
    labels: Label
    sums: tuple[Sum, ...] = ()
    mass_bound: MassBound
    grades: tuple[Grade, ...]
    duties: tuple[Duty, ...]
    closure: tuple[ClosureCriterion, ...]

    def duty(self, name: str) -> Duty:
        """The document's rule for a duty; `LookupError` if it has none."""
        for duty in self.duties:
            if duty.duty == name:
                return duty
        raise LookupError(f"the document has no duty {name}")

    @cached_property
    def sum_of(self) -> dict[str, Sum]:
        """The sums by name."""
        return {one.name: one for one in self.sums}

    def __hash__(self) -> int:
        return hash((self.number, self.version))


def read(text: str) -> Any:
    """The plain values of a document in YAML; a date stays text, so that its offset is judged with the rest."""
    return yaml.load(text, Loader=_Plain)


class _Plain(yaml.SafeLoader):
    """YAML without dates and floats: a figure is a whole number or text."""


_Plain.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":float"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@cache
def shipped() -> Policy:
    """RC-JT-PM-GZ001 V1.0."""
    return Policy.model_validate(read((_SHIPPED / "RC-JT-PM-GZ001-V1.0.yaml").read_text("utf-8")))


def in_force(policies: "tuple[Policy, ...]", at: datetime) -> tuple[Policy, bool]:
    """The document that judges a case opened at an instant, and whether it was in force by then.

    Cases before the first document are judged by the first.
    """
    begun = [policy for policy in policies if policy.effective_from <= at]
    if begun:
        return max(begun, key=lambda policy: policy.effective_from), True
    return min(policies, key=lambda policy: policy.effective_from), False
