"""Only what was confirmed is certified: the very document, recomputed from its bytes at the moment of signing."""

from collections.abc import Callable
from typing import Final

from cryptography import x509

from ca import bridge, choosing, inventory, lists, revoking, vouching
from ca.authority import Authority, Signing
from ca.ceremony import recorded, told_locked
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
READY: Final = (State.CONFIRMED, State.VOUCHED)
"""How far a request must have come."""

DAY_SECONDS: Final = 86_400
SUPERSEDED: Final = "superseded"
SUCCESSION: Final = "the key that succeeds it"


def issue(
    authority: Authority,
    identifier: str,
    *,
    days: int,
    passphrase: Secret,
    clock: Callable[[], float],
    operator: str = "",
    overlap_days: int = vouching.OVERLAP_DAYS,
) -> Certificate:
    """Certify the key of a confirmed request for ``days`` days, in both forms, and put it out at the desk.

    A request that a key before vouches for needs no confirmation; ``operator`` accepts it, and that key goes on
    counting for ``overlap_days`` days. Issuing again what was issued only puts it out again. Raises IssuingError,
    RequestError, PassphraseError.
    """
    request = choosing.request(authority, identifier, int(clock()), *READY)
    # Held while gpg works, so that two operators cannot give one number to two keys.
    with authority.decisions.exclusive():
        certificate = authority.decisions.certificate(request.digest)
        if certificate is None:
            now = int(clock())
            _require_domain(authority, request, now)
            before = _predecessor(authority, request, now)
            if before is not None:
                _require_overlap(overlap_days)
                _accept(authority, request, before, operator, now)
            confirmation = _confirmed(authority, request)
            succeeds = before.fingerprint if before else ""
            _require_free(authority, request, now, succeeds)
            certificate = _certified(authority, request, confirmation, days, passphrase, now, succeeds=succeeds)
            authority.decisions.add_certificate(certificate)
            if before is not None:
                _end_later(authority, before, overlap_days, passphrase, now)
        _require_not_revoked(certificate, int(clock()))
    if certificate.succeeds:
        revoking.put_out(authority)
        last = inventory.last_of(authority, certificate.succeeds)
        if last is not None:
            authority.desk.put_certificate(last)
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
    newest = authority.decisions.newest_list(now)
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


def require_issuable(authority: Authority, identifier: str, now: int) -> None:
    """Raises what :func:`issue` would raise before it signs, so that no passphrase is asked for in vain."""
    request = choosing.request(authority, identifier, now, *READY)
    certificate = authority.decisions.certificate(request.digest)
    if certificate is not None:
        _require_not_revoked(certificate, now)
    elif _predecessor(authority, request, now) is None:
        _confirmed(authority, request)


def require_renewable(authority: Authority, certificate: Certificate, now: int) -> Certificate:
    """The newest renewal of this certificate, if it can be renewed again; else IssuingError."""
    newest = authority.decisions.certificate(certificate.digest) or certificate
    _require_not_revoked(newest, now)
    for other in authority.decisions.certificates():
        if other.succeeds == newest.fingerprint and other.succeeds:
            raise IssuingError(
                f"The key {newest.fingerprint} is succeeded by {other.fingerprint}, so it is not renewed; renew that"
                f" with `ca renew {other.fingerprint}`."
            )
    if not newest.is_live(now):
        raise IssuingError(
            f"The certificate of the {newest.role} {newest.number} ended on {format_time(newest.expires)}, and only"
            f" one that still counts can be renewed; its owner makes a new request: `{newest.role} request`."
        )
    if newest.issued >= now:
        raise IssuingError("The certificate was issued in this very second; there is nothing to renew yet.")
    return newest


def _require_not_revoked(certificate: Certificate, now: int) -> None:
    if certificate.is_revoked(now):
        raise IssuingError(
            f"The certificate of the {certificate.role} {certificate.number} was revoked on"
            f" {format_time(certificate.ends)}; its owner has to make a new key, and a request for that."
        )


def _confirmed(authority: Authority, request: Request) -> Confirmation:
    confirmation = authority.decisions.confirmation(request.digest)
    if confirmation is None:
        if authority.state(request) is State.LOCKED:
            raise IssuingError(told_locked(request))
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


def _predecessor(authority: Authority, request: Request, now: int) -> Certificate | None:
    """The certificate of the key that vouches for the request; None if the request was confirmed, or has none."""
    if request.vouching is None or authority.decisions.confirmation(request.digest) is not None:
        return None
    return vouching.require_vouched(authority, request, now)


def _accept(authority: Authority, request: Request, before: Certificate, operator: str, now: int) -> None:
    """A vouching stands in the records like a call, and in the certification likewise."""
    content = request.content
    authority.decisions.confirm(
        Confirmation(
            digest=request.digest,
            fingerprint=content.fingerprint,
            number=content.number,
            role=content.role,
            name=content.name,
            operator=recorded(operator, "The operator's name"),
            reached_by=f"{vouching.REACHED} {before.fingerprint}",
            dialled="",
            at=now,
        )
    )


def _require_overlap(overlap_days: int) -> None:
    if not 1 <= overlap_days <= vouching.OVERLAP_DAYS_LIMIT:
        raise IssuingError(
            f"Two keys overlap for 1 to {vouching.OVERLAP_DAYS_LIMIT} days, not {overlap_days}; choose one of these."
        )


def _end_later(authority: Authority, before: Certificate, overlap_days: int, passphrase: Secret, now: int) -> None:
    """The key before ends with the overlap: for stock gpg by a shorter certification, for all by the list of that day.

    An OpenPGP certification gives way to a newer one of the same certifier, so what is handed out from now on ends by
    itself. X.509 has no such rule: what was issued with longer dates is revoked as superseded, from then on.
    """
    own = [each for each in authority.decisions.certificates() if each.fingerprint == before.fingerprint]
    ends, last = vouching.overlap_end(own, overlap_days, now), before
    if ends < before.ends:
        request = open_request(before.request)
        confirmation = _confirmed(authority, request)
        last = _certified(authority, request, confirmation, 1, passphrase, now, renews=before, until=ends)
        authority.decisions.add_certificate(last)
    for each in own:
        if ends < each.ends:
            authority.decisions.revoke(each.serial, at=ends, reason=SUPERSEDED, operator=SUCCESSION, key=last.key)
    with authority.signing(passphrase) as signing:
        lists.issue_list(authority.decisions, signing.key, signing.root, days=lists.DEFAULT_DAYS, at=now)


def _require_domain(authority: Authority, request: Request, now: int) -> None:
    """Asked again here, since nobody is called about a request that a key vouches for."""
    if not authority.has_domain(request, now):
        raise IssuingError(
            f"The request is for an address at {request.content.domain}, and no certified bank has that domain; nothing"
            " was issued."
        )


def _require_free(authority: Authority, request: Request, now: int, succeeds: str) -> None:
    """No live certificate may be contradicted: a number in a role has one key, and a key has one number.

    The key that it ``succeeds`` may go on counting beside it.
    """
    content = request.content
    for other in authority.decisions.certificates():
        if other.fingerprint == content.fingerprint:
            _require_not_revoked(other, now)  # for ever: who may have the private key is not known any more
        if not other.is_live(now) or (succeeds and other.fingerprint == succeeds):
            continue
        until = format_time(other.ends)
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
    succeeds: str = "",
    until: int | None = None,
) -> Certificate:
    """Both forms; all that can be refused is refused before the first of them is signed.

    With ``until`` they end then, and ``days`` does not count. A renewal succeeds the same key as what it ``renews``.
    """
    succeeds = renews.succeeds if renews else succeeds
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
        made = _certification(signing, request, confirmation, days, passphrase, succeeds, begins, until)
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
        succeeds=succeeds,
    )


def _beginning(certificate: Certificate) -> int:
    """The first second of a certificate, which lies before its issue."""
    return int(x509.load_der_x509_certificate(certificate.der).not_valid_before_utc.timestamp())


def _certification(
    signing: Signing,
    request: Request,
    confirmation: Confirmation,
    days: int,
    passphrase: Secret,
    succeeds: str,
    begins: int,
    until: int | None,
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
            **({"succeeds": succeeds} if succeeds else {}),
        },
        certifier=signing.key.fingerprint,
        begins=begins,
        until=until,
    )
    return certification.read_certification(signing.home, confirmation.fingerprint, signing.key.fingerprint)
