"""What strangers can make GnuPG work on is done a few at a time, and those who wait take turns address by address."""

import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager

from bank.identities import OpeningRefused
from protocol.codes import Reason


class Turns:
    """At most ``places`` threads at once; others wait ``wait_seconds`` and are then told that the bank is busy.

    A place that becomes free goes to the next network that waits, and there to who came first: a thousand openings from
    one network delay an opening from another by one turn and not by a thousand.
    """

    def __init__(self, places: int, wait_seconds: float) -> None:
        self._free = places
        self._wait_seconds = wait_seconds
        self._waiting: OrderedDict[str, deque[threading.Event]] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, network: str) -> Iterator[None]:
        """A turn for somebody from this network; OpeningRefused (busy) if it does not come in time."""
        if not self._take(network, self._wait_seconds):
            raise OpeningRefused(Reason.BUSY)
        try:
            yield
        finally:
            self._give_back()

    @contextmanager
    def patiently(self, network: str) -> Iterator[None]:
        """A turn that is waited for as long as it takes: for the answer to what was done already."""
        self._take(network, None)
        try:
            yield
        finally:
            self._give_back()

    def _take(self, network: str, seconds: float | None) -> bool:
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            turn = threading.Event()
            self._waiting.setdefault(network, deque()).append(turn)
        if turn.wait(seconds):
            return True
        with self._lock:
            if turn.is_set():  # it came in this very moment, and is ours to give back
                return True
            line = self._waiting[network]
            line.remove(turn)
            if not line:
                del self._waiting[network]
            return False

    def _give_back(self) -> None:
        """Hand the place on; it is free only if nobody waits, so that who comes now is not quicker than who waits."""
        with self._lock:
            if not self._waiting:
                self._free += 1
                return
            network, line = self._waiting.popitem(last=False)
            line.popleft().set()
            if line:
                self._waiting[network] = line
