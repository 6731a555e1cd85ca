"""Three roles beside the owner: a reader changes nothing, and nobody but the owner changes or deletes an event."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from psycopg.sql import SQL, Identifier

from projections.tables import DECLARED, GENERATIONS, VIEWS
from services.embedded_postgres import EmbeddedPostgres
from services.event_log.privileges import RULES, VIEW_RULES, VIEW_SCHEMAS, Role, missing
from services.migrations import migrate
from tests.conftest import fresh_database
from tests.contract.house import codes, open_house

pytestmark = pytest.mark.anyio

_CHANGES = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")
_LEDGER = sorted(table.name for table in DECLARED.sorted_tables if table.schema is None)
_VIEWS = sorted(table.fullname for generation in GENERATIONS for table in VIEWS[generation])
_REGIONAL = sorted(table.fullname for table in DECLARED.sorted_tables if "region" in table.c)
# What each role may change; everything else is refused. Written out, so that a slip in `privileges` shows.
_MAY: dict[Role, dict[str, str]] = {
    Role.READER: {},
    Role.FOLLOWER: {
        "projections": "UPDATE",
        "projection_checkpoints": "UPDATE",
        "parked_cases": "INSERT UPDATE DELETE",
        **dict.fromkeys(_VIEWS, "INSERT UPDATE DELETE TRUNCATE"),
    },
    Role.APPENDER: {
        "events": "INSERT",
        "ledger_head": "UPDATE",
        "tree_nodes": "INSERT UPDATE",
        "tree_heads": "INSERT",
        "idempotency_keys": "INSERT DELETE",
        "external_references": "INSERT",
        "case_numbers": "INSERT UPDATE",
        "case_ids": "INSERT UPDATE",
        "data_keys": "INSERT UPDATE DELETE",
        "erased_keys": "INSERT",
        "head_keys": "INSERT",
        "phone_keys": "INSERT DELETE",
        "access_log": "INSERT DELETE",
        "revocations": "INSERT UPDATE",
        "jobs": "INSERT UPDATE DELETE",
        "tracking": "INSERT UPDATE",
    },
}
_TRIES = {
    "INSERT": "INSERT INTO {} ({}) SELECT NULL WHERE false",
    "UPDATE": "UPDATE {} SET {} = {} WHERE false",
    "DELETE": "DELETE FROM {} WHERE false",
    "TRUNCATE": "TRUNCATE {}",
}


@pytest.fixture(scope="module")
def database(cluster: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    """A migrated database, as its owner."""
    with fresh_database(cluster) as url, psycopg.connect(url) as connection:
        yield connection


def test_every_table_has_a_rule() -> None:
    others = {f"{schema}.found_by" for schema in VIEW_SCHEMAS}
    ruled = {*RULES, *(f"{schema}.{name}" for schema in VIEW_SCHEMAS for name in VIEW_RULES)}
    assert ruled == {*_LEDGER, *_VIEWS} | others


@pytest.mark.parametrize(("role", "table"), list(product(Role, [*_LEDGER, *_VIEWS])))
def test_a_role_changes_what_is_its_own_and_nothing_else(database: psycopg.Connection, role: Role, table: str) -> None:
    may = _MAY[role].get(table, "").split()
    name = Identifier(*table.split("."))
    key = Identifier(DECLARED.tables[table].primary_key.columns.keys()[0])
    for change in _CHANGES:
        parts = {"INSERT": [name, key], "UPDATE": [name, key, key]}.get(change, [name])
        try:
            with database.transaction(force_rollback=True):
                database.execute(SQL("SET LOCAL ROLE {}").format(Identifier(role)))
                database.execute(SQL(_TRIES[change]).format(*parts))
            allowed = True
        except InsufficientPrivilege:
            allowed = False
        assert allowed is (change in may), change


@pytest.mark.parametrize(("role", "change"), list(product(Role, ("UPDATE", "DELETE", "TRUNCATE"))))
def test_none_but_the_owner_may_change_an_event(database: psycopg.Connection, role: Role, change: str) -> None:
    found = database.execute("SELECT has_table_privilege(%s, 'events', %s)", [role.value, change]).fetchone()
    assert found == (False,)
    # Nor may it lift what keeps even the owner's hand from slipping.
    with database.transaction(force_rollback=True), pytest.raises(InsufficientPrivilege):
        database.execute(SQL("SET LOCAL ROLE {}").format(Identifier(role)))
        database.execute("ALTER TABLE events DISABLE TRIGGER ALL")


@pytest.mark.parametrize("table", _REGIONAL)
def test_a_reader_that_was_told_no_region_sees_no_row(database: psycopg.Connection, table: str) -> None:
    if not RULES.get(table, VIEW_RULES.get(table.rpartition(".")[2], RULES["events"])).reader:
        pytest.skip("no reader")
    found = database.execute(
        "SELECT relrowsecurity, (SELECT count(*) FROM pg_policies WHERE schemaname || '.' || tablename = %s"
        " AND 'anjuan_reader' = ANY(roles)) FROM pg_class WHERE oid = %s::regclass",
        [table if "." in table else f"public.{table}", table],
    ).fetchone()
    assert found == (True, 1)


def test_migrating_databases_of_one_cluster_again_changes_nothing(cluster: EmbeddedPostgres) -> None:
    with fresh_database(cluster) as one, fresh_database(cluster) as other:
        for url in (one, other):
            migrate(url)


def test_a_login_that_may_not_take_the_roles_is_told_which(database: psycopg.Connection) -> None:
    class Plain:
        def exec_driver_sql(self, statement: str) -> object:
            return _Rows(database.execute(statement.encode()).fetchall())

    assert missing(Plain()) == []
    with database.transaction(force_rollback=True):
        database.execute("CREATE ROLE stranger LOGIN")
        database.execute("SET LOCAL SESSION AUTHORIZATION stranger")
        assert missing(Plain()) == list(Role)


class _Rows(list[tuple[object, ...]]):
    def one(self) -> tuple[object, ...]:
        return self[0]


def test_no_role_of_requests_owns_anything(database: psycopg.Connection) -> None:
    """Nobody is bound by a policy of a table that he owns."""
    owned = database.execute(
        "SELECT relname FROM pg_class WHERE pg_get_userbyid(relowner) IN ('anjuan_reader', 'anjuan_appender')"
    ).fetchall()
    assert owned == []


async def test_every_connection_of_the_service_acts_in_a_role(
    cluster: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    connecting = psycopg.AsyncConnection.connect

    async def noted(*given: Any, **options: Any) -> Any:
        made.append(options["options"])
        return await connecting(*given, **options)

    monkeypatch.setattr(psycopg.AsyncConnection, "connect", noted)
    with fresh_database(cluster) as url:
        async with open_house(url, tmp_path) as house:
            region = await house.region()
            agent = house.agent(region)
            case = await agent.case(region)
            for path in ("/v1/cases", "/v1/cases.csv", "/v1/summary", f"/v1/cases/{case['case_id']}"):
                assert codes([await agent.get(path)]) == [200]
    taken = [next((role for role in Role if f"-c role={role}" in options), None) for options in made]
    assert set(taken) == set(Role)
