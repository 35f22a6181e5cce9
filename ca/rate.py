"""Each network has so many a minute; who asks for more is told when to come again, and others are not held up."""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

NETWORKS: Final = 10_000
"""Networks that are remembered at once; the one that was not heard of for longest is forgotten."""


class Rate:
    """A bucket for each network: it holds ``per_minute``, and is filled evenly; for any number of threads at once.

    ``clock`` gives seconds; where it jumps back, nothing is filled for that time and nothing is taken away.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float], *, networks: int = NETWORKS) -> None:
        self._size = float(per_minute)
        self._clock = clock
        self._networks = networks
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, network: str) -> int:
        """Take one; 0, or else after how many seconds (at least 1) there is one for this network."""
        with self._lock:
            left = self._filled(network)
            allowed = left >= 1
            self._keep(network, left - 1 if allowed else left)
            return 0 if allowed else math.ceil((1 - left) * 60 / self._size)

    def give_back(self, network: str) -> None:
        """What was taken last was well spent, and does not count."""
        with self._lock:
            self._keep(network, min(self._size, self._filled(network) + 1))

    def _filled(self, network: str) -> float:
        now = self._clock()
        left, at = self._left.get(network, (self._size, now))
        return min(self._size, left + max(0.0, now - at) * self._size / 60)

    def _keep(self, network: str, left: float) -> None:
        self._left[network] = (left, self._clock())
        self._left.move_to_end(network)
        while len(self._left) > self._networks:
            self._left.popitem(last=False)
