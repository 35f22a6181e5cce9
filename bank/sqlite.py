"""A ledger in an SQLite file: writers come one at a time, by a lock file, and every commit is synchronised."""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy
from sqlalchemy import Connection, event, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from bank import engine, schema
from bank.errors import LedgerError, Unwritable

BUSY_TIMEOUT_SECONDS: Final = 10.0
"""How long SQLite waits for another process that holds its lock (a backup, a shell); ours wait for the lock file."""

READERS: Final = 8
"""Connections for reading; further readers wait for one of them."""

COPIED_PAGES: Final = 256
"""Pages that a copy takes in one step, which is how often its progress is told."""


class SQLite(engine.Engine):
    """A file of mode 0600, its lock file beside it."""

    kind = "The file"

    def __init__(self, path: Path) -> None:
        """Opens nothing yet but the lock file."""
        self.path: Final = path
        self.name = str(path)
        self.folder = path.parent
        self.readers = file_engine(path, writes=False)
        self.writers = file_engine(path, writes=True)
        self._lock = threading.Lock()
        self._lock_file = -1

    def make(self) -> None:
        """A new file; none is ever written over."""
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            raise LedgerError(f"There is a file at {self.path} already; none is ever written over.") from None
        except OSError as error:
            raise LedgerError(f"The ledger {self.path} cannot be made: {error.strerror}.") from error
        self._open_lock()

    def unmake(self) -> None:
        """The file and all that lies beside it."""
        for ending in ("", "-wal", "-shm", ".lock"):
            _beside(self.path, ending).unlink(missing_ok=True)

    def require(self) -> None:
        """There is a file, and it has one name."""
        if not self.path.is_file():
            raise LedgerError(
                f"There is no ledger at {self.path}; put it back, restore a backup, or name another home."
            )
        _require_one_name(self.path)
        self._open_lock()

    def _open_lock(self) -> None:
        try:
            self._lock_file = os.open(_beside(self.path, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LedgerError(
                f"The ledger {self.path} cannot be locked: {error.strerror}; check its folder."
            ) from error

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """The lock file, before the transaction begins.

        SQLite's busy handler sleeps between its tries, so writers in several processes would wait for long and be
        served out of turn. The kernel wakes who waits for a file lock at once.
        """
        with self._lock:
            if self._lock_file < 0:
                raise LedgerError(f"The ledger {self.path} is closed.")
            fcntl.flock(self._lock_file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._lock_file, fcntl.LOCK_UN)

    def failure(self, error: Exception, *, ending: bool) -> LedgerError | None:
        """By the words that SQLite has for it."""
        match error:
            case IntegrityError() if "was moved" not in str(error.orig):
                return None
            case DBAPIError():
                return _failure(self.path, str(error.orig))
            case sqlite3.Error():  # from the statements with which a connection begins
                return _failure(self.path, str(error))
            case UnicodeDecodeError():  # text that a damaged file gives out, also in SQLite's own sentences
                return _failure(self.path, "malformed")
        return None

    def damage(self, connection: Connection) -> tuple[str, ...]:
        """SQLite's own check of pages, indexes and constraints."""
        found = connection.exec_driver_sql("PRAGMA integrity_check(10)").scalars().all()
        return () if list(found) == ["ok"] else tuple(found)

    def size_bytes(self, connection: Connection) -> int:
        """The file and its write-ahead log."""
        found = (_beside(self.path, ending) for ending in ("", "-wal"))
        return sum(path.stat().st_size for path in found if path.exists())

    def copy_to(self, connection: Connection, path: Path, progress: Callable[[int, int], None]) -> None:
        """Page by page; ``progress`` gets pages done and in all.

        The copy is of one moment, because a read transaction is open all along: without it SQLite begins anew with
        every commit of another process, and never ends under load. Measured beside a writer, 280 MB took 0.4 s and
        commits were as quick as before (99th percentile); with VACUUM INTO they took three times as long for 4 s.
        """
        connection.execute(select(schema.ledger.c.one)).all()  # from here on the transaction sees one moment
        source = connection.connection.driver_connection
        if not isinstance(source, sqlite3.Connection):
            raise LedgerError(f"The ledger {self.path} cannot be copied by this engine.")
        with closing(sqlite3.connect(path, isolation_level=None)) as copy:
            copy.execute("PRAGMA synchronous = OFF")  # the whole file is made durable by the caller
            source.backup(
                copy, pages=COPIED_PAGES, progress=lambda _, rest, total: progress(total - rest, total), sleep=0
            )

    def close(self) -> None:
        """The lock file, too."""
        super().close()
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1


def _require_one_name(path: Path) -> None:
    """What is not in the file yet, and the lock, lie beside it under its name: two names would be two ledgers."""
    if path.is_symlink():
        raise LedgerError(
            f"The ledger {path} is a symbolic link to {path.resolve()}; use the home where that file lies."
        )
    if path.stat().st_nlink > 1:
        raise LedgerError(
            f"The ledger {path} has another name (a hard link), under which a second server could write to it unseen. "
            f"Find it with `find / -samefile {path}` and delete it, while no server runs."
        )


def file_engine(path: Path, *, writes: bool) -> sqlalchemy.Engine:
    made = sqlalchemy.create_engine(
        sqlalchemy.URL.create("sqlite", database=str(path)),
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS},
        pool_size=1 if writes else READERS,
        max_overflow=0,
        pool_timeout=engine.READER_WAIT_SECONDS,
        hide_parameters=True,
    )

    @event.listens_for(made, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where we say, not where the module guesses
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "recursive_triggers = ON",  # else REPLACE would delete past the triggers that forbid it
            f"query_only = {'OFF' if writes else 'ON'}",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(made, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return made


_CAUSES: tuple[tuple[str, str], ...] = (
    ("not a database", "is not a database, or is damaged; check the path, or restore a backup"),
    ("malformed", "is damaged; stop the server, run `bank audit`, and restore a backup"),
    (
        "was moved",
        "was moved to PostgreSQL; nothing was recorded. Start the server anew, or end `bank migrate-ledger` first",
    ),
    ("is full", "cannot be written: the disk is full. Nothing was recorded; make room"),
    ("readonly", "cannot be written: it is read-only. Nothing was recorded; check its owner and mode"),
    ("locked", "is held by another program for too long; nothing was recorded. Close that program and try again"),
    # SQLite writes a whole transaction and then synchronises it. If that fails it takes the transaction back, but a
    # crash before the next one brings it back: whoever opens the file then finds it whole, and it counts.
    (
        "disk I/O error",
        "meets an error of its disk. What was being written may be recorded or not; check disk and ledger",
    ),
    ("unable to open", "cannot be opened; check that its folder is there, with room and rights to write"),
)


_UNWRITTEN: Final = ("is full", "readonly", "was moved")
"""Causes by which the end of a transaction, without which it does not count, was surely not written."""


def _failure(path: Path, cause: str) -> LedgerError:
    known = next((sentence for words, sentence in _CAUSES if words in cause), None)
    sentence = f"The ledger {path} {known}." if known else f"The ledger {path} cannot be used: {cause}."
    return Unwritable(sentence) if any(words in cause for words in _UNWRITTEN) else LedgerError(sentence)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
