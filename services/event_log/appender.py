"""Group commit: one task that stores whatever is waiting in one transaction, and answers each after the commit."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from time import monotonic

import psycopg

from services.event_log import statements as sql
from services.event_log.connections import Connection, connect, cut
from services.event_log.plan import Found, Head, Plan, settle
from services.event_log.proposal import (
    Appended,
    Overloaded,
    Proposal,
    StoredAnswer,
    Unavailable,
    WrappedKey,
)
from services.event_log.record import Record

# A batch's facts; more gain nothing in one statement (measured), fewer cost commits.
_BATCH_FACTS = 400
# Seconds a batch may take, reconnecting included; a caller has five.
_PATIENCE = 3.5
# Seconds of failing after which waiting callers are told at once.
_GIVE_UP_AFTER = 5.0
_PAUSE = 0.05

_Outcomes = list[Appended | Exception]


class _Waiting:
    __slots__ = ("future", "proposal")

    def __init__(self, proposal: Proposal, future: "asyncio.Future[Appended]") -> None:
        self.proposal, self.future = proposal, future


class Appender:
    """The one writer of this process. Several processes are kept in order by the head row's lock."""

    def __init__(
        self,
        url: str,
        queue_limit: int = 2000,
        on_append: Callable[[int], None] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._url = url
        self._queue_limit = queue_limit
        self._on_append = on_append
        self._clock = clock
        self._queue: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._connection: Connection | None = None
        self._failing_since: float | None = None
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self.batches = 0
        self.position = 0

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="appender")

    async def stop(self) -> None:
        """Store what is waiting, then close."""
        self._stopping = True
        self._arrived.set()
        if self._task:
            await self._task
        await self._drop_connection()

    @property
    def accepts(self) -> bool:
        """Whether a proposal would be queued now."""
        return len(self._queue) < self._queue_limit and not self._stopping

    @property
    def waiting(self) -> int:
        """How many proposals are queued."""
        return len(self._queue)

    async def append(self, proposal: Proposal, patience: float | None = 4.5) -> Appended:
        """Store a proposal; raises `Rejected`, `Overloaded`, or `Unavailable` after `patience` seconds (None: never).

        A caller that is cancelled before its batch begins is not stored.
        """
        if not self.accepts:
            raise Overloaded
        future: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(proposal, future))
        self._arrived.set()
        if patience is None:
            return await future
        try:
            async with asyncio.timeout(patience):
                return await future
        except TimeoutError:
            raise Unavailable("not stored in time") from None

    async def _run(self) -> None:
        while True:
            if not self._queue:
                if self._stopping:
                    return
                self._arrived.clear()
                await self._arrived.wait()
                continue
            batch = self._take()
            if batch:
                await self._store(batch)

    def _take(self) -> list[_Waiting]:
        """What is waiting now, up to a batch; who gave up already is left out, so that its retry decides."""
        batch: list[_Waiting] = []
        facts = 0
        while self._queue and facts < _BATCH_FACTS:
            item = self._queue.popleft()
            if not item.future.done():
                batch.append(item)
                facts += len(item.proposal.facts)
        return batch

    async def _store(self, batch: list[_Waiting]) -> None:
        deadline = monotonic() + _PATIENCE
        attempt = asyncio.create_task(self._commit([item.proposal for item in batch], deadline))
        done, _ = await asyncio.wait({attempt}, timeout=_PATIENCE)
        if not done:
            await self._abandon(attempt)
        try:
            outcomes = attempt.result()
        except (psycopg.OperationalError, OSError, asyncio.CancelledError):
            self._answer(batch, [Unavailable("the database does not answer")] * len(batch))
        except Exception as fault:  # noqa: BLE001 - the writer outlives any fault of one batch
            await self._drop_connection()
            if len(batch) == 1:
                self._answer(batch, [fault])
            for item in batch if len(batch) > 1 else ():
                # One of them cannot be stored; alone, it fails alone.
                await self._store([item])
        else:
            self._answer(batch, outcomes)

    async def _abandon(self, attempt: "asyncio.Task[_Outcomes]") -> None:
        """End an attempt that is out of time. It must be over: the next one uses the connection."""
        if self._connection:
            cut(self._connection)
            await asyncio.wait({attempt}, timeout=0.5)
        # Connecting or pausing, which ends at once; what still waits for the cut connection does too.
        attempt.cancel()
        await asyncio.wait({attempt})

    def _answer(self, batch: Sequence[_Waiting], outcomes: Sequence[Appended | Exception]) -> None:
        for item, outcome in zip(batch, outcomes, strict=True):
            if item.future.done():
                continue
            if isinstance(outcome, Exception):
                item.future.set_exception(outcome)
            else:
                item.future.set_result(outcome)

    async def _commit(self, proposals: Sequence[Proposal], deadline: float) -> _Outcomes:
        """Try until stored or refused. A commit whose answer was lost is looked up before anything is tried again."""
        uncertain: tuple[Plan, _Outcomes] | None = None
        while True:
            try:
                connection = self._connection or await self._open()
                found = await _look(connection, proposals)
                if uncertain and await _is_stored(connection, uncertain[0].records[0]):
                    await connection.execute("ROLLBACK", prepare=False)
                    return self._succeeded(*uncertain)
                plan = Plan(found, self._clock())
                outcomes = settle(plan, proposals)
                uncertain = (plan, outcomes) if plan.records else None
                await _write(connection, plan)
                return self._succeeded(plan, outcomes)
            except (psycopg.OperationalError, OSError):
                await self._drop_connection()
                # A try that would begin too late is not begun: nobody may use the connection after the deadline.
                if self._is_hopeless() or monotonic() + _PAUSE > deadline:
                    raise
                await asyncio.sleep(_PAUSE)

    def _succeeded(self, plan: Plan, outcomes: _Outcomes) -> _Outcomes:
        self._failing_since = None
        self.batches += 1
        if plan.records:
            self.position = plan.position
            if self._on_append:
                self._on_append(plan.position)
        return outcomes

    def _is_hopeless(self) -> bool:
        now = monotonic()
        self._failing_since = self._failing_since or now
        return now - self._failing_since > _GIVE_UP_AFTER

    async def _open(self) -> Connection:
        self._connection = await connect(self._url)
        return self._connection

    async def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            with contextlib.suppress(psycopg.Error, OSError):
                await connection.close()


async def _look(connection: Connection, proposals: Sequence[Proposal]) -> Found:
    """Lock the head, then read all that the batch's fate depends on: one round trip."""
    streams = list({stream for proposal in proposals for stream in proposal.reads})
    keys = [proposal.key for proposal in proposals if proposal.key]
    claims = [proposal.claim for proposal in proposals if proposal.claim]
    regions = list({fact.region for p in proposals for fact in p.facts if fact.numbered})
    used = list({key for p in proposals for key in p.used_keys} | {k.key_id for p in proposals for k in p.new_keys})
    persons = list({key.person for p in proposals for key in p.new_keys if key.person})
    async with connection.pipeline():
        run = connection.execute
        await run("BEGIN", prepare=False)
        head = await run(sql.LOCK_HEAD, binary=True)
        versions = await run(sql.LAST_VERSIONS, [streams], binary=True)
        answers = claimed = numbers = data_keys = None
        if keys:
            columns = [[k.subject for k in keys], [k.key for k in keys]]
            answers = await run(sql.STORED_ANSWERS, columns, binary=True)
        if claims:
            columns = [[c.region for c in claims], [c.reference for c in claims]]
            claimed = await run(sql.CLAIMS, columns, binary=True)
        if regions:
            numbers = await run(sql.NUMBERS, [regions], binary=True)
        if used or persons:
            data_keys = await run(sql.DATA_KEYS, [used, persons], binary=True)
        locked = await head.fetchone()
        if locked is None:
            raise RuntimeError("the ledger has no head row: run the migrations")
        stored_keys = [WrappedKey(*row) for row in await data_keys.fetchall()] if data_keys else []
        return Found(
            head=Head(*locked),
            versions=dict(await versions.fetchall()),
            answers={(r[0], r[1]): StoredAnswer(*r[2:]) for r in await answers.fetchall()} if answers else {},
            claims={(r[0], r[1]): r[2] for r in await claimed.fetchall()} if claimed else {},
            numbers={r[0]: (r[1], r[2]) for r in await numbers.fetchall()} if numbers else {},
            keys={key.key_id: key for key in stored_keys},
            persons={key.person: key for key in stored_keys if key.person},
        )


async def _is_stored(connection: Connection, record: Record) -> bool:
    """Whether a commit took place whose answer was lost. Under the head's lock: the old transaction has ended."""
    row = await (await connection.execute(sql.IS_STORED, [record.position], binary=True)).fetchone()
    return row is not None and row[0] == record.header_hash


async def _write(connection: Connection, plan: Plan) -> None:
    """Insert the batch, move the head, commit, then tell who listens: one round trip."""
    if not plan.records:
        await connection.execute("ROLLBACK", prepare=False)
        return
    async with connection.pipeline():
        await connection.execute(sql.INSERT_EVENTS, _columns(plan.records))
        await _write_companions(connection, plan)
        await connection.execute(sql.MOVE_HEAD, [plan.position, plan.recorded_at])
        await connection.execute("COMMIT", prepare=False)
        # After the commit: inside it, notifying takes a lock that every committer of the database waits for.
        await connection.execute("SELECT pg_notify('anjuan', %s)", [str(plan.position)])


async def _write_companions(connection: Connection, plan: Plan) -> None:
    if plan.answers:
        keys = [key for key, _ in plan.answers]
        rows = [answer for _, answer in plan.answers]
        await connection.execute(
            sql.INSERT_ANSWERS,
            [plan.recorded_at, [k.subject for k in keys], [k.key for k in keys], *map(list, zip(*rows, strict=True))],
        )
    if plan.claims:
        await connection.execute(sql.INSERT_CLAIMS, [*map(list, zip(*plan.claims, strict=True))])
    if plan.new_keys:
        await connection.execute(sql.INSERT_DATA_KEYS, [*map(list, zip(*plan.new_keys, strict=True))])
    if plan.moved_numbers:
        rows_of = [(region, *moved) for region, moved in plan.moved_numbers.items()]
        await connection.execute(sql.MOVE_NUMBERS, [*map(list, zip(*rows_of, strict=True))])
        await connection.execute(sql.INSERT_CASE_IDS, [*map(list, zip(*plan.case_ids, strict=True))])


def _columns(records: Sequence[Record]) -> list[list[object]]:
    return [
        [r.position for r in records],
        [r.stream for r in records],
        [r.version for r in records],
        [r.name for r in records],
        [r.schema for r in records],
        [r.actor for r in records],
        [r.region for r in records],
        [r.recorded_at for r in records],
        [r.body for r in records],
        [r.header_hash for r in records],
    ]
