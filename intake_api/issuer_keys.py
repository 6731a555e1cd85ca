"""An issuer's public keys, as its JWKS (RFC 7517) publishes them; what is not fit for verifying is passed over."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.util import base64_to_int

from intake_api.signed import Key
from services.settings import is_private

_LARGEST = 1 << 20
_MOST_KEYS = 200
_LEAST_BITS = 2048
# What of a key is public, by its type; nothing else of it is taken.
_PUBLIC = {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y"), "OKP": ("kty", "crv", "x")}
_KINDS: Mapping[str, type[RSAKey] | type[ECKey] | type[OKPKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
# The type and curve of key that an algorithm needs.
_NEEDS = {
    **{f"{family}{bits}": ("RSA", None) for family in ("RS", "PS") for bits in (256, 384, 512)},
    **{"ES256": ("EC", "P-256"), "ES384": ("EC", "P-384"), "ES512": ("EC", "P-521")},
    **dict.fromkeys(("Ed25519", "EdDSA"), ("OKP", "Ed25519")),
}
_EDWARDS = frozenset({"Ed25519", "EdDSA"})


class NotTold(Exception):
    """The issuer does not say what its keys are: no answer, or none that makes sense."""


class PublicKey(NamedTuple):
    """One key; `identity` tells it from any other, whatever it is called."""

    identity: str
    key_id: str | None
    algorithm: str | None
    kind: tuple[str, str | None]
    key: Key

    def fits(self, algorithm: str) -> bool:
        """Whether tokens of that algorithm may be verified by it."""
        meant = self.algorithm in (None, algorithm) or {self.algorithm, algorithm} == _EDWARDS
        return meant and _NEEDS.get(algorithm) == self.kind


async def told(client: httpx.AsyncClient, issuer: str) -> tuple[PublicKey, ...]:
    """The keys that the issuer publishes now (OpenID Connect Discovery 1.0, 4); raises `NotTold`."""
    document = await _document(client, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if document.get("issuer") != issuer:
        raise NotTold("another issuer answers")
    address = document.get("jwks_uri")
    if not isinstance(address, str) or not is_private(address):
        raise NotTold("no address of keys")
    keys = (await _document(client, address)).get("keys")
    if not isinstance(keys, list):
        raise NotTold("no list of keys")
    return tuple(usable(keys[:_MOST_KEYS]))


async def _document(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    try:
        async with client.stream("GET", url, headers={"accept": "application/json"}) as answer:
            if answer.status_code != 200:
                raise NotTold(f"status {answer.status_code}")
            body = b""
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > _LARGEST:
                    raise NotTold("too long an answer")
        found = json.loads(body)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, RecursionError) as failure:
        raise NotTold(type(failure).__name__) from None
    if not isinstance(found, dict):
        raise NotTold("no object")
    return found


def usable(keys: Iterable[object]) -> Iterable[PublicKey]:
    """Those that verify signatures, of kinds and sizes that count."""
    for one in keys:
        if isinstance(one, dict) and (found := _usable(one)):
            yield found


def _usable(jwk: dict[str, Any]) -> PublicKey | None:
    kind, key_id, algorithm = jwk.get("kty"), jwk.get("kid"), jwk.get("alg")
    operations = jwk.get("key_ops", ["verify"])
    if (
        not isinstance(kind, str)
        or kind not in _KINDS
        or jwk.get("use", "sig") != "sig"
        or not isinstance(operations, list)
        or "verify" not in operations
        or not isinstance(key_id, str | None)
        or not isinstance(algorithm, str | None)
    ):
        return None
    public = {name: jwk.get(name) for name in _PUBLIC[kind]}
    if kind == "RSA" and _bits(public["n"]) < _LEAST_BITS:
        return None
    try:
        key = _KINDS[kind].import_key(public)  # type: ignore[arg-type]
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    curve = None if kind == "RSA" else str(jwk["crv"])
    return PublicKey(key.thumbprint(), key_id, algorithm, (kind, curve), key)


def _bits(modulus: object) -> int:
    """How long an RSA key is; 0: none."""
    try:
        return base64_to_int(str(modulus)).bit_length()
    except (ValueError, IndexError):
        return 0
