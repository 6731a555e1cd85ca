"""Group commit: one task that stores whatever is waiting in one transaction, and answers each after the commit."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import psycopg

from services.event_log import statements as sql
from services.event_log.arrays import bools, byteas, instants, int2s, int4s, int8s, register, texts, uuids
from services.event_log.connections import TRANSIENT, connect, cut
from services.event_log.exchange import BEGIN, COMMIT, ROLLBACK, Exchange, Statement
from services.event_log.merkle import Frontier, kept_frontier
from services.event_log.plan import Found, Head, Plan, settle
from services.event_log.privileges import Role
from services.event_log.proposal import (
    Appended,
    Begun,
    Overloaded,
    Proposal,
    Similar,
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

# Its statements are probes by index whatever the arrays hold, so planning them anew each time gains nothing (10 %).
# A plan made while a table was small must stay a probe when it has grown.
_PLANNED_ONCE = "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off"

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
        self._exchange: Exchange | None = None
        self._failing_since: float | None = None
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self.batches = 0
        self.position = 0

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run(), name="appender")

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
        future: asyncio.Future[Appended] = self._loop.create_future()
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
        except (*TRANSIENT, asyncio.CancelledError):
            self._answer(batch, [Unavailable("the database does not answer")] * len(batch))
        except Exception as fault:
            await self._drop_connection()
            if len(batch) == 1:
                self._answer(batch, [fault])
            for item in batch if len(batch) > 1 else ():
                # One of them cannot be stored; alone, it fails alone.
                await self._store([item])
        else:
            # Later, so that the next batch is on its way before these callers get busy with their answers.
            self._loop.call_soon(self._answer, batch, outcomes)

    async def _abandon(self, attempt: "asyncio.Task[_Outcomes]") -> None:
        """End an attempt that is out of time. It must be over: the next one uses the connection."""
        if self._exchange:
            cut(self._exchange.connection)
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
                exchange = self._exchange or await self._open()
                found, tree = await look(exchange, proposals)
                if uncertain and await _is_stored(exchange, uncertain[0].records[0]):
                    await exchange.ask(ROLLBACK)
                    return self._succeeded(*uncertain)
                plan = Plan(found, self._clock())
                outcomes = settle(plan, proposals)
                uncertain = (plan, outcomes) if plan.records else None
                await write(exchange, plan, tree)
                return self._succeeded(plan, outcomes)
            except TRANSIENT:
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

    async def _open(self) -> Exchange:
        connection = await connect(self._url, _PLANNED_ONCE, role=Role.APPENDER)
        register(connection)
        self._exchange = Exchange(connection)
        return self._exchange

    async def _drop_connection(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange:
            with contextlib.suppress(psycopg.Error, OSError):
                await exchange.close()


async def look(exchange: Exchange, proposals: Sequence[Proposal]) -> tuple[Found, Frontier]:
    """Lock the head, then read all that the batch's fate depends on: one round trip."""
    # A statement of its own: its snapshot is taken when the lock is held, so it sees the last batch whole.
    begun = list({fact.begun for proposal in proposals for fact in proposal.facts if fact.begun})
    _, head, rows = await exchange.ask(BEGIN, (sql.LOCK_HEAD, ()), (sql.LOOK, _asked(proposals, begun)))
    if not head:
        raise RuntimeError("the ledger has no head row: run the migrations")
    position, recorded_at, epoch, size, peaks = head[0]
    tree = await _tree(exchange, position, size, peaks)
    return _found(Head(position, recorded_at, epoch), rows, begun), tree


async def _tree(exchange: Exchange, position: int, size: int, peaks: bytes) -> Frontier:
    """The tree of all that is stored. One that lags, since a release without it appended, or that cannot be, is
    completed from the leaves themselves: whoever was answered must be in it."""
    tree = kept_frontier(position, size, peaks)
    if tree.size < position:
        (leaves,) = await exchange.ask((sql.LEAVES, (tree.size, position)))
        tree.append(header_hash for _, header_hash in leaves)
    return tree


def _asked(proposals: Sequence[Proposal], begun: Sequence[Begun]) -> list[object]:
    """The parameters of `LOOK`."""
    facts = [fact for proposal in proposals for fact in proposal.facts]
    keys = [fact.key for fact in facts if fact.key]
    claims = [fact.claim for fact in facts if fact.claim]
    new = {key.key_id for p in proposals for key in p.new_keys}
    used = {key for p in proposals for key in (*p.used_keys, *p.destroyed_keys)} | new
    return [
        uuids(list({stream for proposal in proposals for stream in proposal.reads})),
        texts([key.subject for key in keys]),
        texts([key.key for key in keys]),
        uuids(list(used)),
        byteas(list({hashed for p in proposals for key in p.new_keys for hashed in key.hashes})),
        uuids(list(new)),
        texts([claim.region for claim in claims]),
        texts([claim.reference for claim in claims]),
        texts(list({fact.region for fact in facts if fact.begun})),
        texts([one.project for one in begun]),
        texts([one.category for one in begun]),
        instants([one.opened_at for one in begun]),
    ]


def _found(head: Head, rows: Sequence[tuple[Any, ...]], begun: Sequence[Begun]) -> Found:
    """The rows of `LOOK`: kind, id, number, two texts, two byte strings, status, position, instant."""
    found = Found(head, {}, {}, {}, {}, {}, {}, {}, set())
    for kind, ident, number, one, other, first, second, status, position, instant in rows:
        if kind == sql.VERSION:
            found.versions[ident] = number
        elif kind == sql.ANSWER:
            found.answers[one, other] = StoredAnswer(first, status, ident, number, position, second)
        elif kind == sql.DATA_KEY:
            found.keys[ident] = key = WrappedKey(ident, second, first)
            if second:
                found.persons[second] = key
        elif kind == sql.ERASED:
            found.erased.add(ident)
        elif kind == sql.CLAIM:
            found.claims[one, other] = ident
        elif kind == sql.NUMBER:
            found.numbers[one] = (other, number)
        else:
            found.similar.setdefault(begun[number - 1], []).append(Similar(ident, one, instant))
    return found


async def _is_stored(exchange: Exchange, record: Record) -> bool:
    """Whether a commit took place whose answer was lost. Under the head's lock: the old transaction has ended."""
    (rows,) = await exchange.ask((sql.IS_STORED, [record.position]))
    return rows == [(record.header_hash,)]


async def write(exchange: Exchange, plan: Plan, tree: Frontier, *also: Statement) -> None:
    """Insert the batch, move the head, commit: one round trip."""
    if plan.records:
        tree.append(record.header_hash for record in plan.records)
        store = (sql.STORE, sql.STORE_AND_GROW, sql.STORE_AND_TURN, sql.STORE_TURN_AND_GROW)
        chosen = store[2 * bool(plan.cases.turned) + bool(tree.completed)]
        # Before what is stored: who was forgotten may come again in the same batch, under a new key.
        destroyed = [(sql.DESTROY, [uuids(plan.destroyed)] * 2)] if plan.destroyed else []
        await exchange.ask(*destroyed, (chosen, _stored(plan, tree)), *also, COMMIT)
    else:
        await exchange.ask(ROLLBACK)


def _stored(plan: Plan, tree: Frontier) -> list[object]:
    """The parameters of that one of `STORE` which has cases to turn, nodes to keep, both or neither."""
    records = plan.records
    keys = [key for key, _ in plan.answers]
    answers = [answer for _, answer in plan.answers]
    numbers = list(plan.cases.numbers.items())
    cases = list(plan.cases.begun.values())
    turned = plan.cases.turned
    grown = tree.completed
    return [
        int8s([r.position for r in records]),
        uuids([r.stream for r in records]),
        int4s([r.version for r in records]),
        texts([r.name for r in records]),
        int2s([r.schema for r in records]),
        texts([r.actor for r in records]),
        texts([r.region for r in records]),
        instants([r.recorded_at for r in records]),
        byteas([r.body for r in records]),
        byteas([r.header_hash for r in records]),
        plan.recorded_at,
        texts([k.subject for k in keys]),
        texts([k.key for k in keys]),
        byteas([a.digest for a in answers]),
        int2s([a.status for a in answers]),
        uuids([a.stream for a in answers]),
        int4s([a.version for a in answers]),
        int8s([a.position for a in answers]),
        byteas([a.document for a in answers]),
        uuids([k.key_id for k in plan.new_keys]),
        byteas([k.person for k in plan.new_keys]),
        byteas([k.wrapped for k in plan.new_keys]),
        texts([c.region for c in plan.claims]),
        texts([c.reference for c in plan.claims]),
        uuids([c.stream for c in plan.claims]),
        texts([region for region, _ in numbers]),
        texts([day for _, (day, _) in numbers]),
        int4s([last for _, (_, last) in numbers]),
        texts([case.case_no for case in cases]),
        uuids([case.stream for case in cases]),
        texts([case.project for case in cases]),
        texts([case.category for case in cases]),
        instants([case.opened_at for case in cases]),
        bools([case.is_open for case in cases]),
        plan.position,
        plan.recorded_at,
        tree.size,
        tree.peaks,
        *((uuids(list(turned)), bools(list(turned.values()))) if turned else ()),
        *(
            (
                int2s([node.level for node, _ in grown]),
                int8s([node.number for node, _ in grown]),
                byteas([digest for _, digest in grown]),
            )
            if grown
            else ()
        ),
        str(plan.position),
    ]
