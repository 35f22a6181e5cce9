"""An SQLite file of the authority is opened only if it is the right one, of the right version, and closed to others."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Final, Self

from ca.errors import StoreError

BUSY_TIMEOUT_SECONDS: Final = 10.0


class Database:
    """One SQLite file of mode 0600; used by any thread, one at a time."""

    APPLICATION: ClassVar[int]
    VERSION: ClassVar[int]
    SCHEMA: ClassVar[str]

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Not for callers: use :meth:`create` or :meth:`open`."""
        self._path = path
        self._connection = connection
        self._lock = threading.RLock()

    @classmethod
    def create(cls, path: Path) -> Self:
        """A new, empty database; StoreError if there is a file already."""
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            raise StoreError(f"The database {path} cannot be made: {error.strerror}.") from None
        store = cls(path, cls._connect(path))
        with store._errors():
            store._connection.executescript(
                f"PRAGMA journal_mode = WAL; BEGIN; {cls.SCHEMA}"
                f" PRAGMA application_id = {cls.APPLICATION}; PRAGMA user_version = {cls.VERSION}; COMMIT;"
            )
        return store

    @classmethod
    def open(cls, path: Path) -> Self:
        """The database at ``path``; StoreError if it is missing, another's, or of another version."""
        if not path.is_file():
            raise StoreError(f"The database {path} is missing; restore it, or name another folder with --home.")
        store = cls(path, cls._connect(path))
        try:
            with store._errors():
                application = store._connection.execute("PRAGMA application_id").fetchone()[0]
                version = store._connection.execute("PRAGMA user_version").fetchone()[0]
            if application != cls.APPLICATION:
                raise StoreError(f"{path} is not this database of a certificate authority; restore the right file.")
            if version != cls.VERSION:
                raise StoreError(
                    f"{path} has version {version}, and this program reads version {cls.VERSION}; use the program that"
                    " made it, or make a new authority with `ca init`."
                )
        except StoreError:
            store.close()
            raise
        return store

    @staticmethod
    def _connect(path: Path) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA synchronous = FULL")
        except sqlite3.Error as error:
            raise StoreError(f"The database {path} cannot be opened: {error}.") from None
        connection.row_factory = sqlite3.Row
        return connection

    def close(self) -> None:
        """Close the file; harmless when repeated."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """A transaction that no other writer, of this process or another, overlaps; rolled back on an error."""
        with self._lock, self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def write(self, statement: str, *values: object) -> None:
        """Within :meth:`exclusive` a part of that transaction, else one of its own."""
        with self._lock, self._errors():
            self._connection.execute(statement, values)

    def rows(self, statement: str, *values: object) -> list[sqlite3.Row]:
        with self._lock, self._errors():
            return self._connection.execute(statement, values).fetchall()

    def count(self, statement: str, *values: object) -> int:
        return int(self.rows(statement, *values)[0][0])

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(
                f"The database {self._path} cannot be used: {error}; look at the disk and the file."
            ) from None
