"""恢复. The restores that the ledger itself tells of: each begins an epoch and says what is lost."""

from collections.abc import Sequence
from uuid import UUID, uuid5

from services.event_log import Reader
from services.events import LedgerRestored, decode

STREAM = uuid5(UUID("3f6f0f86-7b5c-5c61-9d0e-9f0d3a5f5c1e"), "restorations")


async def recorded(reader: Reader) -> list[LedgerRestored]:
    """All of them, oldest first."""
    _, records = await reader.history(STREAM)
    facts = (decode(record.name, record.schema, record.body) for record in records)
    return [fact for fact in facts if isinstance(fact, LedgerRestored)]


def shared(restorations: Sequence[LedgerRestored], epoch: int) -> int | None:
    """How many events of an epoch the ledger still has; None: all that were stored in it."""
    return min((one.base for one in restorations if one.epoch > epoch), default=None)
