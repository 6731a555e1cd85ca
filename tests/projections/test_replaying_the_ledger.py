"""A replay over a ledger like years of work: it agrees with the views, and finds just what was planted."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any
from uuid import UUID

import psycopg
import pytest

from intake_api.services import Services
from projections import replay_run
from projections.replay import Question
from projections.replay_kept import CASES, DIFFERENCES, FINDINGS, KINDS, TAMPERED, Kept, canonical
from projections.replay_run import Replay
from services.docket import Entry
from services.event_log import Head, Record
from services.event_log.record import header_hash
from services.events import encode
from tests.bench.ledger import Order, made
from tests.projections.frauds import FRAUDS, Desk
from tests.projections.ledgers import rebuilt, store

pytestmark = pytest.mark.anyio
_UNTIL = datetime(2026, 11, 1, tzinfo=UTC)
_LATER = _UNTIL + timedelta(days=20)
_ORDER = Order(actions=6_000, cases=900, until=_UNTIL, seed=5)
# A merger whose source takes nothing more, while its target goes on; the target's counterpart is the next record.
_MERGED_FOR_GOOD = """
SELECT position FROM events AS e
WHERE name = 'linked' AND position > 1000 AND convert_from(body, 'UTF8') LIKE '%%merged_into%%'
    AND NOT EXISTS (SELECT FROM events WHERE stream = e.stream AND version > e.version) ORDER BY position LIMIT 1
"""
_FORCED = "SET session_replication_role = replica"


@pytest.fixture
def filled(services: Services) -> Services:
    made(_ORDER, services.url, services.settings.key("ANJUAN_MASTER_KEY"), services.settings.key("ANJUAN_PHONE_KEY"))
    return services


async def _replayed(services: Services, known_at: datetime = _LATER, **asked: Any) -> Kept:
    await services.policies.refresh()
    question = Question(_LATER, known_at, **asked)
    kept = Kept(BytesIO(), canonical(question))
    head = await services.log.read.head()
    await Replay(services.url, services.log, services.policies.policies, question, head, kept).run()
    return kept


def _items(kept: Kept, kind: bytes) -> list[dict[str, Any]]:
    return [json.loads(item) for item in kept.items(kind)]


async def _plant(services: Services) -> dict[UUID, tuple[str, tuple[str, ...]]]:
    """Commit every fraud, one a day, after all that is there."""
    planted: dict[UUID, tuple[str, tuple[str, ...]]] = {}
    entries: list[Entry] = []
    for day, fraud in enumerate(FRAUDS):
        desk = Desk(_UNTIL + timedelta(days=day // 2, hours=day), "GD-P001")
        planted[fraud.commit(desk)] = (fraud.kind, fraud.reasons)
        entries += [one.entry for one in desk.told]
    await _append(services, entries)
    return planted


async def _append(services: Services, entries: Sequence[Entry]) -> None:
    position = (await services.log.read.head()).position
    records = []
    for entry in sorted(entries, key=lambda one: one.recorded_at):
        position += 1
        sealed, seals = await services.vault.seal(entry.action, entry.stream, entry.version)
        for key in seals.new:
            await services.log.read.do(
                "INSERT INTO data_keys (key_id, person, wrapped) VALUES (%b, %b, %b)", list(key[:3])
            )
        services.vault.confirm(seals)
        at = entry.recorded_at + timedelta(microseconds=position)
        place = (position, entry.stream, entry.version, sealed.name, sealed.schema, entry.actor, entry.region, at)
        body = encode(sealed)
        records.append(Record(*place, body, header_hash(*place, body)))
    await store(services.url, records)


async def test_ordinary_work_agrees_with_the_views_and_raises_hardly_a_brow(filled: Services) -> None:
    await rebuilt(filled)
    kept = await _replayed(filled)
    totals = kept.tally.shown()
    assert totals["cases"] > 800 and totals["breaches"]
    assert (_items(kept, DIFFERENCES), _items(kept, TAMPERED)) == ([], [])
    assert sum(totals["findings"].values()) <= totals["cases"] // 200, totals["findings"]


async def test_every_planted_fraud_is_found_and_nothing_else(filled: Services) -> None:
    before = Counter(one["kind"] for one in _items(await _replayed(filled), FINDINGS))
    planted = await _plant(filled)
    await rebuilt(filled)
    kept = await _replayed(filled)
    assert (_items(kept, DIFFERENCES), _items(kept, TAMPERED)) == ([], [])
    found: dict[UUID, list[tuple[str, tuple[str, ...]]]] = {}
    for one in _items(kept, FINDINGS):
        assert one["positions"] and len(one["positions"]) == len(one["actions"])
        found.setdefault(UUID(one["case_id"]), []).append((one["kind"], tuple(one["reasons"])))
    missed = {case: fraud for case, fraud in planted.items() if fraud not in found.get(case, [])}
    assert not missed, (missed, [found.get(case) for case in missed])
    others = Counter(kind for case, held in found.items() if case not in planted for kind, _ in held)
    assert others == before
    # One fraud may be seen in two ways: a date that was changed, by another, made it look better.
    assert all(len(found[case]) <= 3 for case in planted)


async def test_the_same_question_has_the_same_digest_however_it_is_paged_and_resumed(
    filled: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await _replayed(filled)
    digest = kept.digest({})
    monkeypatch.setattr(replay_run, "_PAGE", 333)
    assert (await _replayed(filled)).digest({}) == digest
    # Killed in the middle of a line.
    question = Question(_LATER, _LATER)
    file = BytesIO()
    head = await filled.log.read.head()
    pages = 0

    class Killed(Exception):
        pass

    def reached(done: int, total: int) -> None:
        nonlocal pages
        pages += 1
        if pages == 7:
            raise Killed

    half = Kept(file, canonical(question))
    with pytest.raises(Killed):
        await Replay(filled.url, filled.log, filled.policies.policies, question, head, half, reached).run()
    whole = half.walked.records
    half.put(CASES, _items(half, CASES)[0])
    file.write(b'c{"broken')
    resumed = Kept(file, canonical(question))
    assert resumed.walked.records == whole > 0
    await Replay(filled.url, filled.log, filled.policies.policies, question, head, resumed).run()
    assert resumed.digest({}) == digest
    assert resumed.tally.shown() == kept.tally.shown()
    for kind in KINDS:
        assert list(resumed.items(kind)) == list(kept.items(kind))


async def test_what_was_known_then_is_answered_alike_whatever_was_recorded_since(filled: Services) -> None:
    before = await _replayed(filled, _UNTIL)
    await _plant(filled)
    after = await _replayed(filled, _UNTIL)
    assert after.digest({}) == before.digest({})
    assert len(_items(await _replayed(filled), CASES)) > len(_items(after, CASES))


async def test_a_region_s_cases_are_those_of_the_group_s(filled: Services) -> None:
    every = [one for one in _items(await _replayed(filled), CASES) if one["region"] == "GD"]
    assert _items(await _replayed(filled, region="GD"), CASES) == every
    project = every[0]["project"]
    assert _items(await _replayed(filled, project=project), CASES) == [o for o in every if o["project"] == project]


async def test_a_changed_a_missing_and_an_unreadable_record_are_named(filled: Services) -> None:
    (altered, unreadable) = [
        row[0]
        for row in await filled.log.read.rows(
            "SELECT position FROM events WHERE name = 'responded' AND version = 2 ORDER BY position LIMIT 2", []
        )
    ]
    (gone,) = (await filled.log.read.rows("SELECT max(position) - 1 FROM events", []))[0]
    with psycopg.connect(filled.url) as connection:
        connection.execute(_FORCED)
        connection.execute("UPDATE events SET actor = 'agent/region/nobody' WHERE position = %s", [altered])
        connection.execute("UPDATE events SET body = %s WHERE position = %s", [b"{}", unreadable])
        connection.execute("DELETE FROM events WHERE position = %s", [gone])
    found = _items(await _replayed(filled), TAMPERED)
    assert sorted((one["kind"], one["position"]) for one in found) == sorted(
        [("altered", altered), ("altered", unreadable), ("unreadable", unreadable), ("missing", gone)]
    )
    assert all(one["known"] for one in found)


async def test_rows_that_somebody_wrote_into_the_views_are_unexplained(filled: Services) -> None:
    await rebuilt(filled)
    with psycopg.connect(filled.url) as connection:
        ((live,),) = connection.execute("SELECT live FROM projections").fetchall()
        (some, other) = [row[0] for row in connection.execute(f"SELECT case_id FROM view_{live}.cases LIMIT 2")]
        connection.execute(f"UPDATE view_{live}.cases SET grade = 'A-1' WHERE case_id = %s", [some])
        connection.execute(f"DELETE FROM view_{live}.complaints WHERE case_id = %s", [other])
        stranger = UUID(int=7)
        connection.execute(f"CREATE TEMP TABLE one AS SELECT * FROM view_{live}.cases WHERE case_id = %s", [some])
        connection.execute("UPDATE one SET case_id = %s, case_no = 'XX-20260101-0001'", [stranger])
        connection.execute(f"INSERT INTO view_{live}.cases SELECT * FROM one")
    found = {UUID(one["case_id"]): one["fields"] for one in _items(await _replayed(filled), DIFFERENCES)}
    assert set(found) == {some, other, stranger}
    assert [(field["table"], field["field"], field["live"]) for field in found[some]] == [("cases", "grade", "A-1")]
    assert {field["table"] for field in found[other]} == {"complaints"}
    assert all(field["unexplained"] for fields in found.values() for field in fields)


async def test_while_the_views_are_behind_nothing_differs_without_a_reason(filled: Services) -> None:
    await rebuilt(filled)
    await _plant(filled)
    kept = await _replayed(filled)
    found = _items(kept, DIFFERENCES)
    assert kept.tally.unexplained == 0
    assert found and all(one["explained_by"]["not_followed_yet"] for one in found)


async def test_views_that_are_further_than_the_replay_differ_by_what_was_recorded_since(
    filled: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tiny pages, so that cases that are merged with one another are met apart; and one of them goes on alone.
    monkeypatch.setattr(replay_run, "_PAGE", 4)
    await rebuilt(filled)
    await filled.policies.refresh()
    ((merged,),) = await filled.log.read.rows(_MERGED_FOR_GOOD, [])
    (record,) = await filled.log.read.after(merged, 1)
    question = Question(_LATER, record.recorded_at)
    kept = Kept(BytesIO(), canonical(question))
    head = Head(record.position, record.recorded_at, 1)
    await Replay(filled.url, filled.log, filled.policies.policies, question, head, kept).run()
    assert kept.tally.unexplained == 0
    found = _items(kept, DIFFERENCES)
    assert found and all(min(one["explained_by"]["recorded_later"]) > record.position for one in found)


def test_equal_documents_have_equal_bytes() -> None:
    assert canonical({"b": 1, "a": None}) == canonical({"a": None, "b": 1}) == b'{"a":null,"b":1}'
