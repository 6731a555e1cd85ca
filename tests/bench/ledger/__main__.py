"""`python -m tests.bench.ledger --actions N --cases M --url URL`: a ledger in a migrated, empty database.

The keys are those of the service that is to read it (`ANJUAN_DATA`, `ANJUAN_MASTER_KEY`, `ANJUAN_PHONE_KEY`).
"""

from argparse import ArgumentParser
from datetime import UTC, datetime
from time import perf_counter

from services.settings import Settings
from tests.bench.ledger import made
from tests.bench.ledger.pouring import Order


def main() -> None:
    asked = ArgumentParser(prog="python -m tests.bench.ledger")
    asked.add_argument("--actions", type=int, default=10_000)
    asked.add_argument("--cases", type=int, default=0, help="default: 0.15 of the actions")
    asked.add_argument("--url", required=True)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--until", type=datetime.fromisoformat, default=datetime.now(UTC))
    options = asked.parse_args()
    begun = perf_counter()
    order = Order(options.actions, options.cases or max(1, options.actions * 3 // 20), options.until, options.seed)
    settings = Settings.from_environment()
    plan = made(order, options.url, settings.key("ANJUAN_MASTER_KEY"), settings.key("ANJUAN_PHONE_KEY"))
    print(f"{order.actions} actions of {len(plan.numbers)} cases in {perf_counter() - begun:.1f} s")


if __name__ == "__main__":
    main()
