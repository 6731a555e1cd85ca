"""Sums that are kept of all cases or of one thing that they share, each of one region and of all of them together."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from projections.filters import Asked
from projections.grouping import PLACES, Lying
from projections.rows import begins_a_month, month_of
from projections.tables import COUNTED, View
from projections.tallying import ALL

_FILTERED: Mapping[str, str] = {
    "project": "projects",
    "category": "categories",
    "stage": "stages",
    "status": "statuses",
    "grade": "grades",
}
_LIES = "LEFT JOIN unnest(%(lying)s::text[], %(cities)s::text[], %(areas)s::text[]) AS lies (lying, city, area)"
_SUMS = ", ".join(f"sum({name})::int8" for name in COUNTED)
# Of past months by their sums, of this one duty by duty.
_OVERDUE = """
SELECT g, sum(duties)::int8, sum(responses)::int8 FROM (
    SELECT {g} AS g, duties, responses FROM {owed} {lies} WHERE {limits} AND month < %(month)s::date
    UNION ALL
    SELECT {own_g}, 1, (d.duty = 'respond')::int4 FROM {duties} AS d JOIN {tallies} AS t USING (case_id) {own_lies}
    WHERE NOT d.void AND d.met_at IS NULL AND d.due_at >= %(since)s AND d.due_at < %(now)s AND {own_limits}
) AS every GROUP BY g
"""

SQL = tuple[str, dict[str, Any]]


class One(NamedTuple):
    """What is asked of one thing, `name`: `wanted` values of it, or months from one and up to before another."""

    name: str
    by: Sequence[str]
    regions: Sequence[str] | None
    wanted: Sequence[str] | None
    months: tuple[str | None, str | None]
    lying: Lying | None

    def keys(self, region: str, value: str) -> dict[str, str]:
        """The columns that tell a row's group, each under a name, the region first as in the tables' keys."""
        columns = {"region": region, "city": "coalesce(city, '')", "area": "coalesce(area, '')"}
        return {f"by_{name}": columns.get(name, value) for name in sorted(self.by, key=lambda name: name != "region")}

    def array(self, keys: Mapping[str, str]) -> str:
        """The group of a row, as `grouping.group` has it, of columns that are called so."""
        return f"ARRAY[{', '.join(f'by_{name}' for name in self.by if f'by_{name}' in keys)}]::text[]"

    def group(self, region: str, value: str) -> str:
        """The group of a row."""
        keys = self.keys(region, value)
        return f"ARRAY[{', '.join(keys[f'by_{name}'] for name in self.by)}]::text[]"

    def limits(self, region: str, value: str, kept: bool = True) -> str:
        """Which rows count; of those that are `kept` some are of all regions."""
        found = [text for text, given in self._given(value) if given is not None]
        if self.regions is not None:
            found.append(f"{region} = ANY(%(regions)s::text[])")
        elif kept:
            found.append(f"{region} {'<>' if 'region' in self.by or self.name == 'project' else '='} ''")
        return " AND ".join(found) or "TRUE"

    def _given(self, value: str) -> list[tuple[str, object]]:
        return [
            (f"{value} >= %(first_month)s", self.months[0]),
            (f"{value} < %(end_month)s", self.months[1]),
            (f"{value} = ANY(%(wanted)s::text[])", self.wanted),
        ]

    def lies(self, project: str) -> str:
        """The join with where projects lie, if that is asked."""
        return f"{_LIES} ON lying = {project}" if self.lying else ""

    @property
    def values(self) -> dict[str, Any]:
        """What the texts name."""
        return {
            "kept_by": self.name,
            "regions": None if self.regions is None else list(self.regions),
            "wanted": None if self.wanted is None else list(self.wanted),
            "first_month": self.months[0],
            "end_month": self.months[1],
            **(self.lying._asdict() if self.lying else {}),
        }


def one(by: Sequence[str], asked: Asked, lying: Lying | None) -> One | None:
    """The one thing that is grouped or filtered by, besides the region; None: there are several, or others."""
    months = _months(asked)
    plain = asked._replace(opened_from=None, opened_to=None)
    if months is None or not plain.only_counted:
        return None
    things = {"project" if name in PLACES else name for name in by if name != "region"}
    filtered = {name for name, field in _FILTERED.items() if getattr(asked, field) != getattr(Asked(), field)}
    things |= filtered | ({"month"} if any(months) else set())
    if len(things) > 1:
        return None
    name = next(iter(things), ALL)
    wanted = getattr(asked, _FILTERED[name]) if filtered else None
    return One(name, by, asked.regions, wanted, months, lying)


def _months(asked: Asked) -> tuple[str | None, str | None] | None:
    """The months that are asked for by when cases were opened; None: not whole ones."""
    found: list[str | None] = []
    for bound in (asked.opened_from, asked.opened_to):
        if bound and not begins_a_month(bound):
            return None
        found.append(month_of(bound) if bound else None)
    return found[0], found[1]


def counts(view: View, asked: One) -> SQL:
    """The sums of each group, from the coarsest grain that tells."""
    by_one = {"project": "category = '' AND project <> ''", "month": "category = '' AND month <> ''"}
    grain = by_one.get(asked.name, "category <> '' AND project = ''")
    value = f"c.{asked.name or 'region'}"
    text = (
        f"SELECT {asked.group('c.region', value)} AS g, {_SUMS} FROM {view.counts.fullname} AS c {asked.lies(value)}"
        f" WHERE {grain} AND {asked.limits('c.region', value, kept=False)} GROUP BY g"
    )
    return text, asked.values


def overdue(view: View, asked: One, now: datetime) -> SQL:
    """Of each group the duties that nothing has met and whose time is over, and how many of them are responses."""
    value = f"t.{asked.name or 'region'}"
    text = _OVERDUE.format(
        g=asked.group("region", "value"),
        owed=view.owed.fullname,
        lies=asked.lies("value"),
        limits=f"kept_by = %(kept_by)s AND {asked.limits('region', 'value')}",
        own_g=asked.group("t.region", value),
        duties=view.duties.fullname,
        tallies=view.tallies.fullname,
        own_lies=asked.lies("t.project"),
        own_limits=asked.limits("t.region", value, kept=False),
    )
    since = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return text, {**asked.values, "month": since.date(), "since": since, "now": now}
