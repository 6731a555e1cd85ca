"""The ledger for auditors: events, the signed head, proofs and keys."""

import asyncio
import base64
import json
from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from services.checkpoints import opened
from services.event_log.record import microseconds
from services.instants import parse_instant
from tests.contract.house import Caller, House, codes, open_house, opening

pytestmark = pytest.mark.anyio


async def _get(caller: Caller, path: str) -> Any:
    response = await caller.get(path)
    assert response.status_code == 200, response.text
    return response.json()


async def _events(caller: Caller, query: str = "") -> list[dict[str, Any]]:
    response = await caller.get(f"/v1/audit/events?{query}")
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


def _included(index: int, size: int, leaf: bytes, path: Sequence[bytes]) -> bytes:
    """The root that an inclusion path leads to, as RFC 9162, 2.1.3.2 verifies it."""
    at, last, root = index, size - 1, leaf
    for one in path:
        assert last > 0
        if at & 1 or at == last:
            root = _node(one, root)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            root = _node(root, one)
        at, last = at >> 1, last >> 1
    assert last == 0
    return root


def _extended(first: int, size: int, before: bytes, path: list[bytes]) -> tuple[bytes, bytes]:
    """Both roots that a consistency path leads to, as RFC 9162, 2.1.4.2 verifies it."""
    if first == size:
        assert not path
        return before, before
    if not first & (first - 1):
        path = [before, *path]
    at, last = first - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = path[0]
    for one in path[1:]:
        assert last > 0
        if at & 1 or at == last:
            old, new = _node(one, old), _node(one, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = _node(new, one)
        at, last = at >> 1, last >> 1
    assert last == 0
    return old, new


def _hashes(texts: Sequence[str]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


async def test_only_an_auditor_asks(house: House) -> None:
    paths = ("events", "head", "proof?position=1", "keys")
    for role in ("agent", "manager", "dashboard", "admin"):
        assert codes([await house.caller(role).get(f"/v1/audit/{path}") for path in paths]) == ["forbidden"] * 4
    assert codes([await house.client.get(f"/v1/audit/{path}") for path in paths]) == ["unauthenticated"] * 4


async def test_events_are_gap_free_and_each_line_has_all_that_its_hash_is_made_of(house: House) -> None:
    region = await house.region()
    case = await house.agent(region).case(region)
    auditor = house.caller("auditor")
    assert [one["position"] for one in await _events(auditor, "limit=1")] == [1]
    lines: list[dict[str, Any]] = []
    while batch := await _events(auditor, f"after={len(lines)}&limit=250"):
        lines += batch
    assert [one["position"] for one in lines] == list(range(1, len(lines) + 1))
    for one in lines:
        body = one["body"].encode()
        assert sha256(body).hexdigest() == one["body_hash"]
        stream = bytes.fromhex(one["stream"].replace("-", ""))
        packed = b"anjuan.event.1\0" + one["position"].to_bytes(8) + stream + one["version"].to_bytes(4)
        packed += one["schema"].to_bytes(2) + microseconds(parse_instant(one["recorded_at"])).to_bytes(8, signed=True)
        for text in (one["type"], one["actor"], one["region"]):
            packed += len(text.encode()).to_bytes(2) + text.encode()
        assert sha256(packed + sha256(body).digest()).hexdigest() == one["header_hash"]
    (first,) = [one for one in lines if one["stream"] == case["case_id"]]
    assert (first["case_id"], first["type"], first["region"]) == (case["case_id"], "received", region)
    assert next(one for one in lines if one["type"] == "region_described")["case_id"] is None


async def test_events_of_a_region_and_of_a_time(house: House) -> None:
    here, there = await house.region(), await house.region()
    cases = [await house.agent(region).case(region) for region in (here, there, here)]
    auditor = house.caller("auditor")
    found = [one for one in await _events(auditor, f"region={here}&limit=10000") if one["case_id"]]
    assert [one["case_id"] for one in found] == [cases[0]["case_id"], cases[2]["case_id"]]
    begin, end = found[0]["recorded_at"], found[1]["recorded_at"]
    between = [one["case_id"] for one in await _events(auditor, f"from={begin}&to={end}") if one["case_id"]]
    assert between == [cases[0]["case_id"], cases[1]["case_id"]]
    later = (parse_instant(end) + timedelta(microseconds=1)).isoformat().replace("+00:00", "Z")
    assert await _events(auditor, f"from={later}&region={here}") == []
    both = await _events(auditor, f"region={here}&region={there}&from={begin}&limit=2")
    assert [one["region"] for one in both] == [here, there]


async def test_positions_and_sizes_beyond_the_ledger_are_refused(house: House) -> None:
    auditor = house.caller("auditor")
    size = (await _get(auditor, "/v1/audit/head"))["size"]
    refused = [
        await auditor.get(f"/v1/audit/{path}")
        for path in (
            f"events?after={size + 1000}",
            "events?after=-1",
            "events?limit=0",
            "events?limit=10001",
            "events?from=yesterday",
            "events?x=1",
            "proof",
            "proof?position=0",
            f"proof?position={size + 1000}",
            f"proof?position=2&size={size + 1000}",
            "proof?position=2&size=1",
            "proof?position=1&from=1",
            "proof?from=2&to=1",
            "proof?from=0",
            "proof?from=1&size=1",
            "proof?position=" + "9" * 5000,
            "head?x=1",
            "keys?x=1",
        )
    ]
    expected = ["ledger_restored", *["invalid_parameter"] * 4, "unknown_parameter", *["invalid_parameter"] * 5]
    expected += ["unknown_parameter", "invalid_parameter", "invalid_parameter", "unknown_parameter"]
    expected += ["invalid_parameter", "unknown_parameter", "unknown_parameter"]
    assert codes(refused) == expected


async def test_a_head_is_signed_at_once_and_holds_every_acknowledged_event(house: House) -> None:
    region = await house.region()
    auditor = house.caller("auditor")
    (key,) = (await _get(auditor, "/v1/audit/keys"))["items"]
    for _ in range(3):
        case = await house.agent(region).post("/v1/cases", opening(region))
        head = await _get(auditor, "/v1/audit/head")
        assert head["size"] >= int(case.headers["ledger-position"])
        signed = opened(head["checkpoint"], bytes.fromhex(key["public_key"]))
        assert signed is not None
        assert (signed.origin, signed.size, signed.root.hex()) == (head["origin"], head["size"], head["root"])
    assert base64.b64decode(key["key"].split("+", 2)[2]) == b"\1" + bytes.fromhex(key["public_key"])


async def test_every_event_is_proven_in_every_tree(house: House) -> None:
    region = await house.region()
    for _ in range(4):
        await house.agent(region).case(region)
    auditor = house.caller("auditor")
    head = await _get(auditor, "/v1/audit/head")
    size = head["size"]
    for position in {1, 2, size // 3 or 1, size // 2 or 1, size - 1, size}:
        for until in {position, (position + size) // 2, size}:
            proof = await _get(auditor, f"/v1/audit/proof?position={position}&size={until}")
            (event,) = await _events(auditor, f"after={position - 1}&limit=1")
            assert proof["header_hash"] == event["header_hash"]
            leaf = sha256(b"\0" + bytes.fromhex(event["header_hash"])).digest()
            assert leaf.hex() == proof["leaf_hash"]
            root = _included(proof["leaf_index"], until, leaf, _hashes(proof["path"]))
            assert root.hex() == proof["root"]
            assert until != size or proof["root"] == head["root"]


async def test_every_tree_extends_those_before_it(house: House) -> None:
    region = await house.region()
    auditor = house.caller("auditor")
    before = await _get(auditor, "/v1/audit/head")
    await asyncio.gather(*(house.agent(region).case(region) for _ in range(8)))
    after = await _get(auditor, "/v1/audit/head")
    for first in {1, 2, before["size"] // 2, before["size"], after["size"]}:
        proof = await _get(auditor, f"/v1/audit/proof?from={first}&to={after['size']}")
        old, new = _extended(first, after["size"], bytes.fromhex(proof["from_root"]), _hashes(proof["path"]))
        assert (old.hex(), new.hex()) == (proof["from_root"], proof["to_root"])
        assert proof["to_root"] == after["root"]
        assert first != before["size"] or proof["from_root"] == before["root"]


async def test_heads_are_kept_in_a_folder_with_the_leaves_that_they_are_of(house: House) -> None:
    auditor = house.caller("auditor")
    region = await house.region()
    await house.agent(region).case(region)
    head = await _get(auditor, "/v1/audit/head")
    folder = house.services.settings.heads / head["origin"].removeprefix("anjuan/")
    for _ in range(100):
        notes = "".join(file.read_text() for file in folder.glob("heads-*.txt"))
        if head["checkpoint"] in notes:
            break
        await asyncio.sleep(0.05)
    assert head["checkpoint"] in notes
    leaves = (folder / f"leaves-{head['epoch']}").read_bytes()[: 32 * head["size"]]
    lines = await _events(auditor, "limit=10000")
    assert [one["header_hash"] for one in lines[: head["size"]]] == [
        leaves[at : at + 32].hex() for at in range(0, len(leaves), 32)
    ]


async def test_who_watches_the_service_sees_a_fork_and_heads_that_are_kept_nowhere(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("anjuan_tree_forked", "anjuan_tree_heads_unkept")
    # The gauges are the process's: they show the house that was opened last.
    async with open_house(database_url, tmp_path) as house:
        for value in (0.0, 1.0):
            monkeypatch.setattr(house.services.tree_heads, "forked", bool(value))
            monkeypatch.setattr(house.services.tree_heads, "unpushed_since", house.services.now() if value else None)
            text = (await house.client.get("/metrics")).text
            assert [f"{name} {value}" in text for name in names] == [True, True]
