"""An order is posted once, for ever, and every answer proves itself."""

import os
import threading
from typing import Any

import pytest

from bank import accounts
from bank.batch import Submission
from bank.customers import Customer, Customers
from bank.errors import Busy, InvariantBroken, OutcomeStands, Stopping
from bank.posting import Posting
from protocol import canonical, receipts
from protocol.codes import Reason, Status
from protocol.orders import COMPARED_FIELDS, encode_order, format_time, parse_time
from protocol.receipts import TreeHead
from protocol.stages import Stage
from tests.bank.ledgers import BANK, DEADLINE_SECONDS, NOW, Bank, entry_of, receipt_of, refused


def test_a_transfer_is_booked_and_its_receipt_proves_itself(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")
    submission = bank.order("1001", "1002", "20", "t-1")
    entry = bank.prove(receipt_of(bank.post(submission)))
    assert (entry.status, entry.amount, entry.reference, entry.reason) == (Status.SETTLED, "20.00", "2", None)
    receipts.check_order(entry, submission.content, "1001", "t-1")
    assert bank.balances() == {"0000": -5000, "1001": 3000, "1002": 2000}


def test_a_refusal_is_logged_and_receipted_and_books_nothing(bank: Bank) -> None:
    bank.open_accounts(n1001="5.00", n1002="0")
    entry = bank.prove(receipt_of(bank.post(bank.order("1001", "1002", "20"))))
    assert (entry.status, entry.reason, entry.field, entry.reference) == (
        Status.REJECTED,
        Reason.INSUFFICIENT_FUNDS,
        "amount",
        None,
    )
    assert bank.balances() == {"0000": -500, "1001": 500, "1002": 0}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"amount": "0"}, Reason.AMOUNT_ZERO),
        ({"amount": "-1"}, Reason.AMOUNT_INVALID),
        ({"amount": "1e2"}, Reason.AMOUNT_INVALID),
        ({"amount": str(2**63 + 1)}, Reason.AMOUNT_TOO_LARGE),
        ({"amount": "1.001"}, Reason.AMOUNT_INVALID),
        ({"currency": "USD"}, Reason.CURRENCY),
        ({"creditor": "1001"}, Reason.SAME_ACCOUNT),
        ({"creditor": "7777"}, Reason.UNKNOWN_CREDITOR),
        ({"creditor": "x'; --"}, Reason.ACCOUNT_NUMBER),
    ],
)
def test_trial_06_an_impossible_order_is_logged_and_receipted(
    bank: Bank, changes: dict[str, Any], reason: Reason
) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")
    fields = {"debtor": "1001", "creditor": "1002", "amount": "1", **changes}
    entry = bank.prove(receipt_of(bank.post(bank.order(**fields))))
    assert (entry.status, entry.reason) == (Status.REJECTED, reason)
    assert bank.count("entry") == 2
    assert bank.count("booking") == 2


def test_trial_09_a_thousand_submissions_of_one_order_make_one_posting_and_one_receipt(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")
    submission = bank.order("1001", "1002", "20")
    outcomes: list[Any] = []

    def submit_many() -> None:
        futures = [bank.submit(submission) for _ in range(100)]
        outcomes.extend(future.result(DEADLINE_SECONDS) for future in futures)

    threads = [threading.Thread(target=submit_many) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 1000
    assert len({outcome.entry for outcome in outcomes}) == 1
    assert {outcome.index for outcome in outcomes} == {1}
    assert sum(not outcome.duplicate for outcome in outcomes) == 1
    assert bank.count("entry") == 2
    assert bank.balances()["1002"] == 2000
    for outcome in outcomes[::100]:
        bank.prove(outcome)


DIFFERENT = {
    "creditor": "1003",
    "amount": "21",
    "currency": "USD",
    "description": "another",
    "certificate": "c" * 64,
    "created": format_time(NOW - 1),
}


@pytest.mark.parametrize("field", [field for field in COMPARED_FIELDS if field != "bank"])
def test_trial_10_the_identifier_with_another_order_is_refused_naming_the_field(bank: Bank, field: str) -> None:
    bank.open_accounts(n1001="50.00", n1002="0", n1003="0")
    original = bank.order("1001", "1002", "20", "t-1")
    receipt = receipt_of(bank.post(original))
    other = bank.order(
        **{"debtor": "1001", "creditor": "1002", "amount": "20", field: DIFFERENT[field]}, identifier="t-1"
    )
    assert refused(bank.post(other)) == (Reason.IDENTIFIER_REUSED, field)
    assert bank.count("entry") == 2
    again = receipt_of(bank.post(original))
    assert (again.entry, again.index, again.duplicate) == (receipt.entry, receipt.index, True)


def test_trial_12_two_orders_with_one_identifier_in_one_batch_are_told_apart(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")
    orders = [
        bank.order("1001", "1002", "20", "t-1"),
        bank.order("1001", "1002", "20", "t-1"),
        bank.order("1001", "1002", "30", "t-1"),
    ]
    first, again, other = [future.result(DEADLINE_SECONDS) for future in at_once(bank, orders)]
    assert receipt_of(first).entry == receipt_of(again).entry
    assert [receipt_of(first).duplicate, receipt_of(again).duplicate] == [False, True]
    assert refused(other) == (Reason.IDENTIFIER_REUSED, "amount")
    assert bank.count("entry") == 3  # the deposit, the order that held up the others, and one for the three


def at_once(bank: Bank, submissions: list[Submission]) -> list[Any]:
    """Submits so that all are taken into one batch: the lock of the ledger is held meanwhile by us."""
    with bank.ledger.writing():
        blocker = bank.submit(bank.order("1009", "1002", "1", "blocker"))  # the thread takes it and waits for the lock
        while bank.posting._queue:
            pass
        futures = [bank.submit(submission) for submission in submissions]
    blocker.result(DEADLINE_SECONDS)
    for future in futures:
        future.exception(DEADLINE_SECONDS)
    return futures


def test_orders_of_one_batch_see_the_balances_that_those_before_them_left(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="0", n1003="0")
    orders = [
        bank.order("1001", "1002", "50"),
        bank.order("1001", "1003", "0.01"),
        bank.order("1002", "1003", "50"),
        bank.order("1003", "1001", "50"),
    ]
    entries = [bank.prove(receipt_of(future.result())) for future in at_once(bank, orders)]
    assert [entry.status for entry in entries] == ["ACSC", "RJCT", "ACSC", "ACSC"]
    assert bank.balances() == {"0000": -5000, "1001": 5000, "1002": 0, "1003": 0}


def test_trial_11_a_refused_identifier_stays_refused_after_funds_arrive(bank: Bank) -> None:
    bank.open_accounts(n1001="5.00", n1002="0")
    submission = bank.order("1001", "1002", "20")
    first = receipt_of(bank.post(submission))
    bank.deposit("1001", "100")
    again = receipt_of(bank.post(submission))
    assert again.entry == first.entry
    assert entry_of(again).reason == Reason.INSUFFICIENT_FUNDS
    assert bank.send("1001", "1002", "20").status == Status.SETTLED


def test_trial_13_a_retry_after_a_restart_gets_the_same_entry_against_a_current_head(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")
    submission = bank.order("1001", "1002", "20")
    first = receipt_of(bank.post(submission))
    bank.send("1001", "1002", "1")
    bank.restart()
    bank.clock.now += 10 * 365 * 86400
    again = receipt_of(bank.post(submission))
    assert (again.entry, again.index, again.duplicate) == (first.entry, first.index, True)
    bank.prove(again)
    assert again.head != first.head


def test_trial_14_the_same_identifier_of_two_customers_is_independent(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="50.00")
    bank.send("1001", "1002", "20", "same")
    assert bank.send("1002", "1001", "5", "same").status == Status.SETTLED
    mine = canonical.digest(bank.order("1001", "1002", "20", "same").content)
    assert entry_of(bank.posting.look_up("1001", "same", mine, None)).debtor == "1001"
    assert refused(bank.posting.look_up("1002", "same", mine, None)) == (Reason.IDENTIFIER_REUSED, None)
    assert bank.posting.look_up("1003", "same", mine, None) is None


def test_a_look_up_gives_the_receipt_as_a_duplicate_and_the_proof_from_the_clients_head(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")
    kept = bank.head()
    submission = bank.order("1001", "1002", "20", "t-1")
    bank.post(submission)
    found = receipt_of(bank.posting.look_up("1001", "t-1", canonical.digest(submission.content), kept.size))
    assert found.duplicate
    bank.prove(found)
    receipts.check_consistency(kept, head_of(bank, found.head), found.consistency)


def head_of(bank: Bank, message: bytes) -> TreeHead:
    content = bank.signer.verify(message)
    assert content is not None
    return canonical.decode_signed(TreeHead, content)


def test_every_receipt_proves_that_the_log_continues_what_the_client_keeps(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")
    heads = [bank.head()]
    for _ in range(20):
        receipt = receipt_of(bank.post(bank.order("1001", "1002", "0.01", since=heads[0].size)))
        heads.append(head_of(bank, receipt.head))
        receipts.check_consistency(heads[0], heads[-1], receipt.consistency)
    for older in heads:
        message, path = bank.posting.head(older.size)
        receipts.check_consistency(older, head_of(bank, message), path)


def test_a_size_that_the_log_does_not_have_gets_no_proof(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")
    assert bank.posting.head(1000)[1] is None
    assert receipt_of(bank.post(bank.order("1001", "1002", "1", since=1000))).consistency is None


def test_trial_12_a_full_queue_is_busy_at_once_and_uses_up_nothing(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")
    bank.posting.stop()
    bank.options = {"queue_limit": 3, "batch_limit": 2}
    bank.start()
    orders = [bank.order("1001", "1002", "1") for _ in range(8)]
    accepted, turned_away = [], []
    with bank.ledger.writing():
        for submission in orders:
            try:
                accepted.append(bank.submit(submission))
            except Busy:
                turned_away.append(submission)
    assert len(turned_away) >= 3
    assert all(entry_of(future.result(DEADLINE_SECONDS)).status == Status.SETTLED for future in accepted)
    assert all(entry_of(bank.post(submission)).status == Status.SETTLED for submission in turned_away)
    assert bank.balances()["1002"] == 800


def test_trial_40_stop_finishes_what_is_queued_and_takes_nothing_more(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")
    futures = [bank.submit(bank.order("1001", "1002", "0.01")) for _ in range(500)]
    bank.posting.stop()
    assert all(future.done() for future in futures)
    assert bank.balances()["1002"] == 500
    with pytest.raises(Stopping):
        bank.submit(bank.order("1001", "1002", "1"))


def test_a_cancelled_order_is_not_posted(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")
    with bank.ledger.writing():
        blocker = bank.submit(bank.order("1001", "1002", "1"))
        while not blocker.running():
            pass
        waiting = bank.submit(bank.order("1001", "1002", "2"))
        assert waiting.cancel()
    blocker.result(DEADLINE_SECONDS)
    bank.posting.stop()
    assert bank.balances()["1002"] == 100


def test_trial_22_a_signer_that_fails_leaves_the_outcome_and_it_is_receipted_later(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")
    bank.signer.failures = [OSError("the agent is gone")]
    submission = bank.order("1001", "1002", "20", "t-1")
    with pytest.raises(OutcomeStands, match="look it up"):
        bank.post(submission)
    found = receipt_of(bank.posting.look_up("1001", "t-1", canonical.digest(submission.content), None))
    assert bank.prove(found).status == Status.SETTLED
    assert bank.prove(receipt_of(bank.post(submission))).status == Status.SETTLED
    assert bank.balances()["1002"] == 2000


def test_trial_22_a_crash_between_commit_and_signature_is_healed_at_the_start(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")
    bank.signer.failures = [OSError("crash")] * 3
    submission = bank.order("1001", "1002", "20", "t-1")
    with pytest.raises(OutcomeStands):
        bank.post(submission)
    bank.signer.failures = [OSError("crash")] * 3
    bank.posting.stop()
    bank.signer.failures = []
    bank.restart()
    assert bank.head().size == 2
    assert bank.count("head") >= 1
    bank.prove(receipt_of(bank.posting.look_up("1001", "t-1", canonical.digest(submission.content), None)))


def test_trial_42_booking_times_never_run_backwards_and_heads_have_the_clocks_time(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")
    times = []
    for step in (0, 86400, -2 * 86400, 60, -1, 0):
        bank.clock.now += step
        times.append(bank.send("1001", "1002", "0.01").booked)
        # One from the future would be refused by every customer whose clock is right.
        assert bank.head().time == format_time(bank.clock())
    assert times == sorted(times)
    assert times[1] == times[2] == format_time(NOW + 86400)
    bank.clock.now -= 3600  # and nothing was posted since
    assert bank.head().time == format_time(bank.clock())
    assert bank.head().size == 7
    bank.restart()
    assert bank.send("1001", "1002", "0.01").booked == times[-1]


def test_trial_42_expiry_goes_by_the_clock_and_not_by_the_last_booking(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")
    bank.clock.now += 86400
    bank.send("1001", "1002", "1")
    bank.clock.now -= 86400
    ahead = format_time(bank.clock() + 3600)
    assert bank.send("1001", "1002", "1", created=ahead).reason == Reason.DATE
    assert parse_time(ahead, "created").timestamp() < NOW + 86400


def test_trial_24_two_postings_on_one_ledger_share_it_safely(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="50.00")
    second = Posting(
        bank.ledger, bank.signer, verify_head=bank.signer.verify, clock=bank.clock, random=os.urandom, batch_limit=3
    )
    orders = [bank.order("1001", "1002", "0.01") for _ in range(60)]
    futures = [posting.submit(order) for order in orders for posting in (bank.posting, second)]
    found = [receipt_of(future.result(DEADLINE_SECONDS)) for future in futures]
    second.stop()
    assert all(bank.prove(receipt).status == Status.SETTLED for receipt in found)
    assert sum(not receipt.duplicate for receipt in found) == 60
    assert bank.balances()["1002"] == 5060
    assert bank.head().size == 62


def test_what_the_server_must_have_refused_before_is_loud_and_harms_no_other_order(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")
    good = bank.order("1001", "1002", "1")
    foreign = bank.order("1001", "1002", "1", bank="C" * 40)
    for wrong in (
        foreign,
        Submission(good.order, good.content + b" ", None, "signed", None, None),
        Submission(good.order, good.content, None, "signed", "f" * 64, None),
        Submission(good.order, good.content, None, "strongest", None, None),
    ):
        with pytest.raises(InvariantBroken):
            bank.submit(wrong)
    assert entry_of(bank.post(good)).status == Status.SETTLED


def test_an_order_names_the_key_that_was_remembered(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")
    customers = Customers(bank.ledger)
    customers.add(Customer("1001", "Customer 1001", Stage.CERTIFIED, b"sealed"))
    digest = canonical.digest(b"key")
    customers.remember_key(digest, "1001", "D" * 40, b"key", certified=True, expires=NOW + 1)
    plain = bank.order("1001", "1002", "1")
    submission = Submission(plain.order, plain.content, b"message", "certified", digest, None)
    assert entry_of(bank.post(submission)).stage == "certified"
    assert encode_order(plain.order) == plain.content
    assert plain.order.bank == BANK


def test_deposits_and_withdrawals_take_the_same_path(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00")
    created = format_time(NOW)
    out = accounts.withdrawal(bank.ledger, "1001", "20", "cash", identifier="w-1", created=created)
    entry = bank.prove(receipt_of(bank.post(out)))
    assert (entry.stage, entry.debtor, entry.creditor, entry.status) == ("operator", "1001", "0000", Status.SETTLED)
    too_much = accounts.withdrawal(bank.ledger, "1001", "31", "cash", identifier="w-2", created=created)
    assert entry_of(bank.post(too_much)).reason == Reason.INSUFFICIENT_FUNDS
    assert bank.balances() == {"0000": -3000, "1001": 3000}


def test_trial_13_a_retry_years_later_gets_the_same_entry_proved_against_a_current_head(bank: Bank) -> None:
    """The order is far too old to be decided, but it was decided then; the honest twin is an order that was not."""
    bank.open_accounts(n1001="50.00", n1002="0")
    order, other = bank.order("1001", "1002", "5.00"), bank.order("1001", "1002", "6.00")
    first = receipt_of(bank.post(order))
    bank.clock.now += 10 * 365 * 86_400
    bank.restart()
    bank.deposit("1002", "1.00")
    for again in (bank.post(order), bank.posting.look_up("1001", *retried(order))):
        receipt = receipt_of(again)
        assert (receipt.entry, receipt.index, receipt.duplicate) == (first.entry, first.index, True)
        assert bank.prove(receipt) == entry_of(first)
        assert receipt.head == bank.posting.head(None)[0] != first.head
    assert entry_of(bank.post(other)).reason is Reason.DATE


def retried(order: Submission) -> tuple[str, str, None]:
    return order.order.transfer_identifier, canonical.digest(order.content), None
