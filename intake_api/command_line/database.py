"""Which database a command works on: the one that is configured, or the embedded server of the data folder."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep

import psycopg

from intake_api.command_line.explained import TablesBehind
from intake_api.keyring import forgotten_first
from services.embedded_postgres import EmbeddedPostgres
from services.migrations import is_current, migrate, require_roles
from services.settings import Settings

_OTHERS = """
SELECT 1 FROM pg_stat_activity
WHERE backend_type = 'client backend' AND datname = current_database() AND pid <> pg_backend_pid()
"""
# Seconds for sessions that were closed to be gone.
_LEAVING = 2.0


def embedded(settings: Settings) -> EmbeddedPostgres:
    """The embedded server of the data folder, running or not."""
    return EmbeddedPostgres(settings.data / "pg", settings.pg_bin)


@contextmanager
def running_database(settings: Settings, owned: bool = False) -> Iterator[str]:
    """The URL of a database with tables up to date.

    Embedded: started if it isn't running, migrated, and stopped again by whoever started it, or adopted it as its own
    (`owned`), unless somebody else is connected. On a given URL nothing is changed: `TablesBehind` if a migration is
    missing, `RolesRefused` if its login may not act as the service has to.
    """
    if settings.database_url:
        if not is_current(settings.database_url):
            raise TablesBehind
        require_roles(settings.database_url)
        asyncio.run(forgotten_first(settings, settings.database_url))
        yield settings.database_url
        return
    server = embedded(settings)
    started = server.start()
    try:
        server.create_database("anjuan")
        migrate(server.url())
        asyncio.run(forgotten_first(settings, server.url()))
        yield server.url()
    finally:
        if (started or owned) and not others_are_connected(server.url()):
            server.stop()


def others_are_connected(url: str) -> bool:
    """Whether somebody stays: what this process has just closed takes a moment to be gone on a busy machine."""
    deadline = monotonic() + _LEAVING
    try:
        with psycopg.connect(url, connect_timeout=2, autocommit=True) as connection:
            while connection.execute(_OTHERS).fetchone():
                if monotonic() > deadline:
                    return True
                sleep(0.05)
    except psycopg.Error:
        pass
    return False
