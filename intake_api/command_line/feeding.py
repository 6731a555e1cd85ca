"""``anjuan demo`` and ``import``: cases that nobody typed."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from intake_api.command_line.database import running_database
from intake_api.command_line.explained import console, explained
from services.settings import Settings

app = typer.Typer()


@app.command()
def demo() -> None:
    """Play one believable case into the ledger; each time it runs, as a new case."""
    from intake_api.command_line.demo import play

    with explained():
        settings = Settings.from_environment()
        with running_database(settings) as url:
            case_no = play(settings, url)
        base = f"http://{settings.host}:{settings.port}"
        print("TOKEN=$(anjuan token issue --role manager --region GD | tail -n 1)")
        print(f'curl -s -H "Authorization: Bearer $TOKEN" {base}/v1/cases/{case_no}')


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV, also compressed (.gz).")],
    format: Annotated[Literal["nyc311"], typer.Option(help="nyc311: service requests of New York's 311.")],
    create_directory: Annotated[bool, typer.Option(help="Describe the regions and projects not there yet.")] = False,
    report: Annotated[Path, typer.Option(help="Where each refused step goes, to correct and import again.")] = Path(
        "report.csv"
    ),
) -> None:
    """Import complaints through the same rules; running it again (for 90 days) stores nothing twice."""
    from intake_api.command_line.importing import NotImported, import_nyc311

    with explained():
        settings = Settings.from_environment()
        try:
            with running_database(settings) as url:
                import_nyc311(settings, url, file, report, create_directory)
        except NotImported as fault:
            console.print(f"[red]{fault}[/red]")
            raise typer.Exit(2) from None
