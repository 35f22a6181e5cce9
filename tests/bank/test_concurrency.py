"""Money is neither made nor lost, whatever happens at once, and the outcome is that of some order one by one."""

import random
import threading
from collections.abc import Callable

import pytest
from sqlalchemy import select

from bank import accounts, schema
from protocol.codes import Reason
from protocol.money import parse_amount
from protocol.orders import decode_order
from protocol.receipts import LogEntry, decode_entry
from tests.bank.ledgers import DEADLINE_SECONDS, Bank, entry_of
from tests.singles import single_order

THREADS = 8
TRANSFERS = 60


def in_threads(work: Callable[[int], None], threads: int = THREADS) -> None:
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failures.append(error)

    started = [threading.Thread(target=guarded, args=(number,)) for number in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(60)
        assert not thread.is_alive(), "a deadlock"
    assert not failures, failures


@pytest.fixture
def seed() -> int:
    drawn = random.SystemRandom().randrange(2**32)
    print(f"seed {drawn}")  # noqa: T201 - a random test says its seed
    return drawn


def test_trial_01_every_reader_sees_the_same_total_and_nobody_below_zero(bank: Bank, seed: int) -> None:
    numbers = [str(1001 + place) for place in range(8)]
    bank.open_accounts(**{f"n{number}": "0.10" if number < "1005" else "0.15" for number in numbers})
    done = threading.Event()
    reads = []

    def read() -> None:
        while not done.is_set():
            balances = {record.number: record.balance_minor for record in accounts.every(bank.ledger)}
            reads.append(balances)

    reader = threading.Thread(target=read)
    reader.start()

    def transfer(thread: int) -> None:
        draw = random.Random(seed + thread)
        for _ in range(TRANSFERS):
            debtor, creditor = draw.sample(numbers, 2)
            bank.post(bank.order(debtor, creditor, f"0.{draw.randint(1, 12):02}"))

    try:
        in_threads(transfer)
    finally:
        done.set()
        reader.join()
    assert len(reads) > 10
    for balances in reads:
        assert sum(balances.values()) == 0
        assert sum(balances[number] for number in numbers) == 100
        assert min(balances[number] for number in numbers) >= 0


def test_trial_02_the_history_replayed_one_by_one_has_the_same_outcomes(bank: Bank, seed: int) -> None:
    numbers = ["1001", "1002", "1003", "1004"]
    bank.open_accounts(**{f"n{number}": "1.00" for number in numbers})

    def transfer(thread: int) -> None:
        draw = random.Random(seed + thread)
        for _ in range(TRANSFERS):
            debtor, creditor = draw.choice(numbers), draw.choice([*numbers, "9999"])
            bank.post(bank.order(debtor, creditor, f"0.{draw.randint(0, 60):02}", f"t-{draw.randint(1, 200)}"))

    in_threads(transfer)
    balances = dict.fromkeys(["0000", *numbers], 0)
    seen = set()
    with bank.ledger.reading() as connection:
        rows = connection.execute(select(schema.entry.c.entry, schema.entry.c.content).order_by("leaf")).all()
    for data, content in rows:
        entry, order = decode_entry(data), single_order(decode_order(content))
        assert (order.debtor, order.transfer_identifier) not in seen
        seen.add((order.debtor, order.transfer_identifier))
        expected: Reason | None = None
        if order.amount == "0.00":
            expected = Reason.AMOUNT_ZERO
        elif order.creditor == order.debtor:
            expected = Reason.SAME_ACCOUNT
        elif order.creditor not in balances:
            expected = Reason.UNKNOWN_CREDITOR
        elif order.debtor != "0000" and balances[order.debtor] < parse_amount(order.amount, "EUR"):
            expected = Reason.INSUFFICIENT_FUNDS
        assert entry.reason == expected
        if expected is None:
            balances[order.debtor] -= parse_amount(order.amount, "EUR")
            balances[order.creditor] += parse_amount(order.amount, "EUR")
    assert balances == bank.balances()


def test_trial_04_nearly_all_to_one_account_all_are_decided_and_none_is_overdrawn(bank: Bank, seed: int) -> None:
    """Each has less than they try to pay, the one account as well, from which some is paid back."""
    numbers = [str(1001 + place) for place in range(THREADS)]
    bank.open_accounts(**{f"n{number}": "0.40" for number in numbers}, n2000="0")
    decided: list[LogEntry] = []

    def transfer(thread: int) -> None:
        draw = random.Random(seed + thread)
        futures = []
        for _ in range(TRANSFERS):
            debtor, creditor = numbers[thread], "2000"
            if draw.random() >= 0.95:
                debtor, creditor = draw.choice([("2000", debtor), (debtor, numbers[thread - 1])])
            futures.append(bank.submit(bank.order(debtor, creditor, "0.01")))
        decided.extend(entry_of(future.result(DEADLINE_SECONDS)) for future in futures)

    in_threads(transfer)
    balances = bank.balances()
    assert len(decided) == THREADS * TRANSFERS
    assert {entry.reason for entry in decided} == {None, Reason.INSUFFICIENT_FUNDS}
    assert bank.count("entry") == THREADS + THREADS * TRANSFERS
    assert sum(balances.values()) == 0
    assert min(balances[number] for number in [*numbers, "2000"]) >= 0
    posted = [entry for entry in decided if entry.reason is None]
    to_one = sum(entry.creditor == "2000" for entry in posted)
    assert balances["2000"] == to_one - sum(entry.debtor == "2000" for entry in posted)
    assert to_one > 0.8 * len(posted)


def test_trial_05_opposing_transfers_end(bank: Bank) -> None:
    bank.open_accounts(n1001="10.00", n1002="10.00")

    def transfer(thread: int) -> None:
        debtor, creditor = ("1001", "1002") if thread % 2 else ("1002", "1001")
        for _ in range(TRANSFERS):
            bank.post(bank.order(debtor, creditor, "0.01"))

    in_threads(transfer)
    assert bank.balances() == {"0000": -2000, "1001": 1000, "1002": 1000}
