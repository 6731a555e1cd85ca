"""How many duties that nothing has met fall due in each month: those of past months are overdue, whatever the time."""

from projections.tables import View
from projections.tallying import BOTH_REGIONS, ONE_THING, SIGNED, put, shared

_OF = ", ".join(("region", *ONE_THING))
# The month of a case is one of the things that it is kept by.
_DUE = "date_trunc('month', due AT TIME ZONE 'UTC')::date"


def sums() -> str:
    """What the signed tallies owe."""
    return (
        "SELECT kept_by, place AS region, value, due_in AS month,"
        " sum(duties)::int4 AS duties, sum(responses)::int4 AS responses FROM"
        f" (SELECT {_OF}, {_DUE} AS due_in, sum(duties) AS duties, sum(responses) AS responses FROM"
        f" (SELECT {_OF}, unnest(unmet) AS due, sign AS duties, 0 AS responses FROM {SIGNED} WHERE unmet IS NOT NULL"
        f" UNION ALL SELECT {_OF}, unnest(unmet_responses), 0, sign FROM {SIGNED} WHERE unmet_responses IS NOT NULL"
        f") AS one GROUP BY {_OF}, due_in) AS net"
        f" CROSS JOIN LATERAL (VALUES {shared(ONE_THING)}) AS kept (kept_by, value)"
        f" {BOTH_REGIONS} GROUP BY kept_by, place, value, due_in HAVING sum(duties) <> 0 OR sum(responses) <> 0"
    )


def moving(view: View) -> list[str]:
    """Move the sums by what is signed; a sum of none goes."""
    return [f"moved_owed AS MATERIALIZED ({sums()})", *put(view.owed, "moved_owed", ["duties", "responses"])]
