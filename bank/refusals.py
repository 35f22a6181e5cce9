"""Logged refusals cost the bank a commit and a log entry for ever, so each customer may cause only so many a minute."""

import threading
from collections import OrderedDict, deque

WINDOW_SECONDS = 60.0
CUSTOMERS = 10_000
"""Customers remembered; the one whose last refusal is longest ago is forgotten first."""


class RefusalLimiter:
    """Counts the refusals of the last minute for each customer.

    Who asks before an order is looked at is told what is settled already; the posting asks again as it decides, one
    order after another, so that refusals that were on their way together do not exceed the limit either.
    """

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._times: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def remaining(self, customer: str, now: float) -> int:
        """How many further logged refusals the customer may cause now."""
        with self._lock:
            times = self._times.get(customer)
            # What lies in the future was counted before the clock was set back; it would count for as long as the step.
            while times and not now - WINDOW_SECONDS < times[0] <= now:
                times.popleft()
            return self._per_minute - len(times) if times else self._per_minute

    def count(self, customer: str, now: float, refusals: int = 1) -> None:
        """So many orders of the customer were refused and logged."""
        with self._lock:
            self._times.setdefault(customer, deque()).extend([now] * refusals)
            self._times.move_to_end(customer)
            while len(self._times) > CUSTOMERS:
                self._times.popitem(last=False)
