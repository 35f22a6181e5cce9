"""Accounts are opened, blocked, closed and read here; money moves by orders through the posting, never here."""

from dataclasses import dataclass, replace
from typing import Final, Literal

from msgspec import structs
from sqlalchemy import Connection, case, insert, select, update

from bank import schema
from bank.batch import Submission, identity
from bank.decide import Account, Reject, decide
from bank.errors import InvariantBroken, RecordError
from bank.storage import Ledger
from protocol import canonical
from protocol.canonical import require_printable
from protocol.codes import EXPLANATIONS
from protocol.errors import MalformedContent
from protocol.messages import StatementLine
from protocol.money import format_amount
from protocol.orders import ACCOUNT_NUMBER, TransferOrder, decode_order, encode_order
from protocol.receipts import BulkEntry, Entry, decode_entry
from protocol.stages import OPERATOR

NAME_CHARACTERS: Final = 70
"""An account's name, ISO 20022 Max70Text."""

Status = Literal["open", "blocked", "closed"]


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """An account as it is kept; ``opened_at`` in unix seconds."""

    number: str
    name: str
    kind: str
    status: str
    balance_minor: int
    opened_at: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """A decision as the operator lists it: its place in the log, its entry, and the description of a single order."""

    leaf: int
    entry: Entry
    description: str


def open_account(ledger: Ledger, number: str, name: str, opened_at: int, *, within: Connection | None = None) -> None:
    """A new account of a customer, with balance zero; RecordError if number or name will not do or is taken."""
    if not ACCOUNT_NUMBER.fullmatch(number):
        raise RecordError(f"The customer number {number[:40]!r} is malformed; it is 1 to 16 digits.")
    try:
        require_printable(name, "name")
    except MalformedContent as error:
        raise RecordError(str(error)) from None
    if not name.strip() or len(name) > NAME_CHARACTERS:
        raise RecordError(f"The name must have 1 to {NAME_CHARACTERS} characters; shorten it.")
    with ledger.writing(within) as connection:
        if connection.execute(select(schema.account).where(schema.account.c.number == number)).first():
            raise RecordError(f"There is an account {number} already; choose another number.")
        connection.execute(
            insert(schema.account),
            {
                "number": number,
                "name": name,
                "kind": "customer",
                "status": "open",
                "balance_minor": 0,
                "opened_at": opened_at,
            },
        )


def set_status(ledger: Ledger, number: str, status: Status) -> None:
    """Opens, blocks or closes an account; RecordError for the bank's own, an unknown one, or money left in it."""
    with ledger.writing(hold=False) as connection:
        # Postings lock accounts before the log: so does this, and needs no more than the one account.
        connection.execute(
            select(schema.account.c.number).where(schema.account.c.number == number).with_for_update(key_share=True)
        )
        found = get(ledger, number, within=connection)
        if found.kind == "bank":
            raise RecordError("The bank's own account stays open.")
        if status == "closed" and found.balance_minor:
            balance = format_amount(found.balance_minor, ledger.currency)
            raise RecordError(
                f"The account {number} still holds {balance} {ledger.currency}; pay it out, then close it."
            )
        connection.execute(update(schema.account).where(schema.account.c.number == number).values(status=status))


def get(ledger: Ledger, number: str, *, within: Connection | None = None) -> AccountRecord:
    """The account with this number; RecordError if there is none."""
    with ledger.reading(within) as connection:
        row = connection.execute(select(schema.account).where(schema.account.c.number == number)).one_or_none()
    if row is None:
        raise RecordError(f"There is no account {number[:40]!r}; `bank accounts` lists them.")
    return AccountRecord(*row)


def every(ledger: Ledger) -> tuple[AccountRecord, ...]:
    """All accounts by number, the bank's own first; their balances are of one moment and add up to zero."""
    with ledger.reading() as connection:
        rows = connection.execute(select(schema.account).order_by(schema.account.c.number))
        return tuple(AccountRecord(*row) for row in rows)


def statement(
    ledger: Ledger, number: str, after: int, lines: int, *, within: Connection | None = None
) -> tuple[StatementLine, ...]:
    """Up to ``lines`` bookings of an account after booking number ``after``, oldest first. Reading consumes nothing."""
    booking, entry = schema.booking.c, schema.entry.c
    with ledger.reading(within) as connection:
        rows = connection.execute(
            select(
                booking.number,
                booking.amount_minor,
                booking.balance_after_minor,
                booking.payment,
                booking.description,
                entry.entry,
                case((booking.payment.is_(None), entry.content)),  # a bulk order is long, and not needed
            )
            .join_from(schema.booking, schema.entry, booking.leaf == entry.leaf)
            .where(booking.account == number, booking.number > after)
            .order_by(booking.number)
            .limit(lines)
        ).all()
    return tuple(_line(number, ledger.currency, *row) for row in rows)


def transfers(ledger: Ledger, *, account: str | None = None, after: int = -1, lines: int = 100) -> tuple[Transfer, ...]:
    """Decisions after leaf ``after``, oldest first; of one account only those that were booked on it."""
    entry = schema.entry.c
    query = (
        select(entry.leaf, entry.entry, entry.content)
        .where(entry.leaf > after, entry.stage != schema.LOG_STAGE)
        .order_by(entry.leaf)
        .limit(lines)
    )
    if account is not None:
        booked = select(schema.booking.c.leaf).where(schema.booking.c.account == account)
        query = query.where(entry.leaf.in_(booked))
    with ledger.reading() as connection:
        return tuple(_transfer(*row) for row in connection.execute(query))


def deposit(ledger: Ledger, number: str, amount: str, description: str, *, identifier: str, created: str) -> Submission:
    """The operator's order that pays cash in: from the bank's own account to a customer's."""
    return _operator(ledger, schema.BANK_ACCOUNT, number, amount, description, identifier, created)


def withdrawal(
    ledger: Ledger, number: str, amount: str, description: str, *, identifier: str, created: str
) -> Submission:
    """The operator's order that pays cash out: from a customer's account to the bank's own.

    RecordError if there is no such account: the ledger could only say that the order is not its debtor's.
    """
    get(ledger, number)
    return _operator(ledger, number, schema.BANK_ACCOUNT, amount, description, identifier, created)


def require_postable(ledger: Ledger, submission: Submission, now: int) -> None:
    """RecordError if the ledger would refuse the operator's order as it stands now, at ``now`` (unix seconds).

    A customer's refused order is a decision that both sides may have to prove, so it is logged. An operator's slip of
    the finger is neither: it is told here, and uses up no identifier. The posting decides once more, as for everyone.
    """
    order, entry, account = _single(submission.content), schema.entry.c, schema.account.c
    with ledger.reading() as connection:
        if connection.execute(select(entry.leaf).where(entry.identity == submission.identity)).first():
            return  # decided earlier: the posting says what it was, or that the identifier belongs to another order
        rows = connection.execute(
            select(account.number, account.kind, account.status, account.balance_minor).where(
                account.number.in_((order.debtor, order.creditor))
            )
        )
        found = {row[0]: Account(*row) for row in rows}
    debtor, creditor = found.get(order.debtor), found.get(order.creditor)
    digest = canonical.digest(submission.content)
    decision = decide(order, digest, None, debtor, creditor, currency=ledger.currency, now=now)
    if isinstance(decision, Reject):
        sentence = EXPLANATIONS[decision.reason].sentence
        raise RecordError(f"{decision.reason.value}: {sentence} (field {decision.field}) Nothing was recorded.")


def repeated(ledger: Ledger, submission: Submission) -> Submission:
    """The operator's order as it was decided before, if this one repeats it but for the time; else this one."""
    entry, order = schema.entry.c, _single(submission.content)
    with ledger.reading() as connection:
        content = connection.execute(
            select(entry.content).where(entry.identity == identity(order.debtor, order.transfer_identifier))
        ).scalar()
    if content is None:
        return submission
    original = decode_order(content)
    same = structs.replace(order, created=original.created) == original
    return replace(submission, order=original, content=content) if same else submission


def _operator(
    ledger: Ledger, debtor: str, creditor: str, amount: str, description: str, identifier: str, created: str
) -> Submission:
    order = TransferOrder(
        amount=amount,
        bank=ledger.bank,
        certificate=None,
        created=created,
        creditor=creditor,
        currency=ledger.currency,
        debtor=debtor,
        description=description,
        transfer_identifier=identifier,
    )
    content = encode_order(order)
    decode_order(content)  # what an operator typed is held to the same rules as what a customer sends
    return Submission(order, content, message=None, stage=OPERATOR, key_digest=None, since=None)


def _transfer(leaf: int, data: bytes, content: bytes) -> Transfer:
    entry = decode_entry(data)
    return Transfer(leaf, entry, "" if isinstance(entry, BulkEntry) else _single(content).description)


def _single(content: bytes) -> TransferOrder:
    order = decode_order(content)
    if not isinstance(order, TransferOrder):
        raise InvariantBroken("A bulk order stands where a single one belongs; stop the server and run `bank audit`.")
    return order


def _line(
    number: str,
    currency: str,
    booking: int,
    amount_minor: int,
    balance_minor: int,
    payment: int | None,
    description: str | None,
    data: bytes,
    content: bytes | None,
) -> StatementLine:
    entry = decode_entry(data)
    is_debtor = entry.debtor == number
    return StatementLine(
        amount=format_amount(amount_minor, currency),
        balance=format_amount(balance_minor, currency),
        booked=entry.booked,
        booking=booking,
        counterparty=entry.debtor if not is_debtor else None if isinstance(entry, BulkEntry) else entry.creditor,
        description=_single(content).description if content is not None else description or "",
        payment=payment or None,
        payments=entry.count - len(entry.refused) if isinstance(entry, BulkEntry) and is_debtor else None,
        # Each booking has its own number; a single order's reference is that, and a bulk order's that of its first.
        reference=str(booking),
        # Only the debtor of an order of his own knows its identifier; no one sees another's.
        transfer_identifier=entry.transfer_identifier if is_debtor and entry.stage != OPERATOR else None,
    )
