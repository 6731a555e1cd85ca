"""The `eventsourcing` library's own conformance suites, and one of its applications, on our ledger."""

import sys
from collections.abc import Callable, Iterator
from itertools import islice
from threading import Thread
from time import sleep
from types import ModuleType
from uuid import UUID, uuid4

import pytest
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import (
    IntegrityError,
    NotSupportedError,
    OperationalError,
    StoredEvent,
    Tracking,
)

from services.event_log.proposal import Unavailable
from services.event_log.recorder import (
    Ledger,
    LedgerAggregateRecorder,
    LedgerApplicationRecorder,
    LedgerTrackingRecorder,
)

# The suites' module imports the library's cipher, for tests of mappers; what that needs is not among our packages.
if "eventsourcing.cipher" not in sys.modules:
    sys.modules["eventsourcing.cipher"] = ModuleType("eventsourcing.cipher")
    vars(sys.modules["eventsourcing.cipher"])["AESCipher"] = None

# As a module: pytest would collect the abstract classes if they had names here.
from eventsourcing.tests import persistence as suites


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    opened = Ledger(database_url)
    yield opened
    opened.close()


class _OnAFreshLedger:
    ledger: Ledger

    @pytest.fixture(autouse=True)
    def _fresh(self, ledger: Ledger) -> None:
        self.ledger = ledger


class TestAggregateRecorder(_OnAFreshLedger, suites.AggregateRecorderTestCase):
    def create_recorder(self) -> LedgerAggregateRecorder:
        return LedgerAggregateRecorder(self.ledger)


class TestApplicationRecorder(_OnAFreshLedger, suites.ApplicationRecorderTestCase[LedgerApplicationRecorder]):
    def create_recorder(self) -> LedgerApplicationRecorder:
        return LedgerApplicationRecorder(self.ledger)

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestTrackingRecorder(_OnAFreshLedger, suites.TrackingRecorderTestCase):
    def create_recorder(self) -> LedgerTrackingRecorder:
        return LedgerTrackingRecorder(self.ledger)


class Kettle(Aggregate):
    """The smallest aggregate that has a history."""

    def __init__(self) -> None:
        self.boiled = 0

    @event("Boiled")
    def boil(self) -> None:
        self.boiled += 1


@pytest.fixture
def kitchen(database_url: str) -> Iterator[Application[UUID]]:
    env = {"PERSISTENCE_MODULE": "services.event_log.recorder", "ANJUAN_DATABASE_URL": database_url}
    with Application[UUID](env=env) as application:
        yield application


def test_an_application_of_the_library_saves_and_loads(kitchen: Application[UUID]) -> None:
    kettle = Kettle()
    kettle.boil()
    recordings = kitchen.save(kettle)
    assert [recording.notification.id for recording in recordings] == [1, 2]
    loaded: Kettle = kitchen.repository.get(kettle.id)
    assert loaded.boiled == 1


def test_an_application_of_the_library_is_followed_while_it_saves(kitchen: Application[UUID]) -> None:
    kettles = [Kettle() for _ in range(5)]
    followed: list[object] = []
    with kitchen.recorder.subscribe(gt=0) as subscription:
        first_five = islice(subscription, 5)
        following = Thread(target=lambda: followed.extend(seen.originator_id for seen in first_five), daemon=True)
        following.start()
        for kettle in kettles:
            kitchen.save(kettle)
        following.join(timeout=5)
    assert followed == [kettle.id for kettle in kettles]


def test_an_application_that_read_an_old_version_is_refused(kitchen: Application[UUID]) -> None:
    kettle = Kettle()
    kitchen.save(kettle)
    first: Kettle = kitchen.repository.get(kettle.id)
    second: Kettle = kitchen.repository.get(kettle.id)
    first.boil()
    second.boil()
    kitchen.save(first)
    with pytest.raises(IntegrityError):
        kitchen.save(second)


def test_a_subscription_stopped_by_another_thread_ends_at_once(ledger: Ledger) -> None:
    subscription = LedgerApplicationRecorder(ledger).subscribe()
    seen: list[object] = []
    waiting = Thread(target=lambda: seen.extend(subscription), daemon=True)
    waiting.start()
    sleep(0.1)
    subscription.stop()
    waiting.join(timeout=1)
    assert not waiting.is_alive()
    assert seen == []


def test_a_gap_in_versions_is_refused(ledger: Ledger) -> None:
    stream = uuid4()
    first, third = (StoredEvent(stream, version, "topic", b"state") for version in (1, 3))
    with pytest.raises(IntegrityError):
        LedgerApplicationRecorder(ledger).insert_events([first, third])
    assert LedgerApplicationRecorder(ledger).max_notification_id() is None


@pytest.mark.parametrize(
    "unsupported",
    [
        lambda ledger: LedgerAggregateRecorder(ledger).select_events("not a UUID"),
        lambda ledger: LedgerApplicationRecorder(ledger).insert_events([], tracking=Tracking("upstream", 1)),
    ],
)
def test_what_the_ledger_cannot_do_is_said(ledger: Ledger, unsupported: Callable[[Ledger], object]) -> None:
    with pytest.raises(NotSupportedError):
        unsupported(ledger)


def test_a_database_that_is_away_is_an_operational_error(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("the database does not answer")

    monkeypatch.setattr(ledger.log, "append", away)
    with pytest.raises(OperationalError):
        LedgerApplicationRecorder(ledger).insert_events([StoredEvent(uuid4(), 1, "topic", b"state")])
