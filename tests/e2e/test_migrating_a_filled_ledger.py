"""Migrations meet ledgers that were filled by older releases."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

import psycopg
import pytest

from projections.tables import DECLARED
from services.embedded_postgres import EmbeddedPostgres
from services.event_log import Begun, EventLog, Fact, Placed, Proposal, Similar, is_intact
from services.event_log.merkle import Frontier
from services.event_log.record import header_hash
from services.event_log.tree import tree
from services.migrations import differences, is_current, migrate

_GOLDEN = Path(__file__).parents[1] / "contract" / "golden"
# When the openings of the golden bodies happened.
HAPPENED = datetime(2026, 11, 23, 8, 5, 0, 123456, UTC)

pytestmark = pytest.mark.anyio


class Old(NamedTuple):
    """A case as an older release left it."""

    stream: UUID
    case_no: str
    name: str


@pytest.fixture
def old_url(cluster: EmbeddedPostgres) -> Iterator[str]:
    """A ledger with the first tables."""
    name = f"old_{uuid4().hex}"
    cluster.create_database(name)
    migrate(cluster.url(name), "0001")
    yield cluster.url(name)


def fill(url: str, recorded_at: datetime) -> list[Old]:
    """One case of each stage, with a note; each body is one that is stored somewhere for ever."""
    openings = ("received", "warned", "risk_identified")
    cases = [Old(uuid4(), f"GD-20261123-004{n}", name) for n, name in enumerate(openings)]
    with psycopg.connect(url) as connection:
        for case in cases:
            body = (_GOLDEN / f"{case.name}.1.whole.json").read_bytes().strip()
            _insert(connection, case.stream, 1, case.name, body, recorded_at)
            _insert(connection, case.stream, 2, "noted", (_GOLDEN / "noted.1.whole.json").read_bytes(), recorded_at)
            connection.execute("INSERT INTO case_ids (case_no, stream) VALUES (%s, %s)", [case.case_no, case.stream])
    return cases


def _insert(
    connection: psycopg.Connection, stream: UUID, version: int, name: str, body: bytes, recorded_at: datetime
) -> None:
    head = connection.execute("UPDATE ledger_head SET position = position + 1 RETURNING position").fetchone()
    assert head is not None
    instant = recorded_at + timedelta(microseconds=head[0])
    row = (head[0], stream, version, name, 1, "agent/GD/old", "GD", instant, body)
    values = ", ".join(["%s"] * 10)
    connection.execute(f"INSERT INTO events VALUES ({values})".encode(), [*row, header_hash(*row)])
    connection.execute("UPDATE ledger_head SET recorded_at = %s", [instant])


async def test_cases_of_an_older_release_are_known_to_be_open(old_url: str) -> None:
    cases = fill(old_url, HAPPENED + timedelta(hours=1))
    migrate(old_url)
    assert is_current(old_url)
    assert differences(old_url, DECLARED) == []
    with psycopg.connect(old_url) as connection:
        rows = connection.execute(
            "SELECT stream, case_no, project, category, opened_at, is_open FROM case_ids ORDER BY case_no"
        ).fetchall()
    assert rows == [(case.stream, case.case_no, "GD-FS-001", "engineering", HAPPENED, True) for case in cases]
    async with EventLog(old_url) as log:
        similar = await _begin(log, Begun("GD-FS-001", "engineering", HAPPENED + timedelta(days=2)))
        assert {one.stream: one.case_no for one in similar} == {case.stream: case.case_no for case in cases}
        assert all(map(is_intact, await log.read.after(0)))


async def _begin(log: EventLog, begun: Begun) -> list[Similar]:
    found: list[Similar] = []

    def answer(placed: Placed) -> bytes:
        found[:] = placed.similar
        return b""

    stream = uuid4()
    fact = Fact(stream, "received", 1, "GD", b'{"n":1}', begun, answer=answer)
    await log.append(Proposal("agent/GD/new", {stream: 0}, [fact]))
    return found


def test_a_case_whose_clock_ran_ahead_is_opened_when_it_was_recorded(old_url: str) -> None:
    fill(old_url, HAPPENED - timedelta(minutes=3))
    migrate(old_url)
    with psycopg.connect(old_url) as connection:
        early = connection.execute(
            "SELECT count(*) FROM case_ids JOIN events USING (stream) WHERE version = 1 AND opened_at = recorded_at"
        ).fetchone()
    assert early == (3,)


def test_a_migration_that_was_cut_off_is_finished_by_the_next(old_url: str) -> None:
    fill(old_url, HAPPENED)
    with psycopg.connect(old_url) as connection:
        connection.execute("ALTER TABLE case_ids ADD COLUMN project text, ADD COLUMN opened_at timestamptz")
        connection.execute("UPDATE case_ids SET case_no = case_no")
    migrate(old_url)
    assert differences(old_url, DECLARED) == []


def test_a_migration_gives_up_behind_a_reader_that_does_not_end(old_url: str) -> None:
    fill(old_url, HAPPENED)
    with psycopg.connect(old_url) as reader:
        reader.execute("SELECT count(*) FROM case_ids")
        with pytest.raises(Exception, match="lock timeout"):
            migrate(old_url)
    migrate(old_url)
    assert differences(old_url, DECLARED) == []


def _tree(url: str) -> tuple[int, bytes, bytes, int]:
    """What the head says of the tree, what it ought to say, and how many nodes are kept."""
    with psycopg.connect(url) as connection:
        size, peaks = connection.execute("SELECT tree_size, peaks FROM ledger_head").fetchone() or (0, b"")
        leaves = connection.execute("SELECT header_hash FROM events ORDER BY position").fetchall()
        kept = connection.execute("SELECT level, index, hash FROM tree_nodes ORDER BY level, index").fetchall()
    tree = Frontier.of(digest for (digest,) in leaves)
    assert [(*node, digest) for node, digest in sorted(tree.completed)] == kept
    return size, peaks, tree.peaks, len(kept)


async def test_the_tree_is_made_over_what_is_there_and_over_what_an_older_release_adds(old_url: str) -> None:
    for _ in range(45):
        fill(old_url, HAPPENED + timedelta(hours=1))
        with psycopg.connect(old_url) as connection:
            connection.execute("DELETE FROM case_ids")
    migrate(old_url)
    size, peaks, expected, kept = _tree(old_url)
    assert (size, peaks, kept) == (270, expected, 1)
    with psycopg.connect(old_url) as connection:
        for number in range(300):
            _insert(connection, uuid4(), 1, "noted", b"{}", HAPPENED + timedelta(hours=2, seconds=number))
    async with EventLog(old_url) as log:
        now = await tree(log.read)
        await _begin(log, Begun("GD-FS-001", "engineering", HAPPENED))
    size, peaks, expected, kept = _tree(old_url)
    assert (size, peaks, kept) == (571, expected, 2)
    assert now.size == 570


def test_views_of_the_release_before_stay_and_their_sums_are_made_anew(old_url: str) -> None:
    fill(old_url, HAPPENED)
    migrate(old_url, "0004")
    with psycopg.connect(old_url) as connection:
        connection.execute("UPDATE projection_checkpoints SET position = 6 WHERE generation = 1")
        connection.execute("INSERT INTO view_1.answers VALUES ('second', '', 'GD', 60, 2)")
        connection.execute("INSERT INTO view_1.words VALUES (gen_random_uuid(), '', '{}')")
    migrate(old_url)
    assert differences(old_url, DECLARED) == []
    with psycopg.connect(old_url) as connection:
        kept = connection.execute(
            "SELECT position, summed, (SELECT count(*) FROM view_1.words) FROM projection_checkpoints"
            " WHERE generation = 1"
        ).fetchone()
    assert kept == (6, 0, 1)
