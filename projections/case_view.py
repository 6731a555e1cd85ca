"""How a case, its complaints and its actions are shown: documents with personal data still sealed.

A case's head has no arrays. What the service does not judge yet stands as null, so that its name is already there.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from grading_engine.duties import respond_duty
from grading_engine.policy import shipped
from services.case import Case, Complaint
from services.directory import Directory, Entry, first_responsible, in_force
from services.event_log import Record, Similar
from services.events import Action, Complainant, ProjectDescribed, Received, Responded
from services.vault import marked, marked_fact

_ENCODER = msgspec.json.Encoder()
_AS_THEY_ARE = (msgspec.Raw, datetime, UUID)
_SECOND = timedelta(seconds=1)
_CLAUSES = {
    "warned": "3.4",
    "received": "3.5",
    "responded": "3.1",
    "contact_attempted": "3.1",
    "chased": None,
    "noted": None,
}


def encode(document: object) -> bytes:
    """The document's bytes; sealed texts inside are opened by the vault before anyone reads them."""
    return _ENCODER.encode(document)


def head(case: Case, directory: Directory) -> dict[str, Any]:
    """The case without its arrays."""
    opening = case.opened
    project = _project(case, directory, case.updated_at)
    return {
        "case_id": case.case_id,
        "case_no": case.case_no,
        "version": case.version,
        "stage": case.stage,
        "status": case.status,
        "region": case.region,
        "project": opening.project,
        "city": project.fact.city if project else None,
        "area": project.fact.area if project else None,
        "category": opening.category,
        "title": marked("text", case.case_id, 1, "opening.title", opening.title),
        "household_count": len(case.households),
        "complaint_count": len(case.complaints),
        "grade": None,
        "escalation_level": "none",
        "responsible": _responsible(project),
        "in_concentrated_warranty": None,
        "complaints_since_closure": 0,
        "external_ref": opening.external_ref,
        "opened_at": case.opened_at,
        "closed_at": None,
        "updated_at": case.updated_at,
    }


def whole(case: Case, directory: Directory, now: datetime) -> dict[str, Any]:
    """The case with everything in it, as it stands at `now`."""
    opening = case.opened
    return {
        **head(case, directory),
        "description": marked("text", case.case_id, 1, "opening.description", opening.description),
        "unrest": marked("text", case.case_id, 1, "opening.unrest", opening.unrest),
        "tags": opening.tags,
        "facts": opening.facts or {},
        "duties": duties(case, now),
        "complaints": [complaint(case, one) for one in case.complaints.values()],
        "plan": None,
        "closure": None,
        "accountability": None,
        "lessons": [],
        "links": [],
        "cycles": [],
        "next_actions": next_actions(case),
        "inconsistencies": [],
    }


def opened(case: Case, directory: Directory, now: datetime, similar: Sequence[Similar]) -> dict[str, Any]:
    """The whole case just opened, with those that it may repeat."""
    duplicates = [{"case_id": one.stream, "case_no": one.case_no, "opened_at": one.opened_at} for one in similar]
    return {**whole(case, directory, now), "possible_duplicates": duplicates}


def complaint(case: Case, one: Complaint) -> dict[str, Any]:
    """One complaint."""
    return {
        "complaint_id": one.complaint_id,
        "household": one.household,
        "obtained_at": one.obtained_at,
        "obtained_by": one.obtained_by,
        "channel": one.channel,
        "complainant": _complainant(case.case_id, one.version, one.complainant),
        "responded_at": one.responded_at,
        "attempts": one.attempts,
        "chased": one.chased,
    }


def _complainant(stream: UUID, version: int, who: Complainant | None) -> dict[str, Any] | None:
    if who is None:
        return None
    return {
        "name": marked("name", stream, version, "complainant.name", who.name),
        "phone": marked("phone", stream, version, "complainant.phone", who.phone),
        "relation": marked("text", stream, version, "complainant.relation", who.relation),
    }


def duties(case: Case, now: datetime) -> list[dict[str, Any]]:
    """响应 (4.3): each complaint's clock at `now`."""
    rule = shipped().duty("respond")
    return [_duty(case, one, rule.clause, now) for one in case.complaints.values()]


def _duty(case: Case, one: Complaint, clause: str, now: datetime) -> dict[str, Any]:
    owed = respond_duty(shipped().duty("respond"), one.obtained_at, one.responded_at, now)
    return {
        "duty": "respond",
        "cycle": 1,
        "case_id": case.case_id,
        "complaint_id": one.complaint_id,
        "household": one.household,
        "started_at": owed.started_at,
        "due_at": owed.due_at,
        "met_at": owed.met_at,
        "met_by": one.responded_by,
        "state": owed.state,
        "overdue_seconds": owed.overdue_seconds,
        "clause": clause,
        "owed_by": one.obtained_by,
    }


def next_actions(case: Case) -> list[dict[str, Any]]:
    """What may be done now, and for what may not the rule."""
    has_complaint = bool(case.complaints)
    refused = {"responded", "contact_attempted", "chased"} if not has_complaint else set()
    listed: list[dict[str, Any]] = []
    for kind, clause in _CLAUSES.items():
        if kind == "warned" and case.stage != "risk":
            unmet = [{"criterion": "stage", "required": "risk", "actual": case.stage}]
            listed.append(
                {"type": kind, "allowed": False, "code": "not_at_risk_stage", "clause": "4.1", "unmet": unmet}
            )
        elif kind in refused:
            unmet = [{"criterion": "complaints", "required": "≥ 1", "actual": "0"}]
            listed.append(
                {"type": kind, "allowed": False, "code": "nothing_to_answer", "clause": clause, "unmet": unmet}
            )
        else:
            listed.append({"type": kind, "allowed": True})
    return listed


def action(record: Record, said: Action) -> dict[str, Any]:
    """One action: its place in the ledger, then its own fields, flat."""
    role, unit, subject = record.actor.split("/", 2)
    shown = msgspec.to_builtins(marked_fact(said, record.stream, record.version), builtin_types=_AS_THEY_ARE)
    opening: Mapping[str, Any] = shown.pop("opening", {})
    fields = {
        "action_id": said.action_id,
        "case_id": record.stream,
        "version": record.version,
        "position": record.position,
        "type": record.name,
        "occurred_at": said.occurred_at,
        "recorded_at": record.recorded_at,
        "delay_seconds": max(0, (record.recorded_at - said.occurred_at) // _SECOND),
        "actor": {"sub": subject, "role": role, "unit": unit},
        "operator": None,
        "evidence": [],
        "note": None,
        "corrected_by": None,
    }
    own = {key: value for key, value in {**opening, **shown}.items() if key not in _HEADER}
    return {**fields, **{k: v for k, v in shown.items() if k in _CARRIED}, **own, **_own_time(said)}


_CARRIED = frozenset({"operator", "evidence", "note"})
_HEADER = frozenset({"action_id", "occurred_at", "everyone", *_CARRIED})


def _own_time(said: Action) -> dict[str, Any]:
    """On some actions `occurred_at` *is* a time of their own."""
    match said:
        case Received():
            return {"obtained_at": said.occurred_at}
        case Responded():
            everyone = {"complaints": "all"} if said.everyone else {}
            return {"contacted_at": said.occurred_at, **everyone}
        case _ if said.name == "contact_attempted":
            return {"attempted_at": said.occurred_at}
        case _:
            return {}


def _project(case: Case, directory: Directory, at: datetime | None) -> Entry[ProjectDescribed] | None:
    entries = directory.projects.get(case.opened.project)
    return in_force(entries, at) if entries and at else None


def _responsible(project: Entry[ProjectDescribed] | None) -> dict[str, Any] | None:
    """第一处理责任人 (4.4)."""
    found = first_responsible(project.fact) if project else None
    if found is None or project is None:
        return None
    path = f"managers.{found.role}.phone"
    phone = marked("phone", project.stream, project.version, path, found.person.phone)
    return {"role": f"{found.role}_general_manager", "name": found.person.name, "phone": phone, "clause": "4.4"}
