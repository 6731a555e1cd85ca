"""What a new case is compared with: of each case its project, category and opening, and whether it stands open.

Written for a ledger in use. While the rows that are there are filled nobody waits; then the head is locked, as by an
append, the rest is filled and the table closed. Every step may be repeated after a run that was cut off.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Behind a reader that does not end, give up rather than make everybody else wait behind us.
_PATIENCE = "SET LOCAL lock_timeout = '5s';"

_COLUMNS = f"""
{_PATIENCE}
ALTER TABLE case_ids
    ADD COLUMN IF NOT EXISTS project text,
    ADD COLUMN IF NOT EXISTS category text,
    ADD COLUMN IF NOT EXISTS opened_at timestamptz,
    ADD COLUMN IF NOT EXISTS is_open boolean NOT NULL DEFAULT true;
"""

# No action closed a case so far. A case is never opened later than its opening was recorded.
_FILL = """
UPDATE case_ids AS c
SET project = said.body #>> '{opening,project}',
    category = said.body #>> '{opening,category}',
    opened_at = least((said.body ->> 'occurred_at')::timestamptz, said.recorded_at)
FROM (
    SELECT empty.case_no, opening.recorded_at, opening.body FROM case_ids AS empty
    CROSS JOIN LATERAL (
        SELECT e.recorded_at, convert_from(e.body, 'UTF8')::jsonb AS body FROM events AS e
        WHERE e.stream = empty.stream AND e.version = 1 LIMIT 1
    ) AS opening
    WHERE empty.opened_at IS NULL
) AS said
WHERE said.case_no = c.case_no;
"""

# Readers of the table wait only for the last statement, which looks at each row once.
# Not CONCURRENTLY: nobody appends meanwhile, and it would wait for another start's migration, which waits for this one.
_CLOSE = f"""
{_PATIENCE}
SELECT position FROM ledger_head FOR UPDATE;
{_FILL}
CREATE UNIQUE INDEX case_ids_stream ON case_ids (stream);
CREATE INDEX case_ids_open ON case_ids (project, category, opened_at) WHERE is_open;
COMMENT ON TABLE case_ids IS 'Case number to case, and what a new case is compared with.';
ALTER TABLE case_ids
    ALTER COLUMN project SET NOT NULL,
    ALTER COLUMN category SET NOT NULL,
    ALTER COLUMN opened_at SET NOT NULL;
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(_COLUMNS)
        op.execute(_FILL)
    op.execute(_CLOSE)
