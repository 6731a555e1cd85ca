"""Who was forgotten, as far as this process knows: from the ledger, and from the list that is kept apart.

What either of them names is destroyed in the database, forgotten by the vault, and listed. So a database restored from
before an erasure serves nothing of that person, and a list that was lost is written anew.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterable
from pathlib import Path
from uuid import UUID, uuid5

import structlog

from services.erasure_list import ErasureList, listed_anywhere
from services.event_log import EventLog, Unavailable
from services.event_log.tree import tree
from services.events import DestroyedKey, PersonErased, decode
from services.vault import Vault

STREAM = uuid5(UUID("3f6f0f86-7b5c-5c61-9d0e-9f0d3a5f5c1e"), "erasures")
# Seconds between two looks: what one process erases, all others show no more within a second.
_LOOK = 0.4
# And at least between two, however fast the ledger grows.
_PAUSE = 0.1
_VERSION = "SELECT coalesce(max(version), 0) FROM events WHERE stream = %b"
_STILL_THERE = "SELECT key_id FROM data_keys WHERE key_id = ANY(%b::uuid[])"
_DESTROY = """
WITH gone AS (DELETE FROM data_keys WHERE key_id = ANY(%b::uuid[]) RETURNING key_id),
    files AS (DELETE FROM jobs WHERE file_name IS NOT NULL AND EXISTS (SELECT FROM gone))
INSERT INTO erased_keys (key_id) SELECT * FROM unnest(%b::uuid[]) ON CONFLICT DO NOTHING
"""

Forget = Callable[[Collection[UUID]], Awaitable[None]]


async def _nothing(_: Collection[UUID]) -> None:
    pass


class ErasureBook:
    """One process's knowledge. `forget_texts` clears what the views find cases by, of cases whose texts are gone."""

    def __init__(self, log: EventLog, vault: Vault, folder: Path, forget_texts: Forget = _nothing) -> None:
        self._log, self._vault, self._folder, self._forget_texts = log, vault, folder, forget_texts
        self._list: ErasureList | None = None
        self._size = -1
        self._enforced = False
        self._turn = asyncio.Lock()
        self.version = 0
        """Of the stream, as far as it was read."""
        self.position = 0
        # Whatever the database turns out to hold, and even before it answers; ids of keys are nobody else's.
        vault.erase(listed_anywhere(folder))

    async def refresh(self) -> None:
        """Catch up with the ledger and the list; at first, and when the ledger was put back, enforce them anew."""
        async with self._turn:
            await self._refresh()

    async def _refresh(self) -> None:
        kept = await self._kept()
        version = (await self._log.read.rows(_VERSION, [STREAM]))[0][0]
        anew = not self._enforced or version < self.version
        if anew:
            self.version = 0
        if version > self.version:
            before = self.version
            told = await self._read()
            try:
                if anew:
                    await self._destroy({one.key_id: one for one in told})
                await self._keep(kept, told)
            except BaseException:
                # Not done until it is listed: the next look begins here again.
                self.version = before
                raise
        if anew or kept.size != self._size:
            size = kept.size
            entries = await asyncio.to_thread(kept.entries)
            unknown = {key_id: one for key_id, one in entries.items() if anew or not self._vault.is_erased(key_id)}
            self._vault.erase(unknown)
            await self._destroy(unknown)
            self._size = size
        self._enforced = True

    async def run(self) -> None:
        """For ever: whoever is forgotten elsewhere is forgotten here."""
        while True:
            growing = self._log.read.growing
            try:
                await self.refresh()
            except Unavailable:
                pass
            except OSError as fault:
                structlog.get_logger().error("erasures", fault=type(fault).__name__)
            await asyncio.sleep(_PAUSE)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await growing.wait()

    async def listed(self, destroyed: Iterable[DestroyedKey]) -> None:
        """Keys that this process has destroyed: forgotten, and on the list when this returns."""
        held = list(destroyed)
        self._vault.erase(one.key_id for one in held)
        await self._keep(await self._kept(), held)

    async def _kept(self) -> ErasureList:
        if self._list is None:
            self._list = ErasureList(self._folder, (await tree(self._log.read)).ledger_id)
        return self._list

    async def _destroy(self, known: dict[UUID, DestroyedKey]) -> None:
        """Once more, where a copy of the database has brought back what was gone."""
        if not known:
            return
        back = [row[0] for row in await self._log.read.rows(_STILL_THERE, [list(known)])]
        await self._log.read.do(_DESTROY, [list(known), list(known)])
        cases = {case_id for key_id in back if (case_id := known[key_id].case_id)}
        if cases:
            await self._forget_texts(cases)
        if back:
            structlog.get_logger().warning("erased_again", keys=len(back))

    async def _read(self) -> list[DestroyedKey]:
        """What the ledger says since it was read last; the vault has forgotten it."""
        _, records = await self._log.read.history(STREAM, self.version)
        found: list[DestroyedKey] = []
        for record in records:
            if isinstance(fact := decode(record.name, record.schema, record.body), PersonErased):
                found += fact.destroyed
            self.version, self.position = record.version, record.position
        self._vault.erase(one.key_id for one in found)
        return found

    async def _keep(self, kept: ErasureList, destroyed: Collection[DestroyedKey]) -> None:
        if destroyed:
            await asyncio.to_thread(kept.add, destroyed)
