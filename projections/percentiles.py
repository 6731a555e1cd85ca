"""How long half and nine tenths of the answers took: exact, by nearest rank, without reading all of them.

The p-th percentile of n answers is the one with rank ceil(n * p / 100), the shortest first: a whole number of seconds
that some complaint really waited. Where all or one thing only is asked for, the wide slots of `answering` tell in which
of them it lies, and only what that one holds is looked at, slot by slot and then second by second. Else the tallies are
counted.
"""

from projections.answering import CLOSER
from projections.kept_sums import SQL, One
from projections.tables import View

PERCENTS = (50, 90)
_PERCENTS = ", ".join(f"({percent})" for percent in PERCENTS)
# A slot's answers lie in several rows where a group has several values or regions: `upto` and `n` are of all of them.
_TOP = """
WITH at_0 AS (
    SELECT {named}region, value, slot, percent, upto - n AS below, (total * percent + 99) / 100 AS rank
    FROM (
        SELECT {keys}region, value, slot, sum(answered) OVER ({partition} ORDER BY slot) AS upto,
            sum(answered) OVER (PARTITION BY {columns}slot) AS n, sum(answered) OVER ({partition}) AS total
        FROM {answers} {lies} WHERE {limits}
    ) AS running JOIN (VALUES {percents}) AS asked (percent)
    ON upto >= (total * percent + 99) / 100 AND upto - n < (total * percent + 99) / 100
)"""
_CLOSER = """, at_{number} AS (
    SELECT {named}region, value, slot, percent, upto - n AS below, rank FROM (
        SELECT {named}region, value, inside.slot, percent, rank,
            below + sum(answered) OVER (PARTITION BY {named}percent ORDER BY inside.slot) AS upto,
            sum(answered) OVER (PARTITION BY {named}percent, inside.slot) AS n
        FROM at_{before} AS held CROSS JOIN LATERAL (
            SELECT own.slot, own.answered FROM {answers} AS own
            WHERE own.kept_by = %(closer_{number})s AND own.region = held.region AND own.value = held.value
                AND own.slot >= {begin} AND own.slot < {end}
            OFFSET 0
        ) AS inside
    ) AS running WHERE upto >= rank AND upto - n < rank
)"""
_FOUND = " SELECT DISTINCT {g}, percent, slot FROM at_{number}"


def kept(view: View, asked: One) -> SQL:
    """Rows of a group, a percent and the seconds; no row for a group without an answer."""
    keys = asked.keys("region", "value")
    columns = ", ".join(keys.values())
    told = {
        "named": "".join(f"{name}, " for name in keys),
        "keys": "".join(f"{column} AS {name}, " for name, column in keys.items()),
        "columns": f"{columns}, " if columns else "",
        "partition": f"PARTITION BY {columns}" if columns else "",
        "answers": view.answers.fullname,
        "lies": asked.lies("value"),
        "limits": f"kept_by = %(kept_by)s AND {asked.limits('region', 'value')}",
        "percents": _PERCENTS,
        "g": asked.array(keys),
    }
    steps = [_TOP.format(**told)]
    for number, closer in enumerate(CLOSER, 1):
        begin, end = (closer.begin(slot) for slot in ("held.slot", "(held.slot + 1)"))
        steps.append(_CLOSER.format(number=number, before=number - 1, begin=begin, end=end, **told))
    names = {f"closer_{number}": asked.name + closer.name for number, closer in enumerate(CLOSER, 1)}
    return "".join([*steps, _FOUND.format(number=len(CLOSER), **told)]), {**asked.values, **names}
