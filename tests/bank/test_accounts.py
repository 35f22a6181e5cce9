"""Accounts say what was booked on them, and no one sees another's identifiers."""

import pytest

from bank import accounts
from bank.batch import Submission
from bank.customers import Customer, Customers
from bank.errors import RecordError
from protocol.codes import Reason
from protocol.errors import MalformedContent
from protocol.messages import StatementLine
from protocol.orders import format_time
from protocol.stages import Stage
from tests.bank.ledgers import NOW, Bank


def test_a_statement_shows_both_sides_and_only_ones_own_identifiers(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")
    bank.send("1001", "1002", "20", "t-1", description="rent")
    bank.send("1001", "1002", "99", "t-2")
    booked = format_time(NOW)
    line = StatementLine("-20.00", "30.00", booked, 2, "1002", "rent", None, None, "2", "t-1")
    assert accounts.statement(bank.ledger, "1001", 1, 10) == (line,)
    (line,) = accounts.statement(bank.ledger, "1002", 0, 10)
    assert line == StatementLine("20.00", "20.00", booked, 2, "1001", "rent", None, None, "2", None)
    assert accounts.statement(bank.ledger, "1002", 2, 10) == ()


def test_the_identifier_of_an_operators_withdrawal_is_not_the_customers(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00")
    out = accounts.withdrawal(bank.ledger, "1001", "20", "cash", identifier="w", created=format_time(NOW))
    bank.post(out)
    line = accounts.statement(bank.ledger, "1001", 1, 10)[0]
    assert (line.amount, line.counterparty, line.transfer_identifier) == ("-20.00", "0000", None)


@pytest.mark.parametrize(
    ("number", "amount", "reason"), [("9999", "1.00", "AC03"), ("1001", "0.00", "AM01"), ("1002", "1.00", "AC04")]
)
def test_an_operators_slip_is_told_before_the_ledger_and_uses_up_nothing(
    bank: Bank, number: str, amount: str, reason: str
) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")
    accounts.set_status(bank.ledger, "1002", "closed")
    before = bank.count("entry")

    def order(number: str, amount: str) -> Submission:
        made = format_time(NOW)
        return accounts.deposit(bank.ledger, number, amount, "cash", identifier="slip", created=made)

    with pytest.raises(RecordError, match=f"^{reason}: .* Nothing was recorded.$"):
        accounts.require_postable(bank.ledger, order(number, amount), NOW)
    # The honest twin: put right, it goes under the same identifier.
    right = order("1001", "1.00")
    accounts.require_postable(bank.ledger, right, NOW)
    bank.post(right)
    assert bank.count("entry") == before + 1
    # What was decided is the ledger's to tell.
    accounts.require_postable(bank.ledger, order(number, amount), NOW)


def test_pages_of_a_statement_join_without_gap_or_overlap(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")
    for _ in range(7):
        bank.send("1001", "1002", "1")
    whole = accounts.statement(bank.ledger, "1001", 0, 500)
    pages: list[StatementLine] = []
    while page := accounts.statement(bank.ledger, "1001", pages[-1].booking if pages else 0, 3):
        pages += page
    assert tuple(pages) == whole
    assert [line.booking for line in whole] == list(range(1, 9))
    assert accounts.statement(bank.ledger, "1001", 0, 500) == whole, "reading consumes nothing"


def test_the_operator_lists_transfers_refusals_too(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")
    bank.send("1001", "1002", "1", description="one")
    bank.send("1001", "1002", "99", description="too much")
    listed = accounts.transfers(bank.ledger)
    assert [(item.leaf, item.description, item.entry.reason) for item in listed] == [
        (0, "cash", None),
        (1, "one", None),
        (2, "too much", Reason.INSUFFICIENT_FUNDS),
    ]
    assert accounts.transfers(bank.ledger, after=1) == listed[2:]
    assert accounts.transfers(bank.ledger, account="1002") == listed[1:2]


@pytest.mark.parametrize(
    ("number", "name"),
    [
        ("10a", "x"),
        ("", "x"),
        ("1" * 17, "x"),
        ("٣", "x"),
        ("1", ""),
        ("1", " "),
        ("1", "x" * 71),
        ("1", "a\nb"),
        ("0000", "x"),
    ],
)
def test_an_account_needs_a_free_number_and_a_name_that_can_be_shown(bank: Bank, number: str, name: str) -> None:
    with pytest.raises(RecordError):
        accounts.open_account(bank.ledger, number, name, NOW)
    assert bank.count("account") == 1


def test_leading_zeros_make_another_number(bank: Bank) -> None:
    bank.open_accounts(n7="1.00", n007="2.00")
    assert accounts.get(bank.ledger, "007").balance_minor == 200
    assert accounts.get(bank.ledger, "7").balance_minor == 100
    with pytest.raises(RecordError, match="no account '07'"):
        accounts.get(bank.ledger, "07")


def test_only_an_empty_customers_account_is_closed(bank: Bank) -> None:
    bank.open_accounts(n1001="5.00", n1002="0")
    accounts.set_status(bank.ledger, "1002", "closed")
    accounts.set_status(bank.ledger, "1001", "blocked")
    assert [record.status for record in accounts.every(bank.ledger)] == ["open", "blocked", "closed"]
    with pytest.raises(RecordError, match=r"still holds 5\.00 EUR"):
        accounts.set_status(bank.ledger, "1001", "closed")
    for number in ("0000", "4711"):
        with pytest.raises(RecordError):
            accounts.set_status(bank.ledger, number, "blocked")


def test_what_an_operator_types_is_held_to_the_rules_of_orders(bank: Bank) -> None:
    with pytest.raises(MalformedContent, match="description"):
        accounts.deposit(bank.ledger, "1001", "1", "x" * 141, identifier="d", created=format_time(NOW))


@pytest.fixture
def customers(bank: Bank) -> Customers:
    customers = Customers(bank.ledger)
    with bank.ledger.writing() as connection:
        accounts.open_account(bank.ledger, "1001", "Alice", NOW, within=connection)
        customers.add(Customer("1001", "Alice", Stage.PASSWORD, b"sealed"), within=connection)
    return customers


def test_account_and_customer_are_recorded_together_or_not_at_all(bank: Bank, customers: Customers) -> None:
    def open_again() -> None:
        with bank.ledger.writing() as connection:
            accounts.open_account(bank.ledger, "1002", "Bob", NOW, within=connection)
            customers.add(Customer("1001", "Alice", Stage.PASSWORD, b"sealed"), within=connection)

    with pytest.raises(RecordError, match="already"):
        open_again()
    assert bank.count("account") == 2
    assert customers.every() == (Customer("1001", "Alice", Stage.PASSWORD, b"sealed"),)
    with pytest.raises(RecordError, match="open it first"):
        customers.add(Customer("1002", "Bob", Stage.PASSWORD, b"sealed"))


def test_a_key_is_registered_once_and_spends_the_password(customers: Customers) -> None:
    customers.register_key("1001", "A" * 40, b"key")
    customers.register_key("1001", "A" * 40, b"key with another signature")
    with pytest.raises(RecordError, match="and not a second one"):
        customers.register_key("1001", "B" * 40, b"other")
    found = customers.get("1001")
    assert found is not None
    assert (found.registered_fingerprint, found.registered_key, found.floor) == ("A" * 40, b"key", Stage.SESSION)
    assert customers.get("1002") is None


def test_the_floor_rises_by_itself_and_falls_only_by_the_operator(customers: Customers) -> None:
    def floor() -> Stage | None:
        found = customers.get("1001")
        return None if found is None else found.floor

    customers.raise_floor("1001", Stage.CERTIFIED)
    customers.raise_floor("1001", Stage.SESSION)
    customers.register_key("1001", "A" * 40, b"key")
    assert floor() is Stage.CERTIFIED
    with pytest.raises(RecordError, match="not below"):
        customers.lower_floor("1001", Stage.CERTIFIED)
    customers.lower_floor("1001", Stage.PASSWORD)
    assert floor() is Stage.PASSWORD
    with pytest.raises(RecordError, match="no customer"):
        customers.raise_floor("1002", Stage.SIGNED)


def test_a_key_is_remembered_as_it_was_first(customers: Customers) -> None:
    for data in (b"key", b"other bytes"):
        customers.remember_key("d" * 64, "1001", "A" * 40, data, certified=True, expires=NOW)
    found = customers.key("d" * 64)
    assert found is not None
    assert (found.data, found.certified, found.expires) == (b"key", True, NOW)
    assert customers.key("e" * 64) is None


def test_neither_password_nor_key_shows_itself(customers: Customers) -> None:
    assert "sealed" not in repr(customers.get("1001"))
