"""The ledger docket by docket: page by page of streams, each case with those that it was ever merged with."""

import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from projections.pages import pages
from services.casebook import entry_of
from services.docket import Entry, Files, groups, linked_streams
from services.event_log import EVERYWHERE, EventLog, Record, Role, connect
from services.events import ACTIONS

# A page is a walk down an index, however large the ledger and whatever the planner thinks of it.
_READING = "-c statement_timeout=60000 -c enable_seqscan=off -c enable_sort=off"

Unread = Callable[[Record, Exception], None]


class Met(NamedTuple):
    """A page of the ledger: its records, and the dockets of its cases (`here`). `stream`: the last that is complete."""

    records: Sequence[Record]
    stream: UUID | None
    dockets: Sequence[Files]
    here: frozenset[UUID]

    @property
    def first_met(self) -> list[Files]:
        """The dockets whose smallest stream is in this page: over all pages each docket once."""
        return [files for files in self.dockets if min(one for one in files if files[one]) in self.here]


async def dockets(
    url: str, log: EventLog, until: int, size: int, behind: UUID | None = None, unread: Unread | None = None
) -> AsyncGenerator[Met, None]:
    """The ledger up to a position, of the streams behind one, in pages of about so many records."""
    async with (
        await connect(url, _READING, role=Role.READER, regions=EVERYWHERE) as connection,
        contextlib.aclosing(pages(connection, behind, until, size)) as walk,
    ):
        async for page in walk:
            files = _decoded(page.records, unread)
            here = frozenset(files)
            await gather(log, files, until, unread)
            yield Met(page.records, page.stream, groups(files), here)


async def dockets_of(log: EventLog, records: Sequence[Record], until: int) -> list[Files]:
    """The dockets of these records' cases, whole up to a position."""
    files = _decoded(records, None)
    await gather(log, files, until)
    return groups(files)


async def gather(log: EventLog, files: dict[UUID, list[Entry]], until: int, unread: Unread | None = None) -> None:
    """Add the cases that these were ever merged with."""
    while wanted := _linked(files):
        found = _decoded(await log.read.histories_until(list(wanted), until), unread)
        files.update({stream: found.get(stream, []) for stream in wanted})


def _decoded(records: Sequence[Record], unread: Unread | None) -> dict[UUID, list[Entry]]:
    """The actions of each case; of one with an action that cannot be read `unread` is told, and nothing is here."""
    files: dict[UUID, list[Entry]] = {}
    broken: set[UUID] = set()
    for record in records:
        if record.name not in ACTIONS:
            continue
        try:
            files.setdefault(record.stream, []).append(entry_of(record))
        except Exception as fault:
            if unread is None:
                raise
            unread(record, fault)
            broken.add(record.stream)
    for stream in broken:
        files.pop(stream, None)
    return files


def _linked(files: Mapping[UUID, Sequence[Entry]]) -> set[UUID]:
    """Cases that these were merged with, of which nothing is here."""
    return {linked for entries in files.values() for linked in linked_streams(entries)} - files.keys()
