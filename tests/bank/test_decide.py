"""Each refusal of the ledger has a row, and the precedence among them is what the code says."""

import inspect
from typing import Any

import pytest

from bank import decide as decisions
from bank.decide import (
    AGE_SECONDS,
    CHECKS,
    FUTURE_SECONDS,
    ISSUED_MINOR,
    Account,
    Earlier,
    Post,
    Reject,
    Repeat,
    Reused,
)
from protocol import canonical
from protocol.codes import Reason
from protocol.limits import AMOUNT_MINOR
from protocol.orders import COMPARED_FIELDS, TransferOrder, encode_order, format_time

NOW = 1_770_000_000
# Accounts by number: status and balance in minor units. 0000 is the bank's own.
ACCOUNTS = {
    "0000": ("open", 0),
    "0001": ("open", -ISSUED_MINOR),
    "1001": ("open", 10000),
    "1002": ("open", 0),
    "1003": ("blocked", 10000),
    "1004": ("closed", 0),
}

# debtor creditor amount currency age    outcome
TABLE = """
  1001   1002     25.00    EUR    0        post 2500
  1001   1002     25       EUR    0        post 2500
  1001   1002     100.00   EUR    0        post 10000     # the whole balance
  1001   1002     25.00    EUR    -300     post 2500      # a clock that is five minutes ahead
  1001   1002     25.00    EUR    7776000  post 2500      # ninety days old
  1001   0000     25.00    EUR    0        post 2500      # a withdrawal
  0000   1001     1000000000000.00 EUR 0   post 100000000000000 # a deposit; the bank may owe
  1001   1002     25.00    USD    0        AM03 currency
  1001   1002     25.00    eur    0        AM03 currency
  1001   1002     0        EUR    0        AM01 amount
  1001   1002     0.00     EUR    0        AM01 amount
  1001   1002     10000000000000.01 EUR 0  AM02 amount
  1001   1002     9223372036854775807 EUR 0 AM02 amount   # 2^63-1
  1001   1002     9223372036854775809 EUR 0 AM02 amount   # 2^63+1
  1001   1002     -9223372036854775809 EUR 0 AM12 amount
  1001   1002     -25.00   EUR    0        AM12 amount
  1001   1002     +25.00   EUR    0        AM12 amount
  1001   1002     2.5e1    EUR    0        AM12 amount
  1001   1002     25.001   EUR    0        AM12 amount
  1001   1002     1,000    EUR    0        AM12 amount
  1001   1002     ٢٥       EUR    0        AM12 amount
  1001   10a2     25.00    EUR    0        AC01 creditor
  1001   -        25.00    EUR    0        AC01 creditor   # - is the empty number
  1001   12345678901234567 25.00 EUR 0     AC01 creditor
  1001   1001     25.00    EUR    0        AG01 creditor
  1003   1002     25.00    EUR    0        AC06 debtor
  1004   1002     25.00    EUR    0        AC04 debtor
  1009   1002     25.00    EUR    0        AG08 debtor
  1001   1009     25.00    EUR    0        AC03 creditor
  1001   1003     25.00    EUR    0        AC06 creditor
  1001   1004     25.00    EUR    0        AC04 creditor
  1001   1002     25.00    EUR    -301     DT01 created
  1001   1002     25.00    EUR    7776001  DT01 created
  1001   1002     100.01   EUR    0        AM04 amount
  1002   1001     0.01     EUR    0        AM04 amount
  0001   1001     0.01     EUR    0        AM02 amount     # the bank cannot count what it would owe
"""
# Each row is wrong in everything from its own fault on, and shows which refusal goes first.
PRECEDENCE = """
  1003   1003     0        USD    -301     AM03 currency
  1003   1003     0        EUR    -301     AM01 amount
  1003   x        5000.00  EUR    -301     AC01 creditor
  1003   1003     5000.00  EUR    -301     AG01 creditor
  1003   1009     5000.00  EUR    -301     AC06 debtor
  1001   1009     5000.00  EUR    -301     AC03 creditor
  1001   1004     5000.00  EUR    -301     AC04 creditor
  1001   1002     5000.00  EUR    -301     DT01 created
  1001   1002     5000.00  EUR    0        AM04 amount
"""


def rows(table: str) -> list[str]:
    return [line.split("#")[0].strip() for line in table.strip().splitlines()]


def account(number: str) -> Account | None:
    if number not in ACCOUNTS:
        return None
    status, balance = ACCOUNTS[number]
    return Account(number, "bank" if number.startswith("000") else "customer", status, balance)


def order(**changes: Any) -> TransferOrder:
    fields: dict[str, Any] = {
        "amount": "25.00",
        "bank": "A" * 40,
        "certificate": None,
        "created": format_time(NOW),
        "creditor": "1002",
        "currency": "EUR",
        "debtor": "1001",
        "description": "rent",
        "transfer_identifier": "t-1",
    }
    return TransferOrder(**{**fields, **changes})


def decide(given: TransferOrder, earlier: Earlier | None = None) -> decisions.Decision:
    digest = canonical.digest(encode_order(given))
    return decisions.decide(
        given, digest, earlier, account(given.debtor), account(given.creditor), currency="EUR", now=NOW
    )


def earlier_of(given: TransferOrder) -> Earlier:
    return Earlier(7, b"entry", canonical.digest(encode_order(given)), given)


@pytest.mark.parametrize("row", rows(TABLE) + rows(PRECEDENCE))
def test_trial_06_each_row_has_its_outcome(row: str) -> None:
    debtor, creditor, amount, currency, age, *outcome = row.split()
    given = order(
        debtor=debtor,
        creditor=creditor.replace("-", ""),
        amount=amount,
        currency=currency,
        created=format_time(NOW - int(age)),
    )
    expected = Post(int(outcome[1])) if outcome[0] == "post" else Reject(Reason(outcome[0]), outcome[1])
    assert decide(given) == expected


def test_every_reason_that_the_ledger_can_give_has_a_row() -> None:
    source = inspect.getsource(decisions)
    named = {reason for reason in Reason if f"Reason.{reason.name}" in source}
    named |= {Reason.AMOUNT_ZERO, Reason.AMOUNT_TOO_LARGE, Reason.AMOUNT_INVALID}  # what parse_amount raises
    assert {reason.value for reason in named} == {row.split()[5] for row in rows(TABLE)} - {"post"}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_each_check_is_needed(check: decisions.Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, some row of the table ends otherwise."""
    before = [decide_row(row) for row in rows(TABLE)]
    monkeypatch.setattr(decisions, "CHECKS", tuple(other for other in CHECKS if other is not check))
    assert [decide_row(row) for row in rows(TABLE)] != before


def decide_row(row: str) -> decisions.Decision:
    debtor, creditor, amount, currency, age = row.split()[:5]
    created = format_time(NOW - int(age))
    return decide(
        order(debtor=debtor, creditor=creditor.replace("-", ""), amount=amount, currency=currency, created=created)
    )


def test_the_same_order_again_is_a_repeat_whatever_has_changed_since() -> None:
    given = order(debtor="1003", created=format_time(NOW - 10 * AGE_SECONDS))
    assert decide(given, earlier_of(given)) == Repeat(earlier_of(given))


DIFFERENT = {
    "creditor": "1003",
    "amount": "25.01",
    "currency": "USD",
    "description": "rant",
    "bank": "C" * 40,
    "certificate": "c" * 64,
    "created": format_time(NOW + 1),
}


@pytest.mark.parametrize("field", COMPARED_FIELDS)
def test_trial_10_another_order_under_the_identifier_names_the_field(field: str) -> None:
    assert decide(order(**{field: DIFFERENT[field]}), earlier_of(order())) == Reused(field)


def test_limits_leave_room_in_64_bits() -> None:
    assert ISSUED_MINOR + AMOUNT_MINOR < 2**63
    assert FUTURE_SECONDS < AGE_SECONDS
