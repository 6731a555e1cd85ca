"""How the views stand: how far behind the ledger, who moves them, what is parked, what is being built."""

from datetime import datetime
from typing import NamedTuple

from projections import building, follower
from services.event_log import Reader

_HELD = """(
    SELECT EXISTS (
        SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = 0 AND objid = %b AND objsubid = 1 AND granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    )
)"""
_STANDING = f"""
SELECT p.live, c.position, h.position, next.recorded_at, p.leader, p.leading_at, {_HELD}, {_HELD},
    o.state, o.done, o.position, o.until,
    (SELECT count(*) FROM parked_cases AS k WHERE k.generation = p.live AND k.state <> 'dropped')
FROM projections AS p
JOIN projection_checkpoints AS c ON c.name = p.name AND c.generation = p.live
JOIN projection_checkpoints AS o ON o.name = p.name AND o.generation <> p.live
CROSS JOIN ledger_head AS h
LEFT JOIN events AS next ON next.position = c.position + 1
WHERE p.name = 'cases'
"""


class Standing(NamedTuple):
    """`waiting_since`: when the first action was recorded that is not applied; None: all are.

    `leader` is the process that led last; `leads` whether some process does now. `state` to `until` are of the
    generation that is not read.
    """

    generation: int
    position: int
    head: int
    waiting_since: datetime | None
    leader: str | None
    leading_at: datetime | None
    leads: bool
    rebuilds: bool
    state: str
    done: int
    built: int
    until: int
    parked: int

    @property
    def lag(self) -> int:
        """How many actions are not applied."""
        return max(0, self.head - self.position)

    def seconds_behind(self, now: datetime) -> float:
        """For how long the first action that is not applied has been waiting; 0: none is."""
        if self.waiting_since is None:
            return 0.0
        return max(0.0, (now - self.waiting_since).total_seconds())

    @property
    def percent(self) -> int | None:
        """How far the other generation is built; None: it is not."""
        if self.state not in ("building", "cancelled"):
            return None
        return min(99, self.done * 100 // max(1, self.until))


async def standing(read: Reader) -> Standing:
    """How the views stand now."""
    return Standing(*(await read.rows(_STANDING, [follower.LOCK, building.LOCK]))[0])
