"""The service's parts over a ledger of the test's own, and a seed that is told."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from intake_api.services import Services
from tests.e2e.fire import seed_of
from tests.projections.ledgers import parts


@pytest.fixture
async def services(database_url: str, tmp_path: Path, anyio_backend: object) -> AsyncIterator[Services]:
    """No HTTP, and nobody follows."""
    async with parts(database_url, tmp_path) as made:
        yield made


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A new one, or `ANJUAN_SEED`; printed."""
    return seed_of(request.node.name)
