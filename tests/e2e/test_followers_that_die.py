"""Followers killed again and again between rows and checkpoint: no action is skipped, none is applied twice."""

import asyncio
import os
import signal
import sys
import time
from itertools import pairwise
from pathlib import Path
from random import Random

import psycopg
import pytest

from tests.e2e.fire import seed_of
from tests.e2e.serving import ROOT, Service, crowd, in_thread, serving

pytestmark = pytest.mark.anyio
_SOAK = os.environ.get("ANJUAN_SOAK") == "1"
_KILLS = 60 if _SOAK else 4
# Every step that a checkpoint really took, in order.
_NOTED = """
CREATE TABLE steps (number bigint GENERATED ALWAYS AS IDENTITY, before bigint, after bigint);
GRANT INSERT ON steps TO anjuan_follower;
CREATE FUNCTION note_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO steps (before, after) VALUES (old.position, new.position); RETURN new; END $$;
CREATE TRIGGER noted AFTER UPDATE ON projection_checkpoints FOR EACH ROW EXECUTE FUNCTION note_step();
"""


async def test_nothing_is_skipped_and_nothing_is_applied_twice(tmp_path: Path, durable_database_url: str) -> None:
    url, chance = durable_database_url, Random(seed_of("dying followers"))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_NOTED)
    with serving(tmp_path, url, ANJUAN_FOLLOW="off") as service:
        await service.describe_directory()
        began = time.monotonic()
        async with crowd(service, 6, chance) as busy:
            for _ in range(_KILLS):
                assert await _killed(service, url, chance) == -signal.SIGKILL
            writes = len(busy.stored) / (time.monotonic() - began)
        process = await asyncio.create_subprocess_exec(*service.command("follow"), env=service.environment, cwd=ROOT)
        head = await in_thread(_caught_up, url)
        process.terminate()
        assert await process.wait() == 0
        done = await in_thread(service.run, "check-projections")
        assert done.returncode == 0, done.stdout
    with psycopg.connect(url) as connection:
        steps = connection.execute("SELECT before, after FROM steps ORDER BY number").fetchall()
    moves = [step for step in steps if step[0] != step[1]]
    skipped = [(one, other) for one, other in pairwise(moves) if other[0] > one[1]]
    doubled = [(one, other) for one, other in pairwise(moves) if other[0] < one[1]]
    print(
        f"{_KILLS} kills, {writes:.0f} writes/s, {len(moves)} steps to {head}:"
        f" {len(skipped)} skipped, {len(doubled)} doubled"
    )
    assert (moves[0][0], moves[-1][1]) == (0, head)
    assert not skipped and not doubled
    assert writes >= 50 or not _SOAK


async def _killed(service: Service, url: str, chance: Random) -> int:
    """Let one lead until it is killed; its end."""
    module, seed = "tests.e2e.dying_follower", str(chance.randrange(2**32))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, url, str(service.data), seed), env=service.environment, cwd=ROOT
    )
    return await asyncio.wait_for(process.wait(), 60)


def _caught_up(url: str) -> int:
    """Wait until the views are at the ledger's end, where nobody writes any more."""
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(600):
            row = connection.execute(
                "SELECT h.position, c.position FROM ledger_head h, projection_checkpoints c WHERE c.state = 'live'"
            ).fetchone()
            assert row
            if row[0] == row[1]:
                return int(row[0])
            time.sleep(0.1)
    raise AssertionError(f"stuck at {row}")
