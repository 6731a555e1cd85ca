"""A few cases to which anything may happen: a seeded world that asks the rules as the desk does, with no database.

What may be recorded is recorded, in the order in which it was asked for; what is refused is forgotten. A failure prints
the seed; with `ANJUAN_SEED` the same history is the first one again.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from intake_api import bodies
from services.case import CLOCK_TOLERANCE, Case
from services.commands import ACTION, OPENING, Correct, Link, Unlink
from services.corrections import Target, correct
from services.decide import make, open_case
from services.docket import Docket, Entry, Files, fold, linked_streams
from services.events import Action, Corrected, Linked, PlanAnswered, PlanProposed, Received, Unlinked
from services.instants import format_instant
from services.permit import FUNCTIONS, barred
from services.rules import Fault, Malformed, Refusal
from services.sitting import Sitting

SOAK = os.environ.get("ANJUAN_SOAK") == "1"
BEGINNING = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
HOUSEHOLDS = ("3-1-201", "3栋1单元0201室", "3-1-202", "3-1-301", "3-1-401")
# So many may sue that, with those that complain, a case lies near 60 or 100 households.
CROWD = tuple(f"9-1-{number}" for number in range(1, 102))
LEVELS = ("city", "area", "region", "group")
KINDS = (
    "warned",
    "received",
    "chased",
    "contact_attempted",
    "responded",
    "assessed",
    "escalated",
    "emergency_started",
    "plan_proposed",
    "plan_approved",
    "plan_answered",
    "closed",
    "reopened",
    "blamed",
    "sanctioned",
    "lesson_recorded",
    "lesson_applied",
    "linked",
    "unlinked",
    "noted",
    "corrected",
)
_OFTEN = {"received": 3, "responded": 3, "plan_proposed": 2, "plan_approved": 3, "plan_answered": 3, "closed": 4}
OWN_TIMES = {"received": "obtained_at", "responded": "contacted_at", "contact_attempted": "attempted_at"}
_WHO = {"name": "王五", "title": "客户关系专员"}
_PRESIDENT = {"name": "赵一", "title": "regional_president"}
_LAST = 1 << 62
_MOST_ASKED = 80
_TICK = timedelta(microseconds=1)
_HOUR = timedelta(hours=1)
_ACTOR = "manager/region/property"

Body = dict[str, Any]


async def seeds(number: int) -> AsyncIterator[int]:
    """So many seeds, one for each history; the first is `ANJUAN_SEED`, if it is set."""
    first = int(os.environ.get("ANJUAN_SEED") or secrets.randbelow(1 << 40))
    print(f"ANJUAN_SEED={first}")
    for seed in range(first, first + number):
        # An app that lives in this session has a turn now and then, lest it takes its connections for dead.
        await asyncio.sleep(0)
        yield seed


@contextmanager
def told(seed: int, world: "World | None" = None) -> Iterator[None]:
    """Whatever goes wrong in here is told with its seed and what was recorded."""
    try:
        yield
    except BaseException as wrong:
        if not isinstance(wrong, KeyboardInterrupt):
            wrong.add_note(f"ANJUAN_SEED={seed}")
            for line in world.story() if world else ():
                wrong.add_note(line)
        raise


class Recorded(NamedTuple):
    """What an accepted action moved: the cases before and after, and what the sitting said of them."""

    entries: Sequence[Entry]
    before: Docket
    foreseen: Docket
    exact: bool
    opens_or_ends: bool | None


class World:
    """Cases of one region; `now` goes on with every action."""

    def __init__(self, rng: Random, cases: int) -> None:
        self.rng = rng
        self.now = BEGINNING
        self.beginning = BEGINNING - timedelta(minutes=30)
        self.files: dict[UUID, list[Entry]] = {}
        self._positions = count(1)
        self._ids = count(1)
        for _ in range(cases):
            self._open()
        begun = list(self.files)
        for case_id in begun:
            if rng.random() < 0.4:
                self.hurry(case_id, rng.randint(3, len(TO_CLOSURE)))
        if len(begun) > 1 and rng.random() < 0.3:
            self._merge_while_both_are_answered(*begun[:2])
        elif begun and rng.random() < 0.2:
            self._many_sue(begun)
        elif begun and rng.random() < 0.15:
            self._close_twice(begun[0])

    def new_id(self) -> UUID:
        return UUID(int=0x019AB3C4_5D6E_7F80_9123_000000000000 + next(self._ids))

    @property
    def order(self) -> list[Entry]:
        """Everything as it was recorded."""
        return sorted((entry for held in self.files.values() for entry in held), key=lambda entry: entry.position)

    def group(self, *cases: UUID) -> Files:
        """Everything recorded of these cases and of those that they were ever merged with, as the desk fetches it."""
        found: dict[UUID, list[Entry]] = {}
        wanted = set(cases)
        while wanted:
            found.update({stream: self.files[stream] for stream in wanted})
            wanted = {other for held in found.values() for other in linked_streams(held)} - found.keys()
        return found

    def tick(self) -> None:
        """Some time goes by; now and then hardly any."""
        self.now += self.rng.choice((_TICK, timedelta(seconds=40), timedelta(minutes=3), timedelta(hours=5)))

    def ask(self, case_id: UUID, body: Body) -> Recorded | Refusal | Malformed:
        """Record the action if the rules allow it; else why not."""
        try:
            return self._asked(case_id, body)
        except (Refusal, Malformed) as refused:
            return refused

    def _asked(self, case_id: UUID, body: Body) -> Recorded:
        command = _shape(ACTION, msgspec.json.encode(body), body)
        before = fold(self.group(case_id)).docket
        sitting, at = Sitting(before, case_id), self.now
        other = UUID(command.case) if isinstance(command, Link | Unlink) else None
        if other == case_id:
            raise Malformed([Fault("/case", "unknown_case", str(other))], "unknown_case")
        action: Action
        if isinstance(command, Correct):
            sitting.take(self.group(case_id))
            action = self._correction(case_id, command, at)
        else:
            action = make(command, at, self.new_id, other)
            merged = [other] if other and body["kind"] == "merged_into" else []
            if merged or sitting.needs_files(action.name, min(action.occurred_at, at)):
                sitting.take(self.group(case_id, *merged))
        drafts = [self._entry(case_id, action, at)]
        sitting.judge(drafts[0])
        opens_or_ends = sitting.opens_or_ends(drafts[0])
        if isinstance(action, Linked | Unlinked) and action.kind == "merged_into":
            mirrored = msgspec.structs.replace(action, action_id=self.new_id(), case=case_id, kind="merged_from")
            drafts.append(self._entry(action.case, mirrored, at))
        # The log's own clock is a little later than the desk's.
        self.now += self.rng.choice((timedelta(0), timedelta(0), _TICK, timedelta(milliseconds=20)))
        entries = [
            msgspec.structs.replace(draft, position=next(self._positions), recorded_at=self.now) for draft in drafts
        ]
        foreseen, exact = sitting.stored(entries)
        for entry in entries:
            self.files[entry.stream].append(entry)
        return Recorded(entries, before, foreseen, exact, opens_or_ends)

    def _entry(self, stream: UUID, action: Action, at: datetime) -> Entry:
        return Entry(stream, len(self.files[stream]) + 1, _LAST, at, "GD", _ACTOR, action)

    def _correction(self, case_id: UUID, command: Correct, at: datetime) -> Corrected:
        by_id = {entry.action.action_id: entry for entry in self.files[case_id]}
        named = by_id[command.action]
        root = by_id[named.action.root] if isinstance(named.action, Corrected) else named
        return correct(command, Target(named.action, root.action, root.recorded_at), at, self.new_id, _shape)

    def _open(self) -> None:
        stage = self.rng.choice(("risk", "warning", "complaint", "complaint", "complaint"))
        body: Body = {"project": "GD-1", "category": "engineering", "title": "3栋外墙渗水", "stage": stage}
        happened = format_instant(self.now - self.rng.choice((0, 1, 600)) * timedelta(seconds=1))
        if stage == "complaint":
            body |= {"obtained_at": happened, "channel": "hotline", "household": self.rng.choice(HOUSEHOLDS)}
        else:
            body |= {"occurred_at": happened, "facts": {"compensation": "100.00"}}
        action = open_case(OPENING.validate_json(msgspec.json.encode(body)), self.now, self.new_id)
        case_id = self.new_id()
        position = next(self._positions)
        no = f"GD-20261123-{position:04d}"
        entry = Entry(case_id, 1, position, self.now, "GD", _ACTOR, msgspec.structs.replace(action, case_no=no))
        self.files[case_id] = [entry]
        self.tick()

    def hurry(self, case_id: UUID, steps: int) -> None:
        """Bring the case near its closure, or into it, so that what comes after is not too seldom."""
        for step in range(steps):
            self.tick()
            self.ask(case_id, next_step(step, self, fold(self.group(case_id)).docket[case_id]))

    def _merge_while_both_are_answered(self, source: UUID, target: UUID) -> None:
        """Both have a plan to which the same household said something, at different times or at the same one."""
        household = self.rng.choice(HOUSEHOLDS)
        for case_id in (source, target):
            self.ask(case_id, {"type": "received", "obtained_at": format_instant(self.now), **_from(household)})
            self.hurry(case_id, 3)
        said_at = self.now
        for case_id in self.rng.sample((source, target), 2):
            answer = {"type": "plan_answered", "households": [household], "accepted": self.rng.random() < 0.5}
            self.ask(case_id, {**answer, "occurred_at": format_instant(said_at)})
            if self.rng.random() < 0.5:
                self.tick()
                said_at = self.now
        self.tick()
        self.ask(source, {"type": "linked", "case": str(target), "kind": "merged_into", "reason": "同一渗水"})
        if self.rng.random() < 0.4:
            self.hurry(target, len(TO_CLOSURE))
            self.tick()
            self.ask(target, {"type": "reopened", "reason": "雨后再漏"})

    def _many_sue(self, begun: Sequence[UUID]) -> None:
        """In each case some, and perhaps enough together: near 60 households, or near 100."""
        each = self.rng.choice((59, 60, 99)) // len(begun)
        for number, case_id in enumerate(begun):
            self.tick()
            homes = [*CROWD[number * each : (number + 1) * each], *self.rng.sample(HOUSEHOLDS, 1)]
            self.ask(case_id, {"type": "assessed", "facts": {"litigating_households": homes}})
        if len(begun) > 1:
            self.tick()
            self.ask(begun[0], {"type": "linked", "case": str(begun[1]), "kind": "merged_into", "reason": "同一渗水"})

    def _close_twice(self, case_id: UUID) -> None:
        """Closed and answered for, reopened, and closed again."""
        for _ in range(2):
            self.hurry(case_id, len(TO_CLOSURE))
            for kind in ("lesson_recorded", "blamed", "reopened"):
                self.tick()
                case = fold(self.group(case_id)).docket[case_id]
                self.ask(case_id, {"type": kind, **_WISHES[kind](self, case)})

    def story(self) -> Iterator[str]:
        """What was recorded, one line for each action, with short names."""
        short: dict[str, str] = {str(case_id): f"case{n}" for n, case_id in enumerate(self.files, start=1)}
        for entry in self.order:
            short[str(entry.action.action_id)] = f"a{entry.position}"
            if isinstance(entry.action, Received):
                short[str(entry.action.complaint_id)] = f"c{entry.position}"
        for entry in self.order:
            said = msgspec.to_builtins(entry.action)
            for plain in ("case_no", "opening", "contact_person", "members", "reason", "channel"):
                said.pop(plain, None)
            place = f"{entry.position} {short[str(entry.stream)]} v{entry.version} {entry.action.name}"
            line = f"{place} recorded {entry.recorded_at:%d.%H:%M:%S.%f} {said}"
            for long, name in short.items():
                line = line.replace(long, name)
            yield line.replace("2026-11-", "")


def _shape(adapter: Any, raw: bytes, body: Any) -> Any:
    return bodies.command(adapter, raw, body)


def history(seed: int) -> World:
    """Five to 25 actions that were all accepted."""
    rng = Random(seed)
    world = World(rng, rng.choice((1, 2, 2, 3)))
    wanted = rng.randint(5, 25)
    for _ in range(_MOST_ASKED):
        if len(world.order) >= wanted:
            break
        world.tick()
        case_id = rng.choice(list(world.files))
        world.ask(case_id, wish(world, case_id, fold(world.group(case_id)).docket))
    return world


# What somebody may wish -------------------------------------------------------------------------------------------


def wish(world: World, case_id: UUID, docket: Docket) -> Body:
    """An action that is more likely allowed than not, at some time: now, earlier, or by a clock that runs ahead."""
    rng, case = world.rng, docket[case_id]
    kinds = [kind for kind in KINDS if rng.random() < 0.1 or barred(case, kind) is None]
    kind = rng.choices(kinds, [_OFTEN.get(kind, 1) * (2 if kind == "corrected" else 1) for kind in kinds])[0]
    body = {"type": kind, **_WISHES[kind](world, case)}
    when = _when(world) if kind != "responded" or rng.random() < 0.7 else _about_when_due(world, case)
    own = OWN_TIMES.get(kind, "occurred_at")
    if when is not None or own != "occurred_at":
        body[own] = format_instant(when or world.now)
    return body


TO_CLOSURE = ("responded", "plan_proposed", "plan_approved", "plan_answered", "closed")


def next_step(number: int, world: World, case: Case) -> Body:
    """The n-th step of the straight way to closure."""
    bodies: list[Body] = [
        {"complaints": "all", "contact_person": _WHO, "contacted_at": format_instant(world.now)},
        {"summary": "重做防水"},
        {"plan": str(next(iter(case.cycle.proposals), case.case_id)), "approver": _WHO},
        {"households": sorted(case.households), "accepted": True},
        {"decision": "完成", "recurrence_expected": False},
    ]
    return {"type": TO_CLOSURE[number], **bodies[number]}


def _when(world: World) -> datetime | None:
    """None: left out, which is now."""
    rng = world.rng
    chance = rng.random()
    if chance < 0.4:
        return None
    if chance < 0.55:
        return world.now
    if chance < 0.7:
        return world.now + rng.choice((_TICK, timedelta(seconds=90), rng.random() * CLOCK_TOLERANCE))
    return _some_time_ago(world)


def _about_when_due(world: World, case: Case) -> datetime:
    """At the 60th minute of a complaint, or a microsecond before or after; or soon after it was obtained."""
    rng = world.rng
    obtained = [one.obtained_at for one in case.complaints.values()] or [world.now]
    after = rng.choice((_HOUR, _HOUR, rng.random() * _HOUR))
    return min(rng.choice(obtained) + after + rng.choice((-1, 0, 1)) * _TICK, world.now)


def _some_time_ago(world: World) -> datetime:
    """At, just before or just after something that happened; or anywhere since the beginning."""
    rng = world.rng
    if rng.random() < 0.7:
        near = rng.choice(world.order).at
        return min(near + rng.choice((-1, 0, 0, 1)) * _TICK, world.now)
    return world.beginning + rng.random() * (world.now - world.beginning)


def _household(world: World) -> str:
    return world.rng.choice(HOUSEHOLDS)


def _some(world: World, choices: Sequence[Any]) -> list[Any]:
    return world.rng.sample(choices, world.rng.randint(1, min(3, len(choices)))) if choices else []


def _from(household: str) -> Body:
    return {"channel": "hotline", "household": household}


def _target(world: World, case: Case) -> Body:
    if case.households and world.rng.random() < 0.4:
        return {"households": _some(world, sorted(case.households))}
    return {"complaints": [str(one) for one in _some(world, list(case.complaints))] or [str(world.new_id())]}


def _responded(world: World, case: Case) -> Body:
    target = {"complaints": "all"} if world.rng.random() < 0.5 else _target(world, case)
    return {**target, "contact_person": _WHO}


def _assessed(world: World, case: Case) -> Body:
    rng = world.rng
    amount = rng.choice((f"{rng.randint(1, 9)}00000.00", "666666.67", "1999999.99", "2000000.00"))
    flag = rng.choice((True, False, None))
    facts: Body = rng.choice(
        (
            {"compensation": rng.choice((amount, None, [{"amount": amount, "form": "cash"}]))},
            {"upgrade_cost": rng.choice((amount, None)), "title_deed_delayed": flag},
            {"economic_loss": rng.choice((amount, "0.00")), "batch_handover_delayed": flag},
            {"compensation": "0.00", "upgrade_cost": "0.00", "economic_loss": "0.00", "group_milestone_delayed": flag},
            {"annual_target_lowered": flag, "casualties": {"injured": 0, "dead": rng.randint(0, 1)}},
            {"casualties": rng.choice(({"injured": rng.randint(0, 2), "dead": 0}, None))},
            {"litigating_households": rng.choice((_some(world, HOUSEHOLDS), [], None))},
            {"litigating_households": {"add": _some(world, HOUSEHOLDS), "remove": _some(world, HOUSEHOLDS)}},
            {"litigating_households": {"add": _some(world, HOUSEHOLDS)}, "compensation": amount},
            {"litigating_households": _crowd(world)},
            {"litigating_households": {"add": _crowd(world), "remove": _some(world, CROWD[:60])}},
        )
    )
    return {"facts": facts}


def _crowd(world: World) -> list[str]:
    """Near the bounds of clause 7 with the few that complain."""
    return [*CROWD[: world.rng.choice((56, 57, 58, 59, 60, 96, 97, 98, 99, 100))], *_some(world, HOUSEHOLDS)]


def _emergency(world: World, case: Case) -> Body:
    covered = FUNCTIONS if world.rng.random() < 0.7 else FUNCTIONS[: world.rng.randint(1, 4)]
    members = [{"name": f"成员{function}", "function": function} for function in covered]
    reported_at = _some_time_ago(world) if world.rng.random() < 0.5 else world.now
    return {"lead": _PRESIDENT, "members": members, "reported_at": format_instant(reported_at)}


def _approved(world: World, case: Case) -> Body:
    plans = list(case.cycle.proposals) or [
        e.action.action_id for e in world.order if isinstance(e.action, PlanProposed)
    ]
    return {"plan": str(world.rng.choice(plans or [world.new_id()])), "approver": _WHO}


def _answered(world: World, case: Case) -> Body:
    whole = sorted(case.households) if world.rng.random() < 0.6 else _some(world, sorted(case.households))
    return {"households": whole or [_household(world)], "accepted": world.rng.random() < 0.8}


def _closed(world: World, case: Case) -> Body:
    return {"decision": world.rng.choice(("完成", "结束")), "recurrence_expected": world.rng.random() < 0.05}


def _linked(world: World, case: Case) -> Body:
    others = [other for other in world.files if other != case.case_id] or [case.case_id]
    kind = world.rng.choice(("merged_into", "merged_into", "related", "recurrence_of"))
    return {"case": str(world.rng.choice(others)), "kind": kind, "reason": "同一渗水"}


def _unlinked(world: World, case: Case) -> Body:
    held = [one.action for one in case.links if one.action.kind != "merged_from"]
    if not held:
        return _linked(world, case)
    link = world.rng.choice(held)
    return {"case": str(link.case), "kind": link.kind, "reason": "并非同源"}


def _corrected(world: World, case: Case) -> Body:
    """Any action of the case; corrections of corrections too."""
    rng = world.rng
    held = world.files[case.case_id]
    corrections = [entry for entry in held if isinstance(entry.action, Corrected)]
    # The opening seldom, since a void case takes nothing any more.
    others = held[1:] if len(held) > 1 and rng.random() < 0.95 else held
    entry = rng.choice(corrections if corrections and rng.random() < 0.3 else others)
    said: Body = {"action": str(entry.action.action_id), "reason": rng.choice(("听错", "误录"))}
    deep = isinstance(entry.action, Corrected) and entry.action.action != entry.action.root
    if deep or rng.random() < 0.35:
        return {**said, "retract": True}
    if not isinstance(entry.action, Corrected):
        return {**said, "replacement": _patch(world, case, entry.action)}
    root = next(one.action for one in held if one.action.action_id == entry.action.root)
    if not entry.action.retract and rng.random() < 0.3:
        return {**said, "replacement": {"retract": True, "replacement": None}}
    patch: Body = {"replacement": _patch(world, case, root)}
    return {**said, "replacement": {"retract": None, **patch} if entry.action.retract else patch}


def _patch(world: World, case: Case, action: Action) -> Body:
    """What the action should have said."""
    own = OWN_TIMES.get(action.name, "occurred_at")
    made = _WISHES[action.name](world, case) if action.name in _WISHES else {}
    made = {name: value for name, value in made.items() if name not in ("case", "kind")}
    if isinstance(action, PlanAnswered) and world.rng.random() < 0.5:
        made = {"accepted": not action.accepted}
    if "households" in made and action.name in ("responded", "contact_attempted"):
        made["complaints"] = None
    elif "complaints" in made:
        made["households"] = None
    if not made or world.rng.random() < 0.5:
        made = {own: format_instant(_some_time_ago(world))}
    return made


_WISHES: Mapping[str, Any] = {
    "warned": lambda world, case: {"unrest": "业主群约定聚集"},
    "received": lambda world, case: {
        "channel": "hotline",
        **({"household": _household(world)} if world.rng.random() < 0.9 else {}),
    },
    "chased": lambda world, case: {
        "complaint": str(world.rng.choice(list(case.complaints) or [world.new_id()])),
        "channel": "app",
    },
    "contact_attempted": lambda world, case: {
        **_target(world, case),
        "channel": "hotline",
        "outcome": world.rng.choice(("no_answer", "busy")),
    },
    "responded": _responded,
    "assessed": _assessed,
    "escalated": lambda world, case: {"to": world.rng.choice(LEVELS), "reason": "扩大"},
    "emergency_started": _emergency,
    "plan_proposed": lambda world, case: {"summary": "重做防水", "cost": world.rng.choice(("1.00", None))},
    "plan_approved": _approved,
    "plan_answered": _answered,
    "closed": _closed,
    "reopened": lambda world, case: {"reason": "雨后再漏"},
    "blamed": lambda world, case: {"no_fault": True, "conclusion": "无", "determined_by": _WHO},
    "sanctioned": lambda world, case: {"party": "王八", "measure": world.rng.choice(("通报", "罚款"))},
    "lesson_recorded": lambda world, case: {"root_cause": "收口", "lesson": "附加层", "measures": ["自查"]},
    "lesson_applied": lambda world, case: {
        "lesson": str(world.rng.choice(list(case.lessons) or [world.new_id()])),
        "applied_to": "二期",
    },
    "linked": _linked,
    "unlinked": _unlinked,
    "noted": lambda world, case: {"text": world.rng.choice(("备注", "另记"))},
    "corrected": _corrected,
}
