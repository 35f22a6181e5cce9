"""Signed content, receipts, proofs and amounts have one reading, and what does not follow is refused."""

import unicodedata
from contextlib import suppress
from functools import cache
from typing import cast

import msgspec

from bank.bulk import PostBulk, decide_bulk
from bank.decide import Account, Reject
from bank.evidence import EvidenceRefused, Keys, LoggedEntry, SentOrder, make_evidence
from customer import payments
from customer.errors import CustomerError
from protocol import canonical, evidence, merkle, money, orders, receipts
from protocol.beginnings import PlacedBeginning, check_new_log
from protocol.codes import Reason
from protocol.limits import PAYMENTS_IN_ORDER
from protocol.messages import Evidence
from protocol.money import AmountError
from protocol.orders import BulkOrder, TransferOrder
from protocol.receipts import BulkEntry, LogEntry, Receipt, TransferReceipt, TreeHead
from tests.fuzz.examples import example
from tests.fuzz.properties import attempt, parts, require_sentence, text_of

LEAVES = 21
SIGNED = (TransferOrder, BulkOrder, LogEntry, BulkEntry, TreeHead, TransferReceipt)
COVERED_MINOR = 100_00


def signed_content(data: bytes) -> None:
    """Signed content that decodes is its own canonical encoding, byte for byte, for one type only."""
    found = [value for kind in SIGNED if (value := attempt(canonical.decode_signed, kind, data)) is not None]
    assert len(found) <= 1
    assert all(canonical.encode(value) == data for value in found)


def transfer_orders(data: bytes) -> None:
    """An order that decodes can be shown, has a time, encodes to the same bytes and differs from itself in nothing."""
    order = attempt(orders.decode_order, data)
    if order is None:
        return
    assert orders.encode_order(order) == data
    assert orders.first_difference(order, order) == ""
    for payment in orders.payments_of(order):
        assert all(each.isprintable() or unicodedata.category(each) == "Zs" for each in payment.description)
    moment = orders.parse_time(order.created, "created")
    if moment.year >= 1970:
        assert orders.format_time(moment.timestamp()) == order.created
    for payment in orders.payments_of(order):
        with suppress(AmountError):
            assert money.parse_amount(payment.amount, order.currency) > 0


def bulk_orders(data: bytes) -> None:
    """A bulk order on a ledger: what is booked was ordered and is covered, and atomic means all or none."""
    order = attempt(orders.decode_order, data)
    if not isinstance(order, BulkOrder):
        return
    found = decide_bulk(order, "0" * 64, None, _accounts(order.debtor), currency="EUR", now=_moment(order))
    assert isinstance(found, PostBulk | Reject)
    if isinstance(found, Reject):
        assert found.reason is not Reason.PAYMENTS or found.payments
        return
    assert found.paid
    assert order.currency == "EUR"
    assert (order.count, len(found.paid) + len(found.refused)) == (len(order.payments),) * 2
    assert not found.refused or order.execution == "best-effort"
    assert 0 < found.total_minor <= COVERED_MINOR
    assert found.refused or found.total_minor == money.parse_amount(order.sum, "EUR")
    for paid in found.paid:
        payment = order.payments[paid.position - 1]
        assert (paid.creditor, paid.amount_minor) == (payment.creditor, money.parse_amount(payment.amount, "EUR"))
        assert paid.creditor in ("1002", "1003")


def _accounts(debtor: str) -> dict[str, Account]:
    """Two creditors, one who is blocked, and the order's debtor, unless that is one of them."""
    found = {
        "1002": Account("1002", "customer", "open", 0),
        "1003": Account("1003", "customer", "open", 0),
        "1004": Account("1004", "customer", "blocked", 0),
    }
    return {debtor: Account(debtor, "customer", "open", COVERED_MINOR)} | found


def _moment(order: BulkOrder) -> int:
    return int(orders.parse_time(order.created, "created").timestamp())


def payment_files(data: bytes) -> None:
    """A file of payments: each was asked for in the file and can be sent, or every bad line is told in a sentence."""
    bad: tuple[payments.BadLine, ...] = ()
    found: payments.Payments | None = None
    try:
        found = payments.parse(data, "payments.csv", currency="EUR", own_number="1001")
    except payments.BadPayments as error:
        bad = error.lines
    for each in bad:
        assert 1 <= each.line <= data.count(b"\n") + data.count(b"\r") + 1
        require_sentence(CustomerError(str(each)))
    if found is None:
        return
    assert 0 < len(found.payments) <= PAYMENTS_IN_ORDER
    assert all(each.creditor != "1001" for each in found.payments)
    total = sum(money.parse_amount(each.amount, "EUR") for each in found.payments)
    assert money.format_amount(total, "EUR") == found.sum
    order = cast(BulkOrder, msgspec.structs.replace(example(BulkOrder), payments=found.payments, sum=found.sum))
    assert orders.decode_order(orders.encode_order(order)) == order


def receipts_of_the_bank(data: bytes) -> None:
    """A receipt, the head in it and the head kept before: proven, or refused; what is proven is the entry itself."""
    first, second, third = parts(data, 3)
    receipt = attempt(canonical.decode, Receipt, first)
    head = attempt(canonical.decode_signed, TreeHead, second)
    if receipt is None or head is None:
        return
    entry = attempt(receipts.check_inclusion, receipt, head)
    if entry is not None:
        assert canonical.encode(entry) == receipt.entry
        assert receipt.index < head.size
        attempt(receipts.check_order, entry, third, entry.debtor, entry.transfer_identifier)
    older = attempt(canonical.decode_signed, TreeHead, third)
    if older is not None:
        attempt(receipts.check_consistency, older, head, receipt.consistency)


def single_receipts(data: bytes) -> None:
    """A receipt of an evidence folder: the same reading for the bank that makes it and for whoever checks it."""
    receipt = attempt(canonical.decode_signed, TransferReceipt, data)
    if receipt is None:
        return
    logged = LoggedEntry(
        canonical.encode(receipt.entry), receipt.index, receipt.log, receipt.size, receipt.root, receipt.proof
    )
    attempt(make_evidence, logged, SentOrder(b"{}", None), Keys(b"", None, None), _Unasked(), 0)


class _Unasked:
    """Signs nothing: the parts do not belong together, which must be seen before."""

    def sign(self, content: bytes, at: int) -> bytes:
        raise EvidenceRefused("It would have been signed.")


def new_logs(data: bytes) -> None:
    """What a bank says about a log that it has begun anew: proven by its head, or refused."""
    first, second, third = parts(data, 3)
    older, newer = (attempt(canonical.decode_signed, TreeHead, each) for each in (first, second))
    placed = attempt(canonical.decode, PlacedBeginning, third)
    if older is None or newer is None or placed is None:
        return
    found = attempt(check_new_log, older, newer, None, (placed,))
    if found is not None:
        assert found.last.log == newer.log
        assert placed.index < newer.size


def inclusion(data: bytes) -> None:
    """In a tree that is known no leaf, place or path is proven but the true one."""
    size, index, leaf, *path = _hashes(data)
    true_leaf, root = _leaves()[index % LEAVES], _root(size)
    given = true_leaf if leaf == bytes(32) else leaf
    if merkle.verify_inclusion(given, index, size, tuple(path), root):
        assert index < size
        assert given == true_leaf
        assert tuple(path) == merkle.inclusion_path(index, size, _node)
    assert merkle.verify_inclusion(_leaves()[0], 0, size, merkle.inclusion_path(0, size, _node), root)


def consistency(data: bytes) -> None:
    """No older head is proven a beginning of a known tree but the tree's own beginning."""
    newer, older, given, *path = _hashes(data)
    older %= newer + 1
    root = _root(older) if given == bytes(32) else given
    if merkle.verify_consistency(older, newer, root, _root(newer), tuple(path)):
        assert root == _root(older)


def _hashes(data: bytes) -> tuple[int, int, bytes, *tuple[bytes, ...]]:
    """A size, a place, a hash and a path; a byte below 22 in place of a hash stands for that node of the tree."""
    head, rest = data[:2].ljust(2, b"\0"), data[2:]
    found: list[bytes] = []
    while rest and len(found) < 12:
        if rest[0] < LEAVES:
            found.append(_node(rest[0] % 3, rest[0] // 4))
            rest = rest[1:]
        else:
            found.append(rest[:32].ljust(32, b"\0"))
            rest = rest[32:]
    return (1 + head[0] % LEAVES, head[1] % 40, found[0] if found else bytes(32), *found[1:])


@cache
def _leaves() -> tuple[bytes, ...]:
    return tuple(merkle.leaf_hash(b"entry %d" % place) for place in range(LEAVES))


@cache
def _node(level: int, place: int) -> bytes:
    if level == 0:
        return _leaves()[place] if place < LEAVES else bytes(32)
    return merkle.node_hash(_node(level - 1, 2 * place), _node(level - 1, 2 * place + 1))


@cache
def _root(size: int) -> bytes:
    return merkle.root_hash(size, _node)


def amounts(data: bytes) -> None:
    """An amount and its currency: minor units within the limit, and the same amount again from what is shown."""
    text, currency = map(text_of, parts(data, 2))
    try:
        minor = money.parse_amount(text, currency)
    except AmountError as error:
        require_sentence(error)
        return
    assert 0 < minor <= 10**15
    shown = money.format_amount(minor, currency)
    assert money.parse_amount(shown, currency) == minor
    assert money.format_amount(-minor, currency) == f"-{shown}"


def evidence_files(data: bytes) -> None:
    """Files of an evidence folder as they come over the wire; a folder that is known has only names of ours."""
    answer = attempt(canonical.decode, Evidence, data)
    if answer is None:
        return
    kind = attempt(evidence.require_folder, answer.files)
    if kind is not None:
        assert answer.files.keys() == kind.names
        assert all("/" not in name for name in answer.files)


def instructions(data: bytes) -> None:
    """The commands are cut out of any VERIFY.md in bounded time, and each is part of it."""
    text = text_of(data)
    assert all(command in text for command in evidence.commands(text))
