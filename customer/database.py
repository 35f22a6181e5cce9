"""A connection to a customer's database has on the disk whatever it has committed."""

import sqlite3
import time
from pathlib import Path
from typing import Final

BUSY_SECONDS: Final = 10.0
"""How long another program that writes at the same moment is waited for."""


def connected(path: Path) -> sqlite3.Connection:
    """The file is made at first use (mode 0600). Raises OSError and sqlite3.Error."""
    path.touch(mode=0o600)
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Where two programs make the database at once, SQLite does not wait by itself for the lock of this change."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
        time.sleep(0.01)
