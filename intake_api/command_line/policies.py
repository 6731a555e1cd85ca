"""``anjuan policy``: documents from files, judged, published, and tried on the cases that are there."""

import asyncio
import csv
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any

import yaml
from pydantic_core import PydanticCustomError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from grading_engine.policy import Policy, read
from grading_engine.soundness import DocumentFault, examined
from intake_api.services import Services
from projections.impact import Difference, Impact, Period, over_ledger
from services.caller import Caller
from services.event_log import Unavailable
from services.instants import parse_instant
from services.rules import Malformed
from services.settings import Settings

_ADMIN = Caller("command-line", "admin", "group", frozenset({"*"}), float("inf"))


class NotPublished(Exception):
    """What a person can mend about the document or the question."""


def faults_in(file: Path) -> list[DocumentFault]:
    """Every fault of a document in a file; none: it is sound."""
    return examined(_document(file))[1]


def publish(settings: Settings, url: str, file: Path) -> str:
    """Publish the document; what came of it in a line."""
    document = _document(file)

    async def work() -> str:
        services = Services(settings, url)
        async with services.log:
            published, new = await services.policies.publish(document, _ADMIN, services.now(), None, lambda _: b"")
        begins = published.policy.effective_from.isoformat()
        said = "published" if new else "was published before"
        return f"{published.policy.number} {published.policy.version} {said}; it judges cases opened from {begins} on."

    try:
        return asyncio.run(work())
    except Malformed as refused:
        raise NotPublished("\n".join(f"{one.pointer or '/'}: {one.code}" for one in refused.faults)) from None
    except Unavailable:
        raise NotPublished("The database does not answer. Try again.") from None


def print_impact(
    settings: Settings, url: str, file: Path, begin: str | None, end: str | None, regions: list[str], report: Path
) -> Impact:
    """Judge the cases of a period by the draft too, print the totals, write each that would differ."""
    draft, faults = examined(_document(file))
    if draft is None:
        raise NotPublished("\n".join(f"{one.pointer or '/'}: {one.code}" for one in faults))
    period = Period(_instant(begin), _instant(end), frozenset(regions))
    began = monotonic()
    try:
        found = asyncio.run(_impact(settings, url, draft, period))
    except Unavailable:
        raise NotPublished("The database does not answer. Try again.") from None
    with report.open("w", newline="", encoding="utf-8-sig") as out:
        writer = csv.writer(out)
        writer.writerow(Difference._fields)
        writer.writerows([_cell(value) for value in difference] for difference in found.differences)
    _print(found, report, monotonic() - began)
    return found


async def _impact(settings: Settings, url: str, draft: Policy, period: Period) -> Impact:
    services = Services(settings, url)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        async with services.log:
            await services.policies.refresh()
            judging = progress.add_task("judging", total=None)

            def told(done: int, total: int) -> None:
                progress.update(judging, completed=done, total=total)

            policies = services.policies.policies
            return await over_ledger(url, services.log, policies, draft, period, services.now(), told)


def _print(found: Impact, report: Path, seconds: float) -> None:
    table = Table("region", "grade", "before", "after")
    for region, code in sorted({*found.before, *found.after}):
        table.add_row(region, code, str(found.before[region, code]), str(found.after[region, code]))
    Console(width=100, soft_wrap=True).print(table)
    print(f"{found.cases} cases in {seconds:.1f} s; {len(found.differences)} would differ: {report}")


def _document(file: Path) -> Any:
    try:
        return read(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as failure:
        raise NotPublished(f"{file} cannot be read: {type(failure).__name__}") from None


def _instant(text: str | None) -> datetime | None:
    try:
        return parse_instant(text) if text else None
    except PydanticCustomError as fault:
        raise NotPublished(f"{text}: {fault.message()}") from None


def _cell(value: object) -> str:
    return " | ".join(value) if isinstance(value, tuple) else str(value)
