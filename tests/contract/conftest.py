"""One app for all tests of the contract: each makes regions of its own, so none sees another's cases."""

from collections.abc import AsyncIterator

import pytest

from intake_api import impact_job, replay_job
from services.embedded_postgres import EmbeddedPostgres
from tests.conftest import HASTY, fresh_database, running
from tests.contract.house import House, open_house


@pytest.fixture(scope="session")
async def house(tmp_path_factory: pytest.TempPathFactory, anyio_backend: object) -> AsyncIterator[House]:
    """The running app; the first answers of its life are its directory's.

    On a server of its own: between two tests it takes in nothing of what it asked for, and until it does, no database
    of its server can be dropped.
    """
    with running(EmbeddedPostgres(tmp_path_factory.mktemp("house")), HASTY) as server, fresh_database(server) as url:
        async with open_house(url, tmp_path_factory.mktemp("keys")) as opened:
            yield opened


@pytest.fixture(autouse=True)
def drafts_are_tried_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much this house has stored, what is judged is handed to another process only where a test says so."""
    monkeypatch.setattr(impact_job, "SMALL", 1 << 40)
    monkeypatch.setattr(replay_job, "SMALL", 1 << 40)
