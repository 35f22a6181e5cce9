"""The doors of the server: what strangers may send, how long they may take, and what a stop leaves behind."""

import json
import os
import signal
import socket
import stat
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from bank.server import Server
from bank.service import Service
from protocol.codes import Reason, Status
from protocol.errors import ConnectionLost
from protocol.frames import Frame, FrameType
from protocol.messages import AskStatement, Balance, Close, Closed, Refusal, Statement
from protocol.stages import Stage
from tests.bank.counter import (
    BALANCE,
    Counter,
    Talk,
    Town,
    at_counter,
    entry_of,
    eventually,
    receive,
    refusal_in,
    send,
)


@pytest.fixture(autouse=True)
def _floor(counter: Counter) -> None:
    counter.clock.ahead = 0.0
    if counter.floor("1001") is not Stage.PASSWORD:
        counter.server.customers.lower_floor("1001", Stage.PASSWORD)


# Doors


@pytest.mark.parametrize(
    "frame",
    [
        Frame(FrameType.RECORD, b"x" * 40),
        Frame(FrameType.OPENED, b"{}"),
        Frame(FrameType.REFUSED, b"{}"),
        Frame(FrameType.DESK_REQUEST, b"{}"),
        b"\0\0\0\x02\x01\x63{}",  # an unknown type
        b"\0\0\0\x02\x02\x01{}",  # another version of the protocol
        b"\0\x01\0\x01\x01\x01{}",  # a byte above 64 KiB is promised
        b"\xff\xff\xff\xff\x01\x01",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0",  # and then nothing
    ],
)
def test_whoever_does_not_speak_the_protocol_is_hung_up_on(counter: Counter, frame: Frame | bytes) -> None:
    connection = counter.connect()
    send(connection, frame)
    if frame == b"\0":
        connection._socket.shutdown(socket.SHUT_WR)
    assert receive(connection) is None
    connection.close()
    with counter.session(counter.town.alice, Stage.SESSION) as talk:
        assert isinstance(talk.ask(BALANCE), Balance)


@pytest.mark.parametrize("kind", [FrameType.OPEN, FrameType.PASSWORD, FrameType.REFUSED])
def test_inside_a_session_only_records_count(counter: Counter, kind: FrameType) -> None:
    with counter.session(counter.town.alice, Stage.SESSION) as talk:
        assert isinstance(talk.ask(BALANCE), Balance)
        send(talk.connection, counter.opening(counter.town.alice, Stage.SESSION).frame)
        assert talk.answer() is None
    with counter.session(counter.town.alice, Stage.SESSION) as talk:
        send(talk.connection, Frame(kind, b"{}"))
        assert talk.answer() is None


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"{}",
        b"null",
        b'{"type":"rob"}',
        b'{"number":-1,"type":"ask-balance"}',
        b'{"number":1.5,"type":"ask-balance"}',
        b'{"number":"1","type":"ask-balance"}',
        b'{"number":1,"type":"ask-balance","customer":"1002"}',
        b'{"after":0,"lines":501,"number":1,"type":"ask-statement"}',
        b'{"number":1,"order":5,"since":null,"type":"submit-order"}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_a_malformed_request_is_answered_authenticated_and_ends_the_session(counter: Counter, request_: bytes) -> None:
    with counter.session(counter.town.alice, Stage.SESSION) as talk:
        answer = talk.ask(request_)
        assert isinstance(answer, Refusal)
        assert (answer.reason, answer.number) == (Reason.MALFORMED, 0)
        assert answer.sentence.isprintable()
        assert talk.answer() is None


def test_close_is_answered_and_ends_the_session(counter: Counter) -> None:
    with counter.session(counter.town.alice, Stage.SESSION) as talk:
        talk.send(BALANCE, Close(number=2))
        assert isinstance(talk.answer(), Balance)
        assert talk.answer() == Closed(number=2)
        assert talk.answer() is None


def test_a_client_that_only_half_closes_gets_its_answers(counter: Counter) -> None:
    with counter.session(counter.town.alice, Stage.SESSION) as talk:
        talk.send(counter.submission(counter.town.alice, "half-closed", Stage.SESSION))
        talk.connection._socket.shutdown(socket.SHUT_WR)
        assert entry_of(talk.answer()).status is Status.SETTLED
        assert talk.answer() is None


def test_pipelined_requests_are_answered_in_their_order(counter: Counter) -> None:
    alice = counter.town.alice
    with counter.session(alice, Stage.SESSION) as talk:
        orders = [counter.submission(alice, f"piped-{n}", Stage.SESSION, number=n) for n in range(150)]
        talk.send(*orders)
        answers = [talk.answer() for _ in orders]
    assert [entry_of(each).transfer_identifier for each in answers] == [f"piped-{n}" for n in range(150)]


def test_no_more_than_the_allowed_requests_are_taken_before_the_first_is_answered(
    town: Town, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    honest = Service.answer

    def answer(self: Service, speaker: Any, requests: Any) -> Any:
        groups.append(len(requests))
        return honest(self, speaker, requests)

    monkeypatch.setattr(Service, "answer", answer)
    with (
        at_counter(town, short_tmp, limits={"requests_in_flight": 4}) as counter,
        counter.session(town.alice, Stage.SESSION) as talk,
    ):
        talk.send(*[BALANCE] * 20)
        for _ in range(20):
            assert isinstance(talk.answer(), Balance)
    assert max(groups) <= 4
    assert sum(groups) == 20


# Time and room


def test_who_is_silent_or_trickles_is_evicted_and_an_honest_session_goes_on(town: Town, short_tmp: Path) -> None:
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


def test_a_reader_that_never_reads_is_cut_off_and_posting_goes_on(town: Town, short_tmp: Path) -> None:
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


def test_above_the_limit_of_connections_busy_is_said_and_room_comes_back(town: Town, short_tmp: Path) -> None:
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


def test_one_address_may_not_take_all_connections(town: Town, short_tmp: Path) -> None:
    with at_counter(town, short_tmp, limits={"connections_per_address": 1}) as counter:
        first = counter.connect()
        eventually(lambda: counter.connections == 1)
        second = counter.connect()
        assert refusal_in(receive(second)).reason is Reason.BUSY
        first.close()
        second.close()


def test_two_hundred_strangers_at_once_do_not_keep_a_customer_out(counter: Counter) -> None:
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


# Faults on the bank's side


def test_a_gpg_that_is_killed_in_mid_session_is_replaced(counter: Counter) -> None:
    with counter.session(counter.town.alice, Stage.CERTIFIED) as talk:
        assert talk.pay("before-the-kill").status is Status.SETTLED
        workers = counter.server.service.identities._workers._workers
        running = workers["1001-certified"]._gpg
        assert running is not None
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait(10)
        assert talk.pay("after-the-kill").status is Status.SETTLED
        sealed = counter.server.opener.sealed_worker._gpg
        assert sealed is not None
        os.kill(sealed.process.pid, signal.SIGKILL)
    with counter.session(counter.town.alice, Stage.CERTIFIED) as talk:
        assert talk.pay("in-a-new-session").status is Status.SETTLED


def test_the_agent_that_is_stopped_is_started_again(counter: Counter) -> None:
    with counter.session(counter.town.alice, Stage.CERTIFIED) as talk:
        assert talk.pay("before-the-stop").status is Status.SETTLED
        counter.home.gnupg.stop()
        assert talk.pay("after-the-stop").status is Status.SETTLED


def test_a_fault_of_the_program_costs_one_connection_and_is_logged(
    town: Town, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with at_counter(town, short_tmp) as counter:
        with monkeypatch.context() as patch:
            patch.setattr(Server, "_session", lambda *_: 1 / 0)
            assert counter.say(counter.opening(town.alice, Stage.SESSION).frame) is None
        with counter.session(town.alice, Stage.SESSION) as talk:
            assert isinstance(talk.ask(BALANCE), Balance)
        events = [json.loads(line) for line in counter.log.getvalue().splitlines()]
    faults = [event for event in events if event["event"] == "fault"]
    assert len(faults) == 1
    assert faults[0]["level"] == "critical"
    assert "ZeroDivisionError" in faults[0]["trace"]


def test_no_gpg_is_started_for_a_transfer_inside_an_open_session(
    town: Town, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = short_tmp / "started"
    wrapper = short_tmp / "bin" / "gpg"
    wrapper.parent.mkdir()
    gpg = next(path for path in os.environ["PATH"].split(":") if (Path(path) / "gpg").exists())
    wrapper.write_text(f'#!/bin/sh\necho "$*" >> {started}\nexec {gpg}/gpg "$@"\n')
    wrapper.chmod(0o700)
    with at_counter(town, short_tmp) as counter:
        orders = [counter.submission(town.alice, f"counted-{n}", Stage.CERTIFIED) for n in range(5)]
        opening = counter.opening(town.alice, Stage.CERTIFIED)
        monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
        connection = counter.connect()
        talk = Talk(counter, town.alice, Stage.CERTIFIED, connection, opening.answered(connection))
        assert entry_of(talk.ask(orders[0])).status is Status.SETTLED
        before = started.read_text().splitlines()
        assert before  # the wrapper is really asked: opening the session starts some
        for order in orders[1:]:
            assert entry_of(talk.ask(order)).status is Status.SETTLED
        assert started.read_text().splitlines() == before
        connection.close()


# What is written down


def test_the_log_is_a_line_of_json_for_each_event_without_secrets_or_raw_foreign_text(
    town: Town, short_tmp: Path
) -> None:
    planted = "planted description"
    with at_counter(town, short_tmp) as counter:
        with counter.session(town.alice, Stage.CERTIFIED) as talk:
            assert talk.pay("logged", description=planted).status is Status.SETTLED
            assert talk.refusal(counter.submission(town.alice, "bad", Stage.CERTIFIED, by=town.bob))
            talk.ask(b'{"type":"\\u001b[31m\\n{\\"event\\":\\"serving\\"}\x7f"}')
        counter.server.customers.lower_floor("1001", Stage.PASSWORD)
        counter.ask(town.alice, counter.submission(town.alice, "logged-2", Stage.PASSWORD, description=planted))
        for body in (b'{"\x7f\xc2\x85\\u000a[GNUPG:]":1}', b"{", "\u202e".encode()):
            counter.say(Frame(FrameType.OPEN, body))
            counter.say(Frame(FrameType.PASSWORD, body))
        counter.say(counter.password_frame(town.alice, BALANCE, claimed="\x1b[2J"))
    written = counter.log.getvalue()
    assert written.count("\n") > 5
    assert all(character.isprintable() or character == "\n" for character in written)
    assert written.isascii()
    for line in written.splitlines():
        assert {"time", "level", "event"} <= json.loads(line).keys()
    secrets = (town.alice.password.reveal().decode(), "K" * 32, (b"K" * 32).hex(), "S0tLS0tL", planted)
    assert not [secret for secret in secrets if secret in written]


def test_everything_secret_is_closed_to_others(counter: Counter) -> None:
    home, runtime = counter.home.path, counter.server.service.identities._folder
    for folder in (home, home / "gnupg", runtime, *(each for each in runtime.iterdir() if each.is_dir())):
        assert stat.S_IMODE(folder.stat().st_mode) & 0o077 == 0, folder
    for file in (home / "bank.toml", *home.glob("ledger.sqlite*")):
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file


# Stopping


def test_a_stop_under_load_answers_what_it_took_and_posts_nothing_unanswered(town: Town, short_tmp: Path) -> None:
    """Trial 40: clients that go on sending; the stop comes while they do."""
    paid: list[str] = []
    ended: list[object] = []

    def customer(counter: Counter, name: int) -> None:
        with counter.session(town.alice, Stage.SESSION) as talk:
            try:
                for place in range(10_000):
                    answer = talk.ask(counter.submission(town.alice, f"load-{name}-{place}", Stage.SESSION))
                    if isinstance(answer, Refusal):
                        ended.append(answer.reason)
                        return
                    paid.append(entry_of(answer).transfer_identifier)
            except (ConnectionLost, AssertionError) as error:
                ended.append(error)

    with at_counter(town, short_tmp) as counter:
        threads = [threading.Thread(target=customer, args=(counter, name)) for name in range(4)]
        for thread in threads:
            thread.start()
        eventually(lambda: len({each.split("-")[1] for each in paid}) == 4)
        started = time.monotonic()
        assert counter.server.stop()
        assert time.monotonic() - started < 5
        for thread in threads:
            thread.join(10)
        booked = {each for each in _identifiers(counter) if each.startswith("load-")}
        with pytest.raises(ConnectionLost):
            counter.connect()
        assert counter.connections == 0
    assert booked == set(paid)
    assert ended == [Reason.STOPPING] * 4


def test_a_stop_does_not_wait_for_a_client_that_sends_without_an_end(town: Town, short_tmp: Path) -> None:
    with at_counter(town, short_tmp, limits={"requests_in_flight": 2}) as counter:
        talk = counter.open(town.alice, Stage.SESSION)
        answered: list[object] = []

        def pour() -> None:
            try:
                while True:
                    talk.send(BALANCE)
            except (ConnectionLost, OSError):
                pass

        def drain() -> None:
            while (answer := talk.answer()) is not None:
                answered.append(answer)

        threads = [threading.Thread(target=each) for each in (pour, drain)]
        for thread in threads:
            thread.start()
        eventually(lambda: len(answered) > 10)
        started = time.monotonic()
        assert counter.server.stop()
        assert time.monotonic() - started < 5
        for thread in threads:
            thread.join(10)
        talk.connection.close()


def test_an_order_under_way_is_waited_for_and_an_opening_refused(
    town: Town, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with at_counter(town, short_tmp) as counter:
        posting = counter.server.service.posting
        taken, go_on, honest = threading.Event(), threading.Event(), posting.submit

        def slowly(submission: Any) -> "Future[Any]":
            taken.set()
            assert go_on.wait(10)
            return honest(submission)

        monkeypatch.setattr(posting, "submit", slowly)
        waiting = counter.connect()
        with counter.session(town.alice, Stage.SESSION) as talk:
            talk.send(counter.submission(town.alice, "under-way", Stage.SESSION))
            assert taken.wait(10)
            stopping = threading.Thread(target=counter.server.stop)
            stopping.start()
            eventually(counter.server._listener.is_stopping)
            go_on.set()
            assert entry_of(talk.answer()).status is Status.SETTLED
            last = talk.answer()
            assert isinstance(last, Refusal)
            assert (last.reason, last.number) == (Reason.STOPPING, 0)
        assert receive(waiting) is None
        waiting.close()
        stopping.join(10)
        assert not stopping.is_alive()


def test_threads_end_with_the_server(town: Town, short_tmp: Path) -> None:
    before = {thread.ident for thread in threading.enumerate()}
    with at_counter(town, short_tmp) as counter:
        with counter.session(town.alice, Stage.CERTIFIED) as talk:
            assert isinstance(talk.ask(AskStatement(after=0, lines=5, number=1)), Statement)
        assert {thread.name for thread in threading.enumerate()} >= {"accept", "posting"}
    eventually(lambda: {thread.ident for thread in threading.enumerate()} <= before)


def _identifiers(counter: Counter) -> list[str]:
    with counter.ledger.reading() as connection:
        rows = connection.exec_driver_sql("SELECT entry FROM entry").scalars().all()
    return [str(json.loads(row)["transfer_identifier"]) for row in rows]
