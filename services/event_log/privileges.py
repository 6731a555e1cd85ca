"""Who may do what in the database: three roles beside the owner, what each may do with which table, and which rows.

One place for all tables, the views' included. A migration that makes a table ends with `grant`, which brings a database
to what is said here and may be repeated.

The owner, who migrates, is nobody's role while the service runs: every connection takes one of the three as it is made
(`connections.connect`). So nobody but the owner changes or deletes an event, whatever a statement says.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

# The regions that whoever asks may see, separated by commas; `*`: all. Not set: none.
SETTING = "anjuan.regions"
EVERYWHERE = "*"


class Role(StrEnum):
    """What a connection may do. Names are the cluster's, so all its databases share them."""

    # Appends, and keeps what lies beside the ledger: numbers, keys, jobs, signed heads.
    APPENDER = "anjuan_appender"
    # Reads, and nothing else; rows of the regions that it was told.
    READER = "anjuan_reader"
    # Keeps the views, which are its own, and reads the ledger for that.
    FOLLOWER = "anjuan_follower"


# Of a connection that reads everything there is, as libpq takes it.
READING_ALL = f"-c role={Role.READER} -c {SETTING}={EVERYWHERE}"
# Evaluated once a statement, since it is a subselect: a setting looked up for each row would cost more than the row.
_SEEN = f"(SELECT string_to_array(current_setting('{SETTING}', true), ','))::text[]"
_ALL_SEEN = f"(SELECT current_setting('{SETTING}', true) = '{EVERYWHERE}')"
BY_REGION = f"{_ALL_SEEN} OR region = ANY({_SEEN})"
# Names of regions and projects are everybody's; without them no row can be shown.
OF_THE_LEDGER = f"{BY_REGION} OR name IN ('region_described', 'project_described')"


class Rule(NamedTuple):
    """What each role may do with a table. `rows`: which of them the reader sees; empty: all, or only by way of others.

    The follower owns the views and may do anything with them.
    """

    appender: str
    reader: str
    follower: str
    rows: str = ""


_ADDS, _KEEPS = "SELECT, INSERT", "SELECT, INSERT, UPDATE"
# Reached only through a case that is seen: it has no region of its own, and its texts are sealed.
_OF_A_CASE = Rule("", "SELECT", "ALL")
_OF_A_REGION = Rule("", "SELECT", "ALL", BY_REGION)

RULES: dict[str, Rule] = {
    "events": Rule(_ADDS, "SELECT", "SELECT", OF_THE_LEDGER),
    "ledger_head": Rule("SELECT, UPDATE", "SELECT", "SELECT"),
    "tree_nodes": Rule(_KEEPS, "SELECT", ""),
    "tree_heads": Rule(_ADDS, "SELECT", ""),
    "idempotency_keys": Rule("SELECT, INSERT, DELETE", "SELECT", ""),
    "external_references": Rule(_ADDS, "SELECT", "", BY_REGION),
    "case_numbers": Rule(_KEEPS, "", ""),
    "case_ids": Rule(_KEEPS, "SELECT", ""),
    # Destroyed for whoever is forgotten, wrapped anew under another master key.
    "data_keys": Rule("SELECT, INSERT, UPDATE, DELETE", "SELECT", "SELECT"),
    "erased_keys": Rule(_ADDS, "SELECT", "SELECT"),
    "head_keys": Rule(_ADDS, "SELECT", ""),
    "phone_keys": Rule("SELECT, INSERT, DELETE", "SELECT", ""),
    "revocations": Rule(_KEEPS, "SELECT", ""),
    "access_log": Rule("SELECT, INSERT, DELETE", "SELECT", ""),
    "jobs": Rule("SELECT, INSERT, UPDATE, DELETE", "SELECT", ""),
    "tracking": Rule(_KEEPS, "SELECT", ""),
    "projections": Rule("", "SELECT", "SELECT, UPDATE"),
    "projection_checkpoints": Rule("", "SELECT", "SELECT, UPDATE"),
    "parked_cases": Rule("", "SELECT", "SELECT, INSERT, UPDATE, DELETE", BY_REGION),
}
VIEW_RULES: dict[str, Rule] = {
    "cases": _OF_A_REGION,
    "found_by": _OF_A_CASE,
    "words": _OF_A_CASE,
    "complaints": _OF_A_REGION,
    "duties": _OF_A_REGION,
    "grades": _OF_A_CASE,
    "tallies": _OF_A_REGION,
    "counts": _OF_A_REGION,
    "owed": _OF_A_REGION,
    "notices": _OF_A_REGION,
    "answers": _OF_A_REGION,
}
VIEW_SCHEMAS = ("view_1", "view_2")


class RolesRefused(Exception):
    """The login cannot take the roles, nor make them; the message says what an administrator has to run."""

    def __init__(self, roles: Sequence[str], login: str) -> None:
        run = [f'CREATE ROLE {role} NOLOGIN (unless it is there); GRANT {role} TO "{login}";' for role in roles]
        super().__init__(
            "\n".join(["The login may not act in the roles of this service. As an administrator, run:", *run])
        )


class Database(Protocol):
    """A connection of Alembic's."""

    def exec_driver_sql(self, statement: str) -> Any:
        """Run a statement as it is written."""


def missing(connection: Database) -> list[str]:
    """The roles that the login cannot take, or that are not there."""
    names = ", ".join(f"('{role}')" for role in Role)
    asked = f"""
        SELECT name FROM (VALUES {names}) AS asked (name) LEFT JOIN pg_roles AS r ON r.rolname = name
        WHERE r.oid IS NULL OR NOT pg_has_role(session_user, r.oid, {_taking(connection)})
    """
    return [row[0] for row in connection.exec_driver_sql(asked)]


def require(connection: Database) -> None:
    """Raises `RolesRefused` unless the login can take every role."""
    if refused := missing(connection):
        [(login,)] = connection.exec_driver_sql("SELECT session_user")
        raise RolesRefused(refused, login)


def make_roles(connection: Database) -> None:
    """Have the three roles, and let the login take them; raises `RolesRefused`."""
    for role in Role:
        # Several databases of a cluster may be migrated at once.
        connection.exec_driver_sql(
            f"""DO $$ BEGIN
                IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN CREATE ROLE {role} NOLOGIN; END IF;
            EXCEPTION
                WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN NULL;
            END $$"""
        )
    for name in missing(connection):
        connection.exec_driver_sql(
            f"""DO $$ BEGIN
                GRANT {name} TO CURRENT_USER;
            EXCEPTION
                WHEN insufficient_privilege OR undefined_object THEN NULL;
            END $$"""
        )
    require(connection)


def grant(connection: Database) -> None:
    """Bring the tables that are there to what is said above."""
    found = {
        (row[0], row[1])
        for row in connection.exec_driver_sql(
            "SELECT table_schema, table_name FROM information_schema.tables"
            " WHERE table_schema IN ('public', 'view_1', 'view_2')"
        )
    }
    for role in Role:
        connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA public TO {role}")
    for name, rule in RULES.items():
        if ("public", name) in found:
            _apply(connection, f"public.{name}", rule)
    for schema in VIEW_SCHEMAS:
        if any(held == schema for held, _ in found):
            connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {schema} TO {Role.READER}")
            connection.exec_driver_sql(f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {Role.FOLLOWER}")
        for name, rule in VIEW_RULES.items():
            if (schema, name) in found:
                # Its own, so that it may empty, fill (COPY) and analyze them.
                connection.exec_driver_sql(f"ALTER TABLE {schema}.{name} OWNER TO {Role.FOLLOWER}")
                _apply(connection, f"{schema}.{name}", rule)
    # Which tables there are is for every login to know that starts the service.
    connection.exec_driver_sql("GRANT SELECT ON alembic_version TO PUBLIC")


def _apply(connection: Database, table: str, rule: Rule) -> None:
    for statement in _statements(table, rule):
        connection.exec_driver_sql(statement)


def _statements(table: str, rule: Rule) -> Iterator[str]:
    for role, granted in zip((Role.APPENDER, Role.READER, Role.FOLLOWER), rule[:3], strict=True):
        yield f"REVOKE ALL ON {table} FROM {role}"
        if granted:
            yield f"GRANT {granted} ON {table} TO {role}"
    if not rule.rows:
        return
    yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
    for role in Role:
        yield f"DROP POLICY IF EXISTS {role}_rows ON {table}"
    yield f"CREATE POLICY {Role.READER}_rows ON {table} FOR SELECT TO {Role.READER} USING ({rule.rows})"
    # Whoever keeps a table keeps all of it.
    for role, granted in ((Role.APPENDER, rule.appender), (Role.FOLLOWER, rule.follower)):
        if granted:
            yield f"CREATE POLICY {role}_rows ON {table} TO {role} USING (true) WITH CHECK (true)"


def _taking(connection: Database) -> str:
    """How PostgreSQL calls it that a role may be taken; before version 16 each member may."""
    [(version,)] = connection.exec_driver_sql("SELECT current_setting('server_version_num')::int")
    return "'SET'" if version >= 160000 else "'MEMBER'"
