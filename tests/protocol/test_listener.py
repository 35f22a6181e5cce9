"""A listener's connections count while anybody uses them, and processes at one socket take about as many each."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from protocol.errors import ConnectionLost
from protocol.transport import Address, Connection, Listener, ListenerLimits, Share, connect, listen
from tests.protocol.sockets import BUSY, HELLO, LONG, ROOMY, SHORT, ask, echo, eventually, listening


def keeping(kept: list[Connection]) -> Callable[[Connection], bool]:
    """A handler that leaves its connections to others."""

    def keep(connection: Connection) -> bool:
        kept.append(connection)
        return True

    return keep


def test_a_connection_that_is_used_on_counts_until_it_is_closed() -> None:
    kept: list[Connection] = []
    with listening(keeping(kept), ListenerLimits(1, 1)) as listener:
        with closing(connect(listener.address, timeout_seconds=LONG)) as first:
            eventually(lambda: len(kept) == 1)
            with closing(connect(listener.address, timeout_seconds=LONG)) as second:
                assert second.receive(idle_seconds=LONG, frame_seconds=LONG) == BUSY
            kept[0].send(HELLO, timeout_seconds=LONG)
            assert first.receive(idle_seconds=LONG, frame_seconds=LONG) == HELLO
        assert listener.connections == 1
        kept[0].close()
        assert listener.connections == 0
        kept[0].close()
        with closing(connect(listener.address, timeout_seconds=LONG)):
            eventually(lambda: len(kept) == 2)
        kept[1].close()


def test_stop_waits_for_those_who_use_a_connection_on() -> None:
    kept: list[Connection] = []
    with listening(keeping(kept)) as listener, closing(connect(listener.address, timeout_seconds=LONG)) as connection:
        eventually(lambda: len(kept) == 1)
        ended: list[bool] = []
        stopping = threading.Thread(target=lambda: ended.append(listener.stop(LONG)))
        stopping.start()
        # It is woken, and may say its last word.
        assert kept[0].receive(idle_seconds=LONG, frame_seconds=LONG) is None
        kept[0].send(HELLO, timeout_seconds=LONG)
        assert not ended
        kept[0].close()
        stopping.join(LONG)
        assert ended == [True]
        assert connection.receive(idle_seconds=LONG, frame_seconds=LONG) == HELLO


def test_stop_breaks_off_a_connection_that_is_used_on_for_too_long() -> None:
    kept: list[Connection] = []
    with listening(keeping(kept)) as listener, closing(connect(listener.address, timeout_seconds=LONG)) as connection:
        eventually(lambda: len(kept) == 1)
        assert not listener.stop(SHORT)
        assert connection.receive(idle_seconds=LONG, frame_seconds=LONG) is None
        with pytest.raises(ConnectionLost):
            kept[0].send(HELLO, timeout_seconds=LONG)
        assert listener.connections == 1  # until whoever uses it closes it
        kept[0].close()
        assert listener.connections == 0


# --- several at one socket ------------------------------------------------------------------------------------------


@contextmanager
def sharing(processes: int) -> Iterator[Callable[[int], Listener]]:
    """Starts, for each place, a listener at one and the same socket."""
    place, counts, started = listen(Address("127.0.0.1", 0)), [0] * processes, []

    def start(which: int) -> Listener:
        listener = Listener(place.dup(), echo, lambda: BUSY, ROOMY, Share(counts, which))
        listener.start()
        started.append(listener)
        return listener

    try:
        yield start
    finally:
        for listener in started:
            listener.stop(LONG)
        place.close()


def test_a_process_with_more_connections_leaves_the_next_to_those_with_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocol.transport.LEAVE_SECONDS", 0.5)  # on a busy machine, too
    with sharing(2) as start:
        first = start(0)
        connections = []
        # While it is alone, the first takes what it leaves to the other in vain.
        for _ in range(3):
            connections.append(connect(first.address, timeout_seconds=LONG))
            assert ask(connections[-1]) == HELLO
        second = start(1)
        for _ in range(3):
            connections.append(connect(first.address, timeout_seconds=LONG))
            assert ask(connections[-1]) == HELLO
        assert (first.connections, second.connections) == (3, 3)
        for connection in connections:
            connection.close()


def test_what_a_dead_process_would_have_taken_is_taken_by_the_others() -> None:
    with sharing(3) as start:
        first, second = start(0), start(1)
        second.stop(LONG)
        # The third has never begun: both show no connections, and get none.
        connections = [connect(first.address, timeout_seconds=LONG) for _ in range(ROOMY.connections)]
        assert [ask(each) for each in connections] == [HELLO] * ROOMY.connections
        assert first.connections == ROOMY.connections
        for connection in connections:
            connection.close()
