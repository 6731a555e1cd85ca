"""The views' tables: a pure fold of the ledger, so every one of them may be thrown away and built again.

Each exists twice, in the schemas `view_1` and `view_2`: one is read and followed while the other is rebuilt, and
one row of `projections` says which is which. What can move without an action is not in them: a state that depends on
the time is decided when asked, people and places are looked up in the directory.
"""

from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP

from services.event_log.tables import METADATA

# Every table of the house: what Alembic compares a database with.
DECLARED = METADATA
GENERATIONS = (1, 2)
_INSTANT = TIMESTAMP(timezone=True)

COUNTED_BY = ("region", "project", "category", "grade", "status", "stage", "month")
COUNTED = (
    *("opened", "closed", "reopened", "open", "household_count"),
    *("duties_due", "duties_met", "duties_late", "duties_untimed", "responses", "responses_met", "responses_late"),
)


class View(NamedTuple):
    """The tables of one generation."""

    cases: Table
    words: Table
    complaints: Table
    duties: Table
    grades: Table
    counts: Table
    notices: Table
    answers: Table
    tallies: Table
    owed: Table


def _cases(metadata: MetaData, schema: str) -> Table:
    table = Table(
        "cases",
        metadata,
        Column("case_id", Uuid, primary_key=True),
        Column("case_no", Text, nullable=False),
        Column("region", Text, nullable=False),
        Column("project", Text, nullable=False),
        Column("category", Text, nullable=False),
        Column("stage", Text, nullable=False),
        Column("status", Text, nullable=False),
        Column("grade", Text, nullable=False),
        Column("severity", SmallInteger, nullable=False),
        Column("month", Text, nullable=False),
        Column("escalation_level", Text, nullable=False),
        Column("external_ref", Text),
        Column("channels", ARRAY(Text), nullable=False),
        Column("tags", ARRAY(Text), nullable=False),
        Column("opened_at", _INSTANT, nullable=False),
        Column("updated_at", _INSTANT, nullable=False),
        Column("due_at", _INSTANT),
        Column("breached_at", _INSTANT),
        Column("position", BigInteger, nullable=False),
        Column("version", Integer, nullable=False),
        Column("closed", Integer, nullable=False),
        Column("reopened", Integer, nullable=False),
        Column("open", Integer, nullable=False),
        Column("household_count", Integer, nullable=False),
        Column("duties_due", Integer, nullable=False),
        Column("duties_met", Integer, nullable=False),
        Column("duties_late", Integer, nullable=False),
        Column("duties_untimed", Integer, nullable=False),
        Column("responses", Integer, nullable=False),
        Column("responses_met", Integer, nullable=False),
        Column("responses_late", Integer, nullable=False),
        Column("head", LargeBinary, nullable=False),
        schema=schema,
        comment="One row a case: its head, ready to be sent (texts sealed), and what it is found and counted by.",
    )
    c = table.c
    Index("cases_opened", c.opened_at, c.case_id)
    Index("cases_opened_in", c.region, c.opened_at, c.case_id)
    Index("cases_opened_of", c.project, c.opened_at, c.case_id)
    Index("cases_updated", c.updated_at, c.case_id)
    Index("cases_updated_in", c.region, c.updated_at, c.case_id)
    Index("cases_due", c.due_at, c.case_id)
    Index("cases_due_in", c.region, c.due_at, c.case_id)
    Index("cases_severe", c.severity, c.opened_at, c.case_id)
    Index("cases_severe_in", c.region, c.severity, c.opened_at, c.case_id)
    Index("cases_moved", c.position)
    Index("cases_breached", c.region, c.breached_at, postgresql_where=text("breached_at IS NOT NULL"))
    Index("cases_numbered", c.case_no)
    Index("cases_referred", c.external_ref, postgresql_where=text("external_ref IS NOT NULL"))
    Index("cases_tags", c.tags, postgresql_using="gin")
    Index("cases_channels", c.channels, postgresql_using="gin")
    Index("cases_of_status", c.status, c.opened_at, c.case_id)
    Index("cases_of_category", c.category, c.opened_at, c.case_id)
    Index("cases_of_grade", c.grade, c.opened_at, c.case_id)
    Index("cases_of_stage", c.stage, c.opened_at, c.case_id)
    Index(
        "cases_escalated",
        c.escalation_level,
        c.opened_at,
        c.case_id,
        postgresql_where=text("escalation_level <> 'none'"),
    )
    return table


def _words(metadata: MetaData, schema: str) -> Table:
    table = Table(
        "words",
        metadata,
        Column("case_id", Uuid, primary_key=True),
        Column("texts", LargeBinary, nullable=False),
        Column("grams", ARRAY(Integer), nullable=False),
        schema=schema,
        comment="A case's texts, sealed, and what they are found by: apart, since nearly no action changes them.",
    )
    Index("words_grams", table.c.grams, postgresql_using="gin")
    return table


def _complaints(metadata: MetaData, schema: str) -> Table:
    table = Table(
        "complaints",
        metadata,
        Column("complaint_id", Uuid, primary_key=True),
        Column("case_id", Uuid, nullable=False),
        Column("region", Text, nullable=False),
        Column("project", Text, nullable=False),
        Column("channel", Text, nullable=False),
        Column("household", Text),
        Column("person", Uuid),
        Column("obtained_at", _INSTANT, nullable=False),
        Column("responded_at", _INSTANT),
        Column("seconds", Integer),
        schema=schema,
        comment="One row a complaint. `seconds` to the answer; `person`: the data key of who complains by telephone.",
    )
    c = table.c
    Index("complaints_of", c.case_id)
    Index("complaints_from", c.project, c.household, postgresql_where=text("household IS NOT NULL"))
    Index("complaints_by", c.person, postgresql_where=text("person IS NOT NULL"))
    return table


# Of a duty's row: it is late, or will be once its time is over.
LATE = "NOT void AND due_at IS NOT NULL AND (met_at IS NULL OR met_at > due_at)"


def _duties(metadata: MetaData, schema: str) -> Table:
    table = Table(
        "duties",
        metadata,
        Column("duty_id", Uuid, primary_key=True),
        Column("case_id", Uuid, nullable=False),
        Column("region", Text, nullable=False),
        Column("project", Text, nullable=False),
        Column("duty", Text, nullable=False),
        Column("cycle", Integer, nullable=False),
        Column("complaint_id", Uuid),
        Column("office", Text, nullable=False),
        Column("unit", Text),
        Column("started_at", _INSTANT, nullable=False),
        Column("known_at", _INSTANT, nullable=False),
        Column("due_at", _INSTANT),
        Column("met_at", _INSTANT),
        Column("proved_at", _INSTANT),
        Column("void", Boolean, nullable=False),
        Column("item", LargeBinary, nullable=False),
        Column("noticed", Boolean, nullable=False, server_default=false()),
        schema=schema,
        comment="One row a duty: its clock, from which its state at any instant follows, and its item but for that.",
    )
    c = table.c
    late = text(LATE)
    unmet = text("NOT void AND met_at IS NULL")
    Index("duties_of", c.case_id)
    Index("duties_due", c.due_at, c.duty_id)
    Index("duties_due_in", c.region, c.due_at, c.duty_id)
    Index("duties_due_of", c.project, c.due_at, c.duty_id)
    Index("duties_late", c.due_at, c.duty_id, postgresql_where=late)
    Index("duties_late_in", c.region, c.due_at, c.duty_id, postgresql_where=late)
    # What is overdue is counted from these alone.
    beside = ["project", "duty", "case_id"]
    Index("duties_unmet", c.due_at, c.duty_id, postgresql_where=unmet, postgresql_include=["region", *beside])
    Index("duties_unmet_in", c.region, c.due_at, c.duty_id, postgresql_where=unmet, postgresql_include=beside)
    Index("duties_untold", c.region, c.due_at, c.duty_id, postgresql_where=text(f"{LATE} AND NOT noticed"))
    Index("duties_void", c.due_at, c.duty_id, postgresql_where=text("void"))
    return table


def _grades(metadata: MetaData, schema: str) -> Table:
    return Table(
        "grades",
        metadata,
        Column("case_id", Uuid, nullable=False),
        Column("number", Integer, nullable=False),
        Column("code", Text, nullable=False),
        Column("criteria", ARRAY(Text), nullable=False),
        Column("since", _INSTANT, nullable=False),
        Column("known_at", _INSTANT, nullable=False),
        Column("action_id", Uuid, nullable=False),
        PrimaryKeyConstraint("case_id", "number"),
        schema=schema,
        comment="The levels that a case has had, in the order of the instants from which they held.",
    )


def _counts(metadata: MetaData, schema: str) -> Table:
    table = Table(
        "counts",
        metadata,
        *(Column(name, Text, nullable=False) for name in COUNTED_BY),
        *(Column(name, BigInteger, nullable=False) for name in COUNTED),
        PrimaryKeyConstraint(*COUNTED_BY),
        schema=schema,
        comment="Sums over the cases that are alike in all of these, or in some: what is '' is whatever it is.",
    )
    alike = [table.c[name] for name in COUNTED_BY if name not in ("project", "month")]
    Index("counts_of_all", *alike, postgresql_where=text("project = ''"))
    Index("counts_by_one", table.c.region, postgresql_where=text("category = ''"))
    return table


def _notices(metadata: MetaData, schema: str) -> Table:
    table = Table(
        "notices",
        metadata,
        Column("notice_id", Uuid, primary_key=True),
        Column("region", Text, nullable=False),
        Column("version", Integer, nullable=False),
        Column("position", BigInteger, nullable=False),
        Column("case_id", Uuid, nullable=False),
        schema=schema,
        comment="Duties whose missing has been told.",
    )
    Index("notices_told", table.c.position)
    Index("notices_of", table.c.region, table.c.version)
    return table


def _answers(metadata: MetaData, schema: str) -> Table:
    return Table(
        "answers",
        metadata,
        Column("kept_by", Text, nullable=False),
        Column("value", Text, nullable=False),
        Column("region", Text, nullable=False),
        Column("slot", Integer, nullable=False),
        Column("answered", Integer, nullable=False),
        PrimaryKeyConstraint("kept_by", "region", "value", "slot"),
        schema=schema,
        comment="How many complaints were answered within a slot of seconds, of all cases or by one thing they share.",
    )


def _tallies(metadata: MetaData, schema: str) -> Table:
    table = Table(
        "tallies",
        metadata,
        Column("case_id", Uuid, primary_key=True),
        # What is fixed in width comes first, so that a row is found its way in quickly.
        *(Column(name, _INSTANT, nullable=False) for name in ("opened_at", "due_at")),
        *(Column(name, Integer, nullable=False) for name in ("answers", "seconds", *COUNTED)),
        *(Column(name, Text, nullable=False) for name in (*COUNTED_BY, "escalation_level")),
        Column("more_seconds", ARRAY(Integer)),
        Column("unmet", ARRAY(_INSTANT)),
        Column("unmet_responses", ARRAY(_INSTANT)),
        Column("breached_at", _INSTANT),
        *(Column(name, ARRAY(Text), nullable=False) for name in ("channels", "tags")),
        schema=schema,
        comment="What a case adds to sums, in a fifth of its row's bytes: read as a whole where no sum is kept."
        " `answers`: how many, after `seconds` (0: none) and `more_seconds`. `due_at`: when the first of what nothing"
        " has met falls due (9999: none).",
    )
    Index("tallies_opened", table.c.opened_at)
    Index("tallies_opened_in", table.c.region, table.c.opened_at)
    return table


def _owed(metadata: MetaData, schema: str) -> Table:
    return Table(
        "owed",
        metadata,
        Column("kept_by", Text, nullable=False),
        Column("value", Text, nullable=False),
        Column("region", Text, nullable=False),
        Column("month", Date, nullable=False),
        Column("duties", Integer, nullable=False),
        Column("responses", Integer, nullable=False),
        PrimaryKeyConstraint("kept_by", "region", "value", "month"),
        schema=schema,
        comment="How many duties that nothing has met fall due in a month (UTC), and how many of them are responses.",
    )


def _view(metadata: MetaData, schema: str) -> View:
    return View(
        _cases(metadata, schema),
        _words(metadata, schema),
        _complaints(metadata, schema),
        _duties(metadata, schema),
        _grades(metadata, schema),
        _counts(metadata, schema),
        _notices(metadata, schema),
        _answers(metadata, schema),
        _tallies(metadata, schema),
        _owed(metadata, schema),
    )


def folded(table: Table) -> list[Column[Any]]:
    """The columns of a view's table that its case tells; whether a duty's missing was told follows from the notices."""
    return [column for column in table.columns if column.server_default is None]


VIEWS = {generation: _view(METADATA, f"view_{generation}") for generation in GENERATIONS}

PROJECTIONS = Table(
    "projections",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("live", SmallInteger, nullable=False),
    Column("leader", Text),
    Column("leading_at", _INSTANT),
    comment="Which generation of a projection is read and followed, and by whom.",
)

CHECKPOINTS = Table(
    "projection_checkpoints",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("generation", SmallInteger, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("stream", Uuid),
    Column("done", BigInteger, nullable=False),
    Column("freed", Integer, nullable=False, server_default=text("0")),
    Column("moved_at", _INSTANT),
    Column("summed", BigInteger, nullable=False, server_default=text("0")),
    comment="How far a generation has come; while it is built, up to which position, and behind which stream.",
)

PARKED = Table(
    "parked_cases",
    METADATA,
    Column("generation", SmallInteger, primary_key=True),
    Column("case_id", Uuid, primary_key=True),
    Column("region", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("fault", Text, nullable=False),
    Column("parked_at", _INSTANT, nullable=False),
    Column("state", Text, nullable=False),
    comment="Cases with an action that cannot be applied: what they show stands as it was before it.",
)
