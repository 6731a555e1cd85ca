"""Alembic's entry: the connection is handed in by `services.migrations`, the target is every declared table."""

from alembic import context

from projections.tables import DECLARED

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=DECLARED, compare_type=True, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
