"""The service is killed in the middle of an upload, started again, and the same upload is sent until it is answered.

Quick by default; ANJUAN_SOAK=1 kills at 20 points.
"""

import asyncio
import json
import os
import random
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from services.event_log import Record
from services.events import ACTIONS
from tests.e2e.fire import seed_of
from tests.e2e.serving import CUT, REGION, Service, Wire, in_thread, ledger, opening, serving

SOAK = os.environ.get("ANJUAN_SOAK") == "1"
POINTS = 20 if SOAK else 5
ITEMS = 360
KNOWN, NEW = 6, 6

pytestmark = pytest.mark.anyio

Item = dict[str, Any]


def upload(known: list[str], chance: random.Random) -> list[Item]:
    """Notes on cases that stand, on some that another item opens, and openings alone; each with its own words."""
    references = [str(uuid4()) for _ in range(NEW)]
    items: list[Item] = [
        {"idempotency_key": str(uuid4()), "open": opening(external_ref=reference)} for reference in references
    ]
    items += [{"idempotency_key": str(uuid4()), "open": opening()} for _ in range(20)]
    homes = [{"case_id": case} for case in known] + [{"external_ref": reference} for reference in references]
    while len(items) < ITEMS:
        key, minute = str(uuid4()), len(items)
        at = f"2026-01-{16 + minute // 60:02d}T08:{minute % 60:02d}:00Z"
        note = {"type": "noted", "text": "一", "occurred_at": at, "operator": {"id": key, "name": "甲"}}
        items.append({"idempotency_key": key, **chance.choice(homes), "action": note})
    chance.shuffle(items)
    return items


async def _sent_until_answered(service: Service, token: str, body: bytes, kill_after: float) -> tuple[int, list[Item]]:
    """Send it and kill the service meanwhile; then again, until every item is answered. How often it was cut."""
    cuts = 0

    async def killer() -> None:
        await asyncio.sleep(kill_after)
        await in_thread(service.kill)
        await in_thread(service.start)

    killing = asyncio.create_task(killer())
    async with Wire(service.port, token) as wire:
        while True:
            try:
                answer = await wire.ask("POST", "/v1/actions/batch", body)
            except CUT:
                cuts += 1
                await asyncio.sleep(0.05)
                continue
            assert answer.status == 200, answer.body
            results: list[Item] = answer.json["results"]
            if all(one["status"] != 503 for one in results) and killing.done():
                await killing
                return cuts, results
            await asyncio.sleep(0.05)


async def test_an_upload_that_is_killed_is_stored_once_when_it_is_sent_again(
    durable_database_url: str, tmp_path: Path
) -> None:
    chance = random.Random(seed_of("killed upload"))
    with serving(tmp_path, durable_database_url, ANJUAN_ACCESS_LOG="off") as service:
        await service.describe_directory()
        token = service.token("agent", REGION, subject="centre")
        async with Wire(service.port, token) as wire:
            known = [
                (await wire.ask("POST", "/v1/cases", opening(), Idempotency_Key=str(uuid4()))).json["case_id"]
                for _ in range(KNOWN)
            ]
        took = await _time_of_one(service, token, known, chance)
        seen: Counter[str] = Counter()
        uploads = []
        for number in range(POINTS):
            items = upload(known, chance)
            # The points lie evenly over the time that one takes, each at random within its part.
            kill_after = took * (number + chance.random()) / POINTS
            cuts, results = await _sent_until_answered(service, token, json.dumps(items).encode(), kill_after)
            assert {one["status"] for one in results} == {201}, [one for one in results if one["status"] != 201][:3]
            replayed = sum(one["replayed"] for one in results)
            state = "before any" if replayed == 0 else "after all" if replayed == ITEMS else "between"
            seen[state if cuts else "not cut"] += 1
            uploads.append((items, results))
    print(f"{POINTS} kills within {took * 1000:.0f} ms: the ledger had been reached {dict(seen)}")
    _everything_once(durable_database_url, uploads)


async def _time_of_one(service: Service, token: str, known: list[str], chance: random.Random) -> float:
    """How long one takes, so that it is known when to kill; its items are in nobody's words that are looked for."""
    seconds = []
    async with Wire(service.port, token) as wire:
        for _ in range(2):
            items = upload(known, chance)
            for item in items:
                if "action" in item:
                    item["action"]["operator"] = {"id": f"measured {uuid4()}", "name": "甲"}
            answer = await wire.ask("POST", "/v1/actions/batch", json.dumps(items).encode())
            assert {one["status"] for one in answer.json["results"]} == {201}
            seconds.append(answer.seconds)
    return min(seconds)


def _everything_once(url: str, uploads: list[tuple[list[Item], list[Item]]]) -> None:
    records = ledger(url)
    assert [record.position for record in records] == list(range(1, len(records) + 1))
    asked = 0
    for items, results in uploads:
        asked += len(items)
        by_id = {json.loads(record.body)["action_id"]: record for record in records if record.name in ACTIONS}
        stored = [by_id[one["action_id"]] for one in results]
        assert len({record.position for record in stored}) == len(items), "two items were answered with one action"
        assert [str(record.stream) for record in stored] == [one["case_id"] for one in results]
        _each_note_once(records, items, stored)
        _cases_are_whole(stored)
    measured = 2 * ITEMS + KNOWN
    actions = [record for record in records if record.actor.endswith("/centre") and record.name in ACTIONS]
    assert len(actions) == asked + measured, "something was stored that nobody asked for"
    with psycopg.connect(url) as connection:
        kept = connection.execute("SELECT count(*) FROM idempotency_keys WHERE subject = 'centre'").fetchone()
    assert kept == (asked + measured,)


def _each_note_once(records: list[Record], items: list[Item], stored: list[Record]) -> None:
    for item, record in zip(items, stored, strict=True):
        if "action" in item:
            assert json.loads(record.body)["operator"]["id"] == item["idempotency_key"]
    words = {item["idempotency_key"] for item in items if "action" in item}
    found = Counter(operator["id"] for record in records if (operator := json.loads(record.body).get("operator")))
    assert {found[word] for word in words} == {1}


def _cases_are_whole(stored: list[Record]) -> None:
    """The items of a case lie together, in one transaction, in the order in which they happened."""
    for _, group in groupby(sorted(stored, key=lambda record: (record.stream, record.version)), lambda r: r.stream):
        theirs = list(group)
        first = theirs[0]
        assert [record.position - first.position for record in theirs] == list(range(len(theirs)))
        assert [record.version - first.version for record in theirs] == list(range(len(theirs)))
        times = [json.loads(record.body)["occurred_at"] for record in theirs if record.name == "noted"]
        assert times == sorted(times)
