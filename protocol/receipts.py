"""A receipt proves one decision: the entry, its place in the log, and a head of the log that the bank signed."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from protocol import canonical, merkle
from protocol.codes import Reason, Status
from protocol.errors import ProtocolError
from protocol.orders import Digest, Fingerprint, Identifier, Number, Time

Salt = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
Size = Annotated[int, Meta(ge=0, lt=2**53)]
LogIdentifier = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]


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

    amount: Annotated[str, Meta(max_length=40)]
    booked: Time
    creditor: Number
    currency: Annotated[str, Meta(max_length=8)]
    debtor: Number
    field: Annotated[str, Meta(max_length=40)] | None
    order: Digest
    reason: Reason | None
    reference: Annotated[str, Meta(max_length=35)] | None
    salt: Salt
    stage: Literal["password", "session", "signed", "certified", "operator"]
    status: Status
    transfer_identifier: Identifier
    version: Literal[1] = 1


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

    ``entry``: canonical bytes of a LogEntry. ``proof``: inclusion path of leaf ``index`` in the tree of ``head``
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
    entry: LogEntry
    index: Size
    log: LogIdentifier
    order_file: Digest | None
    proof: tuple[Digest, ...]
    root: Digest
    signed: Time
    size: Size
    version: Literal[1] = 1


def decode_entry(data: bytes) -> LogEntry:
    """The entry of a receipt; its bytes are what the log hashes, so they must be canonical."""
    return canonical.decode_signed(LogEntry, data)


def check_inclusion(receipt: Receipt, head: TreeHead) -> LogEntry:
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


def check_order(entry: LogEntry, content: bytes, debtor: str, identifier: str) -> None:
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
