"""What the fold holds of a case, question by question, in the words of the oracle."""

from collections.abc import Iterable
from typing import Any

from services.case import Case, Complaint, Cycle, Kept
from tests.property.oracle import distinct


def shown(case: Case) -> dict[str, Any]:
    """The folded case, question by question."""
    if case.version == 0:
        return {"version": 0}
    return {
        "version": case.version,
        "updated_at": case.updated_at,
        "opened_at": case.opened_at,
        "category": case.opened.category,
        "title": case.opened.title,
        "void": case.void,
        "stage": case.stage,
        "status": case.status,
        "complaints": {complaint_id: _complaint(one) for complaint_id, one in case.complaints.items()},
        "household_count": len(case.households),
        "accepting": case.accepting,
        "facts": distinct(case.facts),
        "escalation_level": case.escalation_level,
        "emergencies": _ids(case.emergencies),
        "cycle": _cycle(case.cycle),
        "cycles": [_cycle(cycle) for cycle in case.cycles],
        "lessons": {lesson_id: _ids(lesson.applied) for lesson_id, lesson in case.lessons.items()},
        "links": {(held.action.case, held.action.kind) for held in case.links if held.action.kind != "merged_from"},
        "merged_into": case.merged.action.case if case.merged else None,
        "members": set(case.members),
        "complaints_since_closure": case.complaints_since_closure,
        "corrected": case.corrected,
    }


def _complaint(one: Complaint) -> dict[str, Any]:
    names = ("owner", "obtained_at", "household", "channel", "responded_at", "responded_by", "attempts", "chased")
    return {name: getattr(one, name) for name in names}


def _cycle(cycle: Cycle) -> dict[str, Any]:
    return {
        "proposals": list(cycle.proposals),
        "approved": _ids([cycle.approved]),
        "answers": {key: reply.accepted for key, reply in cycle.replies.items()},
        "closure": _ids([cycle.closure]),
        "blame": _ids([cycle.blame]),
        "sanctions": _ids(cycle.sanctions),
        "reopened": _ids([cycle.reopened]),
    }


def _ids(held: Iterable[Kept[Any] | None]) -> list[Any]:
    return [one.action.action_id for one in held if one]
