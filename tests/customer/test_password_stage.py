"""What is particular to the stage password on the customer's side."""

import time

from bank import accounts
from customer import conversing
from protocol.messages import AskStatement, Statement
from protocol.orders import format_time
from protocol.stages import Stage
from tests.customer.scene import Stand

LINES = 300


def test_a_page_that_is_longer_than_a_request_may_be_is_read(stand: Stand) -> None:
    """Requests have at most 64 KiB; the bank's answers do not."""
    with (
        stand.bank.open_ledger() as ledger,
        stand.bank.signer() as signer,
        stand.bank.open_posting(ledger, signer, time.time) as posting,
    ):
        now = format_time(time.time())
        orders = [
            accounts.deposit(ledger, "1001", "1.00", "d" * 140, identifier=f"more-{number}", created=now)
            for number in range(LINES)
        ]
        for future in [posting.submit(order) for order in orders]:
            future.result(timeout=30)
    with stand.customer(certified=False) as home, conversing.conversation(home, Stage.PASSWORD) as talk:
        statement = conversing.ask(talk, AskStatement(number=0, after=0, lines=500), Statement)
    assert len(statement.lines) == LINES + 1
