"""What one batch comes to: who is stored where, who loses and why. No database, no clock."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from services.event_log import (
    Appended,
    Claim,
    ClaimTaken,
    Fact,
    Head,
    IdempotencyKey,
    KeysChanged,
    KeyTaken,
    Proposal,
    Record,
    StoredAnswer,
    VersionConflict,
    WrappedKey,
    is_intact,
    number_of,
)
from services.event_log.plan import Found, Plan, settle

A, B, C, D = (UUID(int=n) for n in range(1, 5))
PERSON_KEY, OTHER_KEY = UUID(int=101), UUID(int=102)
NOON = datetime(2026, 11, 23, 4, tzinfo=UTC)  # 12:00 in Beijing
MIDNIGHT = datetime(2026, 11, 23, 16, tzinfo=UTC)  # 00:00 of the 24th in Beijing
TICK = timedelta(microseconds=1)
ANSWERED = StoredAnswer(b"digest", 201, A, 1, 7, b"document")


class Batch:
    """given(…).when(proposals): the plan and each proposal's outcome."""

    def __init__(self, found: Found, now: datetime) -> None:
        self.plan = Plan(found, now)
        self.outcomes: list[Appended | Exception] = []

    def when(self, *proposals: Proposal) -> "Batch":
        self.outcomes = settle(self.plan, proposals)
        return self

    def then(self, *expected: type[Appended] | type[Exception]) -> "Batch":
        assert [type(outcome) for outcome in self.outcomes] == list(expected)
        assert [r.position for r in self.plan.records] == list(
            range(self.plan.found.head.position + 1, self.plan.position + 1)
        )
        assert all(map(is_intact, self.plan.records))
        return self

    @property
    def places(self) -> list[tuple[int, UUID, int]]:
        return [(record.position, record.stream, record.version) for record in self.plan.records]

    @property
    def numbers(self) -> list[str]:
        return [number_of(record.body) for record in self.plan.records]


def given(
    position: int = 0,
    recorded_at: datetime = NOON - timedelta(hours=1),
    now: datetime = NOON,
    versions: dict[UUID, int] | None = None,
    answers: dict[tuple[str, str], StoredAnswer] | None = None,
    claims: dict[tuple[str, str], UUID] | None = None,
    numbers: dict[str, tuple[str, int]] | None = None,
    keys: Sequence[WrappedKey] = (),
) -> Batch:
    """A ledger as a transaction might find it; empty unless said otherwise."""
    by_id = {key.key_id: key for key in keys}
    by_person = {key.person: key for key in keys if key.person}
    head = Head(position, recorded_at, 1)
    return Batch(Found(head, versions or {}, answers or {}, claims or {}, numbers or {}, by_id, by_person), now)


def note(stream: UUID, seen: int = 0, facts: int = 1) -> Proposal:
    return Proposal("agent/north/li", {stream: seen}, [Fact(stream, "noted", 1, "north", b'{"n":1}')] * facts)


def receive(stream: UUID, region: str = "north", key: IdempotencyKey | None = None) -> Proposal:
    fact = Fact(stream, "received", 1, region, b'{"n":1}', numbered=True)
    return Proposal("agent/north/li", {stream: 0}, [fact], key=key)


def with_keys(stream: UUID, new: Sequence[WrappedKey] = (), used: Sequence[UUID] = ()) -> Proposal:
    facts = [Fact(stream, "noted", 1, "north", b"{}")]
    return Proposal("agent/north/li", {stream: 0}, facts, new_keys=new, used_keys=used)


def keyed(stream: UUID, key: str = "key", claim: Claim | None = None) -> Proposal:
    facts = [Fact(stream, "noted", 1, "north", b"{}")]
    idempotency = IdempotencyKey("li", key, b"digest")
    return Proposal("agent/north/li", {stream: 0}, facts, key=idempotency, claim=claim)


def test_positions_go_on_where_the_ledger_ends() -> None:
    batch = given(position=41).when(note(A), note(B, facts=2), note(C)).then(Appended, Appended, Appended)
    assert batch.places == [(42, A, 1), (43, B, 1), (44, B, 2), (45, C, 1)]


def test_versions_go_on_where_the_stream_was_seen_to_end() -> None:
    assert given(versions={A: 3}).when(note(A, seen=3, facts=2)).then(Appended).places == [(1, A, 4), (2, A, 5)]


def test_an_empty_stream_may_count_from_nought() -> None:
    assert given().when(note(A, seen=-1)).then(Appended).places == [(1, A, 0)]


@pytest.mark.parametrize("seen", [0, 1, 3])
def test_who_saw_another_version_than_the_last_loses(seen: int) -> None:
    batch = given(versions={A: 2}).when(note(A, seen=seen)).then(VersionConflict)
    conflict = batch.outcomes[0]
    assert isinstance(conflict, VersionConflict)
    assert (conflict.stream, conflict.actual) == (A, 2)


def test_the_second_to_write_a_version_in_one_batch_loses() -> None:
    batch = given().when(note(A), note(A), note(A, seen=1)).then(Appended, VersionConflict, Appended)
    assert batch.places == [(1, A, 1), (2, A, 2)]


def test_a_stream_that_was_only_read_must_not_have_moved_either() -> None:
    read_only = Proposal("agent/north/li", {A: 0, B: 0}, [Fact(B, "noted", 1, "north", b"{}")])
    given().when(note(A), read_only).then(Appended, VersionConflict)


def test_a_key_used_before_is_answered_with_what_was_stored_then() -> None:
    batch = given(answers={("li", "key"): ANSWERED}).when(keyed(A)).then(KeyTaken)
    taken = batch.outcomes[0]
    assert isinstance(taken, KeyTaken)
    assert taken.stored == ANSWERED


def test_the_same_key_twice_in_a_batch_is_stored_once() -> None:
    batch = given(position=9).when(keyed(A), keyed(B)).then(Appended, KeyTaken)
    taken = batch.outcomes[1]
    assert isinstance(taken, KeyTaken)
    assert (taken.stored.stream, taken.stored.version, taken.stored.position) == (A, 1, 10)
    assert len(batch.plan.answers) == 1


def test_a_taken_key_counts_before_a_moved_stream() -> None:
    given(versions={A: 1}, answers={("li", "key"): ANSWERED}).when(keyed(A)).then(KeyTaken)


def test_the_answer_kept_under_a_key_is_made_of_the_stored_records() -> None:
    def positions(records: Sequence[Record]) -> bytes:
        return json.dumps([record.position for record in records]).encode()

    asked = Proposal("a", {A: 0}, note(A, facts=2).facts, positions, key=IdempotencyKey("li", "key", b"digest"))
    batch = given(position=4).when(asked).then(Appended)
    assert batch.plan.answers[0][1].document == b"[5, 6]"


def test_a_reference_can_be_claimed_by_one_case_of_a_region() -> None:
    one, two, elsewhere = Claim("north", "T-1", A), Claim("north", "T-1", B), Claim("south", "T-1", C)
    asked = [keyed(A, "1", one), keyed(B, "2", two), keyed(C, "3", elsewhere)]
    given().when(*asked).then(Appended, ClaimTaken, Appended)


def test_a_loser_leaves_no_gap_in_positions_or_case_numbers() -> None:
    batch = given(versions={B: 5}).when(receive(A), receive(B), receive(C)).then(Appended, VersionConflict, Appended)
    assert batch.places == [(1, A, 1), (2, C, 1)]
    assert batch.numbers == ["north-20261123-0001", "north-20261123-0002"]
    assert batch.plan.case_ids == [("north-20261123-0001", A), ("north-20261123-0002", C)]


def test_recorded_instants_rise_strictly_within_a_batch() -> None:
    instants = [record.recorded_at for record in given().when(note(A, facts=3)).plan.records]
    assert instants == [NOON, NOON + TICK, NOON + 2 * TICK]


def test_recorded_instants_rise_although_the_clock_steps_back() -> None:
    later = NOON + timedelta(hours=2)
    records = given(recorded_at=later).when(note(A), note(B)).plan.records
    assert [record.recorded_at for record in records] == [later + TICK, later + 2 * TICK]


def test_case_numbers_go_on_within_a_day() -> None:
    assert given(numbers={"north": ("20261123", 41)}).when(receive(A)).numbers == ["north-20261123-0042"]


def test_case_numbers_begin_again_on_a_new_day_in_beijing() -> None:
    batch = given(now=MIDNIGHT, numbers={"north": ("20261123", 41)}).when(receive(A), receive(B))
    assert batch.numbers == ["north-20261124-0001", "north-20261124-0002"]


def test_a_day_can_end_in_the_middle_of_a_batch() -> None:
    batch = given(now=MIDNIGHT - TICK).when(receive(A), receive(B))
    assert batch.numbers == ["north-20261123-0001", "north-20261124-0001"]
    assert batch.plan.moved_numbers == {"north": ("20261124", 1)}


def test_each_region_counts_its_own_cases() -> None:
    batch = given().when(receive(A), receive(B, "south"), receive(C))
    assert batch.numbers == ["north-20261123-0001", "south-20261123-0001", "north-20261123-0002"]


def test_more_than_9999_cases_a_day_get_longer_numbers() -> None:
    assert given(numbers={"north": ("20261123", 9999)}).when(receive(A)).numbers == ["north-20261123-10000"]


def test_a_numbered_body_is_still_json() -> None:
    body = given().when(receive(A)).plan.records[0].body
    assert json.loads(body) == {"case_no": "north-20261123-0001", "n": 1}


def test_a_broken_answer_loses_alone_and_leaves_nothing() -> None:
    def broken(_: Sequence[Record]) -> bytes:
        raise ZeroDivisionError

    fact = Fact(B, "received", 1, "north", b'{"n":1}', numbered=True)
    claim, new = Claim("north", "T-1", B), WrappedKey(PERSON_KEY, b"person", b"wrapped")
    asked = Proposal("a", {B: 0}, [fact], broken, key=IdempotencyKey("li", "key", b""), claim=claim, new_keys=[new])
    batch = given().when(receive(A), asked, receive(C)).then(Appended, ZeroDivisionError, Appended)
    assert batch.numbers == ["north-20261123-0001", "north-20261123-0002"]
    assert (batch.plan.answers, batch.plan.claims, batch.plan.new_keys) == ([], [], [])


def test_a_fact_of_a_stream_that_was_not_read_loses_alone() -> None:
    stray = Proposal("a", {A: 0}, [Fact(D, "noted", 1, "north", b"{}")])
    given().when(note(B), stray, note(C)).then(Appended, KeyError, Appended)


def test_a_proposal_without_facts_loses_alone_and_leaves_nothing() -> None:
    claim, new = Claim("north", "T-1", B), WrappedKey(PERSON_KEY, b"person", b"wrapped")
    key = IdempotencyKey("li", "key", b"digest")
    empty = Proposal("a", {B: 0}, [], key=key, claim=claim, new_keys=[new])
    batch = given().when(note(A), empty, note(C)).then(Appended, ValueError, Appended)
    assert (batch.plan.answers, batch.plan.claims, batch.plan.new_keys) == ([], [], [])


def test_a_new_data_key_is_stored_once_although_two_bring_it() -> None:
    key = WrappedKey(PERSON_KEY, b"person", b"wrapped")
    batch = given().when(with_keys(A, [key], [PERSON_KEY]), with_keys(B, [key])).then(Appended, Appended)
    assert batch.plan.new_keys == [key]


def test_a_data_key_that_is_gone_is_named() -> None:
    batch = given().when(with_keys(A, used=[PERSON_KEY])).then(KeysChanged)
    changed = batch.outcomes[0]
    assert isinstance(changed, KeysChanged)
    assert (changed.existing, changed.missing) == ([], [PERSON_KEY])


def test_a_person_who_got_another_key_elsewhere_meanwhile_is_told() -> None:
    theirs, ours = (WrappedKey(key, b"person", str(key).encode()) for key in (OTHER_KEY, PERSON_KEY))
    batch = given(keys=[theirs]).when(with_keys(A, [ours], [PERSON_KEY])).then(KeysChanged)
    changed = batch.outcomes[0]
    assert isinstance(changed, KeysChanged)
    assert changed.existing == [theirs]


def test_of_two_keys_for_one_person_in_a_batch_the_first_stays() -> None:
    first, second = (WrappedKey(key, b"person", str(key).encode()) for key in (OTHER_KEY, PERSON_KEY))
    batch = given().when(with_keys(A, [first]), with_keys(B, [second])).then(Appended, KeysChanged)
    assert batch.plan.new_keys == [first]


def test_keys_that_belong_to_no_person_never_meet() -> None:
    one, two = WrappedKey(OTHER_KEY, None, b"one"), WrappedKey(PERSON_KEY, None, b"two")
    assert given().when(with_keys(A, [one]), with_keys(B, [two])).then(Appended, Appended).plan.new_keys == [one, two]
