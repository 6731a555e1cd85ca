"""Which data keys were destroyed because somebody asked to be forgotten, so that none of them is ever made again."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
SET LOCAL lock_timeout = '5s';
CREATE TABLE erased_keys (
    key_id uuid PRIMARY KEY
);
COMMENT ON TABLE erased_keys IS 'Data keys that were destroyed for somebody to be forgotten; none is ever made again.';
CREATE TABLE head_keys (
    public bytea PRIMARY KEY,
    since timestamptz NOT NULL
);
COMMENT ON TABLE head_keys IS 'Public keys that signed heads of the tree, those replaced since included.';
""")
