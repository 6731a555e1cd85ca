"""Whatever was accepted is sent once more, word for word and without a key: it answers with what it was told before."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import httpx
import pytest

from services.docket import fold
from tests.contract.house import Caller, House
from tests.property.worlds import OWN_TIMES, SOAK, TO_CLOSURE, Body, World, next_step, seeds, told, wish

HISTORIES = 40 if SOAK else 6
_ASKED = 60

pytestmark = pytest.mark.anyio


async def test_what_was_accepted_and_is_sent_again_answers_with_the_earlier_action(house: House) -> None:
    repeated: dict[str, int] = {}
    async for seed in seeds(HISTORIES):
        world = _Mirror(Random(seed), house)
        with told(seed, world):
            region = await house.region()
            manager = house.manager(region)
            await world.look([UUID((await manager.case(region))["case_id"]) for _ in range(2)])
            for number in range(_ASKED):
                if kind := await _asked_twice(world, manager, number):
                    repeated[kind] = repeated.get(kind, 0) + 1
    print(f"{HISTORIES} histories, {sum(repeated.values())} actions repeated: {repeated}")
    assert len(repeated) > 12


class _Mirror(World):
    """The world as the ledger has it."""

    def __init__(self, rng: Random, house: House) -> None:
        super().__init__(rng, 0)
        self._house = house
        self.said: list[tuple[str, Body, httpx.Response]] = []

    async def look(self, cases: list[UUID]) -> None:
        self.files = {case_id: list((await self._house.services.cases.files(case_id))[case_id]) for case_id in cases}
        self.now = datetime.now(UTC)
        self.beginning = self.order[0].recorded_at - timedelta(minutes=30)


async def _asked_twice(world: _Mirror, manager: Caller, number: int) -> str | None:
    """The type of the action, if it was accepted. The first ones lead one of the cases to its closure."""
    await world.look(list(world.files))
    case_id = world.rng.choice(list(world.files)) if number >= len(TO_CLOSURE) else next(iter(world.files))
    docket = fold(world.group(case_id)).docket
    straight = number < len(TO_CLOSURE)
    body = next_step(number, world, docket[case_id]) if straight else wish(world, case_id, docket)
    kind: str = body["type"]
    body.setdefault(OWN_TIMES.get(kind, "occurred_at"), datetime.now(UTC).isoformat())
    path = f"/v1/cases/{case_id}/actions"
    first = await manager.post(path, body, None)
    if first.status_code != 201:
        assert first.status_code in (200, 409, 422), first.text
        return None
    await _repeats(world, manager, path, body, first)
    if world.said and world.rng.random() < 0.3:
        # An answer that was lost is asked for again much later, too.
        await _repeats(world, manager, *world.rng.choice(world.said))
    world.said.append((path, body, first))
    return kind


async def _repeats(world: _Mirror, manager: Caller, path: str, body: Body, first: httpx.Response) -> None:
    before = await _versions(world, manager)
    action = (await manager.get(f"{path}?limit=500")).json()["items"][first.json()["action"]["version"] - 1]
    if action["corrected_by"] is not None:
        # What was corrected is said anew, not repeated.
        return
    again = await manager.post(path, body, None)
    if body["type"] == "received":
        # A further complaint is one more, even in the same words.
        assert again.status_code in (201, 409), again.text
        return
    assert again.status_code == 200, (body, again.text)
    assert again.json()["action"] == first.json()["action"]
    assert await _versions(world, manager) == before


async def _versions(world: World, manager: Caller) -> Mapping[UUID, Any]:
    return {case_id: (await manager.get(f"/v1/cases/{case_id}")).json()["version"] for case_id in world.files}
