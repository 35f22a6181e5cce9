"""Logged refusals cost the bank a commit and a log entry for ever, so each customer may cause only so many a minute."""

import threading
from collections import OrderedDict, deque
from collections.abc import Sequence

from sqlalchemy import Connection, delete, func, insert, select

from bank import schema

WINDOW_SECONDS = 60.0
CUSTOMERS = 10_000
"""Customers remembered; the one whose last refusal is longest ago is forgotten first."""

_AT = schema.refusal.c.refused_at


class RefusalLimiter:
    """Knows the refusals of the last minute for each customer.

    Who asks before an order is looked at is told what this process knows; the posting asks the ledger as it decides,
    one order after another, so that neither refusals that were on their way together nor those of other processes
    exceed the limit.
    """

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._times: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def remaining(self, customer: str, now: float) -> int:
        """How many further logged refusals the customer may cause now, as far as this process knows."""
        with self._lock:
            return self.per_minute - len(self._recent(customer, now))

    def learn(self, customer: str, now: float, refusals: int) -> None:
        """So many refusals of the customer stand in the ledger for the last minute; those unknown here count as new."""
        with self._lock:
            times = self._recent(customer, now)
            times.extend([now] * (refusals - len(times)))
            self._times[customer] = times
            self._times.move_to_end(customer)
            while len(self._times) > CUSTOMERS:
                self._times.popitem(last=False)

    def _recent(self, customer: str, now: float) -> deque[float]:
        times = self._times.get(customer, deque())
        # What lies in the future was counted before the clock was set back; it would count for as long as the step.
        while times and not now - WINDOW_SECONDS < times[0] <= now:
            times.popleft()
        return times


def recorded(connection: Connection, customer: str, now: float) -> int:
    """Refusals of the customer in the last minute, by all processes; ``now`` in unix seconds."""
    column = schema.refusal.c
    return connection.execute(
        select(func.count()).where(column.customer == customer, now - WINDOW_SECONDS < _AT, now >= _AT)
    ).scalar_one()


def record(connection: Connection, refusals: Sequence[tuple[int, str]], now: int) -> None:
    """Notes refusals, each by its leaf and customer, within the transaction that logs them; forgets what is over."""
    connection.execute(delete(schema.refusal).where(now - WINDOW_SECONDS >= _AT))
    connection.execute(
        insert(schema.refusal),
        [{"leaf": leaf, "customer": customer, "refused_at": now} for leaf, customer in refusals],
    )
