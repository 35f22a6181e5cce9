"""A backup is a folder with all that a bank goes on from, checked before it gets its name; its list of files is signed.

Private keys are in it only on request, sealed under a passphrase. What GnuPG and sha256sum can check without this
program stays so: the list is an OpenPGP message, and every file is named in it with its SHA-256.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import func, select

from bank import schema
from bank.audit import audit
from bank.config import FILE_NAME as CONFIGURATION
from bank.config import save as save_configuration
from bank.errors import BackupError, ConfigurationError
from bank.heads import FILE_NAME as NEWEST_HEAD
from bank.heads import HeadVerifier, newest_head, require_continuation
from bank.home import BankHome
from bank.letters import NOTICES
from bank.log import Log
from bank.places import has_password, without_password
from bank.storage import Ledger
from keyring.sealed_keys import export_sealed
from keyring.verdict import Rejected, SignedByBank
from keyring.worker import Worker
from protocol import canonical
from protocol.orders import Digest, Fingerprint, Time, format_time
from protocol.receipts import LogIdentifier, Size, TreeHead
from protocol.secret import Secret

MANIFEST: Final = "manifest.pgp"
LEDGER: Final = "ledger.sqlite"
PUBLIC_KEY: Final = "bank.pgp"
SEALED_KEYS: Final = "keys.pgp"
PUBLIC_FILES: Final = (
    CONFIGURATION,
    "certificate.pgp",
    "certificate.crt",
    "authority.pgp",
    "authority.crt",
    "request.pgp",
)
"""What lies beside the ledger and is needed to go on; none of it is secret, save a password in the ledger's URL."""

PIECE_BYTES: Final = 1024 * 1024

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


class BackedUpFile(Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a backup: its name, in which ``notices/`` may stand before, its length in bytes, its SHA-256."""

    bytes: Size
    name: str
    sha256: Digest


class Manifest(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="backup-manifest"):
    """What a backup holds, the content of a message that the bank signs. ``root`` is that of all ``entries``."""

    accounts: Size
    bank: Fingerprint
    bookings: Size
    created: Time
    currency: str
    entries: Size
    files: tuple[BackedUpFile, ...]
    log: LogIdentifier
    root: Digest
    version: Literal[1] = 1


@dataclass(frozen=True)
class Counts:
    """How much a ledger holds."""

    entries: int
    bookings: int
    accounts: int


def make_backup(
    bank: BankHome, out: Path, *, keys_passphrase: Secret | None, clock: Callable[[], float], progress: Progress
) -> Manifest:
    """Writes a backup of a bank, which may be serving, to the new folder ``out``.

    Raises HistoryLost if the ledger lacks what was signed, BackupError if the copy does not pass every check; then
    nothing is left behind.
    """
    if out.exists():
        raise BackupError(f"There is something at {out} already; name a new folder, so that no backup is written over.")
    signer = bank.signer()
    try:
        with _emerging(out) as folder:
            with bank.open_ledger() as ledger:
                with ledger.reading() as connection:
                    stored = newest_head(connection)
                require_continuation(ledger, Log(ledger), stored, bank.verify)
                ledger.copy_to(folder / LEDGER, lambda done, total: progress("Copying", done, total))
            _copy_public_files(bank, folder)
            if keys_passphrase is not None:
                sealed = export_sealed(bank.gnupg, bank.config.fingerprint, keys_passphrase)
                write_new(folder / SEALED_KEYS, sealed)
            with Ledger.open(folder / LEDGER) as copy:
                head, at = _head(copy, int(clock()))
                write_new(folder / NEWEST_HEAD, signer.sign(canonical.encode(head), at))
                with witness(bank) as verify:
                    require_sound(copy, verify, progress)
                counts = count(copy)
            (folder / f"{LEDGER}.lock").unlink()
            manifest = Manifest(
                accounts=counts.accounts,
                bank=head.bank,
                bookings=counts.bookings,
                created=format_time(at),
                currency=bank.config.currency,
                entries=counts.entries,
                files=tuple(_described(folder, path, progress) for path in _files(folder)),
                log=head.log,
                root=head.root,
            )
            write_new(folder / MANIFEST, signer.sign(canonical.encode(manifest), at))
    finally:
        signer.close()
    return manifest


def require_sound(ledger: Ledger, verify: HeadVerifier, progress: Progress) -> None:
    """Everything that the ledger says follows from its entries and is signed, else BackupError with the first flaw.

    The engine's own check, the log's root, balances (their sum is zero) and every head's signature; the orders'
    signatures are left to `bank audit`.
    """
    found = audit(
        ledger,
        verify_order=lambda _: None,
        verify_head=verify,
        progress=lambda done, total: progress("Checking", done, total),
    )
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise BackupError(
            f"The copy of the ledger does not pass its checks: {found[0].row}: {found[0].sentence}{more}. "
            "Run `bank audit` on the bank that it is of."
        )


def count(ledger: Ledger) -> Counts:
    """How much the ledger holds."""
    entry = schema.entry.c
    with ledger.reading() as connection:
        entries, accounts = (
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (schema.entry, schema.account)
        )
        last = select(entry.booking_count).order_by(entry.leaf.desc()).limit(1)
        bookings = connection.execute(last).scalar() or 0
    return Counts(entries, bookings, accounts)


def digest_of(path: Path, told: Callable[[int], None] = lambda done: None) -> str:
    """SHA-256 of a file, in hex."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
            done += len(piece)
            told(done)
    return digest.hexdigest()


def write_new(path: Path, data: bytes) -> None:
    """A new file of mode 0600, durable."""
    with open(path, "xb", opener=private) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def private(path: str, flags: int) -> int:
    """Opens a file that is closed to others from its first moment on."""
    return os.open(path, flags, 0o600)


def sync_folder(path: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _emerging(out: Path) -> Iterator[Path]:
    """A folder that gets its name when the block has ended well, and is removed otherwise."""
    folder = out.with_name(f"{out.name}.unfinished")
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise BackupError(f"The folder {folder} cannot be made: {error.strerror}; name another with --out.") from None
    try:
        yield folder
        sync_folder(folder)
        folder.rename(out)
        sync_folder(out.parent)
    except OSError as error:
        raise BackupError(f"The backup cannot be written to {out}: {error.strerror}; make room there.") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def witness(bank: BankHome) -> Iterator[HeadVerifier]:
    """Verifies many heads quickly: a gpg process for each would take longer than all else."""
    expected = SignedByBank(bank.config.fingerprint, bank.signing_subkeys, certified=False)
    with Worker(bank.gnupg) as worker:

        def verify(message: bytes) -> bytes | None:
            opened = worker.open(message, expected)
            return None if isinstance(opened, Rejected) else opened.content

        yield verify


def _head(ledger: Ledger, now: int) -> tuple[TreeHead, int]:
    """The head of everything in the copy, and its time: what was committed may always be signed."""
    with ledger.reading() as connection:
        size, booked_at = connection.execute(
            select(func.coalesce(func.max(schema.entry.c.leaf), -1) + 1, func.max(schema.entry.c.booked_at))
        ).one()
    at = max(now, booked_at or 0)
    root = Log(ledger).root(size).hex()
    return TreeHead(bank=ledger.bank, log=ledger.log, root=root, size=size, time=format_time(at)), at


def _copy_public_files(bank: BankHome, folder: Path) -> None:
    write_new(folder / PUBLIC_KEY, bank.public_key())
    for name in PUBLIC_FILES:
        path = bank.path / name
        if name == CONFIGURATION and has_password(bank.config.ledger):
            # Backups are handed around; a password is not.
            save_configuration(folder, replace(bank.config, ledger=without_password(bank.config.ledger)))
        elif path.exists():
            write_new(folder / name, path.read_bytes())
        elif name == CONFIGURATION:
            raise ConfigurationError(f"{path} is missing.")
    for path in sorted((bank.path / NOTICES).glob("*.pgp")):
        (folder / NOTICES).mkdir(mode=0o700, exist_ok=True)
        write_new(folder / NOTICES / path.name, path.read_bytes())


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _described(folder: Path, path: Path, progress: Progress) -> BackedUpFile:
    size = path.stat().st_size
    digest = digest_of(path, lambda done: progress("Hashing", done, size))
    return BackedUpFile(bytes=size, name=path.relative_to(folder).as_posix(), sha256=digest)
