"""What the authority has decided stays decided: confirmations, certificates, revocations, lists (unix seconds)."""

import sqlite3
from dataclasses import dataclass
from typing import Final

from ca.database import Database
from ca.errors import StoreError
from ca.messages import Certified

TRIES: Final = 3
"""Tries to confirm the requests of one key for one number; then they are locked."""


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
class Reopening:
    """A key whose requests for a number were locked, and which got its tries back."""

    fingerprint: str
    number: str
    operator: str
    reason: str
    at: int


@dataclass(frozen=True)
class Drop:
    """A request that was taken from the desk, and how far it had come; or notices for a number, without a digest."""

    digest: str
    number: str
    what: str
    operator: str
    reason: str
    at: int


@dataclass(frozen=True)
class Certificate:
    """A certificate in both forms: the certified ``key``, and ``der`` with its ``serial`` in 40 hex digits.

    ``digest`` is that of the ``request``, an OpenPGP message; a renewal has the digest of what it renews, and names its
    serial number in ``renews`` ("" otherwise). ``revoked_at`` is None until it is revoked, for ``reason``, by the
    operator ``revoked_by``; before that time it counts. ``succeeds`` is the fingerprint of the key that vouched for
    this one, "" where none did.
    """

    serial: str
    digest: str
    number: str
    role: str
    name: str
    fingerprint: str
    issued: int
    expires: int
    key: bytes
    der: bytes
    request: bytes
    renews: str = ""
    revoked_at: int | None = None
    reason: str = ""
    succeeds: str = ""
    revoked_by: str = ""

    @property
    def ends(self) -> int:
        """When it ends, or ended: by its date, or before that by a revocation."""
        return self.expires if self.revoked_at is None else min(self.expires, self.revoked_at)

    def is_live(self, now: int) -> bool:
        """Whether it counts, as far as the authority is concerned."""
        return now < self.ends

    def is_revoked(self, now: int) -> bool:
        """Whether it was revoked, whatever its date says."""
        return self.revoked_at is not None and self.revoked_at <= now

    @property
    def certified(self) -> Certified:
        """Both forms, as they are handed out."""
        return Certified(certificate=self.der, key=self.key)


@dataclass(frozen=True)
class IssuedList:
    """A revocation list, DER, and until when it is good; one signed for ``later`` says what is true from ``at`` on."""

    number: int
    at: int
    next_update: int
    crl: bytes
    later: bool = False


class AuthorityStore(Database):
    """What the authority has decided: tries, confirmations, what it issued and revoked, its root and its lists."""

    APPLICATION = 0x43534341
    VERSION = 4
    SCHEMA = """
        CREATE TABLE tries (fingerprint TEXT NOT NULL, number TEXT NOT NULL, failed INTEGER NOT NULL,
            PRIMARY KEY (fingerprint, number)) STRICT;
        CREATE TABLE confirmations (digest TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, number TEXT NOT NULL,
            role TEXT NOT NULL, name TEXT NOT NULL, operator TEXT NOT NULL, reached_by TEXT NOT NULL,
            dialled TEXT NOT NULL, at INTEGER NOT NULL) STRICT;
        CREATE TABLE reopenings (fingerprint TEXT NOT NULL, number TEXT NOT NULL, operator TEXT NOT NULL,
            reason TEXT NOT NULL, at INTEGER NOT NULL) STRICT;
        CREATE TABLE drops (digest TEXT NOT NULL, number TEXT NOT NULL, what TEXT NOT NULL, operator TEXT NOT NULL,
            reason TEXT NOT NULL, at INTEGER NOT NULL) STRICT;
        CREATE TABLE certificates (serial TEXT PRIMARY KEY, digest TEXT NOT NULL, number TEXT NOT NULL,
            role TEXT NOT NULL, name TEXT NOT NULL, fingerprint TEXT NOT NULL, issued INTEGER NOT NULL,
            expires INTEGER NOT NULL, key BLOB NOT NULL, der BLOB NOT NULL, request BLOB NOT NULL,
            renews TEXT NOT NULL, revoked_at INTEGER, reason TEXT NOT NULL, succeeds TEXT NOT NULL,
            revoked_by TEXT NOT NULL) STRICT;
        CREATE INDEX certificates_by_number ON certificates (number, role);
        -- One request gets one certificate for ever, and renewals of it.
        CREATE UNIQUE INDEX certificates_by_request ON certificates (digest) WHERE renews = '';
        CREATE UNIQUE INDEX certificates_by_renewal ON certificates (renews) WHERE renews <> '';
        -- A key vouches for one other, once.
        CREATE UNIQUE INDEX certificates_by_succession ON certificates (succeeds) WHERE succeeds <> '' AND renews = '';
        CREATE TABLE lists (number INTEGER PRIMARY KEY, at INTEGER NOT NULL, next_update INTEGER NOT NULL,
            crl BLOB NOT NULL, later INTEGER NOT NULL) STRICT;
        CREATE TABLE root (place INTEGER PRIMARY KEY CHECK (place = 1), der BLOB NOT NULL) STRICT;
    """

    def tries_left(self, fingerprint: str, number: str) -> int:
        """How often requests of this key for this number may still be confirmed wrongly."""
        rows = self.rows("SELECT failed FROM tries WHERE fingerprint = ? AND number = ?", fingerprint, number)
        return max(0, TRIES - (rows[0]["failed"] if rows else 0))

    def count_failure(self, fingerprint: str, number: str) -> int:
        """Use up a try of this key for this number; returns how many are left."""
        self.write(
            "INSERT INTO tries VALUES (?, ?, 1) ON CONFLICT (fingerprint, number) DO UPDATE SET failed = failed + 1",
            *(fingerprint, number),
        )
        return self.tries_left(fingerprint, number)

    def reopen(self, reopening: Reopening) -> None:
        """Give a key all its tries again, and record why."""
        whose = (reopening.fingerprint, reopening.number)
        self.write(
            "INSERT INTO reopenings VALUES (?, ?, ?, ?, ?)",
            *(*whose, reopening.operator, reopening.reason, reopening.at),
        )
        self.write("DELETE FROM tries WHERE fingerprint = ? AND number = ?", *whose)

    def reopenings(self, fingerprint: str, number: str) -> tuple[Reopening, ...]:
        """How often and why this key got its tries for this number back, oldest first."""
        statement = "SELECT * FROM reopenings WHERE fingerprint = ? AND number = ? ORDER BY rowid"
        return tuple(Reopening(*row) for row in self.rows(statement, fingerprint, number))

    def drop(self, dropped: Drop) -> None:
        """Record what was dropped; a confirmation of that request is taken back."""
        self.write(
            "INSERT INTO drops VALUES (?, ?, ?, ?, ?, ?)",
            *(dropped.digest, dropped.number, dropped.what, dropped.operator, dropped.reason, dropped.at),
        )
        self.write("DELETE FROM confirmations WHERE digest = ?", dropped.digest)

    def drops(self) -> tuple[Drop, ...]:
        """What was dropped, oldest first."""
        return tuple(Drop(*row) for row in self.rows("SELECT * FROM drops ORDER BY rowid"))

    def confirm(self, confirmation: Confirmation) -> None:
        """Record a confirmation; there is one for a request at most."""
        self.write(
            "INSERT INTO confirmations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(confirmation.digest, confirmation.fingerprint, confirmation.number, confirmation.role, confirmation.name),
            *(confirmation.operator, confirmation.reached_by, confirmation.dialled, confirmation.at),
        )

    def confirmation(self, digest: str) -> Confirmation | None:
        """The confirmation of this request."""
        rows = self.rows("SELECT * FROM confirmations WHERE digest = ?", digest)
        return Confirmation(*rows[0]) if rows else None

    def add_certificate(self, certificate: Certificate) -> None:
        """Enter what was issued into the inventory: on a request one certificate, each renewed once at most."""
        self.write(
            "INSERT INTO certificates VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(certificate.serial, certificate.digest, certificate.number, certificate.role, certificate.name),
            *(certificate.fingerprint, certificate.issued, certificate.expires, certificate.key, certificate.der),
            *(certificate.request, certificate.renews, certificate.revoked_at, certificate.reason),
            *(certificate.succeeds, certificate.revoked_by),
        )

    def certificate(self, digest: str) -> Certificate | None:
        """What was issued on this request, in its newest renewal."""
        rows = self.rows("SELECT * FROM certificates WHERE digest = ? ORDER BY issued DESC, rowid DESC LIMIT 1", digest)
        return Certificate(*rows[0]) if rows else None

    def certificates(self) -> tuple[Certificate, ...]:
        """The inventory, what expires next first."""
        return tuple(Certificate(*row) for row in self.rows("SELECT * FROM certificates ORDER BY expires, rowid"))

    def revoke(self, serial: str, *, at: int, reason: str, operator: str, key: bytes) -> None:
        """Record a revocation, which stays for ever and is only ever brought forward.

        ``key`` is the key as the authority's certifications of it are now.
        """
        self.write(
            "UPDATE certificates SET revoked_at = ?, reason = ?, revoked_by = ?, key = ?"
            " WHERE serial = ? AND (revoked_at IS NULL OR revoked_at > ?)",
            *(at, reason, operator, key, serial, at),
        )

    def add_list(self, issued: IssuedList) -> None:
        """Keep a revocation list; no number is used twice."""
        self.write(
            "INSERT INTO lists VALUES (?, ?, ?, ?, ?)",
            *(issued.number, issued.at, issued.next_update, issued.crl, int(issued.later)),
        )

    def newest_list(self, at: int = 0) -> IssuedList | None:
        """The revocation list with the highest number; those signed for later only if their time has come ``at``."""
        rows = self.rows("SELECT * FROM lists WHERE later = 0 OR at <= ? ORDER BY number DESC LIMIT 1", at)
        return _list(rows[0]) if rows else None

    def later_lists(self, number: int) -> tuple[IssuedList, ...]:
        """The lists that were signed for later together with, or after, the one with this number."""
        rows = self.rows("SELECT * FROM lists WHERE later = 1 AND number > ? ORDER BY number", number)
        return tuple(_list(row) for row in rows)

    def highest_number(self) -> int:
        """The highest number of a list, whenever its time is; 0 if there is none."""
        return self.count("SELECT coalesce(max(number), 0) FROM lists")

    def put_root(self, der: bytes) -> None:
        """Keep the root certificate, DER."""
        self.write("INSERT OR REPLACE INTO root VALUES (1, ?)", der)

    def root(self) -> bytes:
        """The root certificate, DER."""
        rows = self.rows("SELECT der FROM root")
        if not rows:
            raise StoreError(f"The database {self._path} does not hold the root certificate; restore it.")
        return bytes(rows[0]["der"])


def _list(row: sqlite3.Row) -> IssuedList:
    return IssuedList(row["number"], row["at"], row["next_update"], row["crl"], bool(row["later"]))
