"""Every state of the log that was acknowledged is signed, and the newest signed head also lies outside the database."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy import Connection, Select, bindparam, exists, insert, select

from bank import schema
from bank.beginning import begun_after
from bank.errors import HistoryLost, LedgerError
from bank.log import Log, size_of_log
from bank.storage import Ledger
from protocol import canonical
from protocol.errors import MalformedContent
from protocol.orders import format_time, parse_time
from protocol.receipts import TreeHead

FILE_NAME: Final = "newest-head.pgp"
"""Beside the database: an OpenPGP message, so that stock gpg shows what the bank signed last."""


class HeadSigner(Protocol):
    """What signs heads; keyring.signature.HeadSigner is one."""

    @property
    def earliest(self) -> int:
        """The earliest time (unix seconds) that a signature can bear."""
        ...

    def sign(self, content: bytes, at: int) -> bytes:
        """The OpenPGP message of ``content``, dated ``at`` (unix seconds)."""
        ...


HeadVerifier = Callable[[bytes], bytes | None]
"""The content of an OpenPGP message if this bank signed it, else None."""


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A head of the log: its size, its canonical bytes, and the OpenPGP message of them."""

    size: int
    content: bytes
    message: bytes

    @property
    def signed_at(self) -> float:
        """Unix seconds, by the clock of that time."""
        return parse_time(canonical.decode_signed(TreeHead, self.content).time, "time").timestamp()


class Heads:
    """Signs heads of one ledger's log and remembers the newest; usable from several threads."""

    def __init__(self, ledger: Ledger, log: Log, signer: HeadSigner, *, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._log = log
        self._signer = signer
        self._clock = clock
        self._lock = threading.Lock()
        self._newest: SignedHead | None = None
        self._stored_size = -1
        self._losses_looked_at = 0

    @property
    def newest(self) -> SignedHead | None:
        """The newest head that this process knows."""
        return self._newest

    def start(self, verify: HeadVerifier) -> None:
        """Checks that the log continues the head outside the database, then sees that its newest state is signed.

        HistoryLost if it does not: entries that were acknowledged are missing, or history was changed.
        """
        with self._ledger.reading() as connection:
            newest = newest_head(connection)
        require_continuation(self._ledger, self._log, newest, verify)
        if newest is not None:
            self._newest, self._stored_size = newest, newest.size
        self.covering(None)
        self.store()

    def covering(self, size: int | None) -> SignedHead:
        """A signed head of at least ``size`` entries; a new one if none is known (None: of the log as it is now).

        A size that the log does not have gets the head of the log as it is. Raises what the signer raises.
        """
        if size is not None and (known := self._known(size)):
            return known
        with self._lock:
            if size is not None and (known := self._known(size)):
                return known
            with self._ledger.reading() as connection:
                current = size_of_log(connection)
            return self._known(current) or self._sign(current)

    def sign(self, size: int) -> SignedHead:
        """The head of the first ``size`` entries, or of more."""
        with self._lock:
            return self._known(size) or self._sign(size)

    def store(self, connection: Connection | None = None) -> None:
        """Stores the newest head if it is not stored yet, in the given write transaction or in one of its own.

        Heads in between are not missed: the newest one proves what they proved.
        """
        newest = self._newest
        if newest is None or newest.size == self._stored_size:
            return
        if connection is None:
            with self._ledger.writing() as connection:
                _insert(connection, newest)
        else:
            _insert(connection, newest)
        self._stored_size = newest.size

    def not_stored(self) -> None:
        """The transaction given to :meth:`store` was rolled back."""
        self._stored_size = -1

    def require_kept(self, size: int) -> None:
        """The log, which has ``size`` entries, still is the one whose newest head this process knows, else HistoryLost.

        Where a connection was lost, another server of the database may answer since, and it may lack what the first
        had acknowledged. What this process remembers of the log is not asked then.
        """
        newest, losses = self._newest, self._ledger.losses
        if newest is None or (losses == self._losses_looked_at and size >= newest.size):
            return
        head = canonical.decode_signed(TreeHead, newest.content)
        advice = " Nothing is posted to it. Look at what became of the database's servers, then run `bank audit`."
        require_contained(self._ledger, Log(self._ledger), head, f"the ledger {self._ledger}", advice)
        self._losses_looked_at = losses

    def _known(self, size: int) -> SignedHead | None:
        """The newest head, if it is of at least ``size`` entries and not from the future.

        A clock that was ahead has dated such a one; nobody whose clock is right accepts it.
        """
        newest = self._newest
        latest = max(self._clock(), self._signer.earliest)
        return newest if newest and newest.size >= size and newest.signed_at <= latest else None

    def _sign(self, size: int) -> SignedHead:
        # Dated by the clock, which may be behind the last booking where it has been set back: a signature is of the
        # moment when it is made, and one from the future would be refused until that has come. A clock behind the key
        # itself is surely wrong.
        self.require_kept(size)
        newest = self._newest
        size = max(size, newest.size if newest else 0)
        at = max(int(self._clock()), self._signer.earliest)
        content = canonical.encode(
            TreeHead(
                bank=self._ledger.bank,
                log=self._ledger.log,
                root=self._log.root(size).hex(),
                size=size,
                time=format_time(at),
            )
        )
        signed = SignedHead(size, content, self._signer.sign(content, at))
        write_file(head_file(self._ledger), signed.message)
        self._newest = signed
        return signed


def newest_head(connection: Connection) -> SignedHead | None:
    """The newest head in the database."""
    row = connection.execute(select(schema.head).order_by(schema.head.c.size.desc()).limit(1)).one_or_none()
    return None if row is None else SignedHead(row.size, row.content, row.message)


def head_file(ledger: Ledger) -> Path:
    """Where the newest head lies outside the database."""
    return ledger.folder / FILE_NAME


def write_file(path: Path, message: bytes) -> None:
    """Replaces the file in one step, durably: after a crash it holds the old head or the new one, whole."""
    # Two servers on one ledger may write at once; then the older head may stay, until the next one is signed.
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_native_id()}")
    try:
        is_new = not path.exists()
        with temporary.open("wb") as file:
            file.write(message)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        if is_new:
            # Later the name is there whatever happens. The first time it must not be lost: the database will know of
            # signed heads, and without the file nobody could tell whether entries are missing.
            _sync_folder(path.parent)
    except OSError as error:
        raise LedgerError(f"The newest head cannot be written to {path}: {error.strerror}; make room there.") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_continuation(ledger: Ledger, log: Log, stored: SignedHead | None, verify: HeadVerifier) -> None:
    """The log contains what the head outside the database covers, byte for byte, else HistoryLost.

    ``stored`` is the newest head in the database: where there is one, there must be one outside.
    """
    path = head_file(ledger)
    advice = (
        "`bank audit` shows what is left. Restore the newest backup with `bank restore`; where no backup holds more, "
        "`bank begin-new-log` continues with what is left."
    )
    try:
        message = path.read_bytes()
    except FileNotFoundError:
        if stored is None or stored.size == 0:
            return
        raise HistoryLost(
            f"The ledger {ledger} has signed heads, but the file {path} with the newest one is missing, so nobody "
            f"can tell whether entries were lost. Put the file back. {advice}"
        ) from None
    except OSError as error:
        raise LedgerError(f"The newest head {path} cannot be read: {error.strerror}.") from error
    content = verify(message)
    if content is None:
        raise HistoryLost(f"The file {path} does not bear this bank's signature. Put the right one back. {advice}")
    try:
        head = canonical.decode_signed(TreeHead, content)
    except MalformedContent as error:
        raise HistoryLost(
            f"The file {path} is not a head of a log: {error} Put the right one back. {advice}"
        ) from error
    if (head.bank, head.log) != (ledger.bank, ledger.log):
        with ledger.reading() as connection:
            # The new log was begun by the operator's word; a crash came before its first head was signed.
            if head.bank == ledger.bank and begun_after(connection, ledger.log, head):
                return
        raise HistoryLost(
            f"The file {path} is a head of another log than that of {ledger}; put the right one back. {advice}"
        )
    require_contained(ledger, log, head, f"the ledger {ledger}", f" Nothing is posted to it. {advice}")


def require_contained(ledger: Ledger, log: Log, head: TreeHead, name: str, advice: str = "") -> None:
    """The ledger has all entries that a head of its log covers, byte for byte, else HistoryLost.

    ``name`` is what the sentence calls the ledger, and ``advice`` ends it.
    """
    with ledger.reading() as connection:
        size = size_of_log(connection)
    if head.size > size:
        raise HistoryLost(
            f"The bank signed a log of {head.size} entries, but {name} has {size}: the last {head.size - size} are "
            f"lost.{advice}"
        )
    if log.root(head.size).hex() != head.root:
        raise HistoryLost(
            f"The first {head.size} entries of {name} are not those that the bank signed: history was changed.{advice}"
        )


def _insert(connection: Connection, head: SignedHead) -> None:
    # Another server on the same ledger may have signed the same size.
    row: Select[*tuple[Any, ...]] = select(bindparam("size"), bindparam("content"), bindparam("message")).where(
        ~exists().where(schema.head.c.size == head.size)
    )
    connection.execute(
        insert(schema.head).from_select(["size", "content", "message"], row),
        {"size": head.size, "content": head.content, "message": head.message},
    )
