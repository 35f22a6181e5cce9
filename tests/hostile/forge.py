"""OpenPGP keys, signatures and messages are built here byte by byte, honest wherever a test does not say otherwise.

The forms are those of RFC 4880 and RFC 9580. Nothing here is taken from the tested code, and no gpg runs.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ONE_PASS, SIGNATURE, LITERAL, KEY, SECRET_KEY, SUBKEY, USER_ID = 4, 2, 11, 6, 5, 14, 13
RSA, EDDSA, ECDH = 1, 22, 18
MD5, SHA1, RIPEMD160, SHA256, SHA384, SHA512, SHA224, SHA3_256 = 1, 2, 3, 8, 9, 10, 11, 12
CERTIFY, SIGN, ENCRYPT, AUTHENTICATE = 0x01, 0x02, 0x0C, 0x20
DAY = 86_400

# Name for hashlib, and what stands before the digest in an RSA signature (RFC 8017, section 9.2, note 1).
DIGESTS = {
    MD5: ("md5", "3020300c06082a864886f70d020505000410"),
    SHA1: ("sha1", "3021300906052b0e03021a05000414"),
    RIPEMD160: ("ripemd160", "3021300906052b2403020105000414"),
    SHA256: ("sha256", "3031300d060960864801650304020105000420"),
    SHA384: ("sha384", "3041300d060960864801650304020205000430"),
    SHA512: ("sha512", "3051300d060960864801650304020305000440"),
    SHA224: ("sha224", "302d300d06096086480165030402040500041c"),
    SHA3_256: ("sha3_256", "3031300d060960864801650304020805000420"),
}


def mpi(number: int) -> bytes:
    return number.bit_length().to_bytes(2) + number.to_bytes((number.bit_length() + 7) // 8)


# Packets and subpackets


def packet(tag: int, body: bytes) -> bytes:
    """A packet with a new-format header of the usual length."""
    return bytes([0xC0 | tag]) + _length(len(body)) + body


def long_packet(tag: int, body: bytes) -> bytes:
    """The same with a length of five octets, however short the body is."""
    return bytes([0xC0 | tag, 0xFF]) + len(body).to_bytes(4) + body


def old_packet(tag: int, body: bytes) -> bytes:
    """The same with an old-format header, its length in two octets."""
    return bytes([0x80 | tag << 2 | 1]) + len(body).to_bytes(2) + body


def endless_packet(tag: int, body: bytes) -> bytes:
    """The same with an old-format header that tells no length: it ends where the message does."""
    return bytes([0x80 | tag << 2 | 3]) + body


def partial_packet(tag: int, body: bytes, first: int = 9) -> bytes:
    """The same in two pieces, the first of ``2 ** first`` bytes."""
    size = 1 << first
    return bytes([0xC0 | tag, 0xE0 | first]) + body[:size] + _length(len(body) - size) + body[size:]


def _length(size: int) -> bytes:
    if size < 192:
        return bytes([size])
    return (size - 192 + (192 << 8)).to_bytes(2) if size < 8384 else b"\xff" + size.to_bytes(4)


def sub(kind: int, data: bytes, *, critical: bool = False) -> bytes:
    return _length(len(data) + 1) + bytes([kind | 0x80 * critical]) + data


def created(at: int) -> bytes:
    return sub(2, at.to_bytes(4))


def lasting(seconds: int) -> bytes:
    """The signature ends so long after it was made."""
    return sub(3, seconds.to_bytes(4))


def key_lasting(seconds: int) -> bytes:
    return sub(9, seconds.to_bytes(4))


def flags(value: int) -> bytes:
    return sub(27, bytes([value]))


def issuer(fingerprint: str) -> bytes:
    return sub(16, bytes.fromhex(fingerprint)[-8:])


def issuer_fingerprint(fingerprint: str, version: int = 4) -> bytes:
    return sub(33, bytes([version]) + bytes.fromhex(fingerprint))


def notation(name: bytes, value: bytes, *, critical: bool = False, text: bool = True) -> bytes:
    sizes = len(name).to_bytes(2) + len(value).to_bytes(2)
    return sub(20, bytes([0x80 * text, 0, 0, 0]) + sizes + name + value, critical=critical)


# Keys


class Signer(Protocol):
    """A key that signs: its public packet's body, and what it makes of a digest."""

    @property
    def algorithm(self) -> int: ...
    @property
    def public(self) -> bytes: ...
    @property
    def created(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...
    def value(self, digest: int, digested: bytes) -> bytes: ...


@dataclass(frozen=True)
class RsaKey:
    secret: rsa.RSAPrivateKey
    created: int
    algorithm: int = RSA

    @classmethod
    def new(cls, created: int, bits: int = 2048) -> "RsaKey":
        return cls(rsa.generate_private_key(65537, bits), created)

    @cached_property
    def numbers(self) -> rsa.RSAPrivateNumbers:
        return self.secret.private_numbers()

    @cached_property
    def public(self) -> bytes:
        public = self.numbers.public_numbers
        return b"\x04" + self.created.to_bytes(4) + bytes([self.algorithm]) + mpi(public.n) + mpi(public.e)

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint_of(self.public)

    @property
    def transferable(self) -> bytes:
        """The secret key packet, unprotected (RFC 4880, section 5.5.3); what follows the public one follows it."""
        own = self.numbers
        small, large = sorted((own.p, own.q))
        numbers = b"".join(mpi(number) for number in (own.d, small, large, pow(small, -1, large)))
        return packet(SECRET_KEY, self.public + b"\x00" + numbers + (sum(numbers) % 65536).to_bytes(2))

    def value(self, digest: int, digested: bytes) -> bytes:
        return mpi(self.raw(bytes.fromhex(DIGESTS[digest][1]) + digested))

    def raw(self, padded: bytes, *, after: bytes = b"") -> int:
        """RSA on this behind the padding of PKCS #1; ``after`` it, where a lax verifier does not look."""
        own = self.numbers
        size = (own.public_numbers.n.bit_length() + 7) // 8
        block = b"\x00\x01" + b"\xff" * (size - 3 - len(padded) - len(after)) + b"\x00" + padded + after
        number = int.from_bytes(block)
        by_p, by_q = pow(number, own.dmp1, own.p), pow(number, own.dmq1, own.q)
        return by_q + own.q * ((by_p - by_q) * own.iqmp % own.p)


@dataclass(frozen=True)
class EdwardsKey:
    secret: Ed25519PrivateKey
    created: int
    algorithm: int = EDDSA

    @classmethod
    def new(cls, created: int) -> "EdwardsKey":
        return cls(Ed25519PrivateKey.generate(), created)

    @cached_property
    def public(self) -> bytes:
        point = int.from_bytes(b"\x40" + self.secret.public_key().public_bytes_raw())
        curve = bytes.fromhex("2b06010401da470f01")
        return b"\x04" + self.created.to_bytes(4) + bytes([EDDSA, len(curve)]) + curve + mpi(point)

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint_of(self.public)

    def value(self, digest: int, digested: bytes) -> bytes:
        made = self.secret.sign(digested)
        return mpi(int.from_bytes(made[:32])) + mpi(int.from_bytes(made[32:]))


def fingerprint_of(public: bytes) -> str:
    return hashlib.sha1(b"\x99" + len(public).to_bytes(2) + public).hexdigest().upper()  # noqa: S324 - RFC 4880, 12.2


# Signatures


def signature(
    by: Signer,
    kind: int,
    over: bytes,
    *,
    at: int,
    digest: int = SHA256,
    hashed: bytes = b"",
    unhashed: bytes = b"",
    fields: bytes | None = None,
    issuers: bytes | None = None,
    value: Callable[[bytes], bytes] | None = None,
    prefix: bytes | None = None,
    version: int = 4,
) -> bytes:
    """The body of a signature packet over these bytes.

    ``hashed`` and ``unhashed`` are added; ``fields`` takes the place of the usual hashed subpackets, ``issuers`` of the
    usual unhashed one; ``value`` makes the numbers of the digest, ``prefix`` stands for its first two bytes.
    """
    signed = fields if fields is not None else issuer_fingerprint(by.fingerprint) + created(at)
    signed += hashed
    head = bytes([version, kind, by.algorithm, digest]) + len(signed).to_bytes(2) + signed
    digested = hashlib.new(DIGESTS[digest][0], over + head + bytes([version, 0xFF]) + len(head).to_bytes(4)).digest()
    unsigned = (issuer(by.fingerprint) if issuers is None else issuers) + unhashed
    numbers = value(digested) if value else by.value(digest, digested)
    return head + len(unsigned).to_bytes(2) + unsigned + (digested[:2] if prefix is None else prefix) + numbers


def over_key(key: Signer) -> bytes:
    """What a signature on a key covers of it (RFC 4880, section 5.2.4)."""
    return b"\x99" + len(key.public).to_bytes(2) + key.public


def over_user_id(user_id: bytes) -> bytes:
    return b"\xb4" + len(user_id).to_bytes(4) + user_id


# Messages


class Message(NamedTuple):
    """The bodies of the three packets of a signed message."""

    one_pass: bytes
    literal: bytes
    signature: bytes

    def join(self, form: Callable[[int, bytes], bytes] = packet) -> bytes:
        return form(ONE_PASS, self.one_pass) + form(LITERAL, self.literal) + form(SIGNATURE, self.signature)

    @property
    def packets(self) -> tuple[bytes, bytes, bytes]:
        return packet(ONE_PASS, self.one_pass), packet(LITERAL, self.literal), packet(SIGNATURE, self.signature)


def one_pass(by: Signer, *, kind: int = 0, digest: int = SHA256, last: int = 1, key_id: bytes | None = None) -> bytes:
    named = bytes.fromhex(by.fingerprint)[-8:] if key_id is None else key_id
    return bytes([3, kind, digest, by.algorithm]) + named + bytes([last])


def literal(content: bytes, *, form: bytes = b"b", name: bytes = b"", date: int = 0) -> bytes:
    return form + bytes([len(name)]) + name + date.to_bytes(4) + content


def signed(
    by: Signer,
    content: bytes,
    *,
    at: int,
    kind: int = 0,
    digest: int = SHA256,
    hashed: bytes = b"",
    unhashed: bytes = b"",
    fields: bytes | None = None,
    issuers: bytes | None = None,
    value: Callable[[bytes], bytes] | None = None,
    prefix: bytes | None = None,
) -> Message:
    """An inline-signed message; what may be changed is what ``signature`` lets one change."""
    made = signature(
        by,
        kind,
        content,
        at=at,
        digest=digest,
        hashed=hashed,
        unhashed=unhashed,
        fields=fields,
        issuers=issuers,
        value=value,
        prefix=prefix,
    )
    return Message(one_pass(by, kind=kind, digest=digest), literal(content), made)
