"""``anjuan serve``, ``migrate`` and ``stop-database``."""

import os
import signal
from typing import Annotated

import typer
import uvicorn

from intake_api.access import Tokens
from intake_api.command_line import auditing, keys
from intake_api.command_line.database import embedded, running_database
from intake_api.command_line.explained import explained
from intake_api.command_line.follower_child import following_beside
from intake_api.one_write import OneWrite, say_to_browsers
from services.migrations import migrate as migrate_database
from services.settings import RUNNING_DATABASE, Settings

app = typer.Typer()


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
        "intake_api.command_line.serving:create",
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


@app.command("stop-database")
def stop_database() -> None:
    """Stop an embedded server that a killed process left running."""
    with explained():
        server = embedded(Settings.from_environment())
        running = server.is_running()
        server.stop()
        print("Stopped." if running else "It was not running.")
