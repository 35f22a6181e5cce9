"""What is revoked is revoked in both forms at once, for ever, and the list that says so is out before anything else."""

from collections.abc import Callable

from ca import given_up, lists
from ca.authority import Authority
from ca.ceremony import recorded
from ca.decisions import Certificate, IssuedList
from ca.errors import RevocationError
from keyring import certification, keys
from keyring.revocation import add_revocation
from protocol.orders import format_time
from protocol.secret import Secret


def revoke(
    authority: Authority,
    certificate: Certificate,
    *,
    reason: str,
    operator: str,
    passphrase: Secret,
    clock: Callable[[], float],
    every_key: bool = False,
) -> IssuedList:
    """Revoke every certificate of this certificate's key that counts, and put key and a new list out at the desk.

    With ``every_key`` those of each key under the same number, too: two count while one takes over from the other.
    ``reason`` is a key of `lists.REASONS`; ``operator`` is recorded. What the owner handed in as revoked is put out
    as that. Raises RevocationError, CeremonyError, PassphraseError; then nothing is revoked.
    """
    if reason not in lists.REASONS:
        raise RevocationError(f"{reason[:40]!a} is no reason to revoke; choose one of: {', '.join(lists.REASONS)}.")
    operator = recorded(operator, "The operator's name")
    with authority.decisions.exclusive(), authority.signing(passphrase) as signing:
        now = int(clock())
        live = require_revocable(authority, certificate, now, every_key=every_key)
        for fingerprint in dict.fromkeys(each.fingerprint for each in live):
            certification.revoke(signing.home, fingerprint, passphrase=passphrase, certifier=signing.key.fingerprint)
            handed_in = given_up.found(authority, fingerprint)
            if handed_in is not None:
                add_revocation(signing.home, handed_in.key)
            key = keys.export(signing.home, fingerprint)
            for each in live:
                if each.fingerprint == fingerprint:
                    authority.decisions.revoke(each.serial, at=now, reason=reason, operator=operator, key=key)
        issued = lists.issue_list(authority.decisions, signing.key, signing.root, days=lists.DEFAULT_DAYS, at=now)
    put_out(authority)
    return issued


def issue_list(authority: Authority, *, days: int, passphrase: Secret, clock: Callable[[], float]) -> IssuedList:
    """A fresh list without a new revocation, put out at the desk. Raises RevocationError, PassphraseError."""
    with authority.decisions.exclusive(), authority.signing(passphrase) as signing:
        issued = lists.issue_list(authority.decisions, signing.key, signing.root, days=days, at=int(clock()))
    put_out(authority)
    return issued


def require_revocable(
    authority: Authority, certificate: Certificate, now: int, *, every_key: bool = False
) -> list[Certificate]:
    """The certificates of this one's key that count at ``now`` (unix seconds); RevocationError if there is none.

    With ``every_key`` those of each key under the same number and role.
    """
    whose = (certificate.number, certificate.role)
    live = [
        each
        for each in authority.decisions.certificates()
        if each.is_live(now)
        and (each.fingerprint == certificate.fingerprint or (every_key and (each.number, each.role) == whose))
    ]
    if not live:
        raise RevocationError(_no_more(certificate))
    return live


def put_out(authority: Authority) -> None:
    """Lay the newest list and the revoked keys at the desk, as they are in the authority's own records."""
    newest = authority.decisions.newest_list()
    if newest is not None:
        later = authority.decisions.later_lists(newest.number)
        authority.desk.put_revocations(newest.crl, [(each.at, each.crl) for each in later])
    for each in authority.decisions.certificates():
        handed_out = authority.desk.certificate(each.fingerprint)
        if each.revoked_at is not None and handed_out and handed_out[0].certificate == each.der:
            authority.desk.put_certificate(each)


def _no_more(certificate: Certificate) -> str:
    whose = f"The certificate of the {certificate.role} {certificate.number}"
    if certificate.revoked_at is not None:
        return f"{whose} is revoked since {format_time(certificate.revoked_at)}; `ca crl` puts the list out again."
    return f"{whose} ended on {format_time(certificate.expires)} by itself; there is nothing to revoke."
