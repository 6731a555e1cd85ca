"""Who asks: bearer tokens of the service's own Ed25519 key, verified once and remembered until they expire."""

import base64
import time
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from services.caller import ROLES, UNITS, Caller

_ALGORITHM = "Ed25519"
_ISSUER = "anjuan"
# Seconds by which two machines' clocks may differ.
_LEEWAY = 30
_REMEMBERED = 10_000
_DAY = 86_400


class Unauthenticated(Exception):
    """401: no token, or none that counts. Why is never told. `subject`: whose it was, if it was ours and is over."""

    def __init__(self, subject: str | None = None) -> None:
        super().__init__()
        self.subject = subject


class Forbidden(Exception):
    """403: the role may not do that."""


class Tokens:
    """Issues and verifies tokens (JWT, RFC 7519; Ed25519, RFC 9864)."""

    def __init__(self, seed: bytes) -> None:
        key = Ed25519PrivateKey.from_private_bytes(seed)
        self._key = OKPKey.import_key(
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "d": _base64(seed),
                "x": _base64(key.public_key().public_bytes_raw()),
            }
        )
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
        return jwt.encode({"alg": _ALGORITHM, "typ": "JWT"}, claims, self._key, algorithms=[_ALGORITHM])

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
            raise Unauthenticated(known.subject)
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
        subject = None
        try:
            claims = jwt.decode(token, self._key, algorithms=[_ALGORITHM]).claims
            # Signed by us: from here on it is known who is refused.
            subject = claims["sub"] if isinstance(claims.get("sub"), str) else None
            self._registry.validate(claims)
        except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise Unauthenticated(subject) from None
        return _caller(claims)


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
