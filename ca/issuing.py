"""Only what was confirmed is certified: the very document, recomputed from its bytes at the moment of signing."""

from collections.abc import Callable
from typing import Final

from cryptography import x509

from ca import bridge
from ca.authority import Authority, Signing
from ca.decisions import Certificate, Confirmation
from ca.errors import IssuingError
from ca.messages import MailedCertificates, State, encode
from ca.requests import Request, open_request
from keyring import certification, keys
from protocol.limits import CLOCK_TOLERANCE_SECONDS
from protocol.orders import format_time
from protocol.secret import Secret

DEFAULT_DAYS = 90
DAYS_LIMIT = 825
DAY_SECONDS: Final = 86_400


def issue(
    authority: Authority, identifier: str, *, days: int, passphrase: Secret, clock: Callable[[], float]
) -> Certificate:
    """Certify the key of a confirmed request for ``days`` days, in both forms, and put it out at the desk.

    Issuing again what was issued only puts it out again. Raises IssuingError, RequestError, PassphraseError.
    """
    request = authority.request(identifier)
    # Held while gpg works, so that two operators cannot give one number to two keys.
    with authority.decisions.exclusive():
        certificate = authority.decisions.certificate(request.digest)
        if certificate is None:
            confirmation, now = _confirmed(authority, request), int(clock())
            _require_free(authority, request, now)
            certificate = _certified(authority, request, confirmation, days, passphrase, now)
            authority.decisions.add_certificate(certificate)
        _require_not_revoked(certificate)
    authority.desk.put_certificate(certificate)
    authority.desk.mark(request.digest, State.ISSUED)
    return certificate


def renew(
    authority: Authority, certificate: Certificate, *, days: int, passphrase: Secret, clock: Callable[[], float]
) -> Certificate:
    """Certify the same key anew while its certificate counts, on the same confirmed request, and put it out.

    The certificate before stays good until its end. Raises IssuingError, RequestError, PassphraseError.
    """
    with authority.decisions.exclusive():
        now = int(clock())
        newest = require_renewable(authority, certificate, now)
        request = open_request(newest.request)
        confirmation = _confirmed(authority, request)
        renewed = _certified(authority, request, confirmation, days, passphrase, now, renews=newest)
        authority.decisions.add_certificate(renewed)
    authority.desk.put_certificate(renewed)
    return renewed


def for_mail(authority: Authority, certificate: Certificate, now: int) -> bytes:
    """All that the desk would hand out with this certificate, for those who get it by mail (canonical JSON)."""
    newest = authority.decisions.newest_list()
    banks = [each for each in authority.decisions.certificates() if each.role == "bank" and each.is_live(now)]
    bank = max(banks, key=lambda each: each.issued, default=None)
    return encode(
        MailedCertificates(
            authority=authority.public(),
            bank=bank.certified if bank and bank.fingerprint != certificate.fingerprint else None,
            certified=certificate.certified,
            crl=newest.crl if newest else b"",
        )
    )


def require_issuable(authority: Authority, identifier: str) -> None:
    """Raises what :func:`issue` would raise before it signs, so that no passphrase is asked for in vain."""
    request = authority.request(identifier)
    certificate = authority.decisions.certificate(request.digest)
    if certificate is None:
        _confirmed(authority, request)
    else:
        _require_not_revoked(certificate)


def require_renewable(authority: Authority, certificate: Certificate, now: int) -> Certificate:
    """The newest renewal of this certificate, if it can be renewed again; else IssuingError."""
    newest = authority.decisions.certificate(certificate.digest) or certificate
    _require_not_revoked(newest)
    if not newest.is_live(now):
        raise IssuingError(
            f"The certificate of the {newest.role} {newest.number} ended on {format_time(newest.expires)}, and only"
            f" one that still counts can be renewed; its owner makes a new request: `{newest.role} request`."
        )
    if newest.issued >= now:
        raise IssuingError("The certificate was issued in this very second; there is nothing to renew yet.")
    return newest


def _require_not_revoked(certificate: Certificate) -> None:
    if certificate.revoked_at is not None:
        raise IssuingError(
            f"The certificate of the {certificate.role} {certificate.number} was revoked on"
            f" {format_time(certificate.revoked_at)}; its owner has to make a new key, and a request for that."
        )


def _confirmed(authority: Authority, request: Request) -> Confirmation:
    confirmation = authority.decisions.confirmation(request.digest)
    if confirmation is None:
        raise IssuingError(
            f"The request {request.identifier} is not confirmed; confirm it on the telephone first, with `ca confirm"
            f" {request.identifier}`."
        )
    content = request.content
    if (confirmation.fingerprint, confirmation.number, confirmation.role, confirmation.name) != (
        *(content.fingerprint, content.number, content.role, content.name),
    ):
        raise IssuingError(f"The request {request.identifier} is not what was confirmed; nothing was issued.")
    return confirmation


def _require_free(authority: Authority, request: Request, now: int) -> None:
    """No live certificate may be contradicted: a number in a role has one key, and a key has one number."""
    content = request.content
    for other in authority.decisions.certificates():
        if other.fingerprint == content.fingerprint:
            _require_not_revoked(other)  # for ever: who may have the private key is not known any more
        if not other.is_live(now):
            continue
        until = format_time(other.expires)
        if (other.number, other.role) == (content.number, content.role) and other.fingerprint != content.fingerprint:
            raise IssuingError(
                f"The {other.role} {other.number} has a certificate for another key until {until}; it has to be revoked"
                f" before this one can be issued: `ca revoke {other.number} --reason superseded`. Nothing was issued."
            )
        if other.fingerprint == content.fingerprint:
            raise IssuingError(
                f"This key is certified already, for the {other.role} {other.number} until {until}; renew that with"
                f" `ca renew {other.number}`. Nothing was issued."
            )


def _certified(
    authority: Authority,
    request: Request,
    confirmation: Confirmation,
    days: int,
    passphrase: Secret,
    now: int,
    *,
    renews: Certificate | None = None,
) -> Certificate:
    """Both forms; all that can be refused is refused before the first of them is signed."""
    if not 1 <= days <= DAYS_LIMIT:
        raise IssuingError(f"A certificate lasts 1 to {DAYS_LIMIT} days, not {days}; choose a number between.")
    signing_request = request.signing_request()
    with authority.signing(passphrase) as signing:
        if now + (days + 1) * DAY_SECONDS > signing.root.not_after:
            raise IssuingError(
                f"The root certificate ends on {format_time(signing.root.not_after)}, and nothing that it signs may"
                " outlive it; choose fewer --days."
            )
        begins = max(now - CLOCK_TOLERANCE_SECONDS, _beginning(renews) + 1 if renews else 0)
        made = _certification(signing, request, confirmation, days, passphrase, begins)
        der = bridge.make_leaf(
            signing.key, signing.root, signing_request, made, crl_url=authority.configuration.crl_url
        )
        key = keys.export(signing.home, confirmation.fingerprint)
    return Certificate(
        serial=f"{x509.load_der_x509_certificate(der).serial_number:040x}",
        digest=request.digest,
        number=made.number,
        role=made.role,
        name=request.content.name,
        fingerprint=confirmation.fingerprint,
        issued=now,
        expires=made.expires,
        key=key,
        der=der,
        request=request.message,
        renews=renews.serial if renews else "",
    )


def _beginning(certificate: Certificate) -> int:
    """The first second of a certificate, which lies before its issue."""
    return int(x509.load_der_x509_certificate(certificate.der).not_valid_before_utc.timestamp())


def _certification(
    signing: Signing, request: Request, confirmation: Confirmation, days: int, passphrase: Secret, begins: int
) -> certification.Certification:
    """The OpenPGP form, made by gpg and read back."""
    keys.import_key(signing.home, request.content.key, expected_fingerprint=confirmation.fingerprint)
    certification.certify(
        signing.home,
        confirmation.fingerprint,
        request.user_id,
        number=confirmation.number,
        role=confirmation.role,
        request_digest=request.digest,
        days=days,
        passphrase=passphrase,
        notations={
            "confirmed-by": confirmation.operator,
            "confirmed-at": format_time(confirmation.at),
            # How, but not at which number: everyone can read a certificate.
            "reached-by": confirmation.reached_by,
        },
        certifier=signing.key.fingerprint,
        begins=begins,
    )
    return certification.read_certification(signing.home, confirmation.fingerprint, signing.key.fingerprint)
