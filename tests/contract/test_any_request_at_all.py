"""Requests made from the document, and requests that break it, over real sockets, by callers of every role.

Never 5xx, never undocumented; what breaks the document is never taken. A soak (ANJUAN_SOAK=1) asks 300 times in each
way, over 20,000 requests in all; ANJUAN_EXAMPLES sets another number.
"""

import asyncio
import json
import os
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from intake_api.app import create_app
from services.caller import ROLES
from services.embedded_postgres import EmbeddedPostgres
from services.settings import Settings
from tests.conftest import fresh_database
from tests.e2e.fire import seed_of
from tests.e2e.serving import PROJECT, REGION, Service, Wire, opening, serving

EXAMPLES = int(os.environ.get("ANJUAN_EXAMPLES") or (300 if os.environ.get("ANJUAN_SOAK") == "1" else 40))
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
_KEYS = dict.fromkeys(("ANJUAN_TOKEN_KEY", "ANJUAN_MASTER_KEY", "ANJUAN_PHONE_KEY"), "A" * 43 + "=")
# The document alone: nothing is connected or stored.
_DOCUMENT = create_app(Settings(_KEYS), "postgresql://nowhere").openapi()
_FOUND = [
    found.ok() for found in schemathesis.openapi.from_dict(_DOCUMENT).get_all_operations() if isinstance(found, Ok)
]
OPERATIONS = {f"{operation.method.upper()} {operation.path}": operation for operation in _FOUND}


class Served(NamedTuple):
    """A running service, and the names in it that a random request would never hit."""

    url: str
    tokens: dict[str, str]
    case_id: str


@pytest.fixture(scope="module")
def served(cluster: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with (
        fresh_database(cluster) as url,
        serving(tmp_path_factory.mktemp("served"), url, ANJUAN_ACCESS_LOG="off") as service,
    ):
        case_id = asyncio.run(_furnished(service))
        tokens = {role: service.token(role) for role in ROLES}
        yield Served(f"http://127.0.0.1:{service.port}", tokens, case_id)


async def _furnished(service: Service) -> str:
    await service.describe_directory()
    async with Wire(service.port, service.token()) as wire:
        found: str = (await wire.ask("POST", "/v1/cases", opening())).json["case_id"]
    return found


def _aimed(case: Case[Any], served: Served, mode: GenerationMode) -> None:
    """At things that exist, so that more than 404 is met; what is wrong with a request is left as it is."""
    case.path_parameters = {
        name: {
            "case_id": served.case_id,
            "code": REGION if "regions" in case.path else PROJECT,
            "version": "V1.0",
            "job_id": served.case_id,
            # None that there is: each rebuild would be a process.
            "name": "others",
        }[name]
        for name in case.path_parameters
    }
    if isinstance(case.query, dict) and str(case.query.get("min_position", "")).isdecimal():
        # A position to which nobody has come is waited for, and answered 503.
        case.query["min_position"] = 1
    if mode is GenerationMode.NEGATIVE:
        return
    if isinstance(case.body, dict):
        if isinstance(case.body.get("project"), str):
            case.body["project"] = PROJECT
        if isinstance(case.body.get("region"), str):
            case.body["region"] = REGION


MODES = [
    pytest.param(name, mode, id=f"{name} {mode.value}")
    for name, operation in OPERATIONS.items()
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    # What never ends is heard elsewhere; where nothing is asked, nothing can be wrong.
    if (mode is GenerationMode.POSITIVE or operation.body or operation.query or operation.headers)
    and name != "GET /v1/stream"
]


def _who_may(name: str) -> str:
    if " /v1/audit/" in name:
        return "auditor"
    return "admin" if name.startswith(("PUT", "POST /v1/policies", "POST /v1/projections")) else "manager"


@cache
def _validator(schema: str) -> jsonschema_rs.Draft202012Validator:
    whole = {**json.loads(schema), "components": _DOCUMENT["components"]}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


def _fits(value: object, schema: dict[str, Any]) -> bool:
    return _validator(json.dumps(schema)).is_valid(value)


def _query_fits(url: str, parameters: list[dict[str, Any]]) -> bool:
    """Whether a query is one that the document foresees, as it came over the wire: there all is text."""
    schemas = {one["name"]: one["schema"] for one in parameters if one["in"] == "query"}
    given: dict[str, list[str]] = {}
    for name, text in parse_qsl(urlsplit(url).query, keep_blank_values=True):
        given.setdefault(name, []).append(text)
    return all(name in schemas and _values_fit(texts, schemas[name]) for name, texts in given.items())


def _values_fit(texts: list[str], schema: dict[str, Any]) -> bool:
    kind = schema["type"]
    if kind == "array":
        return _fits(texts, schema)
    if len(texts) > 1:
        return False
    if kind == "integer":
        return texts[0].isascii() and texts[0].isdecimal() and _fits(int(texts[0][:4000]), schema)
    return texts[0] in ("true", "false") if kind == "boolean" else _fits(texts[0], schema)


def _taken_amiss(operation: dict[str, Any], response: Any) -> str | None:
    """What of an accepted request the document does not foresee; of a batch each item is answered for itself."""
    if response.status_code >= 400:
        return None
    if not _query_fits(response.request.url, operation.get("parameters", [])):
        return "query"
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if not content or not response.request.body:
        return None
    body = json.loads(response.request.body)
    if content["schema"]["$ref"].endswith("/Batch"):
        item = {"$ref": "#/components/schemas/BatchItem"}
        told = zip(body, response.json()["results"], strict=True)
        return "item" if any(one["status"] < 400 and not _fits(said, item) for said, one in told) else None
    return None if _fits(body, content["schema"]) else "body"


@pytest.mark.parametrize(("name", "mode"), MODES)
def test_any_request_is_answered_as_documented(served: Served, name: str, mode: GenerationMode) -> None:
    operation = OPERATIONS[name]
    answered: list[int] = []
    # Half of the time by a role that may, so that more than the door is met.
    roles = st.one_of(st.just(_who_may(name)), st.sampled_from(ROLES))

    @seed(seed_of(name))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    @given(case=operation.as_strategy(generation_mode=mode), role=roles)
    def ask(case: Case[Any], role: str) -> None:
        _aimed(case, served, mode)
        response = case.call(
            base_url=served.url, headers={"Authorization": f"Bearer {served.tokens[role]}"}, timeout=10
        )
        case.validate_response(response, checks=CHECKS)
        answered.append(response.status_code)
        described = _DOCUMENT["paths"][operation.path][operation.method]
        assert _taken_amiss(described, response) is None, case.as_curl_command()

    ask()
    print(f"{name}, {mode.value}: {dict(Counter(answered))}")
    assert answered
    assert all(status < 500 for status in answered)
