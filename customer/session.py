"""A session is opened by a signed and sealed session key, proven by the bank's first record, and then carries records.

One file for the stages session, signed and certified: they differ in whose word the keys rest on, not in the bytes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from customer.bank_view import BankView
from customer.config import Limits
from customer.errors import RefusedByBank
from customer.wire import Event, Watch, masked
from keyring import messages as openpgp
from keyring.home import Home
from protocol import canonical, messages
from protocol.errors import ConnectionLost, ProtocolError, RemoteProtocolError
from protocol.frames import Frame, FrameType
from protocol.limits import (
    FRAME_BYTES_BEFORE_SESSION,
    FRAME_BYTES_IN_SESSION,
    FRAME_BYTES_WITH_LIST,
    REQUESTS_IN_FLIGHT,
)
from protocol.messages import (
    Answer,
    AskEvidence,
    Close,
    Open,
    Opened,
    Refusal,
    Request,
    SealedOpening,
    SessionOpening,
    SessionProof,
)
from protocol.orders import format_time
from protocol.records import BANK_TO_CUSTOMER, CUSTOMER_TO_BANK, Channel, Share, transcript
from protocol.secret import Secret
from protocol.stages import Stage
from protocol.transport import Address, Connection, Observer, connect

SESSION_KEY_BYTES: Final = 32


class Conversation(Protocol):
    """What every stage gives: requests out, the bank's proven answers back, in the same order."""

    stage: Stage

    def ask(self, *requests: Request) -> tuple[Answer, ...]:
        """Send all and wait for all. ProtocolError or RefusedByBank: what became of them is not known from here."""

    def close(self) -> None:
        """End it; harmless when repeated."""


@dataclass(frozen=True)
class Offered:
    """Both forms of the own certificate exactly as fetched: X.509 (DER) and the CA-certified OpenPGP key.

    ``fingerprint`` is that key's.
    """

    certificate: bytes
    key: bytes
    fingerprint: str


@dataclass(frozen=True)
class Speaker:
    """The customer who opens; ``offered`` is for the stage certified."""

    number: str
    keys: Home
    fingerprint: str
    passphrase: Secret | None
    offered: Offered | None


@dataclass(frozen=True)
class Line:
    """Where the bank is and how long to wait for it; ``watch`` is told what happens."""

    address: Address
    limits: Limits
    watch: Watch

    def connect(self) -> Connection:
        """A connection whose frames are watched. Raises ConnectionLost."""
        return connect(self.address, timeout_seconds=self.limits.connect_seconds, observe=frame_observer(self.watch))

    def receive(self, connection: Connection) -> Frame:
        """The next frame; a connection that ends instead is lost."""
        frame = connection.receive(idle_seconds=self.limits.answer_seconds, frame_seconds=self.limits.frame_seconds)
        if frame is None:
            raise ConnectionLost(f"{connection.peer} closed the connection before it answered.")
        return frame


class Session:
    """An open session with the bank; any error ends it."""

    def __init__(self, connection: Connection, channel: Channel, line: Line, stage: Stage) -> None:
        self.stage = stage
        self._connection = connection
        self._channel = channel
        self._line = line
        self._asked = 0
        self._records = {"sent": 0, "received": 0}
        self._closed = False

    @classmethod
    def open(
        cls,
        speaker: Speaker,
        bank: BankView,
        stage: Stage,
        line: Line,
        *,
        clock: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> "Session":
        """Open a session in one round trip; until it returns, nothing has been asked of the bank.

        Raises ConnectionLost, RemoteProtocolError, KeyringError, and RefusedByBank (unproven: before a session is
        open anyone on the way could have said so).
        """
        share, session_key = Share(random), Secret(random(SESSION_KEY_BYTES))
        frame = _opening(speaker, bank, stage, line.watch, share, session_key, clock())
        connection = line.connect()
        try:
            answer = _exchange(connection, frame, line)
            opened = canonical.decode(Opened, answer.body)
            channel = Channel.of_customer(session_key, share.agree(opened.share), transcript(frame, answer))
            line.watch(_derivation())
            session = cls(connection, channel, line, stage)
            proof = session._received(SessionProof)
            if proof.session != opened.session:
                raise RemoteProtocolError("The bank's first record is about another session.")
            connection.raise_frame_limit(FRAME_BYTES_IN_SESSION)
        except BaseException:
            connection.close()
            raise
        return session

    def ask(self, *requests: Request) -> tuple[Answer, ...]:
        """Send requests, up to 64 at once, and wait for their answers. A lost connection raises ConnectionLost."""
        try:
            return tuple(answer for batch in _batches(requests) for answer in self._ask(batch))
        except BaseException:
            self._closed = True
            self._connection.close()
            raise

    def close(self) -> None:
        """Say that nothing follows; an answer to that is welcome and not needed."""
        if self._closed:
            return
        self._closed = True
        try:
            self._ask((Close(number=0),))
        except (ProtocolError, RefusedByBank):
            pass  # everything that was asked has been answered
        finally:
            self._connection.close()

    def _ask(self, requests: tuple[Request, ...]) -> Iterator[Answer]:
        numbered = []
        for request in requests:
            self._asked += 1
            numbered.append(msgspec.structs.replace(request, number=self._asked))
        if any(isinstance(request, AskEvidence) for request in numbered):
            self._connection.raise_frame_limit(FRAME_BYTES_WITH_LIST)
        frames = [self._sealed(request) for request in numbered]
        self._connection.send(*frames, timeout_seconds=self._line.limits.answer_seconds)
        return iter([self._answer(request.number) for request in numbered])

    def _answer(self, number: int) -> Answer:
        answer = messages.decode_answer(self._record())
        if isinstance(answer, Refusal) and answer.number == 0:
            raise RefusedByBank(answer, proven=True)
        if answer.number != number:
            raise RemoteProtocolError(f"The bank answered request {answer.number} in place of {number}.")
        return answer

    def _sealed(self, request: Request) -> Frame:
        content = messages.encode(request)
        self._line.watch(self._record_event("sent", content))
        return self._channel.seal(content)

    def _record(self) -> bytes:
        content = self._channel.open(self._line.receive(self._connection))
        self._line.watch(self._record_event("received", content))
        return content

    def _received(self, kind: type[SessionProof]) -> SessionProof:
        return canonical.decode(kind, self._record())

    def _record_event(self, direction: str, content: bytes) -> Event:
        nonce = self._records[direction]
        self._records[direction] += 1
        size = f"{len(content)} bytes of content, {len(content) + 16} sealed"
        return Event(f"Record {direction}", (("nonce counter", str(nonce)), ("size", size)), content=content)


def frame_observer(watch: Watch) -> Observer:
    """Tells a watcher of each frame by type and size."""

    def observe(direction: str, frame: Frame) -> None:
        facts = (("type", f"{frame.type.name} ({frame.type:d})"), ("size", f"6 + {len(frame.body)} bytes"))
        watch(Event(f"Frame {direction}", facts))

    return observe


def refusal_of(frame: Frame) -> RefusedByBank:
    """What a frame ``REFUSED`` says, which nothing proves."""
    return RefusedByBank(canonical.decode(Refusal, frame.body), proven=False)


def send_expecting_refusal(connection: Connection, frame: Frame, line: Line) -> Frame:
    """Send a frame and wait for the answer; a bank that is full answers and closes before it reads anything."""
    try:
        connection.send(frame, timeout_seconds=line.limits.answer_seconds)
    except ConnectionLost as lost:
        try:
            return line.receive(connection)
        except ConnectionLost:
            raise lost from None
    return line.receive(connection)


def _opening(
    speaker: Speaker, bank: BankView, stage: Stage, watch: Watch, share: Share, session_key: Secret, now: float
) -> Frame:
    offered = speaker.offered if stage.is_certified else None
    opening = SessionOpening(
        bank=bank.fingerprint,
        certificate=canonical.digest(offered.certificate) if offered else None,
        customer=speaker.number,
        offered=canonical.digest(offered.key) if offered else None,
        session_key=session_key.reveal(),
        share=share.public,
        stage=stage,
        time=format_time(now),
    )
    signed = openpgp.sign(speaker.keys, speaker.fingerprint, canonical.encode(opening), speaker.passphrase)
    watch(Event("The opening, signed with the customer's key", content=masked(opening)))
    inner = SealedOpening(
        certificate=offered.certificate if offered else None,
        customer=speaker.number,
        key=offered.key if offered else None,
        signed=signed,
    )
    sealed = openpgp.seal(bank.home, bank.fingerprint, canonical.encode(inner))
    watch(
        Event("The opening, encrypted to the bank's key (its packets; nobody but the bank sees inside)", message=sealed)
    )
    frame = Frame(FrameType.OPEN, canonical.encode(Open(sealed=sealed, stage=stage)))
    if len(frame.body) > FRAME_BYTES_BEFORE_SESSION:
        raise RemoteProtocolError(
            "Key and certificate are too long for an opening; get the current ones with `customer fetch`."
        )
    return frame


def _exchange(connection: Connection, frame: Frame, line: Line) -> Frame:
    answer = send_expecting_refusal(connection, frame, line)
    if answer.type is FrameType.REFUSED:
        raise refusal_of(answer)
    if answer.type is not FrameType.OPENED:
        raise RemoteProtocolError(f"The bank answered the opening with a {answer.type.name.lower()} frame.")
    return answer


def _derivation() -> Event:
    return Event(
        "Keys derived with HKDF-SHA256, one for each direction",
        (
            ("input key material", "session key (32 bytes, drawn here), then the X25519 result (32 bytes)"),
            ("salt", "SHA-256 of the frames OPEN and OPENED, headers included"),
            ("info, to the bank", CUSTOMER_TO_BANK.decode()),
            ("info, from the bank", BANK_TO_CUSTOMER.decode()),
        ),
    )


def _batches(requests: tuple[Request, ...]) -> Iterator[tuple[Request, ...]]:
    for start in range(0, len(requests), REQUESTS_IN_FLIGHT):
        yield requests[start : start + REQUESTS_IN_FLIGHT]
