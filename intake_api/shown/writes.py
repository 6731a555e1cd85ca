"""What a write is answered with, and a batch of them."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from intake_api.shown.cases import CaseHead, ShownAction
from intake_api.shown.common import Shown
from services.instants import Instant


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
