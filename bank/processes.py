"""Several processes serve one bank: each takes connections from the same socket, and one that dies is begun again.

Everything that must be exclusive among them is exclusive in the ledger; what is kept in memory (customers' small homes,
gpg workers, sessions) each has for itself.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from multiprocessing.context import ForkProcess
from typing import Final

from bank.errors import BankError
from bank.home import BankHome
from bank.journal import note
from bank.serving import parts, prepared, runtime_folder
from ca.errors import CaError
from keyring.errors import KeyringError
from protocol.errors import ProtocolError
from protocol.transport import Address, Socket, listen

LOOK_SECONDS: Final = 1.0
"""How often a process looks whether it is to end."""

BEGIN_SECONDS: Final = 60.0
"""How long a process may take until it serves."""

STOP_MARGIN_SECONDS: Final = 10.0
"""How long a process may take to end, beyond the grace that it gives to requests under way."""

LONGEST_PAUSE_SECONDS: Final = 30.0
"""Longest pause before a process that ends again and again is begun anew."""

# Forked before there is any thread, a process has configuration, log and socket at once, and starts in milliseconds.
_FORK: Final = get_context("fork")


@contextmanager
def serving_in_processes(home: BankHome, count: int, stop: threading.Event) -> Iterator[tuple["Processes", Address]]:
    """So many processes that serve, and where; ended when the block is left.

    ``stop`` is what the signal handlers of this process set; they are those of its processes, too. Raises what
    :func:`bank.serving.serving` raises.
    """
    with ExitStack() as stack:
        stack.enter_context(prepared(home))
        home.open_ledger().close()  # an older ledger is brought up to date once, before several open it
        sock = stack.enter_context(listen(Address.parse(home.config.listen)))
        processes = Processes(home, sock, stop)
        stack.callback(processes.stop)
        for place in range(count):
            processes.begin(place)
        yield processes, Address(*sock.getsockname()[:2])


@dataclass
class _One:
    """A process: since when it serves (monotonic seconds), and how often it has ended early in a row."""

    process: ForkProcess
    begun: float
    early: int = 0


@dataclass
class Processes:
    """The processes of one server. This process itself answers nobody."""

    home: BankHome
    socket: Socket
    stopping: threading.Event
    _ones: dict[int, _One] = field(default_factory=dict)

    def begin(self, place: int) -> None:
        """Start the process in this place and wait until it serves; BankError says why it does not."""
        ours, theirs = _FORK.Pipe(duplex=False)
        arguments = (self.home, self.socket, place, theirs, self.stopping, os.getpid())
        process = _FORK.Process(target=_serve, args=arguments, name=f"bank-{place}")
        process.start()
        theirs.close()
        early = self._ones[place].early if place in self._ones else 0
        self._ones[place] = _One(process, time.monotonic(), early)
        with ours:
            failure = _failure(ours)
        if failure:
            process.join(STOP_MARGIN_SECONDS)
            raise BankError(failure)

    def look(self) -> None:
        """Begin again what has ended without being told to; call it every now and then."""
        for place, one in self._ones.items():
            if one.process.is_alive() or self.stopping.is_set():
                continue
            pause = min(LONGEST_PAUSE_SECONDS, 2.0**one.early)
            if time.monotonic() < one.begun + pause:
                continue
            note("process-ended", level=40, place=place, code=one.process.exitcode)
            lasted = time.monotonic() - one.begun
            one.early = one.early + 1 if lasted < 2 * LONGEST_PAUSE_SECONDS else 0
            try:
                self.begin(place)
            except BankError as error:
                note("process-failed", level=40, place=place, why=error)

    def stop(self) -> None:
        """Have every process answer what it has taken, and end; one that does not is killed."""
        self.stopping.set()
        for one in self._ones.values():
            one.process.terminate()
        deadline = time.monotonic() + self.home.config.limits.stop_grace_seconds + STOP_MARGIN_SECONDS
        for place, one in self._ones.items():
            one.process.join(max(0.0, deadline - time.monotonic()))
            if one.process.is_alive():
                note("process-killed", level=40, place=place)
                one.process.kill()
                one.process.join()


def _failure(told: "connection.Connection[None, None]") -> str:
    """Why a process does not serve, "" if it does."""
    if not told.poll(BEGIN_SECONDS):
        return f"A process of the server did not begin within {BEGIN_SECONDS:g} seconds; the log says how far it came."
    try:
        return told.recv_bytes().decode()
    except EOFError:
        return "A process of the server ended while it began; the log says why."


def _serve(
    home: BankHome,
    sock: Socket,
    place: int,
    tell: "connection.Connection[None, None]",
    stop: threading.Event,
    parent: int,
) -> None:
    """One of the processes, from its beginning to its end."""
    try:
        with parts(home, sock, runtime_folder(home.path, place)):
            tell.send_bytes(b"")
            while not stop.wait(LOOK_SECONDS):
                if os.getppid() != parent:  # killed outright: nobody would tell us to end
                    note("alone", level=40, place=place)
                    return
    except (BankError, KeyringError, CaError, ProtocolError) as error:
        tell.send_bytes(str(error).encode())
