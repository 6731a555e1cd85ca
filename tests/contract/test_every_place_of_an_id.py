"""Another region's id answers as an unknown one, at every place of every operation where an id can stand.

The places are derived from the published document; one that stands neither in the table nor among the harmless ones
fails the test, and so does a row that no longer has a place. No claim is made about time.
"""

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import openpyxl
import pytest

from intake_api.app import create_app
from services.settings import Settings
from tests.contract.hearing import listening
from tests.contract.house import RESPONSE, Caller, House, opening
from tests.contract.lists import clock

pytestmark = pytest.mark.anyio

_KEYS = dict.fromkeys(("ANJUAN_TOKEN_KEY", "ANJUAN_MASTER_KEY", "ANJUAN_PHONE_KEY", "ANJUAN_HEAD_KEY"), "A" * 43 + "=")
DOCUMENT = create_app(Settings(_KEYS), "postgresql://nowhere").openapi()
UNKNOWN = "019ab3c4-5d6e-7f80-9123-456789abcdef"

# Parameters that name nothing that belongs to a region.
HARMLESS: Mapping[str, str] = {
    **dict.fromkeys(("limit", "count", "sort", "group_by", "dry_run"), "how an answer is laid out"),
    **dict.fromkeys(("as_of", "known_at", "from", "to", "due_before"), "an instant"),
    **dict.fromkeys(("opened_from", "opened_to", "updated_since"), "an instant"),
    **dict.fromkeys(
        ("category", "stage", "status", "grade", "breached", "escalation_level", "channel"), "a fixed word"
    ),
    **dict.fromkeys(("duty", "state", "was_overdue", "operation", "outcome"), "a fixed word"),
    **dict.fromkeys(("min_position", "after", "position", "size", "Last-Event-ID"), "a position of the whole ledger"),
    "If-Match": "a version of a case that stands elsewhere in the request",
    "version": "of a policy, which all roles read",
    "name": "of a projection",
}
# Every role reads the whole directory, and only an admin, of no region, changes it.
PUBLIC = re.compile(r"(GET|PUT) /v1/(regions|projects)/{code} path:code|PUT /v1/(regions|projects)/{code} body:.*")
# Fields of bodies by name; those that are ids by their format are found anyway.
_NAMING = {"case", "case_id", "project", "region", "regions", "external_ref"}
# What the document says of an item in words.
_ITEMS = {"open": "#/components/schemas/OpenCase", "action": "#/components/schemas/Action"}
_OF_SEARCH = {"phone", "household", "q"}


class Place(NamedTuple):
    """Where an id can stand: `at` is ``path:case_id``, ``query:region``, ``body:Link/case``, ``item:…``."""

    operation: str
    at: str

    def __str__(self) -> str:
        return f"{self.operation} {self.at}"


class Furnished(NamedTuple):
    """What there is in a region, each thing by the name of what stands for it."""

    region: str
    ids: Mapping[str, str]
    case: Mapping[str, Any]
    closed: Mapping[str, Any]


class Scene(NamedTuple):
    """Two regions alike, and names that nothing has."""

    house: House
    mine: Furnished
    foreign: Furnished
    unknown: Mapping[str, str]


class Request(NamedTuple):
    method: str
    path: str
    body: Any = None
    headers: Mapping[str, str] = {}


class Row(NamedTuple):
    """How a place is filled. `thing`: what stands there; `everywhere`: headquarters meets a foreign one as its own."""

    thing: str
    request: Callable[[Scene, str], Request]
    everywhere: bool = True
    # What is answered holds ids made by the request itself.
    makes: bool = False
    may: tuple[str, ...] = ("agent", "manager", "dashboard")


# The places, from the document --------------------------------------------------------------------------------------


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    return DOCUMENT["components"]["schemas"][reference.rpartition("/")[2]] if reference else schema


def _fields(schema: dict[str, Any], owner: str = "", within: frozenset[str] = frozenset()) -> Iterator[str]:
    """``Link/case`` for each field that can hold an id, whatever it is nested in."""
    name = schema.get("$ref", "").rpartition("/")[2]
    if name in within:
        return
    within |= {name} - {""}
    schema = _resolved(schema)
    owner = name or owner
    for one in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), schema.get("items", {})):
        if one:
            yield from _fields(one, owner, within)
    for field, described in schema.get("properties", {}).items():
        if owner == "BatchItem" and field in _ITEMS:
            yield from _fields({"$ref": _ITEMS[field]})
        elif field in _NAMING or _is_id(described) or (owner == "SearchCases" and field in _OF_SEARCH):
            yield f"{owner}/{field}"
        else:
            yield from _fields(described, owner, within)


def _is_id(schema: dict[str, Any]) -> bool:
    parts = (*schema.get("anyOf", ()), *filter(None, [schema.get("items")]))
    return schema.get("format") == "uuid" or any(map(_is_id, parts))


def _places() -> Iterator[Place]:
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            if not operation.get("security"):
                continue
            name = f"{method.upper()} {path}"
            for parameter in operation.get("parameters", ()):
                if parameter["name"] not in HARMLESS:
                    yield Place(name, f"{parameter['in']}:{parameter['name']}")
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            kind = "item" if path.endswith("/batch") else "body"
            for field in dict.fromkeys(_fields(content["schema"]) if content else ()):
                yield Place(name, f"{kind}:{field}")


PLACES = [place for place in _places() if not PUBLIC.fullmatch(str(place))]


# The table ------------------------------------------------------------------------------------------------------------


def _in_path(path: str, method: str = "GET", body: Any = None) -> Callable[[Scene, str], Request]:
    return lambda _, written: Request(method, path.format(written), body)


def _asked(path: str, name: str, more: str = "") -> Callable[[Scene, str], Request]:
    def fill(scene: Scene, written: str) -> Request:
        where = path.replace("{case_id}", scene.mine.ids["case"])
        return Request("GET", f"{where}?{httpx.QueryParams({name: written})}{more}")

    return fill


def _action(kind: str, field: str, many: bool = False, closed: bool = False, /, **more: Any) -> dict[str, Any]:
    return {"type": kind, "field": field, "many": many, "closed": closed, "more": more}


ACTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "Chase/complaint": ("complaint", _action("chased", "complaint", channel="app")),
    "Respond/complaints": (
        "complaint",
        _action("responded", "complaints", True, **{k: v for k, v in RESPONSE.items() if k != "complaints"}),
    ),
    "AttemptContact/complaints": (
        "complaint",
        _action(
            "contact_attempted",
            "complaints",
            True,
            attempted_at=RESPONSE["contacted_at"],
            channel="hotline",
            outcome="busy",
        ),
    ),
    "Note/complaint": ("complaint", _action("noted", "complaint", text="一")),
    "ApprovePlan/plan": ("plan", _action("plan_approved", "plan", approver={"name": "郑七", "title": "总裁"})),
    "ApplyLesson/lesson": ("lesson", _action("lesson_applied", "lesson", False, True, applied_to="二期")),
    "Link/case": ("linked_no", _action("linked", "case", kind="related", reason="同一处")),
    "Unlink/case": ("case", _action("unlinked", "case", kind="related", reason="并非")),
    "Correct/action": ("action", _action("corrected", "action", replacement={"text": "二"}, reason="笔误")),
}


def _body(described: Mapping[str, Any], written: str) -> dict[str, Any]:
    value: Any = [written] if described["many"] else written
    return {"type": described["type"], described["field"]: value, **described["more"]}


def _acting(described: Mapping[str, Any], scene: Scene, written: str) -> Request:
    case = scene.mine.closed if described["closed"] else scene.mine.case
    return Request("POST", f"/v1/cases/{case['case_id']}/actions", _body(described, written), _fresh_key())


def _acting_in_a_batch(described: Mapping[str, Any], scene: Scene, written: str) -> Request:
    case = scene.mine.closed if described["closed"] else scene.mine.case
    return _item({"case_id": case["case_id"], "action": _body(described, written)})


def _item(item: dict[str, Any]) -> Request:
    return Request("POST", "/v1/actions/batch?dry_run=true", [{"idempotency_key": str(uuid4()), **item}])


def _opening(field: str, scene: Scene, written: str) -> Request:
    return Request("POST", "/v1/cases", opening(scene.mine.region, **{field: written}), _fresh_key())


def _opening_in_a_batch(field: str, scene: Scene, written: str) -> Request:
    return _item({"open": opening(scene.mine.region, **{field: written})})


def _searching(field: str, _: Scene, written: str) -> Request:
    # A word beside it: a project alone is no search.
    return Request("POST", "/v1/cases/search", {"q": "渗水", field: written})


def _replaying(field: str, _: Scene, written: str) -> Request:
    return Request("POST", "/v1/audit/replay", {field: written})


def _fresh_key() -> dict[str, str]:
    return {"idempotency-key": str(uuid4())}


_NOTE = {"type": "noted", "text": "一"}
_LISTS = ("/v1/cases", "/v1/cases.csv", "/v1/cases.xlsx", "/v1/summary")
_DUTIES = ("/v1/duties", "/v1/breaches", "/v1/breaches.csv", "/v1/breaches.xlsx")
_WRITERS = ("agent", "manager")

TABLE: dict[Place, Row] = {
    **{
        Place(f"GET /v1/cases/{{case_id}}{rest}", "path:case_id"): Row("case", _in_path(f"/v1/cases/{{}}{rest}"))
        for rest in ("", "/grade", "/actions", "/complaints")
    },
    **{
        Place(f"GET /v1/cases/{{case_id}}/{rest}", "query:cursor"): Row(
            f"cursor:/{rest}", _asked(f"/v1/cases/{{case_id}}/{rest}", "cursor"), everywhere=False
        )
        for rest in ("actions", "complaints")
    },
    **{
        Place(f"GET {path}", f"query:{name}"): Row(name, _asked(path, name))
        for path in (*_LISTS, *_DUTIES)
        for name in ("region", "project", "city", "area")
    },
    **{
        Place(f"GET {path}", f"query:{name}"): Row(thing, _asked(path, name))
        for path in _LISTS
        for name, thing in (("tag", "tag"), ("q", "case_no"))
    },
    **{
        Place(f"GET {path}", "query:cursor"): Row(f"cursor:{path}", _asked(path, "cursor"), everywhere=False)
        for path in ("/v1/cases", "/v1/duties", "/v1/breaches")
    },
    Place("POST /v1/cases/search", "query:cursor"): Row(
        "cursor:search",
        lambda _, written: Request("POST", f"/v1/cases/search?cursor={written}", {"q": "渗水"}),
        everywhere=False,
        may=_WRITERS,
    ),
    **{
        Place("POST /v1/cases/search", f"body:SearchCases/{name}"): Row(
            thing,
            partial(_searching, name),
            may=_WRITERS,
        )
        for name, thing in (
            ("project", "project"),
            ("external_ref", "reference"),
            ("phone", "phone"),
            ("household", "household"),
            ("q", "case_no"),
        )
    },
    Place("POST /v1/cases/{case_id}/actions", "path:case_id"): Row(
        "case", _in_path("/v1/cases/{}/actions", "POST", {"type": "typo"}), may=_WRITERS
    ),
    **{
        Place("POST /v1/cases/{case_id}/actions", f"body:{field}"): Row(
            thing, partial(_acting, described), everywhere=False, may=_WRITERS[1:]
        )
        for field, (thing, described) in ACTIONS.items()
    },
    **{
        Place("POST /v1/actions/batch", f"item:{field}"): Row(
            thing, partial(_acting_in_a_batch, described), everywhere=False, may=_WRITERS[1:]
        )
        for field, (thing, described) in ACTIONS.items()
    },
    Place("POST /v1/actions/batch", "item:BatchItem/case_id"): Row(
        "case_no", lambda _, written: _item({"case_id": written, "action": _NOTE}), may=_WRITERS
    ),
    Place("POST /v1/actions/batch", "item:BatchItem/external_ref"): Row(
        "reference", lambda _, written: _item({"external_ref": written, "action": _NOTE}), may=_WRITERS
    ),
    **{
        Place("POST /v1/actions/batch", f"item:OpenCase/{name}"): Row(
            thing,
            partial(_opening_in_a_batch, name),
            everywhere=name == "project",
            may=_WRITERS,
        )
        for name, thing in (("project", "project"), ("region", "region"), ("external_ref", "reference"))
    },
    **{
        Place("POST /v1/cases", f"body:OpenCase/{name}"): Row(
            thing,
            partial(_opening, name),
            everywhere=name == "project",
            makes=name == "external_ref",
            may=_WRITERS,
        )
        for name, thing in (("project", "project"), ("region", "region"), ("external_ref", "reference"))
    },
    Place("POST /v1/cases", "header:Idempotency-Key"): Row(
        "key",
        lambda scene, written: Request("POST", "/v1/cases", opening(scene.mine.region), {"idempotency-key": written}),
        everywhere=False,
        makes=True,
        may=_WRITERS[:1],
    ),
    Place("POST /v1/cases/{case_id}/actions", "header:Idempotency-Key"): Row(
        "key",
        lambda scene, written: Request(
            "POST", f"/v1/cases/{scene.mine.ids['case']}/actions", _NOTE, {"idempotency-key": written}
        ),
        everywhere=False,
        makes=True,
        may=_WRITERS[:1],
    ),
    # Of no region: whoever is of one is refused, whatever is named.
    Place("POST /v1/policies", "header:Idempotency-Key"): Row(
        "key", lambda _, written: Request("POST", "/v1/policies", {}, {"idempotency-key": written}), False, may=()
    ),
    Place("POST /v1/policies/impact", "body:AskImpact/regions"): Row(
        "region", lambda _, written: Request("POST", "/v1/policies/impact", {"regions": [written]}), False, may=()
    ),
    **{
        Place("POST /v1/audit/replay", f"body:AskReplay/{name}"): Row(name, partial(_replaying, name), False, may=())
        for name in ("region", "project")
    },
    Place("GET /v1/audit/events", "query:region"): Row("region", _asked("/v1/audit/events", "region"), False, may=()),
    **{
        Place("GET /v1/audit/access", f"query:{name}"): Row(thing, _asked("/v1/audit/access", name), False, may=())
        for name, thing in (("region", "region"), ("case", "case"), ("subject", "key"), ("cursor", "key"))
    },
    # A job is its subject's alone; headquarters is another subject too.
    **{
        Place(f"GET /v1/jobs/{{job_id}}{rest}", "path:job_id"): Row(
            "job", _in_path(f"/v1/jobs/{{}}{rest}"), everywhere=False
        )
        for rest in ("", "/result")
    },
}


# Two regions alike ----------------------------------------------------------------------------------------------------


async def _furnished(house: House, number: int) -> Furnished:
    region = await house.region(city=f"城{number}", area=f"片{number}")
    manager = house.caller("manager", region, subject=f"owner-{number}")
    names = {
        "tag": f"标{number}",
        "reference": f"REF-{number}",
        "phone": f"1390000000{number}",
        "household": f"{number}栋1单元301室",
        "city": f"城{number}",
        "area": f"片{number}",
        "region": region,
        "project": f"{region}-1",
        "key": f"key-of-{number}",
    }
    person = {"name": "周八", "phone": names["phone"]}
    case = await manager.case(
        region, tags=[names["tag"]], external_ref=names["reference"], household=names["household"], complainant=person
    )
    await manager.case(region)
    await manager.post(
        f"/v1/cases/{case['case_id']}/actions",
        {"type": "received", "obtained_at": RESPONSE["contacted_at"], "channel": "app"},
    )
    note = (await manager.act(case, "noted", names["key"], text="甲")).json()["action"]["action_id"]
    plan = (await manager.act(case, "plan_proposed", summary="修")).json()["action"]["action_id"]
    closed = await manager.case(region, stage="risk")
    assert (await manager.act(closed, "closed", decision="无", recurrence_expected=False)).status_code == 201
    lesson = await manager.act(closed, "lesson_recorded", root_cause="一", lesson="二", measures=["三"])
    other = await manager.case(region, stage="risk")
    await manager.act(case, "linked", case=other["case_id"], kind="related", reason="同")
    ids = {
        **names,
        "case": case["case_id"],
        "case_no": case["case_no"],
        "complaint": case["complaints"][0]["complaint_id"],
        "action": note,
        "plan": plan,
        "lesson": lesson.json()["action"]["action_id"],
        "linked": other["case_id"],
        "linked_no": other["case_no"],
    }
    return Furnished(region, {**ids, **await _cursors(manager, case)}, case, closed)


async def _cursors(manager: Caller, case: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for name, path in (
        ("/actions", f"/v1/cases/{case['case_id']}/actions"),
        ("/complaints", f"/v1/cases/{case['case_id']}/complaints"),
        *((path, path) for path in ("/v1/cases", "/v1/duties", "/v1/breaches")),
    ):
        found[f"cursor:{name}"] = (await manager.get(f"{path}?limit=1")).json()["next_cursor"]
    searched = await manager.post("/v1/cases/search?limit=1", {"q": "渗水"}, None)
    found["cursor:search"] = searched.json()["next_cursor"]
    assert all(found.values()), found
    return found


@pytest.fixture(scope="module")
async def scene(house: House) -> Scene:
    """Made once: what the requests of one place do to it, no other place notices."""
    mine, foreign = await _furnished(house, 1), await _furnished(house, 2)
    unknown = {
        **dict.fromkeys(("case", "complaint", "action", "plan", "lesson", "linked", "job"), UNKNOWN),
        **{name: value for name, value in mine.ids.items() if name.startswith("cursor")},
        **dict.fromkeys(("case_no", "linked_no"), f"{foreign.region}-20260115-9999"),
        "tag": "标9",
        "reference": "REF-9",
        "phone": "13900000009",
        "household": "9栋1单元301室",
        "city": "城9",
        "area": "片9",
        "region": "R9999",
        "project": "R9999-1",
    }
    for name, value in unknown.items():
        if name.startswith("cursor"):
            unknown[name] = ("A" if value[4] != "A" else "B").join((value[:4], value[5:]))
    return Scene(house, mine, foreign, unknown)


def _told(answer: httpx.Response, written: str) -> tuple[int, Any, list[tuple[str, str]]]:
    """All that an answer tells, the asked name left out."""
    headers = [(k, v) for k, v in answer.headers.items() if k != "content-length"]
    if "spreadsheetml" in answer.headers.get("content-type", ""):
        sheet = openpyxl.load_workbook(io.BytesIO(answer.content)).active
        assert sheet is not None
        return answer.status_code, [list(row) for row in sheet.iter_rows(values_only=True)], headers
    quoted = str(httpx.QueryParams({"": written}))[1:]
    return answer.status_code, answer.text.replace(written, "?").replace(quoted, "?"), headers


_MADE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[A-Z0-9]+-\d{8}-\d{4,}|\d{4}-\d\d-\d\dT[^\"]+|\d+")


def _shape(scene: Scene, told: tuple[int, Any, list[tuple[str, str]]]) -> Any:
    """What stays the same however often something is made."""
    status, text, headers = told
    body = json.loads(text)
    # Among them what was made before, in the caller's own region: it grows.
    assert all(one["case_no"].startswith(scene.mine.region) for one in body.pop("possible_duplicates", ()))
    text = json.dumps(body)
    return status, _MADE.sub("#", text), sorted((name, _MADE.sub("#", value)) for name, value in headers)


async def _ask(caller: Caller, request: Request) -> httpx.Response:
    return await caller.send(request.method, request.path, request.body, **request.headers)


# The tests ------------------------------------------------------------------------------------------------------------


def test_every_place_stands_in_the_table() -> None:
    assert set(PLACES) - set(TABLE) == set(), "places of an id that nobody has looked at"
    assert set(TABLE) - set(PLACES) == set(), "rows without a place"
    assert len(PLACES) > 80


@pytest.mark.parametrize("place", TABLE, ids=str)
async def test_a_foreign_id_answers_as_an_unknown_one(scene: Scene, place: Place) -> None:
    house, row = scene.house, TABLE[place]
    own, foreign = (where.ids.get(row.thing, UNKNOWN) for where in (scene.mine, scene.foreign))
    if row.thing == "job":
        own, foreign = await _job(house, "owner-1"), await _job(house, "owner-2")
    if place.at.endswith("Unlink/case"):
        own = scene.mine.ids["linked"]
    unknown = _unknown(scene, row)

    async def told(caller: Caller, written: str) -> Any:
        found = _told(await _ask(caller, row.request(scene, written)), written)
        return _shape(scene, found) if row.makes else found

    with clock(house, house.services.now()):
        for role in ("agent", "manager", "dashboard", "admin"):
            caller = house.caller(role, scene.mine.region, subject=f"stranger-{uuid4()}")
            assert await told(caller, foreign) == await told(caller, unknown), role
        nowhere = Caller(house.client, house.services.tokens.issue("manager", [], "region", None, 1), "manager")
        assert await told(nowhere, foreign) == await told(nowhere, unknown), "of no region"
        for role in row.may:
            caller = house.caller(role, scene.mine.region, subject="owner-1")
            assert await told(caller, own) != await told(caller, _unknown(scene, row)), (
                f"one's own, {role}: nothing is tested"
            )
        if row.everywhere:
            for role in {*row.may, "manager"} if "manager" in row.may else row.may:
                headquarters = house.caller(role, "*", subject=f"headquarters-{role}")
                assert await told(headquarters, foreign) != await told(headquarters, unknown), f"headquarters, {role}"


def _unknown(scene: Scene, row: Row) -> str:
    """What nothing is called; a key, or a reference that opens a case, is used up by being sent."""
    return str(uuid4()) if row.thing == "key" or row.makes else scene.unknown[row.thing]


async def _job(house: House, subject: str) -> str:
    async def work(_: object) -> bytes:
        return b"{}"

    job_id = await house.services.jobs.start("test", subject, work)
    await house.services.jobs.settled(job_id, subject, 5)
    return str(job_id)


async def test_a_stream_tells_no_foreign_case(scene: Scene) -> None:
    house = scene.house
    stranger = house.caller("manager", scene.mine.region)
    async with listening(house, stranger) as heard:
        owner = house.caller("manager", scene.foreign.region)
        position = (await owner.act(dict(scene.foreign.case), "noted", text="乙")).headers["ledger-position"]
        own = house.caller("manager", scene.mine.region)
        until = (await own.act(dict(scene.mine.case), "noted", text="乙")).headers["ledger-position"]
        told = await heard.cases_until(int(until))
    assert int(position) < int(until)
    assert set(told) == {scene.mine.case["case_id"]}
