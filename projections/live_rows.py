"""What was replayed, held against the views that everybody reads, field by field.

The rows of some cases and the position that they reflect are read at one instant, and folded anew up to just there: so
nothing differs because somebody goes on writing. A field that differs from what was replayed is explained by what the
views know and the question excludes (or the other way round); one that differs from the fresh fold by nothing.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Table

from projections import checkpoint
from projections.checking import Rows, held_rows
from projections.checkpoint import View
from projections.dockets import gather
from projections.replay import Question
from projections.rows import CaseRows, Row, rows_of
from projections.tables import VIEWS, folded
from services.casebook import entry_of
from services.docket import Docket, Entry, Files, Policies, fold, groups
from services.event_log import Connection, EventLog, Record
from services.events import ACTIONS

# Explaining actions that are named; of more there is no need.
_NAMED = 50
_NEWER = """
SELECT position, stream, version, name, schema, actor, region, recorded_at, body, header_hash FROM events
WHERE stream = ANY(%b::uuid[]) AND position > %b AND position <= %b ORDER BY stream, version
"""
_STRANGERS = """
SELECT case_id, region, project FROM {table} AS held WHERE NOT EXISTS (SELECT FROM events WHERE stream = held.case_id)
"""
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# What a verdict consists of, by table; shown as it stands.
_VERDICT: Mapping[str, tuple[str, ...]] = {
    "cases": (
        "region",
        "project",
        "category",
        "stage",
        "status",
        "grade",
        "escalation_level",
        "opened_at",
        "household_count",
    ),
    "duties": ("duty", "cycle", "office", "started_at", "due_at", "met_at", "proved_at", "void"),
}
# Neither personal nor anybody's own words.
_PLAIN = frozenset(
    {
        *(name for names in _VERDICT.values() for name in names),
        *("case_no", "severity", "month", "updated_at", "breached_at", "position", "version"),
        *("closed", "reopened", "open", "duties_due", "duties_met", "duties_late", "duties_untimed", "responses"),
        *("responses_met", "responses_late", "channel", "obtained_at", "responded_at", "seconds", "code", "criteria"),
        *("since", "known_at", "number", "action_id"),
    }
)


class Look(NamedTuple):
    """What the views hold of some cases, table by table by case and key; and of which position."""

    view: View
    parked: frozenset[UUID]
    rows: Mapping[str, Mapping[UUID, Mapping[object, Row]]]


async def look(connection: Connection, cases: Sequence[UUID]) -> Look:
    """The rows of these cases at one instant; raises `Unfilled` while the views are not whole."""
    await connection.execute(_BEGIN)
    try:
        live = await connection.execute(checkpoint.LIVE, binary=True)
        view = checkpoint.readable((await live.fetchall())[0])
        parked = await checkpoint.waiting(connection, view.generation)
        rows = {table.name: _by_case(table, await held_rows(connection, table, cases)) for table in _tables(view)}
    finally:
        await connection.execute("ROLLBACK")
    return Look(view, frozenset(parked), rows)


async def strangers(connection: Connection, question: Question) -> list[dict[str, Any]]:
    """Rows of cases that the ledger does not know."""
    view = checkpoint.readable((await (await connection.execute(checkpoint.LIVE, binary=True)).fetchall())[0])
    found = await connection.execute(_STRANGERS.format(table=VIEWS[view.generation][0].fullname), binary=True)
    field = _field("cases", None, "", None, None, True)
    return [
        {"case_id": case_id, "case_no": None, "region": region, "fields": [field], "explained_by": None}
        for case_id, region, project in await found.fetchall()
        if question.region in (None, region) and question.project in (None, project)
    ]


class Fresh:
    """The cases of a page as the views should show them, for whichever position they reflect."""

    def __init__(self, log: EventLog, policies: Policies, question: Question, until: int) -> None:
        self._log, self._policies, self._question, self._until = log, policies, question, until

    async def newer(self, connection: Connection, cases: Sequence[UUID], position: int) -> frozenset[UUID]:
        """Cases with actions beyond what is replayed that the views reflect."""
        if position <= self._until:
            return frozenset()
        rows = await connection.execute(_NEWER, [list(cases), self._until, position], binary=True)
        records = [Record(*row) for row in await rows.fetchall()]
        return frozenset(record.stream for record in records if record.name in ACTIONS)

    async def docket(self, files: Files, stood: Docket, position: int, has_newer: bool) -> tuple[Files, Docket]:
        """The docket of all that was recorded up to the position; the one that stood, where that is the same."""
        if has_newer:
            files = await self._reread(files, position)
        elif not self._excludes(files, position):
            return files, stood
        then = {stream: [one for one in held if one.position <= position] for stream, held in files.items()}
        return files, fold(then, policies=self._policies).docket

    def _excludes(self, files: Files, position: int) -> bool:
        """Whether the question knows less or more than the views, or judges otherwise."""
        asked = self._question
        return asked.policy is not None or any(
            one.recorded_at > asked.known_at or one.at > asked.as_of or one.position > position
            for held in files.values()
            for one in held
        )

    async def _reread(self, files: Files, position: int) -> Files:
        found: dict[UUID, list[Entry]] = {stream: [] for stream in files}
        for record in await self._log.read.histories_until(list(files), position):
            if record.name in ACTIONS:
                found[record.stream].append(entry_of(record))
        await gather(self._log, found, position)
        return next(one for one in groups(found) if next(iter(files)) in one)


def expected(docket: Docket, cases: Collection[UUID]) -> dict[UUID, CaseRows]:
    """The rows that the views should hold of these cases of a docket."""
    return {one.case_id: one for one in rows_of(docket) if one.case_id in cases}


def differing(
    question: Question,
    replayed: CaseRows | None,
    fresh: CaseRows | None,
    files: Files,
    case_id: UUID,
    look: Look,
) -> dict[str, Any] | None:
    """Where the views say something else than was replayed, or than they should; None: nowhere.

    `replayed` None: the case is not among those that were asked for, and only what nothing explains is told.
    """
    fields = list(_fields(replayed, fresh, case_id, look))
    if not fields:
        return None
    known = replayed or fresh
    return {
        "case_id": case_id,
        "case_no": known.case[1] if known else None,
        "region": known.region if known else None,
        "fields": fields,
        "explained_by": _explanation(question, files, look.view.position),
    }


def _fields(replayed: CaseRows | None, fresh: CaseRows | None, case_id: UUID, look: Look) -> Iterator[dict[str, Any]]:
    for table in _tables(look.view):
        held = look.rows[table.name].get(case_id, {})
        due = _keyed(table, fresh)
        said = due if replayed is fresh else _keyed(table, replayed)
        if held == due and said is due:
            continue
        verdict = _VERDICT.get(table.name, ()) if replayed else ()
        names = [column.name for column in folded(table)]
        for key in sorted({*held, *due, *(said if verdict else ())}, key=str):
            rows = (said.get(key), due.get(key), held.get(key))
            yield from _of_row(table.name, names, key, rows, verdict)


def _of_row(
    table: str, names: Sequence[str], key: object, rows: Sequence[Row | None], verdict: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Field by field; of a row that is not there, that alone."""
    said, due, held = rows
    shown_key = None if table == "cases" else key
    if held is None or due is None or (said is None and verdict):
        wrong = (held is None) != (due is None)
        if wrong or (verdict and (said is None) != (held is None)):
            yield _field(table, shown_key, "", said is not None if verdict else None, held is not None, wrong)
        if held is None or due is None:
            return
    for place, name in enumerate(names):
        wrong = due[place] != held[place]
        if wrong or (name in verdict and said is not None and said[place] != held[place]):
            values = (said[place] if said else None, held[place]) if name in _PLAIN else (None, None)
            yield _field(table, shown_key, name, *values, wrong)


def _field(table: str, key: object, field: str, replayed: Any, live: Any, unexplained: bool) -> dict[str, Any]:
    """`field` "" is the row itself, which is there or not; texts are named and not shown."""
    return {
        "table": str(table),
        "key": str(key) if key is not None else None,
        "field": str(field) if field else None,
        "replayed": _shown(replayed),
        "live": _shown(live),
        "unexplained": unexplained,
    }


def _shown(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _explanation(question: Question, files: Files, position: int) -> dict[str, Any]:
    """The actions that one side knows and the other doesn't; and whether another document judges."""
    every = [one for held in files.values() for one in held]
    later = [one.position for one in every if one.recorded_at > question.known_at and one.position <= position]
    after = [one.position for one in every if one.at > question.as_of and one.position <= position]
    unseen = [one.position for one in every if one.position > position and one.recorded_at <= question.known_at]
    return {
        "recorded_later": sorted(later)[:_NAMED],
        "occurred_later": sorted(after)[:_NAMED],
        "not_followed_yet": sorted(unseen)[:_NAMED],
        "other_policy": question.policy is not None,
    }


def _tables(view: View) -> list[Table]:
    """Those that a case's own actions fill, but for the words that it is found by: they are texts."""
    held = VIEWS[view.generation]
    return [held.cases, held.complaints, held.duties, held.grades]


def _keyed(table: Table, rows: CaseRows | None) -> dict[object, Row]:
    if rows is None:
        return {}
    if table.name == "cases":
        return {rows.case_id: rows.case}
    held: Sequence[Row] = getattr(rows, table.name)
    return {_key(table, row): row for row in held}


def _by_case(table: Table, rows: Rows) -> dict[UUID, dict[object, Row]]:
    place = table.columns.keys().index("case_id")
    found: dict[UUID, dict[object, Row]] = {}
    for row in rows.values():
        whole = tuple(row)
        case_id = whole[place]
        assert isinstance(case_id, UUID)
        found.setdefault(case_id, {})[_key(table, whole)] = whole
    return found


def _key(table: Table, row: Row) -> object:
    return row[1] if table.name == "grades" else row[0]
