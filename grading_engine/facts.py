"""What is known of a case when it is graded: amounts, flags, harm and households. Unknown is not zero."""

from decimal import Decimal
from typing import NamedTuple

AMOUNTS = ("compensation", "upgrade_cost", "economic_loss")
FLAGS = ("batch_handover_delayed", "title_deed_delayed", "group_milestone_delayed", "annual_target_lowered")
COUNTS = ("injured", "dead")
HOUSEHOLDS = ("complaining_households", "litigating_households")
NUMBERS = (*AMOUNTS, *COUNTS, *HOUSEHOLDS)


class Range(NamedTuple):
    """What a number is known to be: at least `low`, at most `high` (None: without bound)."""

    low: Decimal
    high: Decimal | None

    @classmethod
    def exactly(cls, number: Decimal | int) -> "Range":
        return cls(Decimal(number), Decimal(number))


UNKNOWN = Range(Decimal(0), None)


class Facts(NamedTuple):
    """The facts of one case at one instant: equal facts are judged equally, so they can be remembered by.

    `amounts` (yuan), `flags` and `counts` stand in the order of `AMOUNTS`, `FLAGS`, `COUNTS`; None was not assessed.
    Households are counted distinct and need no assessment; `either` is those that complain or sue, each once.
    """

    amounts: tuple[Decimal | None, ...] = (None,) * len(AMOUNTS)
    flags: tuple[bool | None, ...] = (None,) * len(FLAGS)
    counts: tuple[int | None, ...] = (None,) * len(COUNTS)
    complaining: int = 0
    litigating: int = 0
    either: int = 0

    def flag(self, name: str) -> bool | None:
        return self.flags[FLAGS.index(name)]

    def number(self, name: str) -> Range:
        """What is known of a number of `NUMBERS`; `LookupError` for any other name."""
        if name in HOUSEHOLDS:
            return Range.exactly(self.complaining if name == HOUSEHOLDS[0] else self.litigating)
        if name in AMOUNTS:
            known: Decimal | int | None = self.amounts[AMOUNTS.index(name)]
        elif name in COUNTS:
            known = self.counts[COUNTS.index(name)]
        else:
            raise LookupError(f"no number is called {name}")
        return UNKNOWN if known is None else Range.exactly(known)

    def distinct(self, names: tuple[str, ...]) -> int:
        """How many households are in any of these sets."""
        if len(set(names)) > 1:
            return self.either
        return self.complaining if names[0] == HOUSEHOLDS[0] else self.litigating
