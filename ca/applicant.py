"""What the desk says is only carried; what counts is what the pinned authority's signature says."""

import shutil
import tempfile
from pathlib import Path
from typing import Final, TypeVar

from ca.documents import BANK, BANK_NUMBER
from ca.errors import DeskError, UnprovenKey
from ca.messages import (
    AskAuthority,
    AskBank,
    AskCertificate,
    DeskAnswer,
    DeskRefusal,
    DeskRequest,
    NoticeTaken,
    PublicKey,
    RequestState,
    State,
    SubmitNotice,
    SubmitRequest,
    decode_answer,
    encode,
)
from keyring import certification
from keyring.certification import Certification
from keyring.errors import KeyringError
from keyring.home import Home
from protocol import transport
from protocol.errors import ProtocolError
from protocol.frames import Frame, FrameType
from protocol.limits import FRAME_BYTES_IN_SESSION
from protocol.transport import Address

TIMEOUT_SECONDS: Final = 15.0

A = TypeVar("A", RequestState, NoticeTaken, PublicKey)


class Desk:
    """The authority's desk as its applicants see it: a connection a question. Every method raises DeskError."""

    def __init__(self, address: Address, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.address = address
        self._timeout_seconds = timeout_seconds

    def submit_request(self, message: bytes) -> RequestState:
        """Hand in a request; the same one again, or another for the same key, changes nothing."""
        return _of(RequestState, self._answer(SubmitRequest(message)))

    def submit_notice(self, message: bytes) -> None:
        """Hand in a bank's account notice; the same one again changes nothing."""
        _of(NoticeTaken, self._answer(SubmitNotice(message)))

    def fetch(self, fingerprint: str) -> bytes | RequestState:
        """The certified key with this fingerprint, still to be verified, or how far its request has come."""
        answer = self._answer(AskCertificate(fingerprint))
        return answer if isinstance(answer, RequestState) else _of(PublicKey, answer).key

    def authority_key(self) -> bytes:
        """What the desk hands out as the authority's key; only the pinned fingerprint makes it that."""
        return _of(PublicKey, self._answer(AskAuthority())).key

    def bank_key(self) -> bytes:
        """What the desk hands out as the bank's certified key, still to be verified."""
        return _of(PublicKey, self._answer(AskBank())).key

    def _answer(self, question: DeskRequest) -> DeskAnswer:
        try:
            answer = self._exchange(question)
        except ProtocolError as error:
            raise DeskError(f"The authority's desk at {self.address} gave no answer: {error}") from None
        if isinstance(answer, DeskRefusal):
            # The sentence is a stranger's: only what a terminal shows as it is, and not too much of it.
            shown = "".join(c if c.isprintable() else "?" for c in answer.sentence)[:300]
            raise DeskError(f"The authority's desk at {self.address} refused: {shown}")
        return answer

    def _exchange(self, question: DeskRequest) -> DeskAnswer:
        seconds = self._timeout_seconds
        connection = transport.connect(self.address, timeout_seconds=seconds)
        try:
            connection.raise_frame_limit(FRAME_BYTES_IN_SESSION)
            connection.send(Frame(FrameType.DESK_REQUEST, encode(question)), timeout_seconds=seconds)
            frame = connection.receive(idle_seconds=seconds, frame_seconds=seconds)
        finally:
            connection.close()
        if frame is None or frame.type is not FrameType.DESK_ANSWER:
            raise ProtocolError("it is not a desk of a certificate authority, or it closed the connection.")
        return decode_answer(frame.body)


def _of(kind: type[A], answer: DeskAnswer) -> A:
    if not isinstance(answer, kind):
        raise DeskError("The authority's desk answered something else than was asked; nothing of it was used.")
    return answer


def verify_own(
    offered: bytes, *, ca_key: bytes, ca_fingerprint: str, fingerprint: str, number: str, role: str
) -> Certification:
    """The pinned authority's certification of our own key for our number and role; else UnprovenKey."""
    with tempfile.TemporaryDirectory(prefix="cs-") as folder:
        return judged_party(
            Path(folder) / "own",
            offered=offered,
            ca_key=ca_key,
            ca_fingerprint=ca_fingerprint,
            fingerprint=fingerprint,
            number=number,
            role=role,
        )[1]


def verify_bank(offered: bytes, *, ca_key: bytes, ca_fingerprint: str, bank_fingerprint: str) -> Certification:
    """The pinned authority's certification of the pinned bank's key for the role bank; else UnprovenKey."""
    return verify_own(
        offered,
        ca_key=ca_key,
        ca_fingerprint=ca_fingerprint,
        fingerprint=bank_fingerprint,
        number=BANK_NUMBER,
        role=BANK,
    )


def judged_party(
    path: Path, *, offered: bytes, ca_key: bytes, ca_fingerprint: str, fingerprint: str, number: str, role: str
) -> tuple[Home, Certification]:
    """A new small home at ``path`` with the authority's and the party's keys, if the one vouches for the other.

    ``ca_fingerprint`` and ``fingerprint`` are pinned, never from the network. UnprovenKey leaves nothing behind.
    """
    try:
        home, certified, _ = certification.judged_home(
            path, ca_key=ca_key, ca_fingerprint=ca_fingerprint, offered=offered, expected_fingerprint=fingerprint
        )
    except KeyringError as error:
        raise UnprovenKey(f"The key that was handed out is not proven: {error} Nothing of it was used.") from None
    if (certified.number, certified.role) != (number, role):
        shutil.rmtree(home.path, ignore_errors=True)  # without secret keys there is no agent to stop
        raise UnprovenKey(
            f"The authority certified this key for the {certified.role} {certified.number} and not for the {role}"
            f" {number}; nothing of it was used. Ask the authority."
        )
    return home, certified


def explain(state: State, program: str) -> str:
    """What a state means for the applicant, and the next command of ``program`` ("customer" or "bank")."""
    match state:
        case State.UNKNOWN:
            return f"The authority's desk has no request for this key; make one with `{program} request`."
        case State.WAITING:
            return (
                "The request waits for the call: telephone the authority, or wait for its call, and read out what"
                f" `{program} fingerprint` shows."
            )
        case State.CONFIRMED:
            return f"The request is confirmed and will be issued; try `{program} fetch` again later."
        case State.LOCKED:
            return f"The request is locked after three mistakes on the telephone; make a new one: `{program} request`."
        case State.ISSUED:
            return f"The certificate is issued; take it with `{program} fetch`."
        case State.EXPIRED:
            return f"The certificate has expired; ask for a new one with `{program} request`."
