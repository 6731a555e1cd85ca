"""Bring a database's tables up to date, or say how far behind they are."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, create_engine, text
from sqlalchemy.pool import NullPool

from services.event_log.privileges import require

_SCRIPTS = Path(__file__).resolve().parent.parent / "alembic"
# Any number that nothing else locks: two starts at once must not both migrate.
_MIGRATION_LOCK = 0x616E6A75


def sqlalchemy_url(url: str) -> str:
    """The same database for SQLAlchemy, by the one driver that we use."""
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["connection"] = connection
    return config


def migrate(url: str, revision: str = "head") -> None:
    """Upgrade to the newest tables, or to older ones; one process at a time, the others wait and find nothing to do."""
    engine = create_engine(sqlalchemy_url(url), poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _MIGRATION_LOCK})
        connection.commit()
        command.upgrade(_config(connection), revision)
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _MIGRATION_LOCK})
        connection.commit()


def is_current(url: str) -> bool:
    """Whether the database's tables are those that this release knows."""
    engine = create_engine(sqlalchemy_url(url), poolclass=NullPool)
    with engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_heads()
    return set(found) == set(ScriptDirectory.from_config(_config()).get_heads())


def require_roles(url: str) -> None:
    """Raises `RolesRefused` unless the login can act in every role of the service."""
    engine = create_engine(sqlalchemy_url(url), poolclass=NullPool)
    with engine.connect() as connection:
        require(connection)


def differences(url: str, declared: MetaData) -> list[object]:
    """What Alembic would change to make the database equal the declared tables; empty when they agree."""
    from alembic.autogenerate import compare_metadata

    engine = create_engine(sqlalchemy_url(url), poolclass=NullPool)
    with engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection, opts={"include_schemas": True}), declared))
