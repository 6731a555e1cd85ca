"""How an entry of the directory is shown; telephone numbers still sealed."""

from typing import Any

from services.directory import Entry
from services.events import Person, ProjectDescribed, RegionDescribed
from services.instants import format_instant
from services.vault import marked


def entry(held: Entry[RegionDescribed] | Entry[ProjectDescribed]) -> dict[str, Any]:
    """A region or project as described."""
    fact = held.fact
    common = {"code": fact.code, "name": fact.title, "valid_from": format_instant(fact.valid_from)}
    if isinstance(fact, RegionDescribed):
        offices = ("president", "customer_relations_executive", "customer_relations_lead")
        return {**common, **{office: _person(held, office, getattr(fact, office)) for office in offices}}
    managers = {
        role: _person(held, f"managers.{role}", getattr(fact.managers, role, None))
        for role in ("project", "city", "area")
    }
    return {
        **common,
        "region": fact.region,
        "city": fact.city,
        "area": fact.area,
        "handover_started_at": format_instant(fact.handover_started_at) if fact.handover_started_at else None,
        "handover_finished_at": format_instant(fact.handover_finished_at) if fact.handover_finished_at else None,
        "managers": managers,
    }


def _person(
    held: Entry[RegionDescribed] | Entry[ProjectDescribed], path: str, person: Person | None
) -> dict[str, Any] | None:
    if person is None:
        return None
    phone = marked("phone", held.stream, held.version, f"{path}.phone", person.phone)
    return {"name": person.name, "phone": phone}
