"""What is owed and how grave it is, a second time: microseconds since 1970, whole fen, plain tables, naive scans.

Straight from the regulation's reading and the contract. What facts say at T, as known at K, is asked of the other
oracle; nothing is taken from the policy document, from assembled facts, or from how the service folds.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from services.docket import Entry
from services.households import household_key
from tests.property.oracle import Oracle, Row

HOUR = 3_600_000_000
MASS = 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_COSTS = ("compensation", "upgrade_cost", "economic_loss")
# Only these move what a case is graded by; and whatever opens it.
_MOVING = ("received", "assessed", "linked", "unlinked")
_TWO_MILLION = 200_000_000


def us(instant: datetime) -> int:
    """Microseconds since 1970."""
    return (instant - _EPOCH) // _MICROSECOND


def fen(said: Any) -> int | None:
    """An amount, or the sum of its forms, in whole fen; None: nobody assessed it."""
    if said is None:
        return None
    if isinstance(said, str):
        yuan, _, rest = said.partition(".")
        return int(yuan) * 100 + int(rest.ljust(2, "0"))
    return sum(fen(part["amount"]) or 0 for part in said)


class Graded:
    """Clause 7 on what was assessed and who complains or sues: each criterion's verdict, by a table of its own."""

    def __init__(self, facts: Row, homes: int) -> None:
        costs = [fen(facts.get(name)) for name in _COSTS]
        least, whole = sum(cost for cost in costs if cost is not None), None not in costs
        harm = facts.get("casualties") or {"injured": None, "dead": None}
        hurt = [None if number is None else number >= 1 for number in (harm["injured"], harm["dead"])]
        self.table = {
            "A-1.1": _either(facts.get("batch_handover_delayed"), facts.get("title_deed_delayed")),
            "A-1.2": "met" if homes >= 100 else "not_met",
            "A-1.3": "met" if least >= _TWO_MILLION else "not_met" if whole else "undetermined",
            "A-1.4": _either(facts.get("group_milestone_delayed"), facts.get("annual_target_lowered")),
            "A-1.5": _either(*hurt),
            "A-2.1": "met" if homes in range(60, 100) else "not_met",
            "A-2.2": "not_met" if least >= _TWO_MILLION or (whole and least == 0) else "undetermined",
        }
        self.is_key_mass = homes >= MASS
        met = self._all("met")
        self.code = min((name[:3] for name in met), default="ungraded")
        self.criteria = tuple(name for name in met if name.startswith(self.code))
        self.undetermined = tuple(n for n in self._all("undetermined") if not met or n[:3] < self.code)

    def _all(self, verdict: str) -> list[str]:
        return [name for name, said in self.table.items() if said == verdict]


def _either(*values: bool | None) -> str:
    return "met" if True in values else "undetermined" if None in values else "not_met"


class DutiesOracle:
    """What was known at K of some cases, and what is owed and met at any T."""

    def __init__(self, files: Mapping[UUID, Sequence[Entry]], known: datetime | None = None) -> None:
        self.facts = Oracle(files, known)
        self.everything = self.facts.everything
        self.entries = {entry.position: entry for entry in self.facts.entries}
        self.histories: dict[UUID, list[tuple[Row, Graded]]] = {}
        self.until = 0

    def at(self, until: datetime) -> "DutiesOracle":
        """The same, as it stands at T, which is the now of duties."""
        self.until = us(until)
        self.facts.at(until)
        return self

    def heard(self, row: Row) -> int:
        """When what counts of an action was recorded: with itself, or with the last word on it.

        Of a complaint it is that there is one; of a response, when it was made and to whom.
        """
        word = self.entries[row["position"]]
        if row["type"] == "received" or (row["type"] == "responded" and _made(word.action) == _made(row["action"])):
            return us(word.recorded_at)
        while said := self.facts.about(word.action.action_id):
            word = said[-1]
        return us(word.recorded_at)

    # Grades -------------------------------------------------------------------------------------------------------

    def graded(self, case: UUID) -> list[tuple[Row, Graded]]:
        """After each action up to T that may have moved what the case is graded by: how it was graded from then on."""
        if case not in self.histories:
            now, self.histories[case] = self.facts.rows, []
            for number, row in enumerate(self.everything, start=1):
                self.facts.rows = self.everything[:number]
                if self._moves(row, case):
                    graded = Graded(self.facts.facts(case), len(self.homes(case)))
                    self.histories[case].append((row, graded))
            self.facts.rows = now
        return [(row, graded) for row, graded in self.histories[case] if us(row["at"]) <= self.until]

    def _moves(self, row: Row, case: UUID) -> bool:
        if row["type"] not in _MOVING and not row["action"].opening:
            return False
        joins = getattr(row["action"], "kind", None) == "merged_into"
        return case in (row["case"], self.facts.target_of(row["case"]), joins and row["action"].case)

    def homes(self, case: UUID) -> set[str]:
        """户: who complains or sues, in the case and those merged into it, each once."""
        sue: set[str] = set()
        for one in (case, *self.facts.members(case)):
            named = self.facts.facts(one).get("litigating_households") or ()
            sue |= {household_key(home) for home in named if not isinstance(named, dict)}
        return sue | self.facts.households(case)

    def grade(self, case: UUID) -> Row | None:
        """The level that is met, its criteria, what is open, and since when; None: nothing has happened yet."""
        past = [(us(row["at"]), graded) for row, graded in self.graded(case)]
        if not past:
            return None
        now = past[-1][1]
        before = [n for n, (_, graded) in enumerate(past) if graded.code != now.code]
        return {
            "code": now.code,
            "criteria": now.criteria,
            "undetermined": now.undetermined,
            "since": past[before[-1] + 1 if before else 0][0],
        }

    # Duties -------------------------------------------------------------------------------------------------------

    def duties(self, case: UUID) -> list[Row]:
        """Every duty of the case at T, in no particular order."""
        entries = [entry for entry in self.facts.entries if entry.stream == case]
        if not entries:
            return []
        rows = [*self.respond(case), *self._void(entries), *self._report(case), *self._after_closing(case)]
        if self.facts.becomes(entries[0]) is None:
            # Nothing is owed in a case that never was.
            rows = [{**row, **_NO_LONGER_OWED} for row in rows]
        return rows

    def cycle_at(self, case: UUID, instant: int) -> int:
        """A reopening starts the next cycle at its very instant."""
        return 1 + sum(1 for row in self.facts.of(case, "reopened") if us(row["at"]) <= instant)

    def respond(self, case: UUID) -> Iterator[Row]:
        """4.3: an hour from obtaining, the 60th minute included; the earliest contact counts."""
        for row in self.facts.complaints(case):
            started = us(row["when"])
            due = started + HOUR
            contacts = [(us(one["when"]), self.heard(one)) for one in self.facts.contacts(row)]
            met = min((when for when, _ in contacts), default=None)
            late = met is not None and met > due
            overdue = met is None and self.until > due
            proved = min((heard for when, heard in contacts if when <= due), default=0)
            yield {
                **_about(row["action"].complaint_id, row["action"].household, self.cycle_at(case, started)),
                "started_at": started,
                "due_at": due,
                "met_at": met,
                "state": "overdue" if overdue else "pending" if met is None else "met_late" if late else "met",
                "overdue_seconds": None if overdue else (met - due) // 1_000_000 if late and met else 0,
                "was_overdue": overdue or late or proved > max(due, self.heard(row)),
            }

    def _void(self, entries: list[Entry]) -> Iterator[Row]:
        """What was taken back is no longer owed; before its instant there was nothing to take back."""
        for entry in entries:
            said: Any = entry.action
            if said.name == "received" and self.facts.becomes(entry) is None:
                started = us(said.occurred_at)
                if min(started, us(entry.recorded_at)) <= self.until:
                    cycle = self.cycle_at(entry.stream, started)
                    clock = {"started_at": started, "due_at": started + HOUR, "met_at": None}
                    yield {**_about(said.complaint_id, said.household, cycle), **clock, **_NO_LONGER_OWED}

    def _report(self, case: UUID) -> Iterator[Row]:
        """4.4: once there were sixty households, it is owed; no time is stated."""
        mass = [row for row, graded in self.graded(case) if graded.is_key_mass]
        if mass:
            teams = self.facts.of(case, "emergency_started")
            reported = [(us(one["action"].reported_at), self.heard(one)) for one in teams]
            met = min((at for at, heard in reported if min(at, heard) <= self.until), default=None)
            started = us(mass[0]["at"])
            yield _untimed("report_emergency", self.cycle_at(case, started), started, met)

    def _after_closing(self, case: UUID) -> Iterator[Row]:
        """4.5 of every cycle, 4.6 once a case; a risk or warning that never became a complaint owes neither."""
        if self.facts.stage(case) != "complaint" and not self.facts.complaints(case):
            return
        closures = 0
        for number, rows in enumerate(self.facts.cycles(case), start=1):
            closed = [us(row["at"]) for row in rows if row["type"] == "closed"]
            if closed:
                closures += 1
                blamed = [us(row["at"]) for row in rows if row["type"] == "blamed"]
                yield _untimed("hold_accountable", number, closed[-1], blamed[-1] if blamed else None)
                if closures == 1:
                    lessons = [us(row["at"]) for row in self.facts.of(case, "lesson_recorded")]
                    yield _untimed("record_lesson", number, closed[-1], min(lessons, default=None))


def _made(response: Any) -> Any:
    return response.occurred_at, response.everyone, sorted(response.complaints), sorted(response.households)


_NO_LONGER_OWED: Row = {"state": "void", "overdue_seconds": 0, "was_overdue": False}


def _about(complaint: UUID, household: str | None, cycle: int) -> Row:
    return {"duty": "respond", "cycle": cycle, "complaint_id": complaint, "household": household}


def _untimed(duty: str, cycle: int, started: int, met: int | None) -> Row:
    """Tracked, and never overdue."""
    return {
        **{"duty": duty, "cycle": cycle, "complaint_id": None, "household": None},
        **{"started_at": started, "due_at": None, "met_at": met},
        **{"state": "pending" if met is None else "met", "overdue_seconds": 0, "was_overdue": False},
    }
