"""Alembic's entry: the connection is handed in by `services.migrations`, the target is the ledger's own tables."""

from alembic import context

from services.event_log.tables import METADATA

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=METADATA, compare_type=True, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
