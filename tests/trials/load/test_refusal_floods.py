"""One customer's refusals are limited however they come, and cost the others neither room nor time."""

import os
from pathlib import Path

import pytest

from bank import accounts
from bank.errors import LedgerError
from bank.posting import Posting
from bank.refusals import RefusalLimiter
from bank.storage import Ledger
from protocol.codes import Reason, Status
from protocol.messages import NumberedReceipt, Refusal
from protocol.receipts import decode_entry
from protocol.stages import Stage
from tests.bank.counter import at_counter, entry_of
from tests.bank.ledgers import NOW, Bank
from tests.bank.ledgers import entry_of as decided
from tests.bank.town import Town

PER_MINUTE = 3
TOO_MUCH = "99999.00"


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    """A ledger in which Alice has 50 euros, and in which few refusals a minute are logged."""
    bank = Bank(tmp_path, options={"refusals": RefusalLimiter(PER_MINUTE)})
    bank.open_accounts(n1001="50.00", n1002="50.00")
    return bank


def test_trial_45_refusals_on_their_way_together_do_not_exceed_the_limit(bank: Bank) -> None:
    flood = [bank.order("1001", "1002", TOO_MUCH, f"flood-{place}") for place in range(200)]
    before = bank.count("entry")
    try:
        outcomes = [future.result(20) for future in [bank.submit(order) for order in flood]]
        logged = [each for each in outcomes if getattr(each, "reason", None) is not Reason.RATE]
        assert len(logged) == PER_MINUTE
        assert all(decided(each).status is Status.REJECTED for each in logged)
        assert bank.count("entry") == before + PER_MINUTE
        # The honest twins: another customer's refusal is logged, and the flooder's own good order is booked.
        assert bank.send("1002", "1001", TOO_MUCH).reason is Reason.INSUFFICIENT_FUNDS
        assert bank.send("1001", "1002", "1.00").status is Status.SETTLED
        # What was told "rate" used up nothing: after a minute, with the money there, it is booked under its identifier.
        bank.clock.now = NOW + 61
        bank.deposit("1001", TOO_MUCH)
        assert decided(bank.post(flood[-1])).status is Status.SETTLED
        # And the logged ones stay what they are, which costs no allowance.
        for _ in range(2 * PER_MINUTE):
            assert decided(bank.post(flood[0])).reason is Reason.INSUFFICIENT_FUNDS
    finally:
        bank.close()


def test_trial_45_processes_on_one_ledger_keep_one_limit_together(bank: Bank) -> None:
    """Each has a posting of its own; what one has logged, also in an earlier life, the other knows."""
    flood = [bank.order("1001", "1002", TOO_MUCH, f"flood-{place}") for place in range(2 * PER_MINUTE)]
    limiter = RefusalLimiter(PER_MINUTE)
    ledger = Ledger.open(bank.path)
    other = Posting(
        ledger, bank.signer, verify_head=bank.signer.verify, clock=bank.clock, random=os.urandom, refusals=limiter
    )
    try:
        for order in flood[: PER_MINUTE - 1]:
            assert decided(bank.post(order)).status is Status.REJECTED
        outcomes = [other.submit(order).result(20) for order in flood[PER_MINUTE - 1 :]]
        assert decided(outcomes[0]).status is Status.REJECTED
        assert [getattr(each, "reason", None) for each in outcomes[1:]] == [Reason.RATE] * PER_MINUTE
        assert limiter.remaining("1001", NOW) == 0  # from now on nothing is spent on them
        assert bank.send("1002", "1001", "1.00").status is Status.SETTLED
        bank.clock.now = NOW + 61
        assert limiter.remaining("1001", bank.clock.now) == PER_MINUTE
        assert decided(other.submit(flood[-1]).result(20)).status is Status.REJECTED
        assert bank.count("refusal") == 1  # the others are over, and forgotten
    finally:
        other.stop()
        ledger.close()
        bank.close()


def test_trial_45_what_is_rolled_back_is_not_counted(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    try:
        with monkeypatch.context() as patch:
            patch.setattr("bank.batch.Batch.write", broken)
            for _ in range(2 * PER_MINUTE):
                with pytest.raises(LedgerError):
                    bank.send("1001", "1002", TOO_MUCH)
        for _ in range(PER_MINUTE):
            assert bank.send("1001", "1002", TOO_MUCH).reason is Reason.INSUFFICIENT_FUNDS
        assert sum(account.balance_minor for account in accounts.every(bank.ledger)) == 0
    finally:
        bank.close()


@pytest.mark.parametrize("stage", [Stage.PASSWORD, Stage.SESSION])
def test_trial_45_a_flood_over_the_wire_is_limited_and_others_are_served(
    town: Town, short_tmp: Path, stage: Stage
) -> None:
    limits = {"refusals_per_minute": PER_MINUTE, "queue": 40, "queue_per_customer": 30}
    with (
        at_counter(town, short_tmp, limits=limits) as counter,
        counter.session(town.bob, Stage.SESSION) as bob,
    ):
        assert bob.pay("before", creditor="1001").reason is Reason.INSUFFICIENT_FUNDS
        if stage is Stage.PASSWORD:
            flood = [counter.submission(town.alice, f"flood-{n}", stage, amount=TOO_MUCH) for n in range(8)]
            answers = [counter.ask(town.alice, order) for order in flood]
        else:
            with counter.session(town.alice, stage) as talk:
                flood = [counter.submission(town.alice, f"flood-{n}", stage, amount=TOO_MUCH) for n in range(300)]
                talk.send(*flood)
                meanwhile = bob.pay("meanwhile", creditor="1001")
                assert meanwhile.reason is Reason.INSUFFICIENT_FUNDS
                answers = [talk.answer() or pytest.fail("the bank hung up") for _ in flood]
        logged = [each for each in answers if isinstance(each, NumberedReceipt)]
        refused = [each.reason for each in answers if isinstance(each, Refusal)]
        assert len(logged) == PER_MINUTE
        assert {decode_entry(each.receipt.entry).reason for each in logged} == {Reason.INSUFFICIENT_FUNDS}
        assert Reason.RATE in refused
        assert set(refused) <= {Reason.RATE, Reason.BUSY}
        # A customer who is told "rate" is told so until the minute is over, and not longer.
        counter.clock.ahead = 61
        if stage is Stage.SESSION:
            with counter.session(town.alice, stage) as talk:
                good = counter.submission(town.alice, "then-good", stage)
                assert entry_of(talk.ask(good)).status is Status.SETTLED
