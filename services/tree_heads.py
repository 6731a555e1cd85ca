"""Signing the tree: a head at once when asked, one a minute while the ledger grows, and copies of each outside.

Nothing is signed that does not extend what was signed before, as far as this process or the kept heads know: a ledger
that lost or changed events gets no head until somebody says that a backup was restored (``anjuan restored``).
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from services.checkpoints import HeadKey, TreeHead, opened, opened_by, origin_of
from services.event_log import EventLog, Unavailable
from services.event_log.tree import BrokenTree, Tree, leaves, roots, tree
from services.kept_heads import KeptHeads
from services.restorations import recorded, shared

# A head is at most a minute behind: one is signed when the last is so old, looked at so often.
_OLD = timedelta(seconds=40)
_LOOK = 15.0
_AT_ONCE = 50_000
_PATIENCE = 5.0

_SIGNED = "SELECT note FROM tree_heads WHERE epoch = %b AND size = %b"
_SIGN = """
INSERT INTO tree_heads (epoch, size, root, signed_at, note) VALUES (%b, %b, %b, %b, %b)
ON CONFLICT (epoch, size) DO NOTHING
"""
_LATER = """
SELECT note FROM tree_heads WHERE (epoch, size) > (%b, %b) ORDER BY epoch, size LIMIT 1000
"""
_OWN_KEY = "INSERT INTO head_keys (public, since) VALUES (%b, %b) ON CONFLICT DO NOTHING"
_KEYS = "SELECT public FROM head_keys ORDER BY since DESC"
_LAST = "SELECT size, signed_at FROM tree_heads WHERE epoch = %b ORDER BY size DESC LIMIT 1"


class NotSent(OSError):
    """Whoever was named did not take a head; the message is the fault's name."""


class Forked(Exception):
    """The ledger does not extend a head that was signed: events are gone or changed. `kept` is that head."""

    def __init__(self, kept: TreeHead) -> None:
        super().__init__(f"the ledger does not extend its head of {kept.size} events")
        self.kept = kept


class TreeHeads:
    """One process's signing. Any number of processes sign for one ledger."""

    def __init__(
        self, log: EventLog, key: HeadKey, folder: Path | None, target: str, clock: Callable[[], datetime]
    ) -> None:
        self._log, self._key, self._folder, self._target, self._clock = log, key, folder, target, clock
        self._known: TreeHead | None = None
        self._pushed: TreeHead | None = None
        self._publics: list[bytes] = []
        self._wanted = asyncio.Event()
        self.forked = False
        """Whether the ledger was found not to extend what was signed."""
        self.unpushed_since: datetime | None = None
        """Since when copies could not be kept outside."""

    async def current(self) -> tuple[TreeHead, str]:
        """A head of everything that is stored now, and its note; raises `Forked`."""
        now = await tree(self._log.read)
        head = await self._head(now)
        self._wanted.set()
        return head

    async def kept(self) -> tuple[TreeHead, str]:
        """As `current`; kept outside when this returns, unless `unpushed_since` says otherwise."""
        head = await self.current()
        await self._push()
        return head

    async def publics(self) -> list[bytes]:
        """The keys that sign heads or ever did, the one of this process first."""
        if not self._publics:
            await self._log.read.do(_OWN_KEY, [self._key.public, self._clock()])
        former = [bytes(row[0]) for row in await self._log.read.rows(_KEYS, [])]
        self._publics = [self._key.public, *(one for one in former if one != self._key.public)]
        return self._publics

    async def run(self) -> None:
        """Sign while the ledger grows, and keep copies outside; for ever. What it has seen last it signs at its end."""
        try:
            while True:
                await self._turn()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK):
                        await self._wanted.wait()
                self._wanted.clear()
        finally:
            with contextlib.suppress(Forked, Unavailable, OSError):
                async with asyncio.timeout(_PATIENCE):
                    await self._head(await tree(self._log.read))
                    await self._push()

    async def _turn(self) -> None:
        try:
            now = await tree(self._log.read)
            if await self._is_due(now):
                await self._head(now)
            await self._push()
        except Unavailable:
            pass
        except Forked as found:
            structlog.get_logger().error("tree_head_refused", kept_size=found.kept.size, kept_epoch=found.kept.epoch)

    async def _is_due(self, now: Tree) -> bool:
        last = await self._log.read.rows(_LAST, [now.epoch])
        return not last or (last[0][0] < now.size and self._clock() - last[0][1] > _OLD)

    async def _head(self, now: Tree) -> tuple[TreeHead, str]:
        await self._refuse_a_fork(now)
        if found := await self._stored(now):
            return found
        head = TreeHead(origin_of(now.ledger_id), now.epoch, now.size, now.root, self._clock())
        await self._log.read.do(_SIGN, [now.epoch, now.size, now.root, head.signed_at, self._key.signed(head)])
        self._known = head
        # Of two who sign at once the first one's is everybody's.
        return await self._stored(now) or (head, self._key.signed(head))

    async def _stored(self, now: Tree) -> tuple[TreeHead, str] | None:
        """What was signed of this very tree."""
        rows = await self._log.read.rows(_SIGNED, [now.epoch, now.size])
        head = opened(rows[0][0], self._key.public) if rows else None
        return (head, rows[0][0]) if head and head.root == now.root else None

    async def _refuse_a_fork(self, now: Tree) -> None:
        known = self._known or await asyncio.to_thread(self._newest_kept, now, await self.publics())
        if known and (known.epoch, known.size) > (now.epoch, now.size):
            # Signed since, of what was stored since.
            now = await tree(self._log.read)
        self.forked = not (known is None or await extends(self._log, now, known))
        if known and self.forked:
            raise Forked(known)
        self._known = known

    def _newest_kept(self, now: Tree, publics: list[bytes]) -> TreeHead | None:
        return KeptHeads(self._folder, now.ledger_id).newest(*publics) if self._folder else None

    async def _push(self) -> None:
        """Bring outside what is not there yet."""
        try:
            if self._folder:
                await self._keep(KeptHeads(self._folder, (await tree(self._log.read)).ledger_id))
            if self._target:
                await self._send()
        except OSError as failure:
            if self.unpushed_since is None:
                structlog.get_logger().error("tree_heads_not_kept_outside", fault=_named(failure))
            self.unpushed_since = self.unpushed_since or self._clock()
        else:
            self.unpushed_since = None

    async def _keep(self, kept: KeptHeads) -> None:
        publics = await self.publics()
        newest = await asyncio.to_thread(kept.newest, *publics)
        after = [newest.epoch, newest.size] if newest else [0, 0]
        for (note,) in await self._log.read.rows(_LATER, after):
            if head := opened_by(note, publics):
                await self._keep_leaves(kept, head)
                await asyncio.to_thread(kept.keep, head, note, *publics)

    async def _keep_leaves(self, kept: KeptHeads, head: TreeHead) -> None:
        begin = kept.leaf_count(head.epoch)
        while begin < head.size:
            end = min(begin + _AT_ONCE, head.size)
            await asyncio.to_thread(kept.keep_leaves, head.epoch, begin, await leaves(self._log.read, begin, end))
            begin = end

    async def _send(self) -> None:
        """The newest head to whoever was named; those before it are in it."""
        if self._known is None or self._known == self._pushed:
            return
        # Takes a tenth of a second to load, and few name anybody.
        import httpx

        try:
            async with httpx.AsyncClient(timeout=_PATIENCE) as client:
                sent = await client.post(
                    self._target,
                    content=self._key.signed(self._known).encode(),
                    headers={"content-type": "text/plain; charset=utf-8"},
                )
                sent.raise_for_status()
        except httpx.HTTPError as failure:
            raise NotSent(type(failure).__name__) from None
        self._pushed = self._known


def _named(failure: OSError) -> str:
    return str(failure) if isinstance(failure, NotSent) else type(failure).__name__


async def extends(log: EventLog, now: Tree, kept: TreeHead) -> bool:
    """Whether the ledger holds what a head of it says, or a record of the restore by which that was lost."""
    if kept.epoch > now.epoch or kept.origin != origin_of(now.ledger_id):
        return False
    if kept.epoch < now.epoch:
        base = shared(await recorded(log.read), kept.epoch)
        # An epoch that no record tells of was not begun by this service.
        if base is None or kept.size > base:
            return base is not None
    if kept.size > now.size:
        return False
    try:
        (root,) = await roots(log.read, [(0, kept.size)])
    except BrokenTree:
        return False
    return root == kept.root
