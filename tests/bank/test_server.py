"""The doors of the server: what strangers may send, what a fault of ours costs, and what is written down."""

import json
import os
import signal
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from bank.journal import note
from bank.server import Server
from bank.service import Service
from bank.sessions import Sessions
from protocol.codes import Reason, Status
from protocol.frames import Frame, FrameType
from protocol.messages import Balance, Close, Closed, Refusal
from protocol.stages import Stage
from tests.bank.counter import BALANCE, Counter, Talk, at_counter, entry_of, receive, send
from tests.bank.town import Town


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
def test_trial_44_whoever_does_not_speak_the_protocol_is_hung_up_on(counter: Counter, frame: Frame | bytes) -> None:
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
def test_trial_44_a_malformed_request_is_answered_in_the_session_and_ends_it(counter: Counter, request_: bytes) -> None:
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
    honest = Service.parts

    def parts(self: Service, speaker: Any, requests: Any) -> Any:
        groups.append(len(requests))
        return honest(self, speaker, requests)

    monkeypatch.setattr(Service, "parts", parts)
    with (
        at_counter(town, short_tmp, limits={"requests_in_flight": 4}) as counter,
        counter.session(town.alice, Stage.SESSION) as talk,
    ):
        talk.send(*[BALANCE] * 20)
        for _ in range(20):
            assert isinstance(talk.answer(), Balance)
    assert max(groups) <= 4
    assert sum(groups) == 20


# Faults on the bank's side


def test_trial_32_a_gpg_that_is_killed_in_mid_session_is_replaced(counter: Counter) -> None:
    with counter.session(counter.town.alice, Stage.CERTIFIED) as talk:
        assert talk.pay("before-the-kill").status is Status.SETTLED
        workers = counter.server.opener.identities._workers._workers
        slot = next(each for each in workers if each.startswith("1001-certified"))
        running = workers[slot]._gpg
        assert running is not None
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait(10)
        assert talk.pay("after-the-kill").status is Status.SETTLED
        sealed = counter.server.opener.sealed_worker._gpg
        assert sealed is not None
        os.kill(sealed.process.pid, signal.SIGKILL)
    with counter.session(counter.town.alice, Stage.CERTIFIED) as talk:
        assert talk.pay("in-a-new-session").status is Status.SETTLED


def test_trial_32_the_agent_that_is_stopped_is_started_again(counter: Counter) -> None:
    with counter.session(counter.town.alice, Stage.CERTIFIED) as talk:
        assert talk.pay("before-the-stop").status is Status.SETTLED
        counter.home.gnupg.stop()
        assert talk.pay("after-the-stop").status is Status.SETTLED


@pytest.mark.parametrize("faulty", [(Server, "_open"), (Sessions, "serve")], ids=["in-its-thread", "in-the-loop"])
def test_trial_44_a_fault_of_the_program_costs_one_connection_and_is_logged(
    town: Town, short_tmp: Path, monkeypatch: pytest.MonkeyPatch, faulty: tuple[type, str]
) -> None:
    with at_counter(town, short_tmp) as counter:
        with monkeypatch.context() as patch:
            patch.setattr(*faulty, lambda *_: 1 / 0)
            connection = counter.connect()
            send(connection, counter.opening(town.alice, Stage.SESSION).frame)
            while receive(connection) is not None:
                continue
            connection.close()
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


def test_trial_44_the_log_is_a_line_of_json_for_each_event_without_secrets_or_raw_foreign_text(
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
        note("foreign", why="\x7f\x1b[2J\n\u2028\udcff")
    written = counter.log.getvalue()
    assert written.count("\n") > 5
    assert all(character.isprintable() or character == "\n" for character in written)
    assert written.isascii()
    for line in written.splitlines():
        assert {"time", "level", "event"} <= json.loads(line).keys()
    secrets = (town.alice.password.reveal().decode(), "K" * 32, (b"K" * 32).hex(), "S0tLS0tL", planted)
    assert not [secret for secret in secrets if secret in written]


def test_everything_secret_is_closed_to_others(counter: Counter) -> None:
    home, runtime = counter.home.path, counter.server.opener.identities._folder
    for folder in (home, home / "gnupg", runtime, *(each for each in runtime.iterdir() if each.is_dir())):
        assert stat.S_IMODE(folder.stat().st_mode) & 0o077 == 0, folder
    for file in (home / "bank.toml", *home.glob("ledger.sqlite*")):
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file
