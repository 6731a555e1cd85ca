"""``anjuan mining``: the ledger for process mining, without personal data. A run that is killed leaves no half file."""

from pathlib import Path
from time import monotonic
from typing import Annotated, Literal

import typer

from intake_api.command_line.database import running_database
from intake_api.command_line.explained import console, explained
from services.settings import Settings

app = typer.Typer()


@app.command()
def mining(
    file: Annotated[Path, typer.Argument(dir_okay=False, help=".xes, .json, .jsonocel, .xml or .xmlocel; .gz too.")],
    format: Annotated[Literal["xes", "ocel"] | None, typer.Option(help="Left out: by the file's ending.")] = None,
    region: Annotated[list[str] | None, typer.Option(help="A region's code; repeat for several.")] = None,
    begin: Annotated[str | None, typer.Option("--from", help="Cases opened from this instant on.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Cases opened before this instant.")] = None,
) -> None:
    """Write cases and actions for process mining, as XES or OCEL 2.0, personal data left out."""
    from intake_api.mining import NotMined, by_ending, mine, period

    with explained():
        try:
            chosen, asked = format or by_ending(file), period(begin, end, region or [])
            settings = Settings.from_environment()
            with running_database(settings) as url:
                begun = monotonic()
                told = mine(settings, url, file, chosen, asked)
        except NotMined as fault:
            console.print(f"[red]{fault}[/red]")
            raise typer.Exit(2) from None
    print(f"{told.events} events of {told.cases} cases in {monotonic() - begun:.1f} s: {file}")
