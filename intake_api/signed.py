"""A signed token (JWT, RFC 7519, in JWS compact form, RFC 7515) before and after its signature is verified."""

import json
from collections.abc import Collection
from typing import Any, NamedTuple

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

Key = RSAKey | ECKey | OKPKey

# Characters. Issuers' tokens have some two thousand; those of great groups' memberships several times that.
_LONGEST = 16_384
_LONGEST_KEY_ID = 255
# What a token may say that it is: any JWT, or an access token (RFC 9068). Logout tokens and the like are signed by the
# same keys.
_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
# What a token that somebody else made up may raise on its way through the libraries.
_BAD = (JoseError, ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError)


class Unauthenticated(Exception):
    """401: no token, or none that counts. Why is never told. `subject`: whose it was, if it was ours and is over."""

    def __init__(self, subject: str | None = None) -> None:
        super().__init__()
        self.subject = subject


class Said(NamedTuple):
    """What a token says, whoever made it; `token` is to be verified yet."""

    token: jws.CompactSignature
    algorithm: str
    key_id: str | None
    claims: dict[str, Any]


class _Registry(JWSRegistry):
    """Header parameters that nobody here knows are passed over (RFC 7515, 4), but for critical ones."""

    max_header_length = 8_192
    max_payload_length = _LONGEST

    def get_alg(self, name: str) -> Any:
        # RFC 9864: the old name stands for both curves; the key's says which.
        return super().get_alg("Ed25519" if name == "EdDSA" else name)


def read(token: str, algorithms: Collection[str]) -> Said:
    """What it says; raises `Unauthenticated` if it is no such token or not signed by one of those algorithms."""
    if len(token) > _LONGEST:
        raise Unauthenticated
    try:
        found = jws.extract_compact(token.encode("ascii"), registry=_Registry(strict_check_header=False))
        header, claims = found.headers(), json.loads(found.payload)
        sound = (
            isinstance(claims, dict)
            and header["alg"] in algorithms
            and str(header.get("typ", "JWT")).lower() in _TYPES
            # No extension is known here, so that any critical one is not; one lets the payload be something else.
            and not header.keys() & {"crit", "b64", "zip"}
            and isinstance(header.get("kid", ""), str)
            and len(header.get("kid", "")) <= _LONGEST_KEY_ID
        )
    except _BAD:
        raise Unauthenticated from None
    if not sound:
        raise Unauthenticated
    return Said(found, header["alg"], header.get("kid"), claims)


def verify(said: Said, key: Key) -> None:
    """Raises `Unauthenticated` unless that key signed it; keys that a token brings along count for nothing."""
    # Of the header only this: what else it says has no say in how it is verified.
    token = jws.CompactSignature({"alg": said.algorithm}, said.token.payload)
    token.segments = said.token.segments
    registry = _Registry(algorithms=[said.algorithm, "Ed25519"], strict_check_header=False)
    try:
        proven = jws.validate_compact(token, key, registry=registry)
    except _BAD:
        proven = False
    if not proven:
        raise Unauthenticated
