"""Whatever the database server reports amid a posting, and wherever it is lost: each order is posted once."""

import pytest

from bank import posting
from bank.errors import OutcomeUnknown, Unwritable
from bank.posting import Submission
from protocol.codes import Status
from protocol.receipts import Receipt
from tests.bank.database_faults import FAULTS, NO_ROOM, lost_after_commit, sabotage
from tests.bank.ledgers import DEADLINE_SECONDS, Bank, receipt_of
from tests.bank.test_bulk_posting import bulk

MOST_STATEMENTS = 20


@pytest.mark.parametrize("fault", FAULTS)
def test_trial_08_a_fault_at_each_statement_of_a_posting_posts_it_once(database_bank: Bank, fault: str) -> None:
    bank = database_bank
    bank.open_accounts(n1001="50.00", n1002="0", n1003="0")
    entries = bank.count("entry")
    posted: list[tuple[Submission, Receipt]] = []
    for at in range(1, MOST_STATEMENTS):
        submission = (
            bulk(bank, ("1002", "0.20"), ("1003", "0.10"), transfer_identifier=f"b-{at}")
            if at % 2
            else bank.order("1001", "1002", "0.30")
        )
        with sabotage(bank, at, fault, times=1 + at % 3) as saboteur:
            posted.append((submission, receipt_of(bank.post(submission))))
        assert bank.count("entry") == entries + len(posted)
        if saboteur.most < at:
            break
    assert 7 < len(posted) < MOST_STATEMENTS - 1, "each statement of the posting must have been met"
    assert bank.balances()["1001"] == 5000 - 30 * len(posted)
    for submission, receipt in posted:
        assert not receipt.duplicate
        assert bank.prove_any(receipt).reference is not None
        again = receipt_of(bank.post(submission))
        assert (again.duplicate, again.entry) == (True, receipt.entry)


def test_trial_08_without_a_fault_it_is_posted_once_at_the_first_try(database_bank: Bank) -> None:
    """The honest twin: what is counted above is counted here."""
    bank = database_bank
    bank.open_accounts(n1001="50.00", n1002="0")
    with sabotage(bank, MOST_STATEMENTS, "deadlock") as saboteur:
        receipt = receipt_of(bank.post(bank.order("1001", "1002", "20")))
    assert saboteur.times == 1
    assert 5 < saboteur.most < MOST_STATEMENTS
    assert bank.prove(receipt).status == Status.SETTLED
    assert bank.balances() == {"0000": -5000, "1001": 3000, "1002": 2000}


def test_trial_08_a_connection_lost_while_it_commits_posts_each_order_once(database_bank: Bank) -> None:
    """Committed, but nobody said so: the bank looks, finds its own entries, and answers as if nothing had been."""
    bank = database_bank
    bank.open_accounts(n1001="50.00", n1002="0")
    for number in range(3):
        same = bank.order("1001", "1002", "2")
        with lost_after_commit(times=1 + number) as happened:
            # In one batch or in two: the second is a duplicate of the first, and nothing is one of the lost try.
            outcomes = [receipt_of(each.result(DEADLINE_SECONDS)) for each in (bank.submit(same), bank.submit(same))]
        assert happened
        assert [each.duplicate for each in outcomes] == [False, True]
        assert outcomes[0].entry == outcomes[1].entry
        assert bank.prove(outcomes[0]).status == Status.SETTLED
    assert bank.balances() == {"0000": -5000, "1001": 4400, "1002": 600}


def test_a_refused_order_in_a_lost_commit_stays_refused(database_bank: Bank) -> None:
    bank = database_bank
    bank.open_accounts(n1001="5.00", n1002="0")
    with lost_after_commit() as happened:
        receipt = receipt_of(bank.post(bank.order("1001", "1002", "20")))
    assert happened == ["lost"]
    assert (receipt.duplicate, bank.prove(receipt).status) == (False, Status.REJECTED)
    assert bank.count("entry") == 2


@pytest.mark.parametrize("fault", FAULTS)
def test_what_fails_for_too_long_is_given_up_and_nothing_was_recorded(
    database_bank: Bank, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = database_bank
    bank.open_accounts(n1001="50.00", n1002="0")
    submission = bank.order("1001", "1002", "20")
    with monkeypatch.context() as patch, sabotage(bank, 3, fault, times=10**9):
        patch.setattr(posting, "RETRY_SECONDS", 0.2)
        with pytest.raises(Unwritable, match="nothing was recorded"):
            bank.post(submission)
    assert bank.balances()["1002"] == 0
    assert not receipt_of(bank.post(submission)).duplicate


def test_what_nobody_can_tell_is_not_said_to_be_unrecorded(
    database_bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = database_bank
    bank.open_accounts(n1001="50.00", n1002="0")
    submission = bank.order("1001", "1002", "20")
    with monkeypatch.context() as patch, lost_after_commit():
        patch.setattr(posting, "RETRY_SECONDS", 0.0)
        with pytest.raises(OutcomeUnknown, match="may be recorded or not"):
            bank.post(submission)
    assert receipt_of(bank.post(submission)).duplicate
    assert bank.balances()["1002"] == 2000


def test_what_nobody_can_tell_is_not_said_to_be_unrecorded_where_the_look_fails_for_want_of_room(
    database_bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the second try the database says that nothing was recorded; the first one was."""
    bank = database_bank
    bank.open_accounts(n1001="50.00", n1002="0")
    submission = bank.order("1001", "1002", "20")
    with monkeypatch.context() as patch, lost_after_commit() as happened:
        patch.setattr(posting, "RETRY_SECONDS", 0.2)
        with (
            sabotage(bank, 1, NO_ROOM, times=10**9, when=lambda: bool(happened)),
            pytest.raises(OutcomeUnknown, match="may be recorded or not"),
        ):
            bank.post(submission)
    assert receipt_of(bank.post(submission)).duplicate
    assert bank.balances()["1002"] == 2000


def test_what_nobody_could_tell_is_found_once_there_is_room_to_look(database_bank: Bank) -> None:
    bank = database_bank
    bank.open_accounts(n1001="50.00", n1002="0")
    with lost_after_commit() as happened, sabotage(bank, 1, NO_ROOM, times=2, when=lambda: bool(happened)) as saboteur:
        receipt = receipt_of(bank.post(bank.order("1001", "1002", "20")))
    assert (happened, saboteur.times, receipt.duplicate) == (["lost"], 0, False)
    assert bank.balances()["1002"] == 2000


def test_want_of_room_alone_is_told_at_once(database_bank: Bank) -> None:
    """The honest twin: nothing was recorded, and trying again would not help."""
    bank = database_bank
    bank.open_accounts(n1001="50.00", n1002="0")
    submission = bank.order("1001", "1002", "20")
    with sabotage(bank, 1, NO_ROOM, times=10**9) as saboteur, pytest.raises(Unwritable, match="the disk is full"):
        bank.post(submission)
    assert saboteur.times == 10**9 - 1
    assert not receipt_of(bank.post(submission)).duplicate
