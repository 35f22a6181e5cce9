"""A ledger in PostgreSQL, for several servers: rows and the log are locked in one order, every commit is waited for.

Writers are READ COMMITTED: each statement sees what was committed when it began, so what is read after a lock is what
the lock protects. (At higher levels a transaction would see the moment before it waited, and have to be repeated.)
Readers are REPEATABLE READ: all that they read is of one moment.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psycopg
import sqlalchemy
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, event, inspect, select, text
from sqlalchemy.exc import DBAPIError, DisconnectionError, IntegrityError

from bank import engine, schema
from bank.errors import ConfigurationError, Interrupted, LedgerError, OutcomeUnknown, Unwritable
from bank.places import Database

READERS: Final = 6
WRITERS: Final = 3
"""Connections of one process, made when they are needed: the posting's, and some for what else is written."""

OLDEST: Final = 150000
"""The oldest version that is taken, as PostgreSQL counts (15.0)."""

IDLE_SECONDS: Final = 1.0
"""A connection that was not used for so long is asked whether it is there still."""

DEFAULTS: Final = {
    "connect_timeout": "5",
    "fallback_application_name": "countersign",
    "client_encoding": "UTF8",  # whatever PGCLIENTENCODING would have it be
    "target_session_attrs": "read-write",  # of several hosts, the one that is the primary now
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
"""What counts where the URL does not say otherwise: a host that is gone is noticed within 25 seconds."""

LOCK_WAIT: Final = "20s"
IDLE_IN_TRANSACTION: Final = "20s"
"""How long a server that stands still keeps its locks, before PostgreSQL ends its transaction."""


class PostgreSQL(engine.Engine):
    """A database in which nothing but the ledger needs to lie."""

    kind = "The database"
    patience_seconds = 10.0

    def __init__(self, place: Database) -> None:
        """Connects nowhere yet."""
        self.name = place.shown
        self.folder = place.folder
        options = _options(place)
        self.readers = self._engine(place.url, options, writes=False)
        self.writers = self._engine(place.url, options, writes=True)

    def make(self) -> None:
        """Nothing is to be made; but where there are tables of these names, whosesoever, none is added."""
        try:
            with self.writers.connect() as connection:
                there = {*schema.metadata.tables, "alembic_version"} & set(inspect(connection).get_table_names())
                version = connection.execute(text("SHOW server_version_num")).scalar_one()
        except DBAPIError as error:
            raise self._failure(error, ending=False) from error
        if int(version) < OLDEST:
            raise LedgerError(f"The ledger {self.name} needs PostgreSQL 15 or newer; update the database server.")
        if there:
            raise LedgerError(
                f"There are tables in the database {self.name} already ({', '.join(sorted(there))}); none is ever "
                "written over. Name an empty database, made with `createdb`."
            )

    def unmake(self) -> None:
        """Tables are made in a transaction, which was rolled back."""

    def require(self) -> None:
        """Who reads the ledger finds out."""

    def hold_log(self, connection: Connection) -> str | None:
        """The one row of the table ledger is the lock.

        An advisory lock would do, too; but a row is there in every engine that speaks PostgreSQL's language, cannot be
        mistaken for the lock of another program in the same database, and gives the log's name as it is now.
        """
        return connection.execute(_HOLD).scalar()

    def failure(self, error: Exception, *, ending: bool) -> LedgerError | None:
        """By SQLSTATE, and where there is none, because nobody answered, as a lost connection."""
        if isinstance(error, IntegrityError) or not isinstance(error, DBAPIError | psycopg.Error):
            return None
        return self._failure(error, ending=ending)

    def _failure(self, error: DBAPIError | psycopg.Error, *, ending: bool) -> LedgerError:
        cause = error.orig if isinstance(error, DBAPIError) else error
        state = getattr(cause, "sqlstate", None) or ""
        said = " ".join(str(cause).split())
        lost = state.startswith("08") or state in _LOST
        if lost or (not state and isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)):
            self.losses += 1
            if ending:
                return OutcomeUnknown(
                    f"The connection to the ledger {self.name} was lost at the end of a transaction, which may be "
                    f"recorded or not ({said})."
                )
            return Interrupted(f"The ledger {self.name} cannot be reached; nothing was recorded ({said}).")
        if state in _AGAIN:
            return Interrupted(f"The ledger {self.name} broke a transaction off; nothing was recorded ({said}).")
        known = _CAUSES.get(state) or _CAUSES.get(state[:2])
        sentence = f"The ledger {self.name} {known}." if known else f"The ledger {self.name} cannot be used: {said}."
        return Unwritable(sentence) if state[:2] in _UNWRITTEN else LedgerError(sentence)

    def warnings(self, connection: Connection) -> tuple[str, ...]:
        """What would let commits be lost that were acknowledged."""
        found = {name: connection.execute(text(f"SHOW {name}")).scalar() for name in _DURABLE}
        return tuple(
            f"The database {self.name} has {name} = off: what was acknowledged can be lost when its machine fails. "
            f"Set {name} = on in its postgresql.conf."
            for name, value in found.items()
            if value == "off"
        )

    def size_bytes(self, connection: Connection) -> int:
        """The whole database."""
        return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())

    def copy_to(self, connection: Connection, path: Path, progress: Callable[[int, int], None]) -> None:
        """Row by row, in the order of the tables' references; ``progress`` gets rows done and in all."""
        from bank.copying import copy_into_file

        copy_into_file(connection, path, progress)

    def _engine(self, url: str, options: dict[str, str], *, writes: bool) -> sqlalchemy.Engine:
        def connect() -> psycopg.Connection[Any]:
            made = _Connection.connect(url, autocommit=True, **options)  # type: ignore[arg-type]
            if (encoding := made.info.parameter_status("server_encoding")) != "UTF8":
                made.close()
                raise LedgerError(
                    f"The database {self.name} has the encoding {encoding}; make it with "
                    "`createdb --template template0 --encoding UTF8`."
                )
            for name, value in (
                ("lock_timeout", LOCK_WAIT),
                ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION),
            ):
                if writes:
                    made.execute("SELECT set_config(%s, %s, false)", (name, value))
            row = made.execute("SHOW synchronous_commit").fetchone()
            if row and row[0] in _NOT_WAITED_FOR:
                made.execute("SET synchronous_commit = on")
            made.autocommit = False
            made.isolation_level = (
                psycopg.IsolationLevel.READ_COMMITTED if writes else psycopg.IsolationLevel.REPEATABLE_READ
            )
            made.read_only = not writes
            return made

        made = sqlalchemy.create_engine(
            "postgresql+psycopg://",
            creator=connect,
            use_native_hstore=False,
            pool_size=WRITERS if writes else READERS,
            max_overflow=0,
            pool_timeout=engine.READER_WAIT_SECONDS,
            hide_parameters=True,
        )

        @event.listens_for(made, "connect")
        def begin(_connection: object, record: Any) -> None:
            record.info["losses"] = self.losses

        @event.listens_for(made, "checkin")
        def rest(_connection: object, record: Any) -> None:
            record.info["used"] = time.monotonic()

        @event.listens_for(made, "checkout")
        def look(connection: Any, record: Any, _proxy: object) -> None:
            if record.info["losses"] != self.losses:  # where one was lost, the others lead to the same server
                raise DisconnectionError("Another connection was lost.")
            used = record.info.get("used")
            if used is None or time.monotonic() - used < IDLE_SECONDS:
                return
            try:
                connection.execute("SELECT 1")
                connection.rollback()
            except psycopg.Error as error:
                self.losses += 1
                raise DisconnectionError("The connection was lost while nobody used it.") from error

        return made


class _Connection(psycopg.Connection[Any]):
    """Does not take a commit for durable of which the server says that no standby has confirmed it."""

    def commit(self) -> None:
        """Raises OperationalError if the wait for a synchronous standby was broken off: the outcome is unknown."""
        doubts: list[str] = []

        def hear(notice: psycopg.errors.Diagnostic) -> None:
            if notice.severity_nonlocalized == "WARNING":
                doubts.append(notice.message_primary or "")

        self.add_notice_handler(hear)
        try:
            super().commit()
        finally:
            self.remove_notice_handler(hear)
        if doubts:
            raise psycopg.OperationalError("; ".join(doubts))


def _options(place: Database) -> dict[str, str]:
    try:
        given = conninfo_to_dict(place.url)
    except psycopg.Error:  # whose text may hold the password
        raise ConfigurationError(
            f"The URL {place.shown} of the ledger has an option that libpq does not know."
        ) from None
    return {name: value for name, value in DEFAULTS.items() if name not in given}


_HOLD: Final = select(schema.ledger.c.log).where(schema.ledger.c.one == 1).with_for_update()
_DURABLE: Final = ("fsync", "full_page_writes")
_NOT_WAITED_FOR: Final = ("off", "local")

_AGAIN: Final = frozenset({"40001", "40P01", "55P03", "57014"})
"""A transaction that is in the way of another, or waited too long."""

_LOST: Final = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03", "25P04", "25006"})
"""The server ends, begins, or ended this session; or it is a standby now (25006)."""

_UNWRITTEN: Final = frozenset({"53", "54"})

_CAUSES: Final = {
    "3D": "is not there: the server has no such database; make it with `createdb`",
    "28": "refuses this user or password; look at the URL and at pg_hba.conf",
    "42501": "does not let this user do what the bank must; give the user the rights of the tables' owner",
    "53100": "cannot be written: the disk is full. Nothing was recorded; make room",
    "53300": "has no connection left; nothing was recorded. Raise max_connections, or run fewer processes",
    "53": "lacks what it needs; nothing was recorded. Look at the log of the database",
    "XX": "is damaged; stop the servers, run `bank audit`, and look at the log of the database",
}
"""By SQLSTATE, or its class."""
