"""What those who listen are told, made once for all who listen alike.

Who was told up to the same position of the same regions shares one look. A reader that comes in between is first told
up to where the others stand, so that all of them stand at one position soon: 500 that wait cost one look a step.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from fastapi.sse import format_sse_event

from projections.case_view import encode
from projections.changes import BATCH, Changes, since
from projections.views import Views
from projections.watch import Watch
from services.event_log.seeing import seen

Scope = tuple[str, ...] | None
# Who shares what is told: those with one scope, to whom the database shows the same.
Alike = tuple[str, Scope]
# Answers of a batch each, some 20 kB at most.
_KEPT = 256
_SCOPES = 1000


class Told(NamedTuple):
    """Events as they are sent, none if nothing moved, and the position up to which they tell everything."""

    until: int
    events: bytes


class Streams:
    """This process's listeners."""

    def __init__(self, views: Views, watch: Watch) -> None:
        self._views, self._watch = views, watch
        self._told: OrderedDict[tuple[Alike, int], asyncio.Task[Told]] = OrderedDict()
        # Of all alike the furthest position up to which somebody was told.
        self._furthest: OrderedDict[Alike, int] = OrderedDict()
        self.open = 0
        self.ended = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """One more listener."""
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1

    def end(self) -> None:
        """Let every stream end now, and each that begins."""
        self.ended = True
        self._watch.wake()

    def behind(self, position: int) -> bool:
        """Whether there is something to tell after that position."""
        return self._watch.view.position > position

    async def step(self, position: int, seconds: float) -> None:
        """Wait until there may be something to tell after that position, but no longer."""
        if not self.behind(position) and not self.ended:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(seconds, 0)):
                    await self._watch.stepping.wait()

    async def after(self, scope: Scope, position: int) -> Told:
        """What moved there after a position, or the first of it; raises `Unavailable`."""
        alike = (seen(), scope)
        furthest = max(self._furthest.pop(alike, 0), position)
        self._furthest[alike] = furthest
        if len(self._furthest) > _SCOPES:
            self._furthest.popitem(last=False)
        task = self._told.get((alike, position))
        if task is None:
            upto = furthest if position < furthest else None
            task = self._told[alike, position] = asyncio.create_task(self._tell(alike, position, upto))
            task.add_done_callback(lambda done: self._forget(done, (alike, position)))
        # Whoever leaves does not end it for the others.
        return await asyncio.shield(task)

    async def _tell(self, alike: Alike, position: int, upto: int | None) -> Told:
        changes = await since(self._views, alike[1], position, upto)
        if alike in self._furthest:
            self._furthest[alike] = max(self._furthest[alike], changes.until)
        return Told(changes.until, b"".join(events(changes)))

    def _forget(self, task: asyncio.Task[Told], key: tuple[Alike, int]) -> None:
        """A failure at once, and what was told long ago; what moved between two positions is true for ever."""
        if task.cancelled() or task.exception() or task.result().until == key[1]:
            self._told.pop(key, None)
        while len(self._told) > _KEPT:
            self._told.popitem(last=False)


def events(changes: Changes) -> Iterator[bytes]:
    """Each notice, then the cases; only the last event has an id, so that who is cut off before it hears all again."""
    told = [("notice", {**notice._asdict()}) for notice in changes.notices]
    for begin in range(0, len(changes.cases), BATCH):
        told.append(("cases", {"position": changes.until, "cases": changes.cases[begin : begin + BATCH]}))
    for number, (kind, data) in enumerate(told, 1):
        yield event(kind, data, changes.until if number == len(told) else None)


def cases(position: int, case_ids: Sequence[str] = ()) -> bytes:
    """The event that these cases moved, and that everything up to the position is told."""
    return event("cases", {"position": position, "cases": case_ids}, position)


def event(kind: str, data: object, position: int | None) -> bytes:
    """One event as it is sent."""
    return format_sse_event(event=kind, data_str=encode(data).decode(), id=None if position is None else str(position))
