"""What the desk takes and hands out; whoever takes the desk over may alter it, so no decision believes it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ca.database import Database
from ca.decisions import Certificate
from ca.errors import StoreError
from ca.messages import AuthorityKey, Certified, State

_DIGEST: Final = re.compile("[0-9a-f]{64}", re.ASCII)
_NUMBER: Final = re.compile("[0-9]{1,16}", re.ASCII)


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
class GivenUp:
    """A public key, revoked by its owner, as it was handed in."""

    fingerprint: str
    key: bytes
    received: int


class DeskStore(Database):
    """What the desk takes (requests, notices) and hands out (certificates, root, revocation list)."""

    APPLICATION = 0x43534445
    VERSION = 3
    SCHEMA = """
        CREATE TABLE requests (digest TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, number TEXT NOT NULL,
            role TEXT NOT NULL, name TEXT NOT NULL, message BLOB NOT NULL, received INTEGER NOT NULL,
            state TEXT NOT NULL, host TEXT NOT NULL) STRICT;
        CREATE INDEX requests_by_fingerprint ON requests (fingerprint, received);
        CREATE INDEX requests_by_state ON requests (state, host);
        CREATE TABLE notices (digest TEXT PRIMARY KEY, customer TEXT NOT NULL, message BLOB NOT NULL) STRICT;
        CREATE INDEX notices_by_customer ON notices (customer);
        CREATE TABLE given_up (fingerprint TEXT PRIMARY KEY, key BLOB NOT NULL, received INTEGER NOT NULL) STRICT;
        CREATE TABLE certificates (fingerprint TEXT PRIMARY KEY, role TEXT NOT NULL, issued INTEGER NOT NULL,
            expires INTEGER NOT NULL, key BLOB NOT NULL, certificate BLOB NOT NULL) STRICT;
        CREATE TABLE authority (place INTEGER PRIMARY KEY CHECK (place = 1), key BLOB NOT NULL,
            root BLOB NOT NULL) STRICT;
        CREATE TABLE revocations (place INTEGER PRIMARY KEY, begins INTEGER NOT NULL, crl BLOB NOT NULL) STRICT;
    """

    def put_authority(self, authority: AuthorityKey) -> None:
        """Hand out this public key and this root as the authority's."""
        self.write("INSERT OR REPLACE INTO authority VALUES (1, ?, ?)", authority.key, authority.root)

    def authority(self) -> AuthorityKey:
        """The authority's public key and root."""
        rows = self.rows("SELECT key, root FROM authority")
        if not rows:
            raise StoreError(f"The database {self._path} does not hold the authority's key; restore it.")
        return AuthorityKey(key=bytes(rows[0]["key"]), root=bytes(rows[0]["root"]))

    def put_revocations(self, crl: bytes, later: Iterable[tuple[int, bytes]] = ()) -> None:
        """Hand out this revocation list, DER, in place of those before, and each of ``later`` once its time has come.

        Their times are in unix seconds, in order.
        """
        with self.exclusive():
            self.write("DELETE FROM revocations")
            for begins, each in ((0, crl), *later):
                self.write("INSERT INTO revocations (begins, crl) VALUES (?, ?)", begins, each)

    def revocations(self, at: int = 0) -> bytes:
        """The revocation list that is handed out ``at`` this time (unix seconds), DER."""
        rows = self.rows("SELECT crl FROM revocations WHERE begins <= ? ORDER BY place DESC LIMIT 1", at)
        if not rows:
            raise StoreError(f"The database {self._path} does not hold a revocation list; make one with `ca crl`.")
        return bytes(rows[0]["crl"])

    def file_request(self, filed: Filed, host: str) -> None:
        """Keep a request that came from ``host``, "" by mail; the same one again changes nothing."""
        self.write(
            "INSERT OR IGNORE INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(filed.digest, filed.fingerprint, filed.number, filed.role, filed.name, filed.message, filed.received),
            *(filed.state.value, host),
        )

    def mark(self, digest: str, state: State) -> None:
        """What applicants are told of this request from now on."""
        self.write("UPDATE requests SET state = ? WHERE digest = ?", state.value, digest)

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

    def drop_request(self, digest: str) -> None:
        """Forget this request; its applicant may hand it in again."""
        self.write("DELETE FROM requests WHERE digest = ?", digest)

    def drop_stale(self, before: int) -> None:
        """Forget requests that came before this time and were neither confirmed nor issued."""
        states = (State.WAITING.value, State.VOUCHED.value, State.LOCKED.value)
        self.write("DELETE FROM requests WHERE state IN (?, ?, ?) AND received < ?", *states, before)

    def open_requests(self, host: str | None = None) -> int:
        """Requests that wait for their call, or for what needs none, in all or from one address."""
        statement, states = "SELECT count(*) FROM requests WHERE state IN (?, ?)", (State.WAITING, State.VOUCHED)
        if host is None:
            return self.count(statement, *(state.value for state in states))
        return self.count(f"{statement} AND host = ?", *(state.value for state in states), host)

    def file_notice(self, digest: str, customer: str, message: bytes) -> None:
        """Keep a notice; the same one again changes nothing."""
        self.write("INSERT OR IGNORE INTO notices VALUES (?, ?, ?)", digest, customer, message)

    def notices(self, customer: str) -> tuple[bytes, ...]:
        """The notices kept for this customer number, as they came."""
        return tuple(
            bytes(row["message"]) for row in self.rows("SELECT message FROM notices WHERE customer = ?", customer)
        )

    def drop_notices(self, customer: str) -> None:
        """Forget the notices for this customer number."""
        self.write("DELETE FROM notices WHERE customer = ?", customer)

    def notice_count(self) -> int:
        """Notices kept in all."""
        return self.count("SELECT count(*) FROM notices")

    def give_up(self, given_up: GivenUp) -> None:
        """Keep a key that its owner has declared invalid; another copy changes nothing."""
        self.write(
            "INSERT OR IGNORE INTO given_up VALUES (?, ?, ?)", given_up.fingerprint, given_up.key, given_up.received
        )

    def given_up(self) -> tuple[GivenUp, ...]:
        """The keys that their owners have declared invalid, oldest first."""
        return tuple(
            GivenUp(row["fingerprint"], bytes(row["key"]), row["received"])
            for row in self.rows("SELECT * FROM given_up ORDER BY received, rowid")
        )

    def put_certificate(self, certificate: Certificate) -> None:
        """Hand out this certificate, in place of an older one of the same key."""
        self.write(
            "INSERT OR REPLACE INTO certificates VALUES (?, ?, ?, ?, ?, ?)",
            *(certificate.fingerprint, certificate.role, certificate.issued, certificate.expires),
            *(certificate.key, certificate.der),
        )

    def certificate(self, fingerprint: str) -> tuple[Certified, int] | None:
        """The certificate of the key with this fingerprint, and when it expires."""
        return self._certified("fingerprint = ?", fingerprint)

    def bank(self) -> tuple[Certified, int] | None:
        """The bank's newest certificate, and when it expires."""
        return self._certified("role = 'bank'")

    def _certified(self, condition: str, *values: object) -> tuple[Certified, int] | None:
        columns = "key, certificate, expires"
        statement = f"SELECT {columns} FROM certificates WHERE {condition} ORDER BY issued DESC, rowid DESC LIMIT 1"  # noqa: S608 - ours
        rows = self.rows(statement, *values)
        if not rows:
            return None
        found = rows[0]
        return Certified(certificate=bytes(found["certificate"]), key=bytes(found["key"])), int(found["expires"])

    def _filed(self, condition: str, *values: object) -> tuple[Filed, ...]:
        columns = "digest, fingerprint, number, role, name, message, received, state"
        rows = self.rows(f"SELECT {columns} FROM requests WHERE {condition} ORDER BY received, rowid", *values)  # noqa: S608 - ours
        try:
            for row in rows:  # they are shown to the operator, and so is nothing that a terminal might obey
                if not _DIGEST.fullmatch(row["digest"]) or not _NUMBER.fullmatch(row["number"]):
                    raise ValueError("a request has no digest, or no number")
            return tuple(Filed(*(*row[:-1], State(row["state"]))) for row in rows)
        except ValueError as error:
            raise StoreError(f"The database {self._path} is damaged ({error}); restore it.") from None
