"""Most tests deal with single orders; where one reads an order or an entry, it says here that it is a single one's."""

from protocol.orders import Order, TransferOrder
from protocol.receipts import Entry, LogEntry


def single(entry: Entry) -> LogEntry:
    """The entry, which decides a single order."""
    assert isinstance(entry, LogEntry), entry
    return entry


def single_order(order: Order) -> TransferOrder:
    """The order, which is a single one."""
    assert isinstance(order, TransferOrder), order
    return order
