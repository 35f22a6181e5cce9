"""A lost or stolen key is given up without its private part, and the authority is told what stops it everywhere."""

from dataclasses import dataclass
from pathlib import Path

from ca.applicant import Desk
from ca.errors import CaError
from customer.errors import CustomerError, NotReady
from customer.home import CustomerHome
from customer.progress import revocation_folder
from customer.store import Fact
from keyring import keys
from keyring.errors import KeyringError
from keyring.revocation import CERTIFICATE_LIMIT_BYTES, revoked_key
from protocol.orders import format_time
from protocol.transport import Address


@dataclass(frozen=True)
class Revoked:
    """The revoked public key in ``file``, made with the revocation certificate ``certificate``.

    ``not_handed_in`` is the sentence why the authority's desk did not take it, "" if it did.
    """

    file: Path
    certificate: Path
    fingerprint: str
    not_handed_in: str


def revoke(home: CustomerHome, certificate: Path | None, out: Path) -> Revoked:
    """Write the own public key, revoked, to ``out``, and hand it in at the desk; only the revocation list stops orders.

    ``certificate`` is by default the one that still lies beside the key. Raises CustomerError or KeyringError.
    """
    source = certificate or revocation_folder(home.folder) / f"{home.key}.rev"
    try:
        with source.open("rb") as file:
            text = file.read(CERTIFICATE_LIMIT_BYTES + 1)
    except OSError as error:
        raise NotReady(
            f"The revocation certificate {source} cannot be read ({error.strerror}); name the file that you moved away "
            "with --certificate. If it is lost, telephone the authority: it can revoke without it."
        ) from None
    revoked = revoked_key(_public_key(home), text, home.key)
    try:
        out.write_bytes(revoked)
    except OSError as error:
        raise CustomerError(f"{out} cannot be written: {error.strerror}.") from None
    not_handed_in = ""
    try:
        authority = Address.parse(home.config.authority.address)
        Desk(authority, timeout_seconds=home.config.limits.answer_seconds).submit_revoked_key(revoked)
    except CaError as error:
        not_handed_in = str(error)
    home.store.set_facts({Fact.GIVEN_UP: format_time(home.world.clock()).encode()})
    return Revoked(out, source, home.key, not_handed_in)


def _public_key(home: CustomerHome) -> bytes:
    """The own public key, also where the GnuPG home is gone."""
    try:
        return keys.export_minimal(home.keys, home.key)
    except KeyringError:
        kept = home.store.fact(Fact.CERTIFIED_KEY)
        if kept is None:
            raise NotReady(
                "The public key is neither in the GnuPG home nor among the certificates here; telephone the authority, "
                "which can revoke without it."
            ) from None
        return kept
