"""Many actions in one request: an outage is over, and a centre uploads what it noted on paper."""

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from intake_api import bodies
from intake_api.access import Forbidden
from intake_api.cases import KEY, appended_by, may_append, opened_by
from intake_api.http import Call, NotFound, Reply, UnknownParameter
from intake_api.problems import AmbiguousReference, reply_to
from intake_api.services import Services
from services.batch import Group, Item, Outcome, Results, Upload
from services.caller import Caller
from services.commands import ACTION, OPENING, OpenCase
from services.desk import UNPLACED, KeyReused, replayed
from services.event_log import IdempotencyKey, StoredAnswer, Unavailable
from services.event_log.seeing import seen
from services.identifiers import parse_case_no, parse_uuid
from services.rules import Fault, Malformed

MAX_BODY = 16 << 20
# Seconds: for the whole, and of those for working, so that who was not reached can still be told.
DEADLINE = 60.0
_WORKING = 55.0
_MOST = 1000
_AT_ONCE = 16
_NDJSON = "application/x-ndjson"
_FIELDS = frozenset({"idempotency_key", "open", "case_id", "external_ref", "action"})


class Asked(NamedTuple):
    """One item as the client wrote it: an opening, or an action on a case named by id, number or reference."""

    place: int
    key: str
    opening: Any = None
    case_id: str | None = None
    reference: str | None = None
    action: Any = None


# The case that items are about: its id, or the place in the list of the item that opens it.
Home = UUID | int


async def upload(call: Call) -> Reply:
    """Up to 1,000 actions; each is answered for itself, in the order given."""
    services: Services = call.services
    caller = services.caller(call)
    if not caller.may("noted"):
        raise Forbidden
    dry_run = _flag(call, "dry_run")
    values = await _values(call)
    results: Results = {}
    reading = _Reading(services, caller, results)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_WORKING):
            groups = await reading.groups(values)
            await _store(services, caller, groups, results, dry_run)
    reading.complete()
    if reading.refused:
        services.looked.items_refused(call, "upload", reading.refused)
    shown = await _shown(call, results, len(values))
    headers = [(b"cache-control", b"no-store")]
    if position := 0 if dry_run else _position(results):
        headers.append((b"ledger-position", b"%d" % position))
    return Reply(200, msgspec.json.encode({"results": shown}), headers)


def _flag(call: Call, name: str) -> bool:
    values = call.query((name,)).get(name, ["false"])
    if len(values) != 1 or values[0] not in ("true", "false"):
        raise UnknownParameter("invalid_parameter", name)
    return values[0] == "true"


async def _values(call: Call) -> Sequence[Any]:
    """The items as parsed; of NDJSON each line for itself, so that a broken one stops no other."""
    lines = (call.header(b"content-type") or "").split(";")[0].strip().lower() == _NDJSON
    raw = await call.raw_body(MAX_BODY, (b"application/json", _NDJSON.encode()))
    values = [_line(line) for line in raw.splitlines() if line.strip()] if lines else bodies.parsed_items(raw)
    if not isinstance(values, list):
        raise Malformed([Fault("", "tuple_type")])
    if len(values) > _MOST:
        raise Malformed([Fault("", "too_long", str(_MOST))])
    return values


def _line(raw: bytes) -> Any:
    try:
        return bodies.parsed(raw)
    except Malformed as malformed:
        return malformed


class _Reading:
    """What was asked, sorted by case; what can be answered at once goes into the results."""

    def __init__(self, services: Services, caller: Caller, results: Results) -> None:
        self._services, self._caller, self._results = services, caller, results
        self._asked: dict[int, Asked] = {}
        # Cases that items named in vain: their region, if there is one.
        self.refused: dict[UUID, str | None] = {}
        self._twins: list[tuple[Asked, Item]] = []
        # By reference and region the place of the item that opens the case.
        self._opened: dict[str, dict[str, int]] = {}
        self._categories: dict[Home, str | None] = {}
        self._referred: Mapping[str, set[UUID]] = {}
        self._stored: Mapping[str, StoredAnswer] = {}

    async def groups(self, values: Sequence[Any]) -> list[Group]:
        """The items of each case, the answered ones left out."""
        for index, value in enumerate(values):
            try:
                self._asked[index] = _asked(index, value)
            except Malformed as malformed:
                self._results[index] = malformed
        asked = list(self._asked.values())
        await self._look_up(asked)
        found: dict[Home, list[Item]] = {}
        by_key: dict[str, Item] = {}
        # Openings first: whatever the order, it must be known what is opened here.
        for one in sorted(asked, key=lambda one: one.opening is None):
            try:
                home, item = await self._item(one, by_key)
            except Exception as refused:
                self._results[one.place] = refused
                continue
            if item:
                by_key[one.key] = item
                found.setdefault(home, []).append(item)
        return [Group(home if isinstance(home, UUID) else None, items) for home, items in found.items()]

    async def _look_up(self, asked: Sequence[Asked]) -> None:
        read = self._services.log.read
        self._stored = await read.answers(self._caller.subject, [one.key for one in asked])
        regions = None if self._caller.everywhere else sorted(self._caller.regions)
        references = list({one.reference for one in asked if one.reference})
        if references:
            self._referred = await read.cases_by_reference(regions, references, seen())

    async def _item(self, one: Asked, by_key: Mapping[str, Item]) -> tuple[Home, Item | None]:
        """Judged in the contract's order: region and role, replay, shape. None: answered already."""
        home: Home = one.place if one.opening is not None else await self._home(one)
        if one.opening is None:
            may_append(self._caller, one.action, self._categories.get(home))
        body = one.action if one.opening is None else one.opening
        key = IdempotencyKey(self._caller.subject, one.key, bodies.digest("POST", _path(one), body))
        if stored := self._stored.get(one.key):
            self._results[one.place] = Outcome(replayed(stored, key), None)
            return home, None
        if twin := by_key.get(one.key):
            if twin.key.digest != key.digest:
                raise KeyReused
            self._twins.append((one, twin))
            return home, None
        adapter: Any = ACTION if one.opening is None else OPENING
        command = bodies.command(adapter, json.dumps(body, ensure_ascii=False).encode(), body)
        if isinstance(command, OpenCase):
            home = await self._opens(one.place, command)
        return home, Item(one.place, key, command)

    async def _opens(self, place: int, command: OpenCase) -> int:
        """The place of the item that opens this case: another one if both claim one reference of a region."""
        region = await self._services.desk.region_of(command, self._caller)
        self._categories[place] = command.category
        if command.external_ref:
            place = self._opened.setdefault(command.external_ref, {}).setdefault(region, place)
        return place

    async def _home(self, one: Asked) -> Home:
        case_id = await self._named(one)
        if isinstance(case_id, int):
            return case_id
        if case_id not in self._categories:
            case = (await self._services.cases.last_known(case_id))[case_id]
            if not case.version or not self._caller.sees(case.region):
                self.refused[case_id] = case.region if case.version else None
                raise NotFound
            self._categories[case_id] = case.opened.category
        return case_id

    async def _named(self, one: Asked) -> Home:
        if one.reference is not None:
            opened = self._opened.get(one.reference, {})
            known: list[Home] = [*self._referred.get(one.reference, ())] or [*opened.values()]
            if len(known) > 1:
                raise AmbiguousReference
            if not known:
                raise NotFound
            return known[0]
        written = one.case_id or ""
        found = parse_uuid(written)
        if found is None and (number := parse_case_no(written)):
            found = await self._services.log.read.case_by_number(number)
        if found is None:
            raise NotFound
        return found

    def complete(self) -> None:
        """The second item under one key is the first one again; and each fault is named where it stands in its item."""
        for one, twin in self._twins:
            outcome = self._results.get(twin.place, Unavailable("not reached"))
            if isinstance(outcome, Outcome):
                outcome = outcome._replace(answered=outcome.answered._replace(replayed=True))
            self._results[one.place] = outcome
        for place, one in self._asked.items():
            if isinstance(malformed := self._results.get(place), Malformed):
                within = "/action" if one.opening is None else "/open"
                faults = [fault._replace(pointer=within + fault.pointer) for fault in malformed.faults]
                self._results[place] = Malformed(faults, malformed.code, malformed.clause)


def _asked(index: int, value: Any) -> Asked:
    """One item of the list; raises `Malformed` where it is none."""
    if isinstance(value, Malformed):
        raise value
    if not isinstance(value, dict):
        raise Malformed([Fault("", "model_type")])
    faults = [Fault(f"/{bodies.escaped(name)}", "extra_forbidden") for name in value if name not in _FIELDS]
    key = value.get("idempotency_key")
    if key is None:
        faults.append(Fault("/idempotency_key", "missing"))
    elif not isinstance(key, str) or not KEY.fullmatch(key):
        faults.append(Fault("/idempotency_key", "string_pattern_mismatch"))
    given = {name for name in ("open", "case_id", "external_ref", "action") if value.get(name) is not None}
    if given not in ({"open"}, {"case_id", "action"}, {"external_ref", "action"}):
        faults.append(Fault("", "open_or_action"))
    faults += [
        Fault(f"/{name}", "string_type")
        for name in ("case_id", "external_ref")
        if name in given and not isinstance(value[name], str)
    ]
    if faults:
        raise Malformed(faults)
    return Asked(
        index, str(key), value.get("open"), value.get("case_id"), value.get("external_ref"), value.get("action")
    )


def _position(results: Results) -> int:
    """The last position that the upload's answers tell of; a repeat of an item beside it has none of its own."""
    told = [one.answered.position for one in results.values() if isinstance(one, Outcome)]
    return max((position for position in told if position != UNPLACED), default=0)


def _path(one: Asked) -> str:
    """As if it had been sent alone, so that the same key finds it either way; a reference stands where an id would."""
    if one.opening is not None:
        return "/v1/cases"
    return f"/v1/cases/{one.case_id or f'external_ref:{one.reference}'}/actions"


async def _store(services: Services, caller: Caller, groups: Sequence[Group], results: Results, dry_run: bool) -> None:
    batch = Upload(services.desk, caller, opened_by(services), appended_by(services), dry_run)
    places = asyncio.Semaphore(_AT_ONCE)

    async def settle(group: Group) -> None:
        async with places:
            try:
                results.update(await batch.settle(group))
            except Exception as failure:
                results.update({item.place: failure for item in group.items})

    await asyncio.gather(*map(settle, groups))


async def _shown(call: Call, results: Results, count: int) -> list[dict[str, Any]]:
    """Each item's line, in the order given; who was not reached is told to ask again."""
    outcomes = [results.get(index, Unavailable("not reached")) for index in range(count)]
    places = [
        (one.answered.stream, one.answered.version)
        for one in outcomes
        if isinstance(one, Outcome) and one.answered.replayed and one.action_id is None
    ]
    action_ids = await call.services.cases.action_ids(places) if places else {}
    return [_line_of(call, one, action_ids) for one in outcomes]


def _line_of(call: Call, one: Outcome | Exception, action_ids: Mapping[tuple[UUID, int], UUID]) -> dict[str, Any]:
    if isinstance(one, Exception):
        problem = reply_to(one, call)
        if problem.status == 500:
            call.services.report(one)
        return {"status": problem.status, "replayed": False, "problem": msgspec.Raw(problem.body)}
    answered = one.answered
    action_id = one.action_id or action_ids.get((answered.stream, answered.version))
    return {
        "status": answered.status,
        "replayed": answered.replayed,
        # What a rehearsal would open has no id that anybody could use.
        "case_id": None if one.unborn else answered.stream,
        "action_id": action_id,
    }
