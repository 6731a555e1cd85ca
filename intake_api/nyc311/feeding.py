"""Sends planned cases through the desk, many at once, each in its own order; and makes the directory that they need."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from pydantic import TypeAdapter

from intake_api import bodies
from intake_api.nyc311.mapping import BOROUGHS, Request
from intake_api.nyc311.plan import Building
from intake_api.nyc311.sheet import Refused
from intake_api.problems import CODES
from intake_api.services import Services
from projections.case_view import encode
from services.caller import Caller
from services.commands import ACTION, OPENING, DescribeProject, DescribeRegion
from services.desk import Answered, DuplicateReference, KeyReused, Written
from services.desk import Request as Circumstances
from services.event_log import IdempotencyKey, Overloaded, Unavailable
from services.rules import Malformed, Refusal

CALLER = Caller("import:nyc311", "manager", "region", frozenset("*"), float("inf"))
_ADMIN = Caller("import:nyc311", "admin", "group", frozenset("*"), float("inf"))
_AT_ONCE = 64
_TRIES = 10
_PAUSE = 1.0
_T = TypeVar("_T")


class Largest(NamedTuple):
    """The case with the most complaints among those of a file."""

    case_no: str
    complaints: int


class Feeder:
    """Counts what became of every step: stored, replayed or refused. `moved` is told of each."""

    def __init__(self, services: Services, moved: Callable[[], None] = lambda: None) -> None:
        self._services, self._moved = services, moved
        self._streams: set[UUID] = set()
        self.opened = 0
        self.stored: Counter[str] = Counter()
        self.replayed = 0
        self.refused: list[Refused] = []
        self.waiting = 0

    async def feed(self, cases: Mapping[str, list[Request]]) -> None:
        """Send everything; raises `Unavailable` if the database stays away, and a further run goes on from there."""
        await _all_of((self._feed_case(reference, requests) for reference, requests in cases.items()))

    async def largest(self) -> Largest | None:
        """Judged on the whole ledger, not on this run."""
        streams = sorted(self._streams)
        found: list[Largest] = []
        for start in range(0, len(streams), 500):
            for case in await self._services.cases.fresh_many(streams[start : start + 500]):
                found.append(Largest(case.case_no, len(case.complaints)))
        return min(found, key=lambda one: (-one.complaints, one.case_no), default=None)

    async def _feed_case(self, reference: str, requests: list[Request]) -> None:
        stream: UUID | None = None
        lost: set[str] = set()
        for request in requests:
            row = request.row.values["Unique Key"]
            if row in lost:
                self.waiting += 1
            else:
                answered = await self._step(reference, request, stream)
                if answered:
                    stream = answered.stream
                    self._streams.add(stream)
                elif request.step == "received":
                    lost.add(row)
            self._moved()

    async def _step(self, reference: str, request: Request, stream: UUID | None) -> Answered | None:
        try:
            answered = await _patiently(lambda: self._send(reference, request, stream))
        except (Malformed, Refusal, KeyReused) as fault:
            self.refused.append(_refused(request, fault))
            return None
        if answered.replayed or answered.status != 201:
            self.replayed += 1
        else:
            self.stored[request.step] += 1
            self.opened += answered.version == 1
        return answered

    async def _send(self, reference: str, request: Request, stream: UUID | None) -> Answered:
        desk = self._services.desk
        said = [reference, request.opening or request.body]
        key = IdempotencyKey(CALLER.subject, request.key, bodies.digest("POST", "nyc311", said))
        if stream is None:
            try:
                return await desk.open(_command(OPENING, request.opening), Circumstances(CALLER, key), _brief)
            except DuplicateReference as taken:
                # An earlier run opened it for another row; the digest is the same on either way.
                stream = taken.stream
        return await desk.act(stream, _command(ACTION, request.body), Circumstances(CALLER, key), _brief)


async def describe(services: Services, buildings: Mapping[str, Building], moved: Callable[[], None]) -> int:
    """Regions and projects that are not there yet; what stands there stays as it is. How many were made."""
    directory, registrar = services.directory, services.registrar
    await directory.refresh()
    regions = {building.region for building in buildings.values()} - directory.regions.keys()
    titles = {code: borough.title() for borough, (code, _) in BOROUGHS.items()}

    async def project(code: str, building: Building) -> None:
        command = DescribeProject(name=building.name, region=building.region)
        await _patiently(lambda: registrar.describe_project(code, command, _ADMIN))
        moved()

    for code in sorted(regions):
        await registrar.describe_region(code, DescribeRegion(name=titles[code]), _ADMIN)
    missing = [(code, building) for code, building in buildings.items() if code not in directory.projects]
    await _all_of(project(code, building) for code, building in missing)
    return len(regions) + len(missing)


async def _all_of(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Begun in order, so many at once; the first failure ends the others."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(piece: Coroutine[Any, Any, None]) -> None:
        try:
            await piece
        finally:
            gate.release()

    pieces = iter(work)
    try:
        async with asyncio.TaskGroup() as group:
            while True:
                await gate.acquire()
                piece = next(pieces, None)
                if piece is None:
                    break
                group.create_task(one(piece))
    except* Unavailable:
        raise Unavailable("the database does not answer") from None


async def _patiently(ask: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    """Again while the database is away: the key keeps what was stored already from being stored twice."""
    for _ in range(_TRIES - 1):
        try:
            return await ask()
        except (Unavailable, Overloaded):
            await asyncio.sleep(_PAUSE)
    return await ask()


def _command(adapter: TypeAdapter[_T], body: Mapping[str, Any] | None) -> _T:
    """As the routes read it, so that every fault has the code that it has there."""
    raw = json.dumps(body).encode()
    return bodies.command(adapter, raw, bodies.parsed(raw))


def _brief(written: Written) -> bytes:
    """What is kept under the step's key."""
    return encode({"case_id": written.case.case_id, "action_id": written.entry.action.action_id})


def _refused(request: Request, fault: Malformed | Refusal | KeyReused) -> Refused:
    match fault:
        case Malformed():
            # "validation_failed" says nothing yet: the first fault does.
            rule = fault.faults[0].code if fault.code == "validation_failed" else fault.code
            clause, places = fault.clause, [f"{one.pointer} {one.code}" for one in fault.faults]
            title = CODES[fault.code].en
        case Refusal():
            rule, clause, title = fault.rule.code, fault.rule.clause, fault.rule.value.en
            places = [f"{one.criterion} must be {one.required}, is {one.actual}" for one in fault.unmet]
        case KeyReused():
            rule, clause, places = "idempotency_key_reused", None, []
            title = "This row was stored before and said something else then"
    return Refused(request.row, request.step, rule, clause, "; ".join([title, *places]))
