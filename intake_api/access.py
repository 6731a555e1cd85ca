"""Who asks: bearer tokens of the service's own Ed25519 key, verified once and remembered until they expire."""

import base64
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jwt
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import OKPKey

from services.caller import ROLES, UNITS, Caller

_ALGORITHM = "Ed25519"
_ISSUER = "anjuan"
# Seconds by which two machines' clocks may differ.
_LEEWAY = 30
_REMEMBERED = 10_000
_DAY = 86_400


class Unauthenticated(Exception):
    """401: no token, or none that counts. Why is never told."""


class Forbidden(Exception):
    """403: the role may not do that."""


class Tokens:
    """Issues and verifies tokens (JWT, RFC 7519; Ed25519, RFC 9864).

    What `former` keys signed counts until it expires; a token names its key (`kid`, RFC 7638), but proves it itself.
    """

    def __init__(self, seed: bytes, former: Sequence[bytes] = ()) -> None:
        self._key = _jwk(seed)
        self._keys = [self._key, *map(_jwk, former)]
        self.kid = self._key.thumbprint()
        self._verified: dict[str, Caller] = {}
        self._registry = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY,
            iss={"essential": True, "value": _ISSUER},
            sub={"essential": True},
            exp={"essential": True},
        )

    def issue(self, role: str, regions: list[str], unit: str, subject: str | None, days: int) -> str:
        """A signed token; without a subject it gets one of its own."""
        now = int(time.time())
        claims = {
            "iss": _ISSUER,
            "sub": subject or f"{role}-{uuid4()}",
            "role": role,
            "regions": regions,
            "unit": unit,
            "iat": now,
            "exp": now + days * _DAY,
        }
        return jwt.encode(
            {"alg": _ALGORITHM, "typ": "JWT", "kid": self.kid}, claims, self._key, algorithms=[_ALGORITHM]
        )

    def caller(self, authorization: str | None) -> Caller:
        """The caller that an ``Authorization`` header proves; raises `Unauthenticated`."""
        header = authorization or ""
        known = self._verified.get(header)
        if known is None:
            known = self._proven(header)
            if len(self._verified) >= _REMEMBERED:
                self._verified.clear()
            self._verified[header] = known
        if self.left(known) < 0:
            self._verified.pop(header, None)
            raise Unauthenticated
        return known

    def left(self, caller: Caller) -> float:
        """Seconds for which the caller's token still counts."""
        return caller.expires_at + _LEEWAY - time.time()

    def _proven(self, header: str) -> Caller:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated
        return self._verify(token.strip())

    def _verify(self, token: str) -> Caller:
        try:
            claims = self._signed(token)
            self._registry.validate(claims)
        except (JoseError, ValueError, TypeError, KeyError, RecursionError):
            raise Unauthenticated from None
        return _caller(claims)

    def _signed(self, token: str) -> dict[str, Any]:
        """What one of the keys signed."""
        for key in self._keys[:-1]:
            with suppress(BadSignatureError):
                return jwt.decode(token, key, algorithms=[_ALGORITHM]).claims
        return jwt.decode(token, self._keys[-1], algorithms=[_ALGORITHM]).claims


def _jwk(seed: bytes) -> OKPKey:
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "d": _base64(seed), "x": _base64(public)})


def _caller(claims: dict[str, Any]) -> Caller:
    subject, role, regions = claims.get("sub"), claims.get("role"), claims.get("regions")
    unit = claims.get("unit", "region")
    sound = (
        isinstance(subject, str)
        and 0 < len(subject) <= 255
        and role in ROLES
        and unit in UNITS
        and isinstance(regions, list)
        and all(isinstance(region, str) for region in regions)
        and isinstance(claims.get("exp"), int | float)
    )
    if not sound:
        raise Unauthenticated
    return Caller(str(subject), str(role), unit, frozenset(regions or ()), float(claims["exp"]))


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
