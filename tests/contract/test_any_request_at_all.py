"""Requests made from the document, and requests that break it, over real sockets: never 5xx, never undocumented."""

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from intake_api.app import create_app
from services.embedded_postgres import EmbeddedPostgres
from services.settings import Settings
from tests.conftest import fresh_database
from tests.e2e.fire import seed_of
from tests.e2e.serving import PROJECT, REGION, Service, Wire, opening, serving

EXAMPLES = 300 if os.environ.get("ANJUAN_SOAK") == "1" else 40
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
        tokens = {role: service.token(role) for role in ("manager", "admin")}
        yield Served(f"http://127.0.0.1:{service.port}", tokens, case_id)


async def _furnished(service: Service) -> str:
    await service.describe_directory()
    async with Wire(service.port, service.token()) as wire:
        found: str = (await wire.ask("POST", "/v1/cases", opening())).json["case_id"]
    return found


def _aimed(case: Case[Any], served: Served) -> None:
    """At things that exist, so that more than 404 is met."""
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
    if isinstance(case.body, dict):
        if isinstance(case.body.get("project"), str):
            case.body["project"] = PROJECT
        if isinstance(case.body.get("region"), str):
            case.body["region"] = REGION


MODES = [
    pytest.param(name, mode, id=f"{name} {mode.value}")
    for name, operation in OPERATIONS.items()
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    # Where nothing is asked, nothing can be wrong.
    if mode is GenerationMode.POSITIVE or operation.body or operation.query or operation.headers
]


@pytest.mark.parametrize(("name", "mode"), MODES)
def test_any_request_is_answered_as_documented(served: Served, name: str, mode: GenerationMode) -> None:
    operation = OPERATIONS[name]
    answered: list[int] = []
    role = "admin" if name.startswith(("PUT", "POST /v1/policies", "POST /v1/projections")) else "manager"

    @seed(seed_of(name))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Case[Any]) -> None:
        _aimed(case, served)
        response = case.call(
            base_url=served.url, headers={"Authorization": f"Bearer {served.tokens[role]}"}, timeout=10
        )
        case.validate_response(response, checks=CHECKS)
        answered.append(response.status_code)

    ask()
    print(f"{name}, {mode.value}: {dict(Counter(answered))}")
    assert answered
    assert all(status < 500 for status in answered)
