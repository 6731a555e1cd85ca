"""``anjuan token revoke``: into the table that every process looks at."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from intake_api.access import Unauthenticated, claims_in, grant_of
from services.event_log import EventLog
from services.revocations import Revocations
from services.settings import Settings


class NoToken(Exception):
    """It does not read as a token at all."""


def revoke_token(settings: Settings, url: str, token: str) -> str:
    """Revoke one token, whoever signed it, and say whose it is; raises `NoToken`.

    Its signature is not looked at: a token that is revoked need not be one that would count.
    """
    try:
        grant = grant_of(claims_in(token.strip().removeprefix("Bearer ")) or {})
    except Unauthenticated:
        raise NoToken from None
    _with(settings, url, lambda revocations: revocations.revoke(grant.token, _over(grant.expires_at)))
    return str(grant.subject)


def _over(expires_at: float) -> datetime | None:
    """When it surely counts no longer by itself: a while later than it says, for clocks differ. None: never."""
    try:
        return datetime.fromtimestamp(expires_at, UTC) + timedelta(hours=1)
    except (ValueError, OverflowError, OSError):
        return None


def revoke_subject(settings: Settings, url: str, subject: str) -> None:
    """Revoke what a subject has by now."""
    _with(settings, url, lambda revocations: revocations.revoke_all_of(subject))


def _with(settings: Settings, url: str, work: Callable[[Revocations], Awaitable[None]]) -> None:
    async def go() -> None:
        async with EventLog(url, settings.queue) as log:
            await work(Revocations(log, lambda: datetime.now(UTC), lambda: None))

    asyncio.run(go())
