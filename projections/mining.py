"""The ledger for process mining: walked by stream up to where it stood, each case folded once and told to a writer."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import NamedTuple, Protocol
from uuid import UUID

from projections.dockets import dockets, dockets_of
from projections.impact import Period
from projections.mined import Mined, mined
from services.docket import Files, Policies, fold
from services.event_log import EventLog
from services.events import Linked, Unlinked

_PAGE = 4_000


class Writer(Protocol):
    """A format: `begin` with the ledger's position, every case, `end`."""

    def begin(self, position: int) -> None: ...
    def add(self, one: Mined) -> None: ...
    def end(self) -> None: ...


class Told(NamedTuple):
    """How much a file holds."""

    cases: int
    events: int


class Mining:
    """One walk over the cases of a period. `reached` is told of records done, of all."""

    def __init__(
        self, url: str, log: EventLog, policies: Policies, period: Period, reached: Callable[[int, int], None]
    ) -> None:
        self._url, self._log, self._policies, self._period, self._reached = url, log, policies, period, reached
        self._elsewhere: set[UUID] = set()
        self._here: set[UUID] = set()

    def exported(self, case_id: UUID) -> bool:
        """Whether the file holds a case that one of the page is linked to."""
        return case_id in self._here or case_id in self._elsewhere

    async def tell(self, writer: Writer) -> Told:
        """Write every case; a ledger that grows meanwhile is told as it stood at the beginning."""
        until = (await self._log.read.head()).position
        writer.begin(until)
        done = cases = events = 0
        async with aclosing(dockets(self._url, self._log, until, _PAGE)) as walk:
            async for met in walk:
                for one in await self._page(met.first_met, until):
                    writer.add(one)
                    cases, events = cases + 1, events + len(one.acts)
                done += len(met.records)
                self._reached(done, until)
        writer.end()
        return Told(cases, events)

    async def _page(self, groups: Sequence[Files], until: int) -> list[Mined]:
        found: list[Mined] = []
        for files in groups:
            found += mined(files, self._policies, self._period.holds)
            # So that the next page is fetched meanwhile.
            await asyncio.sleep(0)
        self._here = {one.case.case_id for one in found}
        self._elsewhere = await self._others(found, until)
        return found

    async def _others(self, found: Sequence[Mined], until: int) -> set[UUID]:
        """Of the cases of other pages that these are linked to, those that the period holds."""
        linked = {
            action.case
            for one in found
            for act in one.acts
            if isinstance(action := act.entry.action, Linked | Unlinked)
        }
        wanted = linked - self._here
        if not wanted or not (self._period.begin or self._period.end):
            return wanted
        records = await self._log.read.histories_until(list(wanted), until)
        held: set[UUID] = set()
        for files in await dockets_of(self._log, records, until):
            docket = fold(files, policies=self._policies).docket
            held.update(case.case_id for case in docket.values() if case.version and self._period.holds(case))
        return wanted & held
