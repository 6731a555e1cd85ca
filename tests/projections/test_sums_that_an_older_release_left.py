"""Sums that are not of the views' position are told to nobody; who leads makes them anew, and lists go on meanwhile."""

import asyncio
import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest

from projections.tables import VIEWS
from services.migrations import migrate
from tests.bench.ledger import Order, made
from tests.contract.house import codes, open_house
from tests.projections.ledgers import asked, differences

pytestmark = pytest.mark.anyio

_MASTER, _PHONES = bytes(range(32)), bytes(range(32, 64))
_KEYS = {
    "ANJUAN_MASTER_KEY": base64.b64encode(_MASTER).decode(),
    "ANJUAN_PHONE_KEY": base64.b64encode(_PHONES).decode(),
}
_SUMS = "/v1/summary?group_by=category"


async def _filled(url: str) -> None:
    migrate(url)
    made(Order(actions=600, cases=90, until=datetime(2026, 11, 1, tzinfo=UTC), seed=7), url, _MASTER, _PHONES)


@pytest.mark.parametrize(
    "left",
    [
        # As tables are after an upgrade, and as they are where the older release went on writing.
        "UPDATE projection_checkpoints SET summed = 0; TRUNCATE {tallies}, {owed}; UPDATE {answers} SET answered = 7",
        "UPDATE projection_checkpoints SET summed = summed - 1; DELETE FROM {tallies} WHERE answers = 1",
    ],
)
async def test_they_are_made_anew_and_told_no_sooner(database_url: str, tmp_path: Path, left: str) -> None:
    await _filled(database_url)
    async with open_house(database_url, tmp_path, **_KEYS) as house:
        head = (await house.services.log.read.head()).position
        told = await house.caller("auditor").get(f"{_SUMS}&min_position={head}")
        assert codes([told]) == [200]
    view = VIEWS[1]
    for step in left.format(**{table.name: table.fullname for table in view}).split(";"):
        await asked(database_url, step)
    async with open_house(database_url, tmp_path, ANJUAN_FOLLOW="off", **_KEYS) as house:
        auditor = house.caller("auditor")
        paths = ("/v1/cases", "/v1/breaches", _SUMS, f"{_SUMS}&q=渗水")
        assert codes([await auditor.get(path) for path in paths]) == [200, 200, *["projection_behind"] * 2]
    async with open_house(database_url, tmp_path, **_KEYS) as house:
        async with asyncio.timeout(20):
            while codes([answer := await house.caller("auditor").get(_SUMS)]) != [200]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert answer.json() == told.json()
        assert await differences(house.services) == []
