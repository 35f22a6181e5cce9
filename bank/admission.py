"""An order is let in before anything is spent on it, and only as many at once as the bank can answer soon."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


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
    def places(self, customer: str, wanted: int) -> Iterator[int]:
        """As many of the places wanted as there are now, for as long as the block lasts; never waits."""
        with self._lock:
            taken = max(0, min(wanted, self._free, self._per_customer - self._taken[customer]))
            self._free -= taken
            self._taken[customer] += taken
        try:
            yield taken
        finally:
            with self._lock:
                self._free += taken
                self._taken[customer] -= taken
                if not self._taken[customer]:
                    del self._taken[customer]
