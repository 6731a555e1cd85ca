"""Frauds as they would be committed: every step is one that the rules allow, told by the desks that took it."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import count
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

from msgspec.structs import replace

from services.docket import Entry
from services.events import Action
from tests.bench.ledger.telling import Teller

_CONTACT = {"name": "王五", "title": "客户关系专员"}
_APPROVER = {"name": "郑七", "title": "区域总裁"}
_HOUR = timedelta(hours=1)
_ids = count(1)


class Desk(Teller):
    """A teller who says at which desk each step is taken, in a project of a real directory."""

    def __init__(self, begin: datetime, project: str) -> None:
        super().__init__(Random(0))
        self.now, self.desk = begin, "desk-a"
        self._project, self._number = project, next(_ids)

    def new_id(self) -> UUID:
        return UUID(int=0x019AFFFF_0000_7000_8000_000000000000 + next(_ids))

    def at(self, hours: float) -> datetime:
        """So many hours from now."""
        return self.now + timedelta(hours=hours)

    def later(self, hours: float, desk: str | None = None) -> None:
        """Time goes by; somebody else may sit down."""
        self.now += timedelta(hours=hours)
        self.desk = desk or self.desk

    def begin(self, **body: Any) -> UUID:
        """A complaint that is recorded at once."""
        said = {"category": "engineering", "obtained_at": self.now, "channel": "hotline", "household": "1-1-101"}
        return self.open(**{**said, "project": self._project, "external_ref": f"FRAUD-{self._number}", **body})

    def answer(self, case: UUID, at: datetime | None = None, **body: Any) -> Action:
        """All are contacted."""
        said = {"complaints": "all", "contacted_at": at or self.now, "contact_person": _CONTACT}
        return self.ask(case, "responded", **said, **body)

    def close(self, case: UUID, desks: Sequence[str] = ("desk-b", "desk-c", "desk-d"), **body: Any) -> Action:
        """Proposed, approved and closed at these desks, the approval last told."""
        propose, approve, close = desks
        self.later(1, propose)
        plan = self.ask(case, "plan_proposed", summary="方案", **body)
        self.later(1, approve)
        approved = self.ask(case, "plan_approved", plan=str(plan.action_id), approver=_APPROVER)
        self.later(1)
        self.ask(case, "plan_answered", households=["1-1-101"], accepted=True)
        self.later(1, close)
        self.ask(case, "closed", decision="完成", recurrence_expected=False, **body)
        return approved

    def _entry(self, stream: UUID, action: Action) -> Entry:
        entry = super()._entry(stream, action)
        region = self._project.partition("-")[0]
        number = f"{region}-20990101-{self._number:04d}" if entry.version == 1 else None
        actor = f"manager/region/{self.desk}"
        return replace(entry, region=region, actor=actor, action=replace(action, case_no=number))


def _shortly_after_the_hour(desk: Desk) -> UUID:
    case = desk.begin()
    desk.later(1.3)
    desk.answer(case, desk.at(-0.4))
    return case


def _redated(desk: Desk) -> UUID:
    case = desk.begin()
    begun = desk.now
    desk.later(1.5)
    said = desk.answer(case)
    desk.later(48)
    change = {"contacted_at": (begun + 0.8 * _HOUR).isoformat()}
    desk.ask(case, "corrected", action=str(said.action_id), replacement=change, reason="笔误")
    return case


def _less_harm_than_was_said(desk: Desk) -> UUID:
    case = desk.begin()
    desk.answer(case)
    desk.ask(case, "assessed", facts={"compensation": "2400000.00"})
    desk.later(5)
    desk.ask(case, "assessed", facts={"compensation": "1900000.00"})
    return case


def _nobody_sued(desk: Desk) -> UUID:
    case = desk.begin()
    desk.answer(case)
    homes = [f"2-1-{number}" for number in range(101, 166)]
    said = desk.ask(case, "assessed", facts={"litigating_households": homes})
    desk.later(2)
    change = {"facts": {"litigating_households": homes[:20]}}
    desk.ask(case, "corrected", action=str(said.action_id), replacement=change, reason="笔误")
    return case


def _never_complained(desk: Desk) -> UUID:
    case = desk.begin()
    desk.answer(case)
    desk.later(3)
    said = desk.ask(case, "received", obtained_at=desk.now, channel="hotline", household="1-1-102")
    desk.later(0.9)
    desk.ask(case, "corrected", action=str(said.action_id), retract=True, reason="重复")
    return case


def _over_and_not_over(desk: Desk) -> UUID:
    case = desk.begin()
    desk.answer(case)
    desk.close(case)
    desk.later(3)
    desk.ask(case, "reopened", reason="又漏")
    return case


def _over_and_over(desk: Desk) -> UUID:
    case = desk.begin()
    desk.answer(case)
    for _ in range(2):
        desk.close(case)
        desk.later(30)
        desk.ask(case, "reopened", reason="又漏")
    return case


def _obtained_later_than_was_said(desk: Desk) -> UUID:
    case = desk.begin(obtained_at=desk.at(-0.9))
    opening, change = desk.told[0].entry.action, {"obtained_at": desk.at(-0.1).isoformat()}
    desk.later(0.5)
    desk.answer(case)
    desk.later(20, "desk-z")
    desk.ask(case, "corrected", action=str(opening.action_id), replacement=change, reason="笔误")
    return case


def _alone(desk: Desk) -> UUID:
    case = desk.begin()
    desk.answer(case)
    desk.close(case, ("desk-q", "desk-q", "desk-q"))
    return case


def _his_own_approver(desk: Desk) -> UUID:
    case = desk.begin()
    desk.answer(case)
    desk.close(case, operator={"id": "E-700", "name": _APPROVER["name"]})
    return case


def _answered_beforehand(desk: Desk) -> UUID:
    case = desk.begin()
    desk.later(0.5)
    obtained_at = desk.at(-0.1)
    desk.answer(case)
    desk.later(5)
    desk.ask(case, "received", obtained_at=obtained_at, channel="hotline", household="1-1-103")
    return case


def _never_approved(desk: Desk) -> UUID:
    case = desk.begin()
    desk.answer(case)
    approved = desk.close(case)
    desk.later(10)
    desk.ask(case, "corrected", action=str(approved.action_id), retract=True, reason="未获批")
    return case


class Fraud(NamedTuple):
    """What is found about it, with the signs that are seen."""

    kind: str
    reasons: tuple[str, ...]
    commit: Callable[[Desk], UUID]


FRAUDS = (
    Fraud("late_proof", ("recorded_shortly_after",), _shortly_after_the_hour),
    Fraud("late_proof", ("redated",), _redated),
    Fraud("facts_lowered", ("no_longer_key",), _less_harm_than_was_said),
    Fraud("facts_lowered", ("no_longer_key", "duty_fell_away"), _nobody_sued),
    Fraud("facts_lowered", ("duty_fell_away",), _never_complained),
    Fraud("closed_and_reopened", ("reopened_at_once",), _over_and_not_over),
    Fraud("closed_and_reopened", ("reopened_again",), _over_and_over),
    Fraud("corrected_for_others", ("fewer_late_duties",), _obtained_later_than_was_said),
    Fraud("one_hand", (), _alone),
    Fraud("one_hand", (), _his_own_approver),
    Fraud("claimed_before_recorded", (), _answered_beforehand),
    Fraud("closed_in_hindsight", ("plan_approved",), _never_approved),
)
