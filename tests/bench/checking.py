"""A receipt is believed as the customer's program believes it: entry, place in the log, and the head's signature.

The functions are the customer's own, with one difference in the time that is measured: a head, which all receipts of
a batch share, is verified once, and by OpenSSL. After the measurement gpg verifies every head again
(:meth:`Checker.require_gpg_agrees`), and what gpg does not accept does not count.
"""

import hashlib
from collections import Counter

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from customer.bank_view import require_about
from keyring import packets
from keyring.cursor import Cursor
from keyring.home import Home
from keyring.opened import Opened
from keyring.verdict import SignedByBank, SignedByCustomer
from keyring.worker import Worker
from protocol import canonical
from protocol.codes import GroupStatus
from protocol.receipts import BulkEntry, Receipt, ReceiptError, TreeHead, check_consistency, check_inclusion
from tests.bench.cast import Cast
from tests.bench.orders import AMOUNT, CURRENCY, RSA, Signed, content_of

PUBLIC_KEY, SUBKEY = 6, 14
EDDSA = 22


class Checker:
    """Verifies receipts of one bank; ``heads`` counts how many receipts each head has proved."""

    def __init__(self, cast: Cast) -> None:
        self._cast = cast
        self._keys = bank_keys(cast.bank_key)
        self._heads: dict[bytes, TreeHead] = {}
        self.heads: Counter[bytes] = Counter()

    def check(self, receipt: Receipt, signed: Signed, debtor: str) -> None:
        """The receipt posts exactly this order, else ReceiptError."""
        entry = check_inclusion(receipt, self.head(receipt.head))
        if isinstance(entry, BulkEntry):
            require_about(entry, content_of(signed.message))
            whole = entry.status is GroupStatus.SETTLED and entry.count == signed.payments
        else:
            expected = (debtor, signed.identifier, signed.digest, signed.creditor, AMOUNT, CURRENCY, 1)
            said = (entry.debtor, entry.transfer_identifier, entry.order, entry.creditor, entry.amount, entry.currency)
            whole = (*said, signed.payments) == expected and entry.reference is not None
        if not whole or receipt.duplicate:
            raise ReceiptError(f"The receipt of {signed.identifier} says something else: {entry}")
        self.heads[receipt.head] += 1

    def head(self, message: bytes) -> TreeHead:
        """The content of a head that the bank has signed."""
        known = self._heads.get(message)
        if known is None:
            head = canonical.decode_signed(TreeHead, self._verified(message))
            if head.bank != self._cast.bank:
                raise ReceiptError("The head is another bank's.")
            known = self._heads[message] = head
        return known

    def _verified(self, message: bytes) -> bytes:
        packets.require_signed_message(message)
        _, _, signature = (bytes(packet.body) for packet in packets.split(message))
        content = content_of(message)
        cursor = Cursor(signature)
        start = cursor.take(4)
        length = cursor.take(2)
        hashed = start + length + cursor.take(int.from_bytes(length))
        cursor.take(cursor.number(2) + 2)
        values = []
        while cursor:
            values.append(cursor.take((cursor.number(2) + 7) // 8))
        digest = hashlib.sha256(content + hashed + b"\x04\xff" + len(hashed).to_bytes(4)).digest()
        key = self._keys.get(start[2])
        try:
            if isinstance(key, Ed25519PublicKey):
                key.verify(values[0].rjust(32, b"\0") + values[1].rjust(32, b"\0"), digest)
                return content
            if isinstance(key, rsa.RSAPublicKey):
                value = values[0].rjust(key.key_size // 8, b"\0")
                key.verify(value, digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))
                return content
        except InvalidSignature:
            pass
        raise ReceiptError("The bank's signature does not hold.")

    def require_continued(self, older: bytes, newer: bytes, path: tuple[str, ...] | None) -> None:
        """The log goes on from the one head to the other, as a customer asks once in a session."""
        check_consistency(self.head(older), self.head(newer), path)

    def require_gpg_agrees(self, *, by_primary: bool = False) -> int:
        """gpg accepts every head that was believed; how many there were. ``by_primary``: those of the usual way."""
        bank, subkeys = self._cast.bank, frozenset(self._cast.signing_subkeys)
        primary, subkey = SignedByCustomer(bank, certified=True), SignedByBank(bank, subkeys, certified=True)
        with Worker(Home.open(self._cast.view)) as worker:
            for message in self._heads:
                opened = worker.open(message, primary if by_primary else subkey)
                if not isinstance(opened, Opened):
                    raise ReceiptError(f"gpg does not accept a head that was believed: {opened.sentence}")
        return len(self._heads)


def bank_keys(exported: bytes) -> dict[int, Ed25519PublicKey | rsa.RSAPublicKey]:
    """The bank's keys that sign, by the number of their algorithm; that of EdDSA is the subkey (RFC 9580, 5.5.5.5)."""
    found: dict[int, Ed25519PublicKey | rsa.RSAPublicKey] = {}
    for packet in packets.split(exported):
        if packet.tag not in (PUBLIC_KEY, SUBKEY):
            continue
        cursor = Cursor(bytes(packet.body))
        cursor.take(5)
        algorithm = cursor.number(1)
        if algorithm == RSA and packet.tag == PUBLIC_KEY:
            n, e = _number(cursor), _number(cursor)
            found[RSA] = rsa.RSAPublicNumbers(e, n).public_key()
        elif algorithm == EDDSA:
            cursor.take(cursor.number(1))
            point = _number(cursor).to_bytes(33)
            found[EDDSA] = Ed25519PublicKey.from_public_bytes(point[1:])
    return found


def _number(cursor: Cursor) -> int:
    return cursor.number((cursor.number(2) + 7) // 8)
