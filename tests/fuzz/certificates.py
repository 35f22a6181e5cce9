"""X.509 bytes: what is accepted is what was issued, to the byte, and properly signed nonsense is refused by its rule.

Each input is tried as it stands, and once more as the content of a structure that the right key has signed: so also the
rules behind the signature see hostile bytes.
"""

from functools import cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ca.bridge import JudgedCertificate, RevocationList, Root, judge_leaf, open_crl, open_request, open_root
from ca.x509.root import load_certificate
from tests.fuzz.cast import AT, Cast, cast_of_fuzzing
from tests.fuzz.properties import attempt

_RSA_WITH_SHA256 = bytes.fromhex("300d06092a864886f70d01010b0500")


def leaf_certificates(data: bytes) -> None:
    """A customer's certificate, under the authority's root."""
    found = attempt(_judged, data)
    if found is not None:
        assert data == _cast().leaf
    for at in (AT, 0, 2**32 - 1):
        found = attempt(_judged, _signed(data, _cast().authority), at=at)
        if found is not None:
            assert found.not_before <= at <= found.not_after
            assert (found.holder.role, found.holder.number) == ("customer", "1001")
            attempt(found.require_good, at, _list())


def root_certificates(data: bytes) -> None:
    """An authority's certificate is the pinned one's, or refused."""
    for der in (data, _signed(data, _cast().authority)):
        found = attempt(open_root, der, _cast().ca_fingerprint)
        if found is not None:
            assert found.fingerprint == _cast().ca_fingerprint
            assert found.name.isprintable()
            attempt(_judged, _cast().leaf, root=found)
    attempt(load_certificate, data)


def revocation_lists(data: bytes) -> None:
    """A list is the authority's, has a number that never sinks, and each certificate once."""
    found = attempt(open_crl, data, _root())
    if found is not None:
        assert data == _cast().crl
    found = attempt(open_crl, _signed(data, _cast().authority), _root(), highest_seen=3)
    if found is not None:
        assert 3 <= found.number < 2**63
        attempt(found.require_current, AT)
        for serial, revocation in found.revoked.items():
            assert revocation.serial == serial
            assert attempt(_unrevoked, found, serial) is None


def signing_requests(data: bytes) -> None:
    """A PKCS#10 request is signed by the very key that it is for, and asks for nothing beside."""
    for der in (data, _signed(data, _cast().alice)):
        found = attempt(
            open_request, der, fingerprint=_cast().fingerprint, role="customer", number="1001", name="Alice"
        )
        if found is not None:
            assert found.fingerprint == _cast().fingerprint
            assert found.public_key.public_numbers() == _cast().alice.public_key().public_numbers()


def _unrevoked(found: RevocationList, serial: int) -> bool:
    found.require_not_revoked(serial)
    return True


def _judged(der: bytes, *, root: Root | None = None, at: int = AT) -> JudgedCertificate:
    return judge_leaf(der, root=root or _root(), role="customer", number="1001", fingerprint=_cast().fingerprint, at=at)


def _signed(content: bytes, key: rsa.RSAPrivateKey) -> bytes:
    """A signed structure (certificate, request or list) with this content, as RFC 5280, section 4.1, frames it."""
    signature = key.sign(content, padding.PKCS1v15(), hashes.SHA256())
    return _der(0x30, content + _RSA_WITH_SHA256 + _der(0x03, b"\0" + signature))


def _der(tag: int, body: bytes) -> bytes:
    if len(body) < 128:
        return bytes((tag, len(body))) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(length))) + length + body


@cache
def _cast() -> Cast:
    return cast_of_fuzzing()


@cache
def _root() -> Root:
    return open_root(_cast().root, _cast().ca_fingerprint)


@cache
def _list() -> RevocationList:
    return open_crl(_cast().crl, _root())
