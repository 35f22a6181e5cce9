"""A ledger of any earlier version becomes one of the newest, in the transaction of whoever asks."""

from pathlib import Path

from sqlalchemy import Connection


def upgrade(connection: Connection) -> None:
    """Runs the migrations that this database has not seen; the caller's transaction makes them all or none."""
    from alembic import command  # rarely needed, and slow to import
    from alembic.config import Config

    configuration = Config(attributes={"connection": connection})
    configuration.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    configuration.set_main_option("path_separator", "os")
    command.upgrade(configuration, "head")
