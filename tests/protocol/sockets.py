"""Both ends of a connection, for tests of what waits at one of them."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from protocol.errors import ConnectionLost, RemoteProtocolError
from protocol.frames import Frame, FrameType
from protocol.transport import Address, Connection, Listener, ListenerLimits

HELLO = Frame(FrameType.RECORD, b"hello")
BUSY = Frame(FrameType.REFUSED, b"busy")
ROOMY = ListenerLimits(connections=8, connections_per_address=8)
LONG = 30.0
SHORT = 0.15


@contextmanager
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    """A connection of ours and the bare socket at its other end."""
    ours, theirs = _tcp_pair()
    connection = Connection(ours, peer="them")
    try:
        yield connection, theirs
    finally:
        connection.close()
        theirs.close()


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        return ours, server.accept()[0]


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something is so; it fails the test if it never is."""
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def echo(connection: Connection) -> None:
    """Answers every frame with itself."""
    with suppress(ConnectionLost, RemoteProtocolError):
        while (frame := connection.receive(idle_seconds=LONG, frame_seconds=LONG)) is not None:
            connection.send(frame, timeout_seconds=LONG)


@contextmanager
def listening(
    handle: Callable[[Connection], bool | None] = echo, limits: ListenerLimits = ROOMY, host: str = "127.0.0.1"
) -> Iterator[Listener]:
    listener = Listener(Address(host, 0), handle, lambda: BUSY, limits)
    listener.start()
    try:
        yield listener
    finally:
        listener.stop(LONG)


def ask(connection: Connection, frame: Frame = HELLO) -> Frame | None:
    connection.send(frame, timeout_seconds=LONG)
    return connection.receive(idle_seconds=LONG, frame_seconds=LONG)
