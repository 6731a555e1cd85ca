"""审计档案. A stretch of the ledger as one file that verifies by itself (docs/audit-file.md; services/verifier.py)."""

import gzip
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

from projections.audit_lines import line
from services.checkpoints import HeadKey, TreeHead
from services.event_log import EventLog
from services.event_log.ledger_range import Selection, begins_at
from services.event_log.merkle import Stretch, consistency, inclusion, subtrees
from services.event_log.tree import roots
from services.events import LedgerRestored
from services.restorations import STREAM, recorded, shared
from services.tree_heads import TreeHeads
from services.verifier import FORMAT

_WITHIN = """
SELECT epoch, size, note FROM tree_heads
WHERE (epoch, size) > (%b, %b) AND size >= %b AND size <= %b ORDER BY epoch, size LIMIT 1000
"""
_BEFORE = "SELECT epoch, size, note FROM tree_heads WHERE size > 0 AND size < %b ORDER BY size DESC, epoch LIMIT 100"
# What costs least for its size: 1,000,000 events are 0.4 GB, of 0.9.
_SQUEEZED = 4

Bound = int | datetime | None


class NoSuchRange(Exception):
    """The ledger has no such positions."""


class Wanted(NamedTuple):
    """From and up to a position, both within; or what was recorded from an instant on and before another.

    `regions`: those whose bodies are told, beside the group's; None: all.
    """

    begin: Bound = None
    end: Bound = None
    regions: Sequence[str] | None = None


class Source(NamedTuple):
    """Where the file comes from, and who signs what closes it."""

    log: EventLog
    heads: TreeHeads
    key: HeadKey
    now: Callable[[], datetime]


async def export(source: Source, wanted: Wanted, file: Path, told: Callable[[int, int], None]) -> tuple[int, int]:
    """Write the file, compressed if its name ends in ``.gz``; the first and last position in it.

    It has its name only when it is whole. Raises `NoSuchRange`, and `Forked` of a ledger that nobody signs.
    """
    # Before anything is read: whoever signs more events than this file's signs them later.
    signed_at = source.now()
    head = (await source.heads.current())[0]._replace(signed_at=signed_at)
    first, last = await _positions(source.log, wanted, head.size)
    with _written(file) as write:
        async for piece in _pieces(source, wanted.regions, head, first, last):
            write(piece)
        async for done, piece in _events(source, wanted.regions, first, last):
            write(piece)
            told(done, last - first + 1)
        write(_line({"events": last - first + 1, "sha256": write.digest()}))
    return first, last


async def _positions(log: EventLog, wanted: Wanted, size: int) -> tuple[int, int]:
    begin, end = wanted.begin, wanted.end
    first = await begins_at(log.read, begin, size) if isinstance(begin, datetime) else 1 if begin is None else begin
    last = await begins_at(log.read, end, size) - 1 if isinstance(end, datetime) else size if end is None else end
    if not 1 <= first <= size + 1 or not 0 <= last <= size or first > last + 1:
        raise NoSuchRange(f"the ledger has positions 1 to {size}; from {first} to {last} was asked for")
    return first, last


async def _pieces(
    source: Source, regions: Sequence[str] | None, head: TreeHead, first: int, last: int
) -> AsyncIterator[bytes]:
    """All lines before the events."""
    peaks = [(node.begin, node.end) for node in subtrees((0, first - 1))]
    yield _line(
        {
            "format": FORMAT,
            "origin": head.origin,
            "epoch": head.epoch,
            "from": first,
            "to": last,
            "size": head.size,
            "regions": None if regions is None else sorted(set(regions)),
            "peaks": await _hashes(source, peaks),
        }
    )
    yield _line({"key": source.key.written(head.origin)})
    yield _line({"closing_head": source.key.signed(head)})
    if 0 < last < head.size:
        yield _line({"consistency": await _hashes(source, consistency(last, head.size))})
    async for piece in _restorations(source, head):
        yield piece
    async for piece in _signed(source, head, first, last):
        yield piece


async def _restorations(source: Source, head: TreeHead) -> AsyncIterator[bytes]:
    """Every recorded restore, whether it lies in the range or not, proven."""
    _, records = await source.log.read.history(STREAM)
    for record in records:
        if record.name == LedgerRestored.name and record.position <= head.size:
            path = await _hashes(source, inclusion(record.position - 1, head.size))
            yield _line({"restoration": json.loads(line(record)), "inclusion": path})


async def _signed(source: Source, head: TreeHead, first: int, last: int) -> AsyncIterator[bytes]:
    """The last head before the range, and all within it."""
    read = source.log.read
    restored = await recorded(read)
    for epoch, size, note in await read.rows(_BEFORE, [first - 1]):
        still = shared(restored, epoch)
        if still is None or size <= still:
            yield _line({"head_before": note, "consistency": await _hashes(source, consistency(size, head.size))})
            break
    after = (0, 0)
    while rows := await read.rows(_WITHIN, [*after, first - 1, last]):
        yield b"".join(_line({"head": note}) for _, _, note in rows)
        after = rows[-1][:2]


async def _events(
    source: Source, regions: Sequence[str] | None, first: int, last: int
) -> AsyncIterator[tuple[int, bytes]]:
    """The lines of events, and how many are done with them."""
    done = 0
    told = None if regions is None else {"", *regions}
    async for records in Selection(None, first - 1, last).pages(source.log.read):
        done += len(records)
        yield done, b"".join(line(record, told is None or record.region in told) for record in records)


async def _hashes(source: Source, stretches: Sequence[Stretch]) -> list[str]:
    return [one.hex() for one in await roots(source.log.read, stretches)]


def _line(told: Mapping[str, object]) -> bytes:
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


class _Writer:
    """Writes, and knows the hash of all that it wrote."""

    def __init__(self, out: BufferedIOBase) -> None:
        self._out, self._whole = out, sha256()

    def __call__(self, piece: bytes) -> None:
        self._whole.update(piece)
        self._out.write(piece)

    def digest(self) -> str:
        return self._whole.hexdigest()


@contextmanager
def _written(file: Path) -> Iterator[_Writer]:
    """What is written stands in the file when this ends; if something fails, there is no file."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with draft.open("wb") as raw:
            packed = gzip.GzipFile("", "wb", _SQUEEZED, raw, 0) if file.name.endswith(".gz") else None
            yield _Writer(packed or raw)
            if packed:
                packed.close()
            raw.flush()
            os.fsync(raw.fileno())
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
