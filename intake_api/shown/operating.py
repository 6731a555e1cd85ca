"""Jobs, views, and problems."""

from typing import Literal

from pydantic import BaseModel, Field

from intake_api.problems import CODES
from intake_api.shown.cases import ShownUnmet
from intake_api.shown.common import Shown
from services.instants import Instant


class ShownJob(Shown):
    """How far longer work has come; `progress` in percent."""

    job_id: str
    state: Literal["running", "done", "failed"]
    progress: int
    result_url: str | None


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


class ProjectionPage(Shown):
    """All projections."""

    items: list[ShownProjection]
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
