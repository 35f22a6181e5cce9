"""The newest revocation list decides; an older one, a late one or one of another authority decides nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import CRLEntryExtensionOID

from ca.errors import IssuingError
from ca.x509.errors import CertificateRefused, ProfileError
from ca.x509.key import AgentKey
from ca.x509.profile import SIGNATURE_ALGORITHM, UNREADABLE, unix, utc
from ca.x509.root import Root, key_identifier
from protocol.limits import CLOCK_TOLERANCE_SECONDS
from protocol.orders import format_time

CRL_LIMIT_BYTES: Final = 4 * 1024 * 1024
NUMBER_LIMIT: Final = 2**63 - 1  # fits the databases; RFC 5280, section 5.2.3, would allow 20 octets
REASONS: Final = (
    x509.ReasonFlags.unspecified,
    x509.ReasonFlags.key_compromise,
    x509.ReasonFlags.affiliation_changed,
    x509.ReasonFlags.superseded,
    x509.ReasonFlags.cessation_of_operation,
    x509.ReasonFlags.privilege_withdrawn,
)
"""Why a leaf may be revoked (RFC 5280, section 5.3.1); a hold, which could be lifted again, is not among them."""


@dataclass(frozen=True)
class Revocation:
    """A certificate that no longer counts, since ``at`` (unix seconds), for one of REASONS."""

    serial: int
    at: int
    reason: x509.ReasonFlags = x509.ReasonFlags.unspecified


@dataclass(frozen=True)
class RevocationList:
    """A list that the pinned authority signed; remember the highest ``number``, and never take a lower one.

    Times are unix seconds; after ``next_update`` it decides nothing any more. ``revoked`` is by serial number.
    """

    number: int
    this_update: int
    next_update: int
    revoked: Mapping[int, Revocation] = field(repr=False)

    def require_begun(self, at: int) -> None:
        """Raises CertificateRefused for a list whose time has not come at ``at``: whoever took it would take no other.

        The authority signs lists ahead, for its desk to hand out when their time has come.
        """
        # A list is taken within seconds of its making, by machines whose clocks differ.
        if at < self.this_update - CLOCK_TOLERANCE_SECONDS:
            raise CertificateRefused(
                "crl-already-valid",
                f"The revocation list {self.number} is dated {format_time(self.this_update)}, in the future; compare"
                " this machine's clock with the authority's.",
            )

    def require_current(self, at: int) -> None:
        """Raises CertificateRefused unless the list may be relied on at ``at``."""
        self.require_begun(at)
        if at > self.next_update:
            raise CertificateRefused(
                "crl-current",
                f"The revocation list {self.number} ran out on {format_time(self.next_update)}, so nothing can be"
                " relied on; the authority's operator must run `ca crl`, then fetch the new list.",
            )

    def require_not_revoked(self, serial: int) -> None:
        """Raises CertificateRefused if the certificate with this serial number is in the list."""
        found = self.revoked.get(serial)
        if found is not None:
            raise CertificateRefused(
                "not-revoked",
                f"The certificate was revoked on {format_time(found.at)} ({found.reason.value}); its owner has to make"
                " a new key and request a certificate for it.",
            )


def make_crl(
    key: AgentKey, root: Root, *, number: int, at: int, next_update: int, revoked: Iterable[Revocation]
) -> bytes:
    """The revocation list, DER, signed by the authority's ``key`` at ``at``; a new one is due by ``next_update``.

    ``number`` must be higher than that of any list before. ``revoked`` has every revoked certificate that has not
    expired, each once. Raises IssuingError, and what signing raises.
    """
    if key.fingerprint != root.fingerprint:
        raise IssuingError("Key and root certificate are not of one authority; no list was made.")
    if not 0 < number <= NUMBER_LIMIT:
        raise IssuingError(f"A revocation list is numbered from 1, not {number}.")
    if next_update <= at:
        raise IssuingError("A revocation list is good for some time; choose a later next update.")
    seen: set[int] = set()
    entries = []
    for each in revoked:
        if each.serial in seen or each.at > at or each.reason not in REASONS:
            raise IssuingError(f"The revocation of {each.serial:x} is doubled, dated later, or for no known reason.")
        seen.add(each.serial)
        entries.append(_entry(each))
    # All entries at once: added one by one each would copy all before it.
    builder = (
        x509.CertificateRevocationListBuilder(revoked_certificates=entries)
        .issuer_name(root.certificate.subject)
        .last_update(utc(at))
        .next_update(utc(next_update))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(key_identifier(root), critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def open_crl(der: bytes, root: Root, *, highest_seen: int = 0) -> RevocationList:
    """The list, if the authority of ``root`` signed it and none with a higher number was seen before.

    Whether it is current is asked of it apart, since that changes with time. Raises CertificateRefused.
    """
    try:
        if len(der) > CRL_LIMIT_BYTES:
            raise ValueError("too long")
        crl = x509.load_der_x509_crl(der)
        algorithm, issuer, _ = crl.signature_algorithm_oid, crl.issuer, crl.extensions
    except UNREADABLE:
        raise CertificateRefused("crl-readable", "This is not a revocation list (DER); fetch it again.") from None
    if algorithm != SIGNATURE_ALGORITHM:
        raise CertificateRefused(
            "strong-digest", "The revocation list is not signed with RSA and SHA-256; ask the authority."
        )
    if issuer != root.certificate.subject or not crl.is_signature_valid(root.public_key):
        raise CertificateRefused(
            "crl-by-the-authority", "The revocation list is not signed by the authority in the letter; fetch it again."
        )
    try:
        opened = RevocationList(
            _number(crl, root), unix(crl.last_update_utc), unix(crl.next_update_utc), MappingProxyType(_entries(crl))
        )
    except (*UNREADABLE, ProfileError) as error:
        raise CertificateRefused(
            "crl-profile", f"The revocation list is not made as ours are: {error} Ask the authority."
        ) from None
    if opened.number < highest_seen:
        raise CertificateRefused(
            "crl-newest",
            f"The revocation list {opened.number} is older than list {highest_seen}, which was seen before; fetch the"
            " newest from the authority's desk.",
        )
    return opened


def _entry(revocation: Revocation) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(revocation.serial).revocation_date(utc(revocation.at))
    # RFC 5280, section 5.3.1: no reason is said by leaving it out.
    if revocation.reason is not x509.ReasonFlags.unspecified:
        builder = builder.add_extension(x509.CRLReason(revocation.reason), critical=False)
    return builder.build()


def _number(crl: x509.CertificateRevocationList, root: Root) -> int:
    """A list with further extensions could be one of changes only, or of some certificates only."""
    found = {extension.oid: extension.value for extension in crl.extensions}
    number = found.get(x509.CRLNumber.oid)
    if len(found) != 2 or not isinstance(number, x509.CRLNumber):
        raise ProfileError("It must have a number and the authority's key identifier, and nothing else.")
    if found.get(x509.AuthorityKeyIdentifier.oid) != key_identifier(root) or not 0 < number.crl_number <= NUMBER_LIMIT:
        raise ProfileError("Its number or key identifier is not possible.")
    return number.crl_number


def _entries(crl: x509.CertificateRevocationList) -> dict[int, Revocation]:
    entries = {}
    for each in crl:
        reason = x509.ReasonFlags.unspecified
        for extension in each.extensions:
            if extension.oid != CRLEntryExtensionOID.CRL_REASON or not isinstance(extension.value, x509.CRLReason):
                raise ProfileError("An entry says something else than why.")
            reason = extension.value.reason
        if reason is not x509.ReasonFlags.unspecified and reason not in REASONS:
            raise ProfileError("An entry gives no possible reason.")
        entries[each.serial_number] = Revocation(each.serial_number, unix(each.revocation_date_utc), reason)
    if len(entries) != len(crl):
        raise ProfileError("It has a certificate twice.")
    return entries
