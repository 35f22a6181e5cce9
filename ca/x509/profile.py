"""A certificate names its OpenPGP key, customer number and role in one way only, and what it names is recomputed.

The subject is OU=role, CN=name, serialNumber=customer number: attributes of X.520 that every tool shows by name.
RFC 3739 gives serialNumber this very use (it tells apart subjects of one name); it is a string, so leading zeros
survive. OU is the group to which the authority assigns the subject. The authority's own subject is
OU=authority, CN=name, serialNumber=fingerprint, so that two authorities never share an issuer name.

The alternative names are URIs (RFC 5280, section 4.2.1.6): ``openpgp4fpr:`` with the fingerprint, and ``tag:`` URIs
(RFC 4151) with role and number, and with the digest of the request. The key's creation time stands in PGP's extension.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID, ObjectIdentifier, SignatureAlgorithmOID

from ca.x509.errors import ProfileError
from keyring import keys
from keyring.certification import NOTATION_DOMAIN, ROLES
from keyring.errors import KeyringError

SIGNATURE_ALGORITHM: Final = SignatureAlgorithmOID.RSA_WITH_SHA256
"""The one that gpg-agent makes here: RSA (PKCS #1 v1.5) and SHA-256."""
CREATION_TIME: Final = ObjectIdentifier("1.3.6.1.4.1.3401.8.1.1")
AUTHORITY: Final = "authority"
KEY_BITS: Final = (keys.SMALLEST_RSA_BITS, max(keys.CA_BITS))
PUBLIC_EXPONENT: Final = 65537

UNREADABLE: Final = (
    *(ValueError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension, x509.ExtensionNotFound),
    *(x509.UnsupportedGeneralNameType, TypeError),
)
"""What `cryptography` raises for bytes that are not as they should be, also late: it parses a field when asked.

A TypeError is what a name raises that has a bit string in the place of a text.
"""

_TAG: Final = f"tag:{NOTATION_DOMAIN},2026:"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME_LIMIT_CHARACTERS: Final = 64  # RFC 5280, appendix A.1, ub-common-name
_LAST_OF_4_BYTES: Final = 2**32 - 1
_FIRST_YEAR_OF_GENERALIZED_TIME: Final = 2050  # RFC 5280, section 4.1.2.5
_RSA: Final = 1  # RFC 4880, section 9.1


@dataclass(frozen=True)
class Holder:
    """Whom a certificate is for: ``role`` is "customer" or "bank", ``number`` the customer number."""

    role: str
    number: str
    name: str

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ProfileError(
                f"The role {self.role[:20]!a} is unknown; a certificate is for a {' or a '.join(ROLES)}."
            )
        try:
            user_id = keys.user_id(self.name, self.number)
        except KeyringError as error:
            raise ProfileError(str(error)) from None
        if user_id != f"{self.name} ({self.number})":
            raise ProfileError("The name is not in Unicode's composed form (NFC); type it again.")

    @property
    def subject(self) -> x509.Name:
        return _name(self.role, self.name, self.number)


@asn1.sequence
class _PgpExtension:
    """PGPExtension: the version, 0 for v1, and the time at which the OpenPGP key was made."""

    version: Annotated[int, asn1.Default(0)]
    created: asn1.UTCTime | asn1.GeneralizedTime


def fingerprint_of(public_key: rsa.RSAPublicKey, created: int) -> str:
    """The OpenPGP v4 fingerprint, 40 upper-case hex, of an RSA key made at ``created``, unix seconds.

    It is the SHA-1 of the public key packet (RFC 4880, sections 5.5.2 and 12.2). Raises ProfileError for a time that
    does not fit in the packet.
    """
    if not 0 <= created <= _LAST_OF_4_BYTES:
        raise ProfileError(f"An OpenPGP key cannot have been made at {created}; give unix seconds.")
    numbers = public_key.public_numbers()
    body = b"\x04" + created.to_bytes(4) + bytes((_RSA,)) + _mpi(numbers.n) + _mpi(numbers.e)
    return hashlib.sha1(b"\x99" + len(body).to_bytes(2) + body, usedforsecurity=False).hexdigest().upper()


def authority_subject(name: str, fingerprint: str) -> x509.Name:
    """The subject of a root, and the issuer of what it issues. Raises ProfileError."""
    if not 0 < len(name) <= _NAME_LIMIT_CHARACTERS or not name.isprintable():
        raise ProfileError(
            f"The authority's name has 1 to {_NAME_LIMIT_CHARACTERS} printable characters; choose another."
        )
    return _name(AUTHORITY, name, fingerprint)


def holder_of(subject: x509.Name) -> Holder:
    """The holder whom a subject names, if it is written exactly as ours are. Raises ProfileError."""
    holder = Holder(*_values(subject))
    if holder.subject != subject:
        raise ProfileError("The subject is not a role, a name and a number; have the certificate issued anew.")
    return holder


def authority_name(subject: x509.Name, fingerprint: str) -> str:
    """The name in an authority's subject, if it is written exactly as ours are. Raises ProfileError."""
    name = _values(subject)[2]
    if authority_subject(name, fingerprint) != subject:
        raise ProfileError("The subject does not name an authority by this fingerprint.")
    return name


def key_names(fingerprint: str) -> x509.SubjectAlternativeName:
    """The alternative name of a request and of a root: the key's fingerprint."""
    return _alternatives(_fingerprint_uri(fingerprint))


def leaf_names(fingerprint: str, holder: Holder, request_digest: str) -> x509.SubjectAlternativeName:
    """The alternative names of a leaf: fingerprint, role and number, and the digest of the confirmed request.

    ``request_digest`` is a SHA-256 in 64 lower-case hex. Raises ProfileError.
    """
    if not _DIGEST.fullmatch(request_digest):
        raise ProfileError("The digest of a request is 64 lower-case hexadecimal digits.")
    return _alternatives(
        _fingerprint_uri(fingerprint), f"{_TAG}{holder.role}:{holder.number}", f"{_TAG}request:{request_digest}"
    )


def request_digest_in(names: x509.SubjectAlternativeName) -> str:
    """The digest of the confirmed request in a leaf's alternative names. Raises ProfileError if there is not one."""
    mark = f"{_TAG}request:"
    found = [str(each.value).removeprefix(mark) for each in names if str(each.value).startswith(mark)]
    if len(found) != 1 or not _DIGEST.fullmatch(found[0]):
        raise ProfileError("The alternative names do not have the digest of one request.")
    return found[0]


def creation_time(created: int) -> x509.UnrecognizedExtension:
    """PGP's extension with the key's creation time, unix seconds."""
    at = utc(created)
    time = asn1.UTCTime(at) if at.year < _FIRST_YEAR_OF_GENERALIZED_TIME else asn1.GeneralizedTime(at)
    return x509.UnrecognizedExtension(CREATION_TIME, asn1.encode_der(_PgpExtension(version=0, created=time)))


def created_in(extensions: x509.Extensions) -> int:
    """The key's creation time, unix seconds, from PGP's extension. Raises ProfileError if it is not ours."""
    try:
        found = extensions.get_extension_for_oid(CREATION_TIME)
    except x509.ExtensionNotFound:
        raise ProfileError(f"The key's creation time (extension {CREATION_TIME.dotted_string}) is missing.") from None
    if not isinstance(found.value, x509.UnrecognizedExtension):
        raise ProfileError("The key's creation time is in an extension of another kind.")
    try:
        created = round(asn1.decode_der(_PgpExtension, found.value.value).created.as_datetime().timestamp())
    except ValueError:
        raise ProfileError("The key's creation time is not readable.") from None
    # One way to write each time, so also version 1 and nothing else.
    if created < 0 or found.critical or found.value != creation_time(created):
        raise ProfileError("The key's creation time is not written as it must be.")
    return created


def suitable_key(public_key: object) -> rsa.RSAPublicKey:
    """``public_key`` itself, if it is RSA of 3072 to 4096 bits with the exponent 65537. Raises ProfileError."""
    smallest, largest = KEY_BITS
    if not isinstance(public_key, rsa.RSAPublicKey) or not smallest <= public_key.key_size <= largest:
        raise ProfileError(f"The key must be RSA of {smallest} to {largest} bits; make another.")
    if public_key.public_numbers().e != PUBLIC_EXPONENT:
        raise ProfileError(f"The RSA key's exponent must be {PUBLIC_EXPONENT}; make another key.")
    return public_key


def utc(seconds: int) -> datetime:
    """Unix seconds as the builders of `cryptography` take them."""
    return datetime.fromtimestamp(seconds, UTC)


def unix(moment: datetime | None) -> int:
    """The unix seconds of a moment in UTC. Raises ProfileError where there is none."""
    if moment is None:
        raise ProfileError("A time is missing.")
    return round(moment.timestamp())


def _name(unit: str, name: str, number: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, number),
        ]
    )


def _values(subject: x509.Name) -> tuple[str, str, str]:
    """Role, number and name as they stand there, to be compared with a subject made from them."""
    values = []
    for attribute in (NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.SERIAL_NUMBER, NameOID.COMMON_NAME):
        found = subject.get_attributes_for_oid(attribute)
        if len(found) != 1 or not isinstance(found[0].value, str):
            raise ProfileError("The subject does not have a role, a name and a number, one of each.")
        values.append(found[0].value)
    role, number, name = values
    return role, number, name


def _fingerprint_uri(fingerprint: str) -> str:
    try:
        return f"openpgp4fpr:{keys.checked_fingerprint(fingerprint)}"
    except KeyringError as error:
        raise ProfileError(str(error)) from None


def _alternatives(*uris: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])


def _mpi(number: int) -> bytes:
    """A multiprecision integer (RFC 4880, section 3.2)."""
    bits = number.bit_length()
    return bits.to_bytes(2) + number.to_bytes((bits + 7) // 8)
