"""Logged refusals cost the bank a commit and a log entry for ever, so each customer may cause only so many a minute."""

import threading
from collections import OrderedDict, deque

WINDOW_SECONDS = 60.0
CUSTOMERS = 10_000
"""Customers remembered; the one whose last refusal is longest ago is forgotten first."""


class RefusalLimiter:
    """Counts the refusals of the last minute for each customer."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._times: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def allows(self, customer: str, now: float) -> bool:
        """Whether the customer may cause a further logged refusal now."""
        with self._lock:
            times = self._times.get(customer)
            while times and times[0] <= now - WINDOW_SECONDS:
                times.popleft()
            return not times or len(times) < self._per_minute

    def count(self, customer: str, now: float) -> None:
        """One order of the customer was refused and logged."""
        with self._lock:
            self._times.setdefault(customer, deque()).append(now)
            self._times.move_to_end(customer)
            while len(self._times) > CUSTOMERS:
                self._times.popitem(last=False)
