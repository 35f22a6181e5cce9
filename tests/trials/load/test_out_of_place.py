"""What was recorded, turned round or changed on its way ends the conversation, and posts and lowers nothing."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bank.service import Service
from keyring.errors import KeyringError
from protocol import messages
from protocol.codes import Reason, Status
from protocol.errors import RemoteProtocolError
from protocol.frames import Frame, FrameType
from protocol.messages import Balance, Refusal
from protocol.stages import Stage
from tests.bank.counter import BALANCE, Counter, Talk, at_counter, entry_of, receive, send
from tests.bank.town import SECONDS, Town

Order = Callable[[list[bytes], list[bytes]], list[bytes]]

PLACES: dict[str, Order] = {
    "the second before the first": lambda own, other: [own[1], own[0]],
    "the first twice": lambda own, other: [own[0], own[0]],
    "without the first": lambda own, other: [own[1]],
    "from another connection": lambda own, other: [own[0], other[1]],
}


@pytest.fixture(scope="module")
def counter(town: Town, make_short_tmp: Callable[[], Path]) -> Iterator[Counter]:
    """A serving bank for the tests of this module."""
    with at_counter(town, make_short_tmp()) as counter:
        yield counter


@pytest.mark.parametrize("how", PLACES)
def test_trial_16_records_out_of_their_place_end_the_session(counter: Counter, how: str) -> None:
    alice, before = counter.town.alice, counter.count("entry")
    orders = [counter.submission(alice, f"{how.replace(' ', '-')}-{n}", Stage.SESSION) for n in range(2)]
    with counter.session(alice, Stage.SESSION) as talk, counter.session(alice, Stage.SESSION) as elsewhere:
        own, other = ([each.channel.seal(messages.encode(o)).encode() for o in orders] for each in (talk, elsewhere))
        first = PLACES[how](own, other)
        talk.connection._socket.sendall(b"".join(first))
        # What stands before the misplaced record is in order, and may be answered; then the bank hangs up.
        heard = 0
        while (frame := receive(talk.connection)) is not None:
            talk.channel.open(frame)
            heard += 1
        assert heard <= (1 if first[0] == own[0] else 0)
        assert counter.count("entry") <= before + heard + (1 if first[0] == own[0] else 0)
    # The honest twin: the same orders in their order are each booked once.
    with counter.session(alice, Stage.SESSION) as talk:
        talk.send(*orders)
        assert [entry_of(talk.answer()).status for _ in orders] == [Status.SETTLED] * 2
    assert counter.count("entry") == before + 2


@pytest.mark.parametrize("direction", ["to the bank", "to the customer"])
def test_trial_16_a_record_sent_back_to_its_sender_is_not_read(counter: Counter, direction: str) -> None:
    with counter.session(counter.town.alice, Stage.SESSION) as talk:
        if direction == "to the bank":
            assert isinstance(talk.ask(BALANCE), Balance)
            talk.send(BALANCE)
            answer = receive(talk.connection)
            assert answer is not None
            send(talk.connection, answer)
            assert receive(talk.connection) is None
        else:
            mine = talk.channel.seal(messages.encode(BALANCE))
            with pytest.raises(RemoteProtocolError):
                talk.channel.open(mine)


@pytest.mark.parametrize("asked", [Stage.SESSION, Stage.SIGNED, Stage.CERTIFIED])
@pytest.mark.parametrize("made", [Stage.SESSION, Stage.SIGNED, Stage.CERTIFIED])
def test_trial_36_a_stage_changed_on_its_way_opens_nothing(counter: Counter, made: Stage, asked: Stage) -> None:
    """The signature names the stage; what stands outside of it only says which checks the bank shall begin with."""
    opening = counter.opening(counter.town.bob, made, outer_stage=asked)
    answer = counter.say(opening.frame)
    assert answer is not None
    assert (answer.type is FrameType.OPENED) is (made is asked)


@pytest.mark.parametrize("version", [0, 2, 255])
@pytest.mark.parametrize("place", ["opening", "record"])
def test_trial_36_another_version_of_the_protocol_is_not_spoken(counter: Counter, version: int, place: str) -> None:
    if place == "opening":
        connection = counter.connect()
        send(connection, _of_version(counter.opening(counter.town.alice, Stage.SESSION).frame, version))
        assert receive(connection) is None
        connection.close()
        return
    with counter.session(counter.town.alice, Stage.SESSION) as talk:
        send(talk.connection, _of_version(talk.channel.seal(messages.encode(BALANCE)), version))
        assert receive(talk.connection) is None


def _of_version(frame: Frame, version: int) -> bytes:
    data = bytearray(frame.encode())
    assert data[4] == 1
    data[4] = version
    return bytes(data)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyringError, OSError, RecursionError])
@pytest.mark.parametrize("stage", [Stage.PASSWORD, Stage.SESSION])
def test_trial_44_a_fault_in_the_bank_tells_the_customer_nothing_of_it(
    town: Town, short_tmp: Path, monkeypatch: pytest.MonkeyPatch, stage: Stage, error: type[Exception]
) -> None:
    planted = "planted: /var/lib/bank/ledger.sqlite"

    def broken(*_: object) -> None:
        raise error(planted)

    with at_counter(town, short_tmp) as counter, monkeypatch.context() as patch:
        patch.setattr(Service, "_balance", broken)
        heard: list[bytes] = []
        if stage is Stage.PASSWORD:
            frame = counter.say(counter.password_frame(town.alice, BALANCE))
            if frame is not None and frame.type is FrameType.PASSWORD:
                heard.append(messages.encode(counter.opened(town.alice, frame)))
            elif frame is not None:
                heard.append(frame.body)
        else:
            with counter.session(town.alice, stage) as talk:
                heard += _all_said(talk)
        assert not [said for said in heard if b"planted" in said or b"Traceback" in said or b"/" in said]
        for said in heard:
            refusal = messages.decode_answer(said)
            assert isinstance(refusal, Refusal)
            assert refusal.reason is Reason.BUSY
        # The operator is told, in one line of the log, whatever the text has in it.
        assert "planted" in counter.log.getvalue()
        # And it cost one connection at most.
        patch.undo()
        assert isinstance(counter.ask(town.bob, BALANCE), Balance)


def _all_said(talk: Talk) -> list[bytes]:
    talk.connection.send(talk.channel.seal(messages.encode(BALANCE)), timeout_seconds=SECONDS)
    talk.connection._socket.shutdown(1)
    heard = []
    while (frame := receive(talk.connection)) is not None:
        heard.append(talk.channel.open(frame))
    return heard
