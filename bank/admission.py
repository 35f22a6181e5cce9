"""An order is let in before anything is spent on it, and only as many at once as the bank can answer soon."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

BYTES_OF_A_PLACE: Final = 8192
"""Bytes of an order for which it takes one place; a bulk order takes several: it costs more, and others wait.

A single order never needs a second one, and no order more than its customer may have.
"""


class Admission:
    """Places for orders from their arrival to their answer: so many in all, and so many for one customer.

    Verifying a signature costs ten times what it costs to say "busy". Were places given out only behind the
    verification, all load above the capacity would be paid for and then thrown away.
    """

    def __init__(self, places: int, places_per_customer: int) -> None:
        self._free = places
        self._per_customer = places_per_customer
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def places(self, customer: str, sizes: Sequence[int]) -> Iterator[int]:
        """How many of the orders of these ``sizes`` (bytes), from the first on, have places now; never waits.

        They have them for as long as the block lasts.
        """
        with self._lock:
            room, taken, admitted = min(self._free, self._per_customer - self._taken[customer]), 0, 0
            for size in sizes:
                places = min(max(1, -(-size // BYTES_OF_A_PLACE)), self._per_customer)
                if taken + places > room:
                    break
                taken, admitted = taken + places, admitted + 1
            self._free -= taken
            self._taken[customer] += taken
        try:
            yield admitted
        finally:
            with self._lock:
                self._free += taken
                self._taken[customer] -= taken
                if not self._taken[customer]:
                    del self._taken[customer]
