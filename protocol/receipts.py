"""A receipt proves one decision: the entry, its place in the log, and a head of the log that the bank signed."""

from itertools import pairwise
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from protocol import canonical, merkle
from protocol.codes import GroupStatus, Reason, Status
from protocol.errors import ProtocolError
from protocol.limits import PAYMENTS_IN_ORDER
from protocol.money import AmountError, format_amount, parse_amount
from protocol.orders import Amount, BulkOrder, Digest, Execution, Fingerprint, Identifier, Number, Time

Salt = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
Size = Annotated[int, Meta(ge=0, lt=2**53)]
LogIdentifier = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
FieldName = Annotated[str, Meta(max_length=40)]
Reference = Annotated[str, Meta(max_length=35)]
OrderStage = Literal["password", "session", "signed", "certified", "operator"]


class ReceiptError(ProtocolError):
    """The bank's answer does not prove what it says."""


class AnotherLog(ReceiptError):
    """The head is of another log than the one that is known, which a restore at the bank explains, or a lie."""


class LogEntry(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="log-entry"):
    """One final decision, a leaf of the log (its canonical bytes are hashed).

    ``order`` is the SHA-256 of the order's content; ``salt`` is 16 random bytes, so that a neighbour's hash in a
    proof reveals nothing; ``reference`` is the bank's booking number, null when nothing was booked; ``field`` names
    what a refusal is about; ``stage`` is a stage or ``operator``.
    """

    amount: Amount
    booked: Time
    creditor: Number
    currency: Annotated[str, Meta(max_length=8)]
    debtor: Number
    field: FieldName | None
    order: Digest
    reason: Reason | None
    reference: Reference | None
    salt: Salt
    stage: OrderStage
    status: Status
    transfer_identifier: Identifier
    version: Literal[1] = 1


class RefusedPayment(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A payment of a bulk order that was, or would have been, refused for a reason of its own; the first is 1."""

    field: FieldName
    payment: Annotated[int, Meta(ge=1, le=PAYMENTS_IN_ORDER)]
    reason: Reason


class BulkEntry(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="bulk-entry"):
    """The final decision on a bulk order, a leaf of the log as a LogEntry is, with the same fields where they apply.

    With status PART or ACSC every payment was booked that ``refused`` does not name; with RJCT none was, and
    ``refused`` names those that were in the way. ``posted`` is what was booked in all, ``reference`` the booking number
    of the first payment booked, the others following it; null if none was. ``reason`` is null with ACSC.
    """

    booked: Time
    count: Size
    currency: Annotated[str, Meta(max_length=8)]
    debtor: Number
    execution: Execution
    field: FieldName | None
    order: Digest
    posted: Amount | None
    reason: Reason | None
    reference: Reference | None
    refused: Annotated[tuple[RefusedPayment, ...], Meta(max_length=PAYMENTS_IN_ORDER)]
    salt: Salt
    stage: OrderStage
    status: GroupStatus
    sum: Amount
    transfer_identifier: Identifier
    version: Literal[1] = 1


Entry = LogEntry | BulkEntry


class TreeHead(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="tree-head"):
    """The state of the whole log, the content of a message that the bank signs. ``log`` names the log itself."""

    bank: Fingerprint
    log: LogIdentifier
    root: Digest
    size: Size
    time: Time
    version: Literal[1] = 1


class Receipt(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="receipt"):
    """What the bank answers to an order, for acceptance and refusal alike.

    ``entry``: canonical bytes of an Entry. ``proof``: inclusion path of leaf ``index`` in the tree of ``head``
    (RFC 9162, section 2.1.3), 64 hex digits each. ``head``: OpenPGP message of a TreeHead. ``duplicate``: AM05, the
    decision is an earlier one. ``consistency``: path from the size that the client named in ``since`` to this head.
    """

    consistency: tuple[Digest, ...] | None
    duplicate: bool
    entry: bytes
    head: bytes
    index: Size
    proof: tuple[Digest, ...]


class TransferReceipt(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="transfer-receipt"):
    """A receipt for one entry alone, signed by the bank for an evidence folder.

    ``order_file`` is the SHA-256 of the order as sent (the OpenPGP message), null where the stage has no signature.
    """

    bank: Fingerprint
    entry: Entry
    index: Size
    log: LogIdentifier
    order_file: Digest | None
    proof: tuple[Digest, ...]
    root: Digest
    signed: Time
    size: Size
    version: Literal[1] = 1


def decode_entry(data: bytes) -> Entry:
    """The entry of a receipt; its bytes are what the log hashes, so they must be canonical."""
    return canonical.decode_signed_union(_ENTRY, data)


def check_inclusion(receipt: Receipt, head: TreeHead) -> Entry:
    """The entry, proved to lie at ``receipt.index`` in the tree of a head whose signature was verified.

    Raises ReceiptError for a wrong index, path, leaf or head.
    """
    entry = decode_entry(receipt.entry)
    path = tuple(bytes.fromhex(item) for item in receipt.proof)
    leaf = merkle.leaf_hash(receipt.entry)
    if not merkle.verify_inclusion(leaf, receipt.index, head.size, path, bytes.fromhex(head.root)):
        raise ReceiptError(
            "The receipt's proof does not lead to the head that the bank signed; keep it and ask the bank."
        )
    return entry


def check_order(entry: Entry, content: bytes, debtor: str, identifier: str) -> None:
    """The entry decides exactly this order; raises ReceiptError naming the field that differs.

    Another order under the same identifier gets no entry (DU04 is an unlogged refusal), so there is nothing to excuse.
    """
    for field, expected in (
        ("debtor", debtor),
        ("transfer_identifier", identifier),
        ("order", canonical.digest(content)),
    ):
        if getattr(entry, field) != expected:
            raise ReceiptError(
                f"The receipt is about something else: its {field} differs from the order that was sent."
            )


def check_results(entry: BulkEntry, order: BulkOrder) -> None:
    """The results repeat what the bulk order says and follow from each other, so none can be read in two ways.

    Raises ReceiptError. That :func:`check_order` has passed is taken for granted.
    """
    for name in ("count", "currency", "execution", "sum"):
        if getattr(entry, name) != getattr(order, name):
            raise ReceiptError(f"The receipt's {name} differs from the order that was sent; keep it and ask the bank.")
    if entry.posted != _posted(entry, order) or not _status_follows(entry, order):
        raise ReceiptError("The receipt's results of the payments contradict each other; keep it and ask the bank.")


def _posted(entry: BulkEntry, order: BulkOrder) -> str | None:
    """What the payments add up to that the results say were booked."""
    if entry.status is GroupStatus.REJECTED:
        return None
    refused = {each.payment for each in entry.refused}
    try:
        paid = (
            parse_amount(payment.amount, order.currency)
            for position, payment in enumerate(order.payments, 1)
            if position not in refused
        )
        return format_amount(sum(paid), order.currency)
    except AmountError:
        raise ReceiptError("The receipt says that an impossible amount was booked; keep it and ask the bank.") from None


def _status_follows(entry: BulkEntry, order: BulkOrder) -> bool:
    positions = [each.payment for each in entry.refused]
    if any(later <= earlier for earlier, later in pairwise(positions)):
        return False
    if positions and positions[-1] > len(order.payments):
        return False
    if (entry.reference is None) != (entry.status is GroupStatus.REJECTED):
        return False
    match entry.status:
        case GroupStatus.SETTLED:
            return not positions and entry.reason is None and entry.field is None
        case GroupStatus.PARTLY:
            some = 0 < len(positions) < len(order.payments)
            return some and entry.execution == "best-effort" and entry.reason is Reason.PAYMENTS
        case GroupStatus.REJECTED:
            return {Reason.PAYMENTS: bool(positions), Reason.CONTROL_SUM: True, None: False}.get(
                entry.reason, not positions
            )


def is_continued(older: TreeHead, newer: TreeHead, path: tuple[str, ...] | None) -> bool:
    """Whether the tree of the newer head begins with that of the older (RFC 9162, section 2.1.4), whatever their log.

    A new log after a loss takes over what is left of the old one, so this can hold between the two.
    """
    proof = tuple(bytes.fromhex(item) for item in path or ())
    return newer.size >= older.size and merkle.verify_consistency(
        older.size, newer.size, bytes.fromhex(older.root), bytes.fromhex(newer.root), proof
    )


def check_consistency(older: TreeHead, newer: TreeHead, path: tuple[str, ...] | None) -> None:
    """The newer log is the older one with entries added, else ReceiptError; AnotherLog if it is not that log."""
    if older.bank != newer.bank or older.log != newer.log:
        raise AnotherLog(
            "The bank has begun another log than the one this customer knows; ask the bank why before you go on."
        )
    if not is_continued(older, newer, path):
        raise ReceiptError(
            "The bank's log does not continue the one that it signed before: history was changed. Keep the receipts "
            "and compare heads with others (`customer verify --head`)."
        )


_ENTRY: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)
