"""64 callers at once on ten cases over two processes: whoever wins, no case ever ends where a rule forbids it to be.

Two callers of a duo send conflicting actions at the same instant; half the time they first lead the case to where the
two can hurt each other, while others who don't care get in their way. Quick by default; ANJUAN_SOAK=1 makes each pair
meet 200 times.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest

from intake_api.problems import CODES
from services.casebook import entry_of
from services.docket import Entry, Folded, fold
from services.events import ACTIONS, Linked, Unlinked
from tests.e2e.fire import seed_of
from tests.e2e.serving import REGION, Answer, Service, Wire, ledger, opening, serving

SOAK = os.environ.get("ANJUAN_SOAK") == "1"
DUOS = 32
CASES = 10
# How often each pair has to meet, and how often of these where it matters.
MEETINGS, PREPARED = (200, 100) if SOAK else (16, 8)
LONGEST = 600 if SOAK else 60
LONGEST_ANSWER = 5.0
THINKING = 0.5
# As many actions as a hot case has at most, more or less.
LONG = 120

pytestmark = pytest.mark.anyio

Body = dict[str, Any]
OFFICIAL = {"name": "郑七", "title": "区域总裁"}
HOUSEHOLDS = [f"3-1-{number}" for number in (201, 202, 301, 302)]


class Pair(NamedTuple):
    """Two actions that may exclude each other, and where a case must stand for that.

    `other`: the second is done to the other case; linked ones always name the other case.
    """

    one: str
    another: str
    where: str
    other: bool = False

    @property
    def name(self) -> str:
        return f"{self.one}/{self.another}{' both ways' if self.other else ''}"


PAIRS = [
    Pair("closed", "plan_answered", "closable"),
    Pair("closed", "received", "closable"),
    Pair("closed", "closed", "closable"),
    Pair("closed", "responded", "closable"),
    Pair("closed", "corrected", "closable"),
    Pair("closed", "plan_approved", "closable"),
    Pair("closed", "plan_proposed", "closable"),
    Pair("closed", "linked", "closable"),
    Pair("reopened", "blamed", "closed"),
    Pair("blamed", "blamed", "closed"),
    Pair("reopened", "reopened", "closed"),
    Pair("lesson_recorded", "reopened", "closed"),
    Pair("sanctioned", "reopened", "blamed"),
    Pair("linked", "linked", "apart"),
    Pair("linked", "linked", "apart", other=True),
    Pair("linked", "received", "apart"),
    Pair("unlinked", "responded", "merged"),
    Pair("unlinked", "unlinked", "merged"),
    Pair("unlinked", "received", "merged", other=True),
    Pair("unlinked", "closed", "merged", other=True),
    Pair("escalated", "escalated", "new"),
    Pair("warned", "received", "at risk"),
    Pair("warned", "warned", "at risk"),
    Pair("warned", "closed", "at risk"),
]
# Where of two such actions on a case that nobody else knows exactly one can be stored.
EXCLUSIVE = {"warned/warned": "not_at_risk_stage", "escalated/escalated": "not_upwards"}


class Case:
    """What the callers know of a hot case. `taken`: a duo is leading it somewhere."""

    def __init__(self, case_id: str) -> None:
        self.id = case_id
        self.taken = asyncio.Lock()
        self.version = 1
        self.plan = str(uuid4())
        self.notes: list[str] = []


class Race:
    """All callers, what they were answered, and how the pairs fared."""

    def __init__(self, service: Service, chance: random.Random) -> None:
        self.service, self.chance = service, chance
        self.token = service.token("manager", REGION, subject="racer")
        self.cases: list[Case] = []
        self.worn: list[Case] = []
        self.won: list[tuple[str, int]] = []
        self.refused: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        self.prepared: Counter[str] = Counter()
        self.stored: dict[str, Counter[int]] = {pair.name: Counter() for pair in PAIRS}
        self.replayed = 0
        self.longest = 0.0

    @property
    def is_over(self) -> bool:
        return all(self.met[pair.name] >= MEETINGS and self.prepared[pair.name] >= PREPARED for pair in PAIRS)

    async def open(self, wire: Wire, stage: str = "complaint") -> Case:
        body = (
            opening()
            if stage == "complaint"
            else {**_NO_COMPLAINT, "stage": stage, "occurred_at": "2026-01-15T08:00:00Z"}
        )
        answer = await self._ask(wire, "/v1/cases", body, str(uuid4()))
        assert answer.status == 201, answer.body
        return Case(answer.json["case_id"])

    async def act(self, wire: Wire, case: Case, body: Body, key: str = "") -> Answer:
        """One action, sometimes on a version seen."""
        headers = {"If_Match": f'"{case.version}"'} if self.chance.random() < 0.08 else {}
        answer = await self._ask(wire, f"/v1/cases/{case.id}/actions", body, key or str(uuid4()), **headers)
        if answer.status == 201:
            action = answer.json["action"]
            self.won.append((case.id, action["version"]))
            case.version = action["version"]
            if action["type"] == "plan_proposed":
                case.plan = action["action_id"]
            if action["type"] == "noted":
                case.notes = [*case.notes[-3:], action["action_id"]]
        return answer

    async def _ask(self, wire: Wire, path: str, body: Body, key: str, **headers: str) -> Answer:
        answer = await wire.ask("POST", path, body, Idempotency_Key=key, **headers)
        self.longest = max(self.longest, answer.seconds)
        if answer.status >= 400:
            problem = answer.json
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.status in (409, 412, 422), answer.body
            assert CODES[problem["code"]].status == answer.status
            self.refused[problem["code"]] += 1
        return answer

    async def look(self, wire: Wire, case: Case) -> Body:
        answer = await wire.ask("GET", f"/v1/cases/{case.id}")
        assert answer.status == 200, answer.body
        found: Body = answer.json
        case.version = found["version"]
        return found

    def body(self, kind: str, case: Case, other: Case) -> Body:
        """An action of that type that could be right; now and then it comes late, or by a clock that runs ahead."""
        now, chance = datetime.now(UTC), self.chance
        own: Mapping[str, Body] = {
            "received": {"obtained_at": _written(now), "channel": "hotline", "household": chance.choice(HOUSEHOLDS)},
            "responded": {"contacted_at": _written(now), "complaints": "all", "contact_person": OFFICIAL},
            "plan_answered": {"households": ["3-1-201"], "accepted": chance.random() < 0.3},
            "plan_proposed": {"summary": "重做防水"},
            "plan_approved": {"plan": case.plan, "approver": OFFICIAL},
            "closed": {"decision": "完成", "recurrence_expected": False},
            "reopened": {"reason": "再漏"},
            "blamed": {"no_fault": True, "conclusion": str(uuid4()), "determined_by": OFFICIAL},
            "sanctioned": {"party": "王八", "measure": str(uuid4())},
            "lesson_recorded": {"root_cause": "收口", "lesson": str(uuid4()), "measures": ["修订"]},
            "linked": {"case": other.id, "kind": "merged_into", "reason": str(uuid4())},
            "unlinked": {"case": other.id, "kind": "merged_into", "reason": str(uuid4())},
            "escalated": {"to": "city", "reason": str(uuid4())},
            "warned": {"unrest": str(uuid4())},
            # A note: whatever becomes of it, no rule was built on it.
            "corrected": {
                "action": chance.choice(case.notes or [str(uuid4())]),
                "replacement": {"text": str(uuid4())},
                "reason": "误记",
            },
            "noted": {"text": "一"},
        }
        said = {"type": kind, **own[kind]}
        if kind not in ("received", "responded") and chance.random() < 0.06:
            off = timedelta(seconds=chance.choice([-20, -2, -0.05, 60]))
            said["occurred_at"] = _written(now + off)
        return said

    # Where it matters ---------------------------------------------------------------------------------------------

    async def lead(self, wire: Wire, case: Case, other: Case, where: str) -> None:
        """Bring the case there, as far as the others let us."""
        found = await self.look(wire, case)
        if where == "merged":
            if found["status"] != "merged":
                for one in (case, other):
                    await self._part(wire, one, await self.look(wire, one))
                await self.act(wire, case, self.body("linked", case, other))
            return
        await self._part(wire, case, found)
        if where == "apart":
            await self._part(wire, other, await self.look(wire, other))
            return
        is_closed = found["closure"] is not None
        if is_closed and where == "closable":
            await self.act(wire, case, self.body("reopened", case, other))
        if not is_closed or where == "closable":
            await self._make_closable(wire, case, other)
            if where != "closable":
                await self.act(wire, case, self.body("closed", case, other))
        if where == "blamed":
            await self.act(wire, case, self.body("blamed", case, other))
        if where == "closed" and found["accountability"]:
            await self.act(wire, case, self.body("reopened", case, other))
            await self._make_closable(wire, case, other)
            await self.act(wire, case, self.body("closed", case, other))

    async def _part(self, wire: Wire, case: Case, found: Body) -> None:
        for link in found["links"]:
            if link["kind"] == "merged_into" and found["status"] == "merged":
                await self.act(wire, case, self.body("unlinked", case, Case(link["case_id"])))
            if link["kind"] == "merged_from":
                await self.act(wire, Case(link["case_id"]), self.body("unlinked", case, case))

    async def _make_closable(self, wire: Wire, case: Case, other: Case) -> None:
        await self.act(wire, case, self.body("noted", case, other))
        await self.act(wire, case, self.body("responded", case, other))
        await self.act(wire, case, self.body("plan_proposed", case, other))
        await self.act(wire, case, self.body("plan_approved", case, other))
        everyone = {"type": "plan_answered", "households": HOUSEHOLDS, "accepted": True}
        refused = await self.act(wire, case, everyone)
        if refused.status == 422:
            present = {one["household"] for one in (await self.look(wire, case))["complaints"] if one["household"]}
            await self.act(wire, case, {**everyone, "households": sorted(present)})

    # The duos -----------------------------------------------------------------------------------------------------

    async def duo(self) -> None:
        """Two callers who send at the same instant, over and over."""
        async with Wire(self.service.port, self.token) as left, Wire(self.service.port, self.token) as right:
            while not self.is_over:
                # Always the same two are merged and parted: whatever was ever merged is judged together for ever.
                first = self.chance.randrange(0, CASES, 2)
                await self._renew(left, first)
                case, other = self.chance.sample(self.cases[first : first + 2], 2)
                if self.chance.random() < 0.5 and not case.taken.locked() and not other.taken.locked():
                    async with case.taken, other.taken:
                        await self._meet(left, right, self._rarest(self.prepared), case, other, prepared=True)
                else:
                    # Those who get in the way need time to think, or they would be all that the service does.
                    await asyncio.sleep(self.chance.uniform(0, 2 * THINKING))
                    await self._meet(left, right, self._rarest(self.met), case, other, prepared=False)

    async def _renew(self, wire: Wire, first: int) -> None:
        """Other cases instead of two that have grown long: what is late is judged on all that was ever recorded."""
        worn = self.cases[first : first + 2]
        if max(case.version for case in worn) > LONG and not any(case.taken.locked() for case in worn):
            async with worn[0].taken:
                self.cases[first : first + 2] = [await self.open(wire), await self.open(wire)]
                self.worn += worn

    def _rarest(self, count: Counter[str]) -> Pair:
        return min(PAIRS, key=lambda pair: (count[pair.name], self.chance.random()))

    async def _meet(self, left: Wire, right: Wire, pair: Pair, case: Case, other: Case, prepared: bool) -> None:
        # Counted first, so that two duos at once don't choose the same.
        self.met[pair.name] += 1
        self.prepared[pair.name] += prepared
        if pair.where in ("new", "at risk"):
            case = await self.open(left, "risk" if pair.where == "at risk" else "complaint")
        elif prepared:
            await self.lead(left, case, other, pair.where)
        second, partner = (other, case) if pair.other else (case, other)
        body, key = self.body(pair.one, case, other), str(uuid4())
        answers = await asyncio.gather(
            self.act(left, case, body, key),
            self.act(right, second, self.body(pair.another, second, partner)),
        )
        if answers[0].status == 201 and self.chance.random() < 0.2:
            # Through the other connection, so perhaps to the other process.
            again = await self._ask(right, f"/v1/cases/{case.id}/actions", body, key)
            assert (again.status, again.body) == (201, answers[0].body)
            assert again.headers["idempotency-replayed"] == "true"
            self.replayed += 1
        stored = [answer.status == 201 for answer in answers]
        self.stored[pair.name][sum(stored)] += 1
        if code := EXCLUSIVE.get(pair.name):
            refusals = {answer.json["code"] for answer in answers if answer.status >= 400}
            assert sum(stored) == 1 or "version_mismatch" in refusals, [answer.body for answer in answers]
            assert refusals <= {code, "version_mismatch", "contradicts_later_action"}, refusals

    def report(self, seconds: float) -> None:
        for pair in PAIRS:
            both, one, none = (self.stored[pair.name][number] for number in (2, 1, 0))
            print(
                f"  {pair.name:28} met {self.met[pair.name]:4} ({self.prepared[pair.name]} where it matters): "
                f"both stored {both}, one {one}, none {none}"
            )
        print(
            f"{len(self.won)} stored in {seconds:.1f} s, {self.replayed} replayed, longest answer {self.longest:.2f} s,"
            f" refused {dict(self.refused.most_common())}"
        )


_NO_COMPLAINT = {name: opening()[name] for name in ("project", "category", "title")}


def _written(instant: datetime) -> str:
    return instant.isoformat()


async def test_no_race_leads_a_case_where_a_rule_forbids_it_to_be(durable_database_url: str, tmp_path: Path) -> None:
    chance = random.Random(seed_of("hot cases"))
    with serving(tmp_path, durable_database_url, workers=2, ANJUAN_ACCESS_LOG="off") as service:
        await service.describe_directory()
        race = Race(service, chance)
        async with Wire(service.port, race.token) as wire:
            race.cases = [await race.open(wire) for _ in range(CASES)]
        began = monotonic()
        try:
            async with asyncio.timeout(LONGEST), asyncio.TaskGroup() as duos:
                for _ in range(DUOS):
                    duos.create_task(race.duo())
        finally:
            race.report(monotonic() - began)
        async with Wire(service.port, race.token) as wire:
            shown = {case.id: await race.look(wire, case) for case in (*race.cases, *race.worn)}
    entries = _entries(durable_database_url)
    _each_version_has_one_winner(entries, race)
    folded = fold(entries)
    assert _told(entries, folded) == []
    _is_what_was_shown(folded, shown)
    assert race.longest <= LONGEST_ANSWER
    for pair in PAIRS:
        assert sum(race.stored[pair.name][number] for number in (1, 2)) > 0, f"{pair.name} never mattered"


def _entries(url: str) -> dict[UUID, list[Entry]]:
    found: dict[UUID, list[Entry]] = {}
    records = ledger(url)
    assert [record.position for record in records] == list(range(1, len(records) + 1))
    for record in records:
        if record.name in ACTIONS:
            found.setdefault(record.stream, []).append(entry_of(record))
    return found


def _each_version_has_one_winner(entries: Mapping[UUID, list[Entry]], race: Race) -> None:
    for theirs in entries.values():
        assert [entry.version for entry in theirs] == list(range(1, len(theirs) + 1))
    # What nobody asked for by itself: openings, and what a merger's target is told.
    asked = [
        (str(entry.stream), entry.version)
        for theirs in entries.values()
        for entry in theirs
        if entry.version > 1 and not _is_counterpart(entry)
    ]
    assert sorted(asked) == sorted(race.won)


def _told(entries: Mapping[UUID, list[Entry]], folded: Folded) -> list[str]:
    """Each step that no rule allowed."""
    return [
        f"{entry.position} {entry.stream} {entry.version} {entry.action.name}, at {entry.at}, recorded"
        f" {entry.recorded_at}: {folded.faults[entry.action.action_id]}"
        for theirs in entries.values()
        for entry in theirs
        if entry.action.action_id in folded.faults
    ]


def _is_counterpart(entry: Entry) -> bool:
    return isinstance(entry.action, Linked | Unlinked) and entry.action.kind == "merged_from"


def _is_what_was_shown(folded: Folded, shown: Mapping[str, Body]) -> None:
    for case_id, document in shown.items():
        case = folded.docket[UUID(case_id)]
        assert (document["version"], document["status"], document["inconsistencies"]) == (case.version, case.status, [])
        assert document["household_count"] == len(case.households)
        assert document["complaint_count"] == len(case.complaints)
        assert len(document["cycles"]) == len(case.cycles)
