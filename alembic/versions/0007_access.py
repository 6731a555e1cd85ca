"""Tokens that were revoked before their time was over."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE revocations (
            kind text NOT NULL,
            name text NOT NULL,
            number bigint GENERATED ALWAYS AS IDENTITY,
            revoked_at timestamptz NOT NULL,
            expires_at timestamptz,
            PRIMARY KEY (kind, name)
        );
        COMMENT ON TABLE revocations IS 'Tokens, and subjects whose tokens of before, that count no longer.';
        """
    )
