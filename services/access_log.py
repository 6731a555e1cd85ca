"""Who looked at what, in a table beside the ledger: noted in memory, stored a few hundred at a time.

A note costs the reader microseconds. Rows are lost with a killed process (its last half second), or where the database
is away for so long that the memory set aside is full: those are counted. One whose storing was not confirmed in time is
stored again, and may stand twice.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from services.event_log import EventLog, Unavailable

# Seconds between two writes, and how many rows bring one forward.
PAUSE, BATCH = 0.5, 500
# Rows in memory; with a page's 500 case ids each some 160 MB at the very worst, and 5 MB with one.
MOST_WAITING = 10_000
# Rows of one DELETE: the time of a look suffices.
_FORGOTTEN_AT_ONCE = 5_000

# By COPY: of the database it takes three quarters of what an INSERT takes (measured), and that is spent for each read.
_STORE = """
COPY access_log
    (looked_at, subject, role, unit, operation, status, regions, cases, shown, asked, question, address)
FROM STDIN
"""
_FIND = "SELECT {} FROM {} WHERE {} ORDER BY looked_at DESC, look DESC LIMIT %b::int8"
# Found before it is put in order: left to itself the planner walks back through all rows to find the few of a case.
_OF_CASE = "(SELECT * FROM access_log WHERE cases @> %b::uuid[] OFFSET 0) AS of_case"
_FORGET = """
WITH old AS (SELECT looked_at, look FROM access_log WHERE looked_at < %b ORDER BY looked_at, look LIMIT %b::int8),
gone AS (DELETE FROM access_log USING old WHERE access_log.looked_at = old.looked_at AND access_log.look = old.look
    RETURNING 1)
SELECT count(*) FROM gone
"""
# COPY's text format: what is absent, how bytes in hexadecimal begin, and what would end a value or a row.
_NULL, _BYTES = r"\N", r"\\x"
_MARKED = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
# Statuses by what became of the question.
OUTCOMES = {"shown": (200, 201, 202), "unchanged": (304,), "refused": (401, 403, 404, 422)}
# Written out, so that refusals are found by the index that holds no others.
_BECAME = {"shown": "status < 300", "unchanged": "status = 304", "refused": "status >= 400"}


class Noted(NamedTuple):
    """One look, or one refusal. `regions` holds ``*`` for all, `cases` ids; `question`: a keyed digest, as hex."""

    looked_at: datetime
    subject: str
    role: str | None
    unit: str | None
    operation: str
    status: int
    regions: Sequence[str]
    cases: Sequence[str]
    shown: int | None = None
    asked: str | None = None
    question: str | None = None
    address: str | None = None


class Look(NamedTuple):
    """A row as it is read."""

    looked_at: datetime
    look: int
    subject: str
    role: str | None
    unit: str | None
    operation: str
    status: int
    regions: list[str]
    cases: list[UUID]
    shown: int | None
    asked: str | None
    question: bytes | None
    address: str | None


class Wanted(NamedTuple):
    """Which looks; None or empty: any. `region` finds those that took in all regions too."""

    subjects: Sequence[str] = ()
    regions: Sequence[str] = ()
    case: UUID | None = None
    begin: datetime | None = None
    end: datetime | None = None
    operations: Sequence[str] = ()
    outcomes: Sequence[str] = ()


class AccessLog:
    """This process's notes, and everybody's rows."""

    def __init__(self, log: EventLog, most: int = MOST_WAITING) -> None:
        self._log, self._most = log, most
        # As they will be stored: what is only text is nothing that a garbage collection has to walk through.
        self._waiting: deque[str] = deque()
        self._full = asyncio.Event()
        self._ending = False
        self._door = asyncio.Lock()
        # Rows that were never stored, since this process began.
        self.dropped = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def note(self, noted: Noted) -> None:
        """Take it in; with the memory full, the newest is dropped: what was seen first shows how it began."""
        if len(self._waiting) >= self._most:
            self.dropped += 1
            return
        self._waiting.append(_line(noted))
        if len(self._waiting) >= BATCH:
            self._full.set()

    async def run(self) -> None:
        """Store what is noted, until `stop`."""
        stored = True
        while not self._ending:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PAUSE):
                    await self._full.wait()
            stored = await self.flush()
            if not stored and not self._ending:
                # It came back at once, or waited for the database as long as a look may: no faster than this.
                await asyncio.sleep(PAUSE)
        # What was noted during the last flush; a database that is away is not waited for once more.
        if stored:
            await self.flush()

    def stop(self) -> None:
        """Let `run` end once it has stored what it is at; whoever cancelled it could not tell whether that stands."""
        self._ending = True
        self._full.set()

    async def flush(self) -> bool:
        """Store all that is noted now; whether the database took it. What it did not take is kept."""
        async with self._door:
            self._full.clear()
            for _ in range(-(-len(self._waiting) // BATCH)):
                # Taken off only once stored: nothing else takes from this end.
                batch = [self._waiting[place] for place in range(min(BATCH, len(self._waiting)))]
                try:
                    await self._log.read.copy(_STORE, "".join(batch).encode())
                except Unavailable:
                    return False
                except psycopg.Error:
                    # Rows that no time will make storable must not hold up those behind them.
                    self.dropped += len(batch)
                for _ in batch:
                    self._waiting.popleft()
        return True

    async def find(self, wanted: Wanted, after: tuple[datetime, int] | None, limit: int) -> list[Look]:
        """Up to `limit` rows older than that instant and number, newest first."""
        terms, values = _terms(wanted)
        if after:
            terms.append("(looked_at, look) < (%b, %b::int8)")
            values += after
        source = _OF_CASE if wanted.case else "access_log"
        statement = _FIND.format(", ".join(Look._fields), source, " AND ".join(terms) or "true")
        rows = await self._log.read.rows(statement, [*([[wanted.case]] if wanted.case else []), *values, limit])
        return [Look(*row) for row in rows]

    async def forget(self, now: datetime, days: int) -> None:
        """Delete the rows older than that."""
        gone = _FORGOTTEN_AT_ONCE
        while gone == _FORGOTTEN_AT_ONCE:
            ((gone,),) = await self._log.read.beside.rows(_FORGET, [now - timedelta(days=days), _FORGOTTEN_AT_ONCE])


def _terms(wanted: Wanted) -> tuple[list[str], list[Any]]:
    one = len(wanted.subjects) == 1
    asked: list[tuple[str, Any]] = [
        # One alone is read in order from its index.
        ("subject = %b", wanted.subjects[0]) if one else ("subject = ANY(%b::text[])", list(wanted.subjects)),
        ("regions && %b::text[]", [*wanted.regions, "*"] if wanted.regions else []),
        ("looked_at >= %b", wanted.begin),
        ("looked_at < %b", wanted.end),
        ("operation = ANY(%b::text[])", list(wanted.operations)),
    ]
    given = [(term, value) for term, value in asked if value]
    outcomes = [_BECAME[outcome] for outcome in wanted.outcomes]
    of_outcome = [f"({' OR '.join(outcomes)})"] if outcomes else []
    return [*(term for term, _ in given), *of_outcome], [value for _, value in given]


def _line(noted: Noted) -> str:
    """A row in COPY's text format."""
    looked_at, subject, role, unit, operation, status, regions, cases, shown, asked, question, address = noted
    return (
        f"{looked_at.isoformat()}\t{_texts_of(subject, role, unit, operation)}\t{status}"
        f"\t{_array_of(tuple(regions))}\t{{{','.join(cases)}}}"
        f"\t{_NULL if shown is None else shown}\t{_NULL if asked is None else _escaped(asked)}"
        f"\t{_NULL if question is None else _BYTES + question}\t{_texts_of(address)}\n"
    )


# What is written over and over is written once.
@lru_cache(4096)
def _texts_of(*values: str | None) -> str:
    return "\t".join(_NULL if value is None else _escaped(value) for value in values)


@lru_cache(4096)
def _array_of(values: tuple[str, ...]) -> str:
    """Within an array quotes and backslashes are marked, and all of it once more for COPY."""
    marked = [value.replace("\\", r"\\").replace('"', r"\"") for value in values]
    return _escaped("{" + ",".join(f'"{value}"' for value in marked) + "}")


def _escaped(value: str) -> str:
    return value.translate(_MARKED)
