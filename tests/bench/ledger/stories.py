"""What happens to complaints: everyday cases, cases that go all the way to accountability, and mass complaints."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from services.commands import CATEGORIES
from services.permit import FUNCTIONS
from tests.bench.ledger.telling import CUSTOMER, HOUSEHOLD, STAFF, Teller

_CHANNELS = ("hotline", "hotline", "hotline", "app", "app", "wechat", "visit", "letter", "media", "government")
_OUTCOMES = ("no_answer", "busy", "refused", "wrong_number")
_TAGS = ("渗漏", "电梯", "车位", "空鼓", "噪音", "交付", "物业费", "绿化")
_PRESIDENT = {"name": "赵一", "title": "regional_president"}
_APPROVER = {"name": "郑七", "title": "区域总裁"}
_HOUR, _DAY = 60.0, 1440.0


def everyday(rng: Random) -> Teller:
    """One or two households; answered or not; perhaps a note, an assessment, a plan, and the end."""
    teller = Teller(rng)
    if rng.random() < 0.05:
        return _anonymous(teller)
    case_id = _begun(teller)
    homes = [0]
    if rng.random() < 0.12:
        teller.wait(5, 3 * _HOUR)
        homes.append(_complains(teller, case_id, 1))
    _goes_on(teller, case_id)
    if rng.random() < 0.35:
        _ends(teller, case_id, homes)
    return teller


def merged(rng: Random) -> Teller:
    """Two cases that turn out to be one; some are parted again."""
    teller = Teller(rng)
    source = _begun(teller, 0, "engineering")
    teller.wait(5, _DAY)
    target = _begun(teller, 1, "engineering")
    teller.wait(5, _HOUR)
    _responds(teller, source)
    teller.wait(10, _DAY)
    teller.ask(source, "linked", case=str(target), kind="merged_into", reason="同一原因")
    teller.wait(5, _HOUR)
    _responds(teller, target)
    if rng.random() < 0.2:
        teller.wait(10, _DAY)
        teller.ask(source, "unlinked", case=str(target), kind="merged_into", reason="并非同源")
    else:
        _ends(teller, target, [0, 1])
    return teller


def corrected(rng: Random) -> Teller:
    """Something was written down wrongly, and is put right, or taken back."""
    teller = Teller(rng)
    case_id = _begun(teller)
    teller.wait(5, 50)
    said, answered_at = _responds(teller, case_id), teller.now
    teller.wait(30, _DAY)
    if rng.random() < 0.5:
        at = answered_at - timedelta(minutes=rng.uniform(1, 4))
        teller.ask(case_id, "corrected", action=said, replacement={"contacted_at": at.isoformat()}, reason="时间记错")
    else:
        teller.ask(case_id, "corrected", action=said, retract=True, reason="记在别的案卷上")
        teller.wait(5, _HOUR)
        _responds(teller, case_id)
    return teller


def widespread(rng: Random) -> Teller:
    """5 to 30 households."""
    return _of_many(rng, rng.randint(5, 30), 3 * _DAY)


def mass(rng: Random) -> Teller:
    """群诉. 100 to 500 households within some weeks."""
    return _of_many(rng, rng.randint(100, 500), 20 * _DAY)


Story = Callable[[Random], Teller]


def _of_many(rng: Random, households: int, minutes: float) -> Teller:
    teller = Teller(rng)
    case_id = _begun(teller, stage="complaint")
    gap = minutes / households
    for home in range(1, households):
        teller.wait(0.1, 2 * gap)
        _complains(teller, case_id, home)
        if rng.random() < 0.15:
            teller.wait(1, max(2, gap))
            _responds(teller, case_id)
        if rng.random() < 0.05:
            _attempts(teller, case_id, [rng.randrange(home)])
        if home in (10, 60, 110):
            teller.ask(case_id, "assessed", facts={"compensation": f"{home * 1500}.00"})
    teller.wait(5, 50)
    _responds(teller, case_id)
    teller.ask(case_id, "escalated", to="group" if households >= 100 else "city", reason="涉及户数多")
    if households >= 100:
        teller.wait(5, _HOUR)
        members = [{"name": f"成员{name}", "function": name} for name in FUNCTIONS]
        teller.ask(case_id, "emergency_started", lead=_PRESIDENT, members=members, reported_at=teller.now)
    if rng.random() < 0.7:
        _ends(teller, case_id, list(range(households)))
    return teller


def _anonymous(teller: Teller) -> Teller:
    """Nobody says who they are: an answer is owed, no household counts."""
    rng = teller.rng
    case_id = teller.open(
        category=rng.choice(CATEGORIES), obtained_at=_a_little_ago(teller), channel=rng.choice(_CHANNELS)
    )
    teller.wait(5, 90)
    _responds(teller, case_id)
    return teller


# Parts of a story -------------------------------------------------------------------------------------------------


def _begun(teller: Teller, home: int = 0, category: str | None = None, stage: str | None = None) -> UUID:
    rng = teller.rng
    stage = stage or rng.choices(("complaint", "warning", "risk"), (90, 6, 4))[0]
    said: dict[str, Any] = {
        "category": category or rng.choices(CATEGORIES, (50, 10, 10, 10, 20))[0],
        "stage": stage,
        "description": "描述",
        "tags": rng.sample(_TAGS, rng.choice((0, 0, 1, 2))),
    }
    if stage == "complaint":
        return teller.open(**said, **_obtained(teller, home))
    case_id = teller.open(**said, unrest="业主群里有议论" if stage == "warning" else None)
    teller.wait(_HOUR, 5 * _DAY)
    _complains(teller, case_id, home)
    return case_id


def _obtained(teller: Teller, home: int) -> dict[str, Any]:
    rng = teller.rng
    said: dict[str, Any] = {"obtained_at": _a_little_ago(teller), "channel": rng.choice(_CHANNELS)}
    if rng.random() < 0.2:
        said["obtained_by"] = "property_services"
    who = {"name": "姓名", "phone": CUSTOMER % home, "relation": "业主"}
    return {**said, "household": HOUSEHOLD % home, "complainant": who}


def _complains(teller: Teller, case_id: UUID, home: int) -> int:
    teller.ask(case_id, "received", **_obtained(teller, home))
    return home


def _goes_on(teller: Teller, case_id: UUID) -> None:
    """Most are answered within the hour, some late, some never; some answers are told late."""
    rng = teller.rng
    chance = rng.random()
    if chance < 0.08:
        teller.wait(20, 2 * _DAY)
        _attempts(teller, case_id, None)
    elif chance < 0.18:
        teller.wait(70, 2 * _DAY)
        _responds(teller, case_id)
    elif chance < 0.24:
        at = teller.now + timedelta(minutes=rng.uniform(5, 55))
        teller.wait(2 * _HOUR, _DAY)
        _responds(teller, case_id, at)
    elif chance < 0.96:
        teller.wait(3, 55)
        _responds(teller, case_id)
    for _ in range(rng.choice((0, 0, 1, 1, 2, 3))):
        teller.wait(10, 2 * _DAY)
        teller.ask(case_id, "noted", text="备注")
    if rng.random() < 0.12:
        teller.wait(5, _DAY)
        teller.ask(case_id, "assessed", facts={"compensation": f"{rng.randrange(500, 400_000)}.00"})
    if rng.random() < 0.06:
        teller.wait(5, _DAY)
        teller.ask(case_id, "escalated", to=rng.choice(("city", "area")), reason="业主扬言维权")


def _ends(teller: Teller, case_id: UUID, homes: Sequence[int]) -> None:
    """Plan, answers, closing, and what follows from it; perhaps it all begins again."""
    rng = teller.rng
    teller.wait(_HOUR, 5 * _DAY)
    _responds(teller, case_id)
    _closes(teller, case_id, homes)
    if rng.random() < 0.6:
        teller.wait(_HOUR, 8 * _DAY)
        shares = [{"party": "周八", "title": "工程经理", "unit": "项目", "finding": "未按图", "share_percent": "100"}]
        fault: dict[str, Any] = {"responsible": shares} if rng.random() < 0.8 else {"no_fault": True}
        teller.ask(case_id, "blamed", conclusion="已查明", determined_by=_APPROVER, **fault)
        if rng.random() < 0.3 and "responsible" in fault:
            teller.ask(case_id, "sanctioned", party="周八", measure="通报批评")
    if rng.random() < 0.3:
        teller.wait(_HOUR, 8 * _DAY)
        teller.ask(case_id, "lesson_recorded", root_cause="收口", lesson="附加层", measures=["修订"])
    if rng.random() < 0.06:
        teller.wait(_DAY, 30 * _DAY)
        teller.ask(case_id, "reopened", reason="雨后再漏")
        teller.wait(5, _DAY)
        _closes(teller, case_id, homes)


def _closes(teller: Teller, case_id: UUID, homes: Sequence[int]) -> None:
    rng = teller.rng
    plan = teller.ask(case_id, "plan_proposed", summary="方案", cost=f"{rng.randrange(1, 50) * 1000}.00")
    teller.wait(_HOUR, 3 * _DAY)
    teller.ask(case_id, "plan_approved", plan=str(plan.action_id), approver=_APPROVER)
    known = [HOUSEHOLD % home for home in homes]
    for start in range(0, len(known), 25):
        teller.wait(5, _DAY / 2)
        teller.ask(case_id, "plan_answered", households=known[start : start + 25], accepted=True)
    teller.wait(_HOUR, 5 * _DAY)
    teller.ask(case_id, "closed", decision="维修完成", recurrence_expected=False)


def _responds(teller: Teller, case_id: UUID, at: datetime | None = None) -> str:
    who = {"name": "王五", "title": "客户关系专员", "phone": STAFF % teller.rng.randrange(10)}
    said = teller.ask(
        case_id, "responded", complaints="all", contacted_at=at or teller.now, channel="hotline", contact_person=who
    )
    return str(said.action_id)


def _attempts(teller: Teller, case_id: UUID, homes: Sequence[int] | None) -> None:
    names = [HOUSEHOLD % home for home in homes or [0]]
    outcome = teller.rng.choice(_OUTCOMES)
    teller.ask(
        case_id, "contact_attempted", households=names, attempted_at=teller.now, channel="hotline", outcome=outcome
    )


def _a_little_ago(teller: Teller) -> datetime:
    """Written down at once, or after some minutes, or hours after."""
    minutes = teller.rng.choices((0.0, 3.0, 20.0, 200.0), (70, 20, 7, 3))[0]
    return teller.now - timedelta(minutes=minutes * teller.rng.random())
