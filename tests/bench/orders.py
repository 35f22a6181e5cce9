"""Orders are signed before the clock starts, with the customers' own keys as GnuPG made them.

gpg needs 20 ms for a signature of RSA-3072, OpenSSL a tenth, and the signer's time is not what is measured: so the
unprotected private keys are taken out of the benchmark's homes, and messages are packed as GnuPG packs them. The bank
has GnuPG verify every one of them.
"""

import hashlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice, repeat
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

from keyring import packets, process
from keyring.cursor import Cursor
from keyring.home import Home
from protocol.money import format_amount
from protocol.orders import BulkOrder, Order, Payment, TransferOrder, encode_order, format_time

SECRET_KEY, ONE_PASS, LITERAL, SIGNATURE = 5, 4, 11, 2
RSA, SHA256 = 1, 8
AMOUNT, CURRENCY = "0.01", "EUR"
_LENGTH = 4


class SigningKey(msgspec.Struct, frozen=True):
    """An RSA private key (PKCS #8, DER) and the fingerprint under which OpenPGP knows it."""

    fingerprint: str
    private: bytes


def signing_key(home: Home, fingerprint: str) -> SigningKey:
    """The unprotected primary key of a home."""
    exported = process.run(home, "--export-options", "export-minimal", "--export-secret-keys", f"{fingerprint}!").output
    body = next(packet.body for packet in packets.split(exported) if packet.tag == SECRET_KEY)
    cursor = Cursor(bytes(body))
    version, _, algorithm = cursor.number(1), cursor.number(4), cursor.number(1)
    n, e = _number(cursor), _number(cursor)
    if (version, algorithm, cursor.number(1)) != (4, RSA, 0):
        raise ValueError(f"{fingerprint} is not an unprotected RSA key of version 4.")
    d, p, q = _number(cursor), _number(cursor), _number(cursor)
    made = rsa.RSAPrivateNumbers(
        p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q), rsa.RSAPublicNumbers(e, n)
    ).private_key()
    form = (serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return SigningKey(fingerprint, made.private_bytes(*form))


def _number(cursor: Cursor) -> int:
    return cursor.number((cursor.number(2) + 7) // 8)


class Signer:
    """Makes inline-signed messages (one-pass signature, literal, signature) with one key."""

    def __init__(self, key: SigningKey) -> None:
        loaded = serialization.load_der_private_key(key.private, None, unsafe_skip_rsa_key_validation=True)
        if not isinstance(loaded, rsa.RSAPrivateKey):
            raise TypeError("Customers sign with RSA.")
        self._key = loaded
        self._fingerprint = bytes.fromhex(key.fingerprint)
        self._one_pass = _packet(ONE_PASS, bytes((3, 0, SHA256, RSA)) + self._fingerprint[-8:] + b"\x01")

    def sign(self, content: bytes, at: int) -> bytes:
        """The message over ``content``, dated ``at`` (unix seconds)."""
        subpackets = b"\x16\x21\x04" + self._fingerprint + b"\x05\x02" + at.to_bytes(4)
        hashed = bytes((4, 0, RSA, SHA256)) + len(subpackets).to_bytes(2) + subpackets
        digest = hashlib.sha256(content + hashed + b"\x04\xff" + len(hashed).to_bytes(4)).digest()
        number = int.from_bytes(self._key.sign(digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256())))
        value = number.bit_length().to_bytes(2) + number.to_bytes((number.bit_length() + 7) // 8)
        unhashed = b"\x00\x0a\x09\x10" + self._fingerprint[-8:]
        return (
            self._one_pass
            + _packet(LITERAL, b"b\x00" + at.to_bytes(4) + content)
            + _packet(SIGNATURE, hashed + unhashed + digest[:2] + value)
        )


def _packet(tag: int, body: bytes) -> bytes:
    """A packet with a new-format header of five octets (RFC 4880, section 4.2.2.3)."""
    return bytes((0xC0 | tag, 0xFF)) + len(body).to_bytes(4) + body


class Signed(msgspec.Struct, frozen=True, array_like=True):
    """An order as it is sent, and what its receipt must repeat; ``digest`` is the SHA-256 of its content."""

    identifier: str
    digest: str
    creditor: str
    message: bytes
    payments: int = 1


def content_of(message: bytes) -> bytes:
    """The literal data of an inline-signed message."""
    literal = bytes(packets.split(message)[1].body)
    return literal[2 + literal[1] + 4 :]


def order_file(folder: Path, number: str) -> Path:
    """Where the orders of a customer lie."""
    return folder / f"{number}.orders"


def sign_orders(folder: Path, bank: str, parties: list[tuple[str, str, SigningKey]], count: int, workers: int) -> int:
    """See that every party (number, certificate's digest, key) has so many orders in ``folder``; how many were made.

    Each sends one cent to the next one, and the last to the first. An order serves in every run against a fresh ledger.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    creditors = [number for number, _, _ in parties[1:]] + [parties[0][0]]
    asked = [(folder, bank, *party, creditor, count) for party, creditor in zip(parties, creditors, strict=True)]
    with ProcessPoolExecutor(workers) as pool:
        return sum(pool.map(_sign_for, asked))


def _sign_for(asked: tuple[Path, str, str, str, SigningKey, str, int]) -> int:
    folder, bank, number, certificate, key, creditor, count = asked
    path = order_file(folder, number)
    frames = list(_frames(path)) if path.exists() else []
    signer, at = Signer(key), int(time.time())
    with path.open("ab") as file:
        file.truncate(sum(_LENGTH + len(frame) for frame in frames))  # what an interrupted run wrote half
        for place in range(len(frames), count):
            order = TransferOrder(
                amount=AMOUNT,
                bank=bank,
                certificate=certificate,
                created=format_time(at),
                creditor=creditor,
                currency=CURRENCY,
                debtor=number,
                description="invoice 4711",
                transfer_identifier=f"{place:08d}{os.urandom(8).hex()}",
            )
            file.write(_frame(_signed(order, signer, at, creditor, 1)))
    return max(0, count - len(frames))


def sign_bulk_orders(
    folder: Path, bank: str, party: tuple[str, str, SigningKey], creditors: list[str], count: int
) -> None:
    """So many bulk orders of a party, each of which pays a cent to every creditor."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    number, certificate, key = party
    signer, at = Signer(key), int(time.time())
    payments = tuple(Payment(amount=AMOUNT, creditor=each, description="salary 2026-11") for each in creditors)
    with order_file(folder, number).open("wb") as file:
        for _ in range(count):
            order = BulkOrder(
                bank=bank,
                certificate=certificate,
                count=len(payments),
                created=format_time(at),
                currency=CURRENCY,
                debtor=number,
                execution="atomic",
                payments=payments,
                sum=format_amount(len(payments), CURRENCY),
                transfer_identifier=os.urandom(16).hex(),
            )
            file.write(_frame(_signed(order, signer, at, "", len(payments))))


def _signed(order: Order, signer: Signer, at: int, creditor: str, payments: int) -> Signed:
    content = encode_order(order)
    digest = hashlib.sha256(content).hexdigest()
    return Signed(order.transfer_identifier, digest, creditor, signer.sign(content, at), payments)


def _frame(signed: Signed) -> bytes:
    data = msgspec.msgpack.encode(signed)
    return len(data).to_bytes(_LENGTH) + data


def read_orders(folder: Path, number: str, count: int) -> list[Signed]:
    """The first orders of a customer; fewer if there are no more."""
    decode = msgspec.msgpack.Decoder(Signed).decode
    return [decode(data) for data in islice(_frames(order_file(folder, number)), count)]


def _frames(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for _ in repeat(None):
            header = file.read(_LENGTH)
            if len(header) < _LENGTH:
                return
            data = file.read(int.from_bytes(header))
            if len(data) == int.from_bytes(header):
                yield data
