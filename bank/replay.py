"""What the ledger keeps follows from its entries, one after another: here it is computed without what is kept."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from bank import schema
from protocol import merkle
from protocol.codes import GroupStatus, Status
from protocol.money import parse_amount
from protocol.orders import BulkOrder, Order, TransferOrder
from protocol.receipts import BulkEntry, Entry, LogEntry, ReceiptError, check_results


@dataclass(frozen=True, slots=True)
class Leg:
    """One leg of a booking, of the entry at ``leaf``."""

    number: int
    account: str
    amount_minor: int
    balance_minor: int
    leaf: int
    payment: int | None = None
    description: str | None = None


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

    def book(self, entry: Entry, order: Order, currency: str) -> list[Leg]:
        """The legs of the entry that was appended last, none if nothing was posted; balances and bookings go on.

        Raises AmountError where an amount cannot be booked. The entry and the order are of one kind.
        """
        first = self.booking_count + 1
        match entry, order:
            case LogEntry(status=Status.SETTLED), _:
                amount = parse_amount(entry.amount, currency)
                self.booking_count = first
                return [self._leg(first, entry.debtor, -amount), self._leg(first, entry.creditor, amount)]
            case BulkEntry(), BulkOrder() if entry.status is not GroupStatus.REJECTED:
                refused = {each.payment for each in entry.refused}
                paid = [
                    (position, payment, parse_amount(payment.amount, currency))
                    for position, payment in enumerate(order.payments, 1)
                    if position not in refused
                ]
                self.booking_count += len(paid)
                return [
                    self._leg(first, entry.debtor, -sum(amount for *_, amount in paid), 0),
                    *(
                        self._leg(number, payment.creditor, amount, position, payment.description)
                        for number, (position, payment, amount) in enumerate(paid, first)
                    ),
                ]
        return []

    def _leg(
        self, number: int, account: str, minor: int, payment: int | None = None, description: str | None = None
    ) -> Leg:
        balance = self.balances.get(account, 0) + minor
        self.balances[account] = balance
        return Leg(number, account, minor, balance, self.size - 1, payment, description)

    def root(self) -> bytes:
        """Root of the tree so far."""
        if not self.peaks:
            return merkle.EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = merkle.node_hash(peak, root)
        return root


def disagreement(entry: Entry, order: Order) -> str | None:
    """What is wrong with an entry as the decision on an order, None if nothing is. Raises AmountError."""
    match entry, order:
        case LogEntry(), TransferOrder():
            if entry.creditor != order.creditor:
                return "Its order names another creditor."
            if entry.reference and parse_amount(entry.amount, entry.currency) != parse_amount(
                order.amount, entry.currency
            ):
                return "Its amount is not the one that was ordered."
        case BulkEntry(), BulkOrder():
            try:
                check_results(entry, order)
            except ReceiptError as error:
                return f"Its results do not follow from its order: {error}"
        case _:
            return "It decides an order of another type."
    return None


class Legs:
    """The bookings in order of their entries, read beside them."""

    def __init__(self, connection: Connection, since: int) -> None:
        booking = schema.booking.c
        rows = connection.execute(
            select(
                booking.number,
                booking.account,
                booking.amount_minor,
                booking.balance_after_minor,
                booking.leaf,
                booking.payment,
                booking.description,
            )
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
