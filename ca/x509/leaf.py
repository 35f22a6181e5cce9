"""A leaf certificate says of a key exactly what its OpenPGP certification says, and never longer."""

import re
from collections.abc import Mapping

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from ca.errors import IssuingError
from ca.x509.errors import ProfileError
from ca.x509.key import AgentKey
from ca.x509.profile import creation_time, leaf_names, utc
from ca.x509.request import SigningRequest
from ca.x509.root import Root, key_identifier
from keyring import keys
from keyring.certification import Certification

_PURPOSES: Mapping[str, ObjectIdentifier] = {
    "customer": ExtendedKeyUsageOID.CLIENT_AUTH,
    "bank": ExtendedKeyUsageOID.SERVER_AUTH,
}
_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]-]{1,100}/[A-Za-z0-9._~/-]{1,100}")


def make_leaf(
    key: AgentKey,
    root: Root,
    request: SigningRequest,
    certification: Certification,
    *,
    crl_url: str | None,
    serial: int | None = None,
) -> bytes:
    """The certificate, DER, for the key of ``request``, as the authority's OpenPGP ``certification`` of it says.

    ``key`` is the authority's. The certificate begins when the certification does and ends with its last second;
    ``crl_url`` (http or https) is where the revocation list is published. The serial number is random, 159 bits.
    Raises IssuingError if request, certification and root do not go together, and what signing raises.
    """
    _require_agreement(key, root, request, certification)
    builder = (
        x509.CertificateBuilder()
        .subject_name(request.holder.subject)
        .issuer_name(root.certificate.subject)
        .public_key(request.public_key)
        .serial_number(x509.random_serial_number() if serial is None else serial)
        .not_valid_before(utc(certification.created))
        # The last second of X.509 still counts; of OpenPGP, the first that does not count is given.
        .not_valid_after(utc(certification.expires - 1))
    )
    names = leaf_names(request.fingerprint, request.holder, certification.request_digest)
    extensions = leaf_extensions(root, request.public_key, request.holder.role, names, request.created)
    if crl_url is not None:
        extensions += ((_distribution(crl_url), False),)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def purpose_of(role: str) -> ObjectIdentifier:
    """The one extended key usage of a role (RFC 5280, section 4.2.1.12): customers connect, the bank serves.

    Raises ProfileError for any other role.
    """
    if role not in _PURPOSES:
        raise ProfileError(f"The role {role[:20]!a} is unknown; a certificate is for a {' or a '.join(_PURPOSES)}.")
    return _PURPOSES[role]


def leaf_extensions(
    root: Root, public_key: rsa.RSAPublicKey, role: str, names: x509.SubjectAlternativeName, created: int
) -> tuple[tuple[x509.ExtensionType, bool], ...]:
    """What a leaf says, and which of it is critical; where the list is published comes after, where it is."""
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,  # an order is to be held against its debtor
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (usage, True),
        (x509.ExtendedKeyUsage([purpose_of(role)]), False),
        (x509.SubjectKeyIdentifier.from_public_key(public_key), False),
        (key_identifier(root), False),
        (names, False),
        (creation_time(created), False),
    )


def _distribution(url: str) -> x509.CRLDistributionPoints:
    if not _URL.fullmatch(url):
        raise IssuingError(f"{url[:100]!a} is not the address of a revocation list; give an http or https one.")
    where = x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)
    return x509.CRLDistributionPoints([where])


def _require_agreement(key: AgentKey, root: Root, request: SigningRequest, certification: Certification) -> None:
    if key.fingerprint != root.fingerprint or certification.certifier != root.fingerprint:
        raise IssuingError("Key, root certificate and certification are not of one authority; nothing was issued.")
    if request.fingerprint == root.fingerprint:
        raise IssuingError("The authority's own key gets no other certificate than the root; nothing was issued.")
    holder = request.holder
    user_id, certified = keys.user_id(holder.name, holder.number), keys.without_address(certification.user_id)
    if (certification.role, certification.number, certified) != (holder.role, holder.number, user_id):
        raise IssuingError(
            f"The request is not for whom the key {request.fingerprint} is certified; nothing was issued."
        )
    if certification.expires <= certification.created:
        raise IssuingError("The certification ends before it begins; certify the key anew.")
    if not root.not_before <= certification.created <= certification.expires - 1 <= root.not_after:
        raise IssuingError(
            "The certificate would outlive the root certificate; make a new root for the same key first."
        )
