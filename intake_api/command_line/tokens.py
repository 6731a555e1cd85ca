"""``anjuan token``: tokens of the service's own key."""

import sys
from typing import Annotated

import typer

from intake_api.access import Tokens
from intake_api.command_line.explained import console, explained
from services.caller import ROLES, UNITS
from services.settings import Settings

app = typer.Typer()
token = typer.Typer(no_args_is_help=True, help="Tokens of the service's own key.")
app.add_typer(token, name="token")


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
    from intake_api.command_line.database import running_database
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
