"""A message reaches gpg only if it has exactly the packets that its kind must have, counted here first.

Framing is RFC 4880, sections 4.2 and 5. Nothing here decrypts or verifies; ``keyring.explain`` describes packets.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from keyring.errors import PacketError
from keyring.signature_form import require_unambiguous

__all__ = [
    "MAX_PACKETS",
    "MAX_RECIPIENTS",
    "MAX_S2K_COUNT",
    "Packet",
    "PacketError",
    "require_password_message",
    "require_sealed_message",
    "require_signed_message",
    "s2k_count",
    "split",
    "split_for_study",
]

MAX_PACKETS = 64
MAX_PACKETS_STUDIED = 4096
MAX_RECIPIENTS = 16
MAX_S2K_COUNT = 1 << 20
"""Bytes hashed to make a key from a password; a larger count would let a stranger occupy the processor."""

MIN_FIRST_PARTIAL = 512
"""RFC 4880, section 4.2.2.4: the first partial length is at least 512 bytes."""

PUBLIC_KEY_SESSION, SIGNATURE, PASSWORD_SESSION, ONE_PASS, COMPRESSED = 1, 2, 3, 4, 8
PLAIN_ENCRYPTED, MARKER, LITERAL, PROTECTED, AEAD_ENCRYPTED = 9, 10, 11, 18, 20
PARTIAL_ALLOWED = frozenset({COMPRESSED, PLAIN_ENCRYPTED, LITERAL, PROTECTED, AEAD_ENCRYPTED})


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet: its tag, the offset of its first header byte, the header's length in bytes, and the body.

    With partial lengths ``header_length`` is that of the first header and the body is joined.
    """

    tag: int
    offset: int
    header_length: int
    body: bytes
    partial: bool


def split(message: bytes) -> tuple[Packet, ...]:
    """The packets of a binary message, in order. Raises PacketError unless they are 1 to 64 complete ones."""
    if message.startswith(b"-----BEGIN PGP SIGNED"):
        raise PacketError("no-cleartext", "The message is a cleartext signature; send the binary form (gpg --sign).")
    if message.startswith(b"-----BEGIN PGP"):
        raise PacketError("binary", "The message is in ASCII armour; send the binary form (gpg without --armor).")
    return tuple(_packets(message, MAX_PACKETS))


def split_for_study(message: bytes) -> tuple[Packet, ...]:
    """As ``split``, but a compressed packet may leave its length open, and up to 4096 packets are taken.

    Only for showing what is in a file; nothing split so may be given to gpg as a message of ours.
    """
    return tuple(_packets(message, MAX_PACKETS_STUDIED, open_end=True))


def require_signed_message(message: bytes) -> None:
    """Raise PacketError unless the message is a one-pass signature, a literal, a signature, and nothing else.

    What the signature says of itself must be said once and in one way, see ``keyring.signature_form``.
    """
    packets = split(message)
    _require_tags(
        packets,
        (ONE_PASS, LITERAL, SIGNATURE),
        "a signed message is one one-pass signature, one literal, one signature",
    )
    one_pass, literal, signature = (packet.body for packet in packets)
    if len(one_pass) != 13 or one_pass[0] != 3:
        raise PacketError("one-pass-version", "The one-pass signature packet is not of version 3 and 13 bytes.")
    if one_pass[1] != 0 or one_pass[12] == 0:
        raise PacketError(
            "one-pass-class",
            "The one-pass signature does not announce one single signature over binary data.",
        )
    _require_literal(literal)
    if len(signature) < 10 or signature[0] != 4:
        raise PacketError("signature-version", "The signature packet is not of version 4.")
    if signature[1] != 0:
        raise PacketError(
            "signature-class",
            f"The signature is of class {signature[1]:02X}; over binary data it must be 00.",
        )
    require_unambiguous(one_pass, signature)


def require_sealed_message(message: bytes) -> None:
    """Raise PacketError unless the message is 1 to 16 recipients, each named once, one tag 18, and nothing else."""
    packets = split(message)
    recipients = packets[:-1]
    if not recipients or packets[-1].tag != PROTECTED or any(p.tag != PUBLIC_KEY_SESSION for p in recipients):
        tags = [packet.tag for packet in packets]
        raise _wrong_tags(
            tags,
            "a sealed message is 1 to 16 recipients (tag 1), then one integrity-protected packet (tag 18)",
        )
    if len(recipients) > MAX_RECIPIENTS:
        raise PacketError(
            "recipients",
            f"The message has {len(recipients)} recipients; at most {MAX_RECIPIENTS} are allowed.",
        )
    for packet in recipients:
        if len(packet.body) < 12 or packet.body[0] != 3:
            raise PacketError("recipient-version", f"The recipient packet at byte {packet.offset} is not of version 3.")
        if packet.body[1:9] == bytes(8):
            raise PacketError(
                "named-recipient",
                f"The recipient packet at byte {packet.offset} hides whom it is for (key ID 0).",
            )
    # gpg-agent tries its key on every packet that names it; one for each key is all that an honest sender needs.
    if len({bytes(packet.body[1:9]) for packet in recipients}) < len(recipients):
        raise PacketError("recipient-once", "The message names one recipient several times.")
    _require_protected(packets[-1])


def require_password_message(message: bytes) -> None:
    """Raise PacketError unless the message is a password packet (S2K 3, at most 1 MiB), a tag 18, nothing else."""
    packets = split(message)
    _require_tags(
        packets,
        (PASSWORD_SESSION, PROTECTED),
        "a password message is one password packet (tag 3), then one integrity-protected packet (tag 18)",
    )
    body = packets[0].body
    if not body or body[0] != 4:
        raise PacketError("password-version", "The password packet is not of version 4.")
    # 13 bytes: version, cipher, S2K type, digest, 8 bytes of salt, count. More would be an encrypted session key,
    # which one password has no need of; fewer is another kind of S2K.
    if len(body) != 13 or body[2] != 3:
        raise PacketError(
            "s2k-type",
            "The password packet does not use iterated and salted S2K (type 3) for the session key itself.",
        )
    if s2k_count(body[12]) > MAX_S2K_COUNT:
        raise PacketError(
            "s2k-count", f"The S2K count is {s2k_count(body[12])} bytes; at most {MAX_S2K_COUNT} are allowed."
        )
    _require_protected(packets[1])


def s2k_count(octet: int) -> int:
    """The number of bytes to hash that one octet stands for (RFC 4880, section 3.7.1.3)."""
    return (16 + (octet & 15)) << ((octet >> 4) + 6)


def _require_tags(packets: tuple[Packet, ...], tags: tuple[int, ...], rule: str) -> None:
    found = [packet.tag for packet in packets]
    if found != list(tags):
        raise _wrong_tags(found, rule)


def _wrong_tags(found: list[int], expected: str) -> PacketError:
    """The refusal of a wrong sequence; the commonest mistakes have names of their own, so the sender finds them."""
    if COMPRESSED in found:
        return PacketError("not-compressed", "The message is compressed; make it with gpg -z 0.")
    if MARKER in found:
        return PacketError("no-marker", "The message has a marker packet, which has no use here.")
    if found.count(SIGNATURE) > 1 or found.count(ONE_PASS) > 1:
        return PacketError("one-signature", "The message has more than one signature; sign it once.")
    shown = ", ".join(str(tag) for tag in found)
    return PacketError("packet-sequence", f"The packets have the tags {shown}, but {expected}.")


def _require_literal(body: bytes) -> None:
    if len(body) < 6 or len(body) < 6 + body[1]:
        raise PacketError("literal-header", "The literal packet ends inside its own header.")
    if body[0] != ord("b"):
        raise PacketError("literal-binary", "The literal packet is not of format 'b'; sign binary, without --textmode.")
    # gpg would write no output file for this name, and a reader would find whatever lay there before.
    if body[2 : 2 + body[1]] == b"_CONSOLE":
        raise PacketError(
            "literal-name",
            "The literal packet is named _CONSOLE, which asks gpg to keep its content from the file.",
        )


def _require_protected(packet: Packet) -> None:
    # Version, a block of random bytes with two repeated, and the 22 bytes of the modification detection code.
    if len(packet.body) < 1 + 18 + 22 or packet.body[0] != 1:
        raise PacketError(
            "protected-version",
            f"The encrypted packet at byte {packet.offset} is not of version 1 or is cut short.",
        )


def _packets(message: bytes, limit: int, *, open_end: bool = False) -> Iterator[Packet]:
    if not message:
        raise PacketError("not-empty", "There is nothing in it; it was cut short or never written.")
    offset = 0
    for _ in range(limit):
        packet, offset = _packet(message, offset, open_end)
        yield packet
        if offset == len(message):
            return
    raise PacketError("packet-count", f"The message has more than {limit} packets.")


def _packet(message: bytes, offset: int, open_end: bool) -> tuple[Packet, int]:
    """The packet at an offset, and the offset after it."""
    first = message[offset]
    if not first & 0x80:
        raise PacketError(
            "packet-header",
            f"The byte at {offset} does not begin an OpenPGP packet; nothing may come before or after.",
        )
    tag = first & 0x3F if first & 0x40 else first >> 2 & 0x0F
    if tag == 0:
        raise PacketError("packet-header", f"The packet at byte {offset} has the tag 0, which is reserved.")
    if first & 0x40:
        return _new_format(message, offset, tag)
    length_type = first & 3
    if length_type == 3 and open_end and tag in PARTIAL_ALLOWED:
        return Packet(tag, offset, 1, message[offset + 1 :], False), len(message)
    if length_type == 3:
        raise PacketError(
            "definite-length",
            f"The packet at byte {offset} does not tell its length; make it with gpg -z 0.",
        )
    start = offset + 1 + (1 << length_type)
    length = int.from_bytes(_take(message, offset + 1, 1 << length_type, offset), "big")
    return Packet(tag, offset, start - offset, _take(message, start, length, offset), False), start + length


def _new_format(message: bytes, offset: int, tag: int) -> tuple[Packet, int]:
    length, start, partial = _new_length(message, offset + 1, offset)
    header_length = start - offset
    if not partial:
        return Packet(tag, offset, header_length, _take(message, start, length, offset), False), start + length
    if tag not in PARTIAL_ALLOWED:
        raise PacketError(
            "partial-length",
            f"The packet at byte {offset} (tag {tag}) comes in pieces; only data packets may.",
        )
    if length < MIN_FIRST_PARTIAL:
        raise PacketError(
            "partial-length",
            f"The first piece of the packet at byte {offset} is shorter than {MIN_FIRST_PARTIAL} bytes.",
        )
    pieces = [_take(message, start, length, offset)]
    while partial:
        length, start, partial = _new_length(message, start + length, offset)
        pieces.append(_take(message, start, length, offset))
    return Packet(tag, offset, header_length, b"".join(pieces), True), start + length


def _new_length(message: bytes, at: int, offset: int) -> tuple[int, int, bool]:
    """Length, offset of what follows it, and whether another piece comes after (RFC 4880, section 4.2.2)."""
    first = _take(message, at, 1, offset)[0]
    if first < 192:
        return first, at + 1, False
    if first < 224:
        return ((first - 192) << 8) + _take(message, at + 1, 1, offset)[0] + 192, at + 2, False
    if first < 255:
        return 1 << (first & 0x1F), at + 1, True
    return int.from_bytes(_take(message, at + 1, 4, offset), "big"), at + 5, False


def _take(message: bytes, start: int, length: int, offset: int) -> bytes:
    if start + length > len(message):
        raise PacketError(
            "complete", f"The message ends inside the packet that begins at byte {offset}; it was cut short."
        )
    return message[start : start + length]
