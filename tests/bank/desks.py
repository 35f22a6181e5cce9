"""A desk of the authority that hands out what a test puts there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ca import messages
from ca.messages import (
    AskAuthority,
    AskCertificate,
    AskRevocations,
    AuthorityKey,
    Certified,
    DeskAnswer,
    DeskRefusal,
    Revocations,
    State,
)
from protocol.frames import Frame, FrameType
from protocol.transport import Address, Connection, Listener, ListenerLimits
from tests.bank.town import SECONDS


@dataclass
class Desk:
    """``own`` answers who asks for a certificate; without a list the desk refuses to hand one out."""

    authority: AuthorityKey
    own: Certified | State
    crl: bytes | None
    asked: int = 0
    """How often the list was asked for."""

    def handle(self, connection: Connection) -> None:
        frame = connection.receive(idle_seconds=SECONDS, frame_seconds=SECONDS)
        assert frame is not None
        answer = self.answer(messages.decode_request(frame.body))
        connection.send(Frame(FrameType.DESK_ANSWER, messages.encode(answer)), timeout_seconds=SECONDS)

    def answer(self, question: messages.DeskRequest) -> DeskAnswer:
        match question:
            case AskAuthority():
                return self.authority
            case AskCertificate():
                return self.own if isinstance(self.own, Certified) else messages.RequestState("0" * 16, self.own)
            case AskRevocations():
                self.asked += 1
                return Revocations(self.crl) if self.crl is not None else DeskRefusal(True, "There is no list.")
        raise AssertionError(question)


@contextmanager
def opened(desk: Desk) -> Iterator[Address]:
    """The desk at an address of this machine."""
    busy = DeskRefusal(True, "busy")
    limits = ListenerLimits(8, 8)
    listener = Listener(
        Address("127.0.0.1", 0), desk.handle, lambda: Frame(FrameType.DESK_ANSWER, messages.encode(busy)), limits
    )
    listener.start()
    try:
        yield listener.address
    finally:
        listener.stop(1.0)
