"""The X.509 form, written from docs/protocol.md alone: a request is made, a certificate is judged."""

import hashlib
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from tests.second_implementation.openpgp import Refused, packets

CREATION_TIME = ObjectIdentifier("1.3.6.1.4.1.3401.8.1.1")
TAG = "tag:countersign.example,2026:"
PURPOSES = {"customer": ExtendedKeyUsageOID.CLIENT_AUTH, "bank": ExtendedKeyUsageOID.SERVER_AUTH}


def private_key(exported: bytes) -> tuple[rsa.RSAPrivateKey, int]:
    """The primary RSA key, unprotected, of `gpg --export-secret-keys`, and when it was made (RFC 4880, 5.5.3)."""
    tag, body = packets(exported)[0]
    if tag != 5 or body[0] != 4 or body[5] != 1:
        raise Refused("not an RSA key of version 4")
    (modulus, exponent), rest = _integers(body[6:], 2)
    if rest[0] != 0:
        raise Refused("the key is under a passphrase")
    (private, p, q, _), _ = _integers(rest[1:], 4)
    public = rsa.RSAPublicNumbers(exponent, modulus)
    dmp1, dmq1, iqmp = rsa.rsa_crt_dmp1(private, p), rsa.rsa_crt_dmq1(private, q), rsa.rsa_crt_iqmp(p, q)
    key = rsa.RSAPrivateNumbers(p, q, private, dmp1, dmq1, iqmp, public).private_key()
    return key, int.from_bytes(body[1:5], "big")


def make_request(exported: bytes, fingerprint: str, name: str, number: str) -> bytes:
    """The PKCS #10 request of a customer, DER."""
    key, created = private_key(exported)
    return (
        x509.CertificateSigningRequestBuilder(_name("customer", name, number))
        .add_extension(_uris(f"openpgp4fpr:{fingerprint}"), critical=False)
        .add_extension(x509.UnrecognizedExtension(CREATION_TIME, creation_time(created)), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )


def open_root(der: bytes, pinned: str) -> x509.Certificate:
    """The authority's root, whose key must have the pinned fingerprint."""
    root = x509.load_der_x509_certificate(der)
    if fingerprint_of(root) != pinned:
        raise Refused("the root of another authority")
    _require_signed(root, root)
    return root


def revoked_serials(der: bytes, root: x509.Certificate, highest: int) -> tuple[int, set[int]]:
    """Number of a revocation list that counts now, not lower than the highest seen, and the serial numbers in it."""
    crl = x509.load_der_x509_crl(der)
    key = root.public_key()
    number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    if not isinstance(key, rsa.RSAPublicKey) or crl.issuer != root.subject or not crl.is_signature_valid(key):
        raise Refused("a revocation list of another authority")
    now = datetime.now(UTC)
    if crl.next_update_utc is None or not crl.last_update_utc <= now <= crl.next_update_utc or number < highest:
        raise Refused("a revocation list that does not count now")
    return number, {each.serial_number for each in crl}


def judge(der: bytes, root: x509.Certificate, fingerprint: str, role: str, number: str, revoked: set[int]) -> None:
    """The certificate is for this key, role and number, by this root, now, and not revoked; else Refused."""
    leaf = x509.load_der_x509_certificate(der)
    _require_signed(leaf, root)
    now = datetime.now(UTC)
    if not all(each.not_valid_before_utc <= now <= each.not_valid_after_utc for each in (leaf, root)):
        raise Refused("the certificate does not count now")
    extensions = leaf.extensions
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    if extensions.get_extension_for_class(x509.BasicConstraints).value.ca or usage.key_cert_sign:
        raise Refused("the certificate is an authority's")
    if list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) != [PURPOSES[role]]:
        raise Refused("the certificate has another purpose")
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    said = [str(name.value) for name in names]
    if len(said) != 3 or said[:2] != [f"openpgp4fpr:{fingerprint}", f"{TAG}{role}:{number}"]:
        raise Refused("the certificate is for another key, role or number")
    name = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    if leaf.subject != _name(role, str(name), number) or fingerprint_of(leaf) != fingerprint:
        raise Refused("the certificate says two different things")
    if leaf.serial_number in revoked:
        raise Refused("the certificate is revoked")


def fingerprint_of(certificate: x509.Certificate) -> str:
    """The OpenPGP fingerprint of the certificate's key (RFC 4880, section 12.2)."""
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise Refused("not an RSA key")
    value = certificate.extensions.get_extension_for_oid(CREATION_TIME).value
    if not isinstance(value, x509.UnrecognizedExtension):
        raise Refused("no time of creation")
    text = value.value[-13:].decode("ascii")
    created = int(datetime.strptime(text, "%y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp())
    if creation_time(created) != value.value:
        raise Refused("no time of creation that we can read")
    numbers = key.public_numbers()
    body = b"\x04" + created.to_bytes(4, "big") + b"\x01" + _mpi(numbers.n) + _mpi(numbers.e)
    return hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body, usedforsecurity=False).hexdigest().upper()


def creation_time(created: int) -> bytes:
    """SEQUENCE { created UTCTime }; the version is the default and left out."""
    time = datetime.fromtimestamp(created, UTC).strftime("%y%m%d%H%M%SZ").encode()
    return b"\x30\x0f\x17\x0d" + time


def _require_signed(certificate: x509.Certificate, root: x509.Certificate) -> None:
    key = root.public_key()
    if not isinstance(key, rsa.RSAPublicKey) or certificate.issuer != root.subject:
        raise Refused("a certificate of another authority")
    try:
        key.verify(certificate.signature, certificate.tbs_certificate_bytes, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        raise Refused("a certificate that the authority did not sign") from None


def _name(role: str, name: str, number: str) -> x509.Name:
    kinds = (NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.COMMON_NAME, NameOID.SERIAL_NUMBER)
    values = zip(kinds, (role, name, number), strict=True)
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in values])


def _uris(*uris: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])


def _mpi(number: int) -> bytes:
    bits = number.bit_length()
    return bits.to_bytes(2, "big") + number.to_bytes((bits + 7) // 8, "big")


def _integers(data: bytes, count: int) -> tuple[list[int], bytes]:
    found = []
    for _ in range(count):
        length = (int.from_bytes(data[:2], "big") + 7) // 8
        found.append(int.from_bytes(data[2 : 2 + length], "big"))
        data = data[2 + length :]
    return found, data
