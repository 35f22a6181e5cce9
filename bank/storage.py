"""A ledger is one database: readers see one snapshot, writers come one at a time, and a commit is durable.

Everything that is particular to SQLite stands in this module.
"""

import fcntl
import os
import re
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, Self

import sqlalchemy
from sqlalchemy import Connection, Engine, event, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from bank import migrations, schema
from bank.errors import InvariantBroken, LedgerError, Unwritable

BUSY_TIMEOUT_SECONDS: Final = 10.0
"""How long SQLite waits for another process that holds its lock (a backup, a shell); ours wait for the lock file."""

READERS: Final = 8
"""Connections for reading; further readers wait for one of them."""

COPIED_PAGES: Final = 256
"""Pages that a copy takes in one step, which is how often its progress is told."""

READER_WAIT_SECONDS: Final = 30.0
"""How long a reader waits for a connection before it is told that the ledger is busy."""


class Ledger:
    """The bank's database with its currency, the fingerprint of its owner and the identifier of its log."""

    def __init__(self, path: Path, readers: Engine, writer: Engine) -> None:
        """Not for callers: use :meth:`create` or :meth:`open`."""
        self.path: Final = path
        self._readers = readers
        self._writer = writer
        self._lock = threading.Lock()
        try:
            self._lock_file = os.open(_beside(path, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LedgerError(f"The ledger {path} cannot be locked: {error.strerror}; check its folder.") from error
        self.bank = self.currency = self.log = ""

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        bank_fingerprint: str,
        currency: str,
        opened_at: int = 0,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> Self:
        """A new ledger with the bank's own account, in a file of mode 0600; LedgerError if there is a file already."""
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            raise LedgerError(f"There is a file at {path} already; none is ever written over.") from None
        except OSError as error:
            raise LedgerError(f"The ledger {path} cannot be made: {error.strerror}.") from error
        ledger = cls(path, _engine(path, writes=False), _engine(path, writes=True))
        try:
            with ledger.writing() as connection:
                migrations.upgrade(connection)
                connection.execute(
                    insert(schema.ledger),
                    {"one": 1, "bank": bank_fingerprint, "currency": currency, "log": random(16).hex()},
                )
                connection.execute(
                    insert(schema.account),
                    {
                        "number": schema.BANK_ACCOUNT,
                        "name": "The bank",
                        "kind": "bank",
                        "status": "open",
                        "balance_minor": 0,
                        "opened_at": opened_at,
                    },
                )
            ledger._identify()
        except BaseException:
            ledger.close()
            for ending in ("", "-wal", "-shm", ".lock"):
                _beside(path, ending).unlink(missing_ok=True)
            raise
        return ledger

    @classmethod
    def open(cls, path: Path) -> Self:
        """The ledger in the file ``path``; LedgerError if it is missing, damaged, foreign or of a newer version."""
        if not path.is_file():
            raise LedgerError(f"There is no ledger at {path}; `bank init` makes one, or name another home.")
        _require_one_name(path)
        ledger = cls(path, _engine(path, writes=False), _engine(path, writes=True))
        try:
            ledger._identify()
        except BaseException:
            ledger.close()
            raise
        return ledger

    def close(self) -> None:
        """Closes all connections. Harmless when repeated."""
        self._readers.dispose()
        self._writer.dispose()
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def reading(self, within: Connection | None = None) -> Iterator[Connection]:
        """A read transaction: everything read in it is of one moment. LedgerError if the ledger cannot be read.

        ``within``: a transaction that is open already, and whose moment counts.
        """
        if within is not None:
            yield within
            return
        with _translated(self.path), self._readers.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self, within: Connection | None = None) -> Iterator[Connection]:
        """A write transaction, the only one at this moment in all processes; durable when the block is left.

        Any error rolls everything back. LedgerError if the database refuses, InvariantBroken if a constraint does.
        ``within``: a write transaction that is open already and is to take this work in.
        """
        if within is not None:
            yield within
            return
        with self._exclusive(), _translated(self.path), self._writer.connect() as connection, connection.begin():
            yield connection

    def size_bytes(self) -> int:
        """Room that the ledger takes now."""
        found = (_beside(self.path, ending) for ending in ("", "-wal"))
        return sum(path.stat().st_size for path in found if path.exists())

    def damage(self, connection: Connection) -> tuple[str, ...]:
        """What the engine itself finds wrong with its file, at most ten things; empty if nothing."""
        found = connection.exec_driver_sql("PRAGMA integrity_check(10)").scalars().all()
        return () if list(found) == ["ok"] else tuple(found)

    def copy_to(self, path: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Writes what is committed now to a new SQLite file of mode 0600, durably; posting goes on meanwhile.

        ``progress`` gets pages done and in all. The copy is of one moment, because a read transaction is open all
        along: without it SQLite begins anew with every commit of another process, and never ends under load. Measured
        beside a writer, 280 MB took 0.4 s and commits were as quick as before (99th percentile); with VACUUM INTO they
        took three times as long for 4 s. An engine that is not SQLite writes the same kind of file, row by row: so a
        backup is one format, whatever the ledger lies in.
        """
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        with self.reading() as connection, closing(sqlite3.connect(path, isolation_level=None)) as copy:
            connection.execute(select(schema.ledger.c.one)).all()  # from here on the transaction sees one moment
            source = connection.connection.driver_connection
            if not isinstance(source, sqlite3.Connection):
                raise LedgerError(f"The ledger {self.path} cannot be copied by this engine.")
            copy.execute("PRAGMA synchronous = OFF")  # the whole file is made durable below
            source.backup(
                copy, pages=COPIED_PAGES, progress=lambda _, rest, total: progress(total - rest, total), sleep=0
            )
        with path.open("rb") as file:
            os.fsync(file.fileno())

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        # SQLite's busy handler sleeps between its tries, so writers in several processes would wait for long and be
        # served out of turn. The kernel wakes who waits for a file lock at once.
        with self._lock:
            if self._lock_file < 0:
                raise LedgerError(f"The ledger {self.path} is closed.")
            fcntl.flock(self._lock_file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._lock_file, fcntl.LOCK_UN)

    def _identify(self) -> None:
        with self.reading() as connection:
            tables = set(inspect(connection).get_table_names())
            if not {"alembic_version", "ledger"} <= tables:
                raise LedgerError(f"The file {self.path} is a database, but not a ledger of ours; check the path.")
            revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        # A damaged row may hold bytes, or the name of a version that there never was.
        if not isinstance(revision, str) or not re.fullmatch("[0-9]{4}", revision) or int(revision) == 0:
            raise self._damaged()
        if revision > schema.REVISION:
            raise LedgerError(
                f"The ledger {self.path} was written by a newer version of this program (schema {revision}, this one "
                f"knows {schema.REVISION}); install that version."
            )
        if revision < schema.REVISION:
            with self.writing() as connection:
                migrations.upgrade(connection)
        with self.reading() as connection:
            row = connection.execute(select(schema.ledger)).one()
        if not all(isinstance(each, str) for each in (row.bank, row.currency, row.log)):
            raise self._damaged()
        self.bank, self.currency, self.log = row.bank, row.currency, row.log

    def _damaged(self) -> LedgerError:
        return LedgerError(
            f"The ledger {self.path} is damaged; stop the server, run `bank audit`, and restore a backup."
        )


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


def _engine(path: Path, *, writes: bool) -> Engine:
    engine = sqlalchemy.create_engine(
        sqlalchemy.URL.create("sqlite", database=str(path)),
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS},
        pool_size=1 if writes else READERS,
        max_overflow=0,
        pool_timeout=READER_WAIT_SECONDS,
    )

    @event.listens_for(engine, "connect")
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

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise InvariantBroken(
            f"The ledger {path} refused a change that would break its rules ({error.orig}); nothing was written. "
            "Please report this as a fault of the program."
        ) from error
    except DBAPIError as error:
        raise _failure(path, str(error.orig)) from error
    except sqlite3.Error as error:  # from the statements with which a connection begins
        raise _failure(path, str(error)) from error
    except UnicodeDecodeError as error:  # text that a damaged file gives out, also in SQLite's own sentences
        raise _failure(path, "malformed") from error
    except SQLAlchemyError as error:
        raise LedgerError(f"The ledger {path} cannot be used now: {str(error).splitlines()[0]}") from error


_CAUSES: tuple[tuple[str, str], ...] = (
    ("not a database", "is not a database, or is damaged; check the path, or restore a backup"),
    ("malformed", "is damaged; stop the server, run `bank audit`, and restore a backup"),
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


_UNWRITTEN: Final = ("is full", "readonly")
"""Causes by which the end of a transaction, without which it does not count, was surely not written."""


def _failure(path: Path, cause: str) -> LedgerError:
    known = next((sentence for words, sentence in _CAUSES if words in cause), None)
    sentence = f"The ledger {path} {known}." if known else f"The ledger {path} cannot be used: {cause}."
    return Unwritable(sentence) if any(words in cause for words in _UNWRITTEN) else LedgerError(sentence)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
