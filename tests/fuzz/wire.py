"""Whatever comes over a connection ends in a value or in one typed error, however it is cut."""

from types import SimpleNamespace
from typing import Any, cast

import msgspec

import ca.messages
import protocol.messages
from ca import applicant
from customer.conversing import expect
from customer.errors import RefusedByBank
from customer.session import Line, Session, refusal_of
from customer.wire import unwatched
from protocol import canonical
from protocol.errors import ProtocolError
from protocol.frames import Frame, FrameReader, FrameType
from protocol.messages import AskBalance, AskHead, Balance
from protocol.records import Channel, Share, transcript
from protocol.secret import Secret
from protocol.stages import Stage
from protocol.transport import Address
from tests.fuzz.properties import attempt, parts, text_of

LIMIT = 300
KINDS = {
    str(kind.__struct_config__.tag): kind
    for module in (protocol.messages, ca.messages)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__struct_config__.tag
}
"""Every type of message by the name that it bears on the wire."""


def frames(data: bytes) -> None:
    """A stream gives the same frames and the same error in one piece, in two and byte by byte; none is made up."""
    if not data:
        return
    cut, stream = data[0] % max(1, len(data)), data[1:]
    whole = _fed([stream])
    assert whole == _fed([stream[:cut], stream[cut:]]) == _fed([bytes((byte,)) for byte in stream])
    found, pending, error = whole
    used = b"".join(frame.encode() for frame in found)
    assert stream.startswith(used)
    assert all(len(frame.body) <= LIMIT for frame in found)
    assert error or pending == len(stream) - len(used)


def _fed(pieces: list[bytes]) -> tuple[list[Frame], int, str]:
    reader, found = FrameReader(LIMIT), []
    for piece in pieces:
        reader.receive_data(piece)
        try:
            while (frame := reader.next_frame()) is not None:
                found.append(frame)
        except ProtocolError as error:
            return found, 0, str(error)
    return found, reader.pending_bytes, ""


def records(data: bytes) -> None:
    """Of any traffic between the two ends exactly the next record of the other end opens, and nothing after a fault."""
    said = transcript(Frame(FrameType.OPEN, b"{}"), Frame(FrameType.OPENED, b"{}"))
    ends = Channel.of_customer(Secret(b"k" * 32), Secret(b"x" * 32), said)
    bank = Channel.of_bank(Secret(b"k" * 32), Secret(b"x" * 32), said)
    sent: list[tuple[Frame, bytes]] = []
    expected, over = 0, False
    for step in (data[place : place + 3] for place in range(0, min(len(data), 120), 3)):
        act, which, change = step.ljust(3, b"\0")
        if act % 4 == 0:
            content = bytes((which,)) * (change % 40)
            sent.append((ends.seal(content), content))
            continue
        if not sent:
            continue
        place = which % len(sent)
        frame, content = sent[place]
        body = bytearray(frame.body)
        if act % 4 == 2:
            body[change % len(body)] ^= 1 << which % 8
        elif act % 4 == 3:
            del body[change % len(body) :]
        given = Frame(FrameType.RECORD if act < 248 else FrameType(1 + change % 2), bytes(body))
        opened = attempt(bank.open, given)
        fits = not over and place == expected and given == frame
        assert opened == (content if fits else None)
        expected, over = expected + fits, over or not fits


def shares(data: bytes) -> None:
    """An X25519 share is 32 bytes that are not of small order, and agreeing is symmetric."""
    ours = Share(lambda length: b"\x42" * length)
    agreed = attempt(ours.agree, data)
    if agreed is not None:
        assert len(data) == len(agreed.reveal()) == 32
        assert any(agreed.reveal())


def requests(data: bytes) -> None:
    """A request decodes to one value, which encodes to bytes that decode to it again."""
    found = attempt(protocol.messages.decode_request, data)
    if found is not None:
        assert protocol.messages.decode_request(protocol.messages.encode(found)) == found


def answers(data: bytes) -> None:
    """An answer likewise; and it is taken for what was asked only if it is of that type."""
    found = attempt(protocol.messages.decode_answer, data)
    if found is not None:
        assert protocol.messages.decode_answer(protocol.messages.encode(found)) == found
        assert attempt(expect, found, Balance) == (found if isinstance(found, Balance) else None)


def desk_messages(data: bytes) -> None:
    """Questions to the desk and its answers."""
    for decode in (ca.messages.decode_request, ca.messages.decode_answer):
        found = attempt(decode, data)
        if found is not None:
            assert decode(ca.messages.encode(found)) == found


def every_message(data: bytes) -> None:
    """Each type of message by itself: the first part chooses it, whatever the content says that it is."""
    name, content = parts(data, 2)
    kind = KINDS.get(text_of(name))
    found = attempt(canonical.decode, kind, content) if kind else None
    if found is not None and kind:
        again = canonical.encode(found)
        assert canonical.decode(kind, again) == found
        assert canonical.decode_signed(kind, again) == found


def refusals(data: bytes) -> None:
    """What a server says before a session is open, and what a desk says in place of an answer."""
    refused = attempt(refusal_of, Frame(FrameType.REFUSED, data))
    assert refused is None or not refused.proven
    desk = applicant.Desk(Address("::1", 1))
    cast(Any, desk)._exchange = lambda _question: ca.messages.decode_answer(data)
    attempt(desk.revocations)
    attempt(desk.authority_key)


def conversations(data: bytes) -> None:
    """A customer's session takes answers to its own questions only, in their order, and closes at the first other."""
    stream = FrameReader(1 << 16)
    stream.receive_data(data)
    closed: list[bool] = []

    def receive(**_: float) -> Frame | None:
        return stream.next_frame()

    connection = SimpleNamespace(
        receive=receive, send=lambda *_, **__: None, close=lambda: closed.append(True), peer="the bank"
    )
    channel = SimpleNamespace(seal=lambda content: Frame(FrameType.RECORD, content), open=lambda frame: frame.body)
    limits = SimpleNamespace(answer_seconds=1.0, frame_seconds=1.0)
    line = Line(Address("::1", 1), cast(Any, limits), unwatched)
    session = Session(cast(Any, connection), cast(Any, channel), line, Stage.SIGNED)
    try:
        found = session.ask(AskBalance(number=0), AskHead(number=0, since=None))
    except (ProtocolError, RefusedByBank):
        assert closed
    else:
        assert [answer.number for answer in found] == [1, 2]
    session.close()
    assert closed


def addresses(data: bytes) -> None:
    """Host and port from a setting or a letter, and the same again from what is shown of it."""
    found = attempt(Address.parse, text_of(data))
    if found is not None:
        assert Address.parse(str(found)) == found
        assert 0 <= found.port <= 65535
