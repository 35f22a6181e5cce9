"""Alembic's entry: it works on the connection that bank.migrations.upgrade was given, and commits nothing itself."""

from alembic import context

from bank.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
