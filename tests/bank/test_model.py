"""Whatever is asked of the ledger in whatever order, it does what a dictionary would do."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bank import accounts
from bank.audit import audit
from bank.errors import RecordError
from protocol.codes import Reason
from tests.bank.ledgers import Bank, receipt_of, refused

NUMBERS = st.sampled_from(["1001", "1002", "1003"])
MINOR = st.integers(1, 3000)


class LedgerMachine(RuleBasedStateMachine):
    """The model: balances, statuses, and what was decided under each identifier."""

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cs-model-"))
        self.bank = Bank(self.folder)
        self.balances = {"0000": 0, "1001": 0, "1002": 0, "1003": 0}
        self.statuses = dict.fromkeys(self.balances, "open")
        self.decided: dict[tuple[str, str], tuple[tuple[str, int], bytes]] = {}
        for number in ("1001", "1002", "1003"):
            accounts.open_account(self.bank.ledger, number, "Customer", 0)

    @rule(number=NUMBERS, minor=MINOR)
    def deposit(self, number: str, minor: int) -> None:
        entry = self.bank.deposit(number, text(minor))
        if self.statuses[number] == "open":
            assert entry.reason is None
            self._move("0000", number, minor)
        else:
            assert entry.reason in (Reason.ACCOUNT_BLOCKED, Reason.ACCOUNT_CLOSED)

    @rule(debtor=NUMBERS, creditor=NUMBERS, minor=MINOR, identifier=st.sampled_from("abcdefgh"))
    def transfer(self, debtor: str, creditor: str, minor: int, identifier: str) -> None:
        outcome = self.bank.post(self.bank.order(debtor, creditor, text(minor), identifier))
        earlier = self.decided.get((debtor, identifier))
        if earlier is not None:
            if earlier[0] == (creditor, minor):
                assert receipt_of(outcome).entry == earlier[1]
                assert receipt_of(outcome).duplicate
            else:
                field = "creditor" if earlier[0][0] != creditor else "amount"
                assert refused(outcome) == (Reason.IDENTIFIER_REUSED, field)
            return
        entry = self.bank.prove(receipt_of(outcome))
        self.decided[debtor, identifier] = (creditor, minor), receipt_of(outcome).entry
        assert entry.reason == self._expected(debtor, creditor, minor)
        if entry.reason is None:
            self._move(debtor, creditor, minor)

    @rule(number=NUMBERS, status=st.sampled_from(["open", "blocked", "closed"]))
    def change_status(self, number: str, status: accounts.Status) -> None:
        try:
            accounts.set_status(self.bank.ledger, number, status)
        except RecordError:
            assert status == "closed"
            assert self.balances[number]
        else:
            self.statuses[number] = status

    @precondition(lambda self: len(self.decided) > 2)
    @rule()
    def restart(self) -> None:
        self.bank.restart()

    @rule()
    def audit(self) -> None:
        found = audit(self.bank.ledger, verify_order=lambda _: None, verify_head=self.bank.signer.verify)
        assert found == ()

    @invariant()
    def balances_agree(self) -> None:
        if hasattr(self, "bank"):
            assert self.bank.balances() == self.balances
            assert sum(self.balances.values()) == 0

    def teardown(self) -> None:
        if hasattr(self, "bank"):
            self.bank.close()
            shutil.rmtree(self.folder)

    def _move(self, debtor: str, creditor: str, minor: int) -> None:
        self.balances[debtor] -= minor
        self.balances[creditor] += minor

    def _expected(self, debtor: str, creditor: str, minor: int) -> Reason | None:
        closed = {"blocked": Reason.ACCOUNT_BLOCKED, "closed": Reason.ACCOUNT_CLOSED}
        if debtor == creditor:
            return Reason.SAME_ACCOUNT
        for number in (debtor, creditor):
            if self.statuses[number] != "open":
                return closed[self.statuses[number]]
        return Reason.INSUFFICIENT_FUNDS if self.balances[debtor] < minor else None


def text(minor: int) -> str:
    return f"{minor // 100}.{minor % 100:02}"


def test_trial_03_the_ledger_equals_a_dictionary() -> None:
    run_state_machine_as_test(LedgerMachine, settings=settings(stateful_step_count=25))
