"""A TCP proxy of our own stands between customer and bank and does to each frame what a test asks for."""

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

HEADER_BYTES = 6
TO_BANK, TO_CUSTOMER = "to bank", "to customer"


class Cut(Exception):
    """The connection ends here, for both."""


Rule = Callable[[str, int, bytes], bytes]
"""Is handed each frame whole, with its direction and its number in it, and gives what goes on; Cut ends the line."""


def honest(direction: str, number: int, frame: bytes) -> bytes:
    return frame


@dataclass
class Tape:
    """What was said over one connection, as its speakers sent it."""

    frames: dict[str, list[bytes]] = field(default_factory=lambda: {TO_BANK: [], TO_CUSTOMER: []})


class Proxy:
    """Listens at a port of its own and forwards to ``target``.

    ``piece_bytes`` sends in pieces of that size, ``delay_seconds`` lets each frame wait before it goes on.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.rule: Rule = honest
        self.piece_bytes = 0
        self.delay_seconds = 0.0
        self.tapes: list[Tape] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._lines: list[_Line] = []
        self._passing = {direction: threading.Event() for direction in (TO_BANK, TO_CUSTOMER)}
        self.heal()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._closed = False
        self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.hang_up()
        self.heal()
        for thread in self._threads:
            thread.join(10)

    def hang_up(self) -> None:
        """End every connection."""
        with self._lock:
            for line in self._lines:
                line.end()

    def reset(self) -> None:
        """Break every connection as a crash does: both ends get a reset, and what is on its way is lost."""
        with self._lock:
            for line in self._lines:
                line.reset()

    def half_close(self) -> None:
        """Tell the bank on every connection that nothing more comes, while the way back stays open."""
        with self._lock:
            for line in self._lines:
                with suppress(OSError):
                    line.bank.shutdown(socket.SHUT_WR)

    def part(self, *directions: str) -> None:
        """Let nothing through in these directions; what comes meanwhile waits, as in TCP, and so do new connections."""
        for direction in directions:
            self._passing[direction].clear()

    def heal(self) -> None:
        """Let everything through again."""
        for passing in self._passing.values():
            passing.set()

    def _start(self, work: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        with self._lock:
            self._threads = [each for each in self._threads if each.is_alive() or each.ident is None]
            self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        while not self._closed:
            try:
                customer, _ = self._listening.accept()
            except OSError:
                return
            self._start(self._carry, customer)

    def _carry(self, customer: socket.socket) -> None:
        """Connect a customer through to the bank, as soon as there is a way, and carry what they say."""
        self._passing[TO_BANK].wait()
        try:
            bank = socket.create_connection(self.target, timeout=5)
        except OSError:
            customer.close()
            return
        bank.settimeout(None)
        line = _Line(customer, bank)
        with self._lock:
            self.tapes.append(line.tape)
            self._lines.append(line)
            if self._closed:
                line.end()
        back = self._start(self._pump, line, bank, customer, TO_CUSTOMER)
        self._pump(line, customer, bank, TO_BANK)
        back.join()
        with self._lock:
            self._lines.remove(line)
        customer.close()
        bank.close()

    def _pump(self, line: "_Line", source: socket.socket, sink: socket.socket, direction: str) -> None:
        try:
            while frame := _frame(source):
                line.tape.frames[direction].append(frame)
                number = len(line.tape.frames[direction]) - 1
                time.sleep(self.delay_seconds)
                self._passing[direction].wait()
                self._send(sink, self.rule(direction, number, frame))
            line.end_of_input(sink)
        except (Cut, OSError):
            line.end()

    def _send(self, sink: socket.socket, data: bytes) -> None:
        if not self.piece_bytes:
            sink.sendall(data)
            return
        for start in range(0, len(data), self.piece_bytes):
            sink.sendall(data[start : start + self.piece_bytes])
            time.sleep(0)  # lets the other side read it as a piece of its own


class _Line:
    """One connection: the customer's end of it here, and the bank's."""

    def __init__(self, customer: socket.socket, bank: socket.socket) -> None:
        self.customer = customer
        self.bank = bank
        self.tape = Tape()
        self._broken = False

    def end(self) -> None:
        """No more in either direction."""
        for each in (self.customer, self.bank):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Have the system send a reset in place of an orderly end when the sockets are closed, which is at once."""
        self._broken = True
        for each in (self.customer, self.bank):
            with suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                each.shutdown(socket.SHUT_RD)  # says nothing to the other end, but wakes who reads here

    def end_of_input(self, sink: socket.socket) -> None:
        """Pass on that one side has said all, unless the line is being reset."""
        if not self._broken:
            with suppress(OSError):
                sink.shutdown(socket.SHUT_WR)


def _frame(source: socket.socket) -> bytes:
    """The next frame; what is there of it if the line ends before."""
    header = _exactly(source, HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        return header
    return header + _exactly(source, int.from_bytes(header[:4], "big"))


def _exactly(source: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (piece := source.recv(count - len(data))):
        data += piece
    return data


def altered(direction: str, number: int, place: int, mask: int) -> Rule:
    """One byte of one frame is another: its bits in ``mask`` are turned."""

    def rule(of: str, at: int, frame: bytes) -> bytes:
        if (of, at) != (direction, number):
            return frame
        found = bytearray(frame)
        found[place % len(found)] ^= mask
        return bytes(found)

    return rule


def cut_before(direction: str, number: int) -> Rule:
    """The line goes dead before this frame has passed."""

    def rule(of: str, at: int, frame: bytes) -> bytes:
        if (of, at) == (direction, number):
            raise Cut
        return frame

    return rule


def replaced(direction: str, number: int, other: Callable[[bytes], bytes]) -> Rule:
    """In place of one frame something else goes on."""

    def rule(of: str, at: int, frame: bytes) -> bytes:
        return other(frame) if (of, at) == (direction, number) else frame

    return rule


def stalled(direction: str, number: int, reached: threading.Event, released: threading.Event) -> Rule:
    """This frame stays in the proxy until it is released; ``reached`` tells that it has come."""

    def rule(of: str, at: int, frame: bytes) -> bytes:
        if (of, at) == (direction, number):
            reached.set()
            released.wait()
            raise Cut
        return frame

    return rule


def say(address: tuple[str, int], data: bytes, *, seconds: float = 15.0) -> list[bytes]:
    """Say something raw to a server, say no more, and hear its frames until it hangs up."""
    heard = []
    with socket.create_connection(address, timeout=seconds) as sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while frame := _frame(sock):
                heard.append(frame)
        except (ConnectionResetError, BrokenPipeError):
            pass  # it hung up on us
    return heard
