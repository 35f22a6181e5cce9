"""Inside a session each record is sealed under its direction's key and its place in the order; any other ends it."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.frames import Frame, FrameType
from protocol.limits import RECORDS_PER_SESSION
from protocol.secret import Secret

CUSTOMER_TO_BANK = b"countersign 1 customer to bank"
BANK_TO_CUSTOMER = b"countersign 1 bank to customer"
TAG_BYTES = 16


class Share:
    """One party's X25519 key of one session (RFC 7748); it is forgotten with the session, hence forward secrecy."""

    def __init__(self, random: Callable[[int], bytes] = os.urandom) -> None:
        self._private = X25519PrivateKey.from_private_bytes(random(32))
        self.public: bytes = self._private.public_key().public_bytes_raw()

    def agree(self, theirs: bytes) -> Secret:
        """The shared secret, 32 bytes; a share of small order is refused."""
        try:
            return Secret(self._private.exchange(X25519PublicKey.from_public_bytes(theirs)))
        except ValueError:
            raise RemoteProtocolError("The other party's X25519 share is not a usable one.") from None


def transcript(opening: Frame, opened: Frame) -> bytes:
    """SHA-256 over both opening frames whole, headers included: keys fit only what both sides saw."""
    digest = Hash(SHA256())
    digest.update(opening.encode())
    digest.update(opened.encode())
    return digest.finalize()


def derive(session_key: Secret, shared: Secret, transcript_digest: bytes, direction: bytes) -> Secret:
    """The AES-256 key of one direction: HKDF-SHA256 (RFC 5869).

    Input key material: session key, then X25519 result; salt: the transcript's digest; info: the direction.
    """
    hkdf = HKDF(algorithm=SHA256(), length=32, salt=transcript_digest, info=direction)
    return Secret(hkdf.derive(session_key.reveal() + shared.reveal()))


class _Direction:
    """AES-256-GCM with a nonce of 4 zero bytes and the record's number, 8 bytes big-endian."""

    def __init__(self, key: Secret) -> None:
        self._cipher = AESGCM(key.reveal())
        self._records = 0
        self._over = False

    def next_nonce(self) -> bytes:
        if self._records >= RECORDS_PER_SESSION:
            raise LocalProtocolError("The session has carried as many records as its keys allow; open a new one.")
        nonce = self._records.to_bytes(12, "big")
        self._records += 1
        return nonce

    def seal(self, content: bytes) -> Frame:
        header = Frame(FrameType.RECORD, bytes(len(content) + TAG_BYTES)).header
        return Frame(FrameType.RECORD, self._cipher.encrypt(self.next_nonce(), content, header))

    def open(self, frame: Frame) -> bytes:
        if self._over:
            raise RemoteProtocolError("The session ended with a record that was not its next one; open a new one.")
        # Whatever goes wrong here ends the direction, even for a caller who would go on: a record that is replaced by
        # rubbish must not be passed over in favour of the one after it.
        self._over = True
        if frame.type is not FrameType.RECORD:
            raise RemoteProtocolError(f"A {frame.type.name.lower()} frame does not belong inside a session.")
        try:
            content = self._cipher.decrypt(self.next_nonce(), frame.body, frame.header)
        except InvalidTag:
            raise RemoteProtocolError(
                "A record is not the next one of this session: it was changed, repeated, moved or left out."
            ) from None
        self._over = False
        return content


@dataclass(frozen=True)
class Channel:
    """Both directions of one open session, as one party holds them."""

    _sending: _Direction
    _receiving: _Direction

    @classmethod
    def of_customer(cls, session_key: Secret, shared: Secret, transcript_digest: bytes) -> "Channel":
        """The customer's end."""
        return cls._make(session_key, shared, transcript_digest, CUSTOMER_TO_BANK, BANK_TO_CUSTOMER)

    @classmethod
    def of_bank(cls, session_key: Secret, shared: Secret, transcript_digest: bytes) -> "Channel":
        """The bank's end."""
        return cls._make(session_key, shared, transcript_digest, BANK_TO_CUSTOMER, CUSTOMER_TO_BANK)

    @classmethod
    def _make(cls, session_key: Secret, shared: Secret, digest: bytes, sending: bytes, receiving: bytes) -> "Channel":
        return cls(
            _Direction(derive(session_key, shared, digest, sending)),
            _Direction(derive(session_key, shared, digest, receiving)),
        )

    def seal(self, content: bytes) -> Frame:
        """The next record to send."""
        return self._sending.seal(content)

    def open(self, frame: Frame) -> bytes:
        """The content of the next record received; RemoteProtocolError means that the session is over."""
        return self._receiving.open(frame)
