"""A desk in a test's hands, and a customer who has just begun."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ca import messages as desk_messages
from ca.messages import (
    AskAuthority,
    AskBank,
    AskCertificate,
    AskRevocations,
    AuthorityKey,
    Certified,
    DeskAnswer,
    RequestState,
    Revocations,
    RevokedKeyTaken,
    State,
    SubmitRequest,
    SubmitRevokedKey,
)
from ca.requests import open_request
from customer import config
from customer.home import CustomerHome, World
from protocol.frames import Frame, FrameType
from protocol.transport import Address, Connection
from tests.customer.scene import Template


@dataclass
class DeskStandIn:
    """A desk that hands out whatever the test gives it, and keeps what is handed in."""

    own: Certified | State
    authority: AuthorityKey
    bank: Certified
    crl: bytes
    submitted: list[bytes]
    asked_for_list: int = 0
    given_up: list[bytes] = field(default_factory=list)

    def handle(self, connection: Connection) -> None:
        frame = connection.receive(idle_seconds=5, frame_seconds=5)
        assert frame is not None
        answer = self.answer(desk_messages.decode_request(frame.body))
        connection.send(Frame(FrameType.DESK_ANSWER, desk_messages.encode(answer)), timeout_seconds=5)

    def answer(self, question: msgspec.Struct) -> DeskAnswer:
        match question:
            case SubmitRequest(request=request):
                self.submitted.append(request)
                opened = open_request(request)
                return RequestState(opened.identifier, State.VOUCHED if opened.vouching else State.WAITING)
            case AskCertificate():
                return RequestState("", self.own) if isinstance(self.own, State) else self.own
            case AskAuthority():
                return self.authority
            case AskBank():
                return self.bank
            case AskRevocations():
                self.asked_for_list += 1
                return Revocations(self.crl)
            case SubmitRevokedKey(key=key):
                self.given_up.append(key)
                return RevokedKeyTaken()
        raise AssertionError(question)


@contextmanager
def newcomer(template: Template, folder: Path, desk: Address, world: World | None = None) -> Iterator[CustomerHome]:
    """Alice after `customer init`, whose letter names this desk."""
    shutil.copytree(template.folder / "alice", folder, ignore=shutil.ignore_patterns("S.*"))
    found = config.read(folder)
    authority = msgspec.structs.replace(found.authority, address=str(desk))
    config.write(folder, msgspec.structs.replace(found, authority=authority))
    with CustomerHome.open(folder, world) as home:
        yield home
