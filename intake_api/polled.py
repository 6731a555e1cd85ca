"""Answers of the views, kept until they could differ: many dashboards that ask the same cost one look a change.

An answer holds for the view that it was made of and until the next instant at which time alone would change it. Its
ETag is a digest of its bytes, so what is made again and comes out the same is still a 304.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import NamedTuple

from intake_api.http import Call, LedgerRestored, Reply, UnknownParameter, entity_tag, read_reply
from intake_api.looked import cases_in
from projections.checkpoint import View
from projections.watch import Watch
from services.caller import Caller
from services.directory import Directory

# Seconds to wait for `min_position`: a caller has five for everything.
PATIENCE = 4.5
_KEPT_BYTES = 32 << 20


class ProjectionBehind(Exception):
    """503: the views have not come to the position that was asked for."""


class Made(NamedTuple):
    """A body, the view that it is of, and the last instant at which it still holds by itself."""

    body: bytes
    view: View
    until: datetime


class Kept(NamedTuple):
    """An answer with its tag, and the cases that it shows."""

    made: Made
    tag: str
    headers: list[tuple[bytes, bytes]]
    cases: tuple[str, ...]
    changes: int = 0


Make = Callable[[], Awaitable[Made]]
Question = tuple[object, ...]


class Polled:
    """This process's answers, the ones asked for last."""

    def __init__(
        self, watch: Watch, directory: Directory, clock: Callable[[], datetime], changes: Callable[[], int] = lambda: 0
    ) -> None:
        """`changes` rises whenever what could be shown before may not be shown now."""
        self._watch, self._directory, self._clock, self._changes = watch, directory, clock, changes
        self._kept: OrderedDict[Question, Kept] = OrderedDict()
        self._making: dict[Question, asyncio.Task[Kept]] = {}
        self._bytes = 0

    async def reply(self, call: Call, caller: Caller, make: Make) -> Reply:
        """The answer to a question of the views: kept, or made once for all who ask now."""
        await self.wait(call)
        kept = await self.answer(question(call, caller), make)
        call.cases = kept.cases
        return read_reply(call, kept.made.body, kept.tag, kept.headers)

    async def answer(self, asked: Question, make: Make) -> Kept:
        """The answer, its tag and headers."""
        kept = self._kept.get(asked)
        if kept and kept.changes == self._changes() and self.holds(kept.made):
            self._kept.move_to_end(asked)
            return kept
        task = self._making.get(asked)
        if task is None:
            task = self._making[asked] = asyncio.create_task(self._make(asked, make))
            task.add_done_callback(lambda _: self._making.pop(asked, None))
        # Whoever leaves does not end it for the others.
        return await asyncio.shield(task)

    async def _make(self, asked: Question, make: Make) -> Kept:
        while True:
            known, changes = self._directory.position, self._changes()
            made = await make()
            if self._directory.position == known and self._changes() == changes:
                break
            # It was asked by where projects lay before: once more, now that the directory has caught up; or somebody
            # was forgotten meanwhile.
        headers = [(b"ledger-position", b"%d" % made.view.position)]
        kept = Kept(made, entity_tag(made.body), headers, cases_in(made.body), changes)
        if old := self._kept.pop(asked, None):
            self._bytes -= len(old.made.body)
        self._kept[asked] = kept
        self._bytes += len(made.body)
        while self._bytes > _KEPT_BYTES:
            self._bytes -= len(self._kept.popitem(last=False)[1].made.body)
        return kept

    def holds(self, made: Made) -> bool:
        """Whether an answer is still right: the views have not moved, as far as is heard, and no instant has passed."""
        watch = self._watch
        return made.view == watch.view and watch.hears and self._clock() <= made.until

    async def wait(self, call: Call) -> None:
        """Wait for `min_position`, if it is asked for."""
        if b"min_position" not in call.scope["query_string"]:
            return
        position = min_position(call)
        if position is None:
            return
        if call.services.epoch > 1 and await _is_lost(call, position, self._watch.view.position):
            raise LedgerRestored
        if not await self._watch.reached(position, PATIENCE):
            raise ProjectionBehind


def question(call: Call, caller: Caller) -> Question:
    """What makes two callers' answers the same."""
    regions = None if caller.everywhere else caller.regions
    return (call.path, call.scope["query_string"], caller.role, regions, call.language)


async def _is_lost(call: Call, position: int, known: int) -> bool:
    """Whether there is no such position, so that waiting would be in vain."""
    return position > known and position > (await call.services.log.read.head()).position


def min_position(call: Call) -> int | None:
    """The position that an answer has to reflect at least."""
    values = call.query(None).get("min_position")
    if values is None:
        return None
    if len(values) != 1 or not values[0].isascii() or not values[0].isdecimal() or len(values[0]) > 18:
        raise UnknownParameter("invalid_parameter", "min_position")
    return int(values[0])
