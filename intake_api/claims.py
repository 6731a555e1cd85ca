"""From a verified token's claims to the caller; whatever is not exactly as it should be counts for nothing."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from joserfc.errors import JoseError
from joserfc.jwt import JWTClaimsRegistry

from intake_api.signed import Unauthenticated
from services.caller import ROLES, UNITS, Caller

# Seconds by which two machines' clocks may differ.
LEEWAY = 30


class Names(NamedTuple):
    """Where the claims are, and whether the role may be one of a list, as issuers keep them."""

    role: str = "role"
    regions: str = "regions"
    unit: str = "unit"
    listed: bool = False


class Meant:
    """Whose tokens, and for whom they are meant."""

    def __init__(self, issuer: str, audience: str | None = None) -> None:
        self.issuer = issuer
        meant = {"aud": {"essential": True, "value": audience}} if audience else {}
        self._registry = JWTClaimsRegistry(
            leeway=LEEWAY,
            iss={"essential": True, "value": issuer},
            sub={"essential": True},
            exp={"essential": True},
            **meant,  # type: ignore[arg-type]
        )

    def holds(self, claims: dict[str, Any]) -> None:
        """Raises `Unauthenticated` unless they are that issuer's, for that audience, and of this time."""
        try:
            self._registry.validate(claims)
        except (JoseError, ValueError, TypeError, KeyError, OverflowError):
            raise Unauthenticated from None


def caller_of(claims: Mapping[str, Any], names: Names) -> Caller:
    """The caller; raises `Unauthenticated`."""
    subject, regions = claims.get("sub"), _found(claims, names.regions)
    role = _role(_found(claims, names.role), names.listed)
    unit = _found(claims, names.unit)
    unit = "region" if unit is None else unit
    sound = (
        _is_name(subject)
        and role is not None
        and isinstance(unit, str)
        and unit in UNITS
        and isinstance(regions, list)
        and all(_is_name(region) for region in regions)
    )
    if not sound or role is None:
        raise Unauthenticated
    try:
        return Caller(str(subject), role, str(unit), frozenset(regions or ()), float(claims["exp"]))
    except (OverflowError, ValueError, TypeError):
        raise Unauthenticated from None


def _found(claims: Mapping[str, Any], name: str) -> Any:
    """The claim of that name, dots and all, or else what the parts of the name lead to; None: there is none."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(part)
    return found


def _role(said: Any, listed: bool) -> str | None:
    """The role; of a list, which may hold other applications' roles, the only one that is known here."""
    if listed and isinstance(said, list):
        known = {one for one in said if isinstance(one, str) and one in ROLES}
        return known.pop() if len(known) == 1 else None
    return said if isinstance(said, str) and said in ROLES else None


def _is_name(said: Any) -> bool:
    """A text that a database and a log line can hold."""
    return isinstance(said, str) and 0 < len(said) <= 255 and said.isprintable()
