"""A file's rows gathered into cases, with every row accounted for: planned, refused, repeated or not about housing."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from intake_api.nyc311.mapping import Request, in_order, is_housing, mapped
from intake_api.nyc311.sheet import Refused, Row


class Building(NamedTuple):
    """What the file tells of a project."""

    region: str
    name: str


class Plan(NamedTuple):
    """`cases` by their reference, each in the order to send; `repeated`: lines that say again what another said."""

    read: int
    housing: int
    repeated: int
    cases: Mapping[str, list[Request]]
    refused: list[Refused]
    waiting: int
    buildings: Mapping[str, Building]


def plan(rows: Iterable[Row]) -> Plan:
    """All that a file asks for. Of two different rows with one key the first counts, the second is refused."""
    read, repeated, waiting = 0, 0, 0
    first: dict[str, Row] = {}
    gathered: dict[str, list[Request]] = {}
    refused: list[Refused] = []
    for row in rows:
        read += 1
        if not is_housing(row):
            continue
        key = row.values.get("Unique Key") or f"line {row.line}"
        earlier = first.setdefault(key, row)
        if earlier is not row:
            if earlier.cells == row.cells:
                repeated += 1
            else:
                reason = f"line {earlier.line} has the same Unique Key and says something else"
                refused.append(Refused(row, "received", "doubled_key", None, reason))
            continue
        found = mapped(row)
        refused.extend(found.refused)
        waiting += found.waiting
        for request in found.requests:
            gathered.setdefault(_reference(found.requests[0]), []).append(request)
    housing = len(first) + sum(one.rule == "doubled_key" for one in refused)
    cases = {reference: in_order(requests) for reference, requests in gathered.items()}
    return Plan(read, housing, repeated, cases, refused, waiting, _buildings(cases))


def _reference(complaint: Request) -> str:
    return str((complaint.opening or {})["external_ref"])


def _buildings(cases: Mapping[str, list[Request]]) -> dict[str, Building]:
    """Named after the first of its addresses, in alphabetical order; without one, after its number."""
    regions: dict[str, str] = {}
    names: dict[str, set[str]] = {}
    for requests in cases.values():
        for request in requests:
            if opening := request.opening:
                regions[opening["project"]] = opening["region"]
                names.setdefault(opening["project"], set()).add(request.row.values["Incident Address"])
    return {
        project: Building(regions[project], min((name for name in names[project] if name), default=project)[:200])
        for project in sorted(regions)
    }
