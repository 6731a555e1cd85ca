"""An outage is over and a centre uploads what it noted: each item is answered for itself, as if it had come alone."""

import asyncio
import json
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from intake_api.batch import MAX_BODY
from services.casebook import Casebook
from services.docket import Files
from tests.contract.house import RESPONSE, Caller, House, codes, opening
from tests.e2e.fire import seed_of

pytestmark = pytest.mark.anyio

PATH = "/v1/actions/batch"
NDJSON = "application/x-ndjson"
APPROVER = {"name": "郑七", "title": "区域总裁"}
BLAME = {"type": "blamed", "no_fault": True, "conclusion": "无责", "determined_by": APPROVER}
MERGE = {"type": "linked", "kind": "merged_into", "reason": "同一处渗水"}
Item = dict[str, Any]


def at(minute: int) -> str:
    """An instant of the outage: so many minutes into the night of 2026-02-01."""
    return (datetime(2026, 2, 1, tzinfo=UTC) + timedelta(minutes=minute)).isoformat().replace("+00:00", "Z")


def note(text: str, minute: int | None = None) -> Item:
    when = {} if minute is None else {"occurred_at": at(minute)}
    return {"type": "noted", "text": text, **when}


def on(case: Item | str, action: object, key: str | None = None) -> Item:
    """An action on a case named by its id."""
    case_id = case if isinstance(case, str) else case["case_id"]
    return {"idempotency_key": key or str(uuid4()), "case_id": case_id, "action": action}


def by_reference(reference: str, action: object, key: str | None = None) -> Item:
    return {"idempotency_key": key or str(uuid4()), "external_ref": reference, "action": action}


def opens(region: str, key: str | None = None, /, **fields: Any) -> Item:
    """An opening whose complaint was obtained when the outage began."""
    return {"idempotency_key": key or str(uuid4()), "open": opening(region, **{"obtained_at": at(0), **fields})}


async def sent(caller: Caller, items: Sequence[object], query: str = "", lines: bool = False) -> list[Item]:
    """Upload items that must be answered one by one."""
    body: object = b"\n".join(json.dumps(item).encode() for item in items) if lines else items
    headers = {"content_type": NDJSON} if lines else {}
    # A batch carries its keys in its items.
    response = await caller.post(f"{PATH}{query}", body, None, **headers)
    assert response.status_code == 200, response.text
    results: list[Item] = response.json()["results"]
    assert len(results) == len(items)
    return results


def told(results: Sequence[Item]) -> list[str | int]:
    """Of each result the problem's code, or the status."""
    return [one["problem"]["code"] if one.get("problem") else one["status"] for one in results]


def pointers(result: Item) -> list[str]:
    return [fault["pointer"] for fault in result["problem"]["errors"]]


async def actions(caller: Caller, case: Item | str) -> list[Item]:
    case_id = case if isinstance(case, str) else case["case_id"]
    response = await caller.get(f"/v1/cases/{case_id}/actions?limit=500")
    assert response.status_code == 200, response.text
    found: list[Item] = response.json()["items"]
    return found


async def seen(caller: Caller, case: Item | str) -> Item:
    case_id = case if isinstance(case, str) else case["case_id"]
    response = await caller.get(f"/v1/cases/{case_id}")
    assert response.status_code == 200, response.text
    found: Item = response.json()
    return found


async def end_of_ledger(house: House) -> int:
    return (await house.services.log.read.head()).position


# What is taken, and how it is answered ----------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [False, True], ids=["a list", "lines"])
async def test_results_come_in_the_order_given(house: House, lines: bool) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    items = [
        on(case, note("丙", 30)),
        opens(region, external_ref="R-1"),
        on(str(uuid4()), note("无此案卷")),
        by_reference("R-1", note("乙", 20)),
        on(case, {"type": "noted"}),
        on(case, note("甲", 10)),
    ]
    results = await sent(agent, items, lines=lines)
    assert told(results) == [201, 201, "not_found", 201, "validation_failed", 201]
    assert [one["replayed"] for one in results] == [False] * 6
    assert [set(one) for one in results if one["status"] == 201] == [{"status", "replayed", "case_id", "action_id"}] * 4
    assert results[0]["case_id"] == results[5]["case_id"] == case["case_id"]
    assert results[1]["case_id"] == results[3]["case_id"] != case["case_id"]
    ids = {one["text"]: one["action_id"] for one in await actions(agent, case) if one["type"] == "noted"}
    assert ids == {"甲": results[5]["action_id"], "丙": results[0]["action_id"]}


async def test_an_empty_upload_has_no_results(house: House) -> None:
    agent = house.agent(await house.region())
    assert await sent(agent, []) == []
    assert await sent(agent, [], lines=True) == []


async def test_a_line_that_is_no_json_stops_no_other(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    good = [json.dumps(on(case, note(text)), ensure_ascii=False).encode() for text in "甲乙"]
    bad = [b'{"idempotency_key": "x"', b"\xff\xfe", b'{"a": 1, "a": 2}', b'{"a": NaN}', b"[]", b"null", b"7", b'"x"']
    body = b"\r\n".join([good[0], *bad, b"", b"  ", good[1], b""])
    response = await agent.post(PATH, body, None, content_type=f"{NDJSON}; charset=utf-8")
    results = response.json()["results"]
    broken = ["malformed_json", "malformed_json", *["validation_failed"] * 6]
    assert told(results) == [201, *broken, 201]
    assert all(one["problem"]["errors"] for one in results[1:-1])
    assert {one["text"] for one in (await actions(agent, case))[1:]} == {"甲", "乙"}


@pytest.mark.parametrize("bad", ["\0", "\ud83d"], ids=["NUL", "half an emoji"])
@pytest.mark.parametrize("lines", [False, True], ids=["a list", "lines"])
async def test_a_text_that_cannot_be_stored_stops_no_other_item(house: House, lines: bool, bad: str) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    items = [on(case, note("甲", 1)), on(case, note(f"乙{bad}", 2)), opens(region, title=bad), on(case, note("丙", 3))]
    results = await sent(agent, items, lines=lines)
    assert told(results) == [201, "validation_failed", "validation_failed", 201]
    assert [pointers(one) for one in results[1:3]] == [["/action/text"], ["/open/title"]]


async def test_a_body_that_is_no_list_is_refused_whole(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    answers = [await agent.post(PATH, body, None) for body in (b"{", b"{}", b"7", b"null", b'[{"a": 1, "a": 2}]')]
    assert codes(answers) == ["malformed_json", *["validation_failed"] * 4]
    wrong = await agent.post(PATH, b"[]", None, content_type="text/csv")
    assert codes([wrong]) == ["unsupported_media_type"]


@pytest.mark.parametrize("lines", [False, True], ids=["a list", "lines"])
async def test_more_than_a_thousand_items_are_refused_whole(house: House, lines: bool) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    items = [on(case, note("一")) for _ in range(1001)]
    body: object = b"\n".join(json.dumps(item).encode() for item in items) if lines else items
    refused = await agent.post(PATH, body, None, **({"content_type": NDJSON} if lines else {}))
    assert codes([refused]) == ["validation_failed"]
    assert (await seen(agent, case))["version"] == 1


async def test_sixteen_mebibytes_are_the_most(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    fits = b"[" + b" " * (MAX_BODY - 2) + b"]"
    answers = [await agent.post(PATH, body, None) for body in (fits, fits + b" ")]
    assert codes(answers) == [200, "body_too_large"]


async def test_only_who_may_write_may_upload(house: House) -> None:
    region = await house.region()
    answers = [
        await house.caller(role, region).post(PATH, [], None)
        for role in ("agent", "manager", "dashboard", "auditor", "admin")
    ]
    assert codes(answers) == [200, 200, "forbidden", "forbidden", "forbidden"]
    assert codes([await house.client.post(PATH, json=[])]) == ["unauthenticated"]


@pytest.mark.parametrize("query", ["?dry_run=1", "?dry_run=", "?dry_run=true&dry_run=false", "?dryrun=true"])
async def test_a_dry_run_is_asked_for_in_one_way(house: House, query: str) -> None:
    region = await house.region()
    agent = house.agent(region)
    refused = await agent.post(f"{PATH}{query}", [opens(region)], None)
    assert refused.status_code == 422
    assert (await agent.get("/v1/cases?count=true")).json()["total"] == 0


# What is wrong with an item ---------------------------------------------------------------------------------------

_FAULTY: list[tuple[Any, list[str]]] = [
    (7, [""]),
    ([], [""]),
    ({}, ["/idempotency_key", ""]),
    ({"idempotency_key": "k"}, [""]),
    ({"idempotency_key": None, "case_id": "x", "action": {}}, ["/idempotency_key"]),
    ({"idempotency_key": "a b", "case_id": "x", "action": {}}, ["/idempotency_key"]),
    ({"idempotency_key": "k" * 256, "case_id": "x", "action": {}}, ["/idempotency_key"]),
    ({"idempotency_key": 5, "case_id": "x", "action": {}}, ["/idempotency_key"]),
    ({"idempotency_key": "k", "case_id": "x"}, [""]),
    ({"idempotency_key": "k", "action": {}}, [""]),
    ({"idempotency_key": "k", "case_id": "x", "external_ref": "y", "action": {}}, [""]),
    ({"idempotency_key": "k", "open": {}, "action": {}}, [""]),
    ({"idempotency_key": "k", "case_id": 5, "action": {}}, ["/case_id"]),
    ({"idempotency_key": "k", "external_ref": ["x"], "action": {}}, ["/external_ref"]),
    ({"idempotency_key": "k", "case_id": "x", "action": {}, "typo/x": 1}, ["/typo~1x"]),
    ({"idempotency_key": "k", "open": 5}, ["/open"]),
    ({"idempotency_key": "k", "open": {}}, ["/open/project", "/open/category", "/open/title"]),
]
_FAULTY_ACTIONS: list[tuple[Any, list[str]]] = [
    (5, ["/action"]),
    ([], ["/action"]),
    ({}, ["/action/type"]),
    ({"type": "exploded"}, ["/action/type"]),
    ({"type": 5}, ["/action/type"]),
    ({"type": "noted"}, ["/action/text"]),
    ({"type": "noted", "text": " \u200b"}, ["/action/text"]),
    ({"type": "noted", "text": "一", "typo": 1}, ["/action/typo"]),
    ({"type": "noted", "text": "一", "occurred_at": "2026-02-01T00:00:00"}, ["/action/occurred_at"]),
    ({"type": "noted", "text": "一", "occurred_at": "2099-01-01T00:00:00Z"}, ["/action/occurred_at"]),
    ({"type": "noted", "text": "一", "complaint": str(UUID(int=1))}, ["/action/complaint"]),
    ({"type": "noted", "text": "一", "evidence": [{"kind": "photo"}]}, ["/action/evidence/0/ref"]),
    ({**RESPONSE, "type": "responded", "households": ["9-9-999"], "complaints": None}, ["/action/households/0"]),
    ({"type": "corrected", "action": str(UUID(int=1)), "retract": True, "reason": "错"}, ["/action/action"]),
]


@pytest.mark.parametrize(("item", "expected"), _FAULTY)
async def test_a_bad_item_names_the_place(house: House, item: Any, expected: list[str]) -> None:
    region = await house.region()
    agent = house.agent(region)
    (result,) = await sent(agent, [item])
    assert (result["status"], result["problem"]["status"]) == (422, 422)
    assert pointers(result) == expected


@pytest.mark.parametrize(("action", "expected"), _FAULTY_ACTIONS)
async def test_a_bad_action_names_the_place_within_its_item(house: House, action: Any, expected: list[str]) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    first, result, last = await sent(agent, [on(case, note("前")), on(case, action), on(case, note("后"))])
    assert (first["status"], result["status"], last["status"]) == (201, 422, 201)
    assert pointers(result) == expected


async def test_an_opening_in_an_unknown_or_foreign_project_is_refused_alike(house: House) -> None:
    region, other = await house.region(), await house.region()
    agent = house.agent(region)
    results = await sent(agent, [opens(other), opens("NOWHERE"), opens(region)])
    assert told(results) == ["unknown_project", "unknown_project", 201]
    assert [pointers(one) for one in results[:2]] == [["/open/project"]] * 2


async def test_a_number_beyond_all_bounds_is_refused(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    dead: Item = {"type": "assessed", "facts": {"casualties": {"injured": 2**70, "dead": 0}}}
    results = await sent(agent, [on(case, dead), on(case, note("一"))])
    assert told(results) == ["validation_failed", 201]
    assert pointers(results[0]) == ["/action/facts/casualties/injured"]


# Keys -------------------------------------------------------------------------------------------------------------


async def test_an_item_sent_again_alone_gets_the_same_answer(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    opened, acted = opens(region), on(case, {"type": "responded", **RESPONSE})
    results = await sent(agent, [opened, acted])
    for path, body, item, result in (
        ("/v1/cases", opened["open"], opened, results[0]),
        (f"/v1/cases/{case['case_id']}/actions", acted["action"], acted, results[1]),
    ):
        first, again = [await agent.post(path, body, item["idempotency_key"]) for _ in range(2)]
        assert first.status_code == again.status_code == 201
        assert first.content == again.content
        assert first.headers["idempotency-replayed"] == again.headers["idempotency-replayed"] == "true"
        document = first.json()
        shown = document.get("case_id") or document["action"]["case_id"]
        assert shown == result["case_id"]
    assert first.json()["action"]["action_id"] == results[1]["action_id"]
    assert first.headers["etag"] == '"2"'
    assert [one["version"] for one in await actions(agent, case)] == [1, 2]


async def test_a_request_sent_again_in_an_upload_is_answered_as_before(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    keys = [str(uuid4()) for _ in range(2)]
    first = await agent.post("/v1/cases", opening(region), keys[0])
    case = first.json()
    acted = await agent.act(case, "noted", keys[1], text="一")
    before = await end_of_ledger(house)
    items = [{"idempotency_key": keys[0], "open": opening(region)}, on(case, {"text": "一", "type": "noted"}, keys[1])]
    for query in ("", "?dry_run=true", ""):
        opened, noted = await sent(agent, items, query)
        assert (opened["status"], opened["replayed"], opened["case_id"]) == (201, True, case["case_id"])
        assert (noted["status"], noted["replayed"]) == (201, True)
        assert noted["action_id"] == acted.json()["action"]["action_id"]
        assert opened["action_id"] == (await actions(agent, case))[0]["action_id"]
    assert await end_of_ledger(house) == before
    alone = await agent.act(case, "noted", keys[1], text="一")
    assert alone.content == acted.content


async def test_an_upload_sent_again_stores_nothing_twice(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    items = [
        by_reference("R-9", note("乙", 5)),
        opens(region, external_ref="R-9"),
        on(case, {"type": "escalated", "to": "city", "reason": "扩大", "occurred_at": at(9)}),
        on(case, note("甲")),
    ]
    first = await sent(agent, items)
    before = await end_of_ledger(house)
    again = await sent(agent, list(reversed(items)))
    assert told(first) == told(again) == [201] * 4
    assert [{**one, "replayed": False} for one in reversed(again)] == first
    assert all(one["replayed"] for one in again)
    assert await end_of_ledger(house) == before


async def test_a_key_used_for_another_request_is_refused_in_an_upload(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    one, other = await agent.case(region), await agent.case(region)
    key = str(uuid4())
    await agent.act(one, "noted", key, text="一")
    items = [
        on(one, note("二"), key),
        on(other, note("一"), key),
        {"idempotency_key": key, "open": opening(region)},
        on(one, {"type": "noted"}, key),
        on(one, note("三")),
    ]
    assert told(await sent(agent, items)) == ["idempotency_key_reused"] * 4 + [201]


async def test_one_key_twice_in_an_upload_is_one_action(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    key, opener = str(uuid4()), str(uuid4())
    items = [
        on(case, note("一"), key),
        opens(region, opener),
        on(case, note("一"), key),
        on(case, note("二"), key),
        opens(region, opener),
        opens(region, opener, title="另一案"),
    ]
    results = await sent(agent, items)
    assert told(results) == [201, 201, 201, "idempotency_key_reused", 201, "idempotency_key_reused"]
    assert results[2] == {**results[0], "replayed": True}
    assert results[4] == {**results[1], "replayed": True}
    assert (await seen(agent, case))["version"] == 2
    assert (await agent.get("/v1/cases?count=true")).json()["total"] == 2


async def test_a_refused_item_consumes_no_key(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    too_early = {"type": "responded", **RESPONSE, "contacted_at": "2026-01-15T16:00:00+08:00"}
    items = [on(case, too_early), on(case, {"type": "noted"}), opens("NOWHERE"), on(case, note("好"))]
    refused = await sent(agent, items)
    assert told(refused) == ["answered_before_obtained", "validation_failed", "unknown_project", 201]
    items[0]["action"], items[1]["action"] = {"type": "responded", **RESPONSE}, note("改")
    items[2]["open"] = opening(region)
    corrected = await sent(agent, items)
    assert told(corrected) == [201] * 4
    assert [one["replayed"] for one in corrected] == [False, False, False, True]


async def test_two_subjects_share_no_keys(house: House) -> None:
    region = await house.region()
    case = await house.agent(region).case(region)
    item = on(case, note("一"))
    results = [await sent(house.agent(region), [item]) for _ in range(2)]
    assert [one["replayed"] for (one,) in results] == [False, False]
    assert results[0][0]["action_id"] != results[1][0]["action_id"]


@pytest.mark.parametrize("copies", [2, 5])
async def test_an_upload_sent_many_times_at_once_is_stored_once_and_answered_alike(house: House, copies: int) -> None:
    region = await house.region()
    manager = house.manager(region)
    case = await manager.case(region, stage="risk")
    risk = await manager.case(region, stage="risk", occurred_at=at(0))
    items = [
        opens(region, external_ref="R-7"),
        by_reference("R-7", {"type": "escalated", "to": "area", "reason": "扩大", "occurred_at": at(3)}),
        *(by_reference("R-7", note(f"第{number}次", number)) for number in range(60)),
        on(case, {"type": "closed", "decision": "结", "recurrence_expected": False}),
        on(risk, {"type": "warned", "unrest": "聚集", "occurred_at": at(1)}),
        on(risk, {"type": "warned", "unrest": "聚集", "occurred_at": at(1)}),
    ]
    before = await end_of_ledger(house)
    answered = await asyncio.gather(*(sent(manager, items) for _ in range(copies)))
    assert await end_of_ledger(house) == before + len(items) - 1
    for results in answered:
        # One of the two warnings says nothing new.
        assert told(results)[:-2] == [201] * (len(items) - 2)
        assert sorted(told(results)[-2:], key=str) == [200, 201]
        assert [one["action_id"] for one in results] == [one["action_id"] for one in answered[0]]
        assert [one["case_id"] for one in results] == [one["case_id"] for one in answered[0]]
    assert (await seen(manager, case))["status"] == "closed"


async def test_an_item_sent_alone_at_the_same_time_is_one_action(house: House) -> None:
    region = await house.region()
    manager = house.manager(region)
    case = await manager.case(region)
    path = f"/v1/cases/{case['case_id']}/actions"
    items = [on(case, {"type": "escalated", "to": to, "reason": "扩大"}) for to in ("city", "area", "region", "group")]
    uploading = asyncio.create_task(sent(manager, items))
    posts = [manager.post(path, one["action"], one["idempotency_key"]) for one in items]
    alone, results = await asyncio.gather(*posts), await uploading
    for item, result in zip(items, results, strict=True):
        again = await manager.post(path, item["action"], item["idempotency_key"])
        if result["status"] == 201:
            assert again.json()["action"]["action_id"] == result["action_id"]
    levels = [one["to"] for one in await actions(manager, case) if one["type"] == "escalated"]
    assert levels == sorted(set(levels), key=("city", "area", "region", "group").index)
    assert set(codes(alone)) <= {201, "not_upwards", "idempotency_key_in_progress"}


# Cases ------------------------------------------------------------------------------------------------------------


async def test_a_case_opened_in_the_upload_takes_its_actions_in_any_listed_order(house: House) -> None:
    seed = seed_of("orders")
    region = await house.region()
    manager = house.manager(region)
    told_of = []
    for number in range(8):
        reference = f"R-{number}"
        items = [
            opens(region, external_ref=reference),
            by_reference(reference, {"type": "escalated", "to": "city", "reason": "扩大", "occurred_at": at(3)}),
            by_reference(reference, {"type": "escalated", "to": "area", "reason": "再扩大", "occurred_at": at(4)}),
            by_reference(reference, note("先", 1)),
            by_reference(reference, note("此前", -5)),
            by_reference(reference, {"type": "responded", **RESPONSE, "contacted_at": at(2)}),
            by_reference(reference, {"type": "assessed", "facts": {"title_deed_delayed": True}}),
        ]
        random.Random(seed + number).shuffle(items)
        results = await sent(manager, items)
        assert told(results) == [201] * len(items)
        assert len({one["case_id"] for one in results}) == 1
        recorded = await actions(manager, results[0]["case_id"])
        told_of.append([one["type"] for one in recorded])
        assert [one["version"] for one in recorded] == list(range(1, 8))
        positions = [one["position"] for one in recorded]
        assert positions == list(range(positions[0], positions[0] + 7)), "not stored in one transaction"
        found = await seen(manager, results[0]["case_id"])
        assert (found["escalation_level"], found["status"], found["inconsistencies"]) == ("area", "responded", [])
        _, records = await house.services.log.read.history(UUID(results[0]["case_id"]))
        assert {record.region for record in records} == {region}
    orders = {tuple(order) for order in told_of}
    assert orders == {("received", "noted", "noted", "responded", "escalated", "escalated", "assessed")}


async def test_the_items_of_a_case_are_stored_as_they_happened_and_together(house: House) -> None:
    seed = seed_of("together")
    region = await house.region()
    agent = house.agent(region)
    cases = [await agent.case(region) for _ in range(5)]
    items = [on(case, note(f"{minute}", minute)) for case in cases for minute in range(20)]
    random.Random(seed).shuffle(items)
    assert told(await sent(agent, items)) == [201] * 100
    for case in cases:
        recorded = (await actions(agent, case))[1:]
        assert [one["text"] for one in recorded] == [str(minute) for minute in range(20)]
        positions = [one["position"] for one in recorded]
        assert positions == list(range(positions[0], positions[0] + 20))


async def test_what_says_no_time_happened_now(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    later = datetime.now(UTC) + timedelta(minutes=2)
    ahead = {**note("快两分钟的钟"), "occurred_at": later.isoformat()}
    items = [on(case, note("此刻")), on(case, note("昨夜", 1)), on(case, ahead)]
    assert told(await sent(agent, items)) == [201] * 3
    assert [one["text"] for one in (await actions(agent, case))[1:]] == ["昨夜", "快两分钟的钟", "此刻"]
    assert (await actions(agent, case))[1]["delay_seconds"] > 0


async def test_a_case_is_named_by_its_number_in_any_width_and_case(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    number: str = case["case_no"]
    full_width = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in number)
    written = [number, number.lower(), full_width, number.replace("-0", "-"), f" {number} ", case["case_id"].upper()]
    results = await sent(agent, [on(name, note(name)) for name in written])
    assert told(results) == [201] * len(written)
    assert {one["case_id"] for one in results} == {case["case_id"]}
    assert (await seen(agent, case))["version"] == len(written) + 1


async def test_a_foreign_case_is_as_unknown_as_one_that_never_was(house: House) -> None:
    region, other = await house.region(), await house.region()
    agent, stranger = house.agent(region), house.agent(other)
    foreign = await stranger.case(other, external_ref="F-1")
    items = [
        *(
            on(name, note("一"))
            for name in (foreign["case_id"], foreign["case_no"], str(uuid4()), f"{other}-20260101-9")
        ),
        *(by_reference(name, note("一")) for name in ("F-1", "never", "")),
        *(on(name, note("一")) for name in ("", "x", "0" * 36, "\u0130" * 40)),
    ]
    results = await sent(agent, items)
    assert told(results) == ["not_found"] * len(items)
    assert len({json.dumps(one, sort_keys=True) for one in results}) == 1
    assert (await seen(stranger, foreign))["version"] == 1
    # Even under a key that its owner used, and in a dry run.
    assert told(await sent(agent, items, "?dry_run=true")) == ["not_found"] * len(items)


async def test_a_foreign_case_is_unknown_whatever_the_item_says(house: House) -> None:
    region, other = await house.region(), await house.region()
    foreign = await house.agent(other).case(other)
    agent = house.agent(region)
    bodies = [BLAME, {"type": "exploded"}, {}, 7, {"type": "noted"}]
    assert told(await sent(agent, [on(foreign, body) for body in bodies])) == ["not_found"] * 5


async def test_a_reference_that_the_opening_keeps_for_another_case_is_refused(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region, external_ref="R-1")
    items = [opens(region, external_ref="R-1"), by_reference("R-1", note("到先前的案卷"))]
    for query in ("?dry_run=true", ""):
        refused, noted = await sent(agent, items, query)
        assert told([refused, noted]) == ["duplicate_external_ref", 201]
        assert refused["problem"]["case_id"] == noted["case_id"] == case["case_id"]
    assert (await seen(agent, case))["version"] == 2


async def test_of_two_openings_under_one_reference_one_is_stored_however_they_are_listed(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    items = [
        by_reference("R-1", note("一", 1)),
        opens(region, external_ref="R-1", title="乙", obtained_at=at(2)),
        opens(region, external_ref="R-1", title="甲", obtained_at=at(1)),
        by_reference("R-1", note("二", 2)),
    ]
    expected = [201, "duplicate_external_ref", 201, 201]
    assert told(await sent(agent, items, "?dry_run=true")) == expected
    assert told(list(reversed(await sent(agent, list(reversed(items)), "?dry_run=true")))) == expected
    results = await sent(agent, items)
    assert told(results) == expected
    assert results[1]["problem"]["case_id"] == results[2]["case_id"]
    assert (await seen(agent, results[2]["case_id"]))["title"] == "甲"
    assert (await agent.get("/v1/cases?count=true")).json()["total"] == 1


async def test_one_reference_may_be_opened_in_two_regions(house: House) -> None:
    one, other = await house.region(), await house.region()
    agent = house.agent(one, other)
    items = [
        opens(one, external_ref="R-1"),
        opens(other, external_ref="R-1"),
        opens(one, external_ref="R-2"),
        *(by_reference(name, note("一")) for name in ("R-1", "R-2")),
    ]
    assert told(await sent(agent, items)) == [201, 201, 201, "ambiguous_external_ref", 201]


async def test_an_opening_that_is_refused_leaves_no_case_for_its_actions(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    items = [
        by_reference("R-1", note("一")),
        opens(region, external_ref="R-1", channel=None),
        opens("NOWHERE", external_ref="R-2"),
        by_reference("R-2", note("二")),
        opens(region, external_ref="R-3"),
        by_reference("R-3", note("三")),
    ]
    expected = ["not_found", "validation_failed", "unknown_project", "not_found", 201, 201]
    assert told(await sent(agent, items, "?dry_run=true")) == expected
    assert told(await sent(agent, items)) == expected
    # The corrected upload under the same keys.
    items[1]["open"], items[2]["open"] = opening(region, external_ref="R-1"), opening(region, external_ref="R-2")
    assert told(await sent(agent, items)) == [201] * 6


async def test_a_refused_opening_stands_in_no_other_s_way(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    items = [
        opens(region, external_ref="R-1", channel=None),
        opens(region, external_ref="R-1"),
        by_reference("R-1", note("一")),
    ]
    assert told(await sent(agent, items)) == ["validation_failed", 201, 201]


async def test_a_reference_of_two_regions_is_ambiguous(house: House) -> None:
    one, other = await house.region(), await house.region()
    agent = house.agent(one, other)
    for region in (one, other):
        await agent.case(region, external_ref="R-1")
    assert told(await sent(agent, [by_reference("R-1", note("一"))])) == ["ambiguous_external_ref"]
    assert told(await sent(house.agent(one), [by_reference("R-1", note("一"))])) == [201]


async def test_an_upload_tells_what_an_opening_may_duplicate_when_sent_again_alone(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    item = opens(region)
    await sent(agent, [item])
    document = (await agent.post("/v1/cases", item["open"], item["idempotency_key"])).json()
    assert [one["case_id"] for one in document["possible_duplicates"]] == [case["case_id"]]


# Rules ------------------------------------------------------------------------------------------------------------


async def test_a_role_is_judged_item_by_item(house: House) -> None:
    region = await house.region()
    agent, manager = house.agent(region), house.manager(region)
    case = await manager.case(region)
    kinds = ("blamed", "sanctioned", "closed", "reopened", "linked", "plan_proposed", "lesson_recorded")
    items = [on(case, note("前")), *(on(case, {"type": kind}) for kind in kinds), on(case, BLAME), on(case, note("后"))]
    assert told(await sent(agent, items)) == [201, *["forbidden"] * 8, 201]
    found = told(await sent(manager, [{**one, "idempotency_key": str(uuid4())} for one in items]))
    assert found == [201, *["validation_failed"] * 7, "blamed_before_closure", 201]


async def test_property_services_alone_blame_in_their_category_in_an_upload_too(house: House) -> None:
    region = await house.region()
    manager = house.manager(region)
    group = house.caller("manager", region, unit="property_services")
    items = [
        opens(region, external_ref="R-1", category="property_service"),
        by_reference("R-1", BLAME),
        opens(region, external_ref="R-2"),
        by_reference("R-2", BLAME),
    ]
    assert told(await sent(manager, items)) == [201, "forbidden", 201, "blamed_before_closure"]
    again = [by_reference(reference, BLAME) for reference in ("R-1", "R-2")]
    assert told(await sent(manager, again)) == ["forbidden", "blamed_before_closure"]
    assert told(await sent(group, again)) == ["blamed_before_closure"] * 2


async def test_a_rule_s_refusal_names_its_clause_and_stops_no_other(house: House) -> None:
    region = await house.region()
    manager = house.manager(region)
    items = [
        opens(region, external_ref="R-1"),
        by_reference("R-1", {"type": "closed", "decision": "结", "recurrence_expected": False, "occurred_at": at(5)}),
        by_reference("R-1", {"type": "responded", **RESPONSE, "contacted_at": at(6)}),
        by_reference("R-1", {"type": "warned", "unrest": "聚集", "occurred_at": at(7)}),
    ]
    results = await sent(manager, items)
    assert told(results) == [201, "closure_criteria_not_met", 201, "not_at_risk_stage"]
    problem = results[1]["problem"]
    assert (problem["clause"], len(problem["unmet"])) == ("3.2", 3)
    assert len(await actions(manager, results[0]["case_id"])) == 2


async def test_each_item_is_judged_after_those_that_happened_before_it(house: House) -> None:
    region = await house.region()
    manager = house.manager(region)
    case = await manager.case(region)
    plan = (await manager.act(case, "plan_proposed", summary="重做防水", occurred_at=at(1))).json()["action"]
    items = [
        on(case, {"type": "closed", "decision": "结", "recurrence_expected": False, "occurred_at": at(5)}),
        on(case, {"type": "plan_answered", "households": ["3-1-201"], "accepted": True, "occurred_at": at(4)}),
        on(case, {"type": "plan_approved", "plan": plan["action_id"], "approver": APPROVER, "occurred_at": at(3)}),
        on(case, {"type": "responded", **RESPONSE, "contacted_at": at(2)}),
        on(case, {**BLAME, "occurred_at": at(6)}),
        on(case, {**BLAME, "occurred_at": at(7), "conclusion": "再判"}),
        on(case, {"type": "reopened", "reason": "再漏", "occurred_at": at(8)}),
    ]
    results = await sent(manager, items)
    assert told(results) == [201, 201, 201, 201, 201, "already_blamed", 201]
    found = await seen(manager, case)
    assert (found["status"], found["version"], found["inconsistencies"]) == ("responded", 8, [])
    assert found["cycles"][0]["accountability"]["conclusion"] == "无责"


async def test_what_comes_late_is_judged_where_it_happened(house: House) -> None:
    region = await house.region()
    manager = house.manager(region)
    case = await manager.case(region, obtained_at=at(0))
    await manager.act(case, "escalated", to="area", reason="扩大", occurred_at=at(50))
    items = [
        on(case, {"type": "escalated", "to": "region", "reason": "更早", "occurred_at": at(10)}),
        on(case, {"type": "escalated", "to": "city", "reason": "更早", "occurred_at": at(20)}),
        on(case, {"type": "responded", **RESPONSE, "contacted_at": at(30)}),
        on(case, note("更早", 5)),
    ]
    results = await sent(manager, items)
    assert told(results) == ["contradicts_later_action", 201, 201, 201]
    found = await seen(manager, case)
    assert (found["escalation_level"], found["inconsistencies"], found["status"]) == ("area", [], "responded")


async def test_a_literal_repeat_is_answered_with_the_earlier_action(house: House) -> None:
    region = await house.region()
    manager = house.manager(region)
    case = await manager.case(region)
    escalated = {"type": "escalated", "to": "city", "reason": "扩大"}
    first = (await manager.act(case, "escalated", to="city", reason="扩大")).json()["action"]["action_id"]
    dated = {**escalated, "to": "area", "occurred_at": at(9)}
    results = await sent(manager, [on(case, escalated), on(case, escalated), on(case, note("一", 1))])
    assert told(results) == [200, 200, 201]
    assert [one["action_id"] for one in results[:2]] == [first] * 2
    other = await manager.case(region, obtained_at=at(0))
    results = await sent(manager, [on(other, dated), on(other, dated), on(other, dated)])
    assert sorted(told(results), key=str) == [200, 200, 201]
    assert len({one["action_id"] for one in results}) == 1
    assert (await seen(manager, other))["version"] == 2


async def test_a_correction_in_an_upload_counts_for_what_follows(house: House) -> None:
    region = await house.region()
    manager = house.manager(region)
    case = await manager.case(region)
    wrong = (await manager.act(case, "assessed", facts={"compensation": "2000000.00"})).json()["action"]
    raised = (await manager.act(case, "escalated", to="group", reason="误")).json()["action"]
    items = [
        on(case, {"type": "corrected", "action": raised["action_id"], "retract": True, "reason": "误升级"}),
        on(
            case,
            {
                "type": "corrected",
                "action": wrong["action_id"],
                "replacement": {"facts": {"compensation": "20000.00"}},
                "reason": "多写两个零",
                "occurred_at": at(1),
            },
        ),
        on(case, note("昨夜", 2)),
        on(case, {"type": "corrected", "action": str(uuid4()), "retract": True, "reason": "无此动作"}),
    ]
    results = await sent(manager, items)
    assert told(results) == [201, 201, 201, "unknown_action"]
    found = await seen(manager, case)
    assert (found["facts"], found["escalation_level"]) == ({"compensation": "20000.00"}, "none")
    assert (found["version"], found["inconsistencies"]) == (6, [])
    recorded = await actions(manager, case)
    assert [one["corrected_by"] for one in recorded[1:3]] == [results[1]["action_id"], results[0]["action_id"]]
    assert told(await sent(manager, [on(case, {"type": "escalated", "to": "city", "reason": "真升级"})])) == [201]


async def test_an_agent_corrects_only_its_own_in_an_upload_too(house: House) -> None:
    region = await house.region()
    agent, manager = house.agent(region), house.manager(region)
    case = await manager.case(region)
    theirs = (await manager.act(case, "noted", text="经理")).json()["action"]["action_id"]
    own = (await agent.act(case, "noted", text="坐席")).json()["action"]["action_id"]
    items = [on(case, {"type": "corrected", "action": one, "retract": True, "reason": "错"}) for one in (theirs, own)]
    assert told(await sent(agent, items)) == ["correction_not_yours", 201]


async def test_cases_are_merged_in_an_upload(house: House) -> None:
    region = await house.region()
    manager = house.manager(region)
    source, target = await manager.case(region), await manager.case(region, household="3-1-202")
    items = [
        on(source, {**MERGE, "case": target["case_no"]}),
        on(source, {"type": "escalated", "to": "city", "reason": "已合并"}),
        on(source, note("合并前", 1)),
        on(target, note("目标", 2)),
    ]
    results = await sent(manager, items)
    # What says no time is now, in the order of the contract's table: it was escalated, then merged.
    assert told(results) == [201, 201, 201, 201]
    assert (await seen(manager, source))["status"] == "merged"
    found = await seen(manager, target)
    assert (found["household_count"], found["complaint_count"]) == (2, 2)
    refused = await sent(manager, [on(source, {"type": "closed", "decision": "结", "recurrence_expected": False})])
    assert told(refused) == ["case_merged"]
    parted = await sent(manager, [on(source, {**MERGE, "type": "unlinked", "case": target["case_id"]})])
    assert told(parted) == [201]
    found = await seen(manager, target)
    assert (found["household_count"], found["inconsistencies"]) == (1, [])


async def test_a_case_opened_in_the_upload_is_merged_at_once(house: House) -> None:
    region = await house.region()
    manager = house.manager(region)
    target = await manager.case(region, household="3-1-202")
    items = [
        opens(region, external_ref="R-1"),
        by_reference("R-1", {**MERGE, "case": target["case_id"], "occurred_at": at(5)}),
        by_reference("R-1", note("其后", 6)),
        by_reference("R-1", {"type": "responded", **RESPONSE, "contacted_at": at(7)}),
    ]
    results = await sent(manager, items)
    assert told(results) == [201] * 4
    assert (await seen(manager, results[0]["case_id"]))["status"] == "merged"
    found = await seen(manager, target)
    assert (found["household_count"], found["version"], found["inconsistencies"]) == (2, 2, [])
    # The answers that were kept show the same.
    again = await manager.post("/v1/cases", items[0]["open"], items[0]["idempotency_key"])
    assert again.json()["case_id"] == results[0]["case_id"]


async def test_a_late_item_before_a_merger_stops_neither(house: House) -> None:
    region = await house.region()
    manager = house.manager(region)
    source, target = await manager.case(region), await manager.case(region, household="3-1-202")
    other = await manager.case(region, household="3-1-203")
    await manager.act(source, "noted", text="已有")
    items = [
        on(source, note("迟到", 1)),
        on(source, {**MERGE, "case": target["case_id"], "occurred_at": at(2)}),
        on(source, {**MERGE, "type": "unlinked", "case": target["case_id"], "occurred_at": at(3)}),
        on(source, {**MERGE, "case": other["case_id"], "occurred_at": at(4)}),
        on(source, note("更迟", 5)),
    ]
    assert told(await sent(manager, items)) == [201] * 5
    assert (await seen(manager, source))["status"] == "merged"
    found = [await seen(manager, case) for case in (source, target, other)]
    assert [one["household_count"] for one in found] == [1, 1, 2]
    assert [one["inconsistencies"] for one in found] == [[], [], []]
    assert [one["version"] for one in await actions(manager, source)] == list(range(1, 8))


async def test_two_cases_merged_into_each_other_in_one_upload_are_merged_one_way(house: House) -> None:
    region = await house.region()
    manager = house.manager(region)
    one, other = await manager.case(region), await manager.case(region, household="3-1-202")
    items = [on(one, {**MERGE, "case": other["case_id"]}), on(other, {**MERGE, "case": one["case_id"]})]
    found = told(await sent(manager, items))
    assert sorted(found, key=str) in ([201, "case_merged"], [201, "merge_chain"])
    statuses = sorted([(await seen(manager, case))["status"] for case in (one, other)])
    assert statuses == ["merged", "open"]


# Dry runs ---------------------------------------------------------------------------------------------------------


async def test_a_dry_run_tells_what_would_happen_and_stores_nothing(house: House) -> None:
    region = await house.region()
    manager = house.manager(region)
    case, target = await manager.case(region), await manager.case(region, household="3-1-202")
    items = [
        opens(region, external_ref="R-1"),
        by_reference("R-1", {"type": "escalated", "to": "city", "reason": "扩大", "occurred_at": at(3)}),
        by_reference("R-1", {"type": "escalated", "to": "city", "reason": "扩大", "occurred_at": at(3)}),
        by_reference("R-1", BLAME),
        by_reference("R-1", {**MERGE, "case": target["case_id"], "occurred_at": at(4)}),
        on(case, note("迟到", 1)),
        on(case, {"type": "noted"}),
        on(str(uuid4()), note("一")),
        opens("NOWHERE"),
    ]
    before = await end_of_ledger(house)
    rehearsed = await sent(manager, items, "?dry_run=true")
    assert await end_of_ledger(house) == before
    assert (await seen(manager, case))["version"] == 1
    assert (await manager.get("/v1/cases?count=true")).json()["total"] == 2
    # Of the two escalations one repeats the other.
    assert sorted(told(rehearsed)[1:3], key=str) == [200, 201]
    # Nobody could use an id that was never stored.
    assert all(one.get("action_id") is None for one in rehearsed)
    assert [one.get("case_id") for one in rehearsed] == [*[None] * 5, case["case_id"], *[None] * 3]
    stored = await sent(manager, items)
    assert told(stored) == told(rehearsed)
    assert [one["replayed"] for one in stored] == [False] * len(items)


async def test_a_dry_run_of_an_upload_that_was_stored_shows_what_was_stored(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    items = [opens(region, external_ref="R-1"), by_reference("R-1", note("一", 1))]
    stored = await sent(agent, items)
    rehearsed = await sent(agent, items, "?dry_run=true")
    assert rehearsed == [{**one, "replayed": True} for one in stored]


# Races and size ---------------------------------------------------------------------------------------------------


async def test_what_somebody_else_stores_meanwhile_costs_no_text(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    region = await house.region()
    agent, other = house.agent(region), house.agent(region)
    case = await agent.case(region)
    plain = Casebook.files
    met = 0

    async def meanwhile(self: Casebook, case_id: UUID, *others: UUID) -> Files:
        nonlocal met
        met += 1
        if met == 1:
            path = f"/v1/cases/{case['case_id']}/actions"
            # As another process would: past the turns of this one.
            house.services.desk._turns.clear()
            assert (await other.post(path, note("别人的"))).status_code == 201
        return await plain(self, case_id, *others)

    monkeypatch.setattr(Casebook, "files", meanwhile)
    # The first comes last and needs nothing; the correction needs everything that was recorded.
    first = await actions(agent, case)
    correction = {"type": "corrected", "action": first[0]["action_id"], "replacement": {"title": "改"}, "reason": "错"}
    now = datetime.now(UTC).isoformat()
    results = await sent(agent, [on(case, {**note("自己的"), "occurred_at": now}), on(case, correction)])
    assert told(results) == [201, 201]
    assert met > 1, "nobody stood in the way"
    recorded = await actions(agent, case)
    assert [one.get("text") for one in recorded[1:]] == ["别人的", "自己的", None]
    assert recorded[0]["corrected_by"] == results[1]["action_id"]
    assert (await seen(agent, case))["title"] == "改"


async def test_single_actions_and_uploads_of_one_case_both_get_through(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    path = f"/v1/cases/{case['case_id']}/actions"

    async def alone(count: int) -> list[httpx.Response]:
        return [await agent.post(path, note("单条")) for _ in range(count)]

    uploads = [[on(case, note(f"{number}-{one}", one)) for one in range(50)] for number in range(4)]
    uploading = [asyncio.create_task(sent(agent, items)) for items in uploads]
    one, other = await asyncio.gather(alone(30), alone(30))
    assert [told(await task) for task in uploading] == [[201] * 50] * 4
    assert set(codes([*one, *other])) == {201}
    recorded = await actions(agent, case)
    assert len(recorded) == 261
    for number in range(4):
        mine = [one for one in recorded if one.get("text", "").startswith(f"{number}-")]
        assert [one["text"] for one in mine] == [f"{number}-{one}" for one in range(50)]
        assert [one["position"] for one in mine] == list(range(mine[0]["position"], mine[0]["position"] + 50))


@pytest.mark.parametrize("kind", ["on time", "late", "on a new case", "one case each"])
async def test_a_thousand_items_are_stored_well_within_the_minute(house: House, kind: str) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region, obtained_at=at(0))
    if kind == "late":
        assert (await agent.act(case, "noted", text="其后的一条")).status_code == 201
    if kind == "one case each":
        items = [opens(region, household=f"3-1-{number}") for number in range(1000)]
    elif kind == "on a new case":
        items = [by_reference("R-1", note(f"{number}", number)) for number in range(999)]
        items.append(opens(region, external_ref="R-1"))
    else:
        items = [on(case, note(f"{number}", number)) for number in range(1000)]
    random.Random(seed_of(kind)).shuffle(items)
    began = time.perf_counter()
    results = await sent(agent, items)
    took = time.perf_counter() - began
    print(f"1,000 items, {kind}: {took:.2f} s")
    assert told(results) == [201] * 1000
    assert took < 30
    if kind != "one case each":
        assert (await seen(agent, results[0]["case_id"]))["version"] >= 1000
