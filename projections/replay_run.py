"""One replay over the ledger, page by page: each record is proved, each docket folded, each case told and compared."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any
from uuid import UUID

from projections import live_rows
from projections.checkpoint import Unfilled
from projections.decoding import told as fault_of
from projections.dockets import Met, dockets
from projections.live_rows import Fresh, Look, differing, expected
from projections.replay import Question, Stood, Told, has_begun, stood, told
from projections.replay_kept import BREACHES, CASES, DIFFERENCES, FINDINGS, TAMPERED, Kept, Walked
from projections.rows import CaseRows, owing
from services.docket import Files, Policies
from services.event_log import EVERYWHERE, Connection, EventLog, Head, Record, Role, connect
from services.event_log.record import is_intact

TAMPERING = ("altered", "unreadable", "missing")
_PAGE = 2_000
# Dockets folded before others have a turn: some milliseconds.
_AT_ONCE = 25
_SLOW = "-c statement_timeout=600000 -c idle_in_transaction_session_timeout=60000"
_GAPS = """
SELECT begin + 1, next - 1 FROM (
    SELECT position AS begin, lead(position, 1, %b::int8 + 1) OVER (ORDER BY position) AS next
    FROM (SELECT 0::int8 AS position UNION ALL SELECT position FROM events WHERE position <= %b) AS each
) AS gaps WHERE next > begin + 1 ORDER BY begin LIMIT 1000
"""


class Replay:
    """One replay; `kept` holds what was put down, and goes on where it ended."""

    def __init__(
        self,
        url: str,
        log: EventLog,
        published: Policies,
        question: Question,
        head: Head,
        kept: Kept,
        reached: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._url, self._log, self._question, self._head, self._kept = url, log, question, head, kept
        self._reached = reached
        self._policies = question.judging(published)
        self._fresh = Fresh(log, published, question, head.position)
        self._unread: dict[int, tuple[Record, str]] = {}

    async def run(self) -> None:
        """To the end of the ledger as it was when the replay began."""
        begun = self._kept.walked
        until = self._head.position
        walk = dockets(self._url, self._log, until, _PAGE, begun.stream, self._cannot_be_read)
        async with await connect(self._url, _SLOW, role=Role.READER, regions=EVERYWHERE) as connection, aclosing(walk):
            async for met in walk:
                await self._page(connection, met)
                self._reached(self._kept.walked.records, until)
            await self._end(connection)

    def _cannot_be_read(self, record: Record, fault: Exception) -> None:
        self._unread[record.position] = (record, fault_of(fault))

    async def _page(self, connection: Connection, met: Met) -> None:
        walked = self._kept.walked
        known = self._prove(met.records)
        looking = asyncio.create_task(_look(connection, sorted(met.here)))
        try:
            stand = await self._fold(met)
        except BaseException:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            raise
        look = await looking
        found = await self._told(connection, met, stand, look)
        for case_id in sorted(found):
            self._put(*found[case_id])
        for record, fault in self._unread.values():
            if record.stream in {one.stream for one in met.records}:
                self._spoiled("unreadable", record, fault)
        self._unread.clear()
        self._kept.reached(
            Walked(
                met.stream,
                walked.records + len(met.records),
                max(walked.known, known),
                look.view.position if look else walked.seen,
            )
        )

    def _prove(self, records: Sequence[Record]) -> int:
        """Tell those whose hash is not that of their content; the last position that was known by K."""
        known = 0
        for record in records:
            if not is_intact(record):
                self._spoiled("altered", record, None)
            if record.recorded_at <= self._question.known_at and record.position > known:
                known = record.position
        return known

    def _spoiled(self, kind: str, record: Record, fault: str | None) -> None:
        place = {"position": record.position, "to": record.position, "case_id": record.stream, "region": record.region}
        known = record.recorded_at <= self._question.known_at
        self._kept.put(TAMPERED, {"kind": kind, **place, "fault": fault, "known": known})

    async def _fold(self, met: Met) -> list[tuple[Files, Stood]]:
        """The dockets that are asked for, as they stood."""
        found = []
        for number, files in enumerate(met.dockets, 1):
            if self._question.concerns(files):
                try:
                    found.append((files, stood(files, self._question, self._policies)))
                except Exception as fault:
                    self._cannot_be_folded(files, fault)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        return found

    def _cannot_be_folded(self, files: Files, fault: Exception) -> None:
        last = max((one for held in files.values() for one in held), key=lambda one: one.position)
        record = Record(
            last.position, last.stream, last.version, "", 0, last.actor, last.region, last.recorded_at, b"", b""
        )
        self._cannot_be_read(record, fault)

    async def _told(
        self, connection: Connection, met: Met, stand: Sequence[tuple[Files, Stood]], look: Look | None
    ) -> dict[UUID, tuple[Told | None, Mapping[str, Any] | None]]:
        found: dict[UUID, tuple[Told | None, Mapping[str, Any] | None]] = {}
        every = sorted({stream for files, _ in stand for stream in files})
        newer = await self._fresh.newer(connection, every, look.view.position) if look else frozenset()
        for number, (files, then) in enumerate(stand, 1):
            here = [case_id for case_id in files if case_id in met.here]
            try:
                said = {case_id: told(case_id, then, self._question, self._policies) for case_id in here}
                other = await self._differing(files, then, said, look, not newer.isdisjoint(files)) if look else {}
            except Exception as fault:
                self._cannot_be_folded(files, fault)
                continue
            found.update({case_id: (said[case_id], other.get(case_id)) for case_id in here})
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        return found

    async def _differing(
        self, files: Files, then: Stood, said: Mapping[UUID, Told | None], look: Look, has_newer: bool
    ) -> dict[UUID, dict[str, Any]]:
        """What the views say otherwise of the docket's cases that are asked for, by what was replayed or is due."""
        known, docket = await self._fresh.docket(files, then.folded.docket, look.view.position, has_newer)
        asked = {case_id for case_id, one in said.items() if one or self._asked_live(docket, known, case_id)}
        due = expected(docket, asked)
        same = docket is then.folded.docket
        replayed = due if same else expected(then.folded.docket, asked)
        found = {}
        for case_id in asked - look.parked:
            rows: CaseRows | None = replayed.get(case_id) if said[case_id] else None
            if wrong := differing(self._question, rows, due.get(case_id), known, case_id, look):
                found[case_id] = wrong
        return found

    def _asked_live(self, docket: Any, files: Files, case_id: UUID) -> bool:
        """Whether a case that was not asked for then would be by what the views know."""
        case = docket[case_id]
        if not has_begun(case, max(self._question.as_of, self._head.recorded_at)):
            return False
        return self._question.holds(case, list(owing(case)), files[case_id])

    def _put(self, one: Told | None, difference: Mapping[str, Any] | None) -> None:
        if one:
            self._kept.put(CASES, one.case)
            for breach in one.breaches:
                self._kept.put(BREACHES, breach)
            for finding in one.findings:
                self._kept.put(FINDINGS, finding)
        if difference:
            self._kept.put(DIFFERENCES, difference)

    async def _end(self, connection: Connection) -> None:
        """What is in the views alone, and positions at which nothing is."""
        until = self._head.position
        with contextlib.suppress(Unfilled):
            for one in await live_rows.strangers(connection, self._question):
                self._kept.put(DIFFERENCES, one)
        if self._kept.walked.records < until:
            gaps = await connection.execute(_GAPS, [until, until], binary=True)
            for begin, end in await gaps.fetchall():
                gone = {"kind": "missing", "position": begin, "to": end, "case_id": None, "region": None, "fault": None}
                self._kept.put(TAMPERED, {**gone, "known": begin <= self._kept.walked.known})


async def _look(connection: Connection, cases: Sequence[UUID]) -> Look | None:
    """What the views hold; None while they have never been whole."""
    try:
        return await live_rows.look(connection, cases)
    except Unfilled:
        return None
