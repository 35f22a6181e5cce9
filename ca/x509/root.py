"""The root certificate is believed because its key recomputes to the authority's pinned fingerprint."""

from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from ca.errors import IssuingError
from ca.x509.errors import CertificateRefused, ProfileError
from ca.x509.key import AgentKey
from ca.x509.profile import (
    SIGNATURE_ALGORITHM,
    UNREADABLE,
    authority_name,
    authority_subject,
    created_in,
    creation_time,
    fingerprint_of,
    key_names,
    suitable_key,
    unix,
    utc,
)

CERTIFICATE_LIMIT_BYTES: Final = 8 * 1024


@dataclass(frozen=True)
class Root:
    """An authority's certificate that recomputed to the pinned fingerprint; the times are unix seconds, inclusive."""

    fingerprint: str
    name: str
    not_before: int
    not_after: int
    certificate: x509.Certificate = field(repr=False)
    public_key: rsa.RSAPublicKey = field(repr=False)


def make_root(key: AgentKey, *, name: str, not_before: int, not_after: int, serial: int | None = None) -> bytes:
    """The self-signed root certificate of the authority's key, DER; times are unix seconds, ``not_after`` the last.

    It signs certificates and revocation lists, and no authority stands below it (path length 0, RFC 5280, section
    4.2.1.9). The serial number is random, 159 bits. Raises IssuingError, ProfileError, and what signing raises.
    """
    if not_after <= not_before:
        raise IssuingError("A root certificate ends after it begins; choose another end.")
    subject = authority_subject(name, key.fingerprint)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number() if serial is None else serial)
        .not_valid_before(utc(not_before))
        .not_valid_after(utc(not_after))
    )
    for extension, critical in _extensions(key.public_key(), key.fingerprint, key.created):
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def open_root(der: bytes, ca_fingerprint: str) -> Root:
    """The root, if its key and creation time recompute to ``ca_fingerprint`` and it is signed by itself.

    Its dates are judged with what it issued. Raises CertificateRefused.
    """
    try:
        certificate = load_certificate(der)
        public_key = suitable_key(certificate.public_key())
        created = created_in(certificate.extensions)
    except ProfileError:
        raise CertificateRefused(
            "root-readable", "This is not an authority's certificate of ours; fetch it again from the authority's desk."
        ) from None
    fingerprint = fingerprint_of(public_key, created)
    if fingerprint != ca_fingerprint:
        raise CertificateRefused(
            "root-pinned",
            f"The authority's certificate is for the key {fingerprint}, and pinned here is {ca_fingerprint}, from the"
            " letter or as it was typed in. Have the authority's operator read out `ca fingerprint` again. If what is"
            " pinned was mistyped, correct it in bank.toml or customer.toml; if not, this is somebody else's.",
        )
    if not is_signed_by(certificate, public_key):
        raise CertificateRefused("root-signed", "The authority's certificate is not signed by its key; fetch it again.")
    try:
        name = authority_name(certificate.subject, fingerprint)
        if [(each.value, each.critical) for each in certificate.extensions] != list(
            _extensions(public_key, fingerprint, created)
        ):
            raise ProfileError("It has other extensions than a root of ours.")
    except ProfileError as error:
        raise CertificateRefused(
            "root-profile", f"The authority's certificate is not made as ours are: {error} Ask the authority."
        ) from None
    return Root(
        fingerprint,
        name,
        unix(certificate.not_valid_before_utc),
        unix(certificate.not_valid_after_utc),
        certificate,
        public_key,
    )


def load_certificate(der: bytes) -> x509.Certificate:
    """One certificate, every field of which can be read, and nothing after it; ProfileError otherwise."""
    if len(der) > CERTIFICATE_LIMIT_BYTES:
        raise ProfileError(f"A certificate has at most {CERTIFICATE_LIMIT_BYTES} bytes.")
    try:
        read = x509.load_der_x509_certificate(der)
        _ = read.issuer, read.subject, read.public_key(), read.extensions, read.signature_hash_algorithm
        _ = read.not_valid_before_utc, read.not_valid_after_utc
    except UNREADABLE:
        raise ProfileError("This is not one X.509 certificate.") from None
    return read


def is_signed_by(certificate: x509.Certificate, issuer_key: rsa.RSAPublicKey) -> bool:
    """Whether a certificate is signed by this key as ours are, whatever names it bears."""
    if certificate.signature_algorithm_oid != SIGNATURE_ALGORITHM:
        return False
    try:
        issuer_key.verify(certificate.signature, certificate.tbs_certificate_bytes, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def key_identifier(root: Root) -> x509.AuthorityKeyIdentifier:
    """How what the root issues names the root's key."""
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key)


def _extensions(
    public_key: rsa.RSAPublicKey, fingerprint: str, created: int
) -> tuple[tuple[x509.ExtensionType, bool], ...]:
    """What a root says, and which of it is critical."""
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (usage, True),
        (x509.SubjectKeyIdentifier.from_public_key(public_key), False),
        (key_names(fingerprint), False),
        (creation_time(created), False),
    )
