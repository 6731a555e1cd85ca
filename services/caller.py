"""Who asks: a verified token's claims, as the rules about access see them."""

from typing import Literal

import msgspec

Role = Literal["agent", "manager", "dashboard", "auditor", "admin"]
ROLES: tuple[str, ...] = ("agent", "manager", "dashboard", "auditor", "admin")
UNITS: tuple[str, ...] = ("region", "property_services", "group")

_AGENT = frozenset(
    {
        *("open", "warned", "received", "responded", "contact_attempted", "chased", "noted"),
        *("assessed", "escalated", "corrected"),
    }
)
# What the property-services group alone determines in its own category (5.5).
_ITS_OWN = frozenset({"blamed", "sanctioned"})


class Caller(msgspec.Struct, frozen=True):
    """A token's holder. `regions` holds ``*`` for all."""

    subject: str
    role: str
    unit: str
    regions: frozenset[str]
    expires_at: float

    @property
    def actor(self) -> str:
        """As every event's header names who recorded it: ``role/unit/subject``."""
        return f"{self.role}/{self.unit}/{self.subject}"

    @property
    def everywhere(self) -> bool:
        return self.role == "auditor" or "*" in self.regions

    @property
    def masked(self) -> bool:
        """Whether personal data is shown to this caller in part only."""
        return self.role in ("dashboard", "admin")

    def sees(self, region: str) -> bool:
        return self.everywhere or region in self.regions

    def reads_cases(self) -> bool:
        return self.role != "admin"

    def may(self, action: str, category: str | None = None) -> bool:
        """Whether the role may append that type of action at all, to a case of that category (5.5)."""
        if category == "property_service" and action in _ITS_OWN and self.unit != "property_services":
            return False
        return self.role == "manager" or (self.role == "agent" and action in _AGENT)
