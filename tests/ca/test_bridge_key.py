"""A key in GnuPG signs X.509 structures with RSA and SHA-256, checks what it signed, and gives nothing away."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import cast

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from ca.bridge import AgentKey, KeyUseError
from keyring.agent import Agent, SignatureValue
from tests.ca.bridge_cast import CREATED, SoftAgent, world

PKCS1, SHA256 = padding.PKCS1v15(), hashes.SHA256()
STRUCTURE = b"\x30\x03\x02\x01\x01"


@pytest.fixture
def key() -> AgentKey:
    return world().alice.key


def test_signs_a_structure(key: AgentKey) -> None:
    key.public_key().verify(key.sign(STRUCTURE, PKCS1, SHA256), STRUCTURE, PKCS1, SHA256)


def test_signature_is_as_long_as_the_modulus_also_with_leading_zeros(key: AgentKey) -> None:
    """About one in 256 begins with a zero byte, which the agent may leave out and X.509 may not (RFC 8017, 8.2.1)."""
    structures = (STRUCTURE + number.to_bytes(4) for number in count())
    signature = next(made for each in structures if (made := key.sign(each, PKCS1, SHA256))[0] == 0)
    assert len(signature) == 384


@pytest.mark.parametrize(
    ("data", "algorithm", "scheme"),
    [
        (STRUCTURE, hashes.SHA512(), PKCS1),
        (STRUCTURE, hashes.SHA384(), PKCS1),
        (STRUCTURE, Prehashed(SHA256), PKCS1),
        (STRUCTURE, SHA256, padding.PSS(padding.MGF1(SHA256), 32)),
        (b'{"type":"transfer-order"}', SHA256, PKCS1),
        (b"\x99\x01\x8d\x04", SHA256, PKCS1),
        (b"", SHA256, PKCS1),
    ],
    ids=["SHA-512", "SHA-384", "a digest", "PSS", "a document", "a key as OpenPGP certifies it", "nothing"],
)
def test_signs_nothing_else(key: AgentKey, data: bytes, algorithm: object, scheme: object) -> None:
    with pytest.raises(KeyUseError):
        key.sign(data, scheme, algorithm)


@pytest.mark.parametrize(
    "use",
    [
        lambda key: key.decrypt(b"", PKCS1),
        lambda key: key.private_numbers(),
        lambda key: key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        copy.copy,
        copy.deepcopy,
        pickle.dumps,
    ],
    ids=["decrypt", "numbers", "bytes", "copy", "deep copy", "pickle"],
)
def test_private_key_does_not_come_out(key: AgentKey, use: Callable[[AgentKey], object]) -> None:
    with pytest.raises(KeyUseError):
        use(key)


@dataclass
class FaultyAgent:
    """Signs with one bit wrong, as a fault in the arithmetic would."""

    agent: SoftAgent

    def sign(self, keygrip: str, digest: bytes) -> SignatureValue:
        value = self.agent.sign(keygrip, digest)
        return SignatureValue("rsa", b"", value.s[:-1] + bytes((value.s[-1] ^ 1,)))


def test_faulty_signature_is_not_given_out() -> None:
    private = world().alice.private
    key = AgentKey(cast(Agent, FaultyAgent(SoftAgent(private))), "", private.public_key(), CREATED)
    with pytest.raises(KeyUseError, match="does not verify"):
        key.sign(STRUCTURE, PKCS1, SHA256)


def test_shows_its_fingerprint_only(key: AgentKey) -> None:
    assert repr(key) == f"AgentKey({key.fingerprint})"
