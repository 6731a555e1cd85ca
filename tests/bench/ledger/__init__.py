"""Large ledgers that look like years of work: cases told once by the real rules, then stamped out at other times.

The same order (seed, `until`) and keys make the same ledger, byte for byte.
"""

from tests.bench.ledger.pouring import Order, Plan, planned, pour, seed_of
from tests.bench.ledger.sealing import Sealer


def made(order: Order, url: str, master: bytes, phones: bytes, processes: int = 2) -> Plan:
    """Fill a migrated, empty database; the keys are those of the service that is to read it."""
    sealer = Sealer(seed_of(order.seed), master, phones)
    plan = planned(order, sealer)
    pour(plan, url, sealer, processes)
    return plan


__all__ = ["Order", "Plan", "made"]
