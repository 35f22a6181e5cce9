"""A bulk order is judged as a whole, then payment by payment in its order, by the very checks of single orders."""

from collections.abc import Mapping
from dataclasses import dataclass

from bank.decide import (
    CHECKS,
    ORDER_CHECKS,
    Account,
    Case,
    Earlier,
    Reject,
    Repeat,
    Reused,
    decided_before,
    first_refusal,
)
from protocol.codes import Reason
from protocol.money import AmountError, parse_amount
from protocol.orders import BulkOrder
from protocol.receipts import RefusedPayment


@dataclass(frozen=True, slots=True)
class Paid:
    """A payment to be booked; ``position`` is its place in the order, from 1."""

    position: int
    creditor: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class PostBulk:
    """Book the payments ``paid``, at least one, and log them with those that are refused."""

    paid: tuple[Paid, ...]
    refused: tuple[RefusedPayment, ...]

    @property
    def total_minor(self) -> int:
        """What leaves the debtor's account."""
        return sum(each.amount_minor for each in self.paid)


BulkDecision = PostBulk | Reject | Repeat | Reused


def decide_bulk(
    order: BulkOrder,
    content_digest: str,
    earlier: Earlier | None,
    accounts: Mapping[str, Account],
    *,
    currency: str,
    now: int,
) -> BulkDecision:
    """What becomes of a bulk order; ``accounts`` are its debtor and creditors, as far as they exist.

    Else as bank.decide.decide. Each payment is judged against what those before it have left, in either execution: an
    atomic order is booked if that refuses none.
    """
    known = decided_before(order, content_digest, earlier)
    if known is not None:
        return known
    if order.currency != currency:
        return Reject(Reason.CURRENCY, "currency")
    if order.count != len(order.payments):
        return Reject(Reason.PAYMENT_COUNT, "count")
    amounts = _amounts(order)
    if isinstance(amounts, Reject):
        return amounts
    debtor = accounts.get(order.debtor)
    whole = first_refusal(Case(order, order.payments[0], amounts[0], debtor, None, now), ORDER_CHECKS)
    if whole is not None or debtor is None:  # without an account it is refused
        return whole or Reject(Reason.NO_RIGHT, "debtor")
    paid, refused = _judged(order, amounts, debtor, accounts, now)
    if refused and (order.execution == "atomic" or not paid):
        return Reject(Reason.PAYMENTS, "payments", refused)
    # After this point the payments must succeed.
    return PostBulk(paid, refused)


def _amounts(order: BulkOrder) -> tuple[int, ...] | Reject:
    """The amounts in minor units, if each is one and they add up to the order's sum.

    With an impossible amount there is no sum: the order is refused as a whole, whatever its execution.
    """
    amounts, impossible = [], []
    for position, payment in enumerate(order.payments, 1):
        try:
            amounts.append(parse_amount(payment.amount, order.currency))
        except AmountError as error:  # AM01, AM02, AM12, as for a single order
            impossible.append(RefusedPayment(field="amount", payment=position, reason=error.reason))
    if impossible:
        return Reject(Reason.CONTROL_SUM, "sum", tuple(impossible))
    try:
        total = parse_amount(order.sum, order.currency)
    except AmountError as error:
        return Reject(error.reason, "sum")
    return tuple(amounts) if sum(amounts) == total else Reject(Reason.CONTROL_SUM, "sum")


def _judged(
    order: BulkOrder, amounts: tuple[int, ...], debtor: Account, accounts: Mapping[str, Account], now: int
) -> tuple[tuple[Paid, ...], tuple[RefusedPayment, ...]]:
    """The payments that can be made one after another, and those that cannot."""
    checks = tuple(check for check in CHECKS if check not in ORDER_CHECKS)
    paid, refused = [], []
    for position, (payment, amount_minor) in enumerate(zip(order.payments, amounts, strict=True), 1):
        creditor = payment.creditor
        refusal = first_refusal(Case(order, payment, amount_minor, debtor, accounts.get(creditor), now), checks)
        if refusal is not None:
            refused.append(RefusedPayment(field=refusal.field, payment=position, reason=refusal.reason))
            continue
        paid.append(Paid(position, creditor, amount_minor))
        debtor = Account(debtor.number, debtor.kind, debtor.status, debtor.balance_minor - amount_minor)
    return tuple(paid), tuple(refused)
