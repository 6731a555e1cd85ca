"""Whoever changes the database directly is found, and the first bad position named; who changes nothing is not."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from services.embedded_postgres import EmbeddedPostgres
from services.verifier import Fault
from tests.conftest import fresh_database
from tests.e2e.rewriting import EDITS, Found, Scene, recompute
from tests.e2e.signed_ledgers import desk, judged

pytestmark = pytest.mark.anyio
_SEED = 20261125
_PARTS = [100, 1, 99, 56, 144, 100, 99, 101]
_SOAK = os.environ.get("ANJUAN_SOAK") == "1"
_TIMES = 500 // len(EDITS) + 1 if _SOAK else 1


class Signed(NamedTuple):
    """A ledger to be copied; `old`: a copy of when it was smaller."""

    server: EmbeddedPostgres
    name: str
    old: str
    old_size: int
    folder: Path

    @contextmanager
    def copy(self, old: bool = False) -> Iterator[str]:
        name = f"changed_{uuid4().hex}"
        self.server.create_database(name, self.old if old else self.name)
        try:
            yield self.server.url(name)
        finally:
            with psycopg.connect(self.server.url("postgres"), autocommit=True) as connection:
                connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@pytest.fixture(scope="module")
async def ledger(
    cluster: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory, anyio_backend: object
) -> AsyncIterator[Signed]:
    """700 events with 8 heads kept outside."""
    rng, folder = Random(_SEED), tmp_path_factory.mktemp("heads")
    with fresh_database(cluster) as url:
        name = url.split("/")[3].split("?")[0]
        async with desk(url, folder) as opened:
            await opened.grow(rng, _PARTS[:4])
        cluster.create_database(f"{name}_old", name)
        async with desk(url, folder) as opened:
            await opened.grow(rng, _PARTS[4:])
        yield Signed(cluster, name, f"{name}_old", sum(_PARTS[:4]), folder)


def _signed() -> list[int]:
    return [sum(_PARTS[: n + 1]) for n in range(len(_PARTS))]


@contextmanager
def _scene(url: str, seed: str) -> Iterator[Scene]:
    with psycopg.connect(url) as session:
        session.execute("SET session_replication_role = replica")
        yield Scene(session, Random(seed), sum(_PARTS), _signed())


def _fault(url: str, folder: Path) -> Found | None:
    try:
        judged(url, folder)
    except Fault as fault:
        return Found(fault.position, fault.what)
    return None


async def test_what_nobody_changed_verifies(ledger: Signed) -> None:
    with ledger.copy() as url:
        found = judged(url, ledger.folder)
    assert (found.size, found.heads, found.kept, found.remarks) == (700, 8, 8, [])


@pytest.mark.parametrize("kind", EDITS)
async def test_a_direct_edit_is_found_and_named(ledger: Signed, kind: str) -> None:
    for n in range(_TIMES):
        seed = f"{_SEED} {kind} {n}"
        with ledger.copy() as url:
            with _scene(url, seed) as scene:
                wanted = EDITS[kind](scene)
            found = _fault(url, ledger.folder)
        assert found is not None, f"seed {seed}: not found; {wanted}"
        assert wanted.fits(*found), f"seed {seed}: {found} instead of {wanted}"


async def test_without_the_kept_leaves_the_stretch_between_two_heads_is_named(ledger: Signed, tmp_path: Path) -> None:
    folder = tmp_path / "heads"
    shutil.copytree(ledger.folder, folder, ignore=shutil.ignore_patterns("leaves-*"))
    rng = Random(_SEED)
    for position in (rng.randint(1, 100), 101, rng.randint(102, 200), rng.randint(600, 700)):
        with ledger.copy() as url:
            with _scene(url, "") as scene:
                scene.do("UPDATE events SET body = body || 'x' WHERE position = %s", position)
                recompute(scene)
            found = _fault(url, folder)
        assert found is not None
        first = max(size for size in [0, *_signed()] if size < position) + 1
        assert found.position == first, f"position {position} (seed {_SEED}): {found}"
        assert "no kept leaves tell where exactly" in found.named


async def test_a_copy_of_an_hour_ago_put_back_is_found(ledger: Signed) -> None:
    with ledger.copy(old=True) as url:
        found = _fault(url, ledger.folder)
    assert found is not None
    assert found.position == ledger.old_size + 1
    assert "a head of 700 was signed" in found.named


async def test_a_copy_of_an_hour_ago_that_went_on_is_found(ledger: Signed, tmp_path: Path) -> None:
    """Its new events are others than those that were signed; the service that signs them knows no kept heads."""
    with ledger.copy(old=True) as url:
        async with desk(url, tmp_path) as other:
            await other.grow(Random(1), [200, 300])
        found = _fault(url, ledger.folder)
    assert found is not None
    assert found.position == ledger.old_size + 1


async def test_earlier_changes_are_named_before_later_ones(ledger: Signed) -> None:
    with ledger.copy() as url:
        with _scene(url, "") as scene:
            scene.do("UPDATE events SET body = body || 'x' WHERE position = 333")
            recompute(scene)
            scene.do("UPDATE events SET actor = 'x' WHERE position = 350")
        found = _fault(url, ledger.folder)
    assert found is not None
    assert found.position == 333
    assert "moreover position 350" in found.named
