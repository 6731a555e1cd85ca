"""The first event of a new epoch, stored together with the epoch: a ledger that was restored goes on from here."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from services.event_log.appender import look, write
from services.event_log.arrays import register
from services.event_log.connections import Connection, connect
from services.event_log.exchange import Exchange
from services.event_log.plan import Plan
from services.event_log.proposal import Fact, Proposal
from services.event_log.record import Record

_BEGIN = "UPDATE ledger_head SET epoch = %b"


async def begin_epoch(
    url: str, actor: str, stream: UUID, at_least: int, fact: Callable[[int, int], Fact], now: datetime
) -> Record:
    """Store what `fact` makes of the new epoch and of the base, the last position before it: all in one transaction.

    The epoch is the next one, and no less than `at_least`.
    """
    exchange = Exchange(await _connected(url))
    try:
        found, tree = await look(exchange, [Proposal(actor, {stream: 0}, ())])
        epoch = max(found.head.epoch + 1, at_least)
        plan = Plan(found, now)
        seen = {stream: found.versions.get(stream, 0)}
        appended = plan.admit(Proposal(actor, seen, (fact(epoch, found.head.position),)))
        await write(exchange, plan, tree, (_BEGIN, [epoch]))
    finally:
        await exchange.close()
    return appended.records[0]


async def _connected(url: str) -> Connection:
    connection = await connect(url)
    register(connection)
    return connection
