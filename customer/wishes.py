"""What a person asks for is checked as a whole before it becomes an order; an identifier stands for one wish only."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from customer import conversing
from customer.errors import CustomerError
from customer.home import CustomerHome
from customer.store import State, StoredOrder
from customer.wire import Event
from protocol import canonical
from protocol.canonical import require_printable
from protocol.codes import Reason
from protocol.errors import MalformedContent
from protocol.limits import ORDER_BYTES_UNDER_PASSWORD
from protocol.money import AmountError, format_amount, parse_amount
from protocol.orders import (
    ACCOUNT_NUMBER,
    BulkOrder,
    Execution,
    Order,
    Payment,
    TransferOrder,
    description_flaw,
    encode_order,
    format_time,
    identifier_flaw,
)
from protocol.stages import Stage

IDENTIFIER_BYTES: Final = 16
REPEATED_FIELDS: Final = ("creditor", "amount", "currency", "description")
"""What a second `send` with the same --id must repeat."""
REPEATED_BULK_FIELDS: Final = ("payments", "currency", "execution")
"""The same, with a file of payments."""


@dataclass(frozen=True)
class Wish:
    """A transfer as asked for on the command line; ``identifier`` and ``stage`` only if they were given."""

    creditor: str
    amount: str
    description: str
    currency: str
    stage: Stage | None = None
    identifier: str | None = None


@dataclass(frozen=True)
class BulkWish:
    """Payments that were checked already (customer/payments.py), with all decimals of the currency.

    ``identifier`` and ``stage`` only if they were given; ``sum`` is what the payments add up to.
    """

    payments: tuple[Payment, ...]
    sum: str
    currency: str
    execution: Execution
    stage: Stage | None = None
    identifier: str | None = None


def checked(wish: Wish | BulkWish) -> Wish | BulkWish:
    """The wish with its amount in the one usual spelling; CustomerError names what cannot be."""
    if wish.identifier is not None and (flawed := identifier_flaw(wish.identifier)):
        raise CustomerError(flawed)
    if isinstance(wish, BulkWish):
        return wish
    flaw = next(flaws(wish.creditor, wish.amount, wish.description, wish.currency), None)
    if flaw is not None:
        raise CustomerError(f"{flaw.sentence} Correct --{flaw.field}.")
    return replace(wish, amount=format_amount(parse_amount(wish.amount, wish.currency), wish.currency))


@dataclass(frozen=True)
class Flaw:
    """Why a payment cannot be asked for: the field as the command line calls it, and a sentence."""

    field: str
    sentence: str


def flaws(creditor: str, amount: str, description: str, currency: str) -> Iterator[Flaw]:
    """Everything that is wrong with one payment, whether it is asked for alone or in a file."""
    if not ACCOUNT_NUMBER.fullmatch(creditor):
        yield Flaw("to", "The recipient is not a customer number, which has 1 to 16 digits.")
    try:
        parse_amount(amount, currency)
    except AmountError as error:
        yield Flaw("currency" if error.reason is Reason.CURRENCY else "amount", str(error))
    if sentence := description_flaw(description):
        yield Flaw("description", sentence)
    try:
        require_printable(description, "description")
    except MalformedContent as error:
        yield Flaw("description", str(error))


def require_same(earlier: StoredOrder, wish: Wish | BulkWish) -> None:
    """A wish under an identifier that is taken repeats the first one. Raises CustomerError naming what differs."""
    order, identifier = earlier.order, earlier.identifier
    if isinstance(order, BulkOrder) != isinstance(wish, BulkWish):
        raise CustomerError(
            f"The identifier {identifier} already belongs to another transfer, one with"
            f"{'' if isinstance(order, BulkOrder) else 'out'} a file of payments. Leave out --id for a new transfer."
        )
    for field in REPEATED_BULK_FIELDS if isinstance(wish, BulkWish) else REPEATED_FIELDS:
        if getattr(order, field) != getattr(wish, field):
            named = "list of payments" if field == "payments" else field
            raise CustomerError(
                f"The identifier {identifier} already belongs to another transfer: the {named} differs. Leave out --id "
                "for a new transfer, or repeat the first one exactly."
            )
    if wish.stage not in (None, earlier.stage):
        raise CustomerError(
            f"The transfer {identifier} was made in the stage {earlier.stage.value}; repeat it without --stage."
        )


def made(home: CustomerHome, wish: Wish | BulkWish, stage: Stage) -> StoredOrder:
    """The order with the bytes that will be sent, signed where the stage wants it."""
    order = _order(home, wish, stage)
    content = encode_order(order)
    if not stage.has_session and len(content) > ORDER_BYTES_UNDER_PASSWORD:
        raise CustomerError(
            f"The order has {len(content)} bytes; in the stage {stage.value} at most {ORDER_BYTES_UNDER_PASSWORD} are "
            "possible. Split the file, shorten the descriptions, or use a higher --stage."
        )
    if stage.orders_are_signed:
        from keyring.messages import sign

        key = home.key if stage.is_certified else home.registered_key
        message = sign(home.keys, key, content, home.secrets.passphrase)
        home.world.watch(Event("The order, signed with the customer's key", message=message, content=content))
    else:
        message = content
        home.world.watch(Event("The order, which nobody signs in this stage", content=content))
    return StoredOrder(order.transfer_identifier, stage, State.SENDING, content, message)


def _order(home: CustomerHome, wish: Wish | BulkWish, stage: Stage) -> Order:
    bank = home.config.bank.fingerprint
    certificate = canonical.digest(conversing.offered(home).certificate) if stage.is_certified else None
    created = format_time(home.world.clock())
    identifier = wish.identifier or home.world.random(IDENTIFIER_BYTES).hex()
    if isinstance(wish, BulkWish):
        return BulkOrder(
            bank=bank,
            certificate=certificate,
            count=len(wish.payments),
            created=created,
            currency=wish.currency,
            debtor=home.number,
            execution=wish.execution,
            payments=wish.payments,
            sum=wish.sum,
            transfer_identifier=identifier,
        )
    return TransferOrder(
        amount=wish.amount,
        bank=bank,
        certificate=certificate,
        created=created,
        creditor=wish.creditor,
        currency=wish.currency,
        debtor=home.number,
        description=wish.description,
        transfer_identifier=identifier,
    )
