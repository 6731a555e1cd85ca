"""Thousands of legal histories, late arrivals and corrections among them: at every T and K the fold says what the
contract says, as an oracle of another style reads it."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from time import monotonic

import pytest

from services.docket import fold
from tests.property.oracle import Oracle
from tests.property.seen import shown
from tests.property.worlds import SOAK, World, history, seeds, told

HISTORIES = 2000 if SOAK else 300
_TICK = timedelta(microseconds=1)

pytestmark = pytest.mark.anyio


async def test_at_every_instant_the_fold_says_what_the_oracle_says() -> None:
    compared = actions = 0
    begun = monotonic()
    async for seed in seeds(HISTORIES):
        world = history(seed)
        actions += len(world.order)
        with told(seed, world):
            for known, instants in _questions(world):
                oracle = Oracle(world.files, known)
                for until in instants:
                    expected = {case_id: oracle.at(until).case(case_id) for case_id in world.files}
                    docket = fold(world.files, until, known).docket
                    for case_id, said in expected.items():
                        assert shown(docket[case_id]) == said, f"T={until} K={known}"
                    compared += 1
    seconds = monotonic() - begun
    print(f"{HISTORIES} histories, {actions} actions: {compared} states agree in {seconds:.1f} s")


def _questions(world: World) -> Iterable[tuple[datetime | None, Iterable[datetime | None]]]:
    """Each K with its T's: as known now every instant and its neighbours, as known earlier some of them."""
    rng = world.rng
    yield None, [None, *_near(Oracle(world.files).instants())]
    recorded = sorted({entry.recorded_at for entry in world.order})
    for known in rng.sample(recorded, min(3, len(recorded))):
        instants = list(_near(Oracle(world.files, known).instants()))
        yield known, [None, *rng.sample(instants, min(6, len(instants)))]


def _near(instants: Iterable[datetime]) -> Iterable[datetime]:
    return sorted({instant + ticks * _TICK for instant in instants for ticks in (-1, 0, 1)})
