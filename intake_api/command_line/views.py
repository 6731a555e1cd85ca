"""The commands that operate the views: follow, rebuild, check-projections, parked."""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, TypeVar

import typer
import uvloop
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from intake_api.command_line.database import running_database
from intake_api.command_line.explained import console, explained
from services.event_log import Unavailable
from services.settings import Settings

_T = TypeVar("_T")
Cases = Annotated[list[str] | None, typer.Argument(metavar="CASE", help="A case's id or number; none: all.")]
NamedCases = Annotated[list[str], typer.Argument(metavar="CASE", help="A case's id or number.")]


app = typer.Typer()
parked = typer.Typer(no_args_is_help=True, help="Cases that the views set aside.")
app.add_typer(parked, name="parked")


@app.command()
def follow() -> None:
    """Keep the views up to date in this process, whenever no other does, until Ctrl-C. Serves no HTTP."""
    from intake_api.following import follow
    from intake_api.logs import configure_logs

    async def run(settings: Settings, url: str) -> None:
        configure_logs(settings.log_level)
        await follow(settings, url)

    with_database(run)


@app.command()
def rebuild(
    restart: Annotated[bool, typer.Option(help="Begin anew rather than go on with what was left.")] = False,
    cancel: Annotated[bool, typer.Option(help="Let the rebuild that runs stop; it keeps what it has.")] = False,
) -> None:
    """Build the views anew from the ledger while everybody goes on, then read those. Ctrl-C: run it again to go on."""
    from intake_api import operating
    from projections.building import Cancelled, RebuildRuns

    if cancel:
        cancelled = with_database(operating.cancel_rebuild)
        print("The rebuild stops." if cancelled else "No rebuild runs.")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task("records", total=None)

        async def run(settings: Settings, url: str) -> Any:
            return await operating.rebuild(
                settings, url, restart, lambda done, total: progress.update(task, completed=done, total=total)
            )

        try:
            view = with_database(run)
        except RebuildRuns:
            console.print("[red]Another rebuild runs.[/red] To stop it: anjuan rebuild --cancel")
            raise typer.Exit(1) from None
        except (Cancelled, asyncio.CancelledError, KeyboardInterrupt):
            console.print("Stopped. To go on: anjuan rebuild; to begin anew: anjuan rebuild --restart")
            raise typer.Exit(1) from None
    print(f"The views are rebuilt (generation {view.generation}, position {view.position}).")


@app.command("check-projections")
def check_projections(
    sample: Annotated[float, typer.Option(min=0.0001, max=1, help="Which share of the cases to look at.")] = 1.0,
) -> None:
    """Compare the views with a fresh fold while everybody goes on; exit 1 if they differ, naming each difference."""
    from intake_api.operating import check

    async def run(settings: Settings, url: str) -> tuple[int, int]:
        return await check(settings, url, sample, print)

    compared, found = with_database(run)
    if found:
        console.print(f"[red]{found} differences in {compared} rows.[/red] To mend the views: anjuan rebuild --restart")
        raise typer.Exit(1)
    print(f"{compared} rows: no difference.")


@parked.command("list")
def list_parked() -> None:
    """Print the cases that could not be applied: case, region, position, state and what went wrong."""
    from intake_api.operating import list_parked

    for one in with_database(list_parked):
        print(
            f"{one.case_id}\t{one.region}\t{one.position}\t{one.state}\t{one.parked_at:%Y-%m-%dT%H:%M:%SZ}\t{one.fault}"
        )


@parked.command("retry")
def retry_parked(cases: Cases = None) -> None:
    """Apply them again, as after an update that mends the fault; exit 1 if one is still parked."""
    from intake_api.operating import retry_parked

    async def run(settings: Settings, url: str) -> dict[Any, str]:
        return await retry_parked(settings, url, cases)

    outcomes = with_database(run)
    for case_id, outcome in outcomes.items():
        print(f"{case_id}\t{outcome}")
    print(f"{len(outcomes)} tried.")
    if any(outcome != "applied" for outcome in outcomes.values()):
        raise typer.Exit(1)


@parked.command("drop")
def drop_parked(cases: NamedCases) -> None:
    """Give them up: the service counts as well again, and they show what they showed before the fault."""
    from intake_api.operating import drop_parked

    async def run(settings: Settings, url: str) -> list[Any]:
        return await drop_parked(settings, url, cases)

    for case_id in with_database(run):
        print(f"{case_id}\tdropped")


def with_database(work: Callable[[Settings, str], Coroutine[Any, Any, _T]]) -> _T:
    """Run it until it is done, or until Ctrl-C or a service manager's stop."""
    from projections.parked import NoSuchParkedCase

    with explained():
        settings = Settings.from_environment()
        with running_database(settings) as url:
            # Much lives for the length of a batch: looking for garbage in it more often costs a third of the time.
            gc.set_threshold(100_000, 50, 100)
            try:
                return uvloop.run(_until_stopped(work(settings, url)))
            except Unavailable:
                console.print("[red]The database does not answer.[/red]")
                raise typer.Exit(2) from None
            except NoSuchParkedCase as fault:
                console.print(f"[red]{fault} is not parked[/red]")
                raise typer.Exit(2) from None


async def _until_stopped(work: Awaitable[_T]) -> _T:
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    return await task
