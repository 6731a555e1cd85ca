"""How a case, its complaints and its actions are shown: documents with personal data still sealed.

A case's head has no arrays. What the service does not judge yet stands as null, so that its name is already there.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from projections import duty_view, grade_view
from services.case import Case, Complaint, Cycle, Kept, Lesson, Place
from services.directory import Directory, Entry, first_responsible, in_concentrated_warranty, in_force
from services.docket import Entry as Recorded
from services.event_log import Similar
from services.events import ACTIONS, Action, Complainant, Corrected, ProjectDescribed, Received, Responded
from services.permit import barred, circumstances
from services.rules import Refusal
from services.vault import marked, marked_fact

_ENCODER = msgspec.json.Encoder()
_AS_THEY_ARE = (msgspec.Raw, datetime, UUID)
_SECOND = timedelta(seconds=1)
_NOT_ASKED_FOR = frozenset({"risk_identified"})


def encode(document: object) -> bytes:
    """The document's bytes; sealed texts inside are opened by the vault before anyone reads them."""
    return _ENCODER.encode(document)


def head(case: Case, directory: Directory, at: datetime | None = None, known: datetime | None = None) -> dict[str, Any]:
    """The case without its arrays; people as the directory named them at `at`, as far as it was known by `known`."""
    return {**own_head(case), **place(case.opened.project, directory, at or case.updated_at, known)}


def own_head(case: Case) -> dict[str, Any]:
    """The head as far as the case's own actions tell it."""
    opening = case.opened
    return {
        "case_id": case.case_id,
        "case_no": case.case_no,
        "version": case.version,
        "stage": case.stage,
        "status": case.status,
        "region": case.region,
        "project": opening.project,
        "category": opening.category,
        "title": _opening_text(case, "title", opening.title),
        "household_count": len(case.households),
        "complaint_count": len(case.complaints),
        "grade": grade_view.brief(case),
        "escalation_level": case.escalation_level,
        "complaints_since_closure": case.complaints_since_closure,
        "external_ref": opening.external_ref,
        "opened_at": case.opened_at,
        "closed_at": _closed_at(case),
        "updated_at": case.updated_at,
    }


def place(code: str, directory: Directory, at: datetime | None, known: datetime | None = None) -> dict[str, Any]:
    """What the directory tells of a case through its project."""
    project = _project(code, directory, at, known)
    return {
        "city": project.fact.city if project else None,
        "area": project.fact.area if project else None,
        "responsible": _responsible(project),
        "in_concentrated_warranty": in_concentrated_warranty(project.fact, at) if project else None,
    }


def whole(case: Case, directory: Directory, now: datetime, known: datetime | None = None) -> dict[str, Any]:
    """The case with everything in it; duties and people are those of the instant `now`."""
    opening = case.opened
    return {
        **head(case, directory, now, known),
        "description": _opening_text(case, "description", opening.description),
        "unrest": _opening_text(case, "unrest", opening.unrest),
        "tags": opening.tags,
        "facts": case.facts,
        "duties": duty_view.duties(case, directory.regions, now, known),
        "complaints": [complaint(one) for one in in_order(case)],
        "emergencies": [_kept(held, "started_at") for held in case.emergencies],
        "plan": _plan(case.cycle, case),
        "closure": _closure(case.cycle),
        "accountability": _accountability(case.cycle),
        "lessons": [_lesson(lesson) for lesson in case.lessons.values()],
        "links": links(case),
        "cycles": [_cycle(cycle) for cycle in case.cycles],
        "next_actions": _encoded_next_actions(case),
        "inconsistencies": [{"action_id": one.action_id, "rule": one.rule} for one in case.inconsistencies],
    }


def opened(case: Case, directory: Directory, now: datetime, similar: Sequence[Similar]) -> dict[str, Any]:
    """The whole case just opened, with those that it may repeat."""
    duplicates = [{"case_id": one.stream, "case_no": one.case_no, "opened_at": one.opened_at} for one in similar]
    return {**whole(case, directory, now), "possible_duplicates": duplicates}


def _opening_text(case: Case, field: str, token: str | None) -> Any:
    place = case.opened_in
    if token is None or place is None:
        return None
    return marked("text", place.stream, place.version, f"{place.path}opening.{field}", token)


def _closed_at(case: Case) -> datetime | None:
    """A merged case closes with the merger."""
    held = case.merged or case.cycle.closure
    return held.at if held else None


def in_order(case: Case) -> list[Complaint]:
    """The complaints in the order in which they were recorded, those of a merger's members among them."""
    return sorted(case.complaints.values(), key=lambda one: one.position)


def complaint(one: Complaint) -> dict[str, Any]:
    """One complaint."""
    return {
        "complaint_id": one.complaint_id,
        "household": one.household,
        "obtained_at": one.obtained_at,
        "obtained_by": one.obtained_by,
        "channel": one.channel,
        "complainant": _complainant(one.place, one.complainant),
        "responded_at": one.responded_at,
        "attempts": one.attempts,
        "chased": one.chased,
    }


def _complainant(place: Place, who: Complainant | None) -> dict[str, Any] | None:
    if who is None:
        return None
    stream, version, path = place
    return {
        "name": marked("name", stream, version, f"{path}complainant.name", who.name),
        "phone": marked("phone", stream, version, f"{path}complainant.phone", who.phone),
        "relation": marked("text", stream, version, f"{path}complainant.relation", who.relation),
    }


def _plan(cycle: Cycle, case: Case | None = None) -> dict[str, Any] | None:
    """处理方案 (3.2(1)) and the households' answers to it; `accepting` counts as closing does (3.2(2))."""
    if not cycle.proposals:
        return None
    approved = _kept(cycle.approved, "approved_at") if cycle.approved else None
    replies = [
        {"household": reply.household, "accepted": reply.accepted, "answered_at": reply.at}
        for reply in cycle.replies.values()
    ]
    accepting = case.accepting if case else sum(reply.accepted for reply in cycle.replies.values())
    proposals = [_kept(held, "proposed_at") for held in cycle.proposals.values()]
    return {"proposals": proposals, "approved": approved, "accepting": accepting, "answers": replies}


def _closure(cycle: Cycle) -> dict[str, Any] | None:
    return _kept(cycle.closure, "closed_at") if cycle.closure else None


def _accountability(cycle: Cycle) -> dict[str, Any] | None:
    """问责与追责 (4.5)."""
    if cycle.blame is None:
        return None
    said = {"responsible": [], "no_fault": False, **_kept(cycle.blame, "determined_at")}
    return {**said, "sanctions": [_kept(held, "sanctioned_at") for held in cycle.sanctions]}


def _lesson(lesson: Lesson) -> dict[str, Any]:
    applied = [_kept(held, "applied_at") for held in lesson.applied]
    return {**_kept(lesson.recorded, "recorded_at"), "applied": applied}


def _cycle(cycle: Cycle) -> dict[str, Any]:
    """A cycle that a reopening ended."""
    return {
        "cycle": cycle.number,
        "plan": _plan(cycle),
        "closure": _closure(cycle),
        "accountability": _accountability(cycle),
        "reopened": _kept(cycle.reopened, "reopened_at") if cycle.reopened else None,
    }


def links(case: Case) -> list[dict[str, Any]]:
    """关联. What the case was linked to, and which cases are merged into it now."""
    members = [{"case_id": member, "kind": "merged_from"} for member in case.members]
    own = [held for held in case.links if held.action.kind != "merged_from"]
    return [{"case_id": held.action.case, **_kept(held, "linked_at", {"case"})} for held in own] + members


def _kept(held: Kept[Any], instant: str, without: set[str] | frozenset[str] = frozenset()) -> dict[str, Any]:
    """An action that the case remembers: its id, its own fields, and its fold instant under a name of its own."""
    own = _own_fields(held.action, held.place)
    kept = {key: value for key, value in own.items() if key not in without}
    return {"action_id": held.action.action_id, **kept, instant: held.at}


def next_actions(case: Case) -> list[dict[str, Any]]:
    """What may be done now, and for what may not the rule with its figures."""
    return [_next_action(kind, barred(case, kind)) for kind in ACTIONS if kind not in _NOT_ASKED_FOR]


def _encoded_next_actions(case: Case) -> msgspec.Raw:
    """Most cases stand where many others do, and judging twenty types anew would be half the cost of showing one."""
    where = circumstances(case)
    known = _NEXT.get(where)
    if known is None:
        if len(_NEXT) >= _REMEMBERED:
            _NEXT.clear()
        known = _NEXT[where] = msgspec.Raw(_ENCODER.encode(next_actions(case)))
    return known


_NEXT: dict[tuple[object, ...], msgspec.Raw] = {}
_REMEMBERED = 2_000


def _next_action(kind: str, refusal: Refusal | None) -> dict[str, Any]:
    if refusal is None:
        return {"type": kind, "allowed": True}
    unmet = [one._asdict() for one in refusal.unmet]
    rule = refusal.rule
    return {"type": kind, "allowed": False, "code": rule.code, "clause": rule.clause, "unmet": unmet}


def action(entry: Recorded, corrected_by: UUID | None = None) -> dict[str, Any]:
    """One action: its place in the ledger, then its own fields, flat."""
    said = entry.action
    role, unit, subject = entry.actor.split("/", 2)
    place = Place(entry.stream, entry.version)
    shown = _shown(said, place)
    opening: Mapping[str, Any] = shown.pop("opening", {})
    fields = {
        "action_id": said.action_id,
        "case_id": entry.stream,
        "version": entry.version,
        "position": entry.position,
        "type": said.name,
        "occurred_at": said.occurred_at,
        "recorded_at": entry.recorded_at,
        "delay_seconds": max(0, (entry.recorded_at - said.occurred_at) // _SECOND),
        "actor": {"sub": subject, "role": role, "unit": unit},
        "operator": None,
        "evidence": [],
        "note": None,
        "corrected_by": corrected_by,
    }
    own = {key: value for key, value in {**opening, **shown}.items() if key not in _HEADER}
    return {**fields, **{k: v for k, v in shown.items() if k in _CARRIED}, **own, **_otherwise(said, place)}


_CARRIED = frozenset({"operator", "evidence", "note"})
_HEADER = frozenset({"action_id", "occurred_at", "everyone", "root", "replaced", "becomes", *_CARRIED})


def _shown(said: Action, place: Place) -> dict[str, Any]:
    marked_up = marked_fact(said, place.stream, place.version, place.path)
    shown: dict[str, Any] = msgspec.to_builtins(marked_up, builtin_types=_AS_THEY_ARE)
    return shown


def _own_fields(said: Action, place: Place) -> dict[str, Any]:
    """What only this type of action carries."""
    return {key: value for key, value in _shown(said, place).items() if key not in _HEADER}


def _otherwise(said: Action, place: Place) -> dict[str, Any]:
    """What is shown under another name than it is stored: a time that `occurred_at` *is*, or what was replaced."""
    match said:
        case Received():
            return {"obtained_at": said.occurred_at}
        case Responded():
            everyone = {"complaints": "all"} if said.everyone else {}
            return {"contacted_at": said.occurred_at, **everyone}
        case Corrected():
            return _replacement(said, place)
        case _ if said.name == "contact_attempted":
            return {"attempted_at": said.occurred_at}
        case _:
            return {}


def _replacement(said: Corrected, place: Place) -> dict[str, Any]:
    """The merge patch of a correction, as far as it named fields; each with what it became."""
    if said.becomes is None:
        return {} if said.retract else {"replacement": {"retract": True}}
    becomes = said.becomes.action
    within = Place(place.stream, place.version, f"becomes.{becomes.name}.")
    shown = _shown(becomes, within)
    fields = {**shown.pop("opening", {}), **shown, **_otherwise(becomes, within)}
    if said.action != said.root:
        return {"replacement": {"replacement": _own(fields)}}
    return {"replacement": {name: fields.get(name) for name in said.replaced}}


def _own(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key not in ("action_id", "case_no", "complaint_id")}


def _project(
    code: str, directory: Directory, at: datetime | None, known: datetime | None
) -> Entry[ProjectDescribed] | None:
    entries = directory.projects.get(code, ())
    if known:
        entries = tuple(entry for entry in entries if entry.recorded_at <= known)
    return in_force(entries, at) if entries and at else None


def _responsible(project: Entry[ProjectDescribed] | None) -> dict[str, Any] | None:
    """第一处理责任人 (4.4)."""
    found = first_responsible(project.fact) if project else None
    if found is None or project is None:
        return None
    path = f"managers.{found.role}.phone"
    phone = marked("phone", project.stream, project.version, path, found.person.phone)
    return {"role": f"{found.role}_general_manager", "name": found.person.name, "phone": phone, "clause": "4.4"}
