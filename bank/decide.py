"""A pure function decides: idempotency first, then the checks in a fixed order, then nothing may refuse."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from protocol.codes import Reason
from protocol.money import AmountError, parse_amount
from protocol.orders import ACCOUNT_NUMBER, Order, Payment, TransferOrder, first_difference, parse_time
from protocol.receipts import RefusedPayment

FUTURE_SECONDS: Final = 300
"""How far in the future an order's creation time may lie: the tolerance between two clocks."""

AGE_SECONDS: Final = 90 * 24 * 3600
"""How old an order may be when it is first seen; retries of a decided one have no such limit."""

ISSUED_MINOR: Final = 10**18
"""Most that the bank's own account may owe. Customers' balances add up to it, so every balance fits into 64 bits."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account as the decision sees it; ``kind`` is ``bank`` or ``customer``, ``status`` open, blocked or closed."""

    number: str
    kind: str
    status: str
    balance_minor: int


@dataclass(frozen=True, slots=True)
class Earlier:
    """The decision that already uses up the identifier: its place in the log, its entry, and the order it decided."""

    leaf: int
    entry: bytes
    order_digest: str
    order: Order


@dataclass(frozen=True, slots=True)
class Post:
    """Book ``amount_minor`` from debtor to creditor, and log it."""

    amount_minor: int


@dataclass(frozen=True, slots=True)
class Reject:
    """Book nothing, and log the reason; the identifier is used up.

    ``payments``: those of a bulk order that are refused for a reason of their own.
    """

    reason: Reason
    field: str
    payments: tuple[RefusedPayment, ...] = ()


@dataclass(frozen=True, slots=True)
class Repeat:
    """The same order was decided before (AM05): its entry is the answer, nothing is logged."""

    earlier: Earlier


@dataclass(frozen=True, slots=True)
class Reused:
    """The identifier belongs to another order (DU04): refused without a log entry, the original is untouched."""

    field: str


Decision = Post | Reject | Repeat | Reused


@dataclass(frozen=True, slots=True)
class Case:
    """What the checks look at, once the currency and the amount are known to be good.

    ``payment``: the one of the order's that is judged; a single order is its own one payment.
    """

    order: Order
    payment: TransferOrder | Payment
    amount_minor: int
    debtor: Account | None
    creditor: Account | None
    now: int


Check = Callable[[Case], Reject | None]


def decide(
    order: TransferOrder,
    content_digest: str,
    earlier: Earlier | None,
    debtor: Account | None,
    creditor: Account | None,
    *,
    currency: str,
    now: int,
) -> Decision:
    """What becomes of an order whose authorship is proven, at ``now`` (unix seconds), in the bank's ``currency``.

    The order is for this bank and comes from its debtor: who calls has refused anything else, unlogged.
    """
    known = decided_before(order, content_digest, earlier)
    if known is not None:
        return known
    if order.currency != currency:
        return Reject(Reason.CURRENCY, "currency")
    try:
        amount_minor = parse_amount(order.amount, currency)
    except AmountError as error:  # AM01 zero, AM02 over the limit, AM12 not a positive decimal of the currency
        return Reject(error.reason, "amount")
    refusal = first_refusal(Case(order, order, amount_minor, debtor, creditor, now), CHECKS)
    # After this point the transfer must succeed.
    return refusal or Post(amount_minor)


def decided_before(order: Order, content_digest: str, earlier: Earlier | None) -> Repeat | Reused | None:
    """What an earlier decision under the same identifier makes of an order."""
    if earlier is None:
        return None
    if earlier.order_digest == content_digest:
        return Repeat(earlier)
    return Reused(first_difference(earlier.order, order))


def first_refusal(case: Case, checks: tuple[Check, ...]) -> Reject | None:
    """The refusal of the first check that has one."""
    for check in checks:
        refusal = check(case)
        if refusal is not None:
            return refusal
    return None


def creditor_number_is_well_formed(case: Case) -> Reject | None:
    """AC01."""
    return None if ACCOUNT_NUMBER.fullmatch(case.payment.creditor) else Reject(Reason.ACCOUNT_NUMBER, "creditor")


def accounts_differ(case: Case) -> Reject | None:
    """AG01."""
    return Reject(Reason.SAME_ACCOUNT, "creditor") if case.payment.creditor == case.order.debtor else None


def debtor_is_open(case: Case) -> Reject | None:
    """AC06 blocked, AC04 closed; AG08 for a debtor without an account, who should not have come so far."""
    if case.debtor is None:
        return Reject(Reason.NO_RIGHT, "debtor")
    return _closed(case.debtor, "debtor")


def creditor_is_known(case: Case) -> Reject | None:
    """AC03."""
    return Reject(Reason.UNKNOWN_CREDITOR, "creditor") if case.creditor is None else None


def creditor_is_open(case: Case) -> Reject | None:
    """AC04 closed, AC06 blocked."""
    return None if case.creditor is None else _closed(case.creditor, "creditor")


def creation_time_is_near(case: Case) -> Reject | None:
    """DT01."""
    created = int(parse_time(case.order.created, "created").timestamp())
    near = case.now - AGE_SECONDS <= created <= case.now + FUTURE_SECONDS
    return None if near else Reject(Reason.DATE, "created")


def funds_suffice(case: Case) -> Reject | None:
    """AM04; AM02 for a deposit with which the bank would owe more than it can count."""
    if case.debtor is None:
        return Reject(Reason.NO_RIGHT, "debtor")
    left = case.debtor.balance_minor - case.amount_minor
    if case.debtor.kind == "bank":
        return Reject(Reason.AMOUNT_TOO_LARGE, "amount") if left < -ISSUED_MINOR else None
    return Reject(Reason.INSUFFICIENT_FUNDS, "amount") if left < 0 else None


def _closed(account: Account, field: str) -> Reject | None:
    match account.status:
        case "open":
            return None
        case "closed":
            return Reject(Reason.ACCOUNT_CLOSED, field)
        case _:
            return Reject(Reason.ACCOUNT_BLOCKED, field)


CHECKS: tuple[Check, ...] = (
    creditor_number_is_well_formed,
    accounts_differ,
    debtor_is_open,
    creditor_is_known,
    creditor_is_open,
    creation_time_is_near,
    funds_suffice,
)
"""The order of precedence after currency and amount: the first refusal is the one that is logged. Funds come last."""

ORDER_CHECKS: tuple[Check, ...] = (debtor_is_open, creation_time_is_near)
"""Those of them that look at no payment: a bulk order is asked them once, as a whole."""
