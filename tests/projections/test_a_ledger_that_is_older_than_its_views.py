"""An upgrade of a filled ledger: nobody sees a part of its lists; they are answered once they are whole."""

import asyncio
import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from services.embedded_postgres import EmbeddedPostgres
from services.migrations import migrate
from tests.bench.ledger import Order, made
from tests.contract.house import codes, open_house

pytestmark = pytest.mark.anyio

_MASTER, _PHONES = bytes(range(32)), bytes(range(32, 64))
_KEYS = {
    "ANJUAN_MASTER_KEY": base64.b64encode(_MASTER).decode(),
    "ANJUAN_PHONE_KEY": base64.b64encode(_PHONES).decode(),
}
_LISTS = ("/v1/cases", "/v1/breaches", "/v1/duties", "/v1/summary", "/v1/cases.csv")


@pytest.fixture
def filled(cluster: EmbeddedPostgres) -> Iterator[tuple[str, int]]:
    """A ledger of the release before, brought up to date, and how many cases it has."""
    name = f"older_{uuid4().hex}"
    cluster.create_database(name)
    url = cluster.url(name)
    migrate(url, "0003")
    plan = made(Order(actions=1_500, cases=225, until=datetime(2026, 11, 1, tzinfo=UTC), seed=5), url, _MASTER, _PHONES)
    migrate(url)
    yield url, len(plan.numbers)


async def test_lists_are_refused_until_they_are_whole(filled: tuple[str, int], tmp_path: Path) -> None:
    url, cases = filled
    async with open_house(url, tmp_path, ANJUAN_FOLLOW="off", **_KEYS) as house:
        refused = [await house.caller("auditor").get(path) for path in _LISTS]
        assert codes(refused) == ["projection_behind"] * len(_LISTS)
        case = (await house.services.log.read.rows("SELECT case_no FROM case_ids LIMIT 1", []))[0][0]
        assert codes([await house.caller("auditor").get(f"/v1/cases/{case}")]) == [200]
    async with open_house(url, tmp_path, **_KEYS) as house:
        seen: set[str | int] = set()
        async with asyncio.timeout(30):
            while not seen or "projection_behind" in seen:
                answer = await house.caller("auditor").get("/v1/cases?count=true&limit=1")
                seen = {*codes([answer])}
                await asyncio.sleep(0.01)
        assert answer.json()["total"] == cases
        assert codes([await house.caller("auditor").get(path) for path in _LISTS]) == [200] * len(_LISTS)
