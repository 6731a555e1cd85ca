"""The ledger for auditors: its events as they are stored, the signed head of its tree, proofs, and keys.

Hashes are lower-case hex; a checkpoint is the text that was signed (`services/checkpoints.py`). Proofs are RFC 9162's,
over leaves that are the events' header hashes.
"""

from collections.abc import AsyncGenerator
from datetime import datetime

from intake_api import asked
from intake_api.access import Forbidden
from intake_api.http import Call, LedgerRestored, Reply, StreamedReply, UnknownParameter
from intake_api.services import Services
from projections.audit_lines import line
from projections.case_view import encode
from services.caller import Caller
from services.checkpoints import key_id, origin_of, written
from services.event_log.ledger_range import Selection, begins_at
from services.event_log.merkle import consistency, inclusion, leaf_hash
from services.event_log.tree import Tree, leaves, roots, tree
from services.instants import format_instant

_NO_STORE = (b"cache-control", b"no-store")
_LINES = 1_000
_MOST_LINES = 10_000
_LARGEST = 1 << 62


async def list_events(call: Call) -> Reply:
    """Events behind position `after` in global order, one a line; without filters no position is left out.

    Fewer lines than `limit`: there are no more up to `Ledger-Position`.
    """
    services, _ = _auditor(call)
    query = call.query(("after", "limit", "region", "from", "to"))
    after, limit = _number(query, "after", 0) or 0, _number(query, "limit", 1, _MOST_LINES) or _LINES
    begin, end = asked.instant(query, "from"), asked.instant(query, "to")
    head = (await services.log.read.head()).position
    if after > head:
        raise LedgerRestored
    regions = sorted(set(query["region"])) if "region" in query else None
    selection = Selection(regions, *await _between(services, begin, end, after, head))
    headers = [_NO_STORE, (b"ledger-position", b"%d" % head)]
    return StreamedReply(call, _lines(services, selection, limit), headers, b"application/x-ndjson", patience=30.0)


async def get_head(call: Call) -> Reply:
    """The signed head of everything that is stored now; what is not signed yet is signed at once."""
    services, _ = _auditor(call)
    call.query(())
    head, note = await services.tree_heads.current()
    body = {
        "origin": head.origin,
        "epoch": head.epoch,
        "size": head.size,
        "root": head.root.hex(),
        "time": format_instant(head.signed_at),
        "checkpoint": note,
    }
    return Reply(200, encode(body), [_NO_STORE, (b"ledger-position", b"%d" % head.size)])


async def get_proof(call: Call) -> Reply:
    """That an event is in the tree (`position`, `size`), or that a tree extends a smaller one (`from`, `to`)."""
    services, _ = _auditor(call)
    query = call.query(("position", "size", "from", "to"))
    now = await tree(services.log.read)
    if "position" in query:
        _refuse_others(query, ("from", "to"))
        size = _within(query, "size", now, now.size)
        position = _within(query, "position", now, None, size)
        body = await _included(services, position, size)
    else:
        _refuse_others(query, ("size",))
        to = _within(query, "to", now, now.size)
        body = await _extended(services, _within(query, "from", now, None, to), to)
    return Reply(200, encode(body), [_NO_STORE, (b"ledger-position", b"%d" % now.size)])


async def list_keys(call: Call) -> Reply:
    """The public keys that sign heads, and those that did before: `key` is the line that a verifier takes."""
    services, _ = _auditor(call)
    call.query(())
    origin = origin_of((await tree(services.log.read)).ledger_id)
    items = [
        {
            "origin": origin,
            "algorithm": "Ed25519",
            "key_id": key_id(origin, public).hex(),
            "public_key": public.hex(),
            "key": written(origin, public),
        }
        for public in await services.tree_heads.publics()
    ]
    return Reply(200, encode({"items": items, "next_cursor": None}), [_NO_STORE])


def _auditor(call: Call) -> tuple[Services, Caller]:
    services: Services = call.services
    caller = services.caller(call)
    if caller.role != "auditor":
        raise Forbidden
    return services, caller


async def _between(
    services: Services, begin: datetime | None, end: datetime | None, after: int, head: int
) -> tuple[int, int]:
    """What was recorded from `begin` on and before `end`: the positions above the first number, up to the second."""
    read = services.log.read
    first = await begins_at(read, begin, head) if begin else 1
    last = await begins_at(read, end, head) - 1 if end else head
    return max(after, first - 1), last


async def _lines(services: Services, selection: Selection, limit: int) -> AsyncGenerator[bytes, None]:
    async for records in selection.pages(services.log.read, limit):
        yield b"".join(map(line, records))


async def _included(services: Services, position: int, size: int) -> dict[str, object]:
    read = services.log.read
    path = inclusion(position - 1, size)
    root, *hashes = await roots(read, [(0, size), *path])
    (header_hash,) = await leaves(read, position - 1, position)
    return {
        "position": position,
        "size": size,
        "leaf_index": position - 1,
        "header_hash": header_hash.hex(),
        "leaf_hash": leaf_hash(header_hash).hex(),
        "root": root.hex(),
        "path": [one.hex() for one in hashes],
    }


async def _extended(services: Services, first: int, size: int) -> dict[str, object]:
    before, root, *hashes = await roots(services.log.read, [(0, first), (0, size), *consistency(first, size)])
    return {
        "from": first,
        "to": size,
        "from_root": before.hex(),
        "to_root": root.hex(),
        "path": [one.hex() for one in hashes],
    }


def _within(query: asked.Query, name: str, now: Tree, default: int | None, most: int | None = None) -> int:
    """A number from 1 to the tree's size, or to `most` of it."""
    number = _number(query, name, 1)
    if number is None:
        if not default:
            raise UnknownParameter("invalid_parameter", name)
        return default
    if number > now.size and now.epoch > 1:
        raise LedgerRestored
    if number > (now.size if most is None else most):
        raise UnknownParameter("invalid_parameter", name)
    return number


def _number(query: asked.Query, name: str, least: int, most: int = _LARGEST) -> int | None:
    text = asked.one(query, name)
    if text is None:
        return None
    # Of any length, while int() has a limit of its own.
    if not text.isascii() or not text.isdecimal() or len(text) > 18 or not least <= int(text) <= most:
        raise UnknownParameter("invalid_parameter", name)
    return int(text)


def _refuse_others(query: asked.Query, names: tuple[str, ...]) -> None:
    for name in names:
        if name in query:
            raise UnknownParameter("unknown_parameter", name)
