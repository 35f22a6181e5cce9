"""What the ledger keeps follows from its entries, one after another: here it is computed without what is kept."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from bank import schema
from protocol import merkle


@dataclass
class Walk:
    """What follows from the first ``size`` entries: the tree, the last booking, the balances by account number."""

    size: int = 0
    booked_at: int = 0
    booking_count: int = 0
    balances: dict[str, int] = field(default_factory=dict)
    peaks: list[bytes] = field(default_factory=list)
    """Hashes of the full subtrees at the right edge, the largest first: enough to go on, and for the root."""

    def append(self, leaf: bytes) -> bytes:
        """The hashes of all full subtrees that the leaf completes, from the leaf upwards."""
        completed, position = [leaf], self.size
        while position & 1:
            completed.append(merkle.node_hash(self.peaks.pop(), completed[-1]))
            position >>= 1
        self.peaks.append(completed[-1])
        self.size += 1
        return b"".join(completed)

    def root(self) -> bytes:
        """Root of the tree so far."""
        if not self.peaks:
            return merkle.EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = merkle.node_hash(peak, root)
        return root


@dataclass(frozen=True, slots=True)
class Leg:
    """One leg of a booking, of the entry at ``leaf``."""

    number: int
    account: str
    amount_minor: int
    balance_minor: int
    leaf: int


class Legs:
    """The bookings in order of their entries, read beside them."""

    def __init__(self, connection: Connection, since: int) -> None:
        booking = schema.booking.c
        rows = connection.execute(
            select(booking.number, booking.account, booking.amount_minor, booking.balance_after_minor, booking.leaf)
            .where(booking.leaf >= since)
            .order_by(booking.leaf, booking.amount_minor)
        )
        self._rows: Iterator[Leg] = (Leg(*row) for row in rows)
        self._next = next(self._rows, None)

    def of(self, leaf: int) -> list[Leg]:
        """The legs of one entry; entries are asked for in order."""
        found = []
        while self._next is not None and self._next.leaf <= leaf:
            found.append(self._next)
            self._next = next(self._rows, None)
        return found

    def rest(self) -> Iterator[Leg]:
        """Legs after the last entry."""
        while self._next is not None:
            yield self._next
            self._next = next(self._rows, None)
