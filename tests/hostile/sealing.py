"""Encrypted messages are built here packet by packet, honest unless a test says otherwise (RFC 4880, 6637)."""

import hashlib
import os
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.decrepit.ciphers import algorithms as old
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives import keywrap
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, algorithms

from keyring.packets import split
from tests.hostile.forge import ECDH, LITERAL, fingerprint_of, literal, mpi, packet

PKESK, SKESK, PLAIN, PROTECTED, MDC, AEAD = 1, 3, 9, 18, 19, 20
TRIPLE_DES, CAST5, BLOWFISH, AES128, AES192, AES256, CAMELLIA256 = 2, 3, 4, 7, 8, 9, 13
KEY_BYTES = {TRIPLE_DES: 24, CAST5: 16, BLOWFISH: 16, AES128: 16, AES192: 24, AES256: 32, CAMELLIA256: 32}
CIPHERS: dict[int, type[BlockCipherAlgorithm]] = {
    TRIPLE_DES: old.TripleDES,
    CAST5: old.CAST5,
    BLOWFISH: old.Blowfish,
    AES128: algorithms.AES,
    AES192: algorithms.AES,
    AES256: algorithms.AES,
    CAMELLIA256: old.Camellia,
}
CONTENT = b'{"type":"sealed-content"}'
COUNT = 96  # the octet for 65536 bytes


def inside(content: bytes = CONTENT) -> bytes:
    """What is encrypted: one literal packet."""
    return packet(LITERAL, literal(content))


def encrypted(cipher: int, key: bytes, data: bytes) -> bytes:
    """CFB over everything, as in a packet with integrity protection (section 5.13)."""
    algorithm = CIPHERS[cipher](key)  # type: ignore[call-arg]
    made = Cipher(algorithm, CFB(bytes(algorithm.block_size // 8))).encryptor()
    return made.update(data) + made.finalize()


def prefix(cipher: int, key: bytes) -> bytes:
    """A block of random bytes, and its last two again."""
    size = CIPHERS[cipher](key).block_size // 8  # type: ignore[call-arg]
    block = os.urandom(size)
    return block + block[-2:]


def protected(cipher: int, key: bytes, data: bytes) -> bytes:
    """The body of a packet with integrity protection."""
    start = prefix(cipher, key) + data
    code = b"\xd3\x14" + hashlib.sha1(start + b"\xd3\x14").digest()  # noqa: S324 - section 5.14
    return b"\x01" + encrypted(cipher, key, start + code)


def unprotected(cipher: int, key: bytes, data: bytes) -> bytes:
    """The body of a packet without integrity protection: CFB begun anew after the prefix (section 13.9)."""
    start = prefix(cipher, key)
    first = encrypted(cipher, key, start)
    algorithm = CIPHERS[cipher](key)  # type: ignore[call-arg]
    made = Cipher(algorithm, CFB(first[2:])).encryptor()
    return first + made.update(data) + made.finalize()


class Envelope(Protocol):
    """Who can open: gives the packet that leads to a session key, and that key."""

    def begin(self, cipher: int = AES256) -> tuple[bytes, bytes]: ...


def sealed(envelope: Envelope, data: bytes | None = None, *, cipher: int = AES256) -> bytes:
    """A whole message."""
    start, key = envelope.begin(cipher)
    return start + packet(PROTECTED, protected(cipher, key, inside() if data is None else data))


@dataclass(frozen=True)
class ToKey:
    """Whoever has the private part of this ECDH subkey (its public packet's body)."""

    public: bytes

    @classmethod
    def of(cls, certificate: bytes) -> "ToKey":
        """The encryption subkey of a public key."""
        return cls(next(each.body for each in split(certificate) if each.tag == 14 and each.body[5] == ECDH))

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.public)

    def begin(self, cipher: int = AES256) -> tuple[bytes, bytes]:
        key = os.urandom(KEY_BYTES[cipher])
        return packet(PKESK, self.body(bytes([cipher]) + key + (sum(key) % 65536).to_bytes(2))), key

    def body(self, said: bytes, *, key_id: bytes | None = None, version: int = 3) -> bytes:
        """The body of the packet that carries ``said``: cipher, session key and checksum."""
        size = self.public[6]
        curve, rest = self.public[6 : 7 + size], self.public[7 + size :]
        point, parameters = rest[2:35], rest[35:]
        own = X25519PrivateKey.generate()
        shared = own.exchange(X25519PublicKey.from_public_bytes(point[1:]))
        told = curve + bytes([ECDH]) + parameters + b"Anonymous Sender    " + bytes.fromhex(self.fingerprint)
        wrapping = hashlib.new({8: "sha256", 9: "sha384", 10: "sha512"}[parameters[2]], b"\0\0\0\1" + shared + told)
        padding = 8 - len(said) % 8
        wrapped = keywrap.aes_key_wrap(wrapping.digest()[: KEY_BYTES[parameters[3]]], said + bytes([padding]) * padding)
        named = bytes.fromhex(self.fingerprint)[-8:] if key_id is None else key_id
        public = mpi(int.from_bytes(b"\x40" + own.public_key().public_bytes_raw()))
        return bytes([version]) + named + bytes([ECDH]) + public + bytes([len(wrapped)]) + wrapped


@dataclass(frozen=True)
class UnderPassword:
    """Whoever knows this password."""

    password: bytes

    def begin(self, cipher: int = AES256) -> tuple[bytes, bytes]:
        salt = os.urandom(8)
        return packet(SKESK, bytes([4, cipher, 3, 8]) + salt + bytes([COUNT])), self.key(salt, cipher)

    def key(self, salt: bytes, cipher: int = AES256, *, digest: str = "sha256", count: int = 65536) -> bytes:
        """Iterated and salted (section 3.7.1.3); count 0: each byte once, as in the simpler forms."""
        said = salt + self.password
        count = max(count, len(said))
        made, size, zeros = b"", KEY_BYTES[cipher], b""
        while len(made) < size:
            made += hashlib.new(digest, zeros + (said * (count // len(said) + 1))[:count]).digest()
            zeros += b"\0"
        return made[:size]
