"""Faults that a person can mend, told in one line."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import typer
from rich.console import Console

from services.embedded_postgres import EmbeddedPostgresError
from services.event_log import Unavailable
from services.event_log.privileges import RolesRefused
from services.settings import BadSetting

console = Console(stderr=True)


class TablesBehind(Exception):
    """The configured database's tables are not those of this release."""


@contextmanager
def explained() -> Iterator[None]:
    """Faults that a person can mend, as one line and exit code 2."""
    try:
        yield
    except (BadSetting, EmbeddedPostgresError, RolesRefused) as fault:
        console.print(f"[red]{fault}[/red]")
        raise typer.Exit(2) from None
    except (psycopg.OperationalError, Unavailable):
        console.print("[red]The database does not answer.[/red] See ANJUAN_DATABASE_URL")
        raise typer.Exit(2) from None
    except psycopg.ProgrammingError:
        # Without its text, which may quote the URL and so a password.
        console.print("[red]ANJUAN_DATABASE_URL is not the URL of a PostgreSQL database[/red]")
        raise typer.Exit(2) from None
    except TablesBehind:
        console.print("[red]The database's tables are behind this release.[/red] Run: anjuan migrate")
        raise typer.Exit(2) from None
