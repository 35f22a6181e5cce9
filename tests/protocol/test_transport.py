"""Every wait has an end: slow, silent, deaf and too many peers are let go (trials 37, 39)."""

import os
import resource
import socket
import threading
import time
from contextlib import closing, suppress

import pytest

from protocol.errors import ConnectionLost, LocalProtocolError, RemoteProtocolError
from protocol.frames import Frame, FrameType
from protocol.limits import FRAME_BYTES_BEFORE_SESSION
from protocol.transport import Address, Connection, Listener, ListenerLimits, connect, network_of
from tests.protocol.sockets import BUSY, HELLO, LONG, ROOMY, SHORT, ask, echo, eventually, listening, pair


def none(_: object) -> None:
    """For a handler that is one call."""


# --- both ends ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_frame_goes_there_and_back(host: str) -> None:
    with listening(host=host) as listener, closing(connect(listener.address, timeout_seconds=LONG)) as connection:
        assert str(listener.address) == str(Address(host, listener.address.port))
        assert ask(connection) == HELLO


@pytest.mark.parametrize("host", ["127.0.0.1", "a" * 64 + ".example", "\0", "no-such-host.invalid"])
def test_nobody_there_is_said_in_a_sentence(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(ConnectionLost, match=r"[Nn]othing was sent"):
        connect(Address(host, port), timeout_seconds=5)


def test_an_address_in_use_is_said_in_a_sentence() -> None:
    with listening() as listener, pytest.raises(LocalProtocolError, match="Cannot listen at"):
        Listener(listener.address, echo, lambda: BUSY, ROOMY)


# --- deadlines ------------------------------------------------------------------------------------------------------


def test_silence_ends_at_the_idle_deadline() -> None:
    with pair() as (connection, _), pytest.raises(ConnectionLost, match="said nothing"):
        connection.receive(idle_seconds=SHORT, frame_seconds=LONG)


@pytest.mark.parametrize("begun", [1, 5, 6, 10])
def test_a_frame_that_stops_ends_at_the_frame_deadline(begun: int) -> None:
    with pair() as (connection, theirs):
        theirs.sendall(HELLO.encode()[:begun])
        with pytest.raises(ConnectionLost, match="did not finish"):
            connection.receive(idle_seconds=LONG, frame_seconds=SHORT)


def test_a_byte_now_and_then_does_not_move_the_deadline() -> None:
    """Trial 37: each byte comes in time, the message as a whole does not."""
    with pair() as (connection, theirs):
        stop = threading.Event()

        def trickle() -> None:
            for byte in Frame(FrameType.RECORD, bytes(10_000)).encode():
                if stop.wait(SHORT / 10):
                    return
                theirs.sendall(bytes((byte,)))

        thread = threading.Thread(target=trickle)
        thread.start()
        started = time.monotonic()
        with pytest.raises(ConnectionLost, match="did not finish"):
            connection.receive(idle_seconds=LONG, frame_seconds=4 * SHORT)
        assert time.monotonic() - started < LONG / 2
        stop.set()
        thread.join()


def test_the_rest_of_a_frame_begun_behind_another_has_the_frame_deadline() -> None:
    with pair() as (connection, theirs):
        theirs.sendall(HELLO.encode() + HELLO.encode()[:3])
        assert connection.receive(idle_seconds=LONG, frame_seconds=LONG) == HELLO
        with pytest.raises(ConnectionLost, match="did not finish"):
            connection.receive(idle_seconds=LONG, frame_seconds=SHORT)


def test_a_peer_that_never_reads_is_given_up() -> None:
    """Trial 39: what waits for it is bounded by the socket's buffers, and the time by the deadline."""
    with pair() as (connection, _):
        large = Frame(FrameType.RECORD, bytes(16 * 1024 * 1024))
        started = time.monotonic()
        with pytest.raises(ConnectionLost, match="does not read"):
            connection.send(large, timeout_seconds=SHORT)
        assert time.monotonic() - started < LONG / 2


def test_an_end_between_frames_is_an_end_and_within_one_a_loss() -> None:
    with pair() as (connection, theirs):
        theirs.sendall(HELLO.encode())
        theirs.shutdown(socket.SHUT_WR)
        assert connection.receive(idle_seconds=LONG, frame_seconds=LONG) == HELLO
        assert connection.receive(idle_seconds=LONG, frame_seconds=LONG) is None
    with pair() as (connection, theirs):
        theirs.sendall(HELLO.encode()[:-1])
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionLost, match="in the middle"):
            connection.receive(idle_seconds=LONG, frame_seconds=LONG)


def test_a_reset_is_a_loss() -> None:
    with pair() as (connection, theirs):
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        theirs.close()
        with pytest.raises(ConnectionLost, match="broke"):
            connection.receive(idle_seconds=LONG, frame_seconds=LONG)
        with pytest.raises(ConnectionLost, match="broke"):
            connection.send(HELLO, timeout_seconds=LONG)


def test_frames_above_the_limit_are_refused_until_it_is_raised() -> None:
    large = Frame(FrameType.RECORD, bytes(FRAME_BYTES_BEFORE_SESSION + 1))
    with pair() as (connection, theirs):
        theirs.sendall(large.encode()[:6])
        with pytest.raises(RemoteProtocolError, match="limit"):
            connection.receive(idle_seconds=LONG, frame_seconds=LONG)
    with pair() as (connection, theirs):
        connection.raise_frame_limit(FRAME_BYTES_BEFORE_SESSION + 1)
        sender = threading.Thread(target=theirs.sendall, args=(large.encode(),))
        sender.start()
        assert connection.receive(idle_seconds=LONG, frame_seconds=LONG) == large
        sender.join()


def test_what_came_together_with_a_frame_is_known_without_asking_the_system() -> None:
    with pair() as (connection, theirs):
        theirs.sendall(HELLO.encode() * 2)
        assert not connection.has_input()
        connection.receive(idle_seconds=LONG, frame_seconds=LONG)
        assert connection.has_input()
        connection.receive(idle_seconds=LONG, frame_seconds=LONG)
        assert not connection.has_input()


def test_observers_see_every_frame() -> None:
    seen: list[tuple[str, Frame]] = []
    with listening() as listener:
        connection = connect(listener.address, timeout_seconds=LONG, observe=lambda *event: seen.append(event))
        with closing(connection):
            ask(connection)
    assert seen == [("sent", HELLO), ("received", HELLO)]


def test_an_interrupt_ends_a_wait_and_what_was_read_may_still_be_answered() -> None:
    with pair() as (connection, theirs):
        threading.Timer(0.05, connection.interrupt).start()
        assert connection.receive(idle_seconds=LONG, frame_seconds=LONG) is None
        connection.send(HELLO, timeout_seconds=LONG)
        assert theirs.recv(100) == HELLO.encode()


# --- listeners ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [ListenerLimits(2, 8), ListenerLimits(8, 2)], ids=["in all", "from one address"])
def test_connections_above_a_limit_are_told_so_and_others_are_served(limits: ListenerLimits) -> None:
    with listening(limits=limits) as listener:
        first, second = (connect(listener.address, timeout_seconds=LONG) for _ in range(2))
        assert (ask(first), ask(second), listener.connections) == (HELLO, HELLO, 2)
        third = connect(listener.address, timeout_seconds=LONG)
        assert third.receive(idle_seconds=LONG, frame_seconds=LONG) == BUSY
        assert third.receive(idle_seconds=LONG, frame_seconds=LONG) is None
        assert ask(first) == HELLO
        # A place that becomes free is given again.
        second.close()
        eventually(lambda: listener.connections == 1)
        fourth = connect(listener.address, timeout_seconds=LONG)
        assert ask(fourth) == HELLO
        for connection in (first, third, fourth):
            connection.close()


def test_addresses_are_counted_apart() -> None:
    with (
        listening(limits=ListenerLimits(8, 1)) as listener,
        closing(connect(listener.address, timeout_seconds=LONG)) as one,
    ):
        assert ask(one) == HELLO
        place = (listener.address.host, listener.address.port)
        other = Connection(socket.create_connection(place, source_address=("127.0.0.2", 0)), peer="127.0.0.2")
        with closing(other):
            assert ask(other) == HELLO


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:0:7::1", "2001:db8:0:7:ffff:ffff:ffff:ffff", True),
        ("2001:db8:0:7::1", "2001:db8:0:8::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
    ],
)
def test_trial_37_whoever_has_a_network_of_ipv6_counts_as_one_address(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) is same


def test_a_handler_that_fails_costs_its_connection_only(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: seen.append(arguments.exc_type))

    def fail(connection: Connection) -> None:
        if connection.receive(idle_seconds=LONG, frame_seconds=LONG) != HELLO:
            raise ZeroDivisionError
        connection.send(HELLO, timeout_seconds=LONG)

    with listening(fail) as listener:
        with closing(connect(listener.address, timeout_seconds=LONG)) as broken:
            assert ask(broken, BUSY) is None
        eventually(lambda: listener.connections == 0)
        with closing(connect(listener.address, timeout_seconds=LONG)) as honest:
            assert ask(honest) == HELLO
    assert seen == [ZeroDivisionError]


def test_threads_that_cannot_be_had_are_answered_with_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as listener:
        start = threading.Thread.start

        def refuse_one(thread: threading.Thread) -> None:
            monkeypatch.setattr(threading.Thread, "start", start)
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse_one)
        with closing(connect(listener.address, timeout_seconds=LONG)) as unlucky:
            assert unlucky.receive(idle_seconds=LONG, frame_seconds=LONG) == BUSY
        assert listener.connections == 0
        with closing(connect(listener.address, timeout_seconds=LONG)) as lucky:
            assert ask(lucky) == HELLO


def test_descriptors_that_cannot_be_had_do_not_end_the_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    tried, wait = threading.Event(), time.sleep

    def noticed(seconds: float) -> None:
        tried.set()
        wait(seconds)

    with listening() as listener, socket.socket() as waiting:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        filled = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (waiting.fileno() + 1, hard))
        try:
            with suppress(OSError):
                while True:
                    filled.append(os.dup(waiting.fileno()))
            monkeypatch.setattr(time, "sleep", noticed)
            waiting.connect((listener.address.host, listener.address.port))
            assert tried.wait(LONG)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for descriptor in filled:
                os.close(descriptor)
        assert ask(Connection(waiting, peer="late")) == HELLO


def test_stop_lets_a_handler_answer_what_it_has_read() -> None:
    reading, answering = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        frame = connection.receive(idle_seconds=LONG, frame_seconds=LONG)
        assert frame is not None
        reading.set()
        answering.wait(LONG)
        connection.send(frame, timeout_seconds=LONG)

    with listening(slow) as listener, closing(connect(listener.address, timeout_seconds=LONG)) as connection:
        connection.send(HELLO, timeout_seconds=LONG)
        assert reading.wait(LONG)
        ended: list[bool] = []
        stopping = threading.Thread(target=lambda: ended.append(listener.stop(LONG)))
        stopping.start()
        eventually(listener.is_stopping)
        answering.set()
        stopping.join()
        assert ended == [True]
        assert connection.receive(idle_seconds=LONG, frame_seconds=LONG) == HELLO
        with pytest.raises(ConnectionLost, match="Nobody answers"):
            connect(listener.address, timeout_seconds=1)


def test_stop_waits_no_longer_than_it_may() -> None:
    release = threading.Event()
    with listening(lambda _: none(release.wait(LONG))) as listener:
        connection = connect(listener.address, timeout_seconds=LONG)
        eventually(lambda: listener.connections == 1)
        assert not listener.stop(SHORT)
        # Its connection is closed all the same.
        assert connection.receive(idle_seconds=LONG, frame_seconds=LONG) is None
        release.set()
        eventually(lambda: listener.connections == 0)
        connection.close()


def test_stop_wakes_those_who_wait_for_input() -> None:
    with listening() as listener:
        connections = [connect(listener.address, timeout_seconds=LONG) for _ in range(4)]
        eventually(lambda: listener.connections == 4)
        started = time.monotonic()
        assert listener.stop(LONG)
        assert time.monotonic() - started < LONG / 2
        for connection in connections:
            connection.close()


def test_a_listener_may_be_stopped_again_and_without_a_start() -> None:
    listener = Listener(Address("127.0.0.1", 0), echo, lambda: BUSY, ROOMY)
    assert listener.stop(LONG)
    assert listener.stop(LONG)
