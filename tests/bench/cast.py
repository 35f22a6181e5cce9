"""The load generator plays customers whose homes are real: what it needs of them is written down once."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from customer import conversing
from customer.home import CustomerHome
from keyring.keys import export
from protocol.stages import Stage
from tests.bench.orders import SigningKey, signing_key

FILE_NAME = "cast.json"


class Party(msgspec.Struct, frozen=True):
    """A customer: the certified key in both forms, and the private half."""

    number: str
    fingerprint: str
    certificate: bytes
    certificate_digest: str
    certified_key: bytes
    signing: SigningKey


class Cast(msgspec.Struct, frozen=True):
    """Who takes part; ``view`` is a GnuPG home with the bank's key, as a customer has it, and ``bank_key`` that key."""

    bank: str
    view: Path
    bank_key: bytes
    signing_subkeys: tuple[str, ...]
    parties: tuple[Party, ...]


def write_cast(folder: Path, homes: Sequence[Path]) -> Path:
    """The cast of these customers' homes, all below ``folder``, in a file there."""
    with CustomerHome.open(homes[0]) as first:
        view = conversing.view_for(first, Stage.CERTIFIED)
    cast = Cast(
        bank=view.fingerprint,
        view=view.home.path.relative_to(folder),
        bank_key=export(view.home, view.fingerprint),
        signing_subkeys=tuple(sorted(view.signing_subkeys)),
        parties=tuple(_party(home) for home in homes),
    )
    file = folder / FILE_NAME
    file.touch(mode=0o600)
    file.write_bytes(msgspec.json.encode(cast, enc_hook=str))
    return file


def read_cast(file: Path) -> Cast:
    """The cast in a file, wherever its folder was moved to."""
    cast = msgspec.json.decode(file.read_bytes(), type=Cast, dec_hook=lambda kind, value: kind(value))
    return msgspec.structs.replace(cast, view=file.parent / cast.view)


def _party(folder: Path) -> Party:
    with CustomerHome.open(folder) as home:
        offered = conversing.offered(home)
        try:
            return Party(
                number=home.number,
                fingerprint=home.key,
                certificate=offered.certificate,
                certificate_digest=hashlib.sha256(offered.certificate).hexdigest(),
                certified_key=offered.key,
                signing=signing_key(home.keys, home.key),
            )
        finally:
            home.keys.stop()
