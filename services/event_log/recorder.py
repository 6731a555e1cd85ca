"""The ledger behind the interfaces of the `eventsourcing` library, for whatever is written against those.

Events go through the one appender like all others: topic to name, state to body. What the library has no word for
is fixed: actor, no region, schema 1 (the library writes its class version into the state). The library is
synchronous, so an `EventLog` runs on the event loop of a thread of its own.

Stricter than the library asks: versions of a stream have no gap. Left out: snapshots and process recorders, which
would need tables of their own.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Sequence
from concurrent.futures import CancelledError, Future
from itertools import count
from threading import Lock, Thread
from typing import Any, TypeVar
from uuid import UUID

from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactory,
    IntegrityError,
    Notification,
    NotSupportedError,
    OperationalError,
    ProcessRecorder,
    StoredEvent,
    Subscription,
    Tracking,
    TrackingRecorder,
)
from eventsourcing.utils import Environment, EnvType

from services.event_log.connections import Connection
from services.event_log.log import EventLog
from services.event_log.proposal import (
    Fact,
    Overloaded,
    Proposal,
    Rejected,
    Unavailable,
)
from services.event_log.record import Record

_ACTOR = "library/group/recorder"
_T = TypeVar("_T")
_LAST_VERSION = 2**31 - 1
_LAST_POSITION = 2**63 - 1

_STREAM = """
SELECT stream, version, name, body FROM events WHERE stream = %b AND version > %b AND version <= %b
ORDER BY version {} LIMIT %b::int8
"""
_FORWARDS, _BACKWARDS = _STREAM.format("ASC"), _STREAM.format("DESC")

_NOTIFICATIONS = """
SELECT stream, version, name, body, position FROM events
WHERE position > %b AND position <= %b AND (cardinality(%b::text[]) = 0 OR name = ANY(%b::text[]))
ORDER BY position LIMIT %b::int8
"""

_TRACK = """
INSERT INTO tracking (application_name, notification_id) VALUES (%b, %b)
ON CONFLICT (application_name) DO UPDATE SET notification_id = excluded.notification_id
WHERE tracking.notification_id < excluded.notification_id
RETURNING notification_id
"""

_TRACKED = "SELECT notification_id FROM tracking WHERE application_name = %b"


class Ledger:
    """An `EventLog` on an event loop of its own thread, for callers that block."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="recorder", daemon=True)
        self._thread.start()
        self._door = Lock()
        self._closing = False
        self.log = self.call(_opened(url))

    def submit(self, work: Coroutine[Any, Any, _T]) -> "Future[_T]":
        """Start work on the loop; OperationalError once it is closing."""
        with self._door:
            if self._closing:
                work.close()
                raise OperationalError("the ledger is closed")
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def call(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The result of work on the loop; failures in the library's words."""
        try:
            return self.submit(work).result()
        except Rejected as lost:
            raise IntegrityError(str(lost)) from lost
        except (Unavailable, Overloaded) as failure:
            raise OperationalError(str(failure) or "overloaded") from failure
        except CancelledError:
            raise OperationalError("the ledger was closed meanwhile") from None

    def close(self) -> None:
        """Store what is waiting, end what still reads, then the thread; a second call does nothing."""
        with self._door:
            if self._closing:
                return
            self._closing = True
            # Behind everything that was let in: nobody is left waiting for an answer that never comes.
            ending = asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        ending.result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        await self.log.__aexit__()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def _opened(url: str) -> EventLog:
    return await EventLog(url).__aenter__()


class LedgerAggregateRecorder(AggregateRecorder):
    """Streams only: what it stores gets positions like everything else, but it does not say which."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Store all or nothing; raises IntegrityError unless each stream is at the version before its first event."""
        self._append(stored_events, kwargs)
        return None

    def _append(self, stored_events: Sequence[StoredEvent], extras: dict[str, Any]) -> list[int]:
        # The library says tracking=None where it means nothing.
        if any(extra is not None for extra in extras.values()):
            raise NotSupportedError(f"cannot be stored beside events: {', '.join(extras)}")
        if not stored_events:
            return []
        appended = self.ledger.call(self.ledger.log.append(_proposal(stored_events)))
        return [record.position for record in appended.records]

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """The stream's events with versions in (gt, lte]."""
        above, to = -1 if gt is None else gt, _LAST_VERSION if lte is None else lte
        asked = [_stream(originator_id), above, to, limit]
        rows = self.ledger.call(self.ledger.log.read.rows(_BACKWARDS if desc else _FORWARDS, asked))
        return [StoredEvent(*row) for row in rows]


class LedgerApplicationRecorder(LedgerAggregateRecorder, ApplicationRecorder):
    """Notification ids are the ledger's positions: contiguous, and visible in order."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """As for streams; returns the positions."""
        return self._append(stored_events, kwargs)

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Up to `limit` events from `start` to `stop`, both included unless said otherwise."""
        after = (start or 0) - (1 if start and inclusive_of_start else 0)
        names = list(topics)
        asked = [after, _LAST_POSITION if stop is None else stop, names, names, limit]
        return [Notification(*row) for row in self.ledger.call(self.ledger.log.read.rows(_NOTIFICATIONS, asked))]

    def max_notification_id(self) -> int | None:
        """The ledger's last position; None while it is empty."""
        return self.ledger.call(self.ledger.log.read.head()).position or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> "LedgerSubscription":
        """Events above position `gt`, those to come included; survives a database that is away for a while."""
        return LedgerSubscription(self, gt, topics)


class LedgerSubscription(Subscription[LedgerApplicationRecorder]):
    """The reader's `follow`, one batch at a time: no batch is fetched before the last one was consumed."""

    def __init__(self, recorder: LedgerApplicationRecorder, gt: int | None, topics: Sequence[str]) -> None:
        super().__init__(recorder, gt, topics)
        self._batches = recorder.ledger.log.read.follow(gt or 0)
        self._ready: deque[Notification] = deque()
        self._waiting: Future[list[Record]] | None = None

    def __next__(self) -> Notification:
        while not self._has_been_stopped:
            if self._ready:
                return self._ready.popleft()
            batch = self._next_batch()
            self._ready.extend(_notification(r) for r in batch if not self._topics or r.name in self._topics)
        raise StopIteration

    def _next_batch(self) -> list[Record]:
        self._waiting = self._recorder.ledger.submit(self._advance())
        # Either `stop` finds what waits here, or we find that it was called.
        if self._has_been_stopped:
            self._waiting.cancel()
        try:
            return self._waiting.result()
        except CancelledError:
            return []

    async def _advance(self) -> list[Record]:
        return await anext(self._batches)

    def stop(self) -> None:
        """End the iteration, from whichever thread."""
        super().stop()
        if self._waiting:
            self._waiting.cancel()
        self._recorder.ledger.call(self._close())

    async def _close(self) -> None:
        # Running means: cancelled just now, and closing itself.
        if isinstance(self._batches, AsyncGenerator):
            with contextlib.suppress(RuntimeError):
                await self._batches.aclose()


class LedgerTrackingRecorder(TrackingRecorder):
    """How far each reader of the ledger has come; only ever forwards."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def insert_tracking(self, tracking: Tracking) -> None:
        """Move an application forward; raises IntegrityError unless the id is higher than any before."""
        self.ledger.call(self.ledger.log.read.beside.look(_tracking(tracking)))

    def max_tracking_id(self, application_name: str) -> int | None:
        """How far an application has come; None if it never moved."""
        rows = self.ledger.call(self.ledger.log.read.rows(_TRACKED, [application_name]))
        return rows[0][0] if rows else None


class LedgerFactory(InfrastructureFactory[LedgerTrackingRecorder]):
    """For `PERSISTENCE_MODULE=services.event_log.recorder`; the database is the one in ANJUAN_DATABASE_URL."""

    def __init__(self, env: Environment | EnvType | None) -> None:
        super().__init__(env)
        self._ledger = Ledger(self.env["ANJUAN_DATABASE_URL"])

    def close(self) -> None:
        self._ledger.close()

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        if purpose != "events":
            raise NotSupportedError(f"the ledger holds facts, no {purpose}")
        return LedgerAggregateRecorder(self._ledger)

    def application_recorder(self) -> ApplicationRecorder:
        return LedgerApplicationRecorder(self._ledger)

    def tracking_recorder(
        self, tracking_recorder_class: type[LedgerTrackingRecorder] | None = None
    ) -> LedgerTrackingRecorder:
        return (tracking_recorder_class or LedgerTrackingRecorder)(self._ledger)

    def process_recorder(self) -> ProcessRecorder:
        raise NotSupportedError("events and tracking are not stored in one transaction")


def _stream(originator_id: UUID | str) -> UUID:
    if not isinstance(originator_id, UUID):
        raise NotSupportedError("streams are named by UUIDs")
    return originator_id


def _proposal(stored_events: Sequence[StoredEvent]) -> Proposal:
    """The events as one proposal that has read each stream up to the version before its first event."""
    reads: dict[UUID, int] = {}
    last: dict[UUID, int] = {}
    for event in stored_events:
        stream = _stream(event.originator_id)
        reads.setdefault(stream, event.originator_version - 1)
        if event.originator_version != last.get(stream, reads[stream]) + 1:
            raise IntegrityError(f"version {event.originator_version} of {stream} does not follow the one before")
        last[stream] = event.originator_version
    facts = [Fact(_stream(e.originator_id), e.topic, 1, "", e.state) for e in stored_events]
    return Proposal(_ACTOR, reads, facts)


def _notification(record: Record) -> Notification:
    return Notification(record.stream, record.version, record.name, record.body, record.position)


def _tracking(tracking: Tracking) -> Any:
    """The question that moves an application forward. The reader asks twice if a connection dies under the first."""
    attempts = count(1)

    async def ask(connection: Connection) -> None:
        attempt = next(attempts)
        asked = [tracking.application_name, tracking.notification_id]
        if await (await connection.execute(_TRACK, asked, binary=True)).fetchone():
            return
        if attempt > 1:
            # Ours may be the row that is in the way: saying "conflict" would be a guess.
            raise Unavailable("outcome unknown")
        raise IntegrityError(f"{tracking.application_name} has come to {tracking.notification_id} before")

    return ask
