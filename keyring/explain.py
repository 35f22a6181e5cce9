"""Every packet of an OpenPGP file is shown with its meaning; what is encrypted stays so, and nothing is believed.

For study (``keyring packets``): messages, signatures, public keys and certificates. Bodies are those of RFC 4880,
section 5, and RFC 6637. A body that is malformed is said to be so and does not hide the packets around it.
"""

import bz2
import hashlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from keyring import numbers, subpackets
from keyring.cursor import Cursor
from keyring.errors import PacketError
from keyring.packets import Packet, s2k_count, split_for_study

__all__ = ["Explanation", "explain"]

MAX_INFLATED_BYTES = 4 << 20
MAX_EXPLAINED = 4096
"""Both are for a whole file: packets in packets would multiply whatever each of them were allowed."""
MAX_DEPTH = 4

Value = str | int | bool | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """One packet: where it is, what it is, its fields by name, one sentence, and the packets inside a compressed one.

    Offset and lengths are in bytes; the offset inside a compressed packet counts from its own beginning.
    """

    offset: int
    tag: int
    name: str
    header_length: int
    body_length: int
    fields: Mapping[str, Value]
    sentence: str
    inside: tuple["Explanation", ...] = ()


@dataclass
class _Allowance:
    """What may still be inflated and explained of one file."""

    inflated_bytes: int = MAX_INFLATED_BYTES
    packets: int = MAX_EXPLAINED


def explain(message: bytes) -> tuple[Explanation, ...]:
    """The packets of a binary message, key or signature. Raises PacketError when they cannot be told apart."""
    return _explain(message, 0, _Allowance())


def key_fingerprint(public_body: bytes) -> str:
    """The fingerprint of a version 4 key, recomputed from its public part (RFC 4880, section 12.2)."""
    data = b"\x99" + len(public_body).to_bytes(2, "big") + public_body
    return hashlib.sha1(data, usedforsecurity=False).hexdigest().upper()


def _explain(message: bytes, depth: int, allowance: _Allowance) -> tuple[Explanation, ...]:
    packets = split_for_study(message)
    allowance.packets -= len(packets)
    if allowance.packets < 0:
        raise PacketError("packet-count", f"With it there are more than {MAX_EXPLAINED} packets; it was left alone.")
    return tuple(_explained(packet, depth, allowance) for packet in packets)


def _explained(packet: Packet, depth: int, allowance: _Allowance) -> Explanation:
    fields: dict[str, Value] = {}
    inside: tuple[Explanation, ...] = ()
    try:
        if packet.tag == 8:
            sentence, inside = _compressed(packet.body, fields, depth, allowance)
        else:
            sentence = _READERS.get(packet.tag, _other)(packet.body, fields)
    except PacketError as error:
        sentence = f"This packet is malformed and cannot be explained further. {error}"
    return Explanation(
        offset=packet.offset,
        tag=packet.tag,
        name=numbers.name(numbers.PACKETS, packet.tag),
        header_length=packet.header_length,
        body_length=len(packet.body),
        fields=fields,
        sentence=sentence,
        inside=inside,
    )


def _key_session(body: bytes, fields: dict[str, Value]) -> str:
    cursor = Cursor(body)
    fields["version"] = cursor.number(1)
    if fields["version"] != 3:
        return "The session key for one recipient, in a form that is not known here."
    key_id = cursor.take(8).hex().upper()
    fields["recipient key ID"] = key_id
    fields["algorithm"] = numbers.name(numbers.PUBLIC_KEY, cursor.number(1))
    if key_id == "0" * 16:
        return "The session key, encrypted to a recipient who is not named; every holder of a secret key has to try."
    return f"The session key, encrypted so that only the holder of the secret key {key_id} can read it."


def _password_session(body: bytes, fields: dict[str, Value]) -> str:
    cursor = Cursor(body)
    fields["version"] = cursor.number(1)
    if fields["version"] != 4:
        return "How a password becomes the session key, in a form that is not known here."
    fields["cipher"] = numbers.name(numbers.CIPHERS, cursor.number(1))
    _s2k(cursor, fields)
    if cursor:
        return "The session key, encrypted under a password that is hashed as told here."
    return "How the password is hashed to become the session key; the count makes guessing slow."


def _s2k(cursor: Cursor, fields: dict[str, Value]) -> None:
    kind = cursor.number(1)
    fields["S2K"] = numbers.name(numbers.S2K, kind)
    if kind not in (0, 1, 3):
        return
    fields["S2K digest"] = numbers.name(numbers.DIGESTS, cursor.number(1))
    if kind in (1, 3):
        fields["S2K salt"] = cursor.take(8).hex().upper()
    if kind == 3:
        fields["S2K count"] = s2k_count(cursor.number(1))


def _one_pass(body: bytes, fields: dict[str, Value]) -> str:
    cursor = Cursor(body)
    fields["version"] = cursor.number(1)
    if fields["version"] != 3:
        return "Announces a signature, in a form that is not known here."
    _signature_class(cursor, fields)
    fields["digest"] = numbers.name(numbers.DIGESTS, cursor.number(1))
    fields["algorithm"] = numbers.name(numbers.PUBLIC_KEY, cursor.number(1))
    fields["issuer key ID"] = cursor.take(8).hex().upper()
    fields["last"] = bool(cursor.number(1))
    return "Announces the signature that follows the data, so that a reader can hash meanwhile; it proves nothing."


def _signature_class(cursor: Cursor, fields: dict[str, Value]) -> int:
    number = cursor.number(1)
    fields["class"] = f"{number:02X} ({numbers.SIGNATURE_CLASSES.get(number, 'unknown')})"
    return number


def _signature(body: bytes, fields: dict[str, Value]) -> str:
    cursor = Cursor(body)
    fields["version"] = cursor.number(1)
    if fields["version"] == 3:
        return _old_signature(cursor, fields)
    if fields["version"] != 4:
        return "A signature in a form that is not known here."
    number = _signature_class(cursor, fields)
    fields["algorithm"] = numbers.name(numbers.PUBLIC_KEY, cursor.number(1))
    fields["digest"] = numbers.name(numbers.DIGESTS, cursor.number(1))
    fields["signed details"] = _details(cursor.take(cursor.number(2)))
    fields["unsigned details"] = _details(cursor.take(cursor.number(2)))
    fields["digest begins"] = cursor.take(2).hex().upper()
    return _PURPOSES.get(number, "A signature.") + " Whether it is good only gpg can tell."


def _details(area: bytes) -> tuple[str, ...]:
    return tuple(
        f"{detail.name}{' (critical)' if detail.critical else ''}: {detail.value}" for detail in subpackets.read(area)
    )


def _old_signature(cursor: Cursor, fields: dict[str, Value]) -> str:
    cursor.take(1)  # always 5, the length of what follows and is hashed
    number = _signature_class(cursor, fields)
    fields["signed at"] = numbers.date(cursor.number(4))
    fields["issuer key ID"] = cursor.take(8).hex().upper()
    fields["algorithm"] = numbers.name(numbers.PUBLIC_KEY, cursor.number(1))
    fields["digest"] = numbers.name(numbers.DIGESTS, cursor.number(1))
    return _PURPOSES.get(number, "A signature.") + " It is of the old version 3."


_PURPOSES = {
    0x00: "A signature over the data of the message, bit for bit.",
    0x01: "A signature over text, in which line ends are treated as equal.",
    0x10: "The issuer vouches that the key belongs to the user ID before it.",
    0x11: "The issuer certifies the user ID before it, without any check.",
    0x12: "The issuer certifies the user ID before it after a casual check.",
    0x13: "The issuer certifies the user ID before it; a key so binds its own user ID to itself.",
    0x18: "The primary key says that the subkey before it is its own, and what it is for.",
    0x19: "The subkey agrees to belong to the primary key.",
    0x1F: "The key says something about itself as a whole.",
    0x20: "The key is revoked: nothing that it signs later counts.",
    0x28: "The subkey before it is revoked.",
    0x30: "An earlier certification of the user ID before it is taken back.",
}


def _public_key(body: bytes, fields: dict[str, Value]) -> str:
    _require_end(_key(body, fields))
    return "The public part of a primary key; its fingerprint is the identity that everything else hangs on."


def _public_subkey(body: bytes, fields: dict[str, Value]) -> str:
    _require_end(_key(body, fields))
    return "The public part of a subkey; it counts only with the binding signature of the primary key after it."


def _secret_key(body: bytes, fields: dict[str, Value]) -> str:
    cursor = _key(body, fields)
    protection = cursor.number(1)
    fields["protected by a passphrase"] = protection != 0
    return "A secret key. This file must not be given to anyone; the secret numbers are not shown."


def _require_end(cursor: Cursor) -> None:
    if cursor:
        raise PacketError("packet-body", "More bytes follow the key's numbers, so readers differ over its fingerprint.")


def _key(body: bytes, fields: dict[str, Value]) -> Cursor:
    """Reads the public part and leaves the cursor after it."""
    cursor = Cursor(body)
    fields["version"] = cursor.number(1)
    if fields["version"] != 4:
        raise PacketError("key-version", "Only version 4 keys are understood here.")
    fields["created"] = numbers.date(cursor.number(4))
    algorithm = cursor.number(1)
    fields["algorithm"] = numbers.name(numbers.PUBLIC_KEY, algorithm)
    _key_material(cursor, algorithm, fields)
    fields["fingerprint"] = key_fingerprint(body[: cursor.at])
    return cursor


def _key_material(cursor: Cursor, algorithm: int, fields: dict[str, Value]) -> None:
    if algorithm in _MPI_COUNTS:
        fields["bits"] = cursor.mpi()
        for _ in range(_MPI_COUNTS[algorithm] - 1):
            cursor.mpi()
    elif algorithm in (18, 19, 22):
        identifier = cursor.take(cursor.number(1))
        fields["curve"], fields["bits"] = numbers.CURVES.get(identifier, (f"unknown ({identifier.hex()})", 0))
        cursor.mpi()
        if algorithm == 18:
            cursor.take(cursor.number(1))  # how the shared secret becomes a key
    elif algorithm in _FIXED_BYTES:
        cursor.take(_FIXED_BYTES[algorithm])
    else:
        raise PacketError("key-algorithm", "Its algorithm is not known here, so its fingerprint cannot be computed.")


_MPI_COUNTS = {1: 2, 2: 2, 3: 2, 16: 3, 17: 4}
"""How many numbers the public part has; the first is the one whose size names the key."""
_FIXED_BYTES = {25: 32, 26: 56, 27: 32, 28: 57}


def _compressed(
    body: bytes, fields: dict[str, Value], depth: int, allowance: _Allowance
) -> tuple[str, tuple[Explanation, ...]]:
    cursor = Cursor(body)
    algorithm = cursor.number(1)
    fields["algorithm"] = numbers.name(numbers.COMPRESSION, algorithm)
    if depth >= MAX_DEPTH:
        return f"Compressed data, more than {MAX_DEPTH} deep; it is not opened.", ()
    content = _inflated(algorithm, cursor.rest(), allowance)
    fields["inflated bytes"] = len(content)
    inside = _explain(content, depth + 1, allowance)
    return "Compressed packets, which follow. Our own messages are never compressed.", inside


def _inflated(algorithm: int, data: bytes, allowance: _Allowance) -> bytes:
    """The content, out of what is allowed for the whole file. Raises PacketError for damage, another method or more."""
    limit = allowance.inflated_bytes
    allowance.inflated_bytes = 0  # also damaged data costs what was inflated of it, which nobody tells us
    try:
        if algorithm == 0:
            content = data
        elif algorithm in (1, 2):
            content = zlib.decompressobj(-15 if algorithm == 1 else 15).decompress(data, limit + 1)
        elif algorithm == 3:
            content = bz2.BZ2Decompressor().decompress(data, limit + 1)
        else:
            allowance.inflated_bytes = limit
            raise PacketError("compression", "Its compression method is not known here.")
    except (zlib.error, OSError, EOFError, ValueError):
        raise PacketError("compression", "Its content cannot be inflated; it was damaged.") from None
    if len(content) > limit:
        raise PacketError(
            "compression",
            f"The file inflates to more than {MAX_INFLATED_BYTES} bytes, or was damaged; this was left alone.",
        )
    allowance.inflated_bytes = limit - len(content)
    return content


def _literal(body: bytes, fields: dict[str, Value]) -> str:
    cursor = Cursor(body)
    kind = cursor.take(1)
    fields["format"] = {b"b": "binary", b"t": "text", b"u": "UTF-8 text"}.get(kind, f"unknown ({kind.hex()})")
    fields["file name"] = subpackets.shown(cursor.take(cursor.number(1)))
    date = cursor.number(4)
    fields["date"] = numbers.date(date) if date else "none"
    content = cursor.rest()
    fields["bytes"] = len(content)
    fields["SHA-256"] = hashlib.sha256(content).hexdigest()
    fields["begins"] = subpackets.shown(content)
    return "The content itself. A signature covers these bytes, but neither the file name nor the date."


def _protected(body: bytes, fields: dict[str, Value]) -> str:
    fields["version"] = Cursor(body).number(1)
    return "The content, encrypted, with a check that it was not changed; what is inside only the recipients can read."


def _aead(body: bytes, fields: dict[str, Value]) -> str:
    cursor = Cursor(body)
    fields["version"] = cursor.number(1)
    fields["cipher"] = numbers.name(numbers.CIPHERS, cursor.number(1))
    fields["mode"] = numbers.name(numbers.AEAD, cursor.number(1))
    return "The content, encrypted with an authenticated cipher; what is inside only the recipients can read."


def _encrypted(_body: bytes, _fields: dict[str, Value]) -> str:
    return "The content, encrypted without any check against changes; gpg refuses such messages, and so do we."


def _user_id(body: bytes, fields: dict[str, Value]) -> str:
    fields["user ID"] = subpackets.shown(body)
    return "A name that the key's owner has given to it; it means nothing until someone trusted certifies it."


def _user_attribute(_body: bytes, _fields: dict[str, Value]) -> str:
    return "A picture or the like that the key's owner has added in place of a name."


def _marker(body: bytes, fields: dict[str, Value]) -> str:
    fields["content"] = subpackets.shown(body)
    return "A marker without any meaning, which readers skip."


def _trust(_body: bytes, _fields: dict[str, Value]) -> str:
    return "Notes of a program about its own trust; they have no place in a file that is passed on."


def _other(_body: bytes, _fields: dict[str, Value]) -> str:
    return "A packet that is not known here."


_READERS: dict[int, Callable[[bytes, dict[str, Value]], str]] = {
    1: _key_session,
    2: _signature,
    3: _password_session,
    4: _one_pass,
    5: _secret_key,
    6: _public_key,
    7: _secret_key,
    9: _encrypted,
    10: _marker,
    11: _literal,
    12: _trust,
    13: _user_id,
    14: _public_subkey,
    17: _user_attribute,
    18: _protected,
    20: _aead,
}
