"""The commands. Each says in one line what it did, or what is wrong and what to do."""

import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
import uvicorn
from rich.console import Console
from rich.table import Table

from intake_api.access import Tokens
from intake_api.command_line import auditing, keys, mining, replay, views
from intake_api.command_line.database import embedded, running_database
from intake_api.command_line.explained import console, explained
from intake_api.command_line.follower_child import following_beside
from intake_api.one_write import OneWrite, say_to_browsers
from services.caller import ROLES, UNITS
from services.migrations import migrate as migrate_database
from services.settings import RUNNING_DATABASE, Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, help="案卷 anjuan: a complaint ledger.")
token = typer.Typer(no_args_is_help=True, help="Tokens of the service's own key.")
app.add_typer(token, name="token")
policy = typer.Typer(no_args_is_help=True, help="Versions of the regulation.")
app.add_typer(policy, name="policy")
parked = typer.Typer(no_args_is_help=True, help="Cases that the views set aside.")
app.add_typer(parked, name="parked")
views.register(app, parked)
auditing.register(app)
mining.register(app)
app.command()(replay.replay)
app.command()(keys.erase)
app.add_typer(keys.keys, name="keys")


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    demo: Annotated[bool, typer.Option(help="Make a demo directory and print a token to try it with.")] = False,
) -> None:
    """Start the service; with no database configured, on its embedded PostgreSQL."""
    with explained():
        settings = Settings.from_environment()
        host, port = host or settings.host, port or settings.port
        # Made before any worker starts, so that all of them find one key.
        for key in ("ANJUAN_TOKEN_KEY", "ANJUAN_MASTER_KEY", "ANJUAN_PHONE_KEY", "ANJUAN_HEAD_KEY"):
            settings.key(key)
        # Ctrl-C and a service manager's stop both end in the same orderly way down, the embedded server last.
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            with running_database(settings, owned=True) as url:
                auditing.refuse_a_fork(settings, url)
                keys.refuse_another_phone_key(settings, url)
                os.environ[RUNNING_DATABASE] = url
                if demo:
                    _greet(settings, host, port, url)
                with following_beside(settings):
                    _serve(host, port, workers)
        except KeyboardInterrupt:
            pass


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _serve(host: str, port: int, workers: int) -> None:
    uvicorn.run(
        "intake_api.command_line.main:create",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http=OneWrite,
        # Nothing here is a web socket.
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        # Nothing here asks where a request came from.
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=10,
    )


def create() -> object:
    """One worker's application."""
    from intake_api.app import create_app

    settings = Settings.from_environment()
    say_to_browsers(settings.hsts)
    return create_app(settings, os.environ[RUNNING_DATABASE])


def _greet(settings: Settings, host: str, port: int, url: str) -> None:
    """The first three lines that a newcomer reads."""
    from intake_api.command_line.demo import make_directory

    make_directory(settings, url)
    made = Tokens(settings.key("ANJUAN_TOKEN_KEY")).issue("manager", ["*"], "region", "demo", 30)
    base = f"http://{host}:{port}"
    print(f"anjuan is at {base} (API: {base}/openapi.json, ready: {base}/readyz); stop it with Ctrl-C")
    print(f"export TOKEN={made}")
    print(f'try: curl -s -H "Authorization: Bearer $TOKEN" {base}/v1/projects', flush=True)


@app.command()
def migrate() -> None:
    """Bring the tables of the configured (or the embedded) database up to date."""
    with explained():
        settings = Settings.from_environment()
        if settings.database_url:
            migrate_database(settings.database_url)
        else:
            with running_database(settings):
                pass
        print("The tables are up to date.")


@app.command()
def settings() -> None:
    """List every setting, its value (secrets only as given or not) and its meaning."""
    with explained():
        table = Table("setting", "value", "meaning")
        for setting, value in Settings.from_environment().shown():
            table.add_row(setting.name, value, setting.meaning)
        Console().print(table)


@token.command("issue")
def issue(
    role: Annotated[str, typer.Option(help=", ".join(ROLES))],
    region: Annotated[list[str] | None, typer.Option(help="A region's code; repeat for several; * for all.")] = None,
    unit: Annotated[str, typer.Option(help=", ".join(UNITS))] = "region",
    subject: Annotated[str | None, typer.Option(help="Who it is for; left out: one of its own.")] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="Days until it expires.")] = 30,
) -> None:
    """Print a signed token on the last line."""
    with explained():
        if role not in ROLES or unit not in UNITS:
            console.print(f"[red]role is one of {', '.join(ROLES)}; unit one of {', '.join(UNITS)}[/red]")
            raise typer.Exit(2)
        if not region and role in ("agent", "manager", "dashboard"):
            console.print(f"[red]{role} needs a region: --region GD, or --region '*' for all[/red]")
            raise typer.Exit(2)
        if subject is not None and not 0 < len(subject) <= 255:
            console.print("[red]a subject has 1 to 255 characters[/red]")
            raise typer.Exit(2)
        tokens = Tokens(Settings.from_environment().key("ANJUAN_TOKEN_KEY"))
        print(tokens.issue(role, region or ["*"], unit, subject, days))


@token.command("revoke")
def revoke(
    said: Annotated[
        str | None, typer.Argument(metavar="TOKEN", help="The token itself; - reads it from input.")
    ] = None,
    subject: Annotated[str | None, typer.Option(help="Instead: whoever's tokens of until now, all of them.")] = None,
) -> None:
    """Make a token, or all that a subject has by now, count no longer: within a second, in every process."""
    from intake_api.command_line.revoking import NoToken, revoke_subject, revoke_token

    with explained():
        if (said is None) == (subject is None):
            console.print("[red]give either a token or --subject[/red]")
            raise typer.Exit(2)
        settings = Settings.from_environment()
        with running_database(settings) as url:
            if subject is not None:
                revoke_subject(settings, url, subject)
                print(f"The tokens that {subject} has had until now count no longer; new ones do.")
                return
            try:
                whose = revoke_token(settings, url, sys.stdin.read() if said == "-" else str(said))
            except NoToken:
                console.print("[red]that is no token[/red]")
                raise typer.Exit(2) from None
        print(f"That token of {whose} counts no longer.")


@policy.command("check")
def check_policy(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The document, YAML or JSON.")],
) -> None:
    """Say whether a policy document is sound, and if not, every fault and where (exit 1)."""
    from intake_api.command_line.policies import faults_in

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
    from intake_api.command_line.policies import NotPublished, publish

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
    from intake_api.command_line.policies import NotPublished, print_impact

    with explained():
        settings = Settings.from_environment()
        try:
            with running_database(settings) as url:
                print_impact(settings, url, file, begin, end, region or [], report)
        except NotPublished as refused:
            console.print(f"[red]{refused}[/red]")
            raise typer.Exit(1) from None


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


@app.command("stop-database")
def stop_database() -> None:
    """Stop an embedded server that a killed process left running."""
    with explained():
        server = embedded(Settings.from_environment())
        running = server.is_running()
        server.stop()
        print("Stopped." if running else "It was not running.")


def main() -> None:
    """Entry of ``python -m intake_api``."""
    app()


if __name__ == "__main__":
    sys.exit(app())
