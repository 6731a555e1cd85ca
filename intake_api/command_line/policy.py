"""``anjuan policy``: versions of the regulation."""

from pathlib import Path
from typing import Annotated

import typer

from intake_api.command_line.database import running_database
from intake_api.command_line.explained import console, explained
from intake_api.command_line.policies import NotPublished, faults_in, print_impact, publish
from services.settings import Settings

app = typer.Typer()
policy = typer.Typer(no_args_is_help=True, help="Versions of the regulation.")
app.add_typer(policy, name="policy")


@policy.command("check")
def check_policy(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The document, YAML or JSON.")],
) -> None:
    """Say whether a policy document is sound, and if not, every fault and where (exit 1)."""
    with explained():
        if faults := faults_in(file):
            for fault in faults:
                print(f"{fault.pointer or '/'}: {fault.code}{f' ({fault.given})' if fault.given else ''}")
            raise typer.Exit(1)
        print("The document is sound.")


@policy.command("publish")
def publish_policy(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The document, YAML or JSON.")],
) -> None:
    """Publish a policy document: it judges the cases opened from its effective_from on."""
    with explained():
        settings = Settings.from_environment()
        try:
            with running_database(settings) as url:
                print(publish(settings, url, file))
        except NotPublished as refused:
            console.print(f"[red]{refused}[/red]")
            raise typer.Exit(1) from None


@policy.command("impact")
def impact_of_policy(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The draft, YAML or JSON.")],
    begin: Annotated[str | None, typer.Option("--from", help="Cases opened from this instant on.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Cases opened before this instant.")] = None,
    region: Annotated[list[str] | None, typer.Option(help="A region's code; repeat for several.")] = None,
    report: Annotated[Path, typer.Option(help="Where each case that would differ goes.")] = Path("impact.csv"),
) -> None:
    """What a draft would change about the cases of a period; writes nothing to the ledger."""
    with explained():
        settings = Settings.from_environment()
        try:
            with running_database(settings) as url:
                print_impact(settings, url, file, begin, end, region or [], report)
        except NotPublished as refused:
            console.print(f"[red]{refused}[/red]")
            raise typer.Exit(1) from None
