"""A certificate counts only if path validation, the pinned fingerprint, its holder and the revocation list all agree.

The path is validated by `cryptography` (RFC 5280, section 6); this module adds what no path validation knows, and, once
that has refused, finds out why. What finds out why accepts nothing.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import verification
from cryptography.x509.oid import ExtensionOID

from ca.x509.crl import RevocationList, open_crl
from ca.x509.errors import CertificateRefused, ProfileError
from ca.x509.leaf import leaf_extensions, purpose_of
from ca.x509.profile import (
    SIGNATURE_ALGORITHM,
    Holder,
    created_in,
    fingerprint_of,
    holder_of,
    leaf_names,
    request_digest_in,
    suitable_key,
    unix,
    utc,
)
from ca.x509.root import Root, is_signed_by, load_certificate, open_root
from protocol.orders import format_time

ExtensionT = TypeVar("ExtensionT", bound=x509.ExtensionType)
_STRONG_DIGESTS: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


@dataclass(frozen=True)
class JudgedCertificate:
    """A certificate that was found good; keep it for a session and ask it anew for every order.

    ``not_before`` and ``not_after`` are unix seconds, both inclusive. ``digest`` is the SHA-256 of the DER,
    ``request_digest`` that of the confirmed request, both 64 lower-case hex. ``crl_number`` is that of the list by
    which it was judged, for the caller to remember if it is the highest; None if it was judged without one.
    """

    holder: Holder
    fingerprint: str
    serial: int
    not_before: int
    not_after: int
    digest: str
    request_digest: str
    crl_number: int | None

    def require_good(self, at: int, crl: RevocationList) -> None:
        """Raises CertificateRefused unless the certificate counts at ``at`` too, by the newest list: per order."""
        _require_dates(self.not_before, self.not_after, at)
        crl.require_current(at)
        crl.require_not_revoked(self.serial)


def judge(
    certificate_der: bytes,
    *,
    root_der: bytes,
    crl_der: bytes | None,
    ca_fingerprint: str,
    role: str,
    number: str,
    fingerprint: str,
    at: int,
    highest_crl_number: int = 0,
) -> JudgedCertificate:
    """The certificate, if it is that of the OpenPGP key ``fingerprint`` for ``number`` in ``role`` at ``at``.

    ``ca_fingerprint`` is the pinned one; ``at`` is in unix seconds; ``highest_crl_number`` is that of the newest list
    ever seen, 0 for none. ``crl_der`` is None only where revocation is judged elsewhere, and never once a list was
    seen. Raises CertificateRefused, with rule and reason, and ProfileError for a role that does not exist.
    """
    root = open_root(root_der, ca_fingerprint)
    judged = judge_leaf(certificate_der, root=root, role=role, number=number, fingerprint=fingerprint, at=at)
    if crl_der is None:
        if highest_crl_number:
            raise CertificateRefused(
                "crl-present",
                f"The revocation list is missing, and list {highest_crl_number} was seen before; fetch it.",
            )
        return judged
    crl = open_crl(crl_der, root, highest_seen=highest_crl_number)
    judged.require_good(at, crl)
    return replace(judged, crl_number=crl.number)


def judge_leaf(
    certificate_der: bytes, *, root: Root, role: str, number: str, fingerprint: str, at: int
) -> JudgedCertificate:
    """As :func:`judge`, with a root that is open already, and before any revocation list is looked at."""
    if not certificate_der:
        raise CertificateRefused(
            "certificate-present", "The certificate is missing; fetch it from the authority's desk."
        )
    try:
        leaf = load_certificate(certificate_der)
    except ProfileError:
        raise CertificateRefused(
            "certificate-readable", "This is not one X.509 certificate (DER); fetch it again from the authority's desk."
        ) from None
    _require_path(leaf, root, role, at)
    try:
        holder, created = _require_profile(leaf, root, role)
    except (ProfileError, x509.ExtensionNotFound) as error:
        raise CertificateRefused(
            "profile", f"The certificate is not made as the authority makes them: {error} Have it issued anew."
        ) from None
    _require_key(leaf, holder, created, fingerprint)
    _require_holder(holder, role, number)
    return JudgedCertificate(
        holder=holder,
        fingerprint=fingerprint,
        serial=leaf.serial_number,
        not_before=unix(leaf.not_valid_before_utc),
        not_after=unix(leaf.not_valid_after_utc),
        digest=hashlib.sha256(certificate_der).hexdigest(),
        request_digest=request_digest_in(_names(leaf)),
        crl_number=None,
    )


def _require_path(leaf: x509.Certificate, root: Root, role: str, at: int) -> None:
    purpose = purpose_of(role)

    def require_purpose(
        policy: verification.Policy, certificate: x509.Certificate, usage: x509.ExtendedKeyUsage
    ) -> None:
        if list(usage) != [purpose]:
            raise ValueError("for another purpose")

    # The library's own rule would ask every leaf for clientAuth, which the bank's does not have.
    policy = verification.ExtensionPolicy.webpki_defaults_ee().require_present(
        x509.ExtendedKeyUsage, verification.Criticality.NON_CRITICAL, require_purpose
    )
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store([root.certificate]))
        .time(utc(at))
        .max_chain_depth(0)  # nothing between root and leaf, and below nothing is handed in
        .extension_policies(ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(), ee_policy=policy)
        .build_client_verifier()
    )
    try:
        verifier.verify(leaf, [])
    except verification.VerificationError as error:
        for why in _REASONS:
            why(leaf, root, role, at)
        raise CertificateRefused(
            "path", f"The certificate does not stand validation ({error}); fetch it again."
        ) from None


def _not_self_signed(leaf: x509.Certificate, root: Root, role: str, at: int) -> None:
    if leaf.issuer == leaf.subject and leaf != root.certificate:
        raise CertificateRefused(
            "not-self-signed",
            "The certificate is issued by its own holder; only the authority in the letter issues certificates.",
        )


def _strong_digest(leaf: x509.Certificate, root: Root, role: str, at: int) -> None:
    if not isinstance(leaf.signature_hash_algorithm, _STRONG_DIGESTS):
        raise CertificateRefused("strong-digest", "The certificate is signed with a weak digest; have it issued anew.")


def _issued_by_the_authority(leaf: x509.Certificate, root: Root, role: str, at: int) -> None:
    if leaf.issuer != root.certificate.subject or not is_signed_by(leaf, root.public_key):
        raise CertificateRefused(
            "issued-by-the-authority",
            f"The certificate is not issued by the authority {root.fingerprint} itself; fetch it from its desk.",
        )


def _valid_dates(leaf: x509.Certificate, root: Root, role: str, at: int) -> None:
    _require_dates(unix(leaf.not_valid_before_utc), unix(leaf.not_valid_after_utc), at)
    if not root.not_before <= at <= root.not_after:
        raise CertificateRefused(
            "root-valid",
            f"The authority's certificate is good from {format_time(root.not_before)} to {format_time(root.not_after)}"
            " only; the authority must make a new one for its key, then fetch it.",
        )


def _end_entity(leaf: x509.Certificate, root: Root, role: str, at: int) -> None:
    found = _value(leaf, x509.BasicConstraints)
    if found is not None and found.ca:
        raise CertificateRefused("end-entity", "The certificate is an authority's; a party needs one of its own.")


def _purpose(leaf: x509.Certificate, root: Root, role: str, at: int) -> None:
    found = _value(leaf, x509.ExtendedKeyUsage)
    if found is None or list(found) != [purpose_of(role)]:
        raise CertificateRefused("purpose", f"The certificate is not for a {role}; use the one that was issued for it.")


_REASONS: tuple[Callable[[x509.Certificate, Root, str, int], None], ...] = (
    _not_self_signed,
    _strong_digest,
    _issued_by_the_authority,
    _valid_dates,
    _end_entity,
    _purpose,
)


def _require_dates(not_before: int, not_after: int, at: int) -> None:
    if at < not_before:
        raise CertificateRefused(
            "already-valid",
            f"The certificate counts from {format_time(not_before)} on; compare this machine's clock with the other's.",
        )
    if at > not_after:
        raise CertificateRefused(
            "not-expired", f"The certificate ended on {format_time(not_after)}; have it renewed, then fetch it."
        )


def _require_profile(leaf: x509.Certificate, root: Root, role: str) -> tuple[Holder, int]:
    """The holder and the key's creation time, if all but the names is as make_leaf makes it."""
    if leaf.signature_algorithm_oid != SIGNATURE_ALGORITHM:
        raise ProfileError("It is not signed with RSA and SHA-256.")
    public_key, holder, created = suitable_key(leaf.public_key()), holder_of(leaf.subject), created_in(leaf.extensions)
    found = [(each.value, each.critical) for each in leaf.extensions]
    # The names are judged apart, each by a rule of its own; where the list is published may be said or not.
    if found and leaf.extensions[-1].oid == ExtensionOID.CRL_DISTRIBUTION_POINTS and not leaf.extensions[-1].critical:
        found.pop()
    if found != list(leaf_extensions(root, public_key, role, _names(leaf), created)):
        raise ProfileError("It has other extensions.")
    return holder, created


def _require_key(leaf: x509.Certificate, holder: Holder, created: int, fingerprint: str) -> None:
    recomputed = fingerprint_of(suitable_key(leaf.public_key()), created)
    names = _names(leaf)
    try:
        said = leaf_names(recomputed, holder, request_digest_in(names))
    except ProfileError as error:
        raise CertificateRefused(
            "profile", f"The certificate is not made as the authority makes them: {error}"
        ) from None
    if next(iter(names), None) != next(iter(said)):
        raise CertificateRefused(
            "fingerprint", f"The certificate names another OpenPGP key than its own, {recomputed}; have it issued anew."
        )
    if names != said:
        raise CertificateRefused(
            "one-meaning",
            "The certificate names one number and role in its subject and others beside; ask the authority.",
        )
    if recomputed != fingerprint:
        raise CertificateRefused(
            "same-key",
            f"The certificate is for the key {recomputed}, not for {fingerprint}; fetch the one for this key.",
        )


def _require_holder(holder: Holder, role: str, number: str) -> None:
    if holder.role != role:
        raise CertificateRefused("role", f"The certificate is for a {holder.role}, not for a {role}; use that party's.")
    if holder.number != number:
        raise CertificateRefused(
            "number", f"The certificate is for the number {holder.number}, not for {number}; use that number's."
        )


def _names(leaf: x509.Certificate) -> x509.SubjectAlternativeName:
    return leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def _value(leaf: x509.Certificate, kind: type[ExtensionT]) -> ExtensionT | None:
    try:
        return leaf.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
