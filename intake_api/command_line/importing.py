"""``anjuan import``: foreign complaints through the same rules. Every row ends in the ledger or in the report."""

import asyncio
from collections import Counter
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from intake_api.nyc311 import feeding
from intake_api.nyc311.mapping import STEPS
from intake_api.nyc311.plan import Plan, plan
from intake_api.nyc311.sheet import Refused, Unreadable, read, write_report
from intake_api.services import Services
from services.event_log import Overloaded, Unavailable
from services.settings import Settings


class NotImported(Exception):
    """What a person can mend; nothing that was stored is stored again by the next try."""


class Imported(NamedTuple):
    """What became of a file."""

    plan: Plan
    feeder: feeding.Feeder
    refused: list[Refused]
    described: int
    largest: feeding.Largest | None
    seconds: float


def import_nyc311(settings: Settings, url: str, file: Path, report: Path, create_directory: bool) -> Imported:
    """Feed a file, write the report, print the summary; raises `NotImported`."""
    try:
        sheet = read(file)
        # A path that cannot be written is known before anything is stored.
        with report.open("a"):
            pass
        imported = asyncio.run(_feed(settings, url, plan(sheet.rows), create_directory))
    except Unreadable as fault:
        raise NotImported(str(fault)) from None
    except OSError as failure:
        raise NotImported(f"{report} cannot be written: {failure.strerror}") from None
    except (Unavailable, Overloaded):
        raise NotImported("The database does not answer. Run it again: what is stored is not stored twice.") from None
    write_report(report, sheet.header, imported.refused)
    _print(imported, report)
    return imported


async def _feed(settings: Settings, url: str, planned: Plan, create_directory: bool) -> Imported:
    services = Services(settings, url)
    begun = monotonic()
    described = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        async with services.log:
            if create_directory:
                making = progress.add_task("directory", total=len(planned.buildings))
                described = await feeding.describe(services, planned.buildings, lambda: progress.advance(making))
                progress.update(making, completed=len(planned.buildings))
            await services.directory.refresh()
            sending = progress.add_task("complaints", total=sum(map(len, planned.cases.values())))
            feeder = feeding.Feeder(services, lambda: progress.advance(sending))
            await feeder.feed(planned.cases)
            largest = await feeder.largest()
    refused = sorted(planned.refused + feeder.refused, key=lambda one: (one.row.line, STEPS.index(one.step)))
    return Imported(planned, feeder, refused, described, largest, monotonic() - begun)


def _print(imported: Imported, report: Path) -> None:
    planned, feeder = imported.plan, imported.feeder
    table = Table(show_header=False)
    table.add_column("what")
    table.add_column("figure", justify="right")
    table.add_row("rows read", str(planned.read))
    table.add_row("not housing", str(planned.read - planned.housing - planned.repeated))
    table.add_row("repeated lines", str(planned.repeated))
    table.add_row("housing rows", str(planned.housing))
    table.add_row("regions and projects described", str(imported.described), end_section=True)
    table.add_row("cases opened", str(feeder.opened))
    table.add_row("complaints received", str(feeder.stored["received"]))
    table.add_row("actions stored", str(feeder.stored.total()))
    table.add_row("replayed (stored before)", str(feeder.replayed), end_section=True)
    for (step, rule, clause), count in sorted(_counted(imported.refused).items()):
        table.add_row(f"refused: {step}: {rule}{f' ({clause})' if clause else ''}", str(count))
    table.add_row("not tried: the row's complaint was refused", str(planned.waiting + feeder.waiting), end_section=True)
    if imported.largest:
        table.add_row(f"largest case: {imported.largest.case_no}", f"{imported.largest.complaints} complaints")
    table.add_row("seconds", f"{imported.seconds:.1f}")
    # As wide as it needs to be: whoever pipes this somewhere wants whole words.
    Console(width=100, soft_wrap=True).print(table)
    print(f"{len(imported.refused)} refused steps are in {report}: correct them there and import that file.")


def _counted(refused: list[Refused]) -> Counter[tuple[str, str, str | None]]:
    return Counter((one.step, one.rule, one.clause) for one in refused)
