"""Small ledgers with heads that are kept outside, and keys to judge them by."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from services.checkpoints import HeadKey, origin_of
from services.event_log import EventLog, Fact, Proposal
from services.event_log.tree import tree
from services.restoring import Restored, record_restore
from services.tree_heads import TreeHeads
from services.verifier import Key, Verified, read_key
from services.whole_ledger import verify_ledger

KEY = HeadKey(bytes(range(32)))
REGIONS = ("GD", "ZJ", "")


def now() -> datetime:
    return datetime.now(UTC)


def keys(origin: str) -> list[Key]:
    return [read_key(KEY.written(origin))]


class Desk(NamedTuple):
    """A ledger that is open, and what signs it."""

    url: str
    log: EventLog
    heads: TreeHeads
    folder: Path

    async def write(self, rng: Random, count: int, streams: int = 40) -> None:
        """So many more events, in streams of several regions."""
        ids = [UUID(int=Random(n).getrandbits(128)) for n in range(streams)]
        versions: dict[UUID, int] = dict.fromkeys(ids, 0)
        for record in await self.log.read.histories_until(ids, 1 << 40):
            versions[record.stream] = record.version
        while count:
            chosen = rng.sample(ids, min(count, rng.randint(1, 5)))
            facts = [_fact(rng, ids, one) for one in chosen]
            await self.log.append(Proposal("agent/region/吴一", {one: versions[one] for one in chosen}, facts))
            for one in chosen:
                versions[one] += 1
            count -= len(chosen)

    async def sign(self) -> None:
        """A head of everything, kept outside when this returns."""
        await self.heads.kept()

    async def grow(self, rng: Random, parts: Sequence[int]) -> None:
        """Events, each part with a head at its end."""
        for count in parts:
            await self.write(rng, count)
            await self.sign()

    async def restored(self, reason: str) -> Restored:
        return await record_restore(self.log, self.url, self.heads, KEY, self.folder, reason, now())


def _fact(rng: Random, ids: Sequence[UUID], stream: UUID) -> Fact:
    region = REGIONS[ids.index(stream) % len(REGIONS)]
    text = rng.choice(["水\u2028", "墙 裂", 'a"\\\n\x7f', "\x85", "好"]) * rng.randint(0, 4)
    body = f'{{"text":"{text}","n":{rng.random()}}}'.encode()
    return Fact(stream, "noted", 1, region, body if rng.random() < 0.95 else b"\xff" + body)


@asynccontextmanager
async def desk(url: str, folder: Path) -> AsyncIterator[Desk]:
    async with EventLog(url) as log:
        yield Desk(url, log, TreeHeads(log, KEY, folder, "", now), folder)


async def origin(url: str) -> str:
    async with EventLog(url) as log:
        return origin_of((await tree(log.read)).ledger_id)


def judged(url: str, folder: Path) -> Verified:
    """What the verification of the database finds; raises `Fault`."""
    return verify_ledger(url, keys, folder)


def as_superuser(url: str, *statements: tuple[str, Sequence[Any]]) -> None:
    """Whatever is asked, with no trigger in the way."""
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        for statement, values in statements:
            connection.execute(statement.encode(), values)
