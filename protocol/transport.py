"""The one module with sockets: listening, connecting, and frames read and written under deadlines and limits."""

import ipaddress
import re
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, MutableSequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from protocol.errors import ConnectionLost, LocalProtocolError
from protocol.frames import Frame, FrameReader
from protocol.limits import FRAME_BYTES_BEFORE_SESSION

READ_BYTES = 64 * 1024
BACKLOG = 512
LEAVE_SECONDS = 0.005
"""How long a connection is left to a process that has fewer of them."""

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
        self._when_closed: Callable[[], None] | None = None
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
            raise unread(self.peer) from None
        except OSError as error:
            raise broken(self.peer, error) from None
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
                    raise cut(self.peer)
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

    def break_off(self) -> None:
        """Fail whatever reads or writes here now; who does so closes the connection (any thread)."""
        break_off(self._socket)

    def close(self) -> None:
        """End the connection; harmless when repeated."""
        self.break_off()
        self._socket.close()
        told, self._when_closed = self._when_closed, None
        if told:
            told()

    def when_closed(self, tell: Callable[[], None]) -> None:
        """Have this called once when the connection is closed."""
        self._when_closed = tell

    def _read(self, seconds: float, started: bool) -> bytes:
        try:
            self._limit(socket.SO_RCVTIMEO, seconds)
            return self._socket.recv(READ_BYTES)
        except (BlockingIOError, TimeoutError):
            raise silent(self.peer, started) from None
        except OSError as error:
            raise broken(self.peer, error) from None

    def _limit(self, option: int, seconds: float) -> None:
        """Let a wait last so long; nearly always as long as the one before."""
        if self._limits.get(option) == seconds:
            return
        microseconds = int(seconds * 1_000_000)
        if microseconds <= 0:  # to the kernel no time at all means no limit
            raise TimeoutError
        self._socket.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", *divmod(microseconds, 1_000_000)))
        self._limits[option] = seconds


def break_off(sock: socket.socket) -> None:
    """Fail whatever reads or writes at a socket now (any thread)."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def unread(peer: str) -> ConnectionLost:
    """It has not taken what was sent in time."""
    return ConnectionLost(f"{peer} does not read what is sent to it; the connection is given up.")


def silent(peer: str, started: bool) -> ConnectionLost:
    """It has not sent in time, or not the whole of what it had ``started``."""
    what = "did not finish its message" if started else "said nothing"
    return ConnectionLost(f"{peer} {what} within the time limit.")


def cut(peer: str) -> ConnectionLost:
    """It has closed within a frame."""
    return ConnectionLost(f"{peer} closed the connection in the middle of a message.")


def broken(peer: str, error: OSError) -> ConnectionLost:
    """The connection itself has failed."""
    return ConnectionLost(f"The connection to {peer} broke: {error.strerror or error}.")


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


class Share:
    """How many connections each of several processes has, so that they take about as many each."""

    def __init__(self, counts: MutableSequence[int], place: int) -> None:
        """``counts`` is one piece of memory of all the processes, ``place`` where this one writes."""
        self._counts = counts
        self._place = place

    def has_more_than_others(self, own: int) -> bool:
        """Whether the next connection is another process's; it is left to that for a moment, in case it cannot."""
        self._counts[self._place] = own
        return own > min(self._counts)


class Listener:
    """Accepts connections and gives each a thread of its own that runs ``handle``.

    Where that gives True the connection is used on, and whoever uses it closes it; until then it counts. ``refuse``
    makes the frame that a connection above the limits is answered with before it is closed.
    """

    def __init__(
        self,
        place: Address | socket.socket,
        handle: Callable[[Connection], bool | None],
        refuse: Callable[[], Frame],
        limits: ListenerLimits,
        share: Share | None = None,
    ) -> None:
        """``place`` is where to listen, or what :func:`listen` gave: other processes may have that, and a ``share``.

        LocalProtocolError says why one cannot listen there.
        """
        self._socket = listen(place) if isinstance(place, Address) else place
        self._handle = handle
        self._refuse = refuse
        self._limits = limits
        self._share = share
        self._lock = threading.Lock()
        self._open: set[Connection] = set()
        self._all_closed = threading.Condition(self._lock)
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
        """Accept no more, have what was read answered, then break off; True if all were closed by then."""
        with self._lock:
            self._stopping = True
            open_now = list(self._open)
        # The socket itself may be another process's, too: it is not shut down.
        with suppress(OSError):
            self._bell.send(b"!")
        if self._thread.is_alive():
            self._thread.join()
        for sock in (self._socket, self._alarm, self._bell):
            sock.close()
        for connection in open_now:
            connection.interrupt()
        with self._all_closed:
            whole = self._all_closed.wait_for(lambda: not self._open, grace_seconds)
            left = list(self._open)
        for connection in left:
            connection.break_off()
        return whole

    def _accept(self) -> None:
        poll = select.poll()
        for sock in (self._socket, self._alarm):
            poll.register(sock, select.POLLIN)
        while not self._stopping:
            poll.poll()
            if self._share and self._share.has_more_than_others(len(self._open)):
                time.sleep(LEAVE_SECONDS)
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
        thread = threading.Thread(target=self._run, args=(connection,), name=peer, daemon=True)
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
            connection.when_closed(partial(self._release, connection, network))
            self._per_network[network] += 1
            self._open.add(connection)
        try:
            thread.start()
        except RuntimeError:  # the system gives no further thread: that is full, too
            self._release(connection, network)
            return False
        return True

    def _run(self, connection: Connection) -> None:
        kept = None
        try:
            kept = self._handle(connection)
        finally:
            if not kept:
                connection.close()

    def _release(self, connection: Connection, network: str) -> None:
        with self._lock:
            if connection not in self._open:
                return
            self._open.remove(connection)
            self._per_network[network] -= 1
            if not self._per_network[network]:
                del self._per_network[network]
            if not self._open:
                self._all_closed.notify_all()
