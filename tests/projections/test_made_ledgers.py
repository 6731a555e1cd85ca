"""The large ledgers that the bench measures on are ledgers like any other: every history legal, every text readable."""

from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from uuid import UUID

import psycopg
import pytest

from services.casebook import entry_of
from services.docket import Entry, Files, fold, groups
from services.embedded_postgres import EmbeddedPostgres
from services.event_log import EventLog, Record, is_intact
from services.events import ACTIONS, decode
from services.vault import Vault
from tests.bench.ledger import Order, made
from tests.conftest import fresh_database

pytestmark = pytest.mark.anyio

_MASTER, _PHONES = b"m" * 32, b"p" * 32
_ORDER = Order(actions=3_000, cases=450, until=datetime(2026, 11, 1, tzinfo=UTC))


async def _records(log: EventLog) -> list[Record]:
    records: list[Record] = []
    while page := await log.read.after(len(records), 5_000):
        records += page
    return records


async def test_a_made_ledger_is_whole_and_legal(database_url: str) -> None:
    plan = made(_ORDER, database_url, _MASTER, _PHONES)
    async with EventLog(database_url) as log:
        records = await _records(log)
        head = await log.read.head()
    assert [one.position for one in records] == list(range(1, head.position + 1))
    assert all(is_intact(one) for one in records)
    assert all(one.recorded_at < other.recorded_at for one, other in pairwise(records))
    actions = [one for one in records if one.name in ACTIONS]
    assert len(actions) == _ORDER.actions
    files: dict[UUID, list[Entry]] = {}
    for one in actions:
        files.setdefault(one.stream, []).append(entry_of(one))
    assert all([entry.version for entry in held] == list(range(1, len(held) + 1)) for held in files.values())
    assert len(files) == len(plan.numbers) and abs(len(files) - _ORDER.cases) < 0.1 * _ORDER.cases
    _all_legal(files, database_url)
    assert {"closed", "blamed", "corrected", "linked", "lesson_recorded"} <= {one.name for one in actions}


def _all_legal(files: Files, url: str) -> None:
    stands_open: dict[str, bool] = {}
    numbers: Counter[str] = Counter()
    for together in groups(files):
        folded = fold(together)
        assert not folded.faults
        for case in folded.docket.values():
            stands_open[case.case_no] = case.stands_open
            numbers[case.case_no] += 1
    assert max(numbers.values()) == 1
    with psycopg.connect(url) as connection:
        assert dict(connection.execute("SELECT case_no, is_open FROM case_ids").fetchall()) == stands_open


async def test_the_vault_opens_every_text_of_a_made_ledger(database_url: str) -> None:
    made(_ORDER, database_url, _MASTER, _PHONES)
    async with EventLog(database_url) as log:
        vault = Vault(_MASTER, _PHONES, log.read.keys)
        for one in await _records(log):
            fact = decode(one.name, one.schema, one.body)
            said = await vault.plain(fact, one.stream, one.version)
            assert "''" not in repr(said), one.name


def test_the_same_order_makes_the_same_ledger(cluster: EmbeddedPostgres) -> None:
    made_twice = []
    for processes in (1, 2):
        with fresh_database(cluster) as url, psycopg.connect(url) as connection:
            made(_ORDER._replace(actions=400, cases=60), url, _MASTER, _PHONES, processes)
            made_twice.append(connection.execute("SELECT header_hash FROM events ORDER BY position").fetchall())
    assert made_twice[0] == made_twice[1]
