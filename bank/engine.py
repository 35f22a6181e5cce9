"""What a ledger asks of the engine in which it lies: all that differs between SQLite and PostgreSQL, and no more."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy
from sqlalchemy import Connection, Dialect, Insert, Update

from bank.errors import LedgerError

READER_WAIT_SECONDS = 30.0
"""How long a reader waits for a connection before it is told that the ledger is busy."""


class Engine(ABC):
    """An engine with its connections. Its errors reach the callers as sentences, see :meth:`failure`."""

    name: str
    """What a person calls the place; there is no password in it."""

    folder: Path
    """Where the newest head lies outside of the database."""

    readers: sqlalchemy.Engine
    """Transactions of one moment, which cannot write."""

    writers: sqlalchemy.Engine

    losses: int = 0
    """How often a connection was lost so far; after that another server of the database may answer."""

    kind: ClassVar[str]
    """What the place is, at the beginning of a sentence."""

    patience_seconds: ClassVar[float] = 0.0
    """How long it is tried again to begin a transaction whose connection is lost."""

    @abstractmethod
    def make(self) -> None:
        """Makes an empty place; LedgerError if there is something already."""

    @abstractmethod
    def unmake(self) -> None:
        """Takes back what :meth:`make` has made, after :meth:`close`."""

    @abstractmethod
    def require(self) -> None:
        """LedgerError if there is nothing at the place, or if it must not be opened there."""

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """While the block lasts nobody else writes, where that is decided before a transaction begins."""
        yield

    def hold_log(self, connection: Connection) -> str | None:
        """Waits until no other transaction can append to the log; from then on only this one can, until it ends.

        The log's name, where it may have changed meanwhile.
        """
        return None

    @abstractmethod
    def failure(self, error: Exception, *, ending: bool) -> LedgerError | None:
        """An error of the engine as a sentence for a person; None if it is none, or a broken constraint.

        ``ending``: it came with the commit.

        Interrupted if nothing was recorded and trying again may help; OutcomeUnknown if nobody can tell.
        """

    def damage(self, connection: Connection) -> tuple[str, ...]:
        """What the engine itself finds wrong with its files, at most ten things; empty if nothing."""
        return ()

    @abstractmethod
    def size_bytes(self, connection: Connection) -> int:
        """Room that the ledger takes now."""

    def warnings(self, connection: Connection) -> tuple[str, ...]:
        """How the engine is set up less durably than it could be: a sentence each, with what to do."""
        return ()

    @abstractmethod
    def copy_to(self, connection: Connection, path: Path, progress: Callable[[int, int], None]) -> None:
        """Writes what a read transaction sees to the new, empty SQLite file at ``path``."""

    def close(self) -> None:
        """Closes all connections. Harmless when repeated."""
        self.readers.dispose()
        self.writers.dispose()


def write_many(connection: Connection, statement: Insert | Update, rows: Sequence[dict[str, Any]]) -> None:
    """A statement for many rows, which go to the driver as they are, without types that only SQLAlchemy knows.

    SQLAlchemy would look at every value of each: for a bulk order a quarter of the time under the ledger's lock.
    """
    text, names = _for_driver(statement, connection.dialect)
    connection.exec_driver_sql(text, [*map(itemgetter(*names), rows)] if names else [*rows])


@lru_cache
def _for_driver(statement: Insert | Update, dialect: Dialect) -> tuple[str, Sequence[str] | None]:
    """The statement in the driver's words, and its parameters' names if it takes them by their places."""
    compiled = statement.compile(dialect=dialect)
    return str(compiled), compiled.positiontup
