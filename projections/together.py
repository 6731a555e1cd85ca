"""The cases of a page of the ledger, those ever merged with one another together."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from services.casebook import entry_of
from services.docket import Entry, Files, groups, linked_streams
from services.event_log import EventLog, Record
from services.events import ACTIONS


async def together(log: EventLog, records: Sequence[Record], until: int) -> list[Files]:
    """Each group where the first of its streams is met, with all that was recorded of it up to a position."""
    here = {record.stream for record in records}
    return [group for group in await gathered(log, records, until) if min(one for one in group if group[one]) in here]


async def gathered(log: EventLog, records: Sequence[Record], until: int) -> list[Files]:
    """Likewise each group of which any stream is met."""
    files: dict[UUID, list[Entry]] = {}
    for record in records:
        if record.name in ACTIONS:
            files.setdefault(record.stream, []).append(entry_of(record))
    wanted = _linked(files)
    while wanted:
        for record in await log.read.histories_until(list(wanted), until):
            files.setdefault(record.stream, []).append(entry_of(record))
        wanted = _linked(files)
    return groups(files)


def _linked(files: Mapping[UUID, Sequence[Entry]]) -> set[UUID]:
    """Cases that these were merged with, of which nothing is here."""
    return {linked for entries in files.values() for linked in linked_streams(entries)} - files.keys()
