"""The signature packet of a message says each thing once, and nothing that its signer did not sign.

What RFC 4880, section 5.2, leaves to the reader (which of two times counts, what an unsigned subpacket is worth, how a
number may be written) readers decide differently: a message of ours leaves them nothing to decide.
"""

from collections import Counter
from typing import Final

from keyring import subpackets
from keyring.cursor import Cursor
from keyring.errors import PacketError

CREATED, EXPIRES, ISSUER, ISSUER_FINGERPRINT = 2, 3, 16, 33
NUMBERS: Final = {1: 1, 22: 2}
"""How many numbers a signature has, by its algorithm: RSA and Ed25519 are those of our keys."""

_UNSIGNED: Final = frozenset({ISSUER, ISSUER_FINGERPRINT})  # where to look for the key, which then proves itself


def require_unambiguous(one_pass: bytes, signature: bytes) -> None:
    """Raise PacketError unless the two bodies, both of the right version, describe one signature in one way."""
    try:
        cursor = Cursor(signature)
        cursor.take(2)  # version and class
        algorithm, digest = cursor.number(1), cursor.number(1)
        signed = subpackets.split(cursor.take(cursor.number(2)))
        unsigned = subpackets.split(cursor.take(cursor.number(2)))
        cursor.take(2)  # the first bytes of the digest, which nobody relies on
    except PacketError:
        raise PacketError("signature-body", "The signature packet ends within its own fields.") from None
    if (digest, algorithm) != (one_pass[2], one_pass[3]):
        raise PacketError(
            "one-pass-signature", "The one-pass signature packet announces another signature than the one that follows."
        )
    if any(each.number not in _UNSIGNED for each in unsigned):
        raise PacketError("unsigned-fields", "The signature packet has a field beside the issuer that is not signed.")
    count = Counter(each.number for each in signed)
    if count[CREATED] != 1 or count[EXPIRES] > 1:
        raise PacketError("single-times", "The signature does not say once when it was made, or twice when it ends.")
    _require_one_issuer(one_pass[4:12], signed + unsigned)
    _require_numbers(cursor, algorithm)


def _require_one_issuer(key_id: bytes, fields: tuple[subpackets.Field, ...]) -> None:
    named = {key_id}
    for each in fields:
        if each.number == ISSUER:
            named.add(each.data)
        elif each.number == ISSUER_FINGERPRINT:
            # A fingerprint of another version is of another key, which cannot be the one that a key ID of ours names.
            named.add(each.data[-8:] if len(each.data) == 21 and each.data[0] == 4 else each.data)
    if len(named) != 1:
        raise PacketError("one-issuer", "The message names more than one key as the one that signed it.")


def _require_numbers(cursor: Cursor, algorithm: int) -> None:
    """The right count of multiprecision integers, each in its one form (RFC 4880, section 3.2), and nothing after."""
    if algorithm not in NUMBERS:
        raise PacketError("signature-algorithm", f"The signature's algorithm {algorithm} is neither RSA nor Ed25519.")
    try:
        exact = all(_is_exact(cursor) for _ in range(NUMBERS[algorithm])) and not cursor
    except PacketError:
        exact = False
    if not exact:
        raise PacketError("signature-numbers", "The numbers of the signature are not in their one form, or not alone.")


def _is_exact(cursor: Cursor) -> bool:
    bits = cursor.number(2)
    return cursor.number((bits + 7) // 8).bit_length() == bits
