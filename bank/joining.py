"""A new server makes a key of its own, and takes keys and settings only from the bank whose fingerprint was typed."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from bank import config as configuration
from bank.ceremony import replace_file
from bank.errors import ConfigurationError, GrantRefused
from bank.granting import GRANTED_FILES, ServerGrant, ServerKeys
from bank.home import BankHome
from bank.places import UNREADABLE, is_url
from keyring import certification, keys, unfinished
from keyring.errors import EngineError, KeyringError
from keyring.home import Home, require_private
from keyring.subkeys import import_subkeys
from keyring.verdict import Rejected, Sealed, SignedByCustomer
from keyring.worker import MESSAGE_LIMIT_BYTES, open_once
from protocol import canonical
from protocol.errors import MalformedContent
from protocol.secret import Secret
from protocol.transport import Address

FOLDER: Final = "joining"
"""Of the key for joining, from `bank join --out` until the grant is taken: afterwards nobody can open the grant."""

USER_ID: Final = ("A new server", "join")


@dataclass(frozen=True)
class Request:
    """The public key that was made for joining, binary, and its fingerprint."""

    fingerprint: str
    key: bytes


def begin(home: Path) -> Request:
    """The request of a new server in an empty folder; repeated it is the same one. ConfigurationError if it is none."""
    _require_no_bank(home)
    joining = home / FOLDER
    if not joining.exists() or (home / unfinished.MARK).exists():
        if not unfinished.is_free(home):
            raise ConfigurationError(f"The folder {home} is not empty; name a new one, so that nothing in it is lost.")
        unfinished.begin(home, (FOLDER,))
        made = Home.create(joining, own_keys=True)
        try:
            keys.new_customer_key(made, keys.user_id(*USER_ID), None)
            unfinished.finish(home)
        finally:
            made.stop()
    own = Home.open(joining)
    try:
        fingerprint = _own_key(own)
        return Request(fingerprint, keys.export_minimal(own, fingerprint))
    finally:
        own.stop()


def take(home: Path, grant: Path, bank_fingerprint: str, **changes: str) -> BankHome:
    """The bank's home on a new server, made of a grant; ``changes`` are settings of this server's own.

    They are addresses, or ``ledger``, a URL; ``bank_fingerprint`` is what was typed. Raises GrantRefused, and makes
    nothing, unless the grant is for this folder and that bank has signed it.
    """
    _require_no_bank(home)
    if not (home / FOLDER).is_dir():
        raise ConfigurationError(f"In {home} no joining has begun; run `bank join --out request.pgp` there first.")
    require_private(home, holds="keys")
    for name, value in changes.items():
        if name != "ledger":
            Address.parse(value)
        elif not is_url(value):
            raise ConfigurationError(UNREADABLE)
    own = Home.open(home / FOLDER)
    try:
        found = _opened(own, grant, bank_fingerprint)
    finally:
        own.stop()
    config = msgspec.structs.replace(found.settings, **changes)
    if (found.settings.fingerprint, config.fingerprint) != (found.bank, found.bank):
        raise GrantRefused("The grant has the settings of another bank than it is from; have it made anew.")
    _put_in_place(home, found, config)
    return BankHome.open(home)


def _require_no_bank(home: Path) -> None:
    if (home / configuration.FILE_NAME).exists():
        raise ConfigurationError(
            f"There is a bank's server in {home} already, and no grant is put over it; name a new folder with --home."
        )


def _own_key(own: Home) -> str:
    """The fingerprint of the key that was made for joining."""
    found = keys.secret_keys(own)
    if len(found) != 1:
        raise ConfigurationError(f"In {own.path.parent} a joining was interrupted; repeat `bank join --out` there.")
    return found[0].fingerprint


def _opened(own: Home, file: Path, bank_fingerprint: str) -> ServerKeys:
    """What the grant holds, once it is known to be for this key and by that bank. Nothing of it is on a disk."""
    try:
        with file.open("rb") as opened:
            message = opened.read(MESSAGE_LIMIT_BYTES + 1)
    except OSError as error:
        raise GrantRefused(f"The grant {file} cannot be read: {error.strerror}.") from None
    mine = _own_key(own)
    sealed = open_once(own, message, Sealed())
    if isinstance(sealed, Rejected):
        raise GrantRefused(
            f"The grant {file} does not open here ({sealed.rule}): {sealed.sentence} It opens only in the folder whose "
            "request it answers, and only as it was made; have one made for the request of this folder."
        )
    try:
        grant = canonical.decode_signed(ServerGrant, sealed.content)
        found = canonical.decode_signed(ServerKeys, _verified(grant, file, bank_fingerprint))
    except MalformedContent as error:
        raise GrantRefused(f"{file} is not a grant of this version: {error} Use one version on all servers.") from None
    if found.recipient != mine:
        raise GrantRefused(f"The grant {file} was made for another server and passed on; have one made for this one.")
    return found


def _verified(grant: ServerGrant, file: Path, bank_fingerprint: str) -> bytes:
    """What the bank's primary key itself has signed."""
    try:
        keys.public_key_fingerprint(grant.key, bank_fingerprint)
    except KeyringError:
        raise GrantRefused(
            f"The grant {file} is not from the bank whose fingerprint was typed. Have that read out anew, by `bank "
            "fingerprint` on the machine with its primary key; if it still differs, use nothing of this file."
        ) from None
    with tempfile.TemporaryDirectory(prefix="cs-") as folder:
        try:
            home = certification.registered_home(
                Path(folder) / "bank", key=grant.key, expected_fingerprint=bank_fingerprint
            )
        except EngineError:
            raise  # trouble of ours, not the grant's
        except KeyringError as error:
            raise GrantRefused(f"The bank's key in the grant {file} cannot be used: {error}") from None
        # What is asked is what is asked of a customer: the primary key itself, and no subkey, has signed.
        opened = open_once(home, grant.signed, SignedByCustomer(bank_fingerprint, certified=False))
    if isinstance(opened, Rejected):
        raise GrantRefused(f"The bank's signature on the grant {file} does not count: {opened.sentence}")
    return opened.content


def _put_in_place(home: Path, found: ServerKeys, config: configuration.BankConfig) -> None:
    """Keys and files, then bank.toml, which makes it a bank's home; interrupted before that, it is begun anew."""
    unfinished.begin(home, ("gnupg", *GRANTED_FILES))
    gnupg = Home.create(home / "gnupg", own_keys=True)
    try:
        import_subkeys(gnupg, Secret(found.subkeys), expected_fingerprint=found.bank)
    finally:
        gnupg.stop()
    for name in GRANTED_FILES:
        if name in found.files:
            replace_file(home / name, found.files[name])
    configuration.save(home, config)
    unfinished.finish(home)
    shutil.rmtree(home / FOLDER)
