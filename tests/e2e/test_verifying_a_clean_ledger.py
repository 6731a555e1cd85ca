"""No false alarm: on a large ledger, after it was moved or rewritten on disk, and after a migration."""

import os
import subprocess
import sys
from pathlib import Path
from random import Random
from time import perf_counter
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from projections.audit_file import Source, Wanted, export
from services import verifier
from services.checkpoints import HeadKey
from services.embedded_postgres import EmbeddedPostgres
from services.migrations import migrate
from services.verifier import Fault, read_key
from services.whole_ledger import verify_ledger
from tests.bench.ledger import made
from tests.bench.ledger.pouring import Order
from tests.e2e.signed_ledgers import KEY, desk, judged, now
from tests.e2e.test_migrating_a_filled_ledger import HAPPENED, fill

pytestmark = pytest.mark.anyio
_ACTIONS = 1_000_000 if os.environ.get("ANJUAN_SOAK") == "1" else 10_000
# What a million events may take on two cores that others share.
_SECONDS = 60.0


async def test_a_large_ledger_verifies_by_the_verifier_alone_in_a_minute(database_url: str, tmp_path: Path) -> None:
    made(Order(_ACTIONS, _ACTIONS * 3 // 20, now(), 1), database_url, b"m" * 32, b"p" * 32)
    file, alone, keys = tmp_path / "file.gz", tmp_path / "verifier.py", tmp_path / "keys"
    async with desk(database_url, tmp_path / "heads") as opened:
        head, _ = await opened.heads.kept()
        await export(Source(opened.log, opened.heads, KEY, now), Wanted(), file, lambda *_: None)
    keys.write_text(KEY.written(head.origin))
    alone.write_text(Path(verifier.__file__).read_text())  # noqa: ASYNC240
    begun = perf_counter()
    done = _alone(alone, file, "--key", keys, "--heads", tmp_path / "heads")
    took = perf_counter() - begun
    print(f"{head.size} events in {took:.1f} s")
    assert done.returncode == 0, done.stdout
    assert f"{head.size} events verified" in done.stdout
    assert took < _SECONDS
    assert judged(database_url, tmp_path / "heads").kept == 1


async def test_a_database_that_was_dumped_restored_and_vacuumed_verifies(
    cluster: EmbeddedPostgres, database_url: str, tmp_path: Path
) -> None:
    async with desk(database_url, tmp_path / "heads") as opened:
        await opened.grow(Random(1), [300, 250])
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("VACUUM FULL")
    assert judged(database_url, tmp_path / "heads").kept == 2
    name, dump = f"moved_{uuid4().hex}", str(tmp_path / "dump")
    cluster.create_database(name)
    try:
        _run(cluster, "pg_dump", "-Fc", "-f", dump, database_url)
        _run(cluster, "pg_restore", "-d", cluster.url(name), dump)
        assert judged(cluster.url(name), tmp_path / "heads").kept == 2
        async with desk(cluster.url(name), tmp_path / "heads") as opened:
            await opened.grow(Random(2), [100])
        assert judged(cluster.url(name), tmp_path / "heads").size == 650
        # What the old database lacks now was signed by the new one.
        with pytest.raises(Fault) as found:
            judged(database_url, tmp_path / "heads")
        assert found.value.position == 551
    finally:
        with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def _alone(program: Path, *words: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-I", str(program), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _run(server: EmbeddedPostgres, program: str, *words: str) -> None:
    done = subprocess.run([server.bin_dir / program, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]


async def test_a_ledger_that_an_older_release_filled_verifies_once_it_is_migrated(
    cluster: EmbeddedPostgres, tmp_path: Path
) -> None:
    name = f"old_{uuid4().hex}"
    cluster.create_database(name)
    url = cluster.url(name)
    migrate(url, "0001")
    fill(url, HAPPENED)
    migrate(url)
    key = HeadKey(b"k" * 32)
    found = verify_ledger(url, lambda origin: [read_key(key.written(origin))], tmp_path)
    assert (found.size, found.heads) == (6, 0)
    assert "no heads of this ledger are kept" in found.remarks[0]
