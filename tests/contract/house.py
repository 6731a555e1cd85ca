"""The whole app without a socket, callers of every role, and a judge who compares each answer with the document."""

import itertools
import json
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import jsonschema_rs

from intake_api.app import Anjuan, create_app
from intake_api.services import Services
from services.settings import Settings

PROBLEM_FIELDS = {"type", "title", "status", "detail", "instance", "code", "errors"}
_numbers = itertools.count(1)


class Judge:
    """Knows the published document; every answer of a test passes before it."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._paths = [
            (re.compile(re.sub(r"{\w+}", "[^/]+", path)), path, operations)
            for path, operations in document["paths"].items()
        ]
        self.seen: set[tuple[str, str, int]] = set()

    def operation(self, method: str, path: str) -> tuple[str, dict[str, Any]] | None:
        """The documented operation that a request reaches, with its path's pattern."""
        found = [(p, ops) for pattern, p, ops in self._paths if pattern.fullmatch(path)]
        # A fixed path wins over a pattern.
        for pattern, operations in sorted(found, key=lambda one: "{" in one[0]):
            if method.lower() in operations:
                return pattern, operations[method.lower()]
        return None

    async def look_at(self, response: httpx.Response) -> None:
        """Fails the test whose answer the document does not foresee."""
        await response.aread()
        request = response.request
        assert "cache-control" in response.headers or request.method == "OPTIONS", "says nothing about being kept"
        found = self.operation(request.method, request.url.raw_path.decode().partition("?")[0])
        if response.status_code >= 400:
            self._is_problem(response)
        if found is None:
            assert response.status_code in (404, 405), response.text
            return
        path, operation = found
        self.seen.add((request.method, path, response.status_code))
        foreseen = operation["responses"].get(str(response.status_code))
        assert foreseen is not None, f"undocumented: {request.method} {path} {response.status_code} {response.text}"
        self._fits(response, foreseen.get("content", {}))

    def _fits(self, response: httpx.Response, content: dict[str, Any]) -> None:
        if not content:
            assert response.status_code == 304 or response.request.url.path in _UNMODELLED
            return
        kind = response.headers["content-type"].partition(";")[0]
        assert kind in content, f"undocumented content type {kind}"
        if not kind.endswith("json"):
            return
        validator = self._validator(json.dumps(content[kind]["schema"]))
        documents = map(json.loads, response.text.splitlines()) if kind == _LINES else [response.json()]
        faults = [
            f"{fault.instance_path}: {fault.message}" for one in documents for fault in validator.iter_errors(one)
        ]
        assert not faults, faults

    @cache  # noqa: B019 - one judge lives as long as the session
    def _validator(self, schema: str) -> jsonschema_rs.Draft202012Validator:
        whole = {**json.loads(schema), "components": self._document["components"]}
        return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)

    def _is_problem(self, response: httpx.Response) -> None:
        """One shape of problem on every route, told in one language, with nothing of the machine in it."""
        document = response.json()
        assert response.headers["content-type"] == "application/problem+json"
        assert set(document) >= PROBLEM_FIELDS
        assert document["status"] == response.status_code != 500
        assert document["type"] == f"/v1/problems/{document['code']}"
        assert document["instance"] == response.request.url.path
        assert document["title"] in document["detail"]
        assert not re.search(r"Traceback|psycopg|pydantic|Error\(|\.py\b", response.text)


_LINES = "application/x-ndjson"
_UNMODELLED = {"/v1/problems", "/livez", "/readyz", "/openapi.json", "/metrics", "/readyz/projections"}


EXPORTS = {f"/v1/{name}.{kind}" for name in ("cases", "breaches") for kind in ("csv", "xlsx")}
LISTS = {"/v1/cases", "/v1/breaches", "/v1/duties", "/v1/summary", *EXPORTS}
# Of each app the last position that a write was told: who looks at its lists wants to see it.
_written: dict[httpx.AsyncClient, int] = {}


class Caller:
    """A token's holder who talks to the app."""

    def __init__(self, client: httpx.AsyncClient, token: str, role: str) -> None:
        self._client, self.token, self.role = client, token, role

    async def send(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        """`body`: bytes go as they are; headers with ``_`` for ``-``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        kind = {"content-type": "application/json"} if content is not None else {}
        sent = {"authorization": f"Bearer {self.token}", **kind, **named}
        if method == "GET" and path.partition("?")[0] in LISTS and "min_position" not in path:
            path += f"{'&' if '?' in path else '?'}min_position={_written.get(self._client, 0)}"
        response = await self._client.request(method, path, content=content, headers=sent)
        if method != "GET" and (position := response.headers.get("ledger-position")):
            _written[self._client] = max(_written.get(self._client, 0), int(position))
        return response

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.send("GET", path, **headers)

    async def post(self, path: str, body: object, key: str | None = "", **headers: str) -> httpx.Response:
        """With a key of its own; None: without."""
        named = {} if key is None else {"idempotency_key": key or str(uuid4())}
        return await self.send("POST", path, body, **named, **headers)

    async def put(self, path: str, body: object, **headers: str) -> httpx.Response:
        return await self.send("PUT", path, body, **headers)

    async def case(self, home: str, /, **fields: Any) -> dict[str, Any]:
        """A new case in that region's project."""
        response = await self.post("/v1/cases", opening(home, **fields))
        assert response.status_code == 201, response.text
        found: dict[str, Any] = response.json()
        return found

    async def act(self, case: dict[str, Any], kind: str, key: str = "", /, **fields: Any) -> httpx.Response:
        """Append an action to a case."""
        return await self.post(f"/v1/cases/{case['case_id']}/actions", {**fields, "type": kind}, key)


class House:
    """The app with its callers."""

    def __init__(self, app: Anjuan, client: httpx.AsyncClient, judge: Judge) -> None:
        self.app, self.client, self.judge = app, client, judge
        self.services: Services = app.services

    def caller(self, role: str, *regions: str, subject: str | None = None, unit: str = "region") -> Caller:
        token = self.services.tokens.issue(role, list(regions) or ["*"], unit, subject, 1)
        return Caller(self.client, token, role)

    def agent(self, *regions: str, subject: str | None = None) -> Caller:
        return self.caller("agent", *regions, subject=subject)

    def manager(self, *regions: str) -> Caller:
        return self.caller("manager", *regions)

    async def region(self, **project: Any) -> str:
        """A new region with one project, ``<region>-1``."""
        code, admin = f"R{next(_numbers):04d}", self.caller("admin")
        for path, body in (
            (f"/v1/regions/{code}", {"name": f"区域{code}"}),
            (f"/v1/projects/{code}-1", {"name": f"项目{code}", "region": code, **project}),
        ):
            assert (await admin.put(path, body)).status_code == 200
        return code


def opening(home: str, /, **fields: Any) -> dict[str, Any]:
    """The body that opens a case in a region's project; None leaves a field out."""
    body = {
        "project": f"{home}-1",
        "category": "engineering",
        "title": "3栋外墙渗水",
        "obtained_at": "2026-01-15T16:05:00+08:00",
        "channel": "hotline",
        "household": "3栋1单元201室",
        "complainant": {"name": "李小明", "phone": "13812345678", "relation": "业主"},
        **fields,
    }
    if body.get("stage", "complaint") != "complaint":
        body = {k: v for k, v in body.items() if k not in ("obtained_at", "channel", "household", "complainant")}
    return {name: value for name, value in body.items() if value is not None}


RESPONSE: dict[str, Any] = {
    "complaints": "all",
    "contacted_at": "2026-01-15T16:40:00+08:00",
    "contact_person": {"name": "王五", "title": "客户关系专员", "phone": "0757-22334455"},
}


@asynccontextmanager
async def open_house(url: str, data: Path, **settings: str) -> AsyncIterator[House]:
    """The app over a migrated database, its life begun and ended."""
    # Notices are events too: where they are not looked at, only the test itself shall move the ledger.
    quiet = {"ANJUAN_ACCESS_LOG": "off", "ANJUAN_NOTICES": "off", "ANJUAN_FOLLOW": "inside"}
    app = create_app(Settings({"ANJUAN_DATA": str(data), **quiet, **settings}), url)
    judge = Judge(app.openapi())
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://anjuan.test",
            event_hooks={"response": [judge.look_at]},
        ) as client,
    ):
        yield House(app, client, judge)


def codes(responses: Iterable[httpx.Response]) -> list[str | int]:
    """Of each answer the problem's code, or the status."""
    return [r.json()["code"] if r.status_code >= 400 else r.status_code for r in responses]
