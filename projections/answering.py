"""How long answers took, counted so that exact percentiles can be read from a few hundred rows.

Every answered complaint is counted in slots: by its very second, region by region, and in slots that widen with time
(slot n holds the seconds s with n <= fineness * sqrt(s) < n + 1) for all cases of a region and for each thing in
`KEPT_BY` that cases share. Half a day needs 208 slots of fineness 1. Where a slot's seconds are looked up in the
complaints themselves and few values share all of them, slots are finer, so that fewer complaints lie in each.
"""

from collections.abc import Mapping

from projections.tables import COUNTED_BY, View

# The exact seconds; the wide slots of all cases have no name.
SECOND = "second"
ALL = ""
KEPT_BY: Mapping[str, int] = {"project": 1, "category": 8, "grade": 8, "status": 8, "stage": 8, "month": 1}

_KEY = ("kept_by", "value", "region", "slot")
_NAMES = ", ".join(_KEY)
_SLOTS = ", ".join(
    (
        f"('{SECOND}', '', seconds)",
        f"('{ALL}', '', floor(sqrt(seconds))::int4)",
        *(f"('{name}', {name}, floor({fineness} * sqrt(seconds))::int4)" for name, fineness in KEPT_BY.items()),
    )
)
_OF = ", ".join(COUNTED_BY)


def moving(view: View) -> list[str]:
    """Move the counts by the answers that the next rows have less those before: steps of the statement that writes.

    Those of cases that are alike in all that answers are kept by, before and after, cost nothing but being read.
    """
    answers = view.answers.fullname
    of_before = _of("c")
    same = " AND ".join(f"held.{name} = moved.{name}" for name in _KEY)
    return [
        f"one_answer AS (SELECT {_of('n')}, a.seconds, 1 AS answered FROM next_complaints AS a"
        " JOIN next_cases AS n USING (case_id) WHERE a.seconds IS NOT NULL"
        # Of known cases the next complaints are only those that changed.
        f" UNION ALL SELECT {_of('n')}, a.seconds, 1 FROM next_cases AS n JOIN {view.complaints.fullname} AS a"
        " USING (case_id) WHERE a.seconds IS NOT NULL AND a.case_id = ANY(%(known)b::uuid[])"
        " AND a.complaint_id <> ALL(%(gone_complaints)b::uuid[])"
        " AND NOT EXISTS (SELECT FROM next_complaints AS x WHERE x.complaint_id = a.complaint_id)"
        f" UNION ALL SELECT {of_before}, a.seconds, -1 FROM next_cases AS n JOIN {view.cases.fullname} AS c"
        f" USING (case_id) JOIN {view.complaints.fullname} AS a USING (case_id) WHERE a.seconds IS NOT NULL)",
        f"net_answers AS (SELECT {_OF}, seconds, sum(answered) AS answered FROM one_answer GROUP BY {_OF}, seconds"
        " HAVING sum(answered) <> 0)",
        f"moved AS MATERIALIZED (SELECT {_NAMES}, sum(answered)::int4 AS answered FROM net_answers"
        f" CROSS JOIN LATERAL (VALUES {_SLOTS}) AS kept (kept_by, value, slot)"
        f" GROUP BY {_NAMES} HAVING sum(answered) <> 0)",
        f"gone_answers AS (DELETE FROM {answers} AS held USING moved WHERE {same}"
        " AND held.answered + moved.answered = 0)",
        f"put_answers AS (INSERT INTO {answers} AS held"
        f" SELECT moved.* FROM moved LEFT JOIN {answers} AS held USING ({_NAMES})"
        " WHERE coalesce(held.answered, 0) + moved.answered <> 0"
        f" ON CONFLICT ({_NAMES}) DO UPDATE SET answered = held.answered + excluded.answered)",
    ]


def sums(view: View) -> str:
    """What `answers` has to hold, as a query over the complaints and cases."""
    return (
        f"SELECT {_NAMES}, count(*)::int4 AS answered FROM (SELECT {_of('c')}, a.seconds"
        f" FROM {view.complaints.fullname} AS a JOIN {view.cases.fullname} AS c USING (case_id)"
        f" WHERE a.seconds IS NOT NULL) AS one CROSS JOIN LATERAL (VALUES {_SLOTS}) AS kept (kept_by, value, slot)"
        f" GROUP BY {_NAMES} ORDER BY {_NAMES}"
    )


def _of(table: str) -> str:
    return ", ".join(f"{table}.{name}" for name in COUNTED_BY)
