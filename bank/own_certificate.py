"""A bank whose certificate is revoked opens no session in the stage certified, and says who must do what."""

import threading
from collections.abc import Callable
from typing import Final

from cryptography import x509

from bank.identities import OpeningRefused
from bank.journal import note
from ca.bridge import CertificateRefused, RevocationList
from protocol.codes import Reason

NEW_BANK: Final = (
    "telephone the authority; a revoked key is never certified again, so a bank with a new key begins in another "
    "folder: `bank init --home NEW-FOLDER` (docs/operations.md, section 8)"
)
"""Who acts next, and with which command, once the bank's certificate is revoked."""


def revocation_in(newest: RevocationList, certificate: bytes) -> str | None:
    """The sentence about the bank's certificate (DER) if the list names it, else None."""
    try:
        newest.require_not_revoked(x509.load_der_x509_certificate(certificate).serial_number)
    except CertificateRefused as error:
        return str(error)
    return None


def revocation_told(number: int) -> str:
    """The operator's sentence about the revocation by the list with this number."""
    return f"The authority has revoked this bank's certificate by its revocation list {number}: {NEW_BANK}."


class OwnCertificate:
    """Watches over the bank's certificate while it serves.

    ``certificate`` gives its DER as it lies in the bank's folder now, and ``newest`` the newest revocation list; it may
    raise CertificateRefused.
    """

    def __init__(self, certificate: Callable[[], bytes | None], newest: Callable[[], RevocationList | None]) -> None:
        self._certificate: Final = certificate
        self._newest: Final = newest
        self._lock = threading.Lock()
        self._told = 0

    def revocation(self) -> int | None:
        """The number of the newest list if it names the certificate, else None; the journal says it once a list."""
        try:
            newest = self._newest()
        except CertificateRefused:
            return None  # whoever relies on the list is told so
        certificate = self._certificate()
        if newest is None or certificate is None or revocation_in(newest, certificate) is None:
            return None
        with self._lock:
            known, self._told = self._told, newest.number
        if known != newest.number:
            note("bank-certificate-revoked", level=50, number=newest.number, next=NEW_BANK)
        return newest.number

    def require_unrevoked(self) -> None:
        """Raises OpeningRefused where the certificate is revoked: a customer must not rely on this bank any more."""
        number = self.revocation()
        if number is not None:
            raise OpeningRefused(
                Reason.CA_UNKNOWN,
                f"The authority has revoked this bank's certificate by its revocation list {number}, so it opens no "
                "session in the stage certified and nothing was recorded. Telephone the bank.",
                "stage",
                "bank-not-revoked",
            )
