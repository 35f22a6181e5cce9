"""A bulk order is judged as a whole and then payment by payment, and each refusal has a row in a table."""

import inspect
from typing import Any

import pytest

from bank import bulk as decisions
from bank.bulk import Paid, PostBulk
from bank.decide import AGE_SECONDS, CHECKS, ORDER_CHECKS, Account, Case, Earlier, Reject, Repeat, Reused, decide
from protocol import canonical
from protocol.codes import Reason
from protocol.limits import AMOUNT_MINOR, FRAME_BYTES_IN_SESSION, PAYMENTS_IN_ORDER
from protocol.orders import (
    COMPARED_BULK_FIELDS,
    BulkOrder,
    Payment,
    TransferOrder,
    encode_order,
    format_time,
)
from protocol.receipts import RefusedPayment
from tests.bank.test_decide import NOW, account, order

# Payments are creditor:amount. Accounts as in test_decide: 1001 has 100.00, 1003 is blocked, 1004 closed, 1009 unknown.
# An outcome is what is booked (position:minor units), what is refused (position:reason field), or the whole order's.
TABLE = """
  atomic       1002:10 1005:20            post 1:1000 2:2000
  best-effort  1002:10 1005:20            post 1:1000 2:2000
  atomic       1002:10                    post 1:1000
  atomic       1002:10 1002:10            post 1:1000 2:1000        # the same payment twice is two payments
  atomic       1002:60 1005:40            post 1:6000 2:4000        # the whole balance
  atomic       1002:1.0 1005:1.00         post 1:100 2:100
  atomic       1002:10 1009:20            payments payments 2:AC03-creditor
  best-effort  1002:10 1009:20            post 1:1000 refuse 2:AC03-creditor
  atomic       1009:10 x:1 1003:1 1004:1 1001:1 1002:1  payments payments 1:AC03-creditor 2:AC01-creditor 3:AC06-creditor 4:AC04-creditor 5:AG01-creditor
  best-effort  1009:10 x:1 1003:1 1004:1 1001:1 1002:1  post 6:100 refuse 1:AC03-creditor 2:AC01-creditor 3:AC06-creditor 4:AC04-creditor 5:AG01-creditor
  best-effort  1009:10 1003:1             payments payments 1:AC03-creditor 2:AC06-creditor
  atomic       1002:60 1005:50 1002:40    payments payments 2:AM04-amount
  best-effort  1002:60 1005:50 1002:40    post 1:6000 3:4000 refuse 2:AM04-amount
  best-effort  1009:60 1005:50 1002:50    post 2:5000 3:5000 refuse 1:AC03-creditor   # what is refused uses up no funds
  best-effort  1002:100.01                payments payments 1:AM04-amount
  best-effort  1002:10 1005:-5            AM10 sum 2:AM12-amount
  atomic       1002:0 1005:1e3 1002:20000000000000  AM10 sum 1:AM01-amount 2:AM12-amount 3:AM02-amount
"""  # noqa: E501


def rows(table: str) -> list[str]:
    return [line.split("#")[0].strip() for line in table.strip().splitlines()]


def bulk(listed: str = "1002:10 1005:20", **changes: Any) -> BulkOrder:
    """An honest bulk order but for what is changed: its count and sum are those of its payments."""
    made = tuple(Payment(amount, creditor, "pay") for creditor, amount in (each.split(":") for each in listed.split()))
    fields: dict[str, Any] = {
        "bank": "A" * 40,
        "certificate": None,
        "count": len(made),
        "created": format_time(NOW),
        "currency": "EUR",
        "debtor": "1001",
        "execution": "atomic",
        "payments": made,
        "sum": total(made),
        "transfer_identifier": "b-1",
    }
    return BulkOrder(**{**fields, **changes})


def total(payments: tuple[Payment, ...]) -> str:
    def cents(amount: str) -> int:
        try:
            return round(float(amount) * 100)
        except ValueError:
            return 0

    minor = sum(cents(each.amount) for each in payments)
    return f"{minor // 100}.{minor % 100:02d}"


def accounts(*numbers: str) -> dict[str, Account]:
    found = {number: each for number in numbers if (each := account(number)) is not None}
    return {**found, "1005": Account("1005", "customer", "open", 0)}


def decided(given: BulkOrder, earlier: Earlier | None = None) -> decisions.BulkDecision:
    numbers = ("1001", given.debtor, *(each.creditor for each in given.payments))
    digest = canonical.digest(encode_order(given))
    return decisions.decide_bulk(given, digest, earlier, accounts(*numbers), currency="EUR", now=NOW)


def decided_row(row: str) -> tuple[decisions.BulkDecision, decisions.BulkDecision]:
    """What a row asks for becomes, and what the row says."""
    words = row.split()
    execution, said = words[0], [word for word in words[1:] if word == "post" or ":" not in word]
    start = words.index(said[0], 1)
    payments, outcome = " ".join(words[1:start]), words[start:]
    given = bulk(payments, execution=execution)
    refused = tuple(
        RefusedPayment(field=field, payment=int(position), reason=Reason(reason))
        for position, reason, field in (
            (each.split(":")[0], *each.split(":")[1].split("-")) for each in outcome if "-" in each
        )
    )
    if outcome[0] != "post":
        return decided(given), Reject(Reason(outcome[0]), outcome[1], refused)
    paid = (each.split(":") for each in outcome[1:] if ":" in each and "-" not in each)
    booked = tuple(Paid(int(at), given.payments[int(at) - 1].creditor, int(minor)) for at, minor in paid)
    return decided(given), PostBulk(booked, refused)


@pytest.mark.parametrize("row", rows(TABLE))
def test_trial_06_each_row_of_payments_has_its_outcome(row: str) -> None:
    found, expected = decided_row(row)
    assert found == expected


# What is wrong with the order as a whole; each is wrong in everything below it too, and shows which refusal goes first.
WHOLE: tuple[tuple[dict[str, Any], Reason, str], ...] = (
    ({"currency": "USD"}, Reason.CURRENCY, "currency"),
    ({"count": 1}, Reason.PAYMENT_COUNT, "count"),
    ({"sum": "0"}, Reason.AMOUNT_ZERO, "sum"),
    ({"sum": "29.99"}, Reason.CONTROL_SUM, "sum"),
    ({"debtor": "1003"}, Reason.ACCOUNT_BLOCKED, "debtor"),
    ({"created": format_time(NOW - AGE_SECONDS - 1)}, Reason.DATE, "created"),
)


@pytest.mark.parametrize("place", range(len(WHOLE)))
def test_trial_06_what_is_wrong_with_the_whole_order_refuses_it_in_a_fixed_order(place: int) -> None:
    changes, reason, field = WHOLE[place]
    below = {name: value for later, *_ in reversed(WHOLE[place:]) for name, value in later.items()}
    for execution in ("atomic", "best-effort"):
        assert decided(bulk(**changes, execution=execution)) == Reject(reason, field)
        assert decided(bulk("1009:10 1005:20", **below, execution=execution)) == Reject(reason, field)


@pytest.mark.parametrize(
    ("amount", "reason"),
    [("-30.00", Reason.AMOUNT_INVALID), ("3e1", Reason.AMOUNT_INVALID), (str(2**63), Reason.AMOUNT_TOO_LARGE)],
)
def test_trial_06_an_impossible_sum_is_refused(amount: str, reason: Reason) -> None:
    assert decided(bulk(sum=amount)) == Reject(reason, "sum")


def test_trial_06_amounts_that_overflow_together_are_refused() -> None:
    most = f"{AMOUNT_MINOR // 100}.00"
    given = bulk(" ".join([f"1002:{most}"] * PAYMENTS_IN_ORDER))
    assert decided(given) == Reject(Reason.AMOUNT_TOO_LARGE, "sum")


def test_a_debtor_without_an_account_has_no_right() -> None:
    assert decided(bulk(debtor="1010")) == Reject(Reason.NO_RIGHT, "debtor")


@pytest.mark.parametrize("check", [each for each in CHECKS if each not in ORDER_CHECKS], ids=lambda each: each.__name__)
def test_each_check_of_single_orders_is_needed(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, some row of the table ends otherwise: there is no second rulebook."""
    monkeypatch.setattr(decisions, "CHECKS", tuple(other for other in CHECKS if other is not check))
    assert any(found != expected for found, expected in map(decided_row, rows(TABLE)))


@pytest.mark.parametrize("check", ORDER_CHECKS, ids=lambda check: check.__name__)
def test_each_check_of_the_whole_order_is_needed(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "ORDER_CHECKS", tuple(other for other in ORDER_CHECKS if other is not check))
    assert any(decided(bulk(**changes)) != Reject(reason, field) for changes, reason, field in WHOLE)


def test_a_check_that_is_asked_of_the_whole_order_looks_at_no_payment() -> None:
    blocked = Account("1001", "customer", "blocked", 10000)
    for check in ORDER_CHECKS:
        for debtor in (blocked, account("1001")):
            found = {
                check(Case(bulk(), Payment(amount, creditor, ""), 1, debtor, creditor_account, NOW))
                for amount in ("1", "x")
                for creditor in ("1002", "1001", "x")
                for creditor_account in (None, account("1003"))
            }
            assert len(found) == 1


@pytest.mark.parametrize("row", ["1002:25", "1009:25", "1003:25", "1001:25", "x:25", "1002:100.01"])
def test_one_payment_is_decided_as_a_single_order(row: str) -> None:
    creditor, amount = row.split(":")
    alone = order(creditor=creditor, amount=amount)
    digest = canonical.digest(encode_order(alone))
    single = decide(alone, digest, None, account("1001"), account(creditor), currency="EUR", now=NOW)
    found = decided(bulk(row))
    if isinstance(single, Reject):
        assert isinstance(found, Reject)
        assert [(each.reason, each.field) for each in found.payments] == [(single.reason, single.field)]
    else:
        assert isinstance(found, PostBulk)


def test_every_reason_that_a_bulk_order_can_get_has_a_row() -> None:
    source = inspect.getsource(decisions)
    named = {reason for reason in Reason if f"Reason.{reason.name}" in source}
    tabled = {Reason(found.reason) for found, _ in map(decided_row, rows(TABLE)) if isinstance(found, Reject)}
    assert named == tabled | {reason for _, reason, _ in WHOLE} - {
        *(Reason.AMOUNT_ZERO, Reason.ACCOUNT_BLOCKED, Reason.DATE)
    } | {Reason.NO_RIGHT}


# Idempotency


def earlier_of(given: BulkOrder | TransferOrder) -> Earlier:
    return Earlier(7, b"entry", canonical.digest(encode_order(given)), given)


def test_trial_09_the_same_bulk_order_again_is_a_repeat_whatever_has_changed_since() -> None:
    given = bulk("1009:1", created=format_time(NOW - 10 * AGE_SECONDS), sum="7.00")
    assert decided(given, earlier_of(given)) == Repeat(earlier_of(given))


DIFFERENT: dict[str, Any] = {
    "payments": (Payment("10", "1002", "pay"), Payment("20", "1005", "pray")),
    "count": 3,
    "sum": "31.00",
    "currency": "USD",
    "execution": "best-effort",
    "bank": "C" * 40,
    "certificate": "c" * 64,
    "created": format_time(NOW + 1),
}


@pytest.mark.parametrize("field", COMPARED_BULK_FIELDS)
def test_trial_10_another_bulk_order_under_the_identifier_names_the_field(field: str) -> None:
    assert decided(bulk(**{field: DIFFERENT[field]}), earlier_of(bulk())) == Reused(field)


def test_trial_10_a_single_order_and_a_bulk_order_share_their_identifiers() -> None:
    alone = order(transfer_identifier="b-1")
    assert decided(bulk(), earlier_of(alone)) == Reused("type")
    digest = canonical.digest(encode_order(alone))
    found = decide(alone, digest, earlier_of(bulk()), account("1001"), account("1002"), currency="EUR", now=NOW)
    assert found == Reused("type")


def test_the_longest_bulk_order_fits_a_frame() -> None:
    longest = Payment("9" * 40, "9" * 34, "\U0001f3e0" * 140)
    given = bulk(payments=(longest,) * PAYMENTS_IN_ORDER, count=PAYMENTS_IN_ORDER, sum="9" * 40)
    # Signed by an RSA key of any size, in base64, with the rest of the request.
    assert (len(encode_order(given)) + 2048) * 4 // 3 + 1024 < FRAME_BYTES_IN_SESSION
