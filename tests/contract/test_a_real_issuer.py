"""Somebody else's OpenID Connect provider, asked as a browser and its application ask it, opens the API."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.contract.house import Caller, codes, open_house

pytestmark = pytest.mark.anyio

BACK = "https://desk.example/back"
PEOPLE: dict[str, dict[str, object]] = {
    "agent-7": {"anjuan": {"roles": ["uma", "agent"], "regions": ["GD"]}},
    "boss": {"anjuan": {"roles": ["manager"], "regions": ["*"]}},
    "guest": {"anjuan": {"roles": ["uma"], "regions": ["*"]}},
    "nobody": {},
}


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """In a process of its own, as any provider is."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    people = [f"--user-claims={json.dumps({'sub': name, **claims})}" for name, claims in PEOPLE.items()]
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port), "--token-max-age", "600", *people]
    with (tmp_path_factory.mktemp("issuer") / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        found = f"http://127.0.0.1:{port}"
        for _ in range(200):
            with contextlib.suppress(httpx.HTTPError):
                httpx.get(f"{found}/jwks").raise_for_status()
                break
            assert process.poll() is None
            time.sleep(0.05)
        yield found
    finally:
        process.kill()
        process.wait()


def _logged_in(issuer: str, subject: str, application: str) -> str:
    """Its token of that person for that application, by the authorization code flow."""
    asked = {"client_id": application, "redirect_uri": BACK, "response_type": "code", "scope": "openid"}
    with httpx.Client(base_url=issuer) as browser:
        found = browser.get("/.well-known/openid-configuration").json()
        sent = browser.post(found["authorization_endpoint"], params=asked, data={"sub": subject})
        code = parse_qs(urlsplit(sent.headers["location"]).query)["code"][0]
        told = browser.post(
            found["token_endpoint"],
            data={"grant_type": "authorization_code", "code": code, "redirect_uri": BACK},
            auth=(application, "any"),
        )
    token: str = told.json()["id_token"]
    return token


async def test_whoever_it_says_may_is_let_in_and_nobody_else(issuer: str, database_url: str, tmp_path: Path) -> None:
    settings = {
        "ANJUAN_OIDC_ISSUER": issuer,
        "ANJUAN_OIDC_AUDIENCE": "anjuan",
        "ANJUAN_OIDC_ROLE_CLAIM": "anjuan.roles",
        "ANJUAN_OIDC_REGIONS_CLAIM": "anjuan.regions",
    }
    async with open_house(database_url, tmp_path, **settings) as house:
        for subject, application, expected in (
            ("agent-7", "anjuan", 200),
            ("boss", "anjuan", 200),
            ("guest", "anjuan", "unauthenticated"),
            ("nobody", "anjuan", "unauthenticated"),
            ("boss", "another", "unauthenticated"),
        ):
            token = await asyncio.to_thread(_logged_in, issuer, subject, application)
            caller = Caller(house.client, token, "")
            assert codes([await caller.get("/v1/cases")]) == [expected], (subject, application)
        region = await house.region()
        token = await asyncio.to_thread(_logged_in, issuer, "boss", "anjuan")
        case = await Caller(house.client, token, "manager").case(region)
        actions = await Caller(house.client, token, "manager").get(f"/v1/cases/{case['case_id']}/actions")
        assert actions.json()["items"][0]["actor"] == {"sub": "boss", "role": "manager", "unit": "region"}
