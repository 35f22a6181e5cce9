"""Time and room at the server are bounded for each, so that nobody takes them from the others."""

import threading
import time
from pathlib import Path

import pytest

from protocol.codes import Reason, Status
from protocol.errors import ConnectionLost
from protocol.messages import AskStatement, Balance
from protocol.stages import Stage
from tests.bank.counter import BALANCE, Counter, Talk, at_counter, eventually, receive, refusal_in, send
from tests.bank.town import Town


@pytest.fixture(autouse=True)
def _floor(counter: Counter) -> None:
    counter.clock.ahead = 0.0
    if counter.floor("1001") is not Stage.PASSWORD:
        counter.server.customers.lower_floor("1001", Stage.PASSWORD)


def test_trial_37_who_is_silent_or_trickles_is_evicted_and_the_honest_go_on(town: Town, short_tmp: Path) -> None:
    limits = {"handshake_seconds": 0.6, "frame_seconds": 0.6, "idle_seconds": 1.5}
    with at_counter(town, short_tmp, limits=limits) as counter:
        silent, trickling = counter.connect(), counter.connect()
        frame = counter.opening(town.alice, Stage.SESSION).frame.encode()
        send(trickling, frame[:3])
        started = time.monotonic()
        with counter.session(town.bob, Stage.SESSION) as talk:
            assert isinstance(talk.ask(BALANCE), Balance)
            assert receive(silent) is None
            evicted = False
            for place in range(3, 60):  # one byte now and then does not buy more time
                try:
                    send(trickling, frame[place : place + 1])
                except OSError:
                    evicted = True
                    break
                time.sleep(0.1)
                assert isinstance(talk.ask(BALANCE), Balance)
            assert evicted
            assert time.monotonic() - started < 5
            send(talk.connection, talk.channel.seal(b"{}").encode()[:9])  # a record that never ends
            assert talk.answer() is None
        with counter.session(town.bob, Stage.SESSION) as talk:
            assert isinstance(talk.ask(BALANCE), Balance)
            assert receive(talk.connection) is None  # idle for too long
        unproven = counter.connect()  # an opened session without a first record
        send(unproven, counter.opening(town.alice, Stage.SESSION).frame)
        assert receive(unproven) is not None
        assert receive(unproven) is not None
        assert receive(unproven) is None
        for connection in (silent, trickling, unproven):
            connection.close()
        eventually(lambda: counter.connections == 0)


def test_trial_39_a_reader_that_never_reads_is_cut_off_and_posting_goes_on(town: Town, short_tmp: Path) -> None:
    with at_counter(town, short_tmp, limits={"send_seconds": 0.5}) as counter:
        with counter.session(town.alice, Stage.SESSION) as other:
            for place in range(30):
                other.pay(f"line-{place}", description="x" * 140)
            deaf = counter.open(town.alice, Stage.SESSION)
            asking = threading.Thread(target=_ask_for_ever, args=(deaf,))
            asking.start()
            started = time.monotonic()
            assert other.pay("meanwhile").status is Status.SETTLED
            asking.join(30)
            assert not asking.is_alive()
            eventually(lambda: counter.connections == 1)
            assert time.monotonic() - started < 30
            assert other.pay("afterwards").status is Status.SETTLED
            deaf.connection.close()
        assert "does not read" in counter.log.getvalue()


def _ask_for_ever(talk: Talk) -> None:
    try:
        for number in range(100_000):
            talk.send(AskStatement(after=0, lines=500, number=number))
    except (ConnectionLost, OSError):
        pass


def test_trial_38_above_the_limit_of_connections_busy_is_said_and_room_comes_back(town: Town, short_tmp: Path) -> None:
    with at_counter(town, short_tmp, limits={"connections": 2}) as counter:
        idle = [counter.connect() for _ in range(2)]
        eventually(lambda: counter.connections == 2)
        third = counter.connect()
        assert refusal_in(receive(third)).reason is Reason.BUSY
        assert receive(third) is None
        for each in (*idle, third):
            each.close()
        eventually(lambda: counter.connections == 0)
        with counter.session(town.alice, Stage.SESSION) as talk:
            assert isinstance(talk.ask(BALANCE), Balance)


def test_trial_38_one_address_may_not_take_all_connections(town: Town, short_tmp: Path) -> None:
    with at_counter(town, short_tmp, limits={"connections_per_address": 1}) as counter:
        first = counter.connect()
        eventually(lambda: counter.connections == 1)
        second = counter.connect()
        assert refusal_in(receive(second)).reason is Reason.BUSY
        first.close()
        second.close()


def test_trial_37_two_hundred_strangers_at_once_do_not_keep_a_customer_out(counter: Counter) -> None:
    strangers = [counter.connect() for _ in range(200)]
    try:
        for each in strangers[::2]:
            send(each, b"\0\0")
        started = time.monotonic()
        with counter.session(counter.town.alice, Stage.CERTIFIED) as talk:
            assert talk.pay("through-the-crowd").status is Status.SETTLED
        assert time.monotonic() - started < 5
    finally:
        for each in strangers:
            each.close()
    eventually(lambda: counter.connections == 0)
