"""The OpenAPI document says what the service does: every route, every status, every field."""

from itertools import chain
from typing import Any
from uuid import UUID, uuid4

import jsonschema_rs
import pytest

from intake_api.lean_route import LeanRoute
from tests.contract.hearing import listening
from tests.contract.house import EXPORTS, RESPONSE, House, Judge, codes, opening
from tests.unit.test_policy_documents import document

pytestmark = pytest.mark.anyio


async def test_the_document_is_the_one_that_the_service_publishes(house: House) -> None:
    assert (await house.client.get("/openapi.json")).json() == house.app.openapi()


def test_every_route_is_documented_and_every_documented_path_is_a_route(house: House) -> None:
    routes = {(path, method) for r in house.app.routes if isinstance(r, LeanRoute) for path, method in _of(r)}
    documented = {
        (path, method.upper()) for path, operations in house.app.openapi()["paths"].items() for method in operations
    }
    assert documented == routes


def _of(route: LeanRoute) -> list[tuple[str, str]]:
    return [(route.path, method) for method in route.methods or ()]


def test_every_reference_leads_somewhere(house: House) -> None:
    document = house.app.openapi()
    referred = {value for key, value in _items(document) if key == "$ref"}
    assert {ref.rpartition("/")[2] for ref in referred} <= set(document["components"]["schemas"])
    assert referred


def _items(value: object) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [*value.items(), *chain.from_iterable(_items(item) for item in value.values())]
    if isinstance(value, list):
        return list(chain.from_iterable(_items(item) for item in value))
    return []


def test_every_example_is_valid(house: House) -> None:
    schemas = house.app.openapi()["components"]["schemas"]
    with_examples = {name: schema for name, schema in schemas.items() if "examples" in schema}
    for name, schema in with_examples.items():
        whole = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
        validator = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
        assert [str(fault) for example in schema["examples"] for fault in validator.iter_errors(example)] == []
    assert len(with_examples) >= 9


def test_every_refusal_is_documented_as_a_problem(house: House) -> None:
    answers = [
        answer
        for operations in house.app.openapi()["paths"].values()
        for operation in operations.values()
        for status, answer in operation["responses"].items()
        if int(status) >= 400
    ]
    assert answers
    assert {tuple(answer["content"]) for answer in answers} == {("application/problem+json",)}


async def test_every_route_was_seen_to_answer_as_documented(house: House) -> None:
    """Each answer of every test passes before the judge; here each route's good answer must be among them."""
    region = await house.region(managers={"project": {"name": "孙六", "phone": "13900001111"}})
    agent, admin = house.agent(region), house.caller("admin", subject="seer")
    key = str(uuid4())
    case = (await agent.post("/v1/cases", opening(region, tags=["a"], external_ref="x"), key)).json()
    path = f"/v1/cases/{case['case_id']}"
    whole_bodies: dict[str, dict[str, Any]] = {
        "received": {"obtained_at": RESPONSE["contacted_at"], "channel": "app"},
        "responded": RESPONSE,
        "contact_attempted": {
            "households": ["3-1-201"],
            "attempted_at": RESPONSE["contacted_at"],
            "channel": "app",
            "outcome": "busy",
        },
        "chased": {"complaint": case["complaints"][0]["complaint_id"], "channel": "app"},
        "noted": {"text": "一"},
    }
    more: dict[str, Any] = {
        "operator": {"id": "1", "name": "甲"},
        "evidence": [{"kind": "photo", "ref": "a.jpg", "sha256": "0" * 64, "at": "2026-01-15T08:00:00Z"}],
        "note": "备注",
    }
    for kind, body in whole_bodies.items():
        assert codes([await agent.act(case, kind, **body, **more)]) == [201]
    risk = await agent.case(region, stage="risk", unrest="无")
    assert codes([await agent.act(risk, "warned", unrest="聚集")]) == [201]
    item = {"idempotency_key": str(uuid4()), "case_id": case["case_id"], "action": {"type": "noted", "text": "补"}}
    assert codes([await agent.post("/v1/actions/batch", [item], None)]) == [200]
    for asked in (
        "/v1/cases",
        *EXPORTS,
        "/v1/labels",
        "/v1/summary",
        "/v1/breaches",
        "/v1/duties",
        path,
        f"{path}/grade",
        f"{path}/actions",
        f"{path}/complaints",
        f"/v1/cases/{risk['case_id']}",
    ):
        assert codes([await agent.get(asked)]) == [200]
    async with listening(house, agent) as heard:
        assert heard.status == 200
    assert codes([await agent.post("/v1/cases/search", {"household": "3-1-201"}, None)]) == [200]
    assert codes([await admin.get(asked) for asked in ("/v1/policies", "/v1/policies/V1.0")]) == [200, 200]
    published = {**document(), "version": "V-seen", "effective_from": "2099-01-01T00:00:00Z"}
    assert codes([await admin.post("/v1/policies", published)]) == [201]
    draft = await admin.post("/v1/policies/impact", {"policy": {**published, "version": "V-tried"}}, None)
    assert draft.status_code == 200
    job_id = str((await house.services.log.read.rows("SELECT max(job_id::text) FROM jobs", []))[0][0])
    assert codes([await admin.get(f"/v1/jobs/{job_id}{rest}") for rest in ("", "/result")]) == [200, 200]
    auditor = house.caller("auditor")
    assert codes([await auditor.post("/v1/audit/replay", {"region": region}, None)]) == [200]
    for asked in ("events", "head", "proof?position=1", "keys", "access"):
        assert codes([await auditor.get(f"/v1/audit/{asked}")]) == [200]
    for asked in ("/v1/regions", "/v1/projects", f"/v1/regions/{region}", f"/v1/projects/{region}-1"):
        assert codes([await admin.get(asked)]) == [200]
    assert codes([await admin.get("/v1/projections")]) == [200]
    begun = await admin.send("POST", "/v1/projections/cases/rebuild")
    assert begun.status_code == 202
    await house.services.jobs.settled(UUID(begun.json()["job_id"]), "seer", 30)
    for asked in ("/livez", "/readyz", "/readyz/projections", "/metrics", "/openapi.json", "/v1/problems"):
        assert (await house.client.get(asked)).status_code == 200
    seen = {(method, path) for method, path, status in house.judge.seen if status < 300}
    documented = {(m.upper(), p) for p, ops in house.app.openapi()["paths"].items() for m in ops}
    assert documented - seen == set()


async def test_the_judge_refuses_an_answer_that_the_document_does_not_foresee(house: House) -> None:
    document = house.app.openapi()
    schemas = {**document["components"]["schemas"]}
    schemas["ListedCase"] = {**schemas["ListedCase"], "required": [*schemas["ListedCase"]["required"], "mood"]}
    strict = Judge({**document, "components": {**document["components"], "schemas": schemas}})
    region = await house.region()
    agent = house.agent(region)
    await agent.case(region)
    answer = await agent.get("/v1/cases")
    with pytest.raises(AssertionError, match="mood"):
        await strict.look_at(answer)
