"""Keys that gpg would never make itself, built byte by byte, so that the tests can show what is made of them."""

import hashlib
import time
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed


def mpi(number: int) -> bytes:
    return number.bit_length().to_bytes(2, "big") + number.to_bytes((number.bit_length() + 7) // 8, "big")


def packet(tag: int, body: bytes) -> bytes:
    return bytes([0xC0 | tag, 0xFF]) + len(body).to_bytes(4, "big") + body


def subpacket(number: int, data: bytes) -> bytes:
    return b"\xff" + (len(data) + 1).to_bytes(4, "big") + bytes([number]) + data


def notation(name: bytes, value: bytes) -> bytes:
    sizes = len(name).to_bytes(2, "big") + len(value).to_bytes(2, "big")
    return subpacket(20, b"\x80\0\0\0" + sizes + name + value)


@dataclass(frozen=True)
class CraftedKey:
    """An RSA-2048 key whose self-signature says whatever it is told to say."""

    secret: rsa.RSAPrivateKey
    created: int

    @classmethod
    def new(cls) -> "CraftedKey":
        return cls(rsa.generate_private_key(65537, 2048), int(time.time()) - 10)

    @property
    def public(self) -> bytes:
        numbers = self.secret.public_key().public_numbers()
        return b"\x04" + self.created.to_bytes(4, "big") + b"\x01" + mpi(numbers.n) + mpi(numbers.e)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha1(b"\x99" + len(self.public).to_bytes(2, "big") + self.public).hexdigest().upper()  # noqa: S324

    def certificate(
        self, user_id: bytes, *, claimed_issuer: str = "", hashed: bytes = b"", unhashed: bytes = b""
    ) -> bytes:
        """Public key, user ID and a positive self-certification, which may claim to be another key's."""
        signed = subpacket(2, self.created.to_bytes(4, "big")) + subpacket(27, b"\x03") + hashed
        signed += subpacket(33, b"\x04" + bytes.fromhex(claimed_issuer or self.fingerprint))
        head = b"\x04\x13\x01\x08" + len(signed).to_bytes(2, "big") + signed
        digest = hashlib.sha256(b"\x99" + len(self.public).to_bytes(2, "big") + self.public)
        digest.update(b"\xb4" + len(user_id).to_bytes(4, "big") + user_id)
        digest.update(head + b"\x04\xff" + len(head).to_bytes(4, "big"))
        value = self.secret.sign(digest.digest(), padding.PKCS1v15(), Prehashed(hashes.SHA256()))
        unsigned = subpacket(16, bytes.fromhex(self.fingerprint[-16:])) + unhashed
        tail = len(unsigned).to_bytes(2, "big") + unsigned + digest.digest()[:2] + mpi(int.from_bytes(value, "big"))
        return packet(6, self.public) + packet(13, user_id) + packet(2, head + tail)
