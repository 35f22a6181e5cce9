"""What cannot be a transfer never becomes a ledger entry: a decision with a receipt where it is an order, else FF01."""

from typing import Any

import pytest

from keyring.messages import sign
from protocol.codes import Reason, Status
from protocol.messages import SubmitOrder
from protocol.receipts import LogEntry
from protocol.stages import Stage
from tests.bank.counter import Counter, entry_of

ORDERS: tuple[tuple[dict[str, Any], Reason], ...] = (
    ({"amount": "0.00"}, Reason.AMOUNT_ZERO),
    ({"amount": "-1.00"}, Reason.AMOUNT_INVALID),
    ({"amount": "1e2"}, Reason.AMOUNT_INVALID),
    ({"amount": str(2**63 - 1)}, Reason.AMOUNT_TOO_LARGE),
    ({"amount": str(2**63 + 1)}, Reason.AMOUNT_TOO_LARGE),
    ({"amount": "1.001"}, Reason.AMOUNT_INVALID),
    ({"currency": "USD"}, Reason.CURRENCY),
    ({"creditor": "1001"}, Reason.SAME_ACCOUNT),
    ({"creditor": "7777"}, Reason.UNKNOWN_CREDITOR),
    ({"creditor": ""}, Reason.ACCOUNT_NUMBER),
)
AMOUNT = b'"amount":"1.00"'
VERSION = b'"version":2'
NO_ORDERS = {
    "a number": (AMOUNT, b'"amount":1'),
    "a float": (AMOUNT, b'"amount":1.0'),
    "a boolean": (AMOUNT, b'"amount":true'),
    "null": (AMOUNT, b'"amount":null'),
    "a list": (AMOUNT, b'"amount":["1.00"]'),
    "a version as text": (VERSION, b'"version":"2"'),
    "a version that is true": (VERSION, b'"version":true'),
    "a field too few": (AMOUNT + b",", b""),
    "an unknown field": (AMOUNT, AMOUNT + b',"amounts":"1.00"'),
    "a doubled field": (AMOUNT, AMOUNT + b',"amount":"9.00"'),
    "a space": (AMOUNT, b'"amount": "1.00"'),
    "another spelling of a letter": (AMOUNT, b'"\\u0061mount":"1.00"'),
    "a line feed behind": (VERSION + b"}", VERSION + b"}\n"),
    "another order of fields": (AMOUNT + b',"bank"', b'"bank"'),
}


def bookings(counter: Counter) -> int:
    return counter.count("booking")


def test_trial_06_an_impossible_order_gets_a_receipt_and_moves_nothing(counter: Counter) -> None:
    booked, found = bookings(counter), dict[str, LogEntry]()
    balances = counter.balance("1001"), counter.balance("1002")
    with counter.session(counter.town.alice, Stage.SIGNED) as talk:
        for place, (changes, reason) in enumerate(ORDERS):
            entry = talk.pay(f"impossible-{place}", **changes)
            assert (entry.status, entry.reason) == (Status.REJECTED, reason), changes
            found[entry.transfer_identifier] = entry
        assert bookings(counter) == booked
        assert (counter.balance("1001"), counter.balance("1002")) == balances
        assert len(found) == len(ORDERS)
        assert talk.pay("possible").status is Status.SETTLED
    assert bookings(counter) == booked + 2


@pytest.mark.parametrize("name", NO_ORDERS)
def test_trial_06_what_is_no_order_is_malformed_and_not_logged(counter: Counter, name: str) -> None:
    alice, logged = counter.town.alice, counter.count("entry")
    good = counter.order(alice, f"no-order-{list(NO_ORDERS).index(name)}", Stage.SIGNED)
    before, after = NO_ORDERS[name]
    assert good.count(before) == 1
    bad = good.replace(before, after)
    if name == "another order of fields":
        bad = bad[:-1] + b"," + AMOUNT + b"}"
    with counter.session(alice, Stage.SIGNED) as talk:
        order = sign(alice.home, alice.fingerprint, bad)
        assert talk.refusal(SubmitOrder(number=1, order=order, since=None))[0] is Reason.MALFORMED
        assert counter.count("entry") == logged
        # Its identifier is not used up.
        order = sign(alice.home, alice.fingerprint, good)
        assert entry_of(talk.ask(SubmitOrder(number=2, order=order, since=None))).status is Status.SETTLED
