"""What this customer must not forget is on the disk before the next step begins: orders, receipts, heads, the floor."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from customer import schema
from customer.database import connected
from customer.errors import NotProven, StoreError
from customer.remedies import remedy_for
from customer.schema import Fact as Fact
from customer.schema import State as State
from protocol import canonical
from protocol.errors import MalformedContent
from protocol.messages import Refusal
from protocol.orders import LAST_SECOND, Order, decode_order
from protocol.receipts import Receipt, TreeHead
from protocol.stages import Stage

FILE_NAME: Final = "customer.sqlite"


@dataclass(frozen=True)
class StoredOrder:
    """An order as it was made: ``message`` are the very bytes for SubmitOrder, ``content`` what they say.

    ``receipt`` is there once it was verified; ``refusal`` is an answer that the bank did not log.
    """

    identifier: str
    stage: Stage
    state: State
    content: bytes
    message: bytes
    receipt: Receipt | None = None
    refusal: Refusal | None = None

    @property
    def order(self) -> Order:
        """The content read."""
        return decode_order(self.content)


@dataclass(frozen=True)
class KeptHead:
    """A head whose signature was verified, with the signed message itself."""

    head: TreeHead
    message: bytes


@dataclass(frozen=True)
class KeptCertificate:
    """Both forms of an own certificate that was verified: X.509 (DER) and the certified key; Unix seconds.

    ``fingerprint`` is that of the key, ``serial`` the certificate's number.
    """

    certificate: bytes
    key: bytes
    ends: int
    fingerprint: str
    serial: int


@dataclass(frozen=True)
class KeptRevocations:
    """A revocation list that was verified; times are Unix seconds, ``revoked`` the serial numbers in it."""

    number: int
    this_update: int
    next_update: int
    revoked: frozenset[int]
    crl: bytes


class Store:
    """The customer's database; every method that changes something has it on the disk when it returns."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self.path = path

    @classmethod
    def open(cls, folder: Path) -> "Store":
        """The database of a home, made at first use (mode 0600). Raises StoreError."""
        path = folder / FILE_NAME
        try:
            store = cls(connected(path), path)
            store._prepare()
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{path} cannot be used ({error}); {remedy_for(error, folder)}") from None
        return store

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Orders

    def put(self, order: StoredOrder) -> None:
        """Write down a new order before anything of it is sent. Raises StoreError if its identifier is taken."""
        with self._writing() as database:
            try:
                database.execute(
                    "INSERT INTO outbox (identifier, stage, state, content, message) VALUES (?, ?, ?, ?, ?)",
                    (order.identifier, order.stage.value, order.state.value, order.content, order.message),
                )
            except sqlite3.IntegrityError:
                raise StoreError(
                    f"Another `customer send` has just used the identifier {order.identifier}; nothing was sent here. "
                    "Look with `customer outbox`, or repeat this command to learn what became of that transfer."
                ) from None

    def find(self, identifier: str) -> StoredOrder | None:
        """The order with this identifier."""
        rows = self._orders("WHERE identifier = ?", identifier)
        return rows[0] if rows else None

    def orders(self) -> tuple[StoredOrder, ...]:
        """All orders, oldest first."""
        return self._orders("")

    def in_doubt(self) -> tuple[StoredOrder, ...]:
        """Orders of which the bank's decision is not known, oldest first."""
        return self._orders("WHERE state IN (?, ?)", State.SENDING.value, State.UNKNOWN.value)

    def mark(self, identifier: str, state: State) -> None:
        """Note a state that is not final; what is final already stays so."""
        with self._writing() as database:
            database.execute(
                "UPDATE outbox SET state = ? WHERE identifier = ? AND receipt IS NULL", (state.value, identifier)
            )

    def settle(self, identifier: str, state: State, receipt: Receipt, kept: KeptHead) -> None:
        """Keep a verified receipt, its head and the final state, all at once. Raises NotProven (two histories)."""
        with self._writing() as database:
            self._keep(database, kept)
            database.execute(
                "UPDATE outbox SET state = ?, receipt = ?, refusal = NULL WHERE identifier = ?",
                (state.value, canonical.encode(receipt), identifier),
            )
            if identifier in (lost := self.lost()):
                self._set(database, Fact.LOST, "\n".join(sorted(lost - {identifier})).encode())

    def refuse(self, identifier: str, refusal: Refusal) -> None:
        """Keep an answer that the bank did not log; a receipt that is there already outweighs it."""
        with self._writing() as database:
            database.execute(
                "UPDATE outbox SET state = ?, refusal = ? WHERE identifier = ? AND receipt IS NULL",
                (State.REFUSED.value, canonical.encode(refusal), identifier),
            )

    def doubt(self, identifier: str, answer: bytes, sentence: str) -> None:
        """Keep an answer that proves nothing: it may be evidence against whoever gave it."""
        with self._writing() as database:
            database.execute(
                "INSERT INTO doubts (identifier, sentence, answer) VALUES (?, ?, ?)", (identifier, sentence, answer)
            )

    def doubts(self, identifier: str) -> tuple[tuple[str, bytes], ...]:
        """The answers about an order that proved nothing, oldest first: why not, and the receipt as it came."""
        return tuple(
            (str(sentence), bytes(answer))
            for sentence, answer in self._all(
                "SELECT sentence, answer FROM doubts WHERE identifier = ? ORDER BY place", identifier
            )
        )

    # Heads

    def newest_head(self) -> KeptHead | None:
        """The largest head of the log that this customer follows."""
        row = self._one(
            "SELECT head, message FROM heads WHERE log = (SELECT CAST(value AS TEXT) FROM facts WHERE name = ?)"
            " ORDER BY size DESC LIMIT 1",
            Fact.LOG.value,
        )
        with self._sound():
            return KeptHead(canonical.decode_signed(TreeHead, row[0]), row[1]) if row else None

    def heads(self) -> tuple[KeptHead, ...]:
        """Every head that was kept, of all logs, smallest first."""
        rows = self._all("SELECT head, message FROM heads ORDER BY size")
        with self._sound():
            return tuple(KeptHead(canonical.decode_signed(TreeHead, row[0]), row[1]) for row in rows)

    def keep_head(self, kept: KeptHead) -> None:
        """Keep a verified head; the first decides which log is followed. Raises NotProven."""
        with self._writing() as database:
            self._keep(database, kept)

    def follow_log(self, kept: KeptHead, beginning: bytes, lost: Iterable[str]) -> None:
        """Follow another log from this verified head on; ``beginning`` is its LogBeginning, canonical.

        ``lost`` are transfers whose receipts the new log does not know any more; others were lost before.
        """
        with self._writing() as database:
            self._keep(database, kept)
            self._set(database, Fact.LOG, kept.head.log.encode())
            self._set(database, Fact.NEW_LOG, beginning)
            self._set(database, Fact.LOST, "\n".join(sorted({*self.lost(), *lost})).encode())

    def lost(self) -> frozenset[str]:
        """Transfers whose proven receipt is kept here, and whose entry the bank has lost since."""
        return frozenset(self.text(Fact.LOST).split())

    # Certificates

    def keep_certificate(self, kept: KeptCertificate) -> None:
        """Keep a verified certificate beside the earlier ones, under which orders may be under way."""
        with self._writing() as database:
            database.execute(
                "INSERT OR IGNORE INTO certificates VALUES (?, ?, ?, ?, ?, ?)",
                (
                    *(canonical.digest(kept.certificate), kept.certificate, kept.key, kept.ends),
                    *(kept.fingerprint, f"{kept.serial:x}"),
                ),
            )

    def certificate(self, digest: str) -> KeptCertificate | None:
        """The own certificate with this SHA-256."""
        row = self._one("SELECT certificate, key, ends, fingerprint, serial FROM certificates WHERE digest = ?", digest)
        if row is None:
            return None
        certificate, key, ends, fingerprint, serial = row
        return KeptCertificate(certificate, key, ends, fingerprint, int(serial, 16))

    def certified_keys(self) -> frozenset[str]:
        """The fingerprints of all own keys that were ever certified."""
        return frozenset(row[0] for row in self._all("SELECT fingerprint FROM certificates"))

    # The revocation list

    def keep_revocations(self, kept: KeptRevocations) -> None:
        """Keep a verified list, unless one with a higher number is kept already: an older one never comes back."""
        serials = " ".join(f"{serial:x}" for serial in sorted(kept.revoked))
        row = (kept.number, kept.this_update, kept.next_update, serials, kept.crl)
        with self._writing() as database:
            (highest,) = database.execute("SELECT coalesce(max(number), 0) FROM revocations").fetchone()
            if kept.number >= highest:
                database.execute("DELETE FROM revocations")
                database.execute("INSERT INTO revocations VALUES (?, ?, ?, ?, ?)", row)

    def revocations(self) -> KeptRevocations | None:
        """The newest list that was ever seen."""
        row = self._one("SELECT number, this_update, next_update, serials, crl FROM revocations")
        if row is None:
            return None
        number, this_update, next_update, serials, crl = row
        with self._sound():
            revoked = frozenset(int(serial, 16) for serial in serials.split())
        return KeptRevocations(number, this_update, next_update, revoked, crl)

    # Single values

    def fact(self, name: Fact) -> bytes | None:
        """A kept value."""
        row = self._one("SELECT value FROM facts WHERE name = ?", name.value)
        return bytes(row[0]) if row else None

    def text(self, name: Fact) -> str:
        """A kept text, "" if there is none."""
        with self._sound():
            return (self.fact(name) or b"").decode()

    def number(self, name: Fact, base: int = 10) -> int | None:
        """A kept number; those in decimal are Unix seconds."""
        value = self.fact(name)
        with self._sound():
            number = int(value, base) if value else None
            if base == 10 and number is not None and not 0 <= number <= LAST_SECOND:
                raise ValueError(f"{name} is no time")
            return number

    def set_facts(self, facts: dict[Fact, bytes]) -> None:
        """Keep several values, all or none."""
        with self._writing() as database:
            for name, value in facts.items():
                self._set(database, name, value)

    def floor(self) -> Stage:
        """The highest stage that this customer has used with success."""
        value = self.text(Fact.FLOOR)
        with self._sound():
            return Stage(value) if value else Stage.PASSWORD

    def raise_floor(self, stage: Stage) -> None:
        """Note a stage used with success; the floor never sinks."""
        if stage.rank <= self.floor().rank:
            return
        with self._writing() as database:
            if self.floor().rank < stage.rank:  # asked again: another process may have been quicker
                self._set(database, Fact.FLOOR, stage.value.encode())

    # Inside

    def _prepare(self) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            with self._writing() as database:
                # Looked at again inside the transaction: another process may have been first.
                if database.execute("PRAGMA user_version").fetchone()[0] == 0:
                    for statement in schema.TABLES.split(";\n"):
                        database.execute(statement)
                    database.execute(f"PRAGMA user_version = {schema.VERSION}")
        elif version != schema.VERSION:
            raise StoreError(
                f"{self.path} was written by another version of this program (schema {version}); use that version."
            )

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.rollback()  # harmless where a full disk has made SQLite roll back by itself
                raise
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            what = f"{self.path} could not be written ({error}), nothing changed in it"
            raise StoreError(f"{what}; {remedy_for(error, self.path.parent)}") from None

    def _all(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{self.path} could not be read ({error}).") from None

    def _one(self, query: str, *values: object) -> tuple[Any, ...] | None:
        rows = self._all(query, *values)
        return rows[0] if rows else None

    def _orders(self, condition: str, *values: object) -> tuple[StoredOrder, ...]:
        columns = "identifier, stage, state, content, message, receipt, refusal"
        rows = self._all(f"SELECT {columns} FROM outbox {condition} ORDER BY place", *values)  # noqa: S608 - constants
        with self._sound():
            return tuple(
                StoredOrder(
                    identifier=identifier,
                    stage=Stage(stage),
                    state=State(state),
                    content=content,
                    message=message,
                    receipt=canonical.decode(Receipt, receipt) if receipt else None,
                    refusal=canonical.decode(Refusal, refusal) if refusal else None,
                )
                for identifier, stage, state, content, message, receipt, refusal in rows
            )

    @contextmanager
    def _sound(self) -> Iterator[None]:
        """What cannot be read as what was written is damage, and is named."""
        try:
            yield
        except (ValueError, TypeError, AttributeError, MalformedContent) as error:
            raise StoreError(
                f"{self.path} is damaged ({error}); put the whole home back from a copy, or ask the bank."
            ) from None

    def _keep(self, database: sqlite3.Connection, kept: KeptHead) -> None:
        head = kept.head
        database.execute(
            "INSERT OR IGNORE INTO heads (log, size, root, message, head) VALUES (?, ?, ?, ?, ?)",
            (head.log, head.size, head.root, kept.message, canonical.encode(head)),
        )
        (root,) = database.execute(
            "SELECT root FROM heads WHERE log = ? AND size = ?", (head.log, head.size)
        ).fetchone()
        if root != head.root:
            raise NotProven(
                f"The bank signed two different logs of size {head.size}. Keep this customer's folder as evidence, and "
                "compare heads with others (`customer verify --head FILE`)."
            )
        database.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (Fact.LOG.value, head.log.encode()))

    def _set(self, database: sqlite3.Connection, name: Fact, value: bytes) -> None:
        database.execute(
            "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name.value, value),
        )
