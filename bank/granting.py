"""A grant gives one new server what it needs to serve, sealed to the key that it made, and never the primary key.

It is an OpenPGP message to that server's key; in it lies one that the bank's primary key has signed, which names who it
is for: so that a grant cannot be opened by another, made by another, or passed on as if it were for another.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from bank.config import BankConfig
from bank.errors import ConfigurationError, GrantRefused
from bank.heads import FILE_NAME as NEWEST_HEAD
from bank.heads import newest_head, require_continuation
from bank.home import BankHome
from bank.log import Log
from bank.places import Database, without_password
from keyring import keys, messages
from keyring.errors import EngineError, KeyringError
from keyring.home import Home
from keyring.subkeys import export_subkeys
from protocol import canonical
from protocol.orders import Fingerprint

REQUEST_LIMIT_BYTES: Final = keys.KEY_LIMIT_BYTES
PUBLIC_FILES: Final = ("certificate.pgp", "certificate.crt", "authority.pgp", "authority.crt")
GRANTED_FILES: Final = (*PUBLIC_FILES, NEWEST_HEAD)
"""What the new server is given beside keys and settings, as far as it is there; `bank fetch` brings newer ones. The
head is what its ledger must contain from the first moment on."""


class ServerKeys(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="server-keys"):
    """What the bank's primary key signs. ``recipient`` is the key that the new server made for this.

    ``files`` are public ones by name, ``settings`` what bank.toml holds but for a password of the ledger's database,
    ``subkeys`` gpg's export of secret subkeys.
    """

    bank: Fingerprint
    files: Mapping[str, bytes]
    recipient: Fingerprint
    settings: BankConfig
    subkeys: bytes
    version: Literal[1] = 1

    def __repr__(self) -> str:
        return "ServerKeys(…)"


class ServerGrant(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="server-grant"):
    """What is sealed to the new server: the bank's public key, and the message with the rest that it has signed."""

    key: bytes
    signed: bytes
    version: Literal[1] = 1

    def __repr__(self) -> str:
        return "ServerGrant(…)"


def make_grant(bank: BankHome, request: Path, fingerprint: str, scratch: Path) -> bytes:
    """The grant for the server whose request is in a file, and whose fingerprint was read out there.

    ``scratch`` is a private folder. GrantRefused if the request is another's or none, ConfigurationError where no
    server can be added.
    """
    bank.require_primary("bank add-server")
    key = _requested(request, fingerprint)
    place = _place(bank)
    home = Home.create(scratch / "request", own_keys=False)
    try:
        keys.import_key(home, key, expected_fingerprint=fingerprint)
    except EngineError:
        raise  # trouble of ours, not the request's
    except KeyringError as error:
        raise GrantRefused(f"The request {request} cannot be used: {error}") from None
    files = {name: (bank.path / name).read_bytes() for name in PUBLIC_FILES if (bank.path / name).exists()}
    if head := _newest_head(bank):
        files[NEWEST_HEAD] = head
    content = ServerKeys(
        bank=bank.config.fingerprint,
        files=files,
        recipient=fingerprint,
        settings=msgspec.structs.replace(bank.config, ledger=without_password(place.url)),
        subkeys=export_subkeys(bank.gnupg, bank.config.fingerprint).reveal(),
    )
    public = keys.export_minimal(bank.gnupg, bank.config.fingerprint)
    signed = messages.sign(bank.gnupg, bank.config.fingerprint, canonical.encode(content))
    return messages.seal(home, fingerprint, canonical.encode(ServerGrant(key=public, signed=signed)))


def _place(bank: BankHome) -> Database:
    """The database with the ledger, which the new server reaches, too."""
    place = bank.ledger_place
    if not isinstance(place, Database):
        raise ConfigurationError(
            f"The ledger is the file {place}, which no other machine can reach. Move it first, with `bank "
            "migrate-ledger --to postgresql://…`; then add the server."
        )
    return place


def _newest_head(bank: BankHome) -> bytes | None:
    """The newest head that the bank is known to have signed; the ledger is known to hold what it covers."""
    with bank.open_ledger() as ledger:
        with ledger.reading() as connection:
            stored = newest_head(connection)
        require_continuation(ledger, Log(ledger), stored, bank.verify)
        return stored.message if stored else None


def _requested(request: Path, fingerprint: str) -> bytes:
    """The key in the file, if it is the one whose fingerprint was typed."""
    try:
        with request.open("rb") as file:
            key = file.read(REQUEST_LIMIT_BYTES + 1)
    except OSError as error:
        raise GrantRefused(f"The request {request} cannot be read: {error.strerror}.") from None
    try:
        found = keys.public_key_fingerprint(key)
    except KeyringError as error:
        raise GrantRefused(
            f"{request} is not a server's request ({error}); it is the file that `bank join --out` writes."
        ) from None
    if found != keys.checked_fingerprint(fingerprint):
        raise GrantRefused(
            f"What was typed is not the fingerprint of the key in {request}. Have it read out anew, on the machine "
            "where `bank join` was run; if it still differs, the file comes from somebody else, and nothing is granted."
        )
    return key
