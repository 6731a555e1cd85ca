"""Reading records for the views: what is a case's, what is a notice, what cannot be read, and what is too new."""

import asyncio
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import NamedTuple
from uuid import UUID

from projections.rows import Row
from services.casebook import entry_of
from services.docket import Entry
from services.event_log import Record, Unavailable
from services.events import ACTIONS, KINDS, DestroyedKey, DutyMissed, PersonErased, UnknownEvent, decode

# Seconds of work after which others have a turn.
TURN = 0.005


class Parked(NamedTuple):
    """A case that cannot be shown as it is: the position of what could not be applied, and what went wrong."""

    case_id: UUID
    region: str
    position: int
    fault: str


class NewerRelease(Exception):
    """The ledger holds what only a newer release understands: another process has to follow."""


def told(fault: Exception) -> str:
    """What went wrong and where, never the fault's text, which may quote what was said."""
    frame = traceback.extract_tb(fault.__traceback__)[-1]
    return f"{type(fault).__name__} at {Path(frame.filename).name}:{frame.lineno}"


def by_stream(records: Sequence[Record]) -> tuple[dict[UUID, list[Record]], list[Row]]:
    """Records of cases by stream, and notices; raises `NewerRelease` at what is not known here."""
    newer: dict[UUID, list[Record]] = {}
    notices: list[Row] = []
    for record in records:
        kind = KINDS.get(record.name)
        if kind is None or record.schema > kind.schema:
            raise NewerRelease(f"{record.name} {record.schema} at {record.position}")
        if record.name in ACTIONS:
            newer.setdefault(record.stream, []).append(record)
        elif kind is DutyMissed:
            notices.append(noticed(record))
    return newer, notices


def noticed(record: Record) -> Row:
    """The row of a notice."""
    said = decode(record.name, record.schema, record.body)
    assert isinstance(said, DutyMissed)
    return (said.notice_id, record.region, record.version, record.position, said.case_id)


def destroyed_by(record: Record) -> tuple[DestroyedKey, ...]:
    """The keys that an erasure destroyed."""
    said = decode(record.name, record.schema, record.body)
    assert isinstance(said, PersonErased)
    return said.destroyed


async def decoded(newer: Mapping[UUID, list[Record]]) -> tuple[dict[UUID, list[Entry]], list[Parked]]:
    """The actions of each stream; one with an action that cannot be read is told as parked instead."""
    entries: dict[UUID, list[Entry]] = {}
    parked: list[Parked] = []
    turn = perf_counter()
    for stream, records in newer.items():
        at = records[0]
        try:
            held = []
            for at in records:
                held.append(entry_of(at))
            entries[stream] = held
        except (UnknownEvent, Unavailable):
            raise
        except Exception as fault:
            parked.append(Parked(stream, at.region, at.position, told(fault)))
        if perf_counter() - turn > TURN:
            await asyncio.sleep(0)
            turn = perf_counter()
    return entries, parked
