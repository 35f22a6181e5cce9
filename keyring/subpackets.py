"""The subpackets of a signature say who signed what, when and how; each is shown with its meaning.

Section 5.2.3.1 of RFC 4880; GnuPG's own 33 to 35 as in RFC 9580. Nothing here is verified.
"""

from collections.abc import Callable
from dataclasses import dataclass

from keyring import numbers
from keyring.cursor import Cursor
from keyring.errors import PacketError

MAX_SHOWN_BYTES = 200


@dataclass(frozen=True, slots=True)
class SignatureDetail:
    """One subpacket: its type and the type's name, whether it is critical, and its value in words."""

    number: int
    name: str
    critical: bool
    value: str


@dataclass(frozen=True, slots=True)
class Field:
    """One subpacket as it stands there."""

    number: int
    critical: bool
    data: bytes


def read(area: bytes) -> tuple[SignatureDetail, ...]:
    """The subpackets of one area in words, in order. Raises PacketError when a length leads out of it."""
    return tuple(_detail(each.number, each.critical, each.data) for each in split(area))


def split(area: bytes) -> tuple[Field, ...]:
    """The subpackets of one area, in order. Raises PacketError when a length leads out of it."""
    cursor = Cursor(area)
    fields = []
    while cursor:
        octet = cursor.number(1)
        if octet >= 255:
            length = cursor.number(4)
        elif octet >= 192:
            length = ((octet - 192) << 8) + cursor.number(1) + 192
        else:
            length = octet
        if length == 0:
            raise PacketError("packet-body", "A subpacket has no type.")
        kind = cursor.number(1)
        fields.append(Field(kind & 0x7F, bool(kind & 0x80), cursor.take(length - 1)))
    return tuple(fields)


def shown(data: bytes) -> str:
    """Foreign bytes as UTF-8 where they are (others as surrogate escapes), cut after 200 bytes."""
    text = data[:MAX_SHOWN_BYTES].decode("utf-8", "surrogateescape")
    return text if len(data) <= MAX_SHOWN_BYTES else f"{text}... ({len(data)} bytes)"


def _detail(number: int, critical: bool, data: bytes) -> SignatureDetail:
    try:
        value = _READERS.get(number, _hex)(data)
    except PacketError:
        value = f"malformed: {_hex(data)}"
    return SignatureDetail(number, numbers.name(numbers.SUBPACKETS, number), critical, value)


def _hex(data: bytes) -> str:
    text = data[:MAX_SHOWN_BYTES].hex().upper()
    return text if len(data) <= MAX_SHOWN_BYTES else f"{text}... ({len(data)} bytes)"


def _date(data: bytes) -> str:
    return numbers.date(Cursor(data).number(4))


def _duration(data: bytes) -> str:
    return numbers.duration(Cursor(data).number(4))


def _yes_or_no(data: bytes) -> str:
    return "yes" if Cursor(data).number(1) else "no"


def _trust(data: bytes) -> str:
    cursor = Cursor(data)
    return f"depth {cursor.number(1)}, amount {cursor.number(1)}"


def _names(table: dict[int, str]) -> Callable[[bytes], str]:
    return lambda data: ", ".join(numbers.name(table, number) for number in data)


def _notation(data: bytes) -> str:
    cursor = Cursor(data)
    human_readable = cursor.number(1) & 0x80
    cursor.take(3)
    name_length, value_length = cursor.number(2), cursor.number(2)
    name, value = shown(cursor.take(name_length)), cursor.take(value_length)
    return f"{name} = {shown(value) if human_readable else _hex(value)}"


def _flags(data: bytes) -> str:
    known = numbers.KEY_FLAGS.items()
    return ", ".join(meaning for flag, meaning in known if data and data[0] & flag) or "nothing"


def _reason(data: bytes) -> str:
    cursor = Cursor(data)
    reason = numbers.name(numbers.REVOCATION_REASONS, cursor.number(1))
    comment = shown(cursor.rest())
    return f"{reason}: {comment}" if comment else reason


def _features(data: bytes) -> str:
    known = ((1, "integrity protection"), (2, "AEAD"), (4, "version 5 keys"))
    return ", ".join(meaning for flag, meaning in known if data and data[0] & flag) or "none"


def _fingerprint(data: bytes) -> str:
    cursor = Cursor(data)
    cursor.take(1)  # the key's version
    return cursor.rest().hex().upper()


def _revocation_key(data: bytes) -> str:
    cursor = Cursor(data)
    cursor.take(2)  # class and algorithm
    return cursor.rest().hex().upper()


_READERS: dict[int, Callable[[bytes], str]] = {
    2: _date,
    3: _duration,
    4: _yes_or_no,
    5: _trust,
    6: shown,
    7: _yes_or_no,
    9: _duration,
    11: _names(numbers.CIPHERS),
    12: _revocation_key,
    20: _notation,
    21: _names(numbers.DIGESTS),
    22: _names(numbers.COMPRESSION),
    24: shown,
    25: _yes_or_no,
    26: shown,
    27: _flags,
    28: shown,
    29: _reason,
    30: _features,
    33: _fingerprint,
    34: _names(numbers.AEAD),
    35: _fingerprint,
}
