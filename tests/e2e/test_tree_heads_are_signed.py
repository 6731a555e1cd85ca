"""Signing the tree on a real ledger: by several processes, while it grows, pushed outside, and never over a fork."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from services import tree_heads
from services.checkpoints import HeadKey, opened
from services.embedded_postgres import EmbeddedPostgres
from services.event_log import EventLog, Fact, Proposal
from services.event_log.merkle import Frontier
from services.event_log.tree import leaves, tree
from services.kept_heads import KeptHeads
from services.tree_heads import Forked, TreeHeads
from tests.conftest import fresh_database

pytestmark = pytest.mark.anyio

_KEY = HeadKey(bytes(range(32)))


@asynccontextmanager
async def _signing(url: str, folder: Path | None, target: str = "") -> AsyncIterator[tuple[EventLog, TreeHeads]]:
    async with EventLog(url) as log:
        yield log, TreeHeads(log, _KEY, folder, target, lambda: datetime.now(UTC))


async def _append(log: EventLog, count: int) -> None:
    for _ in range(count):
        stream = uuid4()
        await log.append(Proposal("agent/GD/x", {stream: 0}, [Fact(stream, "noted", 1, "GD", b'{"n":1}')]))


async def test_a_head_is_of_all_that_is_stored_and_signed_once(cluster: EmbeddedPostgres, tmp_path: Path) -> None:
    with fresh_database(cluster) as url:
        async with _signing(url, tmp_path) as (log, one), _signing(url, tmp_path) as (_, other):
            await _append(log, 300)
            signed = await asyncio.gather(*(signer.current() for signer in (one, other) for _ in range(5)))
            assert len({note for _, note in signed}) == 1
            head, note = signed[0]
            assert opened(note, _KEY.public) == head
            assert (head.size, head.root) == (300, Frontier.of(await leaves(log.read, 0, 300)).root())
            await _append(log, 1)
            assert (await other.current())[0].size == 301


async def test_heads_are_signed_while_the_ledger_grows_and_once_more_at_the_end(
    cluster: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_heads, "_OLD", tree_heads._OLD / 400)
    monkeypatch.setattr(tree_heads, "_LOOK", 0.05)
    with fresh_database(cluster) as url:
        async with _signing(url, tmp_path) as (log, signer), _signing(url, tmp_path) as (_, other):
            running = [asyncio.create_task(one.run()) for one in (signer, other)]
            for _ in range(20):
                await _append(log, 3)
                await asyncio.sleep(0.03)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            now = await tree(log.read)
            kept = KeptHeads(tmp_path, now.ledger_id)
            heads = [opened(note, _KEY.public) for note in kept.notes()]
            sizes = [head.size for head in heads if head]
            assert sizes == sorted(set(sizes))
            assert 4 <= len(sizes) == len(heads)
            assert sizes[-1] == now.size == 60
            assert kept.newest(_KEY.public) == heads[-1]
            kept_leaves = (kept.folder / "leaves-1").read_bytes()
            assert kept_leaves == b"".join(await leaves(log.read, 0, 60))


@pytest.mark.parametrize("keeps_memory", [True, False])
@pytest.mark.parametrize("damage", ["changed", "cut", "older copy", "no nodes"])
async def test_nothing_is_signed_over_a_fork(
    cluster: EmbeddedPostgres, tmp_path: Path, damage: str, keeps_memory: bool
) -> None:
    """By the process that signed, which remembers, or by another, which has the folder alone."""
    with fresh_database(cluster) as url:
        async with _signing(url, tmp_path) as (log, signer):
            await _append(log, 600)
            known, _ = await signer.current()
            await signer._push()
            await _append(log, 2)
            _damage(url, damage)
            async with _signing(url, tmp_path) as (_, another):
                judge = signer if keeps_memory else another
                with pytest.raises(Forked) as found:
                    await judge.current()
                assert found.value.kept == known
                assert judge.forked
                with psycopg.connect(url) as connection:
                    assert connection.execute("SELECT count(*) FROM tree_heads").fetchone() == (1,)


def _damage(url: str, damage: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        match damage:
            case "changed":
                connection.execute("UPDATE events SET header_hash = sha256(header_hash) WHERE position = 599")
            case "no nodes":
                connection.execute("DELETE FROM tree_nodes")
            case "cut":
                connection.execute("DELETE FROM events WHERE position > 590")
                connection.execute("UPDATE ledger_head SET position = 590, tree_size = 0, peaks = ''")
            case _:
                # As if an hour-old copy had been put back and went on.
                connection.execute("UPDATE events SET header_hash = sha256(header_hash) WHERE position > 580")
                rows = connection.execute("SELECT header_hash FROM events ORDER BY position").fetchall()
                tree = Frontier.of(digest for (digest,) in rows)
                connection.execute("UPDATE ledger_head SET tree_size = %s, peaks = %s", [tree.size, tree.peaks])
                for node, digest in tree.completed:
                    place = [digest, node.level, node.number]
                    connection.execute("UPDATE tree_nodes SET hash = %s WHERE level = %s AND index = %s", place)


class _Witness(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["content-length"])).decode()
        self.server.notes.append(text)  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


async def test_the_newest_head_reaches_a_witness_that_was_away(cluster: EmbeddedPostgres) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Witness)
    server.notes = []  # type: ignore[attr-defined]
    url_of_witness = f"http://127.0.0.1:{server.server_port}/heads"
    with fresh_database(cluster) as url:
        async with _signing(url, None, url_of_witness) as (log, signer):
            await _append(log, 2)
            await signer.current()
            away = Thread(target=lambda: None)
            server.socket.close()
            await signer._push()
            assert signer.unpushed_since is not None
            again = ThreadingHTTPServer(("127.0.0.1", server.server_port), _Witness)
            again.notes = []  # type: ignore[attr-defined]
            away = Thread(target=again.serve_forever)
            away.start()
            try:
                await _append(log, 1)
                head, _ = await signer.current()
                await signer._push()
                await signer._push()
            finally:
                await asyncio.to_thread(again.shutdown)
                again.server_close()
                away.join()
            assert signer.unpushed_since is None
            received = [opened(note, _KEY.public) for note in again.notes]
            assert received == [head]


async def test_another_key_goes_on_where_the_former_one_stopped(cluster: EmbeddedPostgres, tmp_path: Path) -> None:
    later = HeadKey(bytes(range(1, 33)))
    with fresh_database(cluster) as url:
        async with _signing(url, tmp_path) as (log, former):
            await _append(log, 600)
            await former.current()
            await former._push()
            successor = TreeHeads(log, later, tmp_path, "", lambda: datetime.now(UTC))
            await _append(log, 2)
            assert await successor.publics() == [later.public, _KEY.public]
            head, note = await successor.current()
            assert opened(note, later.public) == head
            await successor._push()
            kept = KeptHeads(tmp_path, (await tree(log.read)).ledger_id)
            assert [opened(one, _KEY.public) is not None for one in kept.notes()] == [True, False]
            assert kept.newest(later.public, _KEY.public) == head
            # What the former key signed binds the new one.
            _damage(url, "changed")
            another = TreeHeads(log, HeadKey(bytes(range(2, 34))), tmp_path, "", lambda: datetime.now(UTC))
            with pytest.raises(Forked):
                await another.current()
