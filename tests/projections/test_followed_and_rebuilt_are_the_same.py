"""Whatever happened: the views that are followed, in any batches and each twice, equal those that are built anew."""

import asyncio
from random import Random
from uuid import UUID

import pytest

from intake_api.services import Services
from projections import building, checkpoint
from projections.building import Cancelled, RebuildRuns
from projections.checkpoint import View
from projections.follower import step
from projections.rebuild import Rebuild
from projections.writing import SESSION, Writer
from services.event_log import Record, connect
from tests.projections.ledgers import (
    asked,
    differences,
    following,
    reached,
    rebuilt,
    shown,
    some_histories,
    store,
    with_notices,
)
from tests.property.worlds import SOAK

pytestmark = pytest.mark.anyio
_BACK = "UPDATE projection_checkpoints SET position = %s WHERE generation = 1"


async def _followed(services: Services, records: list[Record], rng: Random) -> None:
    """In batches of any size, each applied twice: the second time as by a leader who was told of nothing."""
    folder = services.folder(100)
    async with await connect(services.url, SESSION, role=None) as connection:
        writer = Writer(connection, 1)
        view = View(1, 0)
        while batch := records[view.position : view.position + rng.choice((1, 3, 20, 100))]:
            moved = await folder.take(batch)
            after = await step(connection, writer, view, batch[-1].position, moved)
            await connection.execute(_BACK, [view.position])
            again = await services.folder(100).take(batch)
            await step(connection, writer, view, batch[-1].position, again)
            view = after
        assert await checkpoint.live(connection) == view


async def test_followed_in_any_batches_each_twice_is_rebuilt_is_folded(
    services: Services, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = with_notices(await some_histories(services, seed, 40 if SOAK else 12, monkeypatch), every=5)
    await store(services.url, records)
    await _followed(services, records, Random(seed))
    followed = await shown(services.url)
    assert all(followed[name] for name in ("cases", "complaints", "duties", "grades", "counts", "notices"))
    assert await differences(services) == []
    await rebuilt(services, page=Random(seed).choice((1, 2, 7, 40, 1000)))
    assert await shown(services.url) == followed
    assert await differences(services) == []
    assert await differences(services, 0.3) == []


async def test_a_check_names_each_row_and_column_that_is_wrong(
    services: Services, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store(services.url, await some_histories(services, seed, 5, monkeypatch))
    await rebuilt(services)
    view = "view_2"
    (one,), (other,), *_ = await asked(services.url, f"SELECT case_id FROM {view}.cases ORDER BY random()")
    await asked(services.url, f"UPDATE {view}.cases SET stage = 'risky' WHERE case_id = %s", one)
    await asked(services.url, f"DELETE FROM {view}.cases WHERE case_id = %s", other)
    await asked(services.url, f"UPDATE {view}.counts SET duties_due = duties_due + 1")
    for case_id in (one, UUID(int=1)):
        row = "(gen_random_uuid(), %s, 'GD', 'GD-1', 'app', NULL, NULL, now())"
        await asked(services.url, f"INSERT INTO {view}.complaints VALUES {row}", case_id)
    found = {(each.table, each.column, each.said) for each in await differences(services)}
    assert {
        ("cases", "stage", "differs"),
        ("cases", "", "is missing"),
        ("counts", "duties_due", "differs"),
        ("complaints", "", "is of no case"),
        ("complaints", "", "should not be there"),
    } <= found


async def test_a_rebuild_while_everybody_goes_on_may_be_cancelled_and_killed(
    services: Services, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = Random(seed)
    records = await some_histories(services, seed, 20, monkeypatch)
    half = len(records) // 2
    await store(services.url, records[:half])
    async with following(services):
        writing = asyncio.create_task(_writing(services.url, records[half:], rng))
        begun = await _stopped(services, rng, cancel=True)
        begun = [*begun, *(await _stopped(services, rng, cancel=False))]
        begun = [*begun, *(await _stopped(services, rng, cancel=False))]
        # Each went on where the one before had been left.
        assert begun == sorted(begun)
        await rebuilt(services, page=20)
        ((live,),) = await asked(services.url, "SELECT live FROM projections")
        assert live == 2
        await writing
        await reached(services.url, len(records))
        assert await differences(services) == []
        # And back again, onto what was emptied.
        left = await asked(services.url, "SELECT count(*) FROM view_1.cases")
        assert left == [(0,)]
        followed = await shown(services.url)
        await rebuilt(services, page=33)
        assert await shown(services.url) == followed
        assert await differences(services) == []


async def _writing(url: str, records: list[Record], rng: Random) -> None:
    while records:
        size = rng.randint(1, 3)
        await store(url, records[:size])
        records = records[size:]
        await asyncio.sleep(0.01)


async def _stopped(services: Services, rng: Random, cancel: bool) -> list[int]:
    """A rebuild that is cancelled, or killed, after a few pages; how far it was told to have come."""
    heard: list[int] = []
    pages = rng.randint(2, 4)
    made = Rebuild(services.url, services.log, services.folder, lambda done, _: heard.append(done), page=10)
    task = asyncio.create_task(made.run())
    while len(heard) < pages and not task.done():  # noqa: ASYNC110 - as soon as it is told
        await asyncio.sleep(0)
    if cancel:
        async with await connect(services.url, role=None) as connection:
            assert await building.cancel(connection)
        with pytest.raises(Cancelled):
            await task
    else:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    return heard


async def test_one_rebuild_at_a_time(services: Services) -> None:
    async with building.alone(services.url):
        with pytest.raises(RebuildRuns):
            await rebuilt(services)


async def test_a_leader_that_is_behind_when_the_views_swap_folds_anew(
    services: Services, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it remembers is older than the generation that it finds: to fold on from there would lose actions."""
    records = await some_histories(services, seed, 6, monkeypatch)
    third = len(records) // 3
    await store(services.url, records[:third])
    async with following(services) as follower:
        await reached(services.url, third)
        blind, after = [True], services.log.read.after

        async def looking(position: int, limit: int = 1000) -> list[Record]:
            # The leader sees nothing of what is appended until the views have swapped.
            return [] if blind[0] and limit == 20 else await after(position, limit)

        monkeypatch.setattr(services.log.read, "after", looking)
        await asyncio.sleep(0.6)
        await store(services.url, records[third : 2 * third])
        await rebuilt(services)
        await asyncio.sleep(1)
        blind[0] = False
        await store(services.url, records[2 * third :])
        await reached(services.url, len(records))
        assert follower.leads
        assert await differences(services) == []


async def test_the_views_never_go_back(services: Services, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    records = await some_histories(services, seed, 2, monkeypatch)
    await store(services.url, records)
    async with following(services):
        await reached(services.url, len(records))
    async with building.alone(services.url) as connection:
        await building.begin(connection, restart=True)
        assert not await building.swap(connection, View(2, 0))
        assert await checkpoint.live(connection) == View(1, len(records))
