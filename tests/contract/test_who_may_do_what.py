"""The matrix of roles, endpoint by endpoint; and that no other token opens anything."""

import asyncio
import base64
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey

from intake_api.access import Tokens
from tests.contract.hearing import listening
from tests.contract.house import EXPORTS, RESPONSE, Caller, House, codes, opening

pytestmark = pytest.mark.anyio

ROLES = ("agent", "manager", "dashboard", "auditor", "admin")
WRITES, READS = (201, 201, 403, 403, 403), (200, 200, 200, 200, 403)
UPLOADS = (200, 200, 403, 403, 403)
# An empty document: whoever may publish is told what it lacks.
UNSOUND = (403, 403, 403, 403, 422)
# A job is only told to who began it.
NOBODY_S = (404,) * 5
AUDITOR = (403, 403, 403, 200, 403)
ALL, NOBODY_BUT_ADMIN = (200,) * 5, (403, 403, 403, 403, 200)

MATRIX: dict[str, tuple[int, ...]] = {
    "POST /v1/cases": WRITES,
    "POST /v1/cases/{case}/actions": WRITES,
    "POST /v1/actions/batch": UPLOADS,
    "GET /v1/cases": READS,
    **{f"GET {path}": READS for path in sorted(EXPORTS)},
    "GET /v1/labels": ALL,
    "GET /v1/summary": READS,
    "POST /v1/cases/search": UPLOADS,
    "GET /v1/stream": READS,
    "GET /v1/breaches": READS,
    "GET /v1/duties": READS,
    "GET /v1/cases/{case}": READS,
    "GET /v1/cases/{case}/grade": READS,
    "GET /v1/cases/{case}/actions": READS,
    "GET /v1/cases/{case}/complaints": READS,
    "PUT /v1/regions/{region}": NOBODY_BUT_ADMIN,
    "PUT /v1/projects/{region}-1": NOBODY_BUT_ADMIN,
    "POST /v1/policies": UNSOUND,
    "POST /v1/policies/impact": UNSOUND,
    "GET /v1/jobs/{case}": NOBODY_S,
    "GET /v1/jobs/{case}/result": NOBODY_S,
    "POST /v1/audit/replay": AUDITOR,
    "GET /v1/audit/events": AUDITOR,
    "GET /v1/audit/head": AUDITOR,
    "GET /v1/audit/proof": (403, 403, 403, 422, 403),
    "GET /v1/audit/keys": AUDITOR,
    "GET /v1/audit/access": AUDITOR,
    "GET /v1/projections": (403, 403, 403, 200, 200),
    "POST /v1/projections/others/rebuild": (403, 403, 403, 403, 404),
    "GET /v1/policies": ALL,
    "GET /v1/policies/V1.0": ALL,
    "GET /v1/regions": ALL,
    "GET /v1/regions/{region}": ALL,
    "GET /v1/projects": ALL,
    "GET /v1/projects/{region}-1": ALL,
}


@pytest.mark.parametrize("endpoint", MATRIX)
async def test_each_role_may_what_the_table_says(house: House, endpoint: str) -> None:
    region = await house.region()
    case = await house.agent(region).case(region)
    method, path = endpoint.format(case=case["case_id"], region=region).split(" ")
    body: Any = None
    found: list[int] = []
    if method != "GET":
        body = {"name": "新名"} if "regions" in path else {"name": "新名", "region": region}
        body = opening(region) if path == "/v1/cases" else body
        body = {"type": "noted", "text": "一"} if path.endswith("actions") else body
        body = [] if path.endswith("batch") else body
        body = {} if "/policies" in path or path.endswith("replay") else body
        body = {"q": "外墙"} if path.endswith("search") else body
    if path == "/v1/stream":
        # What never ends is only begun.
        for role in ROLES:
            async with listening(house, house.caller(role, region)) as heard:
                found.append(heard.status)
    found = found or [
        (await house.caller(role, region).send(method, path, body, idempotency_key=f"{role}{region}")).status_code
        for role in ROLES
    ]
    assert tuple(found) == MATRIX[endpoint]


def test_every_documented_endpoint_stands_in_the_table(house: House) -> None:
    in_paths = {
        "jobs/{case}": "jobs/{job_id}",
        "{case}": "{case_id}",
        "V1.0": "{version}",
        "others": "{name}",
        "{region}-1": "{code}",
        "{region}": "{code}",
    }
    listed = set()
    for endpoint in MATRIX:
        for written, documented in in_paths.items():
            endpoint = endpoint.replace(written, documented)
        listed.add(endpoint)
    with_token = {
        f"{method.upper()} {path}"
        for path, operations in house.app.openapi()["paths"].items()
        for method, operation in operations.items()
        if operation.get("security")
    }
    assert with_token == listed


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/openapi.json", "/v1/problems"])
async def test_some_things_need_no_token(house: House, path: str) -> None:
    assert (await house.client.get(path)).status_code == 200


ACTIONS: dict[str, dict[str, Any]] = {
    "warned": {"unrest": "聚集"},
    "received": {"obtained_at": RESPONSE["contacted_at"], "channel": "app"},
    "responded": RESPONSE,
    "contact_attempted": {
        "households": ["3-1-201"],
        "attempted_at": RESPONSE["contacted_at"],
        "channel": "hotline",
        "outcome": "no_answer",
    },
    "chased": {"channel": "hotline"},
    "noted": {"text": "一"},
}


@pytest.mark.parametrize("kind", ACTIONS)
@pytest.mark.parametrize("role", ["agent", "manager"])
async def test_agents_and_managers_append_every_action_that_there_is(house: House, role: str, kind: str) -> None:
    region = await house.region()
    caller = house.caller(role, region)
    case = await caller.case(region, stage="risk" if kind == "warned" else "complaint")
    body = dict(ACTIONS[kind])
    if kind == "chased":
        body["complaint"] = case["complaints"][0]["complaint_id"]
    answer = await caller.act(case, kind, **body)
    assert answer.status_code == 201, answer.text
    action = answer.json()["action"]
    assert (action["type"], action["actor"]["role"]) == (kind, role)


async def test_risk_identified_can_only_open_a_case(house: House) -> None:
    region = await house.region()
    manager = house.manager(region)
    case = await manager.case(region, stage="risk")
    assert codes([await manager.act(case, "risk_identified")]) == ["validation_failed"]


# Tokens that count for nothing ------------------------------------------------------------------------------------


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    sound = {
        "iss": "anjuan",
        "sub": "a",
        "role": "agent",
        "regions": ["*"],
        "unit": "region",
        "iat": now,
        "exp": now + 60,
    }
    return {name: value for name, value in {**sound, **changes}.items() if value is not ...}


def _signed(seed: bytes, claims: dict[str, Any], header: dict[str, Any] | None = None) -> str:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    head = _b64(json.dumps(header or {"alg": "Ed25519", "typ": "JWT"}).encode())
    said = f"{head}.{_b64(json.dumps(claims).encode())}"
    return f"{said}.{_b64(key.sign(said.encode()))}"


def _unsigned(claims: dict[str, Any], algorithm: str) -> str:
    return f"{_b64(json.dumps({'alg': algorithm}).encode())}.{_b64(json.dumps(claims).encode())}."


def _by_public_key_as_secret(seed: bytes) -> str:
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return jwt.encode({"alg": "HS256"}, _claims(), OctKey.import_key(public), algorithms=["HS256"])


def _other_key() -> str:
    key = OKPKey.generate_key("Ed25519")
    return jwt.encode({"alg": "Ed25519"}, _claims(), key, algorithms=["Ed25519"])


def _tampered(seed: bytes, part: int) -> str:
    parts = _signed(seed, _claims()).split(".")
    parts[part] = ("A" if parts[part][5] != "A" else "B").join((parts[part][:5], parts[part][6:]))
    return ".".join(parts)


def _with(**changes: Any) -> Callable[[bytes], str]:
    return lambda seed: "Bearer " + _signed(seed, _claims(**changes))


def _headed(**header: Any) -> Callable[[bytes], str]:
    return lambda seed: "Bearer " + _signed(seed, _claims(), {"typ": "JWT", **header})


HOUR = 3600
BAD_TOKENS: dict[str, Callable[[bytes], str]] = {
    "nothing": lambda seed: "",
    "the scheme alone": lambda seed: "Bearer",
    "the scheme and a space": lambda seed: "Bearer ",
    "another scheme": lambda seed: "Basic " + _signed(seed, _claims()),
    "no scheme": lambda seed: _signed(seed, _claims()),
    "words": lambda seed: "Bearer let me in",
    "two parts": lambda seed: "Bearer a.b",
    "four parts": lambda seed: "Bearer " + _signed(seed, _claims()) + ".x",
    "five parts": lambda seed: "Bearer a.b.c.d.e",
    "dots": lambda seed: "Bearer ..",
    "no base64": lambda seed: "Bearer !.!.!",
    "a long one": lambda seed: "Bearer " + "a" * 10_000,
    "two tokens": lambda seed: f"Bearer {_signed(seed, _claims())} {_signed(seed, _claims())}",
    "another key": lambda seed: "Bearer " + _other_key(),
    "the public key as a secret": lambda seed: "Bearer " + _by_public_key_as_secret(seed),
    "no signature": lambda seed: "Bearer " + _signed(seed, _claims()).rpartition(".")[0] + ".",
    "a tampered header": lambda seed: "Bearer " + _tampered(seed, 0),
    "tampered claims": lambda seed: "Bearer " + _tampered(seed, 1),
    "a tampered signature": lambda seed: "Bearer " + _tampered(seed, 2),
    "algorithm none": lambda seed: "Bearer " + _unsigned(_claims(), "none"),
    "algorithm None": lambda seed: "Bearer " + _unsigned(_claims(), "None"),
    "no algorithm": _headed(),
    "algorithm none, yet signed": _headed(alg="none"),
    "algorithm HS256, yet signed": _headed(alg="HS256"),
    "an unknown critical header": _headed(alg="Ed25519", crit=["x"], x=1),
    "expired": _with(exp=int(time.time()) - HOUR),
    "expired as a text": _with(exp="2999-01-01"),
    "never expiring": _with(exp=...),
    "expiring at null": _with(exp=None),
    "not valid yet": _with(nbf=int(time.time()) + HOUR),
    "issued in the future": _with(iat=int(time.time()) + HOUR),
    "another issuer": _with(iss="elsewhere"),
    "no issuer": _with(iss=...),
    "no subject": _with(sub=...),
    "an empty subject": _with(sub=""),
    "a subject that is a number": _with(sub=7),
    "a subject that is too long": _with(sub="s" * 256),
    "no role": _with(role=...),
    "an unknown role": _with(role="root"),
    "a list of roles": _with(role=["agent"]),
    "no regions": _with(regions=...),
    "a region that is no list": _with(regions="GD"),
    "a region that is a number": _with(regions=[1]),
    "an unknown unit": _with(unit="moon"),
    "expiring too late to count": _with(exp=10**400),
    "issued too early to count": _with(iat=-(10**400)),
    "a subject of no characters": _with(sub="a\0b"),
    "a region of half a character": _with(regions=["\ud800"]),
    "a logout token": _headed(alg="Ed25519", typ="logout+jwt"),
    "claims that are a list": lambda seed: "Bearer " + _signed(seed, [1]),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", BAD_TOKENS)
async def test_a_token_that_does_not_count_is_401_everywhere(house: House, name: str) -> None:
    said = BAD_TOKENS[name](house.services.token_key)
    headers = {"authorization": said} if said else {}
    answers = [
        await house.client.request(m, p, headers=headers) for m, p in (("GET", "/v1/cases"), ("POST", "/v1/cases"))
    ]
    assert codes(answers) == ["unauthenticated"] * 2
    assert len({answer.json()["detail"] for answer in answers}) == 1
    # RFC 6750, 3: who sent no token is not told that it is not valid.
    error = ', error="invalid_token"' if said.partition(" ")[0] == "Bearer" else ""
    assert {answer.headers["www-authenticate"] for answer in answers} == {f'Bearer realm="anjuan"{error}'}


def test_there_are_forty_tokens_at_least() -> None:
    assert len(BAD_TOKENS) >= 40


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_may_be_written_in_any_case(house: House, scheme: str) -> None:
    said = f"{scheme} {_signed(house.services.token_key, _claims())}"
    assert (await house.client.get("/v1/cases", headers={"authorization": said})).status_code == 200


async def test_a_known_token_needs_its_scheme_too(house: House) -> None:
    token = _signed(house.services.token_key, _claims(sub="known before"))
    answers = [
        await house.client.get("/v1/cases", headers={"authorization": f"{scheme} {token}"})
        for scheme in ("Bearer", "Basic")
    ]
    assert codes(answers) == [200, "unauthenticated"]


async def test_a_token_ends_with_its_time_even_when_it_was_known(house: House) -> None:
    # The clocks of two machines may differ by half a minute.
    said = {"authorization": "Bearer " + _signed(house.services.token_key, _claims(exp=time.time() - 29))}
    assert (await house.client.get("/v1/cases", headers=said)).status_code == 200
    await asyncio.sleep(1.1)
    assert codes([await house.client.get("/v1/cases", headers=said)]) == ["unauthenticated"]


async def test_each_token_without_a_subject_has_one_of_its_own(house: House) -> None:
    tokens: Tokens = house.services.tokens
    callers = {tokens.caller(f"Bearer {tokens.issue('agent', ['GD'], 'region', None, 1)}").subject for _ in range(3)}
    assert len(callers) == 3


async def test_an_action_says_whose_token_recorded_it(house: House) -> None:
    region = await house.region()
    token = house.services.tokens.issue("manager", [region], "group", "总部/甲", 1)
    caller = Caller(house.client, token, "manager")
    case = await caller.case(region)
    actions = (await caller.get(f"/v1/cases/{case['case_id']}/actions")).json()["items"]
    assert [action["actor"] for action in actions] == [{"sub": "总部/甲", "role": "manager", "unit": "group"}]
