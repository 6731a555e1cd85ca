"""逾期通报. Telling, once a duty, that its time was over and it was not met: by an event in its region's own stream.

Which duties are late follows from the views, and which were told from the ledger, so nothing is lost however long
nobody was there to tell. A notice is stored only if the region's stream is at the version that the views know: of two
processes one loses, and so does one whose views lag. Whoever loses looks again.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

import structlog

from projections import tables
from projections.decoding import told
from projections.tables import LATE
from projections.views import Statement, Views, next_due
from projections.watch import Watch
from services.directory import Directory, notices_stream
from services.event_log import EventLog, Fact, Overloaded, Proposal, Unavailable, VersionConflict
from services.event_log.seeing import everywhere
from services.events import DutyMissed, encode

ACTOR = "system/group/anjuan"
# So many of a region are told at once.
BATCH = 100
# Seconds between two looks; there is one at each deadline, too.
_BEAT = 1.0
# Seconds in which others have a turn while there is more to tell.
_PAUSE = 0.05
# Seconds in which the views have to come to the ledger's end.
_PATIENCE = 10.0
# Who leads tells first; the others what it leaves untold for so long.
_GRACE = timedelta(seconds=3)

# A parked case may have been told otherwise since: whether its duties are late is not known.
_UNTOLD = f"""
SELECT d.region, coalesce(known.version, 0), d.duty_id, d.duty, d.cycle, d.case_id, d.complaint_id, d.due_at
FROM unnest(%(regions)s::text[]) AS asked (region)
CROSS JOIN LATERAL (
    SELECT * FROM {{view}}.duties AS late
    WHERE late.region = asked.region AND {LATE} AND NOT noticed AND due_at < %(now)s
        AND NOT EXISTS (SELECT FROM {{view}}.notices AS n WHERE n.notice_id = late.duty_id)
        AND NOT EXISTS (
            SELECT FROM parked_cases AS p WHERE p.generation = %(generation)s AND p.case_id = late.case_id
        )
    ORDER BY due_at, duty_id LIMIT {BATCH}
) AS d
LEFT JOIN LATERAL (
    SELECT version FROM {{view}}.notices AS n WHERE n.region = asked.region ORDER BY version DESC LIMIT 1
) AS known ON true
ORDER BY d.region, d.due_at, d.duty_id
"""


class Notices:
    """Tells what was missed, beside the follower. `leads`: whether this process moves the views."""

    def __init__(
        self,
        log: EventLog,
        views: Views,
        watch: Watch,
        directory: Directory,
        leads: Callable[[], bool],
        clock: Callable[[], datetime],
    ) -> None:
        self._log, self._views, self._watch, self._directory = log, views, watch, directory
        self._leads, self._clock = leads, clock

    async def run(self) -> None:
        """For ever. Whatever goes wrong is tried again."""
        while True:
            pause = _BEAT
            try:
                pause = await self.tell()
            except (Unavailable, Overloaded):
                pass
            except Exception as fault:
                structlog.get_logger().error("notices", fault=told(fault))
            await asyncio.sleep(pause)

    async def tell(self) -> float:
        """Tell what was missed by now and is not told yet, up to a batch a region; seconds until there may be more."""
        now = self._clock() - (timedelta(0) if self._leads() else _GRACE)
        # Each proof that was recorded by now counts.
        head = await self._log.read.head()
        if not await self._watch.reached(head.position, _PATIENCE):
            return _BEAT
        with everywhere():
            seen = await self._views.look(lambda view: self._asked(view, now))
        if seen.view.position < head.position:
            return _BEAT
        late, ((due_at,),) = seen.rows
        lost = False
        for region, rows in groupby(late, key=lambda row: row[0]):
            lost |= not await self._append(region, list(rows))
        if late and not lost:
            return _PAUSE
        return min(_BEAT, max(_PAUSE, (due_at - now).total_seconds())) if due_at and not lost else _BEAT

    def _asked(self, view: tables.View, now: datetime) -> Sequence[Statement]:
        schema = view.duties.schema
        generation = next(number for number, held in tables.VIEWS.items() if held is view)
        asked = {"regions": list(self._directory.regions), "now": now, "generation": generation}
        return [(_UNTOLD.format(view=schema), asked), next_due(view, None, now)]

    async def _append(self, region: str, rows: Sequence[tuple[Any, ...]]) -> bool:
        """Store them, unless somebody else told something in that region meanwhile."""
        stream, version = notices_stream(region), rows[0][1]
        try:
            await self._log.append(Proposal(ACTOR, {stream: version}, list(_facts(region, rows))))
        except VersionConflict:
            return False
        return True


def _facts(region: str, rows: Iterable[Sequence[Any]]) -> Iterable[Fact]:
    for _, _, duty_id, duty, cycle, case_id, complaint_id, due_at in rows:
        missed = DutyMissed(
            notice_id=duty_id, duty=duty, cycle=cycle, case_id=case_id, complaint_id=complaint_id, due_at=due_at
        )
        yield Fact(notices_stream(region), missed.name, missed.schema, region, encode(missed))
