"""Tokens of a configured OpenID Connect issuer count beside the service's own; whatever is wrong with one is 401."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
from joserfc import jwe, jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from intake_api import issuer as looking
from intake_api.issuer_keys import NotTold, told
from services.embedded_postgres import EmbeddedPostgres
from tests.conftest import fresh_database
from tests.contract.hearing import listening
from tests.contract.house import Caller, House, codes, open_house
from tests.issuing import AUDIENCE, IssuerServer, Pair, ed25519

pytestmark = pytest.mark.anyio


def _weak() -> RSAKey:
    with warnings.catch_warnings(action="ignore"):
        return RSAKey.generate_key(1024)


RSA, EC, OKP = RSAKey.generate_key(2048), ECKey.generate_key("P-256"), OKPKey.generate_key("Ed25519")
PAIRS = {
    "RS256": Pair(RSA, "RS256", "rsa"),
    "PS256": Pair(RSA, "PS256", "pss"),
    "ES256": Pair(EC, "ES256", "ec"),
    "Ed25519": Pair(OKP, "Ed25519", "okp"),
}
NEXT = ed25519("next")
# Published too, but not for verifying tokens here.
UNFIT = {
    "enc": Pair(OKPKey.generate_key("Ed25519"), "Ed25519", "enc", use="enc"),
    "weak": Pair(_weak(), "RS256", "weak"),
    "signs": Pair(OKPKey.generate_key("Ed25519"), "Ed25519", "signs", key_ops=["sign"]),
    "curve": Pair(ECKey.generate_key("P-384"), "ES384", "curve"),
}
SECRET = OctKey.generate_key(256)


@pytest.fixture(scope="module")
def issuer() -> Iterator[IssuerServer]:
    with IssuerServer().serving() as server:
        yield server


@pytest.fixture(scope="module")
async def open_to(
    issuer: IssuerServer, cluster: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory, anyio_backend: object
) -> AsyncIterator[House]:
    """A house that the issuer's tokens open."""
    issuer.keys = [
        *(pair.public for pair in (*PAIRS.values(), NEXT, *UNFIT.values())),
        {**SECRET.as_dict(), "kid": "secret", "use": "sig", "alg": "HS256"},
        *({}, 7, None, {"kty": "RSA", "kid": "half"}, {"kty": "AKP", "kid": "new"}, {"kty": ["RSA"], "kid": []}),
    ]
    with fresh_database(cluster) as url:
        async with open_house(url, tmp_path_factory.mktemp("oidc"), **issuer.settings) as opened:
            yield opened


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "PAUSE", 0.05)


async def asked(house: House, token: str) -> Any:
    return await house.client.get("/v1/cases", headers={"authorization": f"Bearer {token}"})


# Good ones ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", PAIRS)
async def test_every_algorithm_that_is_allowed_counts(open_to: House, issuer: IssuerServer, algorithm: str) -> None:
    assert (await asked(open_to, PAIRS[algorithm].sign(issuer.claims()))).status_code == 200


async def test_the_old_name_of_ed25519_counts_too(open_to: House, issuer: IssuerServer) -> None:
    head, body = ({"alg": "EdDSA", "kid": "okp"}, issuer.claims())
    said = ".".join(_b64(json.dumps(part).encode()) for part in (head, body))
    signature = OKP.get_op_key("sign").sign(said.encode())  # type: ignore[union-attr]
    assert (await asked(open_to, f"{said}.{_b64(signature)}")).status_code == 200


async def test_the_service_s_own_tokens_count_as_before(open_to: House) -> None:
    assert (await open_to.manager().get("/v1/cases")).status_code == 200


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ({"typ": "at+jwt"}, {}),
        ({"typ": ...}, {}),
        ({"x-own": 1, "jku": "https://elsewhere.test/jwks", "x5t": "abc"}, {}),
        ({}, {"aud": ["others", AUDIENCE]}),
        ({}, {"role": ["offline_access", "agent"]}),
        ({}, {"unit": "group"}),
        ({}, {"jti": ..., "iat": ...}),
    ],
)
async def test_what_issuers_add_does_no_harm(
    open_to: House, issuer: IssuerServer, header: dict[str, Any], claims: dict[str, Any]
) -> None:
    assert (await asked(open_to, PAIRS["ES256"].sign(issuer.claims(**claims), **header))).status_code == 200


async def test_the_claims_say_who_it_is(open_to: House, issuer: IssuerServer) -> None:
    region = await open_to.region()
    claims = issuer.claims(sub="工号 7", role=["manager"], regions=[region], unit="property_services")
    caller = Caller(open_to.client, PAIRS["RS256"].sign(claims), "manager")
    case = await caller.case(region)
    actions = (await caller.get(f"/v1/cases/{case['case_id']}/actions")).json()["items"]
    assert actions[0]["actor"] == {"sub": "工号 7", "role": "manager", "unit": "property_services"}
    other = Caller(open_to.client, PAIRS["RS256"].sign(issuer.claims(regions=["X"])), "agent")
    assert (await other.get(f"/v1/cases/{case['case_id']}")).status_code == 404


# Bad ones -----------------------------------------------------------------------------------------------------------


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _raw(header: Any, claims: Any, signature: bytes = b"") -> str:
    return ".".join((_b64(json.dumps(header).encode()), _b64(json.dumps(claims).encode()), _b64(signature)))


def _by_secret(claims: dict[str, Any], secret: bytes, key_id: str, algorithm: str = "HS256") -> str:
    said = _raw({"alg": algorithm, "kid": key_id, "typ": "JWT"}, claims).rpartition(".")[0]
    return f"{said}.{_b64(hmac.new(secret, said.encode(), hashlib.sha256).digest())}"


def _with(**changes: Any) -> Callable[[IssuerServer], str]:
    return lambda issuer: PAIRS["RS256"].sign(issuer.claims(**changes))


def _headed(**changes: Any) -> Callable[[IssuerServer], str]:
    """Said in the header, and signed over it."""

    def made(issuer: IssuerServer) -> str:
        head = {"alg": "Ed25519", "kid": "okp", "typ": "JWT", **changes}
        said = _raw({k: v for k, v in head.items() if v is not ...}, issuer.claims()).rpartition(".")[0]
        return f"{said}.{_b64(OKP.get_op_key('sign').sign(said.encode()))}"  # type: ignore[union-attr]

    return made


def _of(pair: Pair, key_id: str, **header: Any) -> Callable[[IssuerServer], str]:
    return lambda issuer: Pair(pair.key, pair.algorithm, key_id).sign(issuer.claims(), **header)


def _embedded(issuer: IssuerServer) -> str:
    key = OKPKey.generate_key("Ed25519")
    return Pair(key, "Ed25519", "okp").sign(issuer.claims(), jwk=key.as_dict(private=False))


def _cut(issuer: IssuerServer, begin: int, end: int) -> str:
    return PAIRS["ES256"].sign(issuer.claims())[begin:end]


def _changed(issuer: IssuerServer, part: int) -> str:
    parts = PAIRS["ES256"].sign(issuer.claims()).split(".")
    parts[part] = parts[part][:4] + ("A" if parts[part][4] != "A" else "B") + parts[part][5:]
    return ".".join(parts)


def _two_signatures(issuer: IssuerServer) -> str:
    found = jws.serialize_json(
        [{"protected": {"alg": "ES256", "kid": "ec"}}] * 2, json.dumps(issuer.claims()), EC, algorithms=["ES256"]
    )
    return json.dumps(found).replace(" ", "")


def _nested(issuer: IssuerServer) -> str:
    inner = PAIRS["ES256"].sign(issuer.claims())
    return jws.serialize_compact({"alg": "ES256", "kid": "ec", "cty": "JWT"}, inner, EC, algorithms=["ES256"])


def _encrypted(issuer: IssuerServer) -> str:
    header = {"alg": "ECDH-ES", "enc": "A128GCM", "kid": "ec"}
    return jwe.encrypt_compact(header, json.dumps(issuer.claims()), EC, algorithms=["ECDH-ES", "A128GCM"])


def _own_key(issuer: IssuerServer) -> str:
    return PAIRS["Ed25519"].sign(issuer.claims(iss="anjuan"))


def _doubled(issuer: IssuerServer) -> str:
    """Two algorithms in one header, signed as the first says."""
    head = _b64(b'{"alg":"Ed25519","kid":"okp","alg":"none"}')
    return f"{head}.{_b64(json.dumps(issuer.claims()).encode())}."


NOW, HOUR = int(time.time()), 3600
BAD: dict[str, Callable[[IssuerServer], str]] = {
    "algorithm none": lambda i: _raw({"alg": "none", "kid": "ec"}, i.claims()),
    "algorithm none without a key": lambda i: _raw({"alg": "none"}, i.claims()),
    "algorithm nOnE": lambda i: _raw({"alg": "nOnE", "kid": "ec"}, i.claims()),
    "algorithm none, yet signed": _headed(alg="none"),
    "HS256 by the public key's PEM": lambda i: _by_secret(i.claims(), RSA.as_pem(private=False), "rsa"),
    "HS256 by the public key's bytes": lambda i: _by_secret(
        i.claims(), base64.urlsafe_b64decode(f"{OKP.as_dict()['x']}="), "okp"
    ),
    "RS256 in name, HS256 in fact": lambda i: _by_secret(i.claims(), RSA.as_pem(private=False), "rsa", "RS256"),
    "HS256 by a secret in the key set": lambda i: _by_secret(i.claims(), SECRET.raw_value, "secret"),
    "an algorithm that is not allowed": lambda i: Pair(UNFIT["curve"].key, "ES384", "curve").sign(i.claims()),
    "an algorithm that nobody knows": _headed(alg="XS999"),
    "an algorithm that is a number": _headed(alg=256),
    "an algorithm that is a list": _headed(alg=["Ed25519"]),
    "no algorithm": _headed(alg=...),
    "two algorithms": _doubled,
    "RSA's key, another algorithm than the key's own": _of(Pair(RSA, "PS256"), "rsa"),
    "an EC algorithm by an RSA key": lambda i: Pair(EC, "ES256", "rsa").sign(i.claims()),
    "another curve's key": _of(PAIRS["ES256"], "curve"),
    "a key for encrypting": _of(UNFIT["enc"], "enc"),
    "a key that is not for verifying": _of(UNFIT["signs"], "signs"),
    "a key that is too weak": _of(UNFIT["weak"], "weak"),
    "a key of the same name elsewhere": lambda i: ed25519("okp").sign(i.claims()),
    "a key that it brings along": _embedded,
    "a key that it knows an address of": lambda i: ed25519("okp").sign(i.claims(), jku="https://elsewhere.test/jwks"),
    "a certificate that it knows an address of": lambda i: ed25519("okp").sign(
        i.claims(), x5u="https://elsewhere.test/"
    ),
    "no key's name, of many": _of(PAIRS["Ed25519"], "okp", kid=...),
    "an unknown key": _of(ed25519(), "unknown"),
    "a key's name that is a path": _of(PAIRS["Ed25519"], "../../../../dev/null"),
    "a key's name that is SQL": _of(PAIRS["Ed25519"], "x' UNION SELECT 'k"),
    "a key's name that is an address": _of(PAIRS["Ed25519"], "https://elsewhere.test/jwks"),
    "a key's name that is huge": _of(PAIRS["Ed25519"], "k" * 5000),
    "a key's name that is a number": _headed(kid=0),
    "a key's name that is null": _headed(kid=None),
    "a key's name that is a list": _headed(kid=["okp"]),
    "an unknown critical header": _headed(crit=["x"], x=1),
    "a critical header that is none": _headed(crit=[]),
    "a payload that is not encoded": _headed(b64=False, crit=["b64"]),
    "a payload that is packed": _headed(zip="DEF"),
    "a logout token": _headed(typ="logout+jwt"),
    "a proof of possession": _headed(typ="dpop+jwt"),
    "a type that is a number": _headed(typ=1),
    "the service's own issuer by the issuer's key": _own_key,
    "another issuer": _with(iss="https://elsewhere.test"),
    "the issuer and a slash": lambda i: PAIRS["RS256"].sign(i.claims(iss=i.url + "/")),
    "a list of issuers": lambda i: PAIRS["RS256"].sign(i.claims(iss=[i.url])),
    "no issuer": _with(iss=...),
    "another audience": _with(aud="account"),
    "a part of the audience": _with(aud=AUDIENCE[:-1]),
    "other audiences": _with(aud=["account", "others"]),
    "an audience that is an object": _with(aud={AUDIENCE: 1}),
    "audiences that are not all texts": _with(aud=[AUDIENCE, 1]),
    "no audience": _with(aud=...),
    "expired": _with(exp=NOW - HOUR),
    "never expiring": _with(exp=...),
    "expiring at a text": _with(exp=str(NOW + HOUR)),
    "expiring at true": _with(exp=True),
    "expiring beyond any number": _with(exp=10**400),
    "not valid yet": _with(nbf=NOW + HOUR),
    "not valid before a text": _with(nbf="0"),
    "issued in the future": _with(iat=NOW + HOUR),
    "issued at a list": _with(iat=[0]),
    "issued before any number": _with(iat=-(10**400)),
    "no subject": _with(sub=...),
    "a subject that is a number": _with(sub=7),
    "an empty subject": _with(sub=""),
    "a subject with a NUL": _with(sub="a\0"),
    "a name of its own that is a number": _with(jti=1),
    "no role": _with(role=...),
    "an unknown role": _with(role="root"),
    "two roles": _with(role=["agent", "manager"]),
    "other applications' roles": _with(role=["offline_access"]),
    "a role in a role": _with(role={"agent": 1}),
    "regions as a text": _with(regions="GD"),
    "all regions as a text": _with(regions="*"),
    "regions as an object": _with(regions={"GD": 1}),
    "a region that is a number": _with(regions=[1]),
    "a region that is null": _with(regions=[None]),
    "no regions": _with(regions=...),
    "an unknown unit": _with(unit="moon"),
    "a unit that is a list": _with(unit=["group"]),
    "half of it": lambda i: _cut(i, 0, 200),
    "all but its last character": lambda i: _cut(i, 0, -1),
    "all but its first character": lambda i: _cut(i, 1, 5000),
    "no signature": lambda i: PAIRS["ES256"].sign(i.claims()).rpartition(".")[0] + ".",
    "a signature of noughts": lambda i: _raw({"alg": "ES256", "kid": "ec"}, i.claims(), b"\0" * 64),
    "another header": lambda i: _changed(i, 0),
    "other claims": lambda i: _changed(i, 1),
    "another signature": lambda i: _changed(i, 2),
    "another token's signature": lambda i: (
        PAIRS["ES256"].sign(i.claims(role="manager")).rpartition(".")[0]
        + "."
        + PAIRS["ES256"].sign(i.claims()).rpartition(".")[2]
    ),
    "two signatures": _two_signatures,
    "two signatures behind one another": lambda i: PAIRS["ES256"].sign(i.claims()) + ".AAAA",
    "a token in a token": _nested,
    "encrypted": _encrypted,
    "claims that are a list": lambda i: jws.serialize_compact(
        {"alg": "ES256", "kid": "ec"}, json.dumps([i.claims()]), EC, algorithms=["ES256"]
    ),
    "claims deeper than anything": lambda i: (
        _raw({"alg": "ES256", "kid": "ec"}, {"iss": i.url})[:20] + "." + "W" * 9000
    ),
    "longer than anything": _with(groups=["g" * 90] * 300),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_token_that_does_not_count_is_401(open_to: House, issuer: IssuerServer, name: str) -> None:
    answer = await asked(open_to, BAD[name](issuer))
    assert codes([answer]) == ["unauthenticated"]
    assert answer.headers["www-authenticate"] == 'Bearer realm="anjuan", error="invalid_token"'


def test_there_are_forty_tokens_at_least() -> None:
    assert len(BAD) >= 40


async def test_no_address_in_a_token_is_ever_asked(open_to: House, issuer: IssuerServer) -> None:
    stranger = ed25519()
    elsewhere = {"jku": f"{issuer.url}/stolen", "x5u": f"{issuer.url}/stolen"}
    assert (await asked(open_to, stranger.sign(issuer.claims(), **elsewhere))).status_code == 401
    assert not any("stolen" in path for path in issuer.paths)


# Keys that change ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def alone(tmp_path: Any, database_url: str) -> AsyncIterator[tuple[House, IssuerServer]]:
    """A house and an issuer of this test's own."""
    with IssuerServer().serving() as server:
        async with open_house(database_url, tmp_path, **server.settings) as house:
            yield house, server


async def test_a_new_key_is_learnt_when_it_is_first_used(alone: tuple[House, IssuerServer]) -> None:
    house, issuer = alone
    for _ in range(3):
        pair = ed25519()
        issuer.publish(pair)
        tokens = [pair.sign(issuer.claims()) for _ in range(20)]
        before = issuer.asked
        answers = await asyncio.gather(*(asked(house, token) for token in tokens))
        assert codes(answers) == [200] * 20
        # One look for all of them, and at most one that was under way.
        assert issuer.asked - before <= 2


async def test_keys_without_a_name_change_too(alone: tuple[House, IssuerServer]) -> None:
    house, issuer = alone
    for _ in range(2):
        pair = ed25519(kid=...)
        issuer.publish(pair)
        assert (await asked(house, pair.sign(issuer.claims(), kid=...))).status_code == 200


async def test_made_up_names_of_keys_ask_the_issuer_no_more_often(
    alone: tuple[House, IssuerServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    house, issuer = alone
    monkeypatch.setattr(looking, "PAUSE", 0.5)
    issuer.publish(known := ed25519())
    assert (await asked(house, known.sign(issuer.claims()))).status_code == 200
    before, began = issuer.asked, time.monotonic()
    strangers = []
    for _ in range(50):
        strangers.append(asyncio.create_task(asked(house, ed25519().sign(issuer.claims()))))
        await asyncio.sleep(0.005)
    # Meanwhile everybody else is served.
    assert (await asked(house, known.sign(issuer.claims()))).status_code == 200
    assert time.monotonic() - began < 0.45
    assert set(codes(await asyncio.gather(*strangers))) == {"unauthenticated"}
    assert issuer.asked - before <= 3


async def test_an_issuer_that_is_away_keeps_its_keys(alone: tuple[House, IssuerServer]) -> None:
    house, issuer = alone
    issuer.publish(known := ed25519())
    assert (await asked(house, known.sign(issuer.claims()))).status_code == 200
    for fault in ({"jwks": b"{"}, {"jwks": b"[]"}, {"jwks": b'{"keys": 1}'}, {"jwks": b"x" * 2_000_000}, None):
        issuer.down, issuer.documents = fault is None, fault or {}
        # Whether it is sound cannot be known now: come again.
        answer = await asked(house, ed25519().sign(issuer.claims()))
        assert codes([answer]) == ["unavailable"]
        assert answer.headers["retry-after"]
        assert (await asked(house, known.sign(issuer.claims()))).status_code == 200


@pytest.mark.parametrize(
    "said",
    [
        {"issuer": "https://elsewhere.test"},
        {"issuer": ...},
        {"jwks_uri": "http://elsewhere.test/jwks"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "https://["},
        {"jwks_uri": 1},
    ],
)
async def test_only_the_issuer_itself_says_where_its_keys_are(
    alone: tuple[House, IssuerServer], said: dict[str, Any]
) -> None:
    house, issuer = alone
    issuer.publish(pair := ed25519())
    found = {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/jwks", **said}
    issuer.documents["openid-configuration"] = json.dumps({k: v for k, v in found.items() if v is not ...}).encode()
    assert codes([await asked(house, pair.sign(issuer.claims()))]) == ["unavailable"]


@pytest.mark.parametrize(
    "address", ["http://elsewhere.test/jwks", "ftp://elsewhere.test/", "//elsewhere.test/jwks", "", 7]
)
async def test_an_address_of_keys_that_anybody_could_answer_at_is_not_even_asked(address: object) -> None:
    asked_for = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked_for.append(str(request.url))
        found = {"issuer": "https://sso.test/a", "jwks_uri": address, "keys": [ed25519().public]}
        return httpx.Response(200, json=found)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        with pytest.raises(NotTold):
            await told(client, "https://sso.test/a")
    assert asked_for == ["https://sso.test/a/.well-known/openid-configuration"]


async def test_a_withdrawn_key_s_tokens_count_no_longer_and_its_streams_end(
    alone: tuple[House, IssuerServer],
) -> None:
    house, issuer = alone
    issuer.publish(old := ed25519(), kept := ed25519())
    tokens = [pair.sign(issuer.claims(sub=f"s{n}")) for n, pair in enumerate((old, kept))]
    assert codes([await asked(house, token) for token in tokens]) == [200, 200]
    async with listening(house, Caller(house.client, tokens[0], "agent")) as heard:
        issuer.publish(kept)
        await house.services.learn()
        await asyncio.wait_for(heard.ended(), 1)
    assert codes([await asked(house, token) for token in tokens]) == ["unauthenticated", 200]


async def test_claims_may_be_called_anything_and_be_within_others(database_url: str, tmp_path: Any) -> None:
    with IssuerServer().serving() as issuer:
        issuer.publish(pair := ed25519())
        named = {
            "ANJUAN_OIDC_ROLE_CLAIM": "realm_access.roles",
            "ANJUAN_OIDC_REGIONS_CLAIM": "https://anjuan.test/regions",
            "ANJUAN_OIDC_UNIT_CLAIM": "org.unit",
            "ANJUAN_OIDC_ALGORITHMS": "Ed25519",
        }
        async with open_house(database_url, tmp_path, **issuer.settings, **named) as house:
            claims = issuer.claims(
                **{"role": "admin", "realm_access": {"roles": ["uma", "auditor"]}, "org": {"unit": "group"}},
                **{"https://anjuan.test/regions": ["GD"]},
            )
            found = house.services.tokens
            assert (await asked(house, pair.sign(claims))).status_code == 200
            caller = found.caller(f"Bearer {pair.sign(claims)}")
            assert (caller.role, caller.unit, caller.regions) == ("auditor", "group", frozenset({"GD"}))
            wrong: dict[str, Any]
            for wrong in ({"realm_access": ["auditor"]}, {"realm_access": {}}, {"realm_access": "roles"}):
                assert (await asked(house, pair.sign({**claims, **wrong}))).status_code == 401
            assert (await asked(house, PAIRS["ES256"].sign(claims))).status_code == 401
