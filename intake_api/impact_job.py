"""A draft of the policy tried on a large ledger, in a process of its own: judging must not hold up whoever waits."""

from datetime import datetime
from typing import Any

import msgspec

from grading_engine.soundness import examined
from intake_api.apart import Told, apart, main
from projections.case_view import encode
from projections.impact import Period, over_ledger, shown
from services.event_log import EventLog
from services.jobs import Progress
from services.policies import PolicyBook

# Ledgers up to so many events are judged where they are asked for, within a second.
SMALL = 5_000


class _Asked(msgspec.Struct):
    url: str
    document: dict[str, Any]
    begin: datetime | None
    end: datetime | None
    regions: list[str]
    now: datetime


async def impact(
    url: str, log: EventLog, document: dict[str, Any], period: Period, now: datetime, progress: Progress
) -> bytes:
    """The report on a sound document, made here or, of a larger ledger, in another process."""
    if (await log.read.head()).position <= SMALL:
        return await report(url, log, document, period, now, progress)
    asked = _Asked(url, document, period.begin, period.end, sorted(period.regions), now)
    return await apart("intake_api.impact_job", asked, progress)


async def report(
    url: str, log: EventLog, document: dict[str, Any], period: Period, now: datetime, progress: Progress
) -> bytes:
    """The report as it is answered."""
    draft, _ = examined(document)
    assert draft is not None
    book = PolicyBook(log)
    await book.refresh()
    return encode(shown(await over_ledger(url, log, book.policies, draft, period, now, progress.reached)))


async def _work(asked: _Asked) -> bytes:
    period = Period(asked.begin, asked.end, frozenset(asked.regions))
    async with EventLog(asked.url) as log:
        return await report(asked.url, log, asked.document, period, asked.now, Told())


if __name__ == "__main__":
    main(_Asked, _work)
