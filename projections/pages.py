"""The ledger stream by stream, in pages of whole streams; the next page is fetched while one is worked on."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple
from uuid import UUID

from services.event_log import Connection, Record
from services.event_log.statements import BY_STREAM
from services.events import ACTIONS

_NIL = UUID(int=0)
_EVERY_VERSION = (1 << 31) - 1


class Page(NamedTuple):
    """All records of some cases, and of other streams any; `stream` is the last one that is complete (None: none)."""

    records: Sequence[Record]
    stream: UUID | None


async def pages(connection: Connection, behind: UUID | None, until: int, size: int) -> AsyncGenerator[Page, None]:
    """Pages of about `size` records up to a position, of the streams behind one. A case is never torn apart."""
    complete, rest = behind, list[Record]()
    reading = asyncio.create_task(_read(connection, behind or _NIL, _EVERY_VERSION if behind else 0, until, size))
    try:
        while True:
            records = await reading
            held = [*rest, *records]
            if len(records) < size:
                if held:
                    yield Page(held, held[-1].stream)
                return
            last = records[-1]
            reading = asyncio.create_task(_read(connection, last.stream, last.version, until, size))
            whole = _length_of_whole(held)
            if whole:
                complete = held[whole - 1].stream
            # Notices and the like need not be together: their stream may be longer than memory.
            kept = whole if last.name in ACTIONS else len(held)
            held, rest = held[:kept], held[kept:]
            if held:
                yield Page(held, complete)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


def _length_of_whole(records: Sequence[Record]) -> int:
    """How many of the records are not of the last stream, which may go on."""
    length = len(records)
    while length and records[length - 1].stream == records[-1].stream:
        length -= 1
    return length


async def _read(connection: Connection, stream: UUID, version: int, until: int, size: int) -> list[Record]:
    rows = await connection.execute(BY_STREAM, [stream, version, until, size], binary=True)
    return [Record(*row) for row in await rows.fetchall()]
