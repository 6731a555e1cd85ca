"""The policy document: what the regulation states in figures, each with its clause."""

from datetime import datetime
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict

_SHIPPED = Path(__file__).parent / "policies"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


def _share(text: object) -> Fraction:
    return Fraction(str(text))


Share = Annotated[Fraction, BeforeValidator(_share)]


class Duty(_Part):
    """One thing that is owed, and the seconds allowed for it."""

    duty: Literal["respond"]
    clause: str
    starts: str
    met_by: str
    within_seconds: int
    source: Literal["stated", "interpretation"]
    calendar: Literal["every_hour_of_the_year"]
    calendar_source: Literal["stated", "interpretation"]
    calendar_reason: str


class ClosureCriterion(_Part):
    """One condition of closing (3.2); `more_than`: the share of complaining households that must be exceeded."""

    criterion: Literal["plan_approved", "accepting_households", "recurrence_expected", "complaints_answered"]
    clause: str | None
    source: Literal["stated", "interpretation", "house_rule"]
    reason: str | None = None
    more_than: Share | None = None


class Policy(_Part):
    """One version of the regulation."""

    number: str
    version: str
    effective_from: datetime
    duties: tuple[Duty, ...]
    closure: tuple[ClosureCriterion, ...]

    def duty(self, name: str) -> Duty:
        """The document's rule for a duty; `LookupError` if it has none."""
        for duty in self.duties:
            if duty.duty == name:
                return duty
        raise LookupError(f"the document has no duty {name}")


@cache
def shipped() -> Policy:
    """RC-JT-PM-GZ001 V1.0."""
    return Policy.model_validate(yaml.safe_load((_SHIPPED / "RC-JT-PM-GZ001-V1.0.yaml").read_text("utf-8")))
