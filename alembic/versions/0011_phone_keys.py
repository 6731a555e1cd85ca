"""Under which keys telephone numbers are hashed, so that no service begins with another one unawares."""

from alembic import op

from services.event_log.privileges import grant

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
SET LOCAL lock_timeout = '5s';
CREATE TABLE phone_keys (
    name text PRIMARY KEY,
    since timestamptz NOT NULL
);
COMMENT ON TABLE phone_keys IS 'Names of the keys under which hashes of telephone numbers stand in data_keys.';
""")
    grant(op.get_bind())
