"""The ledger: events that never change, the head that orders them, and what one append keeps beside them."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE ledger_head (
    singleton boolean PRIMARY KEY CONSTRAINT ledger_head_one_row CHECK (singleton),
    position bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    epoch integer NOT NULL
) WITH (fillfactor = 10);
COMMENT ON TABLE ledger_head IS 'One row: the end of the ledger. Its lock orders every append.';
INSERT INTO ledger_head VALUES (true, 0, '2000-01-01T00:00:00Z', 1);

CREATE TABLE events (
    position bigint PRIMARY KEY,
    stream uuid NOT NULL,
    version integer NOT NULL,
    name text NOT NULL,
    schema smallint NOT NULL,
    actor text NOT NULL,
    region text NOT NULL,
    recorded_at timestamptz NOT NULL,
    body bytea NOT NULL,
    header_hash bytea NOT NULL,
    CONSTRAINT events_stream_version UNIQUE (stream, version)
);
COMMENT ON TABLE events IS 'The facts. Never updated, never deleted.';
CREATE INDEX events_openings ON events (region, position)
    WHERE version = 1 AND name IN ('received', 'warned', 'risk_identified');
CREATE INDEX events_directory ON events (position) WHERE name IN ('region_described', 'project_described');

CREATE TABLE idempotency_keys (
    subject text NOT NULL,
    key text NOT NULL,
    digest bytea NOT NULL,
    status smallint NOT NULL,
    stream uuid NOT NULL,
    version integer NOT NULL,
    position bigint NOT NULL,
    document bytea NOT NULL,
    stored_at timestamptz NOT NULL,
    PRIMARY KEY (subject, key)
);
COMMENT ON TABLE idempotency_keys IS
    'What each caller''s key was answered with; personal data in it stays sealed.';
CREATE INDEX idempotency_keys_stored_at ON idempotency_keys (stored_at);

CREATE TABLE external_references (
    region text NOT NULL,
    reference text NOT NULL,
    stream uuid NOT NULL,
    PRIMARY KEY (region, reference)
);
COMMENT ON TABLE external_references IS 'A call centre''s own number of a case, unique in its region.';

CREATE TABLE case_numbers (region text PRIMARY KEY, day text NOT NULL, last integer NOT NULL);
COMMENT ON TABLE case_numbers IS
    'The last running number given out in a region, and the recording day (Asia/Shanghai) it belongs to.';

CREATE TABLE case_ids (case_no text PRIMARY KEY, stream uuid NOT NULL);
COMMENT ON TABLE case_ids IS 'Case number to case.';

CREATE TABLE data_keys (key_id uuid PRIMARY KEY, person bytea UNIQUE, wrapped bytea NOT NULL);
COMMENT ON TABLE data_keys IS
    'Keys of persons, complaints and cases, wrapped by the master key. Destroying one erases what it sealed.';

CREATE TABLE tracking (application_name text PRIMARY KEY, notification_id bigint NOT NULL);
COMMENT ON TABLE tracking IS 'How far each reader of the ledger has come.';
"""

# Statement triggers: a DELETE that matches no row is refused like any other, and appends pay nothing.
_APPEND_ONLY = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: % on % refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER events_never_change BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER ledger_head_stays BEFORE DELETE OR TRUNCATE ON ledger_head
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    op.execute(_TABLES)
    op.execute(_APPEND_ONLY)
