"""What cases add to sums, as narrow rows of their own, and sums that are read in as many rows however large the ledger.

Nothing is filled here: whoever leads next finds that the sums are not of the position that the views have, and makes
them from the rows that are there. Lists go on meanwhile; sums are told again some seconds later.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Behind a reader that does not end, give up rather than make everybody else wait behind us.
_PATIENCE = "SET LOCAL lock_timeout = '5s'"

_VIEW = """
CREATE TABLE {view}.tallies (
    case_id uuid NOT NULL,
    opened_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    answers integer NOT NULL,
    seconds integer NOT NULL,
    opened integer NOT NULL,
    closed integer NOT NULL,
    reopened integer NOT NULL,
    open integer NOT NULL,
    household_count integer NOT NULL,
    duties_due integer NOT NULL,
    duties_met integer NOT NULL,
    duties_late integer NOT NULL,
    duties_untimed integer NOT NULL,
    responses integer NOT NULL,
    responses_met integer NOT NULL,
    responses_late integer NOT NULL,
    region text NOT NULL,
    project text NOT NULL,
    category text NOT NULL,
    grade text NOT NULL,
    status text NOT NULL,
    stage text NOT NULL,
    month text NOT NULL,
    escalation_level text NOT NULL,
    more_seconds integer[],
    unmet timestamptz[],
    unmet_responses timestamptz[],
    breached_at timestamptz,
    channels text[] NOT NULL,
    tags text[] NOT NULL,
    PRIMARY KEY (case_id)
);
COMMENT ON TABLE {view}.tallies IS 'What a case adds to sums, in a fifth of its row''s bytes: read as a whole where no sum is kept. `answers`: how many, after `seconds` (0: none) and `more_seconds`. `due_at`: when the first of what nothing has met falls due (9999: none).';
CREATE INDEX tallies_opened ON {view}.tallies (opened_at);
CREATE INDEX tallies_opened_in ON {view}.tallies (region, opened_at);
CREATE TABLE {view}.owed (
    kept_by text NOT NULL,
    value text NOT NULL,
    region text NOT NULL,
    month date NOT NULL,
    duties integer NOT NULL,
    responses integer NOT NULL,
    PRIMARY KEY (kept_by, region, value, month)
);
COMMENT ON TABLE {view}.owed IS 'How many duties that nothing has met fall due in a month (UTC), and how many of them are responses.';
ALTER TABLE {view}.answers DROP CONSTRAINT answers_pkey, ADD PRIMARY KEY (kept_by, region, value, slot);
COMMENT ON TABLE {view}.counts IS 'Sums over the cases that are alike in all of these, or in some: what is '''' is whatever it is.';
CREATE INDEX counts_by_one ON {view}.counts (region) WHERE category = '';
DROP INDEX {view}.cases_alike;
DROP INDEX {view}.complaints_answered_in;
DROP INDEX {view}.complaints_answered_of;
"""


def upgrade() -> None:
    op.execute(_PATIENCE)
    op.execute("ALTER TABLE projection_checkpoints ADD COLUMN summed bigint NOT NULL DEFAULT 0")
    for view in ("view_1", "view_2"):
        op.execute(_VIEW.format(view=view))
