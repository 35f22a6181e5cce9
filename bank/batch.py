"""The orders of one transaction are decided one after another on balances in memory, then written all at once."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from bank import schema
from bank.bulk import BulkDecision, PostBulk, decide_bulk
from bank.decide import Account, Decision, Earlier, Post, Reject, Repeat, Reused, decide
from bank.engine import write_many
from bank.errors import InvariantBroken, Outdated
from bank.log import Growth
from bank.refusals import RefusalLimiter, record, recorded
from bank.revocations import highest_number
from protocol import canonical
from protocol.codes import EXPLANATIONS, GroupStatus, Reason, Status
from protocol.money import format_amount
from protocol.orders import BulkOrder, Order, TransferOrder, decode_order, format_time, payments_of
from protocol.receipts import BulkEntry, Entry, LogEntry


@dataclass(frozen=True, slots=True)
class Submission:
    """An order with proven authorship, for this bank.

    ``content``: its canonical bytes, as gpg gave them out. ``message``: the OpenPGP message as sent, None where the
    stage has no signature. ``key_digest``: the key that signed it, known to customers.remember_key. ``since``: size of
    the newest head that the client keeps. ``certificate_digest`` and ``revocation_number``: in the stage certified, the
    X.509 certificate, known to certificates.remember, and the list by which it was judged. ``good_until``: the last
    second (unix) at which both still count.
    """

    order: Order
    content: bytes
    message: bytes | None
    stage: str
    key_digest: str | None
    since: int | None
    certificate_digest: str | None = None
    revocation_number: int | None = None
    good_until: int | None = None

    @property
    def identity(self) -> str:
        """Debtor and transfer identifier: what is decided once, for ever."""
        return identity(self.order.debtor, self.order.transfer_identifier)


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal outside the log: nothing was recorded, no identifier was used up."""

    reason: Reason
    field: str | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision that stands in the log: its leaf and the canonical bytes of its entry.

    ``reason`` is why it is a refusal, ``payments`` how many were booked; both only of one that was made just now.
    """

    leaf: int
    entry: bytes
    duplicate: bool
    reason: Reason | None = None
    payments: int = 0


def identity(debtor: str, transfer_identifier: str) -> str:
    """The one value that stands for both; the identifier has no slash, so it is unambiguous."""
    return f"{debtor}/{transfer_identifier}"


def reused(field: str | None) -> Refused:
    """The refusal of an identifier that belongs to another order (DU04)."""
    named = f" It differs in the field {field}." if field else ""
    return Refused(Reason.IDENTIFIER_REUSED, field, EXPLANATIONS[Reason.IDENTIFIER_REUSED].sentence + named)


def too_many() -> Refused:
    """The refusal of what would be logged as refused, once the customer has caused as many such entries as allowed."""
    return Refused(Reason.RATE, None, EXPLANATIONS[Reason.RATE].sentence)


_TOO_LATE = Refused(
    Reason.CERTIFICATE_INVALID,
    "certificate",
    "The certificate, or the revocation list by which it counted, ended before the order could be booked; nothing was "
    "recorded. Look at `customer status`, then send the same transfer again.",
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What orders are decided on: accounts by number, and earlier decisions by identity."""

    accounts: dict[str, Account]
    earlier: dict[str, Earlier]


def load(connection: Connection, submissions: Sequence[Submission]) -> Loaded:
    """Loads, and where the engine can locks, the accounts in order of their number; then earlier decisions.

    Whoever decides an order has its debtor's account locked, so that no other server decides on the same identity
    between the look-up and the commit.
    """
    numbers, identities = set(), []
    for submission in submissions:
        numbers |= {submission.order.debtor, *(each.creditor for each in payments_of(submission.order))}
        identities.append(submission.identity)
    account, entry = schema.account.c, schema.entry.c
    accounts = connection.execute(
        select(account.number, account.kind, account.status, account.balance_minor)
        .where(account.number.in_(sorted(numbers)))
        .order_by(account.number)
        # Nobody needs to wait who only refers to an account.
        .with_for_update(key_share=True)
    )
    found = {row[0]: Account(*row) for row in accounts}
    earlier = connection.execute(
        select(entry.identity, entry.leaf, entry.entry, entry.order_digest, entry.content).where(
            entry.identity.in_(identities)
        )
    )
    return Loaded(
        found,
        {known: Earlier(leaf, data, digest, decode_order(content)) for known, leaf, data, digest, content in earlier},
    )


class Batch:
    """Decides orders inside one write transaction; :meth:`write` must follow, and then the commit."""

    def __init__(
        self,
        connection: Connection,
        growth: Growth,
        last: tuple[int, int],
        loaded: Loaded,
        *,
        currency: str,
        now: int,
        random: Callable[[int], bytes],
        refusals: RefusalLimiter | None = None,
        attempted: Mapping[str, bytes] | None = None,
    ) -> None:
        """``last``: booking time (unix seconds) and count of bookings of the last entry, zeros in an empty log.

        ``refusals`` bounds the logged refusals of a customer; who commits has it learn what :attr:`refused` then holds.
        :attr:`written` has the entries by identity.
        ``attempted``: entries by identity that this batch has written before, in a transaction with unknown outcome.
        """
        self.growth = growth
        self.booked_at = max(now, last[0])
        self._booking_count = last[1]
        self._connection = connection
        self._currency = currency
        self._now = now
        self._random = random
        self._refusals = refusals
        self.refused: dict[str, int] = {}
        self._new_refusals: list[tuple[int, str]] = []
        self._newest_list: int | None = None
        self._accounts = loaded.accounts
        self._changed: set[str] = set()
        self._earlier = loaded.earlier
        self._attempted = dict(attempted or {})
        self._entries: list[dict[str, object]] = []
        self.written: dict[str, bytes] = {}
        self._bookings: list[dict[str, object]] = []

    def decide(self, submission: Submission) -> Decided | Refused | Outdated:
        """Decides one order on the balances that the orders before it have left."""
        order = submission.order
        digest = canonical.digest(submission.content)
        decision = self._judged(order, digest, self._earlier.get(submission.identity))
        match decision:
            case Repeat(earlier):
                # What this batch has written itself, as it turns out, was recorded: each entry has a salt of its own.
                own = self._attempted.pop(submission.identity, None) == earlier.entry
                return Decided(earlier.leaf, earlier.entry, duplicate=not own)
            case Reused(field):
                return reused(field)
            case _ if submission.revocation_number is not None and submission.revocation_number < self._highest():
                return Outdated(
                    "The order was judged by a revocation list that is no longer the newest; nothing was recorded."
                )
            case _ if submission.good_until is not None and self.booked_at > submission.good_until:
                return _TOO_LATE
            case Reject():
                if self._refusals and not self._count(order.debtor, self._refusals.per_minute):
                    return too_many()
                return self._log(submission, digest, decision)
            case Post() | PostBulk():
                return self._log(submission, digest, decision)

    def _highest(self) -> int:
        """The number of the newest revocation list."""
        if self._newest_list is None:
            self._newest_list = highest_number(self._connection)
        return self._newest_list

    def _judged(self, order: Order, digest: str, earlier: Earlier | None) -> Decision | BulkDecision:
        if isinstance(order, BulkOrder):
            return decide_bulk(order, digest, earlier, self._accounts, currency=self._currency, now=self._now)
        debtor, creditor = self._accounts.get(order.debtor), self._accounts.get(order.creditor)
        return decide(order, digest, earlier, debtor, creditor, currency=self._currency, now=self._now)

    def _count(self, customer: str, per_minute: int) -> bool:
        """Counts a refusal that is about to be logged; False if the customer has caused enough of them."""
        if customer not in self.refused:
            self.refused[customer] = recorded(self._connection, customer, self._now)
        if self.refused[customer] >= per_minute:
            return False
        self.refused[customer] += 1
        self._new_refusals.append((self.growth.size, customer))
        return True

    def write(self) -> None:
        """Writes what was decided, in few statements."""
        if not self._entries:
            return
        self._connection.execute(_INSERT_ENTRIES, self._entries)
        if self._new_refusals:
            record(self._connection, self._new_refusals, self._now)
        if self._bookings:
            write_many(self._connection, _INSERT_BOOKINGS, self._bookings)
            write_many(
                self._connection,
                _UPDATE_BALANCES,
                [
                    {"account_number": number, "balance": self._accounts[number].balance_minor}
                    for number in sorted(self._changed)
                ],
            )

    def _log(self, submission: Submission, digest: str, decision: Post | PostBulk | Reject) -> Decided:
        leaf, first = self.growth.size, self._booking_count + 1
        entry: Entry
        match submission.order, decision:
            case TransferOrder() as order, Post() | Reject():
                entry = self._entry(submission, order, digest, decision, first)
                if isinstance(decision, Post):
                    self._book(order, decision.amount_minor, leaf)
            case BulkOrder() as order, PostBulk() | Reject():
                entry = self._bulk_entry(submission, order, digest, decision, first)
                if isinstance(decision, PostBulk):
                    self._book_bulk(order, decision, leaf)
            case _:
                raise InvariantBroken("An order was decided as one of another type; nothing of it was booked.")
        data = canonical.encode(entry)
        self._entries.append(
            {
                "leaf": leaf,
                "hashes": self.growth.append(data),
                "booked_at": self.booked_at,
                "booking_count": self._booking_count,
                "identity": submission.identity,
                "order_digest": digest,
                "stage": submission.stage,
                "key_digest": submission.key_digest,
                "entry": data,
                "content": submission.content,
                "message": submission.message,
                "certificate_digest": submission.certificate_digest,
                "revocation_number": submission.revocation_number,
            }
        )
        self._earlier[submission.identity] = Earlier(leaf, data, digest, submission.order)
        reason = decision.reason if isinstance(decision, Reject) else None
        self.written[submission.identity] = data
        return Decided(leaf, data, duplicate=False, reason=reason, payments=self._booking_count + 1 - first)

    def _entry(
        self, submission: Submission, order: TransferOrder, digest: str, decision: Post | Reject, booking: int
    ) -> LogEntry:
        rejected = decision if isinstance(decision, Reject) else None
        return LogEntry(
            amount=format_amount(decision.amount_minor, self._currency) if isinstance(decision, Post) else order.amount,
            booked=format_time(self.booked_at),
            creditor=order.creditor,
            currency=order.currency,
            debtor=order.debtor,
            field=rejected.field if rejected else None,
            order=digest,
            reason=rejected.reason if rejected else None,
            reference=None if rejected else str(booking),
            salt=self._random(16).hex(),
            stage=submission.stage,  # type: ignore[arg-type] # checked when it was submitted
            status=Status.REJECTED if rejected else Status.SETTLED,
            transfer_identifier=order.transfer_identifier,
        )

    def _bulk_entry(
        self, submission: Submission, order: BulkOrder, digest: str, decision: PostBulk | Reject, booking: int
    ) -> BulkEntry:
        rejected = decision if isinstance(decision, Reject) else None
        posted = None if isinstance(decision, Reject) else format_amount(decision.total_minor, self._currency)
        refused = decision.payments if isinstance(decision, Reject) else decision.refused
        why = (rejected.reason, rejected.field) if rejected else (Reason.PAYMENTS, "payments") if refused else None
        return BulkEntry(
            booked=format_time(self.booked_at),
            count=order.count,
            currency=order.currency,
            debtor=order.debtor,
            execution=order.execution,
            field=why[1] if why else None,
            order=digest,
            posted=posted,
            reason=why[0] if why else None,
            reference=None if rejected else str(booking),
            refused=refused,
            salt=self._random(16).hex(),
            stage=submission.stage,  # type: ignore[arg-type] # checked when it was submitted
            status=GroupStatus.REJECTED if rejected else GroupStatus.PARTLY if refused else GroupStatus.SETTLED,
            sum=order.sum,
            transfer_identifier=order.transfer_identifier,
        )

    def _book(self, order: TransferOrder, amount_minor: int, leaf: int) -> None:
        self._booking_count += 1
        self._leg(order.debtor, self._booking_count, -amount_minor, leaf)
        self._leg(order.creditor, self._booking_count, amount_minor, leaf)

    def _book_bulk(self, order: BulkOrder, decision: PostBulk, leaf: int) -> None:
        """One leg at the debtor's account, and one for each payment at its creditor's."""
        first = self._booking_count + 1
        self._leg(order.debtor, first, -decision.total_minor, leaf, payment=0)
        for number, paid in enumerate(decision.paid, first):
            description = order.payments[paid.position - 1].description
            self._leg(paid.creditor, number, paid.amount_minor, leaf, payment=paid.position, description=description)
        self._booking_count += len(decision.paid)

    def _leg(
        self,
        number: str,
        booking: int,
        amount_minor: int,
        leaf: int,
        *,
        payment: int | None = None,
        description: str | None = None,
    ) -> None:
        before = self._accounts[number]
        balance = before.balance_minor + amount_minor
        self._accounts[number] = Account(number, before.kind, before.status, balance)
        self._changed.add(number)
        self._bookings.append(
            {
                "account": number,
                "number": booking,
                "amount_minor": amount_minor,
                "balance_after_minor": balance,
                "leaf": leaf,
                "payment": payment,
                "description": description,
            }
        )


def summary(outcomes: Sequence[Decided | Refused | Outdated]) -> dict[str, Any]:
    """What became of orders that were decided together, counted, as the journal tells it."""
    decided = [each for each in outcomes if isinstance(each, Decided)]
    new = [each for each in decided if not each.duplicate]
    return {
        "orders": len(outcomes),
        "posted": sum(1 for each in new if each.reason is None),
        "payments": sum(each.payments for each in new),
        "refused": Counter(each.reason.value for each in new if each.reason is not None),
        "repeated": len(decided) - len(new),
        "unrecorded": Counter(each.reason.value for each in outcomes if isinstance(each, Refused)),
    }


_INSERT_ENTRIES = insert(schema.entry)
_INSERT_BOOKINGS = insert(schema.booking)
_UPDATE_BALANCES = (
    update(schema.account)
    .where(schema.account.c.number == bindparam("account_number"))
    .values(balance_minor=bindparam("balance"))
)
