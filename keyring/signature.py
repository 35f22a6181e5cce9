"""A head is signed by the bank's Ed25519 subkey in gpg-agent and packed here, so that stock gpg verifies the message.

The packets are those of RFC 4880, sections 5.2 to 5.9; the issuer fingerprint (subpacket 33) and the EdDSA values are
those of RFC 9580, sections 5.2.3.35 and 5.2.3.3.3. No gpg process runs: one request to the agent makes one signature.
"""

import hashlib
from types import TracebackType
from typing import Final, Self

from keyring import keys
from keyring.agent import Agent, EdwardsPublicKey, SignatureValue
from keyring.colons import KeyPart
from keyring.errors import EngineError, UnsuitableKey
from keyring.home import Home

_SIGNATURE, _ONE_PASS, _LITERAL = 2, 4, 11
_BINARY_DOCUMENT: Final = 0x00
_EDDSA: Final = 22
_SHA256: Final = 8
_CREATED, _ISSUER, _ISSUER_FINGERPRINT = 2, 16, 33
_VALUE_BYTES: Final = 32
_LATEST: Final = 2**32 - 1


class HeadSigner:
    """Makes inline-signed messages with one Ed25519 signing subkey, usable from several threads.

    ``created`` is the subkey's creation time in unix seconds: gpg calls a signature older than its key bad.
    """

    def __init__(self, home: Home, agent: Agent, subkey_fingerprint: str, keygrip: str, created: int = 0) -> None:
        if not isinstance(agent.readkey(keygrip), EdwardsPublicKey):
            raise UnsuitableKey(
                f"The key {subkey_fingerprint} in {home.path} is not Ed25519; heads are signed with Ed25519."
            )
        self.fingerprint: Final = keys.checked_fingerprint(subkey_fingerprint)
        self._agent = agent
        self._keygrip = keygrip
        self._created = created

    @classmethod
    def for_home(cls, home: Home, primary_fingerprint: str) -> Self:
        """The signer with the newest usable Ed25519 signing subkey of a key in ``home``; `close` ends its connection.

        Raises UnsuitableKey if there is none whose private part is there.
        """
        key = keys.secret_key(home, primary_fingerprint)
        usable = [part for part in key.subkeys if _can_sign(part)]
        if not usable:
            raise UnsuitableKey(
                f"The key {primary_fingerprint} in {home.path} has no Ed25519 signing subkey that is valid; add one "
                f"with `gpg --homedir {home.path} --quick-add-key {primary_fingerprint} ed25519 sign`."
            )
        newest = max(usable, key=lambda part: (part.created, part.fingerprint))
        agent = Agent(home)
        try:
            return cls(home, agent, newest.fingerprint, newest.keygrip, newest.created)
        except BaseException:
            agent.close()
            raise

    @property
    def earliest(self) -> int:
        """The earliest time (unix seconds) that a signature can bear: when the subkey was made."""
        return self._created

    def sign(self, content: bytes, at: int) -> bytes:
        """A binary OpenPGP message with ``content`` and a signature over it, made at ``at`` (unix seconds)."""
        if not self._created <= at <= _LATEST:
            raise EngineError(
                f"A signature cannot be dated {at}: the subkey was made at {self._created}; set the clock right."
            )
        hashed = _hashed_part(self.fingerprint, at)
        digest = hashlib.sha256(content + hashed + b"\x04\xff" + len(hashed).to_bytes(4)).digest()
        value = self._agent.sign(self._keygrip, digest)
        return (
            _packet(_ONE_PASS, _one_pass(self.fingerprint))
            + _packet(_LITERAL, b"b\x00" + at.to_bytes(4) + content)
            + _packet(_SIGNATURE, hashed + _unhashed_part(self.fingerprint) + digest[:2] + _eddsa(value))
        )

    def close(self) -> None:
        """Ends the connection to the agent. Harmless when repeated."""
        self._agent.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _can_sign(part: KeyPart) -> bool:
    valid = part.validity not in ("r", "e", "i", "d")
    return valid and part.algorithm == _EDDSA and "s" in part.capabilities and part.secret is True


def _one_pass(fingerprint: str) -> bytes:
    """RFC 4880, section 5.4; the last octet says that no other signature follows."""
    return bytes((3, _BINARY_DOCUMENT, _SHA256, _EDDSA)) + _key_id(fingerprint) + b"\x01"


def _hashed_part(fingerprint: str, at: int) -> bytes:
    """The signature packet up to its hashed subpackets: what the digest covers (RFC 4880, section 5.2.4)."""
    subpackets = _subpacket(_ISSUER_FINGERPRINT, b"\x04" + bytes.fromhex(fingerprint)) + _subpacket(
        _CREATED, at.to_bytes(4)
    )
    return bytes((4, _BINARY_DOCUMENT, _EDDSA, _SHA256)) + len(subpackets).to_bytes(2) + subpackets


def _unhashed_part(fingerprint: str) -> bytes:
    subpackets = _subpacket(_ISSUER, _key_id(fingerprint))
    return len(subpackets).to_bytes(2) + subpackets


def _eddsa(value: SignatureValue) -> bytes:
    if value.algorithm != "eddsa" or not len(value.r) == len(value.s) == _VALUE_BYTES:
        raise EngineError("gpg-agent's answer is not an Ed25519 signature; check which subkey signs heads.")
    return mpi(value.r) + mpi(value.s)


def mpi(value: bytes) -> bytes:
    """A multiprecision integer: its length in bits, then its bytes without leading zeros (RFC 4880, section 3.2)."""
    number = int.from_bytes(value)
    return number.bit_length().to_bytes(2) + number.to_bytes((number.bit_length() + 7) // 8)


def _key_id(fingerprint: str) -> bytes:
    return bytes.fromhex(fingerprint)[-8:]


def _subpacket(kind: int, data: bytes) -> bytes:
    # All of ours are shorter than 192 bytes, so that one octet tells the length (RFC 4880, section 5.2.3.1).
    return bytes((1 + len(data), kind)) + data


def _packet(tag: int, body: bytes) -> bytes:
    """A packet with a new-format header (RFC 4880, section 4.2.2)."""
    length = len(body)
    if length < 192:
        header = bytes((length,))
    elif length < 8384:
        header = (length - 192 + (192 << 8)).to_bytes(2)
    else:
        header = b"\xff" + length.to_bytes(4)
    return bytes((0xC0 | tag,)) + header + body
