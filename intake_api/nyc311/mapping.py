"""What each row becomes: pure, so that the same row always becomes the same requests.

Borough → region, building (BBL) → project, building + complaint type + New York day → case, row → complaint.

Each row is a household of its own, named after its key: 311 publishes no unit, and calls even a building-wide repeat
that of *another tenant*. A tenant who calls twice therefore counts twice; the count of households is an upper bound.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from intake_api.nyc311.sheet import NEEDED, Refused, Row
from services.instants import format_instant

NEW_YORK = ZoneInfo("America/New_York")
STEPS = ("received", "responded", "contact_attempted", "closed")
AGENCY = "HPD"
# Region and the digit that every number of its buildings begins with.
BOROUGHS = {
    "MANHATTAN": ("MANHATTAN", "1"),
    "BRONX": ("BRONX", "2"),
    "BROOKLYN": ("BROOKLYN", "3"),
    "QUEENS": ("QUEENS", "4"),
    "STATEN ISLAND": ("STATEN_ISLAND", "5"),
}
# Clause 6. The fabric of a home and its fixtures are engineering; heat, cleaning and shared equipment are upkeep.
CATEGORIES = {
    "HEAT/HOT WATER": "property_service",
    "UNSANITARY CONDITION": "property_service",
    "GENERAL": "property_service",
    "SAFETY": "property_service",
    "ELEVATOR": "property_service",
    "PAINT/PLASTER": "engineering",
    "PLUMBING": "engineering",
    "DOOR/WINDOW": "engineering",
    "WATER LEAK": "engineering",
    "ELECTRIC": "engineering",
    "FLOORING/STAIRS": "engineering",
    "APPLIANCE": "engineering",
    "OUTSIDE BUILDING": "engineering",
}
CHANNELS = {"PHONE": "hotline", "ONLINE": "app", "MOBILE": "app"}
_CONTACT = ("contacted a tenant", "contacted an occupant", "was advised by a tenant")
_NO_ACCESS = ("not able to gain access", "unable to access")
# As the city exports it, and as its API writes it.
_TIMES = ("%m/%d/%Y %I:%M:%S %p", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f")
_KEY = re.compile(r"[\x21-\x7e]{1,100}")
_BBL = re.compile(r"\d{10}", re.ASCII)


class Unusable(Exception):
    """A fault of the row's own."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(rule)
        self.rule, self.reason = rule, reason


class Request(NamedTuple):
    """One step of a row: what to append, or, for a complaint that finds no case yet, what to open."""

    row: Row
    step: str
    at: datetime
    key: str
    body: dict[str, Any]
    opening: dict[str, Any] | None = None


class Mapped(NamedTuple):
    """All that one row becomes. `waiting`: steps that make no sense until the complaint itself is right."""

    requests: tuple[Request, ...]
    refused: tuple[Refused, ...]
    waiting: int = 0


def is_housing(row: Row) -> bool:
    """A row that breaks off before its agency may be one."""
    return row.values.get("Agency", AGENCY).upper() == AGENCY


def mapped(row: Row) -> Mapped:
    """The row's requests, its complaint first, and the steps that its own faults rule out."""
    refused: list[Refused] = []
    later = [step for step in STEPS[1:] if _asked(row, step)]
    try:
        complaint = _complaint(row)
    except Unusable as fault:
        return Mapped((), (Refused(row, "received", fault.rule, None, fault.reason),), len(later))
    requests = [complaint]
    for step in later:
        try:
            requests.append(_later(row, step, complaint))
        except Unusable as fault:
            refused.append(Refused(row, step, fault.rule, None, fault.reason))
    return Mapped(tuple(requests), tuple(refused))


def instant(text: str, column: str) -> datetime:
    """New York's clock, in UTC. An hour that comes twice is the first; a skipped one is read on the clock before it."""
    if not text:
        raise Unusable("missing_time", f"{column} is empty")
    for form in _TIMES:
        try:
            return datetime.strptime(text, form).replace(tzinfo=NEW_YORK).astimezone(UTC)
        except (ValueError, OverflowError):
            continue
    raise Unusable("unreadable_time", f"{column} is no date and time like 02/28/2023 11:43:13 PM")


def in_order(requests: Iterable[Request]) -> list[Request]:
    """By time, yet no row's step before its own complaint; ties by row and step."""
    known = list(requests)
    obtained = {one.row.values["Unique Key"]: one.at for one in known if one.step == "received"}

    def place(one: Request) -> tuple[datetime, str, int]:
        key = one.row.values["Unique Key"]
        return max(one.at, obtained[key]), key, STEPS.index(one.step)

    return sorted(known, key=place)


def _asked(row: Row, step: str) -> bool:
    """Whether the row tells of that step."""
    said = row.values.get("Resolution Description", "").lower()
    match step:
        case "responded":
            return any(words in said for words in _CONTACT)
        case "contact_attempted":
            return any(words in said for words in _NO_ACCESS)
        case _:
            return bool(row.values.get("Closed Date")) or row.values.get("Status", "").upper() == "CLOSED"


def _complaint(row: Row) -> Request:
    _intact(row)
    at = instant(row.values["Created Date"], "Created Date")
    key, kind = row.values["Unique Key"], row.values["Complaint Type"].upper()
    region, bbl = _building(row)
    if kind not in CATEGORIES:
        raise Unusable("unknown_complaint_type", f"Complaint Type {kind!r} has no category")
    day = at.astimezone(NEW_YORK).date()
    complaint: dict[str, Any] = {
        "obtained_at": format_instant(at),
        "obtained_by": "NYC 311",
        "channel": CHANNELS.get(row.values["Open Data Channel Type"].upper(), "other"),
        "household": household(row),
        "evidence": [{"kind": "nyc311", "ref": key}],
        "note": row.values["Descriptor"],
    }
    opening = {
        "project": f"BBL-{bbl}",
        "region": region,
        "category": CATEGORIES[kind],
        "title": f"{kind}, {day}",
        "external_ref": f"nyc311:{bbl}:{kind}:{day}",
        **complaint,
    }
    return Request(row, "received", at, f"nyc311:{key}:received", {"type": "received", **complaint}, opening)


def household(row: Row) -> str:
    """Who complained, as far as anybody is told."""
    return f"key {row.values['Unique Key']}"


def _intact(row: Row) -> None:
    if not row.whole:
        raise Unusable("wrong_number_of_columns", "the row has more or fewer cells than the header")
    for column in NEEDED:
        if any("\ud800" <= char <= "\udfff" for char in row.values[column]):
            raise Unusable("broken_utf8", f"{column} is not UTF-8")
    if not _KEY.fullmatch(row.values["Unique Key"]):
        raise Unusable("missing_key", "Unique Key is not 1 to 100 visible characters")


def _building(row: Row) -> tuple[str, str]:
    """Region and number of the building; never a guess from the address."""
    bbl, borough = row.values["BBL"], row.values["Borough"].upper()
    if not bbl:
        raise Unusable("missing_project", "BBL is empty: the building is not known")
    if borough not in BOROUGHS:
        raise Unusable("missing_region", "Borough is none of the five")
    region, digit = BOROUGHS[borough]
    if not _BBL.fullmatch(bbl):
        raise Unusable("malformed_project", "BBL is not ten digits")
    if bbl[0] != digit:
        raise Unusable("building_outside_borough", f"a BBL of {borough} begins with {digit}")
    return region, bbl


def _later(row: Row, step: str, complaint: Request) -> Request:
    """A contact, an attempt or the closing; what the row does not say (who follows up, say) is left out."""
    if step == "closed":
        at = instant(row.values["Closed Date"], "Closed Date")
        if at < complaint.at:
            raise Unusable("closed_before_opened", "Closed Date lies before Created Date")
        body: dict[str, Any] = {"occurred_at": format_instant(at), "decision": row.values["Resolution Description"]}
    else:
        # The city gives the day only: its midnight.
        column = "Resolution Action Updated Date" if row.values["Resolution Action Updated Date"] else "Closed Date"
        at = instant(row.values[column], column)
        body = {"households": [household(row)]}
        if step == "responded":
            body |= {"contacted_at": format_instant(at)}
        else:
            body |= {"attempted_at": format_instant(at), "channel": "visit", "outcome": "no_answer"}
    return Request(row, step, at, f"nyc311:{row.values['Unique Key']}:{step}", {"type": step, **body})
