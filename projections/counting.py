"""Sums over cases that are alike, in several grains, so that the coarsest one that tells can be read."""

from projections.tables import COUNTED, COUNTED_BY, View
from projections.tallying import SIGNED, put

# All of it; without projects and months; and of a region each project, and each month, alone.
_GRAINS = ", ".join(
    f"({', '.join(names)})"
    for names in (
        COUNTED_BY,
        [name for name in COUNTED_BY if name not in ("project", "month")],
        ("region", "project"),
        ("region", "month"),
    )
)
_GRAIN = ", ".join(f"coalesce({name}, '') AS {name}" for name in COUNTED_BY)


def sums(condition: str = "sum(sign * opened) > 0") -> str:
    """What the signed tallies add up to."""
    added = ", ".join(f"sum(sign * {name})::int8 AS {name}" for name in COUNTED)
    return f"SELECT {_GRAIN}, {added} FROM {SIGNED} GROUP BY GROUPING SETS ({_GRAINS}) HAVING {condition}"


def moving(view: View) -> list[str]:
    """Move the sums by what is signed; a sum of no case goes."""
    moved = " OR ".join(f"sum(sign * {name}) <> 0" for name in COUNTED)
    return [f"moved_counts AS MATERIALIZED ({sums(moved)})", *put(view.counts, "moved_counts", COUNTED)]
