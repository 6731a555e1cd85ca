"""Tokens that count no longer although their time is not over: single ones, and all that a holder had by some instant.

The table is small, so that each process keeps it whole and looks often whether it grew.
"""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from services.event_log import EventLog

_TOKEN, _SUBJECT = "token", "subject"
_GREW = "SELECT count(*), max(number) FROM revocations"
_ALL = "SELECT kind, name, revoked_at FROM revocations WHERE expires_at IS NULL OR expires_at > %b"
_REVOKE = """
INSERT INTO revocations (kind, name, revoked_at, expires_at) VALUES (%b, %b, %b, %b)
ON CONFLICT (kind, name) DO UPDATE SET revoked_at = excluded.revoked_at, expires_at = excluded.expires_at,
    number = DEFAULT
"""


class Grant(NamedTuple):
    """What of a verified token can be revoked. Instants as seconds; `issued_at` None: it doesn't say."""

    token: str
    subject: str
    issued_at: float | None
    expires_at: float


class Revocations:
    """What this process knows of them."""

    def __init__(self, log: EventLog, clock: Callable[[], datetime], changed: Callable[[], None]) -> None:
        self._log, self._clock, self._changed = log, clock, changed
        self._seen: tuple[int, int | None] = (0, None)
        self._tokens: frozenset[str] = frozenset()
        self._subjects: dict[str, float] = {}

    def hit(self, grant: Grant) -> bool:
        """Whether it counts no longer. A subject's tokens of a later instant do."""
        until = self._subjects.get(grant.subject)
        return grant.token in self._tokens or (
            until is not None and (grant.issued_at is None or grant.issued_at <= until)
        )

    async def refresh(self) -> None:
        """Catch up with what anybody revoked; raises `Unavailable`."""
        count, last = (await self._log.read.rows(_GREW, []))[0]
        if (count, last) == self._seen:
            return
        rows = await self._log.read.rows(_ALL, [self._clock()])
        self._tokens = frozenset(name for kind, name, _ in rows if kind == _TOKEN)
        self._subjects = {name: at.timestamp() for kind, name, at in rows if kind == _SUBJECT}
        self._seen = (count, last)
        self._changed()

    async def revoke(self, token: str, expires_at: datetime | None) -> None:
        """One token, by its `Grant.token`."""
        await self._log.read.do(_REVOKE, [_TOKEN, token, self._clock(), expires_at])

    async def revoke_all_of(self, subject: str) -> None:
        """All that the subject has by now."""
        await self._log.read.do(_REVOKE, [_SUBJECT, subject, self._clock(), None])
