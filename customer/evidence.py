"""An evidence folder is written only after it was found to be about this very order, and to name the right keys."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from ca.bridge import open_root
from ca.errors import CaError
from customer import conversing
from customer.bank_view import BankView, require_about
from customer.errors import CustomerError, NotProven
from customer.home import CustomerHome
from customer.store import StoredOrder
from keyring.errors import KeyringError
from keyring.keys import public_key_fingerprint
from protocol import canonical, evidence, merkle
from protocol.errors import ProtocolError
from protocol.messages import AskEvidence, Evidence
from protocol.receipts import TransferReceipt
from protocol.stages import Stage


def fetch(home: CustomerHome, identifier: str, folder: Path, stage: Stage) -> tuple[str, ...]:
    """Write the evidence of one's own transfer to a new or empty folder; returns the names of the files.

    Raises CustomerError, RefusedByBank, NotProven or ProtocolError, and then has written nothing.
    """
    order = home.store.find(identifier)
    if order is None:
        raise CustomerError(f"There is no transfer {identifier!a} in the outbox; look with `customer outbox`.")
    evidence.require_empty(folder)
    with conversing.conversation(home, stage) as talk:
        view = conversing.view_in(home, talk)
        answer = conversing.ask(talk, AskEvidence(number=0, transfer_identifier=identifier), Evidence)
    require_evidence(home, view, order, answer.files)
    evidence.write_folder(folder, answer.files)
    return tuple(sorted(answer.files))


def require_evidence(home: CustomerHome, view: BankView, order: StoredOrder, files: Mapping[str, bytes]) -> None:
    """The files are an evidence folder of exactly this order, for the keys that are pinned here, else NotProven."""
    try:
        kind = evidence.require_folder(files)
        receipt = canonical.decode_signed(TransferReceipt, view.open_signed(files[evidence.RECEIPT]))
        for name, fingerprint in (
            (evidence.BANK_KEY, home.config.bank.fingerprint),
            (evidence.AUTHORITY_KEY, home.config.authority.fingerprint),
        ):
            if name in files:
                public_key_fingerprint(files[name], fingerprint)
        own = public_key_fingerprint(files[evidence.CUSTOMER_KEY]) if evidence.CUSTOMER_KEY in files else None
        if evidence.AUTHORITY_CERTIFICATE in files:
            open_root(files[evidence.AUTHORITY_CERTIFICATE], home.config.authority.fingerprint)
    except (ProtocolError, KeyringError, CaError) as error:
        raise NotProven(f"What the bank sent is not evidence of this transfer: {error}") from None
    sent = files.get(evidence.ORDER, files.get(evidence.ORDER_CONTENT))
    named = hashlib.sha256(order.message).hexdigest() if order.stage.orders_are_signed else None
    certificate = _digest(files.get(evidence.CUSTOMER_CERTIFICATE))
    complaints = (
        (receipt.bank != view.fingerprint, "its receipt is another bank's"),
        (kind.stage is not order.stage, "it is about another stage"),
        (sent != order.message, "the order in it is not the one that was sent"),
        (receipt.order_file != named, "its receipt names another order file"),
        (order.order.certificate != certificate, "its certificate is not the one that the order names"),
        (own is not None and own not in home.own_keys, "the debtor's key in it is none of yours"),
        (not _proves(receipt), "its proof does not lead to the log"),
    )
    for wrong, complaint in complaints:
        if wrong:
            raise NotProven(f"What the bank sent is not evidence of this transfer: {complaint}. Nothing was written.")
    require_about(receipt.entry, order.content)
    if order.receipt is not None and canonical.encode(receipt.entry) != order.receipt.entry:
        raise NotProven("The evidence says something else than the receipt that is kept here; nothing was written.")
    if evidence.HEAD in files:
        head = view.open_head(files[evidence.HEAD]).head
        if (head.log, head.size, head.root) != (receipt.log, receipt.size, receipt.root):
            raise NotProven("The evidence names another head of the log than its receipt; nothing was written.")


def _digest(data: bytes | None) -> str | None:
    return None if data is None else hashlib.sha256(data).hexdigest()


def _proves(receipt: TransferReceipt) -> bool:
    leaf = merkle.leaf_hash(canonical.encode(receipt.entry))
    path = tuple(bytes.fromhex(each) for each in receipt.proof)
    return merkle.verify_inclusion(leaf, receipt.index, receipt.size, path, bytes.fromhex(receipt.root))
