"""The OpenAPI document: a named schema per type of action and per answer, examples included."""

from typing import Any, get_args

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.responses import Response

from grading_engine.policy import Policy
from intake_api.examples import EXAMPLES
from intake_api.shown.auditing import AuditEvent, AuditHead, KeyPage, LookPage, Proof
from intake_api.shown.cases import Case, CaseHead, GradeExplanation, OpenedCase
from intake_api.shown.directory import Project, ProjectPage, Region, RegionPage
from intake_api.shown.lists import ActionPage, BreachPage, CasePage, ComplaintPage, DutyPage, Summary
from intake_api.shown.operating import Problem, ProjectionPage, ShownJob
from intake_api.shown.policies import Impact, Labels, PolicyPage, PublishedPolicy
from intake_api.shown.replays import Replayed
from intake_api.shown.writes import BatchAnswer, BatchItem, Erased, Written
from services.commands import (
    AnyAction,
    AskImpact,
    AskReplay,
    DescribeProject,
    DescribeRegion,
    ErasePerson,
    OpenCase,
    SearchCases,
)

ACTION_BODIES = get_args(AnyAction)


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
