"""Several processes serve one bank: each takes connections from the same socket, and one that dies is begun again.

Everything that must be exclusive among them is exclusive in the ledger; what is kept in memory (customers' small homes,
gpg workers, sessions) each has for itself.
"""

import os
import time
from collections.abc import Iterator, MutableSequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from multiprocessing.context import ForkProcess
from multiprocessing.sharedctypes import RawArray
from typing import Final

from bank import figures, journal
from bank.errors import BankError
from bank.figures import Counting, Figures, Tally
from bank.health import Health
from bank.home import BankHome
from bank.journal import note
from bank.page import open_page, show
from bank.server import Server
from bank.serving import parts, prepared, runtime_folder
from ca.errors import CaError
from keyring.ending import Ending
from keyring.errors import KeyringError
from protocol.errors import ProtocolError
from protocol.transport import Address, Share, Socket, listen

LOOK_SECONDS: Final = 1.0
"""How often a process looks whether it is to end, and shows that it is at work."""

BEGIN_SECONDS: Final = 60.0
"""How long a process may take until it serves."""

STOP_MARGIN_SECONDS: Final = 10.0
"""How long a process may take to end, beyond the grace that it gives to requests under way."""

LONGEST_PAUSE_SECONDS: Final = 30.0
"""Longest pause before a process that ends again and again is begun anew."""

# Forked before there is any thread, a process has configuration, log and socket at once, and starts in milliseconds.
_FORK: Final = get_context("fork")

_Tell = connection.Connection


@contextmanager
def serving_in_processes(
    home: BankHome, count: int, stop: Ending
) -> Iterator[tuple["Processes", Address, Address | None]]:
    """So many processes that serve, where, and where the page with the figures is, if bank.toml asks for one.

    They are ended when the block is left. ``stop`` is what signals set, in this process and in each of its
    processes. Raises what :func:`bank.serving.serving` raises.
    """
    with ExitStack() as stack:
        stack.enter_context(prepared(home))
        home.open_ledger().close()  # an older ledger is brought up to date once, before several open it
        sock = stack.enter_context(listen(Address.parse(home.config.listen)))
        page = stack.enter_context(open_page(Address.parse(home.config.metrics))) if home.config.metrics else None
        processes = Processes(home, sock, page, stop, count)
        stack.callback(processes.stop)
        processes.begin_all()
        yield processes, Address(*sock.getsockname()[:2]), Address(*page.getsockname()[:2]) if page else None


@dataclass
class _One:
    """A process: since when it serves (monotonic seconds), and how often it has ended early in a row."""

    process: ForkProcess
    begun: float
    early: int = 0


@dataclass
class Processes:
    """The processes of one server: ``count`` that serve, and one more for the page. This process answers nobody."""

    home: BankHome
    socket: Socket
    page: Socket | None
    stopping: Ending
    count: int
    _ones: dict[int, _One] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A place for each process, and the last for this one.
        self._figures = Figures(self.count + 1)
        # How many connections each has, in memory that all of them have.
        self._connections: MutableSequence[int] = RawArray("i", self.count)

    def begin_all(self) -> None:
        """Start every process, the page last. BankError says why one does not serve."""
        if self.page is not None:
            journal.listen(Counting(self._figures.tallies[self.count]))
        for place in range(self.count + (self.page is not None)):
            self.begin(place)

    def begin(self, place: int) -> None:
        """Start the process in this place and wait until it serves; BankError says why it does not."""
        ours, theirs = _FORK.Pipe(duplex=False)
        target = self._serve if place < self.count else self._show
        process = _FORK.Process(target=target, args=(place, theirs, os.getpid()), name=f"bank-{place}")
        process.start()
        theirs.close()
        early = self._ones[place].early if place in self._ones else 0
        self._ones[place] = _One(process, time.monotonic(), early)
        with ours:
            failure = _failure(ours, self.stopping)
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

    # What follows runs in the processes.

    def _serve(self, place: int, tell: "_Tell[None, None]", parent: int) -> None:
        """One of those that serve, from its beginning to its end."""
        tally = self._figures.tallies[place]
        tally.begin()
        if self.page is not None:
            journal.listen(Counting(tally))
        try:
            self._connections[place] = 0
            share = Share(self._connections, place)
            with parts(self.home, self.socket, runtime_folder(self.home.path, place), share=share) as (server, _):
                _sample(server, tally)
                tell.send_bytes(b"")
                while not self._is_over(place, parent, LOOK_SECONDS):
                    _sample(server, tally)
                    journal.settle()
        except (BankError, KeyringError, CaError, ProtocolError) as error:
            tell.send_bytes(str(error).encode())

    def _show(self, place: int, tell: "_Tell[None, None]", parent: int) -> None:
        """The one that shows the figures."""
        if self.page is None:
            raise ValueError("There is no page to be shown.")
        try:
            with self.home.open_ledger() as ledger:
                tell.send_bytes(b"")
                health = Health(self.home, ledger, self._figures, self.count)
                show(self.page, health, lambda: self._is_over(place, parent, 0.0))
        except BankError as error:
            tell.send_bytes(str(error).encode())

    def _is_over(self, place: int, parent: int, seconds: float) -> bool:
        """Whether the process is to end; waits so long for that."""
        if self.stopping.wait(seconds):
            return True
        if os.getppid() != parent:  # killed outright: nobody would tell us to end
            note("alone", level=40, place=place)
            return True
        return False


def _sample(server: Server, tally: Tally) -> None:
    """What is there now, for the page."""
    service = server.service
    tally.put(figures.CONNECTIONS, server.connections)
    tally.put(figures.QUEUE, service.posting.waiting)
    tally.put(figures.WORKERS, server.opener.identities.workers)
    # Said by the loop itself: while that stands still, sessions are not served, whatever else goes on here.
    server.loop.soon(lambda: tally.put(figures.SEEN, time.monotonic()))


def _failure(told: "_Tell[None, None]", stopping: Ending) -> str:
    """Why a process does not serve, "" if it does, or if it is not waited for because all are to end."""
    deadline = time.monotonic() + BEGIN_SECONDS
    while not told.poll(LOOK_SECONDS):
        if stopping.is_set():
            return ""
        if time.monotonic() >= deadline:
            return (
                f"A process of the server did not begin within {BEGIN_SECONDS:g} seconds; the log says how far it came."
            )
    try:
        return told.recv_bytes().decode()
    except EOFError:
        return "A process of the server ended while it began; the log says why."
