"""What one batch comes to: who is stored where, who loses and why. No database, no clock."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from services.event_log import (
    Appended,
    Begun,
    Claim,
    ClaimTaken,
    Fact,
    Head,
    IdempotencyKey,
    KeysChanged,
    KeyTaken,
    Placed,
    Proposal,
    Similar,
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
TICK, DAY = timedelta(microseconds=1), timedelta(days=1)
ANSWERED = StoredAnswer(b"digest", 201, A, 1, 7, b"document")
BEGUN = Begun("north-1", "engineering", NOON - timedelta(hours=2))


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

    @property
    def open_cases(self) -> dict[UUID, bool]:
        """Of each case begun here whether its row says that it stands open."""
        return {case.stream: case.is_open for case in self.plan.cases.begun.values()}


def given(
    position: int = 0,
    recorded_at: datetime = NOON - timedelta(hours=1),
    now: datetime = NOON,
    versions: dict[UUID, int] | None = None,
    answers: dict[tuple[str, str], StoredAnswer] | None = None,
    claims: dict[tuple[str, str], UUID] | None = None,
    numbers: dict[str, tuple[str, int]] | None = None,
    keys: Sequence[WrappedKey] = (),
    similar: dict[Begun, list[Similar]] | None = None,
) -> Batch:
    """A ledger as a transaction might find it; empty unless said otherwise."""
    by_id = {key.key_id: key for key in keys}
    by_person = {key.person: key for key in keys if key.person}
    head = Head(position, recorded_at, 1)
    found = Found(
        head, versions or {}, answers or {}, claims or {}, numbers or {}, by_id, by_person, similar or {}, set()
    )
    return Batch(found, now)


def note(stream: UUID, seen: int = 0, facts: int = 1) -> Proposal:
    return Proposal("agent/north/li", {stream: seen}, [Fact(stream, "noted", 1, "north", b'{"n":1}')] * facts)


def beginning(
    stream: UUID,
    region: str = "north",
    begun: Begun = BEGUN,
    key: str | None = None,
    seen: list[Similar] | None = None,
    is_open: bool | None = True,
) -> Fact:
    """A fact that begins a case; what it was found to be similar to goes into `seen`."""

    def answer(placed: Placed) -> bytes:
        if seen is not None:
            seen[:] = placed.similar
        return b""

    named = IdempotencyKey("li", key, b"digest") if key else None
    return Fact(stream, "received", 1, region, b'{"n":1}', begun, named, answer, is_open=is_open)


def receive(stream: UUID, region: str = "north", begun: Begun = BEGUN, seen: list[Similar] | None = None) -> Proposal:
    return Proposal("agent/north/li", {stream: 0}, [beginning(stream, region, begun, seen=seen)])


def turned(stream: UUID, is_open: bool, seen: int = 1) -> Proposal:
    return Proposal("agent/north/li", {stream: seen}, [turning(stream, is_open)])


def turning(stream: UUID, is_open: bool) -> Fact:
    return Fact(stream, "noted", 1, "north", b"{}", is_open=is_open)


def answering(stream: UUID, key: str | None, said: str = "", status: int = 201) -> Fact:
    """A fact with a key and an answer of its own, which says where it was placed."""
    named = IdempotencyKey("li", key, key.encode()) if key else None

    def answer(placed: Placed) -> bytes:
        return f"{said}@{placed.record.position}".encode()

    return Fact(stream, "noted", 1, "north", b"{}", None, named, answer if said else None, status)


def with_keys(stream: UUID, new: Sequence[WrappedKey] = (), used: Sequence[UUID] = ()) -> Proposal:
    facts = [Fact(stream, "noted", 1, "north", b"{}")]
    return Proposal("agent/north/li", {stream: 0}, facts, new_keys=new, used_keys=used)


def keyed(stream: UUID, key: str = "key", claim: Claim | None = None) -> Proposal:
    idempotency = IdempotencyKey("li", key, b"digest")
    facts = [Fact(stream, "noted", 1, "north", b"{}", key=idempotency, claim=claim)]
    return Proposal("agent/north/li", {stream: 0}, facts)


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
    assert (taken.key, taken.stored) == (IdempotencyKey("li", "key", b"digest"), ANSWERED)


def test_the_same_key_twice_in_a_batch_is_stored_once() -> None:
    batch = given(position=9).when(keyed(A), keyed(B)).then(Appended, KeyTaken)
    taken = batch.outcomes[1]
    assert isinstance(taken, KeyTaken)
    assert (taken.stored.stream, taken.stored.version, taken.stored.position) == (A, 1, 10)
    assert len(batch.plan.answers) == 1


def test_a_taken_key_counts_before_a_moved_stream() -> None:
    given(versions={A: 1}, answers={("li", "key"): ANSWERED}).when(keyed(A)).then(KeyTaken)


def test_each_fact_is_answered_and_kept_under_its_own_key() -> None:
    facts = [answering(A, "1", "one"), answering(A, None), answering(B, "2", "two", 200), answering(A, None, "three")]
    batch = given(position=4, versions={B: 8}).when(Proposal("a", {A: 0, B: 8}, facts)).then(Appended)
    appended = batch.outcomes[0]
    assert isinstance(appended, Appended)
    assert appended.documents == [b"one@5", b"", b"two@7", b"three@8"]
    assert batch.places == [(5, A, 1), (6, A, 2), (7, B, 9), (8, A, 3)]
    assert batch.plan.answers == [
        (IdempotencyKey("li", "1", b"1"), StoredAnswer(b"1", 201, A, 1, 5, b"one@5")),
        (IdempotencyKey("li", "2", b"2"), StoredAnswer(b"2", 200, B, 9, 7, b"two@7")),
    ]


def test_one_key_that_is_taken_rejects_all_and_is_named() -> None:
    facts = [answering(A, "new", "one"), answering(B, "key", "two"), answering(C, "newer", "three")]
    asked = Proposal("a", {A: 0, B: 0, C: 0}, facts)
    batch = given(answers={("li", "key"): ANSWERED}).when(asked, keyed(D, "new")).then(KeyTaken, Appended)
    taken = batch.outcomes[0]
    assert isinstance(taken, KeyTaken)
    assert (taken.key.key, taken.stored) == ("key", ANSWERED)
    assert batch.places == [(1, D, 1)]


def test_one_stream_that_moved_rejects_the_facts_of_the_others() -> None:
    asked = Proposal("a", {A: 0, B: 1}, [answering(A, "1", "one"), answering(B, "2", "two")])
    batch = given(versions={B: 2}).when(asked).then(VersionConflict)
    assert (batch.places, batch.plan.answers) == ([], [])


def test_one_reference_that_is_taken_rejects_all_and_is_named() -> None:
    ours, theirs = Claim("north", "T-1", A), Claim("north", "T-2", B)
    facts = [Fact(c.stream, "noted", 1, "north", b"{}", claim=c) for c in (ours, theirs)]
    batch = given(claims={("north", "T-2"): D}).when(Proposal("a", {A: 0, B: 0}, facts)).then(ClaimTaken)
    taken = batch.outcomes[0]
    assert isinstance(taken, ClaimTaken)
    assert (taken.claim, taken.stream, batch.plan.claims) == (theirs, D, [])


def test_one_key_or_reference_twice_in_a_proposal_is_nothing_to_store() -> None:
    claims = [Fact(s, "noted", 1, "north", b"{}", claim=Claim("north", "T-1", s)) for s in (A, B)]
    keys = [answering(A, "1"), answering(B, "1")]
    batch = given().when(*(Proposal("a", {A: 0, B: 0}, facts) for facts in (keys, claims)), note(A))
    assert batch.then(ValueError, ValueError, Appended).places == [(1, A, 1)]


def test_a_reference_can_be_claimed_by_one_case_of_a_region() -> None:
    one, two, elsewhere = Claim("north", "T-1", A), Claim("north", "T-1", B), Claim("south", "T-1", C)
    asked = [keyed(A, "1", one), keyed(B, "2", two), keyed(C, "3", elsewhere)]
    given().when(*asked).then(Appended, ClaimTaken, Appended)


def test_a_loser_leaves_no_gap_in_positions_or_case_numbers() -> None:
    batch = given(versions={B: 5}).when(receive(A), receive(B), receive(C)).then(Appended, VersionConflict, Appended)
    assert batch.places == [(1, A, 1), (2, C, 1)]
    assert batch.numbers == ["north-20261123-0001", "north-20261123-0002"]
    rows = [(case.case_no, case.stream) for case in batch.plan.cases.begun.values()]
    assert rows == [("north-20261123-0001", A), ("north-20261123-0002", C)]


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
    assert batch.plan.cases.numbers == {"north": ("20261124", 1)}


def test_each_region_counts_its_own_cases() -> None:
    batch = given().when(receive(A), receive(B, "south"), receive(C))
    assert batch.numbers == ["north-20261123-0001", "south-20261123-0001", "north-20261123-0002"]


def test_more_than_9999_cases_a_day_get_longer_numbers() -> None:
    assert given(numbers={"north": ("20261123", 9999)}).when(receive(A)).numbers == ["north-20261123-10000"]


def test_a_numbered_body_is_still_json() -> None:
    body = given().when(receive(A)).plan.records[0].body
    assert json.loads(body) == {"case_no": "north-20261123-0001", "n": 1}


def test_a_broken_answer_loses_alone_and_leaves_nothing() -> None:
    def broken(_: Placed) -> bytes:
        raise ZeroDivisionError

    claim, new = Claim("north", "T-1", B), WrappedKey(PERSON_KEY, b"person", b"wrapped")
    key = IdempotencyKey("li", "key", b"")
    facts = [beginning(B), turning(A, False), Fact(B, "noted", 1, "north", b"{}", None, key, broken, claim=claim)]
    asked = Proposal("a", {A: 1, B: 0}, facts, new_keys=[new])
    batch = given().when(receive(A), asked, receive(C)).then(Appended, ZeroDivisionError, Appended)
    assert batch.open_cases == {A: True, C: True}
    assert batch.numbers == ["north-20261123-0001", "north-20261123-0002"]
    assert (batch.plan.answers, batch.plan.claims, batch.plan.new_keys) == ([], [], [])


def test_a_fact_of_a_stream_that_was_not_read_loses_alone() -> None:
    stray = Proposal("a", {A: 0}, [Fact(D, "noted", 1, "north", b"{}")])
    given().when(note(B), stray, note(C)).then(Appended, KeyError, Appended)


def test_a_proposal_without_facts_loses_alone_and_leaves_nothing() -> None:
    empty = Proposal("a", {B: 0}, [], new_keys=[WrappedKey(PERSON_KEY, b"person", b"wrapped")])
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
    assert (changed.existing, changed.missing) == ([theirs], [PERSON_KEY])


def test_a_person_s_key_is_met_under_another_hash_of_the_number() -> None:
    theirs = WrappedKey(OTHER_KEY, b"former", b"theirs")
    ours = WrappedKey(PERSON_KEY, b"current", b"ours", (b"former",))
    batch = given(keys=[theirs]).when(with_keys(A, [ours], [PERSON_KEY])).then(KeysChanged)
    changed = batch.outcomes[0]
    assert isinstance(changed, KeysChanged)
    assert (changed.existing, changed.missing, batch.plan.new_keys) == ([theirs], [PERSON_KEY], [])


def test_of_two_keys_for_one_person_in_a_batch_the_first_stays() -> None:
    first, second = (WrappedKey(key, b"person", str(key).encode()) for key in (OTHER_KEY, PERSON_KEY))
    batch = given().when(with_keys(A, [first]), with_keys(B, [second])).then(Appended, KeysChanged)
    assert batch.plan.new_keys == [first]


def test_keys_that_belong_to_no_person_never_meet() -> None:
    one, two = WrappedKey(OTHER_KEY, None, b"one"), WrappedKey(PERSON_KEY, None, b"two")
    assert given().when(with_keys(A, [one]), with_keys(B, [two])).then(Appended, Appended).plan.new_keys == [one, two]


def forgetting(stream: UUID, *destroyed: UUID) -> Proposal:
    return Proposal("agent/north/li", {stream: 0}, [Fact(stream, "gone", 1, "north", b"{}")], destroyed_keys=destroyed)


def test_who_is_behind_an_erasure_in_the_batch_finds_the_key_gone() -> None:
    theirs, anew = (WrappedKey(key, b"person", str(key).encode()) for key in (PERSON_KEY, OTHER_KEY))
    batch = given(keys=[theirs]).when(
        with_keys(A, used=[PERSON_KEY]),
        forgetting(B, PERSON_KEY),
        with_keys(C, used=[PERSON_KEY]),
        with_keys(D, [anew], [OTHER_KEY]),
        with_keys(C, [theirs]),
    )
    batch.then(Appended, Appended, KeysChanged, Appended, KeysChanged)
    assert (batch.plan.destroyed, batch.plan.new_keys) == ([PERSON_KEY], [anew])
    missed, again = batch.outcomes[2], batch.outcomes[4]
    assert isinstance(missed, KeysChanged) and isinstance(again, KeysChanged)
    assert (missed.missing, again.erased) == ([PERSON_KEY], [PERSON_KEY])


def test_a_key_that_came_with_the_batch_is_not_stored_once_it_is_destroyed() -> None:
    ours = WrappedKey(PERSON_KEY, b"person", b"wrapped")
    batch = given().when(with_keys(A, [ours], [PERSON_KEY]), forgetting(B, PERSON_KEY)).then(Appended, Appended)
    assert (batch.plan.destroyed, batch.plan.new_keys) == ([PERSON_KEY], [])


def test_an_erasure_that_loses_destroys_nothing() -> None:
    batch = given(versions={B: 3}, keys=[WrappedKey(PERSON_KEY, b"person", b"wrapped")])
    assert batch.when(forgetting(B, PERSON_KEY)).then(VersionConflict).plan.destroyed == []


def test_a_new_case_is_told_of_those_that_were_found_and_of_those_begun_just_before() -> None:
    old, seen, other = Similar(D, "north-20261101-0007", NOON - 20 * DAY), list[Similar](), list[Similar]()
    later = BEGUN._replace(opened_at=BEGUN.opened_at + TICK)
    found = {BEGUN: [old], later: [old]}
    batch = given(similar=found).when(receive(A, begun=later), receive(B, seen=seen), receive(C, seen=other))
    one, two, _ = batch.numbers
    assert seen == [Similar(A, one, later.opened_at), old]
    assert other == [Similar(A, one, later.opened_at), Similar(B, two, BEGUN.opened_at), old]


def test_a_case_of_the_same_proposal_is_similar_too_and_never_itself() -> None:
    first, second = list[Similar](), list[Similar]()
    facts = [beginning(A, seen=first), beginning(B, seen=second)]
    batch = given().when(Proposal("a", {A: 0, B: 0}, facts)).then(Appended)
    assert (first, second) == ([], [Similar(A, batch.numbers[0], BEGUN.opened_at)])


def test_no_more_than_ten_are_similar_and_those_the_newest() -> None:
    seen: list[Similar] = []
    before = [receive(UUID(int=n), begun=BEGUN._replace(opened_at=NOON - n * DAY)) for n in range(20, 8, -1)]
    given().when(*before, receive(A, seen=seen))
    assert [one.stream.int for one in seen] == list(range(9, 19))


OTHERS = {
    "another project": BEGUN._replace(project="north-2"),
    "another category": BEGUN._replace(category="service"),
    "too long before": BEGUN._replace(opened_at=BEGUN.opened_at - 30 * DAY - TICK),
    "too long after": BEGUN._replace(opened_at=BEGUN.opened_at + 30 * DAY + TICK),
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_case_that_differs_is_not_similar(other: str) -> None:
    seen: list[Similar] = []
    given(now=NOON + 60 * DAY).when(receive(A, begun=OTHERS[other]), receive(B, seen=seen)).then(Appended, Appended)
    assert seen == []


@pytest.mark.parametrize("days", [-30, 30])
def test_thirty_days_before_or_after_is_still_near(days: int) -> None:
    seen: list[Similar] = []
    other = BEGUN._replace(opened_at=BEGUN.opened_at + days * DAY)
    given(now=NOON + 60 * DAY).when(receive(A, begun=other), receive(B, seen=seen)).then(Appended, Appended)
    assert [one.stream for one in seen] == [A]


def test_what_a_loser_began_is_not_similar() -> None:
    seen: list[Similar] = []
    given(versions={A: 1}).when(receive(A), receive(B, seen=seen)).then(VersionConflict, Appended)
    assert seen == []


def test_a_case_from_the_first_year_is_compared_like_any_other() -> None:
    seen: list[Similar] = []
    ancient = BEGUN._replace(opened_at=datetime.min.replace(tzinfo=UTC))
    batch = given().when(receive(A, begun=ancient), receive(B, begun=ancient, seen=seen)).then(Appended, Appended)
    assert seen == [Similar(A, batch.numbers[0], ancient.opened_at)]


def test_a_case_is_never_opened_later_than_its_opening_is_recorded() -> None:
    begun = BEGUN._replace(opened_at=NOON + timedelta(minutes=3))
    batch = given().when(receive(A, begun=begun))
    assert [case.opened_at for case in batch.plan.cases.begun.values()] == [NOON]


def test_a_case_closed_in_the_same_batch_stands_open_no_more() -> None:
    seen: list[Similar] = []
    old = Similar(D, "north-20261101-0007", NOON - 20 * DAY)
    asked = [receive(A), turned(A, False), turned(D, False, 3), receive(B, seen=seen)]
    batch = given(versions={D: 3}, similar={BEGUN: [old]}).when(*asked).then(*[Appended] * 4)
    assert seen == []
    # A row to be carries its last state; a row that is there is updated.
    assert (batch.open_cases, batch.plan.cases.turned) == ({A: False, B: True}, {D: False})


def test_a_case_opened_closed_and_reopened_at_once_is_stored_as_it_ends() -> None:
    once = [beginning(A), turning(A, False), beginning(B), turning(B, False), turning(B, True), turning(D, True)]
    batch = given(versions={D: 3}).when(Proposal("a", {A: 0, B: 0, D: 3}, once), turned(A, True, 2))
    assert batch.then(Appended, Appended).open_cases == {A: True, B: True}
    assert batch.plan.cases.turned == {D: True}


def test_a_case_may_begin_closed() -> None:
    seen: list[Similar] = []
    facts = [beginning(A, is_open=False), beginning(B, is_open=None), beginning(C, seen=seen)]
    batch = given().when(Proposal("a", {A: 0, B: 0, C: 0}, facts)).then(Appended)
    assert batch.open_cases == {A: False, B: True, C: True}
    assert [one.stream for one in seen] == [B]


def test_a_loser_closes_nothing() -> None:
    seen: list[Similar] = []
    given().when(receive(A), turned(A, False, seen=5), receive(B, seen=seen)).then(Appended, VersionConflict, Appended)
    assert [one.stream for one in seen] == [A]


def test_a_case_begins_once() -> None:
    twice = Proposal("a", {A: 0}, [beginning(A), beginning(A)])
    batch = given().when(twice, receive(B)).then(ValueError, Appended)
    assert batch.numbers == ["north-20261123-0001"]
