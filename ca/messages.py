"""What can be asked at the desk and what it answers: a fixed set of typed values, one frame each."""

from enum import StrEnum
from typing import Final

import msgspec
from msgspec import Struct

from protocol import canonical
from protocol.orders import Fingerprint


class State(StrEnum):
    """How far a request has come, or what became of its certificate, as the desk knows it."""

    UNKNOWN = "unknown"
    WAITING = "waiting"
    VOUCHED = "vouched"
    CONFIRMED = "confirmed"
    LOCKED = "locked"
    ISSUED = "issued"
    EXPIRED = "expired"
    REVOKED = "revoked"


OPEN_STATES: Final = (State.WAITING, State.VOUCHED, State.CONFIRMED, State.LOCKED)
"""Those of a request on which nothing is issued yet."""


class _Wire(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    """Fixed fields, and a type that names them."""


class SubmitRequest(_Wire, frozen=True, tag="submit-request"):
    """Hands in a certificate request: an OpenPGP message signed by the key that it is about, or by one before it."""

    request: bytes


class SubmitNotice(_Wire, frozen=True, tag="submit-notice"):
    """Hands in a bank's account notice: an OpenPGP message signed by the bank."""

    notice: bytes


class AskCertificate(_Wire, frozen=True, tag="ask-certificate"):
    """Asks for the certified key with this fingerprint, or how far its request has come."""

    fingerprint: Fingerprint


class AskBank(_Wire, frozen=True, tag="ask-bank"):
    """Asks for the bank's certificate, in both forms."""


class AskAuthority(_Wire, frozen=True, tag="ask-authority"):
    """Asks for the authority's public key and root certificate."""


class AskRevocations(_Wire, frozen=True, tag="ask-revocations"):
    """Asks for the authority's newest revocation list."""


class SubmitRevokedKey(_Wire, frozen=True, tag="submit-revoked-key"):
    """Hands in a certified key that its owner has declared invalid: the public key with its own revocation, binary."""

    key: bytes


DeskRequest = SubmitRequest | SubmitNotice | SubmitRevokedKey | AskCertificate | AskBank | AskAuthority | AskRevocations


class RequestState(_Wire, frozen=True, tag="request-state"):
    """How far a request has come; ``identifier`` is its first 16 hex digits, "" where there is no request."""

    identifier: str
    state: State


class NoticeTaken(_Wire, frozen=True, tag="notice-taken"):
    """The notice is the certified bank's, and kept for the call of that customer."""


class RevokedKeyTaken(_Wire, frozen=True, tag="revoked-key-taken"):
    """The key is kept for the authority's operator, who revokes its certificate; until then that still counts."""


class Certified(_Wire, frozen=True, tag="certified"):
    """Both forms of one certificate: the certified OpenPGP key, binary, and the X.509 certificate, DER."""

    certificate: bytes
    key: bytes


class AuthorityKey(_Wire, frozen=True, tag="authority-key"):
    """The authority's OpenPGP key, binary, and its X.509 root, DER; only the pinned fingerprint makes them that."""

    key: bytes
    root: bytes


class Revocations(_Wire, frozen=True, tag="revocations"):
    """The authority's revocation list, DER."""

    crl: bytes


class MailedCertificates(_Wire, frozen=True, tag="mailed-certificates"):
    """What `ca issue --out` writes for those who mail it: all that the desk would hand out, in one file.

    ``bank`` is null where no bank is certified yet, or where ``certified`` is the bank's own certificate.
    """

    authority: AuthorityKey
    bank: Certified | None
    certified: Certified
    crl: bytes


class DeskRefusal(_Wire, frozen=True, tag="desk-refusal"):
    """Nothing was taken or handed out; ``again`` tells whether the same message may succeed later."""

    again: bool
    sentence: str


DeskAnswer = RequestState | NoticeTaken | RevokedKeyTaken | Certified | AuthorityKey | Revocations | DeskRefusal


def encode(message: Struct) -> bytes:
    """The bytes of a message, in the same canonical form as signed content."""
    return canonical.encode(message)


def decode_request(data: bytes) -> DeskRequest:
    """A question to the desk; MalformedContent names the field at fault."""
    return canonical.decode_union(_REQUEST, data)


def decode_answer(data: bytes) -> DeskAnswer:
    """An answer of the desk; MalformedContent names the field at fault."""
    return canonical.decode_union(_ANSWER, data)


_REQUEST: msgspec.json.Decoder[DeskRequest] = msgspec.json.Decoder(DeskRequest)
_ANSWER: msgspec.json.Decoder[DeskAnswer] = msgspec.json.Decoder(DeskAnswer)
