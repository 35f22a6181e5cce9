"""Many strangers at a bank's door, each of whom keeps a connection open and says nothing that is worth an answer."""

import selectors
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from protocol.transport import Address

CONNECT_SECONDS = 10.0


@dataclass
class Crowd:
    """Connections from many addresses of this machine; those that the bank ended are counted, with what it said."""

    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    open: dict[socket.socket, float] = field(default_factory=dict)
    """Since when each is connected (monotonic seconds)."""
    lasted: list[float] = field(default_factory=list)
    """How many seconds the bank bore with each that it has ended."""
    heard: list[bytes] = field(default_factory=list)
    """What it said to those to whom it said anything."""

    def join(self, address: Address, place: int) -> socket.socket:
        """One more; every thousandth comes from the same address."""
        source = (f"127.1.{place % 1000 // 200}.{place % 200 + 1}", 0)
        sock = socket.create_connection((address.host, address.port), CONNECT_SECONDS, source_address=source)
        sock.setblocking(False)
        self.selector.register(sock, selectors.EVENT_READ)
        self.open[sock] = time.monotonic()
        return sock

    def watch(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Notice for so long, or until something is so, who is answered and who is hung up on."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not until():
            for key, _ in self.selector.select(min(left, 0.2)):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                try:
                    said = sock.recv(4096)
                except OSError:
                    said = b""
                if said:
                    self.heard.append(said)
                    continue
                self.lasted.append(time.monotonic() - self.open[sock])
                self.leave(sock)

    def say(self, sock: socket.socket, data: bytes) -> None:
        """Say something, if there is still somebody to say it to."""
        with suppress(OSError):  # hung up on, which watch() notices
            sock.send(data)

    def leave(self, sock: socket.socket) -> None:
        self.selector.unregister(sock)
        del self.open[sock]
        sock.close()


@contextmanager
def crowd() -> Iterator[Crowd]:
    """A crowd that has gone in the end."""
    made = Crowd()
    try:
        yield made
    finally:
        for sock in list(made.open):
            made.leave(sock)
        made.selector.close()
