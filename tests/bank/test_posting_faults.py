"""A fault at any statement leaves nothing half done, acknowledges nothing, and does not stop the posting."""

import sqlite3
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from bank import schema
from bank.errors import BankError, InvariantBroken, LedgerError, OutcomeStands
from protocol.codes import Status
from tests.bank.ledgers import DEADLINE_SECONDS, Bank, entry_of, receipt_of
from tests.bank.tampering import in_postgresql
from tests.bank.test_bulk_posting import bulk

FAULTS: tuple[Callable[[], Exception], ...] = (
    lambda: sqlite3.OperationalError("database or disk is full"),
    lambda: sqlite3.OperationalError("disk I/O error"),
    lambda: RuntimeError("a fault of the program"),
)


class Saboteur:
    """Raises at the n-th statement of the writer, counted from 1; the commit is the last."""

    def __init__(self, at: int, fault: Callable[[], Exception]) -> None:
        self.at = at
        self.fault = fault
        self.seen = 0

    def step(self, *_: Any, **__: Any) -> None:
        self.seen += 1
        if self.seen == self.at:
            raise self.fault()


@contextmanager
def sabotage(bank: Bank, at: int, fault: Callable[[], Exception]) -> Iterator[Saboteur]:
    saboteur = Saboteur(at, fault)
    engine = bank.ledger._engine.writers
    event.listen(engine, "before_cursor_execute", saboteur.step)
    event.listen(engine, "commit", saboteur.step)
    try:
        yield saboteur
    finally:
        event.remove(engine, "before_cursor_execute", saboteur.step)
        event.remove(engine, "commit", saboteur.step)


def everything(bank: Bank) -> list[Any]:
    with bank.ledger.reading() as connection:
        return [
            connection.exec_driver_sql(f"SELECT * FROM {table} ORDER BY 1, 2").all()
            for table in ("account", "entry", "booking")
        ]


@pytest.mark.parametrize("fault", FAULTS, ids=["full", "disk", "program"])
def test_trial_07_a_fault_at_each_statement_of_a_bulk_order_leaves_nothing(
    bank: Bank, fault: Callable[[], Exception]
) -> None:
    bank.open_accounts(n1001="50.00", n1002="0", n1003="0")
    before = everything(bank)
    submission = bulk(bank, ("1002", "20"), ("1003", "10"), ("1002", "5"))
    for at in range(1, 20):
        with sabotage(bank, at, fault) as saboteur:
            error = bank.submit(submission).exception(DEADLINE_SECONDS)
            if saboteur.seen < at:
                break
        assert isinstance(error, BankError)
        assert everything(bank) == before
    assert at > 7, "each statement of the posting must have been met"
    receipt_of(bank.post(submission))
    assert bank.balances() == {"0000": -5000, "1001": 1500, "1002": 2500, "1003": 1000}


@pytest.mark.parametrize("fault", FAULTS, ids=["full", "disk", "program"])
def test_trial_07_a_fault_at_each_statement_leaves_nothing(bank: Bank, fault: Callable[[], Exception]) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")
    before = everything(bank)
    submission = bank.order("1001", "1002", "20")
    for at in range(1, 20):
        with sabotage(bank, at, fault) as saboteur:
            error = bank.submit(submission).exception(DEADLINE_SECONDS)
            if saboteur.seen < at:
                break
        assert isinstance(error, BankError)
        assert not isinstance(error, OutcomeStands)
        assert everything(bank) == before
    assert at > 7, "each statement of the posting must have been met"
    assert entry_of(bank.post(submission)).status == Status.SETTLED
    assert bank.balances() == {"0000": -5000, "1001": 3000, "1002": 2000}


def test_trial_07_every_order_of_a_batch_fails_with_it_and_the_next_batch_is_posted(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")
    orders = [bank.order("1001", "1002", "1") for _ in range(10)]
    with sabotage(bank, 5, FAULTS[2]):
        with bank.ledger.reading():
            futures = [bank.submit(order) for order in orders]
        errors = [future.exception(DEADLINE_SECONDS) for future in futures]
    assert any(isinstance(error, LedgerError) for error in errors)
    for order in orders:
        assert entry_of(bank.post(order)).status == Status.SETTLED
    assert bank.balances()["1002"] == 1000


def test_trial_44_the_trace_of_an_error_of_the_database_shows_nothing_of_an_order(bank: Bank) -> None:
    """It is written to the log, where there are no contents."""
    bank.open_accounts(n1001="50.00", n1002="0")
    with bank.ledger.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE entry RENAME COLUMN message TO elsewhere")
    error = bank.submit(bank.order("1001", "1002", "7.65", description="secret")).exception(DEADLINE_SECONDS)
    assert isinstance(error, LedgerError)
    trace = "".join(traceback.format_exception(error))
    assert "INSERT INTO entry" in trace
    for shown in ("secret", "7.65"):
        assert shown not in trace


def test_trial_20_a_full_disk_stops_writing_not_reading_and_recovers(file_bank: Bank) -> None:
    bank = file_bank
    bank.open_accounts(n1001="50.00", n1002="0")
    pages: list[int] = []
    with bank.ledger._engine.writers.connect() as connection:  # the writer's one connection keeps its limit
        pages.append(connection.exec_driver_sql("PRAGMA page_count").scalar_one())
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages[0]}")
    posted, failed = 0, None
    submission = bank.order("1001", "1002", "0.01")
    for _ in range(500):
        submission = bank.order("1001", "1002", "0.01", description="x" * 140)
        failed = bank.submit(submission).exception(DEADLINE_SECONDS)
        if failed is not None:
            break
        posted += 1
    assert isinstance(failed, LedgerError)
    assert "disk is full" in str(failed)
    assert bank.balances()["1002"] == posted
    assert bank.posting.head(None)[0]
    with bank.ledger._engine.writers.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages[0] + 10_000}")
    assert bank.prove(receipt_of(bank.post(submission))).status == Status.SETTLED


def test_trial_20_a_head_that_cannot_be_kept_outside_is_not_acknowledged(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    submission = bank.order("1001", "1002", "20")
    with monkeypatch.context() as patch:
        patch.setattr("bank.heads.os.fsync", full)
        with pytest.raises(OutcomeStands):
            bank.post(submission)
    assert bank.prove(receipt_of(bank.post(submission))).status == Status.SETTLED


@pytest.mark.parametrize("table", schema.APPEND_ONLY)
@pytest.mark.parametrize("change", ["UPDATE {} SET {} = {}", "DELETE FROM {}"])
def test_what_is_written_is_never_changed_or_deleted(bank: Bank, table: str, change: str) -> None:
    bank.open_accounts(n1001="50.00")
    bank.posting.stop()
    with bank.ledger.writing() as connection:
        for statement in (
            "INSERT INTO revocation_list VALUES (1, X'00', 2, 1)",
            "INSERT INTO certificate VALUES ('d', '1001', X'00', '1', 'f', 1, 2, NULL)",
        ):
            connection.exec_driver_sql(in_postgresql(statement) if bank.url else statement)
    columns = {"entry": "leaf", "booking": "number", "head": "size", "certificate": "number"}
    column = columns.get(table, "number")
    with pytest.raises(InvariantBroken, match="never changed or deleted"), bank.ledger.writing() as connection:
        connection.exec_driver_sql(change.format(table, column, column))


def test_no_customer_falls_below_zero_whatever_the_program_does(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00")
    with pytest.raises(InvariantBroken, match="never_below_zero"), bank.ledger.writing() as connection:
        connection.exec_driver_sql("UPDATE account SET balance_minor = -1 WHERE number = '1001'")
    assert bank.balances() == {"0000": -5000, "1001": 5000}


def test_readers_cannot_write(bank: Bank) -> None:
    with pytest.raises(LedgerError, match="read-only"), bank.ledger.reading() as connection:
        connection.exec_driver_sql("UPDATE account SET balance_minor = 1")
