"""A line is an open session of the load generator: what it sends and what it believes is what the customer's does."""

import hashlib
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from keyring import messages as openpgp
from keyring.home import Home
from protocol import canonical, messages
from protocol.frames import Frame, FrameReader, FrameType
from protocol.limits import FRAME_BYTES_IN_SESSION
from protocol.messages import Answer, Open, Opened, Refusal, Request, SealedOpening, SessionOpening, SessionProof
from protocol.orders import format_time
from protocol.records import Channel, Share, transcript
from protocol.secret import Secret
from protocol.stages import Stage
from protocol.transport import Address
from tests.bench.cast import Cast, Party
from tests.bench.orders import Signer

READ_BYTES = 256 * 1024
OPENING_SECONDS = 60.0


class RefusedOpening(Exception):
    """The bank has refused a session; its reason is the text."""


@dataclass(frozen=True)
class Opening:
    """A first message, ready to be sent, and what its sender keeps: it counts for five minutes."""

    frame: Frame
    share: Share
    session_key: Secret


def prepare(cast: Cast, party: Party) -> Opening:
    """The opening of a session in the stage certified: signed with the party's key, and sealed to the bank by gpg."""
    share, session_key = Share(), Secret(os.urandom(32))
    now = time.time()
    said = SessionOpening(
        bank=cast.bank,
        certificate=party.certificate_digest,
        customer=party.number,
        offered=hashlib.sha256(party.certified_key).hexdigest(),
        session_key=session_key.reveal(),
        share=share.public,
        stage=Stage.CERTIFIED,
        time=format_time(now),
    )
    inner = SealedOpening(
        certificate=party.certificate,
        customer=party.number,
        key=party.certified_key,
        signed=Signer(party.signing).sign(canonical.encode(said), int(now)),
    )
    sealed = openpgp.seal(Home.open(cast.view), cast.bank, canonical.encode(inner))
    return Opening(
        Frame(FrameType.OPEN, canonical.encode(Open(sealed=sealed, stage=Stage.CERTIFIED))), share, session_key
    )


class Line:
    """One open session over a blocking socket, whose answers are read as they come."""

    def __init__(self, sock: socket.socket, channel: Channel, reader: FrameReader) -> None:
        self.socket = sock
        self._channel = channel
        self._reader = reader
        self._asked = 0

    @classmethod
    def open(cls, address: Address, opening: Opening, source: tuple[str, int] | None = None) -> "Line":
        """Raises RefusedOpening with the bank's reason, or OSError; ``source``: the address to come from."""
        sock = socket.create_connection((address.host, address.port), OPENING_SECONDS, source_address=source)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(opening.frame.encode())
            reader = FrameReader(FRAME_BYTES_IN_SESSION)
            opened_frame = _next(sock, reader)
            if opened_frame.type is FrameType.REFUSED:
                raise RefusedOpening(canonical.decode(Refusal, opened_frame.body).reason.value)
            opened = canonical.decode(Opened, opened_frame.body)
            secret = opening.share.agree(opened.share)
            channel = Channel.of_customer(opening.session_key, secret, transcript(opening.frame, opened_frame))
            proof = canonical.decode(SessionProof, channel.open(_next(sock, reader)))
            if proof.session != opened.session:
                raise RefusedOpening("proof")
        except BaseException:
            sock.close()
            raise
        return cls(sock, channel, reader)

    def send(self, *made: Callable[[int], Request]) -> None:
        """Send requests in one piece; each is made with its number."""
        pieces = []
        for make in made:
            self._asked += 1
            pieces.append(self._channel.seal(messages.encode(make(self._asked))).encode())
        self.socket.sendall(b"".join(pieces))

    def received(self) -> list[Answer]:
        """The answers that are whole by now; ConnectionError once the bank has hung up."""
        try:
            data = self.socket.recv(READ_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        if not data:
            raise ConnectionError("The bank has hung up.")
        self._reader.receive_data(data)
        answers = []
        while (frame := self._reader.next_frame()) is not None:
            answers.append(messages.decode_answer(self._channel.open(frame)))
        return answers

    def ask(self, make: Callable[[int], Request]) -> Answer:
        """One question, and its answer waited for."""
        self.send(make)
        self.socket.settimeout(OPENING_SECONDS)
        return messages.decode_answer(self._channel.open(_next(self.socket, self._reader)))

    def close(self) -> None:
        self.socket.close()


def _next(sock: socket.socket, reader: FrameReader) -> Frame:
    while (frame := reader.next_frame()) is None:
        data = sock.recv(READ_BYTES)
        if not data:
            raise ConnectionError("The bank has hung up.")
        reader.receive_data(data)
    return frame
