"""Three roles beside the owner, what each may do, and which rows a reader sees (`services.event_log.privileges`).

Nobody waits long: every table is locked for a moment only. A release before this one, which takes no role, goes on as
the owner, whom none of this binds.
"""

from alembic import op

from services.event_log.privileges import grant, make_roles

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


# Which cases have a tag or a channel. An operator on arrays is not leakproof, so over rows that are guarded no index
# helps it; here it meets them as their owner does, and what it finds is looked up among the rows that are seen.
_FOUND_BY = """
CREATE VIEW {view}.found_by AS SELECT case_id, channels, tags FROM {view}.cases
-- Of two parts, so that the planner does not take it for the very rows that it is looked up among.
UNION ALL SELECT NULL, NULL, NULL WHERE false;
COMMENT ON VIEW {view}.found_by IS 'Ids of cases by what no index finds over guarded rows. Never shown by itself.';
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    connection = op.get_bind()
    make_roles(connection)
    for view in ("view_1", "view_2"):
        op.execute(_FOUND_BY.format(view=view))
    grant(connection)
