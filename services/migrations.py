"""Bring a database's tables up to date, or say how far behind they are.

Nearly every start finds nothing to do, and finds that out by itself: Alembic takes a fifth of a second to load.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.errors import UndefinedTable

from services.event_log.privileges import require

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection, Engine, MetaData

_SCRIPTS = Path(__file__).resolve().parent.parent / "alembic"
# Any number that nothing else locks: two starts at once must not both migrate.
_MIGRATION_LOCK = 0x616E6A75


def sqlalchemy_url(url: str) -> str:
    """The same database for SQLAlchemy, by the one driver that we use."""
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def newest() -> str:
    """The revision of this release; each file of a revision begins with it."""
    return max(file.stem.split("_")[0] for file in (_SCRIPTS / "versions").glob("[0-9]*.py"))


def migrate(url: str, revision: str = "head") -> None:
    """Upgrade to the newest tables, or to older ones; one process at a time, the others wait and find nothing to do."""
    if revision == "head" and is_current(url):
        return
    from alembic import command
    from sqlalchemy import text

    with _engine(url).connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _MIGRATION_LOCK})
        connection.commit()
        command.upgrade(_config(connection), revision)
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _MIGRATION_LOCK})
        connection.commit()


def is_current(url: str) -> bool:
    """Whether the database's tables are those that this release knows."""
    with psycopg.connect(url) as connection:
        try:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        except UndefinedTable:
            return False
    return found == [(newest(),)]


def require_roles(url: str) -> None:
    """Raises `RolesRefused` unless the login can act in every role of the service."""
    with psycopg.connect(url) as connection:
        require(_AsWritten(connection))


def differences(url: str, declared: "MetaData") -> list[object]:
    """What Alembic would change to make the database equal the declared tables; empty when they agree."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with _engine(url).connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection, opts={"include_schemas": True}), declared))


class _AsWritten:
    """The driver's own connection, as `privileges` asks one of Alembic's."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def exec_driver_sql(self, statement: str) -> Any:
        """Run a statement as it is written."""
        return self._connection.execute(statement.encode())


def _engine(url: str) -> "Engine":
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    return create_engine(sqlalchemy_url(url), poolclass=NullPool)


def _config(connection: "Connection") -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["connection"] = connection
    return config
