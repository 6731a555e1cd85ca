"""Who looked: reads of personal data and refusals, one row each; nobody changes a row, or deletes it in half a year."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE access_log (
    look bigint GENERATED ALWAYS AS IDENTITY,
    looked_at timestamptz NOT NULL,
    subject text NOT NULL,
    role text,
    unit text,
    operation text NOT NULL,
    status smallint NOT NULL,
    regions text[] NOT NULL,
    cases uuid[] NOT NULL,
    shown integer,
    asked text,
    question bytea,
    address text,
    PRIMARY KEY (looked_at, look)
);
COMMENT ON TABLE access_log IS
    'Who looked at personal data, or was refused. No text of a request and no telephone number is in it.';
CREATE INDEX access_log_subject ON access_log (subject, looked_at, look);
CREATE INDEX access_log_refused ON access_log (looked_at, look) WHERE status >= 400;
CREATE INDEX access_log_cases ON access_log USING gin (cases);
"""

# The rows of six months stay whoever asks (网络安全法 第二十一条); what is older goes by the setting.
_KEPT = """
CREATE TRIGGER access_log_never_changes BEFORE UPDATE OR TRUNCATE ON access_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER access_log_is_kept BEFORE DELETE ON access_log
    FOR EACH ROW WHEN (old.looked_at > now() - interval '180 days') EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    op.execute(_TABLES)
    op.execute(_KEPT)
