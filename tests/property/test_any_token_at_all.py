"""Whatever stands in a token, soundly signed or not, it proves a caller or counts for nothing, and breaks nothing."""

import base64
import json
import time
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from intake_api.access import Tokens, Unauthenticated, claims_in, grant_of
from intake_api.issuer import Issuer
from intake_api.issuer_keys import usable
from services.caller import ROLES, UNITS
from services.settings import Oidc
from tests.issuing import ed25519

PAIR = ed25519("k")
ISSUER = "https://sso.example"
OIDC = Oidc(ISSUER, "anjuan", "role", "a.regions", "a.unit", frozenset({"Ed25519", "EdDSA", "RS256", "ES256"}))

_numbers = st.one_of(
    st.integers(), st.floats(), st.sampled_from([0, -1, 2**31, 2**63, 10**400, int(time.time()), time.time() + 60])
)
_texts = st.one_of(st.text(), st.sampled_from(["", "\0", "\ud800", "agent", "GD", "*", "JWT", "Ed25519", "k", ISSUER]))
_leaves = st.one_of(st.none(), st.booleans(), _numbers, _texts)
_values = st.recursive(_leaves, lambda inner: st.lists(inner) | st.dictionaries(_texts, inner), max_leaves=6)


def _mostly(sound: Any) -> st.SearchStrategy[Any]:
    return st.one_of(st.just(sound), st.just(sound), st.just(sound), _values)


_headers = st.fixed_dictionaries(
    {"alg": _mostly("Ed25519"), "kid": _mostly("k"), "typ": _mostly("JWT")},
    optional=dict.fromkeys(("crit", "b64", "jwk", "jku", "x5c", "zip", "cty", "enc", "x"), _values),
)
_claims = st.fixed_dictionaries(
    {
        "iss": st.sampled_from([ISSUER, ISSUER, "anjuan"]) | _values,
        "sub": _mostly("someone"),
        "aud": _mostly("anjuan"),
        "exp": _mostly(2**33),
        "role": _mostly("agent") | _mostly(["agent"]),
        "a": _mostly({"regions": ["GD"]}),
    },
    optional=dict.fromkeys(("iat", "nbf", "jti", "unit", "regions", "a.regions", "a.unit"), _values),
)


def _part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _tokens() -> Tokens:
    issuer = Issuer(OIDC, lambda _: None)
    issuer._keys = tuple(usable([PAIR.public]))
    return Tokens(b"7" * 32, lambda _: False, issuer)


TOKENS = _tokens()


def _looked_at(said: str) -> None:
    try:
        caller = TOKENS.caller(said)
    except Unauthenticated as fault:
        event(type(fault).__name__)
    else:
        event("counts")
        assert caller.role in ROLES
        assert caller.unit in UNITS
        assert caller.subject.isprintable()
        assert all(region.isprintable() for region in caller.regions)
        assert caller.expires_at > time.time() - 60
        # What counts can be revoked, by whatever it says.
        assert grant_of(claims_in(said.partition(" ")[2]) or {}).subject == caller.subject


@settings(max_examples=600, deadline=None)
@given(_headers, _claims | _values)
def test_a_signed_token_of_anything_proves_a_caller_or_nothing(header: Any, claims: Any) -> None:
    said = f"{_part(header)}.{_part(claims)}"
    signature = PAIR.key.get_op_key("sign").sign(said.encode())  # type: ignore[union-attr,call-arg]
    _looked_at(f"Bearer {said}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}")


@settings(max_examples=300, deadline=None)
@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")), st.sampled_from(["", "Bearer ", "bearer e30."]))
def test_any_header_at_all_is_no_more_than_refused(said: str, scheme: str) -> None:
    _looked_at(scheme + said)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        _values
        | st.fixed_dictionaries(
            {"kty": st.sampled_from(["RSA", "EC", "OKP"]) | _values},
            optional={
                name: _values | st.sampled_from(["P-256", "Ed25519", "AQAB", "AAAA"])
                for name in ("crv", "x", "y", "n", "e", "kid", "use", "alg", "key_ops")
            },
        )
    )
)
def test_keys_of_anything_are_passed_over(keys: list[Any]) -> None:
    list(usable(keys))
