"""Which database a command works on: the one that is configured, or the embedded server of the data folder."""

from collections.abc import Iterator
from contextlib import contextmanager

from services.embedded_postgres import EmbeddedPostgres
from services.migrations import is_current, migrate
from services.settings import Settings


class TablesBehind(Exception):
    """The configured database's tables are not those of this release."""


def embedded(settings: Settings) -> EmbeddedPostgres:
    """The embedded server of the data folder, running or not."""
    return EmbeddedPostgres(settings.data / "pg", settings.pg_bin)


@contextmanager
def running_database(settings: Settings) -> Iterator[str]:
    """The URL of a database with tables up to date.

    Embedded: started if it isn't running, migrated, and stopped again by whoever started it. On a given URL nothing
    is changed: `TablesBehind` if a migration is missing.
    """
    if settings.database_url:
        if not is_current(settings.database_url):
            raise TablesBehind
        yield settings.database_url
        return
    server = embedded(settings)
    started = server.start()
    try:
        server.create_database("anjuan")
        migrate(server.url())
        yield server.url()
    finally:
        if started:
            server.stop()
