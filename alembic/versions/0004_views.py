"""The read side's tables: two generations of views, which of them is read, how far each has come, and what is parked."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_VIEW = """
CREATE SCHEMA {view};
CREATE TABLE {view}.cases (
    case_id uuid NOT NULL,
    case_no text NOT NULL,
    region text NOT NULL,
    project text NOT NULL,
    category text NOT NULL,
    stage text NOT NULL,
    status text NOT NULL,
    grade text NOT NULL,
    severity smallint NOT NULL,
    month text NOT NULL,
    escalation_level text NOT NULL,
    external_ref text,
    channels text[] NOT NULL,
    tags text[] NOT NULL,
    opened_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    due_at timestamptz,
    breached_at timestamptz,
    position bigint NOT NULL,
    version integer NOT NULL,
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
    head bytea NOT NULL,
    PRIMARY KEY (case_id)
);
COMMENT ON TABLE {view}.cases IS 'One row a case: its head, ready to be sent (texts sealed), and what it is found and counted by.';
CREATE INDEX cases_alike ON {view}.cases (case_id) INCLUDE (region, project, category, grade, status, stage, month);
CREATE INDEX cases_breached ON {view}.cases (region, breached_at) WHERE breached_at IS NOT NULL;
CREATE INDEX cases_channels ON {view}.cases USING gin (channels);
CREATE INDEX cases_of_status ON {view}.cases (status, opened_at, case_id);
CREATE INDEX cases_of_category ON {view}.cases (category, opened_at, case_id);
CREATE INDEX cases_of_grade ON {view}.cases (grade, opened_at, case_id);
CREATE INDEX cases_of_stage ON {view}.cases (stage, opened_at, case_id);
CREATE INDEX cases_escalated ON {view}.cases (escalation_level, opened_at, case_id) WHERE escalation_level <> 'none';
CREATE INDEX cases_due ON {view}.cases (due_at, case_id);
CREATE INDEX cases_due_in ON {view}.cases (region, due_at, case_id);
CREATE INDEX cases_moved ON {view}.cases (position);
CREATE INDEX cases_numbered ON {view}.cases (case_no);
CREATE INDEX cases_opened ON {view}.cases (opened_at, case_id);
CREATE INDEX cases_opened_in ON {view}.cases (region, opened_at, case_id);
CREATE INDEX cases_opened_of ON {view}.cases (project, opened_at, case_id);
CREATE INDEX cases_referred ON {view}.cases (external_ref) WHERE external_ref IS NOT NULL;
CREATE INDEX cases_severe ON {view}.cases (severity, opened_at, case_id);
CREATE INDEX cases_severe_in ON {view}.cases (region, severity, opened_at, case_id);
CREATE INDEX cases_tags ON {view}.cases USING gin (tags);
CREATE INDEX cases_updated ON {view}.cases (updated_at, case_id);
CREATE INDEX cases_updated_in ON {view}.cases (region, updated_at, case_id);
CREATE TABLE {view}.words (
    case_id uuid NOT NULL,
    texts bytea NOT NULL,
    grams integer[] NOT NULL,
    PRIMARY KEY (case_id)
);
COMMENT ON TABLE {view}.words IS 'A case''s texts, sealed, and what they are found by: apart, since nearly no action changes them.';
CREATE INDEX words_grams ON {view}.words USING gin (grams);
CREATE TABLE {view}.complaints (
    complaint_id uuid NOT NULL,
    case_id uuid NOT NULL,
    region text NOT NULL,
    project text NOT NULL,
    channel text NOT NULL,
    household text,
    person uuid,
    obtained_at timestamptz NOT NULL,
    responded_at timestamptz,
    seconds integer,
    PRIMARY KEY (complaint_id)
);
COMMENT ON TABLE {view}.complaints IS 'One row a complaint. `seconds` to the answer; `person`: the data key of who complains by telephone.';
CREATE INDEX complaints_answered_in ON {view}.complaints (region, seconds) WHERE seconds IS NOT NULL;
CREATE INDEX complaints_answered_of ON {view}.complaints (project, seconds) WHERE seconds IS NOT NULL;
CREATE INDEX complaints_by ON {view}.complaints (person) WHERE person IS NOT NULL;
CREATE INDEX complaints_from ON {view}.complaints (project, household) WHERE household IS NOT NULL;
CREATE INDEX complaints_of ON {view}.complaints (case_id);
CREATE TABLE {view}.duties (
    duty_id uuid NOT NULL,
    case_id uuid NOT NULL,
    region text NOT NULL,
    project text NOT NULL,
    duty text NOT NULL,
    cycle integer NOT NULL,
    complaint_id uuid,
    office text NOT NULL,
    unit text,
    started_at timestamptz NOT NULL,
    known_at timestamptz NOT NULL,
    due_at timestamptz,
    met_at timestamptz,
    proved_at timestamptz,
    void boolean NOT NULL,
    item bytea NOT NULL,
    noticed boolean NOT NULL DEFAULT false,
    PRIMARY KEY (duty_id)
);
COMMENT ON TABLE {view}.duties IS 'One row a duty: its clock, from which its state at any instant follows, and its item but for that.';
CREATE INDEX duties_due ON {view}.duties (due_at, duty_id);
CREATE INDEX duties_due_in ON {view}.duties (region, due_at, duty_id);
CREATE INDEX duties_due_of ON {view}.duties (project, due_at, duty_id);
CREATE INDEX duties_late ON {view}.duties (due_at, duty_id) WHERE NOT void AND due_at IS NOT NULL AND (met_at IS NULL OR met_at > due_at);
CREATE INDEX duties_late_in ON {view}.duties (region, due_at, duty_id) WHERE NOT void AND due_at IS NOT NULL AND (met_at IS NULL OR met_at > due_at);
CREATE INDEX duties_of ON {view}.duties (case_id);
CREATE INDEX duties_unmet ON {view}.duties (due_at, duty_id) INCLUDE (region, project, duty, case_id) WHERE NOT void AND met_at IS NULL;
CREATE INDEX duties_unmet_in ON {view}.duties (region, due_at, duty_id) INCLUDE (project, duty, case_id) WHERE NOT void AND met_at IS NULL;
CREATE INDEX duties_untold ON {view}.duties (region, due_at, duty_id) WHERE NOT void AND due_at IS NOT NULL AND (met_at IS NULL OR met_at > due_at) AND NOT noticed;
CREATE INDEX duties_void ON {view}.duties (due_at, duty_id) WHERE void;
CREATE TABLE {view}.grades (
    case_id uuid NOT NULL,
    number integer NOT NULL,
    code text NOT NULL,
    criteria text[] NOT NULL,
    since timestamptz NOT NULL,
    known_at timestamptz NOT NULL,
    action_id uuid NOT NULL,
    PRIMARY KEY (case_id, number)
);
COMMENT ON TABLE {view}.grades IS 'The levels that a case has had, in the order of the instants from which they held.';
CREATE TABLE {view}.counts (
    region text NOT NULL,
    project text NOT NULL,
    category text NOT NULL,
    grade text NOT NULL,
    status text NOT NULL,
    stage text NOT NULL,
    month text NOT NULL,
    opened bigint NOT NULL,
    closed bigint NOT NULL,
    reopened bigint NOT NULL,
    open bigint NOT NULL,
    household_count bigint NOT NULL,
    duties_due bigint NOT NULL,
    duties_met bigint NOT NULL,
    duties_late bigint NOT NULL,
    duties_untimed bigint NOT NULL,
    responses bigint NOT NULL,
    responses_met bigint NOT NULL,
    responses_late bigint NOT NULL,
    PRIMARY KEY (region, project, category, grade, status, stage, month)
);
COMMENT ON TABLE {view}.counts IS 'Sums over the cases that are alike in all of these; a project and month of '''' are all of them.';
CREATE INDEX counts_of_all ON {view}.counts (region, category, grade, status, stage) WHERE project = '';
CREATE TABLE {view}.notices (
    notice_id uuid NOT NULL,
    region text NOT NULL,
    version integer NOT NULL,
    position bigint NOT NULL,
    case_id uuid NOT NULL,
    PRIMARY KEY (notice_id)
);
COMMENT ON TABLE {view}.notices IS 'Duties whose missing has been told.';
CREATE INDEX notices_of ON {view}.notices (region, version);
CREATE INDEX notices_told ON {view}.notices (position);
CREATE TABLE {view}.answers (
    kept_by text NOT NULL,
    value text NOT NULL,
    region text NOT NULL,
    slot integer NOT NULL,
    answered integer NOT NULL,
    PRIMARY KEY (kept_by, value, region, slot)
);
COMMENT ON TABLE {view}.answers IS 'How many complaints were answered within a slot of seconds, of all cases or by one thing they share.';
"""

_PROJECTIONS = """
CREATE TABLE projections (
    name text NOT NULL,
    live smallint NOT NULL,
    leader text,
    leading_at timestamptz,
    PRIMARY KEY (name)
);
COMMENT ON TABLE projections IS 'Which generation of a projection is read and followed, and by whom.';
CREATE TABLE projection_checkpoints (
    name text NOT NULL,
    generation smallint NOT NULL,
    position bigint NOT NULL,
    state text NOT NULL,
    until bigint NOT NULL,
    stream uuid,
    done bigint NOT NULL,
    freed integer NOT NULL DEFAULT 0,
    moved_at timestamptz,
    PRIMARY KEY (name, generation)
);
COMMENT ON TABLE projection_checkpoints IS 'How far a generation has come; while it is built, up to which position, and behind which stream.';
CREATE TABLE parked_cases (
    generation smallint NOT NULL,
    case_id uuid NOT NULL,
    region text NOT NULL,
    position bigint NOT NULL,
    fault text NOT NULL,
    parked_at timestamptz NOT NULL,
    state text NOT NULL,
    PRIMARY KEY (generation, case_id)
);
COMMENT ON TABLE parked_cases IS 'Cases with an action that cannot be applied: what they show stands as it was before it.';
INSERT INTO projections (name, live) VALUES ('cases', 1);
-- Of a ledger that is there already nobody sees a part: lists are answered once it has been followed so far.
INSERT INTO projection_checkpoints (name, generation, position, state, until, done)
SELECT 'cases', 1, 0, 'live', position, 0 FROM ledger_head UNION ALL VALUES ('cases', 2, 0, 'empty', 0, 0);
ALTER TABLE jobs ADD COLUMN content_type text, ADD COLUMN file_name text, ADD COLUMN plain_name text;
"""


def upgrade() -> None:
    for view in ("view_1", "view_2"):
        op.execute(_VIEW.format(view=view))
    op.execute(_PROJECTIONS)
