"""Only what was confirmed is certified: the very document, recomputed from its bytes at the moment of signing."""

from collections.abc import Callable

from ca.authority import Authority
from ca.errors import IssuingError
from ca.messages import State
from ca.requests import Request
from ca.store import Certificate, Confirmation
from keyring import certification, keys
from protocol.orders import format_time
from protocol.secret import Secret

DEFAULT_DAYS = 90
DAYS_LIMIT = 825


def issue(
    authority: Authority, identifier: str, *, days: int, passphrase: Secret, clock: Callable[[], float]
) -> Certificate:
    """Certify the key of a confirmed request for ``days`` days and put it out at the desk.

    Issuing again what was issued only puts it out again. Raises IssuingError, RequestError, PassphraseError.
    """
    if not 1 <= days <= DAYS_LIMIT:
        raise IssuingError(f"A certificate lasts 1 to {DAYS_LIMIT} days, not {days}.")
    request = authority.request(identifier)
    # Held while gpg works, so that two operators cannot give one number to two keys.
    with authority.decisions.exclusive():
        certificate = authority.decisions.certificate(request.digest)
        if certificate is None:
            confirmation = _confirmed(authority, request)
            _require_free(authority, request, int(clock()))
            certificate = _certified(authority, request, confirmation, days, passphrase)
            authority.decisions.add_certificate(certificate)
    authority.desk.put_certificate(certificate)
    authority.desk.mark(request.digest, State.ISSUED)
    return certificate


def for_mail(authority: Authority, certificate: Certificate, now: int) -> bytes:
    """The certified key, the authority's and the bank's one after the other, as `gpg --export` would write them."""
    banks = [key for key in authority.bank_keys(now) if key != certificate.key]
    return b"".join((certificate.key, authority.desk.authority(), *banks))


def require_issuable(authority: Authority, identifier: str) -> None:
    """Raises what :func:`issue` would raise before it signs, so that no passphrase is asked for in vain."""
    request = authority.request(identifier)
    if authority.decisions.certificate(request.digest) is None:
        _confirmed(authority, request)


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
        if other.expires <= now:
            continue
        until = format_time(other.expires)
        if (other.number, other.role) == (content.number, content.role) and other.fingerprint != content.fingerprint:
            raise IssuingError(
                f"The {other.role} {other.number} has a certificate for another key until {until}; it has to be revoked"
                " before this one can be issued. Nothing was issued."
            )
        if other.fingerprint == content.fingerprint:
            raise IssuingError(
                f"This key is certified already, for the {other.role} {other.number} until {until}; a new certificate"
                " for it can be issued when that one has expired. Nothing was issued."
            )


def _certified(
    authority: Authority, request: Request, confirmation: Confirmation, days: int, passphrase: Secret
) -> Certificate:
    content, ca_fingerprint = request.content, authority.configuration.fingerprint
    home = authority.home()
    try:
        keys.import_key(home, content.key, expected_fingerprint=confirmation.fingerprint)
        certification.certify(
            home,
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
            certifier=ca_fingerprint,
        )
        made = certification.read_certification(home, confirmation.fingerprint, ca_fingerprint)
        key = keys.export(home, confirmation.fingerprint)
    finally:
        home.stop()  # the agent would remember the passphrase
    return Certificate(
        digest=request.digest,
        number=made.number,
        role=made.role,
        name=content.name,
        fingerprint=confirmation.fingerprint,
        issued=made.created,
        expires=made.expires,
        key=key,
    )
