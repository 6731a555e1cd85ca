"""Anything may be asked of a few cases, late, early, linked and corrected: what must hold holds after every action."""

from random import Random

import pytest

from services.case import Case
from services.docket import Docket, Entry, Folded, advanced, comes_last, fold
from services.events import Corrected
from tests.property.worlds import SOAK, Recorded, World, seeds, told, wish

HISTORIES = 1500 if SOAK else 150
_ASKED = 60

pytestmark = pytest.mark.anyio


async def test_what_must_hold_holds_after_every_action() -> None:
    accepted = 0
    kinds: dict[str, int] = {}
    async for seed in seeds(HISTORIES):
        rng = Random(seed)
        world = World(rng, rng.choice((1, 2, 2, 3)))
        with told(seed, world):
            watch = _Watch(world)
            for _ in range(rng.randint(10, _ASKED)):
                if recorded := watch.ask():
                    accepted += 1
                    name = recorded.entries[0].action.name
                    kinds[name] = kinds.get(name, 0) + 1
            watch.looks_back()
    print(f"{HISTORIES} histories, {accepted} actions: {kinds}")


class _Watch:
    """Looks at the world after every action, and remembers what it saw."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.folded = fold(world.files)
        self.seen = [(world.order[-1], self.folded.docket)]

    def ask(self) -> Recorded | None:
        """One more wish, granted or not."""
        world = self.world
        world.tick()
        case_id = world.rng.choice(list(world.files))
        body = wish(world, case_id, self.folded.docket)
        recorded = world.ask(case_id, body)
        if not isinstance(recorded, Recorded):
            assert fold(world.files).docket == self.folded.docket
            return None
        before, self.folded = self.folded, fold(world.files)
        self._every_version_once()
        self._folded_on_is_folded_anew(recorded)
        self._only_a_correction_undermines(before, recorded.entries)
        self._stands_open_as_foreseen(before.docket[case_id], recorded)
        self.seen.append((recorded.entries[-1], self.folded.docket))
        return recorded

    def _every_version_once(self) -> None:
        for stream, held in self.world.files.items():
            assert [entry.version for entry in held] == list(range(1, len(held) + 1))
            assert self.folded.docket[stream].version == len(held)

    def _folded_on_is_folded_anew(self, recorded: Recorded) -> None:
        first = recorded.entries[0]
        group = fold(self.world.group(first.stream)).docket
        assert group == _only(self.folded.docket, group)
        if recorded.exact:
            assert recorded.foreseen == group
        if comes_last(recorded.before, first.action.name, first.at):
            assert advanced(recorded.before, first) == group

    def _only_a_correction_undermines(self, before: Folded, entries: list[Entry] | tuple[Entry, ...] | object) -> None:
        assert isinstance(entries, list)
        if not isinstance(entries[0].action, Corrected):
            assert self.folded.faults.keys() <= before.faults.keys(), entries[0].action.name
        told_of = {one.action_id for case in self.folded.docket.values() for one in case.inconsistencies}
        assert told_of == self.folded.faults.keys()

    def _stands_open_as_foreseen(self, before: Case, recorded: Recorded) -> None:
        after = self.folded.docket[before.case_id].stands_open
        assert recorded.opens_or_ends == (after if after != before.stands_open else None)

    def looks_back(self) -> None:
        """What was known at any earlier instant can be told for ever."""
        for entry, docket in self.seen:
            assert fold(self.world.files, known=entry.recorded_at).docket == docket
            assert fold(self.world.files, until=entry.recorded_at, known=entry.recorded_at).docket == docket


def _only(docket: Docket, some: Docket) -> Docket:
    return {case_id: docket[case_id] for case_id in some}
