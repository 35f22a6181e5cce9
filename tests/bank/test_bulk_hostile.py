"""A hostile bulk order never becomes a booking: a decision with a receipt where it is an order, else FF01."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from bank.admission import BYTES_OF_A_PLACE, Admission
from keyring.messages import sign
from protocol import canonical
from protocol.codes import GroupStatus, Reason
from protocol.errors import ConnectionLost
from protocol.frames import Frame, FrameType
from protocol.limits import FRAME_BYTES_BEFORE_SESSION, PAYMENTS_IN_ORDER
from protocol.messages import AskBalance, Balance, NumberedReceipt, SubmitOrder
from protocol.orders import BulkOrder, Payment, encode_order, format_time
from protocol.receipts import BulkEntry, check_order, check_results, decode_entry
from protocol.stages import Stage
from tests.bank.counter import Counter, receive, send
from tests.bank.test_impossible_orders import bookings

GOOD = (Payment("1.00", "1002", "a"), Payment("0.50", "1002", "b"))


def bulk(counter: Counter, identifier: str, stage: Stage = Stage.SIGNED, **changes: Any) -> bytes:
    """The content of a bulk order of Alice, honest but for what is changed."""
    payments = changes.get("payments", GOOD)
    fields: dict[str, Any] = {
        "bank": counter.town.bank_fingerprint,
        "certificate": None,
        "count": len(payments),
        "created": format_time(counter.clock()),
        "currency": "EUR",
        "debtor": "1001",
        "execution": "best-effort",
        "payments": payments,
        "sum": "1.50",
        "transfer_identifier": identifier,
    }
    return encode_order(BulkOrder(**{**fields, **changes}))


def submitted(counter: Counter, content: bytes, number: int = 1) -> SubmitOrder:
    alice = counter.town.alice
    return SubmitOrder(number=number, order=sign(alice.home, alice.fingerprint, content), since=None)


# With a receipt: what is an order, and cannot be made.
IMPOSSIBLE: tuple[tuple[dict[str, Any], Reason, str], ...] = (
    ({"sum": "1.51"}, Reason.CONTROL_SUM, "sum"),
    ({"sum": "-1.50"}, Reason.AMOUNT_INVALID, "sum"),
    ({"sum": str(2**63 - 1)}, Reason.AMOUNT_TOO_LARGE, "sum"),
    ({"count": 1}, Reason.PAYMENT_COUNT, "count"),
    ({"count": 2**53 - 1}, Reason.PAYMENT_COUNT, "count"),
    ({"currency": "USD"}, Reason.CURRENCY, "currency"),
    ({"payments": (*GOOD, Payment("-1.50", "1002", "back"))}, Reason.CONTROL_SUM, "sum"),
    ({"payments": (Payment("-1.00", "1002", ""), Payment("2.50", "1002", ""))}, Reason.CONTROL_SUM, "sum"),
    ({"payments": (*GOOD, Payment("0.00", "1002", "nothing"))}, Reason.CONTROL_SUM, "sum"),
    ({"payments": (Payment("1.50", "1001", "to oneself"),)}, Reason.PAYMENTS, "payments"),
    ({"payments": (Payment("1.50", "", "to nobody"),)}, Reason.PAYMENTS, "payments"),
)


def test_trial_06_an_impossible_bulk_order_gets_a_receipt_and_moves_nothing(counter: Counter) -> None:
    booked, balance = bookings(counter), counter.balance("1001")
    with counter.session(counter.town.alice, Stage.SIGNED) as talk:
        for place, (changes, reason, field) in enumerate(IMPOSSIBLE):
            content = bulk(counter, f"impossible-bulk-{place}", **changes)
            entry = decided(talk.ask(submitted(counter, content)), content)
            assert (entry.status, entry.reason, entry.field) == (GroupStatus.REJECTED, reason, field), changes
        assert (bookings(counter), counter.balance("1001")) == (booked, balance)
        content = bulk(counter, "possible-bulk")
        assert decided(talk.ask(submitted(counter, content)), content).status is GroupStatus.SETTLED
    assert bookings(counter) == booked + 3


def decided(answer: Any, content: bytes) -> BulkEntry:
    """What the bank decided, checked as a customer does it."""
    assert isinstance(answer, NumberedReceipt), answer
    entry = decode_entry(answer.receipt.entry)
    assert isinstance(entry, BulkEntry)
    order = canonical.decode(BulkOrder, content)
    check_order(entry, content, "1001", order.transfer_identifier)
    check_results(entry, order)
    return entry


FIRST = b'{"amount":"1.00","creditor":"1002","description":"a"}'
NO_ORDERS: dict[str, Callable[[bytes], bytes]] = {
    "payments twice": lambda good: good.replace(b'"payments":', b'"payments":[' + FIRST + b'],"payments":'),
    "sum twice": lambda good: good.replace(b'"sum":"1.50"', b'"sum":"1.00","sum":"1.50"'),
    "an amount twice": lambda good: good.replace(b'"amount":"1.00"', b'"amount":"9.00","amount":"1.00"'),
    "an unknown field in a payment": lambda good: good.replace(b'"amount":"1.00"', b'"account":"1","amount":"1.00"'),
    "an amount as a number": lambda good: good.replace(b'"amount":"1.00"', b'"amount":1.00'),
    "a payment that is null": lambda good: good.replace(FIRST, b"null"),
    "no payments": lambda good: good.replace(good[good.index(b"[{") : good.index(b"}]") + 2], b"[]"),
    "a payment too many": lambda good: good.replace(FIRST, b",".join([FIRST] * PAYMENTS_IN_ORDER)),
    "count as a fraction": lambda good: good.replace(b'"count":2', b'"count":2.0'),
    "count below zero": lambda good: good.replace(b'"count":2', b'"count":-2'),
    "another execution": lambda good: good.replace(b'"best-effort"', b'"sometimes"'),
    "version 1": lambda good: good.replace(b'"version":2', b'"version":1'),
    "a space between payments": lambda good: good.replace(b"},{", b"}, {"),
    "an unprintable description": lambda good: good.replace(b'"a"', '"\u202e"'.encode()),
    "the type of a single order": lambda good: good.replace(b'"bulk-order"', b'"transfer-order"'),
    "deep nesting": lambda good: good.replace(FIRST, b"[" * 2000 + b"]" * 2000),
}


@pytest.mark.parametrize("name", NO_ORDERS)
def test_trial_06_what_is_no_bulk_order_is_malformed_and_not_logged(counter: Counter, name: str) -> None:
    logged = counter.count("entry")
    good = bulk(counter, f"no-bulk-{list(NO_ORDERS).index(name)}")
    bad = NO_ORDERS[name](good)
    assert bad != good
    with counter.session(counter.town.alice, Stage.SIGNED) as talk:
        assert talk.refusal(submitted(counter, bad))[0] is Reason.MALFORMED
        assert counter.count("entry") == logged
        # Its identifier is not used up.
        assert decided(talk.ask(submitted(counter, good, 2)), good).status is GroupStatus.SETTLED


def test_trial_17_a_bulk_order_of_another_customer_or_for_another_bank_is_refused_unlogged(counter: Counter) -> None:
    logged, alice = counter.count("entry"), counter.town.alice
    content = bulk(counter, "stolen")
    stolen = submitted(counter, content)
    with counter.session(counter.town.bob, Stage.SIGNED) as talk:
        assert talk.refusal(stolen)[0] is Reason.SIGNATURE
    with counter.session(alice, Stage.SIGNED) as talk:
        assert talk.refusal(submitted(counter, bulk(counter, "stolen", debtor="1002"))) == (Reason.NO_RIGHT, "debtor")
        assert talk.refusal(submitted(counter, bulk(counter, "stolen", bank="A" * 40))) == (Reason.NO_RIGHT, "bank")
        assert counter.count("entry") == logged
        assert decided(talk.ask(stolen), content).status is GroupStatus.SETTLED


# Sizes


def test_in_the_stage_password_a_long_frame_is_taken_only_behind_one_that_opened(counter: Counter) -> None:
    bob = counter.town.bob
    if counter.floor(bob.number) is not Stage.PASSWORD:  # other tests have raised it
        counter.server.customers.lower_floor(bob.number, Stage.PASSWORD)
    payments = (Payment("0.01", "1001", "x" * 100),) * 400
    content = bulk(counter, "long", payments=payments, sum="4.00", debtor=bob.number)
    frame = counter.password_frame(bob, SubmitOrder(number=1, order=content, since=None))
    assert len(frame.body) > FRAME_BYTES_BEFORE_SESSION
    assert hung_up_on(counter, frame)
    junk = Frame(FrameType.PASSWORD, bytes(FRAME_BYTES_BEFORE_SESSION + 1))
    assert hung_up_on(counter, junk)
    with closing(counter.connect()) as connection:
        connection.raise_frame_limit(1024 * 1024)
        send(connection, counter.password_frame(bob, AskBalance(number=1)))
        assert isinstance(counter.opened(bob, receive(connection)), Balance)
        send(connection, frame)
        answer = counter.opened(bob, receive(connection))
        assert isinstance(answer, NumberedReceipt)


def hung_up_on(counter: Counter, frame: Frame) -> bool:
    """Whether the bank ends the connection without an answer."""
    with closing(counter.connect()) as connection:
        try:
            send(connection, frame)
        except ConnectionLost:
            return True
        return receive(connection) is None


def test_trial_38_a_long_order_takes_several_places_and_never_more_than_its_customer_may_have() -> None:
    admission = Admission(places=20, places_per_customer=10)
    long = 4 * BYTES_OF_A_PLACE
    with admission.places("1001", [long + 1, 100, long, 100]) as first:
        assert first == 3  # 5, 1 and 4 places
        with admission.places("1001", [100]) as more, admission.places("1002", [100, 100 * long, 100]) as others:
            assert (more, others) == (0, 1)
    with admission.places("1001", [100 * long]) as alone:
        assert alone == 1
    assert not admission._taken
