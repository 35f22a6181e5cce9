"""The bank gives evidence of a decision only after it has seen that the parts of it agree.

Nothing is read here: entry, order and keys are handed in, and come back as the files of a folder with one signature
made for the purpose.
"""

from dataclasses import dataclass
from typing import Protocol

from bank.errors import BankError
from keyring import packets
from keyring.errors import PacketError, UnsuitableKey
from keyring.keys import public_key_fingerprint
from protocol import canonical, evidence, merkle, receipts
from protocol.errors import MalformedContent, ProtocolError
from protocol.orders import Order, decode_order, format_time
from protocol.receipts import Entry, TransferReceipt
from protocol.stages import OPERATOR, Stage


class EvidenceRefused(BankError):
    """There is no evidence of this decision, or its parts contradict each other."""


class ReceiptSigner(Protocol):
    """What signs the receipt; keyring.signature.HeadSigner is one."""

    def sign(self, content: bytes, at: int) -> bytes:
        """The OpenPGP message of ``content``, dated ``at`` (unix seconds)."""
        ...


@dataclass(frozen=True, slots=True)
class LoggedEntry:
    """One entry (canonical bytes of an Entry) and its place in the tree of ``size`` entries of the log ``log``.

    ``proof``: inclusion path from the leaf upwards, ``root``: 64 hex digits each. ``head``: the OpenPGP message of the
    head with this size and root, or None to leave it out.
    """

    entry: bytes
    index: int
    log: str
    size: int
    root: str
    proof: tuple[str, ...]
    head: bytes | None = None


@dataclass(frozen=True, slots=True)
class SentOrder:
    """An order as it came: its canonical content, and the OpenPGP message where the stage has signed orders."""

    content: bytes
    message: bytes | None


@dataclass(frozen=True, slots=True)
class Keys:
    """Public keys, binary: the bank's (as certified, if ``authority`` is given), the debtor's as it was at posting.

    ``customer`` is the certified key as offered in the stage certified, the registered one in the stage signed.
    ``certificates`` are the X.509 ones; an order of version 1 was given under none, and the others without a certified
    bank neither.
    """

    bank: bytes
    customer: bytes | None
    authority: bytes | None
    certificates: evidence.Certificates | None = None


def make_evidence(
    logged: LoggedEntry, order: SentOrder, keys: Keys, signer: ReceiptSigner, at: int
) -> dict[str, bytes]:
    """The files of the evidence folder by name; ``at`` (unix seconds) dates the receipt.

    Keys that the stage has no use for are left out. Raises EvidenceRefused if the parts do not belong together.
    """
    entry = _entry(logged)
    stage = Stage(entry.stage)
    content = _order(entry, stage, order)
    customer = _customer_key(stage, content, keys)
    try:
        public_key_fingerprint(keys.bank, content.bank)
    except (PacketError, UnsuitableKey):
        raise EvidenceRefused(
            f"The bank's key is not {content.bank}, which the order names; give the bank's key of that time."
        ) from None
    receipt = TransferReceipt(
        bank=content.bank,
        entry=entry,
        index=logged.index,
        log=logged.log,
        order_file=None if order.message is None else canonical.digest(order.message),
        proof=logged.proof,
        root=logged.root,
        signed=format_time(at),
        size=logged.size,
    )
    parts = evidence.Parts(
        stage=stage,
        order=order.content if order.message is None else order.message,
        receipt=signer.sign(canonical.encode(receipt), at),
        bank_key=keys.bank,
        customer_key=customer,
        authority_key=keys.authority,
        head=logged.head,
        certificates=_certificates(stage, content, keys),
    )
    try:
        return evidence.assemble(parts)
    except ProtocolError as error:
        raise EvidenceRefused(str(error)) from None


def _entry(logged: LoggedEntry) -> Entry:
    """The entry, if its proof leads to the root."""
    path = tuple(bytes.fromhex(item) for item in logged.proof)
    leaf = merkle.leaf_hash(logged.entry)
    if not merkle.verify_inclusion(leaf, logged.index, logged.size, path, bytes.fromhex(logged.root)):
        raise EvidenceRefused(
            f"The proof of entry {logged.index} does not lead to the log's root; stop the server and run `bank audit`."
        )
    entry = receipts.decode_entry(logged.entry)
    if entry.stage == OPERATOR:
        raise EvidenceRefused(
            f"{entry.transfer_identifier} was posted by the bank's operator; there is no customer's order to prove."
        )
    return entry


def _order(entry: Entry, stage: Stage, order: SentOrder) -> Order:
    """The order, if the entry decides it and the message holds it."""
    if canonical.digest(order.content) != entry.order:
        raise EvidenceRefused(
            f"The stored order {entry.transfer_identifier} is not the one that was decided; run `bank audit`."
        )
    if (order.message is not None) != stage.orders_are_signed:
        expected = "a signed order" if stage.orders_are_signed else "an order without a signature"
        raise EvidenceRefused(f"To the stage {stage.value} of {entry.transfer_identifier} belongs {expected}.")
    if order.message is not None and _literal(order.message) != order.content:
        raise EvidenceRefused(
            f"The message of {entry.transfer_identifier} holds another content than was decided; run `bank audit`."
        )
    try:
        return decode_order(order.content)
    except MalformedContent as error:
        raise EvidenceRefused(f"The stored order {entry.transfer_identifier} cannot be read: {error}") from None


def _literal(message: bytes) -> bytes | None:
    """The content of a signed message, which gpg judged when it was posted (RFC 4880, section 5.9)."""
    try:
        packets.require_signed_message(message)
        body = next(packet.body for packet in packets.split(message) if packet.tag == packets.LITERAL)
    except PacketError:
        return None
    return body[2 + body[1] + 4 :]


def _customer_key(stage: Stage, order: Order, keys: Keys) -> bytes | None:
    if not stage.orders_are_signed:
        return None
    if keys.customer is None:
        raise EvidenceRefused(
            f"The key of {order.debtor} at the time of posting is missing; it belongs to the evidence."
        )
    # Later versions name the X.509 certificate, see below.
    if stage.is_certified and order.version == 1 and canonical.digest(keys.customer) != order.certificate:
        raise EvidenceRefused(
            f"The key given for {order.debtor} is not the certified one that the order names; give that of the time."
        )
    return keys.customer


def _certificates(stage: Stage, order: Order, keys: Keys) -> evidence.Certificates | None:
    given = keys.certificates
    if not stage.is_certified:
        return given
    if order.version == 1:
        return None
    if given is None or given.customer is None or given.revocations is None:
        raise EvidenceRefused(
            f"The certificates of the time when {order.transfer_identifier} was booked are missing; they belong to the "
            "evidence. Run `bank fetch`, then try again."
        )
    if canonical.digest(given.customer) != order.certificate:
        raise EvidenceRefused(
            f"The certificate given for {order.debtor} is not the one that the order names; give that of the time."
        )
    return given
