"""Who asks: bearer tokens of the service's own key, or of a configured issuer; verified once and then remembered."""

import base64
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jwt
from joserfc.jwk import OKPKey

from intake_api.claims import LEEWAY, Meant, Names, caller_of
from intake_api.signed import Said, Unauthenticated, read, verify
from services.caller import Caller
from services.revocations import Grant

if TYPE_CHECKING:
    from intake_api.issuer import Issuer

__all__ = ["Forbidden", "Tokens", "Unauthenticated", "claims_in", "grant_of"]

_ALGORITHM = "Ed25519"
_ISSUER = "anjuan"
_REMEMBERED = 10_000
_DAY = 86_400


class Forbidden(Exception):
    """403: the role may not do that."""


class _Proof(NamedTuple):
    """What a remembered token rests on."""

    grant: Grant
    key: str


def _nothing(_: Grant) -> bool:
    return False


class Tokens:
    """Issues tokens (JWT, RFC 7519; Ed25519, RFC 9864), and verifies them and the issuer's.

    What `former` keys signed counts until it expires; a token names its key (`kid`, RFC 7638), but proves it itself.
    """

    def __init__(
        self,
        seed: bytes,
        revoked: Callable[[Grant], bool] = _nothing,
        issuer: "Issuer | None" = None,
        former: Sequence[bytes] = (),
    ) -> None:
        self._key = _jwk(seed)
        self._keys = [self._key, *map(_jwk, former)]
        self.kid = self._key.thumbprint()
        self._revoked, self._issuer = revoked, issuer
        self._meant = Meant(_ISSUER)
        # By the whole header, and beside it what is asked only when something was withdrawn.
        self._verified: dict[str, Caller] = {}
        self._proofs: dict[str, _Proof] = {}

    def issue(self, role: str, regions: list[str], unit: str, subject: str | None, days: int) -> str:
        """A signed token; without a subject it gets one of its own."""
        # With fractions: a token that is issued right after its subject's others were revoked is later than that.
        now = time.time()
        claims = {
            "iss": _ISSUER,
            "sub": subject or f"{role}-{uuid4()}",
            "jti": str(uuid4()),
            "role": role,
            "regions": regions,
            "unit": unit,
            "iat": now,
            "exp": int(now) + days * _DAY,
        }
        return jwt.encode(
            {"alg": _ALGORITHM, "typ": "JWT", "kid": self.kid}, claims, self._key, algorithms=[_ALGORITHM]
        )

    def caller(self, authorization: str | None) -> Caller:
        """The caller that an ``Authorization`` header proves; raises `Unauthenticated`, or `KeyUnknown`: see there."""
        header = authorization or ""
        known = self._verified.get(header)
        if known is None:
            known = self._remember(header)
        if self.left(known) < 0:
            self._verified.pop(header, None)
            self._proofs.pop(header, None)
            raise Unauthenticated(known.subject)
        return known

    def left(self, caller: Caller) -> float:
        """Seconds for which the caller's token still counts."""
        return caller.expires_at + LEEWAY - time.time()

    def forget_revoked(self) -> None:
        """Of what is remembered, what was revoked by now."""
        self._forget(lambda proof: self._revoked(proof.grant))

    def forget_keys(self, gone: frozenset[str]) -> None:
        """Of what is remembered, what rests on keys that the issuer has withdrawn."""
        self._forget(lambda proof: proof.key in gone)

    def _forget(self, hit: Callable[[_Proof], bool]) -> None:
        for header in [header for header, proof in self._proofs.items() if hit(proof)]:
            self._verified.pop(header, None)
            del self._proofs[header]

    def _remember(self, header: str) -> Caller:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated
        caller, said, key = self._proven(token.strip())
        grant = grant_of(said.claims, LEEWAY if key else 0)
        if self._revoked(grant):
            raise Unauthenticated(caller.subject)
        if len(self._verified) >= _REMEMBERED:
            self._verified.clear()
            self._proofs.clear()
        self._verified[header], self._proofs[header] = caller, _Proof(grant, key)
        return caller

    def _proven(self, token: str) -> tuple[Caller, Said, str]:
        """The caller, what the token says, and by which of the issuer's keys; "": by the service's own."""
        if self._issuer and (said := claims_in(token)) and said.get("iss") == self._issuer.name:
            return self._issuer.proven(token)
        own = read(token, (_ALGORITHM,))
        self._verify(own)
        try:
            self._meant.holds(own.claims)
        except Unauthenticated:
            # Signed by us: it is known who is refused.
            raise Unauthenticated(_subject(own.claims)) from None
        return caller_of(own.claims, Names()), own, ""

    def _verify(self, said: Said) -> None:
        """That one of the own keys signed it, the former ones included."""
        for key in self._keys[:-1]:
            with suppress(Unauthenticated):
                return verify(said, key)
        verify(said, self._keys[-1])


def _jwk(seed: bytes) -> OKPKey:
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "d": _base64(seed), "x": _base64(public)})


def _subject(claims: dict[str, Any]) -> str | None:
    subject = claims.get("sub")
    return subject if isinstance(subject, str) and 0 < len(subject) <= 255 and "\0" not in subject else None


def grant_of(claims: dict[str, Any], leeway: float = 0) -> Grant:
    """What can be revoked of a token. Its issuer's clock may be ahead by `leeway`. Raises `Unauthenticated`."""
    try:
        return _grant(claims, leeway)
    except (KeyError, ValueError, TypeError, OverflowError, RecursionError):
        raise Unauthenticated from None


def _grant(claims: dict[str, Any], leeway: float) -> Grant:
    issuer, named, issued = claims["iss"], claims.get("jti"), claims.get("iat")
    if not isinstance(named, str) or not named:
        # By all it says: the same claims may be written and signed in more than one way.
        named = hashlib.sha256(json.dumps(claims, sort_keys=True).encode()).hexdigest()
    issued_at = None if issued is None else float(issued) - leeway
    name = hashlib.sha256(f"{issuer} {named}".encode(errors="surrogatepass")).hexdigest()
    return Grant(name, claims["sub"], issued_at, float(claims["exp"]))


def claims_in(token: str) -> dict[str, Any] | None:
    """What it says, whoever made it; None: nothing."""
    try:
        body = token.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (ValueError, IndexError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
