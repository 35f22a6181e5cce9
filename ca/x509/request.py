"""A PKCS#10 request asks for a certificate for one OpenPGP key, and is signed by that very key."""

import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID, ObjectIdentifier

from ca.errors import RequestError
from ca.x509.errors import ProfileError
from ca.x509.key import AgentKey
from ca.x509.profile import (
    CREATION_TIME,
    SIGNATURE_ALGORITHM,
    UNREADABLE,
    Holder,
    created_in,
    creation_time,
    fingerprint_of,
    holder_of,
    key_names,
    suitable_key,
)

REQUEST_LIMIT_BYTES: Final = 8 * 1024
_EXTENSION_REQUEST: Final = ObjectIdentifier("1.2.840.113549.1.9.14")  # RFC 2985, section 5.4.2
_EXTENSIONS: Final = frozenset({ExtensionOID.SUBJECT_ALTERNATIVE_NAME, CREATION_TIME})


@dataclass(frozen=True)
class SigningRequest:
    """A verified request: the key that signed it, made at ``created`` (unix seconds), and whom it is for.

    ``digest`` is the SHA-256 of the DER, 64 lower-case hex.
    """

    holder: Holder
    public_key: rsa.RSAPublicKey
    created: int
    fingerprint: str
    digest: str


def make_request(key: AgentKey, *, role: str, number: str, name: str) -> bytes:
    """The request for ``key`` as DER (PKCS #10, RFC 2986), signed by it through gpg-agent.

    Raises ProfileError if role, number or name cannot stand in a certificate, and what signing raises.
    """
    builder = (
        x509.CertificateSigningRequestBuilder(Holder(role, number, name).subject)
        .add_extension(key_names(key.fingerprint), critical=False)
        .add_extension(creation_time(key.created), critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def open_request(der: bytes, *, fingerprint: str, role: str, number: str, name: str) -> SigningRequest:
    """The request, its signature verified and every binding recomputed. Raises RequestError.

    ``fingerprint``, ``role``, ``number`` and ``name`` are those of the OpenPGP request that it came with.
    """
    if len(der) > REQUEST_LIMIT_BYTES:
        raise RequestError(f"A signing request has at most {REQUEST_LIMIT_BYTES} bytes; make it anew.")
    try:
        request = x509.load_der_x509_csr(der)
        public_key = suitable_key(request.public_key())
        _require_signed(request)
        _require_form(request)
        created, holder = created_in(request.extensions), holder_of(request.subject)
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        own_names = key_names(fingerprint)
    except ProfileError as error:
        raise RequestError(f"The signing request cannot be taken: {error}") from None
    except UNREADABLE:
        raise RequestError("This is not a signing request of ours (PKCS #10, DER); make it anew.") from None
    if fingerprint_of(public_key, created) != fingerprint:
        raise RequestError(
            f"Key and creation time in the signing request are not those of {fingerprint}; make it anew."
        )
    if names.value != own_names or names.critical:
        raise RequestError(f"The signing request does not name exactly the fingerprint {fingerprint}; make it anew.")
    for field, said, expected in (
        ("role", holder.role, role),
        ("number", holder.number, number),
        ("name", holder.name, name),
    ):
        if said != expected:
            raise RequestError(f"The signing request is for the {field} “{said}”, not “{expected}”; make it anew.")
    return SigningRequest(holder, public_key, created, fingerprint, hashlib.sha256(der).hexdigest())


def _require_signed(request: x509.CertificateSigningRequest) -> None:
    """By its own key, so that nobody has a certificate made for a key that is not theirs."""
    if request.signature_algorithm_oid != SIGNATURE_ALGORITHM:
        raise ProfileError("It is not signed with RSA (PKCS #1 v1.5) and SHA-256.")
    if not request.is_signature_valid:
        raise ProfileError("Its signature is not good.")


def _require_form(request: x509.CertificateSigningRequest) -> None:
    if [attribute.oid for attribute in request.attributes] != [_EXTENSION_REQUEST]:
        raise ProfileError("It has other attributes than a request for extensions.")
    if {extension.oid for extension in request.extensions} != _EXTENSIONS:
        raise ProfileError("It asks for other extensions than the fingerprint and the key's creation time.")
