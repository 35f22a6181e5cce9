"""Two databases that do not trust each other: what the desk takes and hands out, and what the authority has decided.

The desk's may be altered by whoever takes the desk over; so nothing in it is believed when a key is certified.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Self

from ca.errors import StoreError
from ca.messages import State

BUSY_TIMEOUT_SECONDS: Final = 10.0
TRIES: Final = 3
"""Tries to confirm one request; then it is locked."""


@dataclass(frozen=True)
class Filed:
    """A request as the desk keeps it; ``received`` and all times here are Unix seconds."""

    digest: str
    fingerprint: str
    number: str
    role: str
    name: str
    message: bytes
    received: int
    state: State


@dataclass(frozen=True)
class Confirmation:
    """What the operator confirmed, of which request, and how the caller was known."""

    digest: str
    fingerprint: str
    number: str
    role: str
    name: str
    operator: str
    reached_by: str
    dialled: str
    at: int


@dataclass(frozen=True)
class Certificate:
    """A certified key that the authority has issued; ``digest`` is that of the request."""

    digest: str
    number: str
    role: str
    name: str
    fingerprint: str
    issued: int
    expires: int
    key: bytes


class _Store:
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
                raise StoreError(f"{path} has version {version}, and this program reads version {cls.VERSION}.")
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

    def _write(self, statement: str, *values: object) -> None:
        """Within :meth:`exclusive` a part of that transaction, else one of its own."""
        with self._lock, self._errors():
            self._connection.execute(statement, values)

    def _rows(self, statement: str, *values: object) -> list[sqlite3.Row]:
        with self._lock, self._errors():
            return self._connection.execute(statement, values).fetchall()

    def _count(self, statement: str, *values: object) -> int:
        return int(self._rows(statement, *values)[0][0])

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(
                f"The database {self._path} cannot be used: {error}; look at the disk and the file."
            ) from None


class DeskStore(_Store):
    """What the desk takes (requests, notices) and hands out (the authority's key, certified keys)."""

    APPLICATION = 0x43534445
    VERSION = 1
    SCHEMA = """
        CREATE TABLE requests (digest TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, number TEXT NOT NULL,
            role TEXT NOT NULL, name TEXT NOT NULL, message BLOB NOT NULL, received INTEGER NOT NULL,
            state TEXT NOT NULL, host TEXT NOT NULL) STRICT;
        CREATE INDEX requests_by_fingerprint ON requests (fingerprint, received);
        CREATE INDEX requests_by_state ON requests (state, host);
        CREATE TABLE notices (digest TEXT PRIMARY KEY, customer TEXT NOT NULL, message BLOB NOT NULL) STRICT;
        CREATE INDEX notices_by_customer ON notices (customer);
        CREATE TABLE certificates (fingerprint TEXT PRIMARY KEY, role TEXT NOT NULL, issued INTEGER NOT NULL,
            expires INTEGER NOT NULL, key BLOB NOT NULL) STRICT;
        CREATE TABLE authority (place INTEGER PRIMARY KEY CHECK (place = 1), key BLOB NOT NULL) STRICT;
    """

    def put_authority(self, key: bytes) -> None:
        """Hand out this public key as the authority's."""
        self._write("INSERT OR REPLACE INTO authority (place, key) VALUES (1, ?)", key)

    def authority(self) -> bytes:
        """The authority's public key."""
        rows = self._rows("SELECT key FROM authority")
        if not rows:
            raise StoreError(f"The database {self._path} does not hold the authority's key; restore it.")
        return bytes(rows[0]["key"])

    def file_request(self, filed: Filed, host: str) -> None:
        """Keep a request; the same one again changes nothing."""
        self._write(
            "INSERT OR IGNORE INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(filed.digest, filed.fingerprint, filed.number, filed.role, filed.name, filed.message, filed.received),
            *(filed.state.value, host),
        )

    def mark(self, digest: str, state: State) -> None:
        """What applicants are told of this request from now on."""
        self._write("UPDATE requests SET state = ? WHERE digest = ?", state.value, digest)

    def requests(self, *states: State) -> tuple[Filed, ...]:
        """Requests in any of these states, oldest first."""
        marks = ", ".join("?" * len(states))
        return self._filed(f"state IN ({marks})", *(state.value for state in states))

    def requests_like(self, prefix: str) -> tuple[Filed, ...]:
        """Requests whose digest begins with ``prefix`` (lower-case hex)."""
        return self._filed("substr(digest, 1, ?) = ?", len(prefix), prefix)

    def requests_of(self, fingerprint: str) -> tuple[Filed, ...]:
        """Requests for this key, oldest first."""
        return self._filed("fingerprint = ?", fingerprint)

    def drop_stale(self, before: int) -> None:
        """Forget requests that came before this time and were neither confirmed nor issued."""
        states = (State.WAITING.value, State.LOCKED.value)
        self._write("DELETE FROM requests WHERE state IN (?, ?) AND received < ?", *states, before)

    def open_requests(self, host: str | None = None) -> int:
        """Requests that wait for their call, in all or from one address."""
        statement = "SELECT count(*) FROM requests WHERE state = ?"
        if host is None:
            return self._count(statement, State.WAITING.value)
        return self._count(f"{statement} AND host = ?", State.WAITING.value, host)

    def file_notice(self, digest: str, customer: str, message: bytes) -> None:
        """Keep a notice; the same one again changes nothing."""
        self._write("INSERT OR IGNORE INTO notices VALUES (?, ?, ?)", digest, customer, message)

    def notices(self, customer: str) -> tuple[bytes, ...]:
        """The notices kept for this customer number, as they came."""
        return tuple(
            bytes(row["message"]) for row in self._rows("SELECT message FROM notices WHERE customer = ?", customer)
        )

    def notice_count(self) -> int:
        """Notices kept in all."""
        return self._count("SELECT count(*) FROM notices")

    def put_certificate(self, certificate: Certificate) -> None:
        """Hand out this certified key, in place of an older certificate of the same key."""
        self._write(
            "INSERT OR REPLACE INTO certificates VALUES (?, ?, ?, ?, ?)",
            *(certificate.fingerprint, certificate.role, certificate.issued, certificate.expires, certificate.key),
        )

    def certificate(self, fingerprint: str) -> tuple[bytes, int] | None:
        """The certified key with this fingerprint and when its certification expires."""
        return self._certified("fingerprint = ?", fingerprint)

    def bank(self) -> tuple[bytes, int] | None:
        """The bank's newest certified key and when its certification expires."""
        return self._certified("role = 'bank'")

    def _certified(self, condition: str, *values: object) -> tuple[bytes, int] | None:
        statement = f"SELECT key, expires FROM certificates WHERE {condition} ORDER BY issued DESC, rowid DESC LIMIT 1"  # noqa: S608 - ours
        rows = self._rows(statement, *values)
        return (bytes(rows[0]["key"]), int(rows[0]["expires"])) if rows else None

    def _filed(self, condition: str, *values: object) -> tuple[Filed, ...]:
        columns = "digest, fingerprint, number, role, name, message, received, state"
        rows = self._rows(f"SELECT {columns} FROM requests WHERE {condition} ORDER BY received, rowid", *values)  # noqa: S608 - ours
        return tuple(Filed(*(*row[:-1], State(row["state"]))) for row in rows)


class AuthorityStore(_Store):
    """What the authority has decided: failed tries, confirmations, and the inventory of what it issued."""

    APPLICATION = 0x43534341
    VERSION = 1
    SCHEMA = """
        CREATE TABLE tries (digest TEXT PRIMARY KEY, failed INTEGER NOT NULL) STRICT;
        CREATE TABLE confirmations (digest TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, number TEXT NOT NULL,
            role TEXT NOT NULL, name TEXT NOT NULL, operator TEXT NOT NULL, reached_by TEXT NOT NULL,
            dialled TEXT NOT NULL, at INTEGER NOT NULL) STRICT;
        CREATE TABLE certificates (digest TEXT PRIMARY KEY, number TEXT NOT NULL, role TEXT NOT NULL,
            name TEXT NOT NULL, fingerprint TEXT NOT NULL, issued INTEGER NOT NULL, expires INTEGER NOT NULL,
            key BLOB NOT NULL) STRICT;
        CREATE INDEX certificates_by_number ON certificates (number, role);
    """

    def tries_left(self, digest: str) -> int:
        """How often this request may still be confirmed wrongly."""
        rows = self._rows("SELECT failed FROM tries WHERE digest = ?", digest)
        return max(0, TRIES - (rows[0]["failed"] if rows else 0))

    def count_failure(self, digest: str) -> int:
        """Use up a try of this request; returns how many are left."""
        self._write("INSERT INTO tries VALUES (?, 1) ON CONFLICT (digest) DO UPDATE SET failed = failed + 1", digest)
        return self.tries_left(digest)

    def confirm(self, confirmation: Confirmation) -> None:
        """Record a confirmation; there is one for a request at most."""
        self._write(
            "INSERT INTO confirmations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(confirmation.digest, confirmation.fingerprint, confirmation.number, confirmation.role, confirmation.name),
            *(confirmation.operator, confirmation.reached_by, confirmation.dialled, confirmation.at),
        )

    def confirmation(self, digest: str) -> Confirmation | None:
        """The confirmation of this request."""
        rows = self._rows("SELECT * FROM confirmations WHERE digest = ?", digest)
        return Confirmation(*rows[0]) if rows else None

    def add_certificate(self, certificate: Certificate) -> None:
        """Enter what was issued into the inventory; one request gets one certificate for ever."""
        self._write(
            "INSERT INTO certificates VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *(certificate.digest, certificate.number, certificate.role, certificate.name, certificate.fingerprint),
            *(certificate.issued, certificate.expires, certificate.key),
        )

    def certificate(self, digest: str) -> Certificate | None:
        """What was issued on this request."""
        rows = self._rows("SELECT * FROM certificates WHERE digest = ?", digest)
        return Certificate(*rows[0]) if rows else None

    def certificates(self) -> tuple[Certificate, ...]:
        """The inventory, what expires next first."""
        return tuple(Certificate(*row) for row in self._rows("SELECT * FROM certificates ORDER BY expires, rowid"))
