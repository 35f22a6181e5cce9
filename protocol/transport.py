"""The one module with sockets: listening, connecting, and frames read and written under deadlines and limits."""

import ipaddress
import re
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from protocol.errors import ConnectionLost, LocalProtocolError
from protocol.frames import Frame, FrameReader
from protocol.limits import FRAME_BYTES_BEFORE_SESSION

READ_BYTES = 64 * 1024
BACKLOG = 512
REFUSAL_SECONDS = 0.2
"""How long a connection above the limits may keep the others waiting while it is told so."""

_ADDRESS = re.compile(
    r"(?:\[(?P<bracketed>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<host>[^\s:\[\]]+)):(?P<port>[0-9]{1,5})", re.ASCII
)

Socket = socket.socket
"""For those who pass one on and may not use it: sockets are used in this module."""

Observer = Callable[[str, Frame], None]
"""Is told of each frame: ``"sent"`` or ``"received"``."""


@dataclass(frozen=True)
class Address:
    """Host and TCP port, written ``host:port`` or ``[IPv6]:port``."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read an address; LocalProtocolError says how one is written."""
        match = _ADDRESS.fullmatch(text.strip())
        if match is None or int(match["port"]) > 65535:
            raise LocalProtocolError(f"{text[:80]!r} is not an address; write it as host:port, such as 127.0.0.1:7401.")
        return cls(match["bracketed"] or match["host"], int(match["port"]))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Connection:
    """One TCP connection that carries frames; used by one thread, save :meth:`interrupt`."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        frame_limit: int = FRAME_BYTES_BEFORE_SESSION,
        peer: str = "",
        network: str = "",
        observe: Observer | None = None,
    ) -> None:
        """``peer`` is the other party's name in sentences, ``network`` where it counts as coming from."""
        # Time limits are the kernel's: Python's own would cost two system calls more for each one that waits, and every
        # system call lets other threads take the interpreter.
        sock.settimeout(None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        self._limits: dict[int, float] = {}
        self._reader = FrameReader(frame_limit)
        self._observe = observe
        self.peer = peer
        self.network = network

    def raise_frame_limit(self, frame_limit: int) -> None:
        """Accept larger frames from now on: a session is open."""
        self._reader.limit = frame_limit

    def send(self, *frames: Frame, timeout_seconds: float) -> None:
        """Send frames in one piece; ConnectionLost if the other party does not take them in time."""
        deadline = time.monotonic() + timeout_seconds
        rest = memoryview(b"".join([frame.encode() for frame in frames]))
        try:
            self._limit(socket.SO_SNDTIMEO, timeout_seconds)
            while (sent := self._socket.send(rest)) < len(rest):
                rest = rest[sent:]
                self._limit(socket.SO_SNDTIMEO, deadline - time.monotonic())
        except (BlockingIOError, TimeoutError):
            raise ConnectionLost(f"{self.peer} does not read what is sent to it; the connection is given up.") from None
        except OSError as error:
            raise ConnectionLost(f"The connection to {self.peer} broke: {error.strerror or error}.") from None
        if self._observe:
            for frame in frames:
                self._observe("sent", frame)

    def receive(self, *, idle_seconds: float, frame_seconds: float) -> Frame | None:
        """The next frame; None if the other party closed between frames.

        Waits ``idle_seconds`` for its first byte and ``frame_seconds`` from then on for the whole, however slowly
        it trickles. ConnectionLost on time-out, reset or an end within a frame.
        """
        started = self._reader.pending_bytes > 0
        seconds = frame_seconds if started else idle_seconds
        deadline = time.monotonic() + seconds
        while (frame := self._reader.next_frame()) is None:
            data = self._read(seconds, started)
            if not data:
                if started:
                    raise ConnectionLost(f"{self.peer} closed the connection in the middle of a message.")
                return None
            if not started:
                started, deadline = True, time.monotonic() + frame_seconds
            self._reader.receive_data(data)
            seconds = deadline - time.monotonic()
        if self._observe:
            self._observe("received", frame)
        return frame

    def has_input(self) -> bool:
        """Whether a further frame, or its beginning, was read together with the last; :meth:`receive` gives it."""
        return self._reader.pending_bytes > 0

    def interrupt(self) -> None:
        """Make a waiting :meth:`receive` see the end of input; what was read may still be answered (any thread)."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """End the connection; harmless when repeated."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _read(self, seconds: float, started: bool) -> bytes:
        try:
            self._limit(socket.SO_RCVTIMEO, seconds)
            return self._socket.recv(READ_BYTES)
        except (BlockingIOError, TimeoutError):
            what = "did not finish its message" if started else "said nothing"
            raise ConnectionLost(f"{self.peer} {what} within the time limit.") from None
        except OSError as error:
            raise ConnectionLost(f"The connection to {self.peer} broke: {error.strerror or error}.") from None

    def _limit(self, option: int, seconds: float) -> None:
        """Let a wait last so long; nearly always as long as the one before."""
        if self._limits.get(option) == seconds:
            return
        microseconds = int(seconds * 1_000_000)
        if microseconds <= 0:  # to the kernel no time at all means no limit
            raise TimeoutError
        self._socket.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", *divmod(microseconds, 1_000_000)))
        self._limits[option] = seconds


def connect(address: Address, *, timeout_seconds: float, observe: Observer | None = None) -> Connection:
    """Open a connection; ConnectionLost says that nothing was sent."""
    try:
        sock = socket.create_connection((address.host, address.port), timeout=timeout_seconds)
    except UnicodeError:  # a name that cannot be asked for: one of its parts has more than 63 characters
        raise ConnectionLost(f"{address.host[:80]!a} is not the name of a machine; nothing was sent.") from None
    except OSError as error:
        raise ConnectionLost(
            f"Nobody answers at {address}: {error.strerror or error}. Nothing was sent; is the server running there?"
        ) from None
    return Connection(sock, peer=str(address), observe=observe)


def network_of(host: str) -> str:
    """What counts as one address: one of IPv4, or the /64 network of one of IPv6, which a single party has whole."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))


@dataclass(frozen=True)
class ListenerLimits:
    """How many connections a listener keeps at once, in all and from one network (see :func:`network_of`)."""

    connections: int
    connections_per_address: int


def listen(address: Address) -> socket.socket:
    """A socket for a :class:`Listener`, or for those of several processes; LocalProtocolError says why not."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        sock = socket.create_server((address.host, address.port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        raise LocalProtocolError(f"Cannot listen at {address}: {getattr(error, 'strerror', None) or error}.") from None
    # Processes that share it are all told of a connection, and only one of them gets it.
    sock.setblocking(False)
    return sock


class Listener:
    """Accepts connections and gives each a thread of its own that runs ``handle``.

    ``refuse`` makes the frame that a connection above the limits is answered with before it is closed.
    """

    def __init__(
        self,
        place: Address | socket.socket,
        handle: Callable[[Connection], None],
        refuse: Callable[[], Frame],
        limits: ListenerLimits,
    ) -> None:
        """``place`` is where to listen, or what :func:`listen` gave: other processes may have that, too.

        LocalProtocolError says why one cannot listen there.
        """
        self._socket = listen(place) if isinstance(place, Address) else place
        self._handle = handle
        self._refuse = refuse
        self._limits = limits
        self._lock = threading.Lock()
        self._open: dict[Connection, threading.Thread] = {}
        self._per_network: Counter[str] = Counter()
        self._stopping = False
        self._alarm, self._bell = socket.socketpair()
        self.address = Address(*self._socket.getsockname()[:2])
        self._thread = threading.Thread(target=self._accept, name="accept", daemon=True)

    def start(self) -> None:
        """Begin to accept."""
        self._thread.start()

    @property
    def connections(self) -> int:
        """Connections open now."""
        with self._lock:
            return len(self._open)

    def is_stopping(self) -> bool:
        """Whether :meth:`stop` has begun; handlers then answer what they have and end."""
        return self._stopping

    def stop(self, grace_seconds: float) -> bool:
        """Accept no more, let every handler answer what it has read, then close; True if all ended by themselves."""
        with self._lock:
            self._stopping = True
            open_now = list(self._open.items())
        # The socket itself may be another process's, too: it is not shut down.
        with suppress(OSError):
            self._bell.send(b"!")
        if self._thread.is_alive():
            self._thread.join()
        for sock in (self._socket, self._alarm, self._bell):
            sock.close()
        for connection, _ in open_now:
            connection.interrupt()
        deadline = time.monotonic() + grace_seconds
        for _, thread in open_now:
            thread.join(max(0.0, deadline - time.monotonic()))
        for connection, _ in open_now:
            connection.close()
        return not any(thread.is_alive() for _, thread in open_now)

    def _accept(self) -> None:
        poll = select.poll()
        for sock in (self._socket, self._alarm):
            poll.register(sock, select.POLLIN)
        while not self._stopping:
            poll.poll()
            try:
                sock, peer = self._socket.accept()
            except BlockingIOError:  # another process was quicker, or it was the bell
                continue
            except OSError:
                # Out of file descriptors, or the peer is gone already: neither may end the server.
                time.sleep(0.05)
                continue
            self._welcome(sock, network_of(str(peer[0])), f"{peer[0]} port {peer[1]}")

    def _welcome(self, sock: socket.socket, network: str, peer: str) -> None:
        try:
            connection = Connection(sock, peer=peer, network=network)
        except OSError:  # the peer is gone already
            sock.close()
            return
        thread = threading.Thread(target=self._run, args=(connection, network), name=peer, daemon=True)
        if not self._admit(connection, network, thread):
            with suppress(ConnectionLost):
                connection.send(self._refuse(), timeout_seconds=REFUSAL_SECONDS)
            connection.close()

    def _admit(self, connection: Connection, network: str, thread: threading.Thread) -> bool:
        with self._lock:
            full = (
                self._stopping
                or len(self._open) >= self._limits.connections
                or self._per_network[network] >= self._limits.connections_per_address
            )
            if full:
                return False
            try:
                thread.start()
            except RuntimeError:  # the system gives no further thread: that is full, too
                return False
            self._per_network[network] += 1
            self._open[connection] = thread
            return True

    def _run(self, connection: Connection, network: str) -> None:
        try:
            self._handle(connection)
        finally:
            connection.close()
            with self._lock:
                self._open.pop(connection, None)
                self._per_network[network] -= 1
                if not self._per_network[network]:
                    del self._per_network[network]
