"""A backup is put in place only where no ledger is, after every check, and continued only if nothing signed is missing.

Otherwise it takes the operator's word, and a new log begins: whoever holds a head of the old one is told.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from bank import config as configuration
from bank.backup import (
    LEDGER,
    MANIFEST,
    PIECE_BYTES,
    PUBLIC_FILES,
    PUBLIC_KEY,
    SEALED_KEYS,
    BackedUpFile,
    Manifest,
    Progress,
    count,
    digest_of,
    private,
    require_sound,
    sync_folder,
    witness,
)
from bank.beginning import Names, OldHead, begin
from bank.copying import copy_into_database
from bank.errors import BackupError, ConfigurationError, HistoryLost, LedgerError
from bank.heads import FILE_NAME as NEWEST_HEAD
from bank.heads import Heads, head_file, newest_head, require_contained, require_continuation, write_file
from bank.home import BankHome
from bank.letters import NOTICES
from bank.log import Log
from bank.places import UNREADABLE, Database, Place, is_url
from bank.storage import Ledger, require_free
from keyring import keys
from keyring.errors import UnsuitableKey
from keyring.home import Home
from keyring.sealed_keys import import_sealed
from protocol import canonical
from protocol.beginnings import LogBeginning
from protocol.errors import MalformedContent
from protocol.receipts import TreeHead
from protocol.secret import Secret

UNFINISHED: Final = "restore.unfinished"
HEAD_LIMIT_BYTES: Final = 64 * 1024
_NAMES: Final = frozenset({LEDGER, NEWEST_HEAD, PUBLIC_KEY, SEALED_KEYS, *PUBLIC_FILES})
_NOTICE: Final = re.compile(rf"{NOTICES}/[0-9]{{1,16}}\.pgp")


@dataclass(frozen=True)
class Restored:
    """What was put in place; ``beginning`` is there if a new log was begun, and ``keys`` says if keys were restored."""

    manifest: Manifest
    beginning: LogBeginning | None
    keys: bool


def restore(
    source: Path,
    home: Path,
    *,
    heads: Sequence[Path],
    begin_new_log: bool,
    keys_passphrase: Secret | None,
    ledger: str | None = None,
    clock: Callable[[], float],
    random: Callable[[int], bytes],
    progress: Progress,
) -> Restored:
    """Restores a backup into a folder that has no ledger; of other files only those that are missing.

    ``heads`` are files with heads that the bank signed, from the old machine, customers or wherever it published them;
    the one in ``home`` is looked at anyway. Raises HistoryLost if the backup cannot be proved to hold all that they
    cover, unless ``begin_new_log`` is the operator's word; BackupError for whatever else is not right. ``ledger``: the
    URL of an empty database, "" for a file, None for what bank.toml says.
    """
    config = _configuration(source, home, ledger)
    bank = BankHome(home, config)
    place = bank.ledger_place
    _require_no_ledger(home)
    require_free(place)
    with _staging(home) as staging, bank.alone():
        keyed = _with_keys(bank, staging, source, keys_passphrase)
        try:
            manifest = _manifest(keyed, source / MANIFEST)
            for each in manifest.files:
                _fetch(source, staging, each, progress)
            with Ledger.open(staging / LEDGER) as copy:
                _require_listed(keyed, copy, manifest, progress)
                known = [_read_head(keyed, path) for path in (*_kept(home), *heads)]
                missing, beginning = _missing(copy, known), None
                if missing and not begin_new_log:
                    raise HistoryLost(f"{missing} {_WORD}")
                if missing:
                    known.append(_read_head(keyed, staging / NEWEST_HEAD))
                    beginning = begun_anew(copy, keyed, _newest(known), clock=clock, random=random)
        finally:
            keyed.gnupg.stop()  # an agent would look for the keys where they were
        if config != configuration.load(staging) and not (home / configuration.FILE_NAME).exists():
            configuration.save(staging, config)
        _put_in_place(staging, home, place, progress)
    return Restored(manifest, beginning, keyed.path == staging)


_WORD: Final = (
    "Nothing was restored. If the newest head lies somewhere else, name its file with --head. If what is missing is "
    "lost, say so with --begin-new-log: customers are told, and their receipts name what was lost."
)


def begin_in_place(bank: BankHome, *, clock: Callable[[], float], random: Callable[[int], bytes]) -> LogBeginning:
    """Begins a new log in a bank's own ledger, which cannot be proved to hold all that was signed.

    BackupError if it can be: then there is nothing to begin anew.
    """
    with bank.alone(), bank.open_ledger() as ledger:
        with ledger.reading() as connection:
            stored = newest_head(connection)
        try:
            require_continuation(ledger, Log(ledger), stored, bank.verify)
        except HistoryLost:
            kept = [_read_head(bank, path) for path in _kept(bank.path)]
            if stored is not None:
                kept.append(OldHead(canonical.decode_signed(TreeHead, stored.content), stored.message))
            return begun_anew(ledger, bank, _newest(kept), clock=clock, random=random)
    raise BackupError(
        f"The ledger of {bank.path} holds all that the bank signed; its log goes on, and no other is begun."
    )


def begun_anew(
    ledger: Ledger, bank: BankHome, old: OldHead, *, clock: Callable[[], float], random: Callable[[int], bytes]
) -> LogBeginning:
    """Begins a new log, and signs its first head as a start after a crash between the two would."""
    write_file(head_file(ledger), old.message)
    made = begin(ledger, old, clock=clock, random=random)
    signer = bank.signer()
    try:
        Heads(ledger, Log(ledger), signer, clock=clock).start(bank.verify)
    finally:
        signer.close()
    return made


def _newest(known: Sequence[OldHead]) -> OldHead:
    return max(known, key=lambda each: (each.head.time, each.head.size))


def _configuration(source: Path, home: Path, ledger: str | None) -> configuration.BankConfig:
    """bank.toml of the backup, if it is of the bank that lives in ``home``, where one does; with that ledger."""
    if not (source / MANIFEST).is_file():
        raise BackupError(f"There is no backup in {source}; name a folder that `bank backup` made.")
    config = configuration.load(source)
    if (home / configuration.FILE_NAME).exists():
        own = configuration.load(home)
        if (own.fingerprint, own.currency) != (config.fingerprint, config.currency):
            raise BackupError(f"The backup in {source} is of another bank than lives in {home}; nothing was restored.")
        if ledger is not None and ledger != own.ledger:
            raise BackupError(f"bank.toml in {home} names another ledger; write into it where the ledger is to lie.")
        return own
    if ledger and not is_url(ledger):
        raise ConfigurationError(UNREADABLE)
    return config if ledger is None else replace(config, ledger=ledger)


def _require_no_ledger(home: Path) -> None:
    there = sorted(each.name for each in home.glob(f"{LEDGER}*") if not each.name.endswith(".lock"))
    if there:
        raise BackupError(
            f"There is a ledger in {home} already ({', '.join(there)}), and none is ever written over. Move these "
            "files to another folder, keep them, and try again."
        )


@contextmanager
def _staging(home: Path) -> Iterator[Path]:
    """A folder inside the home, so that what is ready is put in place by renaming; it goes in the end."""
    folder = home / UNFINISHED
    fresh = not home.exists()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if fresh and not (home / LEDGER).exists():
                shutil.rmtree(home, ignore_errors=True)
    except OSError as error:
        raise BackupError(f"Nothing was restored to {home}: {error.strerror}; make room there.") from None


def _with_keys(bank: BankHome, staging: Path, source: Path, passphrase: Secret | None) -> BankHome:
    """The bank with its private keys: those in its folder, or the sealed ones of the backup, opened in ``staging``."""
    sealed = source / SEALED_KEYS
    if (bank.path / "gnupg").exists():
        keyed = bank
    elif not sealed.is_file():
        raise BackupError(
            f"The bank's private keys are neither in {bank.path / 'gnupg'} nor in this backup. Put the folder gnupg "
            "there from where it is kept, or name a backup that was made with --keys-passphrase-file."
        )
    elif passphrase is None:
        raise BackupError(
            "The bank's private keys are sealed in this backup; name the passphrase's file with --keys-passphrase-file."
        )
    else:
        keyed = BankHome(staging, bank.config)
        gnupg = Home.create(staging / "gnupg", own_keys=True)
        import_sealed(gnupg, sealed.read_bytes(), passphrase, expected_fingerprint=bank.config.fingerprint)
    try:
        keys.secret_key(keyed.gnupg, bank.config.fingerprint)
    except UnsuitableKey:
        raise BackupError(
            f"{keyed.gnupg.path} has no private key {bank.config.fingerprint}, which is this bank's; put the right "
            "folder there."
        ) from None
    return keyed


def _manifest(bank: BankHome, path: Path) -> Manifest:
    content = bank.verify(path.read_bytes())
    if content is None:
        raise BackupError(f"{path} does not bear this bank's signature; nothing was restored. Name another backup.")
    try:
        manifest = canonical.decode_signed(Manifest, content)
    except MalformedContent as error:
        raise BackupError(f"{path} is not the list of a backup: {error}") from None
    names = [each.name for each in manifest.files]
    if manifest.bank != bank.config.fingerprint or LEDGER not in names or NEWEST_HEAD not in names:
        raise BackupError(f"{path} is not the list of a whole backup of this bank; name another backup.")
    return manifest


def _fetch(source: Path, staging: Path, file: BackedUpFile, progress: Progress) -> None:
    """Copies a file of the backup, and checks what has arrived."""
    if file.name not in _NAMES and not _NOTICE.fullmatch(file.name):
        raise BackupError(f"The backup lists a file {file.name!a}, which no backup of this version has; update.")
    target = staging / file.name
    target.parent.mkdir(mode=0o700, exist_ok=True)
    done = 0
    try:
        with (source / file.name).open("rb") as read, open(target, "xb", opener=private) as write:
            while piece := read.read(PIECE_BYTES):
                write.write(piece)
                done += len(piece)
                progress("Copying", done, file.bytes)
            write.flush()
            os.fsync(write.fileno())
    except FileNotFoundError:
        raise BackupError(f"The file {file.name} is missing in {source}; nothing was restored.") from None
    if (done, digest_of(target)) != (file.bytes, file.sha256):
        raise BackupError(f"The file {source / file.name} is not the one that was backed up; nothing was restored.")


def _require_listed(bank: BankHome, ledger: Ledger, manifest: Manifest, progress: Progress) -> None:
    """The ledger is sound, this bank's, and holds what the list says, else BackupError."""
    if (ledger.bank, ledger.currency) != (bank.config.fingerprint, bank.config.currency):
        raise BackupError("The ledger in the backup is another bank's; nothing was restored.")
    with witness(bank) as verify:
        require_sound(ledger, verify, progress)
    counts = count(ledger)
    said = (manifest.entries, manifest.bookings, manifest.accounts, manifest.root)
    if said != (counts.entries, counts.bookings, counts.accounts, Log(ledger).root(counts.entries).hex()):
        raise BackupError("The ledger in the backup holds something else than its list says; nothing was restored.")


def _kept(home: Path) -> tuple[Path, ...]:
    path = home / NEWEST_HEAD
    return (path,) if path.exists() else ()


def _read_head(bank: BankHome, path: Path) -> OldHead:
    try:
        with path.open("rb") as file:
            message = file.read(HEAD_LIMIT_BYTES)
    except OSError as error:
        raise LedgerError(f"The head {path} cannot be read: {error.strerror}.") from None
    content = bank.verify(message)
    try:
        if content is not None:
            return OldHead(canonical.decode_signed(TreeHead, content), message)
    except MalformedContent:
        pass
    raise BackupError(f"{path} is not a head that this bank signed; name another, or move it away.")


def _missing(ledger: Ledger, known: Sequence[OldHead]) -> str:
    """A sentence that says what cannot be proved to be in the ledger; "" if all that is known to be signed is."""
    if not known:
        return "No head from outside the backup is here, so nobody can tell whether the bank signed more entries since."
    with ledger.reading() as connection:
        names = Names(connection, ledger.log)
    log = Log(ledger)
    for each in known:
        if each.head.bank != ledger.bank or names.at(each.head.size) != each.head.log:
            return f"The bank has signed a head of the log {each.head.log}, which the backup does not hold."
        try:
            require_contained(ledger, log, each.head, "the backup")
        except HistoryLost as error:
            return str(error)
    return ""


def _put_in_place(staging: Path, home: Path, place: Place, progress: Progress) -> None:
    """What is missing in the home, by renaming; the ledger last, so that half a restore is seen to be one."""
    (staging / f"{LEDGER}.lock").unlink(missing_ok=True)
    for socket in (staging / "gnupg").glob("S.*"):  # they lead to where the folder was
        socket.unlink()
    for name in ("gnupg", NOTICES, *PUBLIC_FILES):
        if (staging / name).exists() and not (home / name).exists():
            (staging / name).rename(home / name)
    (staging / NEWEST_HEAD).replace(home / NEWEST_HEAD)
    sync_folder(home)
    if isinstance(place, Database):
        with (
            Ledger.open(staging / LEDGER) as copy,
            copy.reading() as source,
            Ledger.unfilled(place) as (ledger, target),
        ):
            copy_into_database(source, target, lambda done, total: progress("Filling the database", done, total))
        ledger.close()
        return
    (staging / LEDGER).rename(home / LEDGER)
    sync_folder(home)
