"""A key is declared invalid by the revocation certificate that was made with it; the private key is not needed."""

import tempfile
from pathlib import Path
from typing import Final

from keyring import certification, keys, process
from keyring.errors import UnsuitableKey
from keyring.home import Home

CERTIFICATE_LIMIT_BYTES: Final = 32 * 1024
_ARMOUR: Final = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
_REVOKED: Final = "r"


def require_revoked(key: bytes) -> str:
    """The fingerprint of a public key, binary, that its owner has revoked. Raises PacketError or UnsuitableKey."""
    fingerprint = keys.public_key_fingerprint(key)
    with tempfile.TemporaryDirectory(prefix="cs-") as folder:
        home = Home.create(Path(folder) / "home", own_keys=False)
        process.run(home, "--import-options", "import-minimal", "--import", stdin=key)
        if keys.public_key(home, fingerprint).primary.validity != _REVOKED:
            raise UnsuitableKey(f"The key {fingerprint} is not revoked by its owner; nothing was done.")
    return fingerprint


def add_revocation(home: Home, key: bytes) -> None:
    """Add the owner's revocation in ``key``, which :func:`require_revoked` has passed, to the copy in ``home``."""
    process.run(home, "--import-options", "no-import-clean,no-import-minimal", "--import", stdin=key)


def revoked_key(key: bytes, certificate: bytes, fingerprint: str) -> bytes:
    """The public key ``key``, binary, with the revocation in ``certificate`` in it, made in a scratch home.

    ``certificate`` is what GnuPG wrote to openpgp-revocs.d when it made the key, text around it and all. Raises
    UnsuitableKey if it does not revoke exactly the key with this fingerprint.
    """
    with tempfile.TemporaryDirectory(prefix="cs-") as folder:
        home = certification.registered_home(Path(folder) / "home", key=key, expected_fingerprint=fingerprint)
        if len(certificate) <= CERTIFICATE_LIMIT_BYTES:
            # GnuPG puts a colon before the armour, so that nobody imports the certificate without meaning to.
            process.run(home, "--import", stdin=certificate.replace(b":" + _ARMOUR, _ARMOUR))
        if keys.public_key(home, fingerprint).primary.validity != _REVOKED:
            raise UnsuitableKey(
                f"This is not a revocation certificate of the key {fingerprint}; GnuPG made one as {fingerprint}.rev "
                "when it made the key."
            )
        return keys.export(home, fingerprint)
