"""A ledger is one database: readers see one snapshot, writers come in turn, and a commit is durable.

What is particular to an engine stands in bank/sqlite.py and in bank/postgresql.py.
"""

import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Self

import sqlalchemy
from sqlalchemy import Connection, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from bank import migrations, schema
from bank.engine import Engine
from bank.errors import Interrupted, InvariantBroken, LedgerError, NoLedger, Outgrown
from bank.places import Database, Place
from bank.sqlite import SQLite


class Ledger:
    """The bank's database with its currency, the fingerprint of its owner and the identifier of its log.

    As a text it is what a person calls the place: the path of the file, or the URL without a password.
    """

    def __init__(self, engine: Engine) -> None:
        """Not for callers: use :meth:`create` or :meth:`open`."""
        self._engine = engine
        self.bank = self.currency = self.log = ""

    @classmethod
    def create(
        cls,
        place: Place,
        *,
        bank_fingerprint: str,
        currency: str,
        opened_at: int = 0,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> Self:
        """A new ledger with the bank's own account; LedgerError if there is a file, or there are tables, already."""
        with cls.unfilled(place) as (ledger, connection):
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
        return ledger

    @classmethod
    @contextmanager
    def unfilled(cls, place: Place) -> Iterator[tuple[Self, Connection]]:
        """The tables of a new ledger, in the transaction in which the block fills them; nothing stays if it fails."""
        engine = _engine_of(place)
        try:
            engine.make()
            ledger = cls(engine)
            try:
                with ledger._writing(hold=False) as connection:
                    migrations.upgrade(connection)
                    yield ledger, connection
                ledger._identify()
            except BaseException:
                engine.close()
                engine.unmake()
                raise
        except BaseException:
            engine.close()
            raise

    @classmethod
    def open(cls, place: Place, *, upgrade: bool = True) -> Self:
        """The ledger at a place; LedgerError if it is missing, damaged, foreign or of a newer version.

        One of an older version is brought up to date, or Outgrown without ``upgrade``.
        """
        engine = _engine_of(place)
        try:
            engine.require()
            ledger = cls(engine)
            ledger._identify(upgrade=upgrade)
        except BaseException:
            engine.close()
            raise
        return ledger

    def close(self) -> None:
        """Closes all connections. Harmless when repeated."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __str__(self) -> str:
        return self._engine.name

    @property
    def folder(self) -> Path:
        """Where the newest head lies outside of the database."""
        return self._engine.folder

    @property
    def losses(self) -> int:
        """How often a connection to the database was lost so far; it may be another server that answers since."""
        return self._engine.losses

    @contextmanager
    def reading(self, within: Connection | None = None) -> Iterator[Connection]:
        """A read transaction: everything read in it is of one moment. LedgerError if the ledger cannot be read.

        ``within``: a transaction that is open already, and whose moment counts.
        """
        if within is not None:
            yield within
            return
        with self._translated(), ExitStack() as stack:
            yield self._begun(stack, self._engine.readers, hold=False)

    @contextmanager
    def writing(self, within: Connection | None = None, *, hold: bool = True) -> Iterator[Connection]:
        """A write transaction, the only one at this moment of all servers; durable when the block is left.

        Any error rolls everything back. LedgerError if the database refuses, InvariantBroken if a constraint does.
        ``within``: a write transaction that is open already and is to take this work in. ``hold``: false if there may
        be others until :meth:`hold_log` is called; what is read before that is to be locked row by row.
        """
        if within is not None:
            yield within
            return
        with self._writing(hold=hold) as connection:
            yield connection

    def size_bytes(self) -> int:
        """Room that the ledger takes now."""
        with self.reading() as connection:
            return self._engine.size_bytes(connection)

    def hold_log(self, connection: Connection) -> None:
        """From here on to its end this transaction is the only one that can append to the log.

        LedgerError if another server has begun a new log since this ledger was opened.
        """
        found = self._engine.hold_log(connection)
        if found and self.log and found != self.log:
            raise LedgerError(
                f"Another log was begun in the ledger {self} ({found}); nothing was recorded. Start this server anew."
            )

    @contextmanager
    def _writing(self, *, hold: bool) -> Iterator[Connection]:
        with self._engine.exclusive(), self._translated() as course, ExitStack() as stack:
            yield self._begun(stack, self._engine.writers, hold=hold)
            course.ending = True

    def _begun(self, stack: ExitStack, engine: sqlalchemy.Engine, *, hold: bool) -> Connection:
        """A transaction in which nothing was done yet: so it is begun again while its connection is lost."""
        # Who opens a ledger is told at once that it cannot be reached.
        deadline = time.monotonic() + (self._engine.patience_seconds if self.log else 0.0)
        for tried in count():
            try:
                with self._translated(), ExitStack() as begun:
                    connection = begun.enter_context(engine.connect())
                    begun.enter_context(connection.begin())
                    if hold:
                        self.hold_log(connection)
                    stack.push(begun.pop_all())
                    return connection
            except Interrupted:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(min(1.0, 0.02 * 2**tried))
        raise AssertionError("Counting does not end.")

    @contextmanager
    def _translated(self) -> "Iterator[_Course]":
        course = _Course()
        try:
            yield course
        except Exception as error:
            found = self._engine.failure(error, ending=course.ending)
            if found is not None:
                raise found from error
            if isinstance(error, IntegrityError):
                raise InvariantBroken(
                    f"The ledger {self} refused a change that would break its rules ({error.orig}); nothing was "
                    "written. Please report this as a fault of the program."
                ) from error
            if isinstance(error, SQLAlchemyError):
                raise LedgerError(f"The ledger {self} cannot be used now: {str(error).splitlines()[0]}") from error
            raise

    def damage(self, connection: Connection) -> tuple[str, ...]:
        """What the engine itself finds wrong with its files, at most ten things; empty if nothing."""
        return self._engine.damage(connection)

    def warnings(self) -> tuple[str, ...]:
        """How the engine is set up less durably than it could be: a sentence each, with what to do."""
        with self.reading() as connection:
            return self._engine.warnings(connection)

    def copy_to(self, path: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Writes what is committed now to a new SQLite file of mode 0600, durably; posting goes on meanwhile.

        ``progress`` gets how much is done and how much there is. So a backup is one format, whatever the ledger lies
        in.
        """
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        with self.reading() as connection:
            self._engine.copy_to(connection, path, progress)
        with path.open("rb") as file:
            os.fsync(file.fileno())

    def _identify(self, *, upgrade: bool = True) -> None:
        with self.reading() as connection:
            tables = inspect(connection)
            if not (tables.has_table("alembic_version") and tables.has_table("ledger")):
                raise NoLedger(f"{self._engine.kind} {self} is a database, but not a ledger of ours; check the path.")
            revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        # A damaged row may hold bytes, or the name of a version that there never was.
        if not isinstance(revision, str) or not re.fullmatch("[0-9]{4}", revision) or int(revision) == 0:
            raise self._damaged()
        if revision > schema.REVISION:
            raise LedgerError(
                f"The ledger {self} was written by a newer version of this program (schema {revision}, this one "
                f"knows {schema.REVISION}); install that version."
            )
        if revision < schema.REVISION and not upgrade:
            raise Outgrown(
                f"The ledger {self} is of schema {revision}. This program brings it to {schema.REVISION} when it next "
                "opens it, and older programs refuse it then."
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
        return LedgerError(f"The ledger {self} is damaged; stop the server, run `bank audit`, and restore a backup.")


@dataclass
class _Course:
    """How far a transaction has come: whether nothing is left to do but to commit it."""

    ending: bool = False


def _engine_of(place: Place) -> Engine:
    if not isinstance(place, Database):
        return SQLite(place)
    from bank.postgresql import PostgreSQL  # loads the driver, which a ledger in a file does not need

    return PostgreSQL(place)


def require_free(place: Place) -> None:
    """LedgerError if a new ledger cannot be made in a database; a file is looked at when it is made."""
    if isinstance(place, Database):
        engine = _engine_of(place)
        try:
            engine.make()
        finally:
            engine.close()
