"""Three roles beside the owner, what each may do, and which rows a reader sees (`services.event_log.privileges`).

Nobody waits long: every table is locked for a moment only. A release before this one, which takes no role, goes on as
the owner, whom none of this binds.
"""

from alembic import op

from services.event_log.privileges import grant, make_roles

revision = "0010"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    connection = op.get_bind()
    make_roles(connection)
    grant(connection)
