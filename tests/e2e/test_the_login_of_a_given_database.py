"""A database that an operator gives, with logins of its own: an owner who migrates, and one that can only serve."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from psycopg.sql import SQL, Composable, Composed, Identifier

from projections.rebuild import Rebuild
from services.embedded_postgres import EmbeddedPostgres
from services.event_log.privileges import Role, RolesRefused
from services.migrations import is_current, migrate, require_roles
from tests.contract.house import House, codes, open_house

pytestmark = pytest.mark.anyio


class Given:
    """A database with an owner who is no superuser, and a login that owns nothing; neither may act in a role yet."""

    def __init__(self, server: EmbeddedPostgres, migrated: bool) -> None:
        name = uuid4().hex[:8]
        self._server, self.database = server, f"given_{name}"
        self.owner, self.login = f"owner_{name}", f"login_{name}"
        self.run(SQL("CREATE ROLE {} LOGIN").format(Identifier(self.owner)))
        self.run(SQL("CREATE ROLE {} LOGIN NOINHERIT").format(Identifier(self.login)))
        self.run(SQL("CREATE DATABASE {} OWNER {}").format(Identifier(self.database), Identifier(self.owner)))
        self.run(SQL("ALTER SCHEMA public OWNER TO {}").format(Identifier(self.owner)), self.database)
        if migrated:
            self.may(self.owner)
            migrate(self.url(self.owner))

    def run(self, statement: Composable, database: str = "postgres") -> None:
        with psycopg.connect(self._server.url(database), autocommit=True) as connection:
            connection.execute(Composed([statement]))

    def may(self, login: str) -> None:
        for role in Role:
            self.run(SQL("GRANT {} TO {}").format(Identifier(role), Identifier(login)))

    def url(self, login: str) -> str:
        return self._server.url(self.database).replace("//anjuan@", f"//{login}@")


@pytest.fixture
def bare(cluster: EmbeddedPostgres) -> Iterator[Given]:
    yield Given(cluster, migrated=False)


@pytest.fixture
def given(cluster: EmbeddedPostgres) -> Iterator[Given]:
    yield Given(cluster, migrated=True)


def test_an_owner_who_may_not_take_the_roles_is_told_what_to_run(bare: Given) -> None:
    migrate(bare.url(bare.owner), "0007")
    with pytest.raises(RolesRefused) as refused:
        migrate(bare.url(bare.owner))
    for role in Role:
        assert f'GRANT {role} TO "{bare.owner}";' in str(refused.value)
    assert not is_current(bare.url(bare.owner))
    bare.may(bare.owner)
    migrate(bare.url(bare.owner))
    assert is_current(bare.url(bare.owner))


@pytest.mark.parametrize("who", ["owner", "login"])
async def test_it_serves(given: Given, tmp_path: Path, who: str) -> None:
    login = {"owner": given.owner, "login": given.login}[who]
    given.may(login)
    require_roles(given.url(login))
    async with open_house(given.url(login), tmp_path) as house:
        region = await house.region()
        agent = house.agent(region)
        case = await agent.case(region)
        assert codes([await agent.act(case, "noted", text="一")]) == [201]
        assert (await agent.get("/v1/cases?count=true")).json()["total"] == 1
        await _is_rebuilt(house)
        assert (await agent.get("/v1/cases?count=true")).json()["total"] == 1


async def _is_rebuilt(house: House) -> None:
    """Truncating, filling by COPY, analyzing, and waiting for whoever still looks."""
    services = house.services
    before = services.watch.view.generation
    view = await Rebuild(services.url, services.log, services.folder, lambda done, total: None).run(restart=True)
    assert view.generation != before


def test_a_login_that_only_serves_owns_nothing_and_sees_nothing_by_itself(given: Given) -> None:
    with pytest.raises(RolesRefused):
        require_roles(given.url(given.login))
    given.may(given.login)
    require_roles(given.url(given.login))
    for statement in (
        "SELECT FROM events",
        "DELETE FROM events",
        "SELECT FROM view_1.cases",
        "ALTER TABLE events DISABLE TRIGGER ALL",
        "TRUNCATE view_1.cases",
    ):
        with psycopg.connect(given.url(given.login)) as connection, pytest.raises(InsufficientPrivilege):
            connection.execute(statement.encode())


def test_the_owner_s_hand_is_still_stopped_by_the_triggers(given: Given) -> None:
    for statement in ("DELETE FROM events", "UPDATE events SET actor = ''"):
        with psycopg.connect(given.url(given.owner)) as connection, pytest.raises(psycopg.errors.RestrictViolation):
            connection.execute(statement.encode())
