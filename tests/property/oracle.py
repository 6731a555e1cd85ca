"""State(T, K) a second time, straight from the contract and as naively as can be: every question scans the whole list.

It shares the recorded facts with the service, and nothing of how they are folded.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.docket import Entry
from services.households import household_key

# The contract's table, from top to bottom; what only opens a case comes before all.
TABLE = [
    *("risk_identified", "warned", "received", "chased", "contact_attempted", "responded", "assessed", "escalated"),
    *("emergency_started", "plan_proposed", "plan_approved", "plan_answered", "closed", "reopened", "blamed"),
    *("sanctioned", "lesson_recorded", "lesson_applied", "linked", "unlinked", "noted", "corrected"),
]
STAGES = ["risk", "warning", "complaint"]
LEVELS = ["none", "city", "area", "region", "group"]

Row = dict[str, Any]


def distinct(facts: Mapping[str, Any]) -> Row:
    """Households that sue are counted, not spelled."""
    sue = {name: {household_key(h) for h in facts[name]} for name in facts if name == "litigating_households"}
    return {**facts, **sue}


class Oracle:
    """What was known at K of some cases, and what it says about an instant T."""

    def __init__(self, files: Mapping[UUID, Sequence[Entry]], known: datetime | None = None) -> None:
        self.entries = [e for held in files.values() for e in held if known is None or e.recorded_at <= known]
        self.entries.sort(key=lambda e: e.position)
        self.everything = [row for e in self.entries if e.action.name != "corrected" and (row := self.row(e))]
        self.everything.sort(key=lambda row: (row["at"], TABLE.index(row["type"]), row["position"]))
        self.rows = self.everything

    # Corrections --------------------------------------------------------------------------------------------------

    def about(self, action_id: UUID) -> list[Entry]:
        """The corrections of an action that have not been retracted, as recorded."""
        said = [e for e in self.entries if e.action.name == "corrected" and e.action.action == action_id]  # type: ignore[union-attr]
        return [e for e in said if not self.was_retracted(e.action.action_id)]

    def was_retracted(self, action_id: UUID) -> bool:
        last = self.about(action_id)[-1:]
        return bool(last) and last[0].action.retract  # type: ignore[union-attr]

    def becomes(self, entry: Entry) -> Any:
        """What an action says after all corrections; None: it never happened."""
        said = self.about(entry.action.action_id)
        if not said:
            return entry.action
        word = said[-1]
        while further := self.about(word.action.action_id):
            word = further[-1]
        return word.action.becomes.action if word.action.becomes else None  # type: ignore[union-attr]

    def row(self, entry: Entry) -> Row | None:
        action = self.becomes(entry)
        if action is None:
            return None
        at = action.occurred_at if action.occurred_at < entry.recorded_at else entry.recorded_at
        return {
            "case": entry.stream,
            "type": action.name,
            "at": at,
            "position": entry.position,
            "id": action.action_id,
            "action": action,
            "when": action.occurred_at,
        }

    # Instants -----------------------------------------------------------------------------------------------------

    def instants(self) -> list[datetime]:
        return sorted({row["at"] for row in self.everything})

    def at(self, until: datetime | None) -> "Oracle":
        """The same, as it stands at T."""
        self.rows = [row for row in self.everything if until is None or row["at"] <= until]
        return self

    # Mergers ------------------------------------------------------------------------------------------------------

    def mergers(self, before: int | None = None) -> dict[UUID, UUID]:
        """Which case is merged into which, before the n-th row or in the end. What would make a chain moves nothing."""
        into: dict[UUID, UUID] = {}
        for row in self.rows[:before]:
            if row["type"] in ("linked", "unlinked") and row["action"].kind == "merged_into":
                source, target = row["case"], row["action"].case
                if row["type"] == "unlinked" and into.get(source) == target:
                    del into[source]
                if row["type"] == "linked" and not {source, target} & into.keys() and source not in into.values():
                    into[source] = target
        return into

    def target_of(self, case: UUID, before: int | None = None) -> UUID | None:
        return self.mergers(before).get(case)

    def members(self, case: UUID, before: int | None = None) -> list[UUID]:
        """The cases that are merged into it."""
        return [source for source, target in self.mergers(before).items() if target == case]

    def counts_for(self, owner: UUID, case: UUID, before: int | None = None) -> bool:
        """Whether a complaint received by one case is one of the other's."""
        return owner == case or self.target_of(owner, before) == case

    # Complaints ---------------------------------------------------------------------------------------------------

    def of(self, case: UUID, *types: str) -> list[Row]:
        """What happened in the case itself."""
        return [row for row in self.rows if row["case"] == case and row["type"] in types]

    def complaints(self, case: UUID) -> list[Row]:
        return [row for row in self.rows if row["type"] == "received" and self.counts_for(row["case"], case)]

    def households(self, case: UUID) -> set[str]:
        rows = self.complaints(case)
        return {household_key(row["action"].household) for row in rows if row["action"].household}

    def is_named(self, complaint: Row, row: Row) -> bool:
        """Whether an action speaks of the complaint, by its id, its household or as one of all."""
        action, household = row["action"], complaint["action"].household
        if row["type"] == "chased":
            return bool(action.complaint == complaint["action"].complaint_id)
        if getattr(action, "everyone", False) or complaint["action"].complaint_id in action.complaints:
            return True
        return household is not None and household_key(household) in {household_key(h) for h in action.households}

    def contacts(self, complaint: Row) -> list[Row]:
        """The responses that reached it: not before it was obtained, by a case that it counted for."""
        return [
            row
            for number, row in enumerate(self.rows)
            if row["type"] == "responded"
            and self.is_named(complaint, row)
            and complaint["when"] <= row["when"]
            and self.counts_for(complaint["case"], row["case"], number)
        ]

    def spoken_of(self, complaint: Row, kind: str) -> int:
        """How often it was chased, or tried in vain, once it was there."""
        here = self.rows.index(complaint)
        return sum(
            1
            for number, row in enumerate(self.rows)
            if row["type"] == kind
            and number > here
            and self.is_named(complaint, row)
            and self.counts_for(complaint["case"], row["case"], number)
        )

    def complaint(self, row: Row) -> Row:
        contacts = self.contacts(row)
        earliest = min((one["when"] for one in contacts), default=None)
        return {
            "owner": row["case"],
            "obtained_at": row["when"],
            "household": row["action"].household,
            "channel": row["action"].channel,
            "responded_at": earliest,
            "responded_by": next((one["id"] for one in contacts if one["when"] == earliest), None),
            "attempts": self.spoken_of(row, "contact_attempted"),
            "chased": self.spoken_of(row, "chased"),
        }

    # Cycles -------------------------------------------------------------------------------------------------------

    def cycles(self, case: UUID) -> list[list[Row]]:
        """What happened in the case, cut after each reopening."""
        cycles: list[list[Row]] = [[]]
        for row in self.rows:
            if row["case"] == case:
                cycles[-1].append(row)
                if row["type"] == "reopened":
                    cycles.append([])
        return cycles

    def cycle(self, rows: list[Row]) -> Row:
        def ids(kind: str) -> list[UUID]:
            return [row["id"] for row in rows if row["type"] == kind]

        answers = {}
        for row in rows:
            if row["type"] == "plan_answered":
                for household in row["action"].households:
                    answers[household_key(household)] = row["action"].accepted
        return {
            "proposals": ids("plan_proposed"),
            "approved": ids("plan_approved")[-1:],
            "answers": answers,
            "closure": ids("closed")[-1:],
            "blame": ids("blamed")[-1:],
            "sanctions": ids("sanctioned"),
            "reopened": ids("reopened"),
        }

    def accepting(self, case: UUID) -> int:
        """Of the complaining households those whose last answer is yes, in whichever case of the group they gave it."""
        counted = [row for row in self.cycles(case)[-1] if row["type"] == "plan_answered"]
        for member in self.members(case):
            merger = max(n for n in range(len(self.rows)) if self.target_of(member, n) != case)
            if not any(row["type"] == "reopened" and row["case"] == case for row in self.rows[merger:]):
                theirs = [row for row in self.cycles(member)[-1] if row["type"] == "plan_answered"]
                counted += [row for row in theirs if self.rows.index(row) < merger]
        counted.sort(key=self.rows.index)
        last = {household_key(h): row["action"].accepted for row in counted for h in row["action"].households}
        return sum(1 for household in self.households(case) if last.get(household))

    def since_closure(self, case: UUID) -> int:
        rows = self.cycles(case)[-1]
        closed = [number for number, row in enumerate(rows) if row["type"] == "closed"]
        return sum(1 for row in rows[closed[0] :] if row["type"] == "received") if closed else 0

    # The rest -----------------------------------------------------------------------------------------------------

    def facts(self, case: UUID) -> Row:
        """Of each fact the last word; null: not assessed."""
        said = [row["action"].facts for row in self.of(case, "assessed")]
        for row in self.rows:
            if row["case"] == case and row["action"].opening and row["action"].opening.facts:
                before = [r for r in self.of(case, "assessed") if self.rows.index(r) < self.rows.index(row)]
                said.insert(len(before), row["action"].opening.facts)
        found = {}
        for name in {name for facts in said for name in facts}:
            value: Any = None
            for facts in said:
                if name in facts and isinstance(facts[name], dict) and name == "litigating_households":
                    gone = [household_key(h) for h in facts[name].get("remove", ())]
                    sue = list(value or ())
                    for household in facts[name].get("add", ()):
                        if household_key(household) not in map(household_key, sue):
                            sue.append(household)
                    value = [h for h in sue if household_key(h) not in gone]
                elif name in facts:
                    value = facts[name]
            if value is not None:
                found[name] = value
        return found

    def stage(self, case: UUID) -> str:
        reached = {"risk_identified": "risk", "warned": "warning", "received": "complaint"}
        own = [reached[row["type"]] for row in self.rows if row["case"] == case and row["type"] in reached]
        return max([*own, "risk"], key=STAGES.index)

    def status(self, case: UUID, void: bool) -> str:
        cycle = self.cycle(self.cycles(case)[-1])
        complaints = self.complaints(case)
        if void:
            return "void"
        if self.target_of(case):
            return "merged"
        if cycle["closure"]:
            return "accounted" if cycle["blame"] else "closed"
        if not complaints or any(not self.contacts(one) for one in complaints):
            return "open"
        return "planned" if cycle["approved"] else "responded"

    def links(self, case: UUID) -> set[tuple[UUID, str]]:
        held: set[tuple[UUID, str]] = set()
        for row in self.of(case, "linked", "unlinked"):
            place = (row["action"].case, row["action"].kind)
            if row["type"] == "linked":
                held.add(place)
            else:
                held.discard(place)
        return {place for place in held if place[1] != "merged_from"}

    def lessons(self, case: UUID) -> Row:
        found: Row = {}
        for row in self.of(case, "lesson_recorded", "lesson_applied"):
            if row["type"] == "lesson_recorded":
                found[row["id"]] = []
            elif row["action"].lesson in found:
                found[row["action"].lesson].append(row["id"])
        return found

    def case(self, case: UUID) -> Row:
        """Everything about one case; nothing known: version 0 alone."""
        entries = [e for e in self.entries if e.stream == case]
        if not entries:
            return {"version": 0}
        opening = self.becomes(entries[0])
        levels = [row["action"].to for row in self.of(case, "escalated")]
        *ended, current = [self.cycle(rows) for rows in self.cycles(case)]
        said: Any = opening or entries[0].action
        return {
            "version": len(entries),
            "updated_at": entries[-1].recorded_at,
            "opened_at": min(said.occurred_at, entries[0].recorded_at),
            "category": said.opening.category,
            "title": said.opening.title,
            "void": opening is None,
            "stage": self.stage(case),
            "status": self.status(case, opening is None),
            "complaints": {row["action"].complaint_id: self.complaint(row) for row in self.complaints(case)},
            "household_count": len(self.households(case)),
            "accepting": self.accepting(case),
            "facts": distinct(self.facts(case)),
            "escalation_level": max([*levels, "none"], key=LEVELS.index),
            "emergencies": [row["id"] for row in self.of(case, "emergency_started")],
            "cycle": current,
            "cycles": ended,
            "lessons": self.lessons(case),
            "links": self.links(case),
            "merged_into": self.target_of(case),
            "members": set(self.members(case)),
            "complaints_since_closure": self.since_closure(case),
            "corrected": {
                e.action.action_id: self.about(e.action.action_id)[-1].action.action_id
                for e in entries
                if self.about(e.action.action_id)
            },
        }
