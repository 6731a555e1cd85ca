"""A ledger that was filled before the database knew any role is served region by region once it is migrated."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from services.embedded_postgres import EmbeddedPostgres
from services.migrations import migrate
from tests.bench.ledger import Order, made
from tests.contract.house import codes, open_house

pytestmark = pytest.mark.anyio
_MASTER, _PHONES = b"m" * 32, b"p" * 32
_KEYS = {
    "ANJUAN_MASTER_KEY": base64.b64encode(_MASTER).decode(),
    "ANJUAN_PHONE_KEY": base64.b64encode(_PHONES).decode(),
}
_FIRSTS = """
SELECT region, count(*), min(stream::text) FROM events
WHERE version = 1 AND name IN ('received', 'warned', 'risk_identified') GROUP BY region
"""


@pytest.fixture
def filled(cluster: EmbeddedPostgres) -> Iterator[str]:
    name = f"older_{uuid4().hex}"
    cluster.create_database(name)
    url = cluster.url(name)
    migrate(url, "0004")
    made(Order(actions=1_500, cases=225, until=datetime(2026, 11, 1, tzinfo=UTC), seed=6), url, _MASTER, _PHONES)
    migrate(url)
    yield url


async def test_each_region_has_what_was_its_own(filled: str, tmp_path: Path) -> None:
    with psycopg.connect(filled) as connection:
        regions = {region: (count, case) for region, count, case in connection.execute(_FIRSTS)}
    assert len(regions) > 3
    async with open_house(filled, tmp_path, **_KEYS) as house:
        end = (await house.services.log.read.head()).position
        assert await house.services.watch.reached(end, 30)
        for region, (count, case) in regions.items():
            agent = house.agent(region)
            assert (await agent.get("/v1/cases?count=true&limit=1")).json()["total"] == count
            others = [own for name, (_, own) in regions.items() if name != region]
            answers = [await agent.get(f"/v1/cases/{one}") for one in (case, *others)]
            assert codes(answers) == [200, *["not_found"] * len(others)]
        answer = await house.agent("GD").act({"case_id": regions["GD"][1]}, "noted", text="一")
        assert codes([answer]) == [201]
