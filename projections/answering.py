"""How long answers took, counted so that exact percentiles can be read from some hundred rows.

Of all cases of a region, and of each thing that cases share, every answered complaint is counted in a slot that widens
with time (slot n holds the seconds s with n <= s^(1/4) < n + 1), in a closer one (an eighth of it) and by its second.
The wide slots tell in which of them a rank lies, the closer ones in that slot where in it, and the seconds in that one
which it is: however many answers there are, some 20, 8 and few hundred rows. The slot around an hour is half an hour
wide, a closer one 4 minutes; around a day 4 and half an hour.
"""

from collections.abc import Callable
from typing import NamedTuple

from projections.tables import View
from projections.tallying import BOTH_REGIONS, ONE_THING, SIGNED, put, shared

_CLOSER = 8
_OF = ", ".join(("region", *ONE_THING))


class Closer(NamedTuple):
    """Slots of a finer kind: what stands behind the name of what they are kept by, which one a second lies in, and
    where such a slot begins for one of the next wider kind, as SQL.
    """

    name: str
    slot: str
    begin: Callable[[str], str]


def _first_second(slot: str) -> str:
    """The first second in a closer slot."""
    fourth = " * ".join([f"{slot}::int8"] * 4)
    return f"(({fourth} + {_CLOSER**4 - 1}) / {_CLOSER**4})"


# A power of two times the root is exact, and so is a root that is whole: a second is in the same slot wherever it is
# worked out.
_ROOT = "sqrt(sqrt(second))"
CLOSER = (
    Closer(" closer", f"floor({_CLOSER} * {_ROOT})::int4", lambda slot: f"{slot} * {_CLOSER}"),
    Closer(" by second", "second", _first_second),
)
_KINDS = ", ".join(
    (f"(kept_by, floor({_ROOT})::int4)", *(f"(kept_by || '{closer.name}', {closer.slot})" for closer in CLOSER))
)
# One statement, from the answers to what is kept of them: of alike cases, of one thing in a region, and in all of them.
_SUMS = f"""
SELECT kept_as AS kept_by, region, value, slot, sum(answered)::int4 AS answered FROM (
    SELECT kept_by, place AS region, value, second, sum(answered) AS answered FROM (
        SELECT kept_by, region, value, second, sum(answered) AS answered FROM (
            SELECT {_OF}, second, sum(sign) AS answered FROM (
                SELECT sign, {_OF}, seconds AS second FROM {SIGNED} WHERE answers > 0
                UNION ALL SELECT sign, {_OF}, unnest(more_seconds) FROM {SIGNED} WHERE answers > 1
            ) AS answer GROUP BY {_OF}, second HAVING sum(sign) <> 0
        ) AS alike CROSS JOIN LATERAL (VALUES {shared(ONE_THING)}) AS kept (kept_by, value)
        GROUP BY kept_by, region, value, second HAVING sum(answered) <> 0
    ) AS of_region {BOTH_REGIONS} GROUP BY kept_by, place, value, second HAVING sum(answered) <> 0
) AS exact CROSS JOIN LATERAL (VALUES {_KINDS}) AS slotted (kept_as, slot)
GROUP BY kept_as, region, value, slot HAVING sum(answered) <> 0
"""


def sums() -> str:
    """What the answers of the signed tallies add up to."""
    return _SUMS


def moving(view: View) -> list[str]:
    """Move the counts by what is signed; a count of none goes."""
    return [f"moved_answers AS MATERIALIZED ({_SUMS})", *put(view.answers, "moved_answers", ["answered"])]
