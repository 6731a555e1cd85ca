"""A draft of the policy tried on a large ledger, in a process of its own: judging must not hold up whoever waits here.

What is asked goes in as one JSON document; out come lines with how many percent are done, and at last the report.
"""

import asyncio
import gc
import os
import sys
from datetime import datetime
from typing import Any

import msgspec

from grading_engine.soundness import examined
from projections.case_view import encode
from projections.impact import Period, over_ledger, shown
from services.event_log import EventLog
from services.jobs import Progress
from services.policies import PolicyBook

# Ledgers up to so many events are judged where they are asked for, within a second.
SMALL = 5_000
_LONGEST_LINE = 1 << 30


class JobFailed(Exception):
    """The process ended before its report."""


async def impact(
    url: str, log: EventLog, document: dict[str, Any], period: Period, now: datetime, progress: Progress
) -> bytes:
    """The report on a sound document, made here or, of a larger ledger, in another process."""
    if (await log.read.head()).position <= SMALL:
        return await report(url, log, document, period, now, progress)
    asked = {
        "url": url,
        "document": document,
        "begin": period.begin,
        "end": period.end,
        "regions": sorted(period.regions),
        "now": now,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "intake_api.impact_job"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=_LONGEST_LINE,
        env=dict(os.environ),
    )
    assert process.stdin and process.stdout
    try:
        process.stdin.write(msgspec.json.encode(asked))
        process.stdin.close()
        while line := await process.stdout.readline():
            if line.startswith(b"{"):
                return line.rstrip()
            progress.percent = int(line)
        raise JobFailed
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def report(
    url: str, log: EventLog, document: dict[str, Any], period: Period, now: datetime, progress: Progress
) -> bytes:
    """The report as it is answered."""
    draft, _ = examined(document)
    assert draft is not None
    book = PolicyBook(log)
    await book.refresh()
    return encode(shown(await over_ledger(url, log, book.policies, draft, period, now, progress.reached)))


class _Asked(msgspec.Struct):
    url: str
    document: dict[str, Any]
    begin: datetime | None
    end: datetime | None
    regions: list[str]
    now: datetime


class _Told(Progress):
    """Says each percent on a line of its own."""

    def reached(self, done: int, total: int) -> None:
        before = self.percent
        super().reached(done, total)
        if self.percent != before:
            print(self.percent, flush=True)


async def _work(asked: _Asked) -> None:
    period = Period(asked.begin, asked.end, frozenset(asked.regions))
    async with EventLog(asked.url) as log:
        found = await report(asked.url, log, asked.document, period, asked.now, _Told())
    sys.stdout.buffer.write(found + b"\n")


if __name__ == "__main__":
    # What is folded is let go at once; looking for cycles in it took a tenth of the time (measured).
    gc.set_threshold(100_000, 50, 100)
    asyncio.run(_work(msgspec.json.decode(sys.stdin.buffer.read(), type=_Asked)))
