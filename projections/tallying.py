"""What each case adds to sums, as a narrow row of its own; and what moved of them, from which every kept sum is moved.

A tally follows from the rows of its case alone, by one query: for the cases of a batch, for all of them when the sums
are made anew, and for whoever checks them. So what is kept step by step and what is counted at once cannot differ in
what they mean.
"""

from collections.abc import Sequence

from sqlalchemy import Table

from projections.tables import COUNTED, COUNTED_BY, View

# What the steps below call the tallies as they are now (`sign` 1) and as they were before (-1); unchanged ones in
# neither.
SIGNED = "signed"
# Later than anything; `infinity` is no instant to whoever reads the rows.
_NEVER = "9999-01-01T00:00:00Z"
# A void case counts for nothing, and neither as opened.
_SUMS = ", ".join(("(status <> 'void')::int4 AS opened", *COUNTED[1:]))


def tallies(view: View, of: str = "TRUE") -> str:
    """What `tallies` has to hold, in its order, of the cases for which `of` holds, which names `case_id` alone."""
    return f"""
        SELECT case_id, opened_at, coalesce(unmet[1], '{_NEVER}') AS due_at, coalesce(cardinality(took), 0) AS answers,
            coalesce(took[1], 0) AS seconds, {_SUMS}, {", ".join(COUNTED_BY)}, escalation_level,
            CASE WHEN cardinality(took) > 1 THEN took[2:] END AS more_seconds, unmet, unmet_responses, breached_at,
            channels, tags
        FROM {view.cases.fullname} LEFT JOIN (
            SELECT case_id, array_agg(seconds ORDER BY seconds) AS took FROM {view.complaints.fullname}
            WHERE seconds IS NOT NULL AND {of} GROUP BY case_id
        ) AS answered USING (case_id) LEFT JOIN (
            SELECT case_id, array_agg(due_at ORDER BY due_at) AS unmet,
                array_agg(due_at ORDER BY due_at) FILTER (WHERE duty = 'respond') AS unmet_responses
            FROM {view.duties.fullname} WHERE NOT void AND met_at IS NULL AND due_at IS NOT NULL AND {of}
            GROUP BY case_id
        ) AS owing USING (case_id) WHERE {of}"""


def moving(view: View) -> list[str]:
    """Steps that bring the tallies of `%(case_ids)b` up to their cases' rows, and tell what moved as `signed`."""
    table = view.tallies.fullname
    changes = ", ".join(f"{column.name} = excluded.{column.name}" for column in list(view.tallies.columns)[1:])
    return [
        f"next_tallies AS MATERIALIZED ({tallies(view, 'case_id = ANY(%(case_ids)b::uuid[])')})",
        "moved_tallies AS MATERIALIZED (SELECT next.* FROM next_tallies AS next"
        f" LEFT JOIN {table} AS held USING (case_id) WHERE (next.*) IS DISTINCT FROM (held.*))",
        f"{SIGNED} AS MATERIALIZED (SELECT 1 AS sign, * FROM moved_tallies UNION ALL"
        f" SELECT -1, held.* FROM {table} AS held JOIN moved_tallies USING (case_id))",
        f"put_tallies AS (INSERT INTO {table} SELECT * FROM moved_tallies"
        f" ON CONFLICT (case_id) DO UPDATE SET {changes})",
    ]


def every(view: View) -> str:
    """All tallies as `signed`: what they add up to is what is to be kept."""
    return f"{SIGNED} AS (SELECT 1 AS sign, * FROM {view.tallies.fullname})"


def shared(names: tuple[str, ...]) -> str:
    """By which one thing a sum is kept, as a list of VALUES: of all cases of a region, and of those that share it."""
    return ", ".join(("('', '')", *(f"('{name}', {name})" for name in names)))


# Of one thing that cases share sums are kept region by region, and, as of a region '', of them all; a project lies in
# one region alone.
ONE_THING = tuple(name for name in COUNTED_BY if name != "region")
# What is kept of all cases has this name.
ALL = ""
BOTH_REGIONS = "CROSS JOIN LATERAL (VALUES (region), ('')) AS lies (place) WHERE place <> '' OR kept_by <> 'project'"


def put(table: Table, moved: str, counted: Sequence[str]) -> list[str]:
    """Steps that move a table's sums, `counted`, by those of the step `moved`; where the first comes to 0 its row goes.

    Only what becomes less can go, so that what becomes more, as nearly all does, is written without a look before.
    """
    kept, key = table.fullname, [column.name for column in table.primary_key]
    names, first = ", ".join([*key, *counted]), counted[0]
    same = " AND ".join(f"held.{name} = moved.{name}" for name in key)
    less = f"moved.{first} < 0 AND held.{first} + moved.{first} = 0"
    added = ", ".join(f"{name} = held.{name} + excluded.{name}" for name in counted)
    return [
        f"gone_{table.name} AS (DELETE FROM {kept} AS held USING {moved} AS moved WHERE {same} AND {less})",
        f"put_{table.name} AS (INSERT INTO {kept} AS held ({names}) SELECT {names} FROM {moved} AS moved"
        f" WHERE moved.{first} >= 0 OR NOT EXISTS (SELECT FROM {kept} AS held WHERE {same} AND {less})"
        f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {added})",
    ]
