"""Alembic's environment: runs on the connection that `migrate` hands over, inside its transaction."""

from alembic import context

from locum.adapters.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
