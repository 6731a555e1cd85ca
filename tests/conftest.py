"""What tests share: PostgreSQL servers of their own, and a fresh, migrated database for each test that asks."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from services.embedded_postgres import EmbeddedPostgres
from services.migrations import migrate

_TEMPLATE = "migrated"
# Never durable, so never slow: nothing in these clusters outlives the test session.
HASTY = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


# A session in the background ignores Ctrl-C, and all that it starts would: what they do at it could not be tried.
signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def running(server: EmbeddedPostgres, settings: dict[str, str]) -> Iterator[EmbeddedPostgres]:
    """A started server with a migrated template database; stopped and forgotten afterwards."""
    server.start(settings)
    try:
        server.create_database(_TEMPLATE)
        migrate(server.url(_TEMPLATE))
        yield server
    finally:
        server.stop("immediate")


@contextmanager
def fresh_database(server: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a new copy of the template, dropped afterwards whoever is still connected."""
    name = f"test_{uuid4().hex}"
    server.create_database(name, _TEMPLATE)
    try:
        yield server.url(name)
    finally:
        drop = SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name))
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute(drop)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """The session's server; under pytest-xdist each worker has its own, since each has its own temporary folder."""
    with running(EmbeddedPostgres(tmp_path_factory.mktemp("cluster")), HASTY) as server:
        yield server


@pytest.fixture
def database_url(cluster: EmbeddedPostgres) -> Iterator[str]:
    """An empty ledger of this test alone."""
    with fresh_database(cluster) as url:
        yield url


@pytest.fixture(scope="module")
def durable_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server that keeps its promises, and that a test may stop, freeze or kill."""
    with running(EmbeddedPostgres(tmp_path_factory.mktemp("durable")), {}) as server:
        yield server


@pytest.fixture
def durable_database_url(durable_cluster: EmbeddedPostgres) -> Iterator[str]:
    """An empty ledger on the durable server."""
    with fresh_database(durable_cluster) as url:
        yield url


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """How tests marked `anyio` run: as the service does."""
    return "asyncio", {"use_uvloop": True}
