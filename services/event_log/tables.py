"""The ledger's tables, as Alembic compares them with a database. The hot path speaks SQL (`statements.py`)."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP

METADATA = MetaData()
_INSTANT = TIMESTAMP(timezone=True)

HEAD = Table(
    "ledger_head",
    METADATA,
    Column("singleton", Boolean, CheckConstraint("singleton", name="ledger_head_one_row"), primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("recorded_at", _INSTANT, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("ledger_id", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("tree_size", BigInteger, nullable=False, server_default="0"),
    Column("peaks", LargeBinary, nullable=False, server_default=""),
    comment="One row: the end of the ledger. Its lock orders every append.",
)

EVENTS = Table(
    "events",
    METADATA,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("stream", Uuid, nullable=False),
    Column("version", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("schema", SmallInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("recorded_at", _INSTANT, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("header_hash", LargeBinary, nullable=False),
    UniqueConstraint("stream", "version", name="events_stream_version"),
    comment="The facts. Never updated, never deleted.",
)
Index(
    "events_openings",
    EVENTS.c.region,
    EVENTS.c.position,
    postgresql_where=text("version = 1 AND name IN ('received', 'warned', 'risk_identified')"),
)
Index(
    "events_directory",
    EVENTS.c.position,
    postgresql_where=text("name IN ('region_described', 'project_described')"),
)

TREE_NODES = Table(
    "tree_nodes",
    METADATA,
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("index", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
    comment="Complete subtrees of 2^level leaves, of every eighth level (RFC 9162).",
)

TREE_HEADS = Table(
    "tree_heads",
    METADATA,
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("root", LargeBinary, nullable=False),
    Column("signed_at", _INSTANT, nullable=False),
    Column("note", Text, nullable=False),
    comment="What this service signed; copies are kept outside.",
)

IDEMPOTENCY_KEYS = Table(
    "idempotency_keys",
    METADATA,
    Column("subject", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("stream", Uuid, nullable=False),
    Column("version", Integer, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("stored_at", _INSTANT, nullable=False),
    Index("idempotency_keys_stored_at", "stored_at"),
    comment="What each caller's key was answered with; personal data in it stays sealed.",
)

EXTERNAL_REFERENCES = Table(
    "external_references",
    METADATA,
    Column("region", Text, primary_key=True),
    Column("reference", Text, primary_key=True),
    Column("stream", Uuid, nullable=False),
    comment="A call centre's own number of a case, unique in its region.",
)

CASE_NUMBERS = Table(
    "case_numbers",
    METADATA,
    Column("region", Text, primary_key=True),
    Column("day", Text, nullable=False),
    Column("last", Integer, nullable=False),
    comment="The last running number given out in a region, and the recording day (Asia/Shanghai) it belongs to.",
)

CASE_IDS = Table(
    "case_ids",
    METADATA,
    Column("case_no", Text, primary_key=True),
    Column("stream", Uuid, nullable=False),
    Column("project", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("opened_at", _INSTANT, nullable=False),
    Column("is_open", Boolean, nullable=False, server_default=true()),
    Index("case_ids_stream", "stream", unique=True),
    comment="Case number to case, and what a new case is compared with.",
)
Index(
    "case_ids_open",
    CASE_IDS.c.project,
    CASE_IDS.c.category,
    CASE_IDS.c.opened_at,
    postgresql_where=CASE_IDS.c.is_open,
)

DATA_KEYS = Table(
    "data_keys",
    METADATA,
    Column("key_id", Uuid, primary_key=True),
    Column("person", LargeBinary, unique=True),
    Column("wrapped", LargeBinary, nullable=False),
    comment="Keys of persons, complaints and cases, wrapped by the master key. Destroying one erases what it sealed.",
)

ERASED_KEYS = Table(
    "erased_keys",
    METADATA,
    Column("key_id", Uuid, primary_key=True),
    comment="Data keys that were destroyed for somebody to be forgotten; none is ever made again.",
)

HEAD_KEYS = Table(
    "head_keys",
    METADATA,
    Column("public", LargeBinary, primary_key=True),
    Column("since", _INSTANT, nullable=False),
    comment="Public keys that signed heads of the tree, those replaced since included.",
)

PHONE_KEYS = Table(
    "phone_keys",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("since", _INSTANT, nullable=False),
    comment="Names of the keys under which hashes of telephone numbers stand in data_keys.",
)

JOBS = Table(
    "jobs",
    METADATA,
    Column("job_id", Uuid, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("progress", Integer, nullable=False),
    Column("result", LargeBinary),
    Column("started_at", _INSTANT, nullable=False),
    Column("seen_at", _INSTANT, nullable=False),
    Column("content_type", Text),
    Column("file_name", Text),
    Column("plain_name", Text),
    comment="Longer work: how far it has come, when it was last seen at work, and what came of it.",
)

REVOCATIONS = Table(
    "revocations",
    METADATA,
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("number", BigInteger, Identity(always=True), nullable=False),
    Column("revoked_at", _INSTANT, nullable=False),
    Column("expires_at", _INSTANT),
    comment="Tokens, and subjects whose tokens of before, that count no longer.",
)

ACCESS_LOG = Table(
    "access_log",
    METADATA,
    Column("looked_at", _INSTANT, primary_key=True),
    Column("look", BigInteger, Identity(always=True), primary_key=True),
    Column("subject", Text, nullable=False),
    Column("role", Text),
    Column("unit", Text),
    Column("operation", Text, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("regions", ARRAY(Text), nullable=False),
    Column("cases", ARRAY(Uuid), nullable=False),
    Column("shown", Integer),
    Column("asked", Text),
    Column("question", LargeBinary),
    Column("address", Text),
    Index("access_log_subject", "subject", "looked_at", "look"),
    Index("access_log_cases", "cases", postgresql_using="gin"),
    comment="Who looked at personal data, or was refused. No text of a request and no telephone number is in it.",
)

Index(
    "access_log_refused",
    ACCESS_LOG.c.looked_at,
    ACCESS_LOG.c.look,
    postgresql_where=ACCESS_LOG.c.status >= 400,
)

TRACKING = Table(
    "tracking",
    METADATA,
    Column("application_name", Text, primary_key=True),
    Column("notification_id", BigInteger, nullable=False),
    comment="How far each reader of the ledger has come.",
)
