"""The tree over the ledger, kept by each append, and the heads of it that were signed; the ledger has an identity.

The leaves of what is there are read once, under the head's lock: about a second for each 500,000 events. An older
release that still appends meanwhile is made up for by the next append of this one.
"""

from collections.abc import Iterator, Sequence

from alembic import op
from sqlalchemy import Connection, text

from services.event_log.merkle import Frontier, Node

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TABLES = """
SET LOCAL lock_timeout = '5s';
ALTER TABLE ledger_head
    ADD COLUMN ledger_id uuid NOT NULL DEFAULT gen_random_uuid(),
    ADD COLUMN tree_size bigint NOT NULL DEFAULT 0,
    ADD COLUMN peaks bytea NOT NULL DEFAULT '';
CREATE TABLE tree_nodes (
    level smallint NOT NULL,
    index bigint NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (level, index)
);
COMMENT ON TABLE tree_nodes IS 'Complete subtrees of 2^level leaves, of every eighth level (RFC 9162).';
CREATE TABLE tree_heads (
    epoch integer NOT NULL,
    size bigint NOT NULL,
    root bytea NOT NULL,
    signed_at timestamptz NOT NULL,
    note text NOT NULL,
    PRIMARY KEY (epoch, size)
);
COMMENT ON TABLE tree_heads IS 'What this service signed; copies are kept outside.';
"""

_FILLED = "UPDATE ledger_head SET tree_size = :size, peaks = :peaks"
_NODES = "INSERT INTO tree_nodes (level, index, hash) VALUES (:level, :index, :hash)"
_AT_ONCE = 50_000


def upgrade() -> None:
    op.execute(_TABLES)
    connection = op.get_bind()
    frontier = Frontier()
    for hashes in _leaves(connection):
        frontier.append(hashes)
    _keep(connection, frontier.completed)
    connection.execute(text(_FILLED), {"size": frontier.size, "peaks": frontier.peaks})


def _leaves(connection: Connection) -> Iterator[Sequence[bytes]]:
    position = connection.execute(text("SELECT position FROM ledger_head FOR UPDATE")).scalar_one()
    asked = text("SELECT header_hash FROM events WHERE position > :after AND position <= :until ORDER BY position")
    for after in range(0, position, _AT_ONCE):
        until = min(after + _AT_ONCE, position)
        yield [row[0] for row in connection.execute(asked, {"after": after, "until": until})]


def _keep(connection: Connection, nodes: Sequence[tuple[Node, bytes]]) -> None:
    if nodes:
        rows = [{"level": node.level, "index": node.number, "hash": digest} for node, digest in nodes]
        connection.execute(text(_NODES), rows)
