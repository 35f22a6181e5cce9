"""A bulk order on the ledger: one entry, one receipt, a booking for each payment, and all of it audited."""

from typing import Any

import pytest
from sqlalchemy import select

from bank import accounts, posting, schema
from bank.audit import audit
from bank.posting import Submission
from bank.replay import disagreement
from protocol import canonical
from protocol.codes import GroupStatus, Reason
from protocol.limits import PAYMENTS_IN_ORDER
from protocol.orders import BulkOrder, Payment, TransferOrder, decode_order, encode_order, format_time
from protocol.receipts import BulkEntry, ReceiptError, check_order, check_results, decode_entry
from tests.bank.ledgers import BANK, Bank, receipt_of, refused
from tests.bank.tampering import tamper
from tests.bank.test_audit import message_fits
from tests.protocol.test_vectors import vectors


def bulk(bank: Bank, *payments: tuple[str, str], **changes: Any) -> Submission:
    """A submission as the server makes it of a bulk order of 1001."""
    made = tuple(Payment(amount, creditor, f"salary {place}") for place, (creditor, amount) in enumerate(payments, 1))
    fields: dict[str, Any] = {
        "bank": BANK,
        "certificate": None,
        "count": len(made),
        "created": format_time(bank.clock()),
        "currency": "EUR",
        "debtor": "1001",
        "execution": "atomic",
        "payments": made,
        "sum": f"{sum(float(amount) for _, amount in payments):.2f}",
        "transfer_identifier": "b-1",
    }
    order = BulkOrder(**{**fields, **changes})
    content = encode_order(order)
    return Submission(order, content, b"signed: " + content, "signed", None, None)


@pytest.fixture
def town(bank: Bank) -> Bank:
    bank.open_accounts(n1001="100.00", n1002="0", n1003="0")
    return bank


def posted(bank: Bank, submission: Submission) -> BulkEntry:
    """The entry of a bulk order, its receipt proven and checked as a customer does it."""
    entry = bank.prove_any(receipt_of(bank.post(submission)))
    assert isinstance(entry, BulkEntry)
    assert isinstance(submission.order, BulkOrder)
    check_order(entry, submission.content, "1001", submission.order.transfer_identifier)
    check_results(entry, submission.order)
    return entry


def findings(bank: Bank) -> list[str]:
    found = audit(bank.ledger, verify_order=message_fits, verify_head=bank.signer.verify)
    return [f"{each.row}: {each.sentence}" for each in found]


def legs(bank: Bank) -> list[tuple[Any, ...]]:
    """Account, booking number, amount, balance after it, position and description of what bulk orders have booked."""
    column = schema.booking.c
    with bank.ledger.reading() as connection:
        rows = connection.execute(
            select(*(each for each in column if each is not column.leaf))
            .where(column.payment.is_not(None))
            .order_by(column.number, column.amount_minor)
        )
        return [tuple(row) for row in rows]


def test_an_atomic_bulk_order_is_one_entry_and_a_booking_for_each_payment(town: Bank) -> None:
    before = town.count("entry")
    entry = posted(town, bulk(town, ("1002", "10"), ("1003", "20.5"), ("1002", "1")))
    assert (entry.status, entry.posted, entry.refused, entry.reason) == (GroupStatus.SETTLED, "31.50", (), None)
    assert (entry.reference, entry.count) == ("2", 3)
    assert town.count("entry") == before + 1
    assert legs(town) == [
        ("1001", 2, -3150, 6850, 0, None),
        ("1002", 2, 1000, 1000, 1, "salary 1"),
        ("1003", 3, 2050, 2050, 2, "salary 2"),
        ("1002", 4, 100, 1100, 3, "salary 3"),
    ]
    assert town.balances() == {"0000": -10000, "1001": 6850, "1002": 1100, "1003": 2050}
    assert town.send("1002", "1003", "1").reference == "5"  # the numbers go on without a gap
    town.posting.stop()
    assert findings(town) == []


@pytest.mark.parametrize("execution", ["atomic", "best-effort"])
def test_refused_payments_are_named_and_atomic_books_nothing(town: Bank, execution: str) -> None:
    submission = bulk(town, ("1002", "60"), ("1009", "1"), ("1003", "50"), ("1003", "40"), execution=execution)
    entry = posted(town, submission)
    named = [(each.payment, each.reason, each.field) for each in entry.refused]
    assert named == [(2, Reason.UNKNOWN_CREDITOR, "creditor"), (3, Reason.INSUFFICIENT_FUNDS, "amount")]
    assert entry.reason is Reason.PAYMENTS
    if execution == "atomic":
        assert (entry.status, entry.posted, entry.reference) == (GroupStatus.REJECTED, None, None)
        assert town.balances() == {"0000": -10000, "1001": 10000, "1002": 0, "1003": 0}
    else:
        assert (entry.status, entry.posted, entry.reference) == (GroupStatus.PARTLY, "100.00", "2")
        assert [row[:5] for row in legs(town)] == [
            ("1001", 2, -10000, 0, 0),
            ("1002", 2, 6000, 6000, 1),
            ("1003", 3, 4000, 4000, 4),
        ]
    town.posting.stop()
    assert findings(town) == []


def test_trial_09_a_bulk_order_submitted_often_is_booked_once_with_one_receipt(town: Bank) -> None:
    submission = bulk(town, ("1002", "10"), ("1003", "20"))
    receipts = [receipt_of(each.result(20)) for each in [town.submit(submission) for _ in range(50)]]
    town.restart()
    receipts.append(receipt_of(town.post(submission)))
    assert len({receipt.entry for receipt in receipts}) == 1
    assert sum(not receipt.duplicate for receipt in receipts) == 1
    assert len(legs(town)) == 3
    assert town.balances()["1001"] == 7000


def test_trial_10_the_identifier_of_a_bulk_order_is_used_up_for_single_ones_and_the_other_way(town: Bank) -> None:
    posted(town, bulk(town, ("1002", "10")))
    assert refused(town.post(town.order("1001", "1002", "10", "b-1"))) == (Reason.IDENTIFIER_REUSED, "type")
    town.send("1001", "1002", "10", "t-9")
    again = bulk(town, ("1002", "10"), transfer_identifier="t-9")
    assert refused(town.post(again)) == (Reason.IDENTIFIER_REUSED, "type")
    assert refused(town.post(bulk(town, ("1002", "11")))) == (Reason.IDENTIFIER_REUSED, "payments")
    assert town.balances()["1002"] == 2000


def test_trial_11_a_refused_bulk_order_stays_refused_after_funds_arrive(town: Bank) -> None:
    submission = bulk(town, ("1002", "60"), ("1003", "60"))
    assert posted(town, submission).status is GroupStatus.REJECTED
    town.deposit("1001", "1000")
    receipt = receipt_of(town.post(submission))
    assert receipt.duplicate
    assert town.balances()["1002"] == 0


def test_orders_of_one_batch_see_what_bulk_orders_before_them_left(town: Bank) -> None:
    first = bulk(town, ("1002", "60"), ("1003", "30"))
    futures = [
        town.submit(each)
        for each in (first, town.order("1001", "1002", "20", "t-1"), town.order("1002", "1003", "60", "t-2"))
    ]
    statuses = [decode_entry(receipt_of(each.result(20)).entry).status.value for each in futures]
    assert statuses == ["ACSC", "RJCT", "ACSC"]


def test_an_operator_cannot_take_the_identifier_of_a_bulk_order(town: Bank) -> None:
    posted(town, bulk(town, ("1002", "10")))
    out = accounts.withdrawal(town.ledger, "1001", "1", "cash", identifier="b-1", created=format_time(town.clock()))
    accounts.require_postable(town.ledger, out, int(town.clock()))
    assert refused(town.post(accounts.repeated(town.ledger, out))) == (Reason.IDENTIFIER_REUSED, "type")


# What is shown


def test_statements_show_each_payment_with_its_position_and_one_line_to_the_debtor(town: Bank) -> None:
    posted(town, bulk(town, ("1002", "10"), ("1009", "1"), ("1002", "2"), execution="best-effort"))
    (line,) = accounts.statement(town.ledger, "1001", 1, 10)
    assert (line.amount, line.counterparty, line.payment, line.payments) == ("-12.00", None, None, 2)
    assert (line.transfer_identifier, line.reference, line.description) == ("b-1", "2", "")
    lines = accounts.statement(town.ledger, "1002", 0, 10)
    assert [(each.amount, each.payment, each.payments, each.reference) for each in lines] == [
        ("10.00", 1, None, "2"),
        ("2.00", 3, None, "3"),
    ]
    assert [each.description for each in lines] == ["salary 1", "salary 3"]
    # As with single orders: nobody sees another's identifiers.
    assert {(each.counterparty, each.transfer_identifier) for each in lines} == {("1001", None)}


def test_transfers_list_a_bulk_order_once_also_for_one_account(town: Bank) -> None:
    posted(town, bulk(town, ("1002", "10"), ("1002", "20")))
    town.send("1001", "1002", "1")
    assert [each.entry.transfer_identifier for each in accounts.transfers(town.ledger, account="1002")] == [
        "b-1",
        "t-2",
    ]
    assert [type(each.entry).__name__ for each in accounts.transfers(town.ledger)][-2:] == ["BulkEntry", "LogEntry"]


# The queue


def test_bulk_orders_come_in_transactions_of_bounded_length(town: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are queued while the posting is held up are more than one batch may take."""
    monkeypatch.setattr(posting, "PAYMENTS_AT_ONCE", 4)
    with town.ledger.writing():
        futures = [
            town.submit(bulk(town, *[("1002", "0.01")] * 3, transfer_identifier=f"b-{each}")) for each in range(7)
        ]
    heads = {canonical.digest(receipt_of(future.result(20)).head) for future in futures}
    assert len(heads) >= 3  # one commit and one head for two orders; the first may have come alone
    assert town.balances()["1002"] == 21


def test_a_bulk_order_of_the_most_payments_is_posted(town: Bank) -> None:
    entry = posted(town, bulk(town, *[("1002", "0.01"), ("1003", "0.02")] * (PAYMENTS_IN_ORDER // 2)))
    assert (entry.status, entry.posted) == (GroupStatus.SETTLED, "15.00")
    assert len(legs(town)) == PAYMENTS_IN_ORDER + 1
    town.posting.stop()
    assert findings(town) == []


# The audit

TAMPERED = {
    "a payment's amount": "UPDATE booking SET amount_minor = 999 WHERE account = '1002' AND number = 2",
    "a payment's position": "UPDATE booking SET payment = 2 WHERE account = '1002' AND number = 2",
    "a payment's description": "UPDATE booking SET description = 'x' WHERE account = '1003'",
    "a payment of another creditor": "UPDATE booking SET account = '1003', number = 2 WHERE account = '1002'",
    "a payment dropped": "DELETE FROM booking WHERE account = '1003'",
    "the debit": "UPDATE booking SET amount_minor = -1 WHERE account = '1001' AND payment = 0",
    "the debit dropped": "DELETE FROM booking WHERE account = '1001' AND payment = 0",
    "a payment that was refused": (
        "INSERT INTO booking SELECT account, 9, amount_minor, balance_after_minor, leaf, 3, description FROM booking "
        "WHERE account = '1003'"
    ),
    "the results": "UPDATE entry SET entry = CAST(replace(entry, '\"payment\":3', '\"payment\":2') AS BLOB)",
    "the order": "UPDATE entry SET content = CAST(replace(content, 'salary 1', 'salary 9') AS BLOB)",
}


@pytest.mark.parametrize("case", TAMPERED)
def test_trial_46_a_changed_bulk_order_is_found(town: Bank, case: str) -> None:
    posted(town, bulk(town, ("1002", "10"), ("1003", "20"), ("1009", "5"), execution="best-effort"))
    town.posting.stop()
    assert findings(town) == []
    tamper(town, TAMPERED[case])
    assert findings(town)


def test_trial_46_an_entry_that_decides_an_order_of_another_type_is_found(town: Bank) -> None:
    """Also with all hashes right: the digest of the order is the entry's own word."""
    submission = bulk(town, ("1002", "10"))
    entry = posted(town, submission)
    alone = TransferOrder(
        amount="10",
        bank=BANK,
        certificate=None,
        created=format_time(town.clock()),
        creditor="1002",
        currency="EUR",
        debtor="1001",
        description="",
        transfer_identifier="b-1",
    )
    content = encode_order(alone)
    town.posting.stop()
    tamper(town, f"UPDATE entry SET content = X'{content.hex()}' WHERE leaf = 1")
    assert any("another type" in each for each in findings(town))
    with pytest.raises(ReceiptError):
        check_order(entry, content, "1001", "b-1")


@pytest.mark.parametrize(
    "vector", [each for each in vectors("bulk.json") if each["entry"]], ids=lambda each: each["name"]
)
def test_trial_46_results_that_do_not_follow_are_found_whatever_the_hashes_say(vector: dict[str, Any]) -> None:
    order = decode_order(bytes.fromhex(vector["order"]))
    if vector["wrong"] != "entry":
        flaw = disagreement(decode_entry(bytes.fromhex(vector["entry"])), order)
        assert (flaw is None) == (vector["wrong"] is None)
