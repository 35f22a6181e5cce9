"""Encrypted messages that are wrong in one way each: trials 27 and 28, at the doors of the opening and the password."""

import hashlib
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from tests.hostile.case import ANY
from tests.hostile.forge import LITERAL, endless_packet, literal, old_packet, packet, partial_packet
from tests.hostile.sealing import (
    AEAD,
    AES128,
    AES192,
    AES256,
    BLOWFISH,
    CAMELLIA256,
    CAST5,
    CONTENT,
    COUNT,
    PKESK,
    PLAIN,
    PROTECTED,
    SKESK,
    TRIPLE_DES,
    Envelope,
    ToKey,
    UnderPassword,
    encrypted,
    inside,
    prefix,
    protected,
    sealed,
    unprotected,
)
from tests.hostile.structures import compressed, nested

COMPRESSED, MARKER, UNKNOWN, UNKNOWN_CRITICAL = 8, 10, 41, 30
FILLER = CONTENT + b" " * 700


@dataclass(frozen=True)
class Mail:
    """What a sender has: the receiver's key, the password that was agreed, another's key, and somebody who signs."""

    key: ToKey
    password: UnderPassword
    stranger: ToKey
    signed: bytes
    """A signed message, whole."""


@dataclass(frozen=True)
class EnvelopeCase:
    """As ``Case``, for what is encrypted; ``door`` is "sealed" or "password"."""

    trial: int
    name: str
    rule: str | None
    make: Callable[[Mail], bytes]
    door: str
    sequoia: str = ""

    def __str__(self) -> str:
        return f"{self.door}-{self.name.replace(' ', '-')}"


BARE = "Sequoia gives out what is not encrypted at all"
BOTH = "Sequoia opens what is signed as well; ours are one or the other"
CUT = "gpg gives out what was inflated before the end is missing; the whole is as its sender made it"
LOOSER = "Sequoia takes what the standard lets pass; a message of ours has its packets and no more"
INNER = "Sequoia unpacks what it finds"
Make = Callable[[Envelope], bytes]


def changed(envelope: Envelope, change: Callable[[bytes], bytes], data: bytes | None = None) -> bytes:
    """An honest message whose encrypted body is changed on the way."""
    start, key = envelope.begin()
    return start + packet(PROTECTED, change(protected(AES256, key, inside() if data is None else data)))


def coded(envelope: Envelope, code: Callable[[bytes], bytes], data: bytes | None = None) -> bytes:
    """A message with another modification detection code, made by who knows the session key."""
    start, key = envelope.begin()
    plain = prefix(AES256, key) + (inside() if data is None else data)
    return start + packet(PROTECTED, b"\x01" + encrypted(AES256, key, plain + code(plain)))


def flipped(place: int) -> Callable[[bytes], bytes]:
    return lambda body: body[:place] + bytes([body[place] ^ 1]) + body[place:][1:]


def gadget(body: bytes) -> bytes:
    """A block of ciphertext put in twice, so that what the attacker knows stands where he wants it."""
    return body[:33] + body[17:33] + body[33:]


def downgraded(envelope: Envelope) -> bytes:
    """The same ciphertext as a packet without integrity protection."""
    start, key = envelope.begin()
    return start + packet(PLAIN, protected(AES256, key, inside())[1:])


def plainly(envelope: Envelope) -> bytes:
    start, key = envelope.begin()
    return start + packet(PLAIN, unprotected(AES256, key, inside()))


def authenticated(envelope: Envelope, tag: int, version: int) -> bytes:
    """A packet of the newer kinds; nobody gets as far as what is in it."""
    start, _ = envelope.begin()
    return start + packet(tag, bytes([version, 9, 2, 6]) + os.urandom(80))


def with_version(version: int) -> Make:
    return lambda envelope: changed(envelope, lambda body: bytes([version]) + body[1:])


def sha1_of(plain: bytes) -> bytes:
    return hashlib.sha1(plain + b"\xd3\x14").digest()  # noqa: S324 - RFC 4880, section 5.14


GARBLED = ANY  # behind what was changed, random bytes are read as packets
BROKEN = "no-failure|decrypted|integrity|one-plaintext"
# (trial, name, rule, make, why Sequoia accepts it)
COMMON: tuple[tuple[int, str, str | None, Make, str], ...] = (
    (28, "honest", None, sealed, ""),
    (28, "honest with AES-128", None, lambda e: sealed(e, cipher=AES128), ""),
    (28, "honest with AES-192", None, lambda e: sealed(e, cipher=AES192), ""),
    (28, "honest in two pieces", None, lambda e: in_pieces(e), ""),
    (28, "honest with an old header", None, lambda e: with_old_header(e), ""),
    (28, "integrity stripped", "packet-sequence", downgraded, ""),
    (28, "without integrity", "packet-sequence", plainly, ""),
    (28, "code cut off", BROKEN, lambda e: changed(e, lambda body: body[:-22], inside(FILLER)), ""),
    (
        28,
        "code cut off a short one",
        "protected-version",
        lambda e: changed(e, lambda body: body[:-22], inside(b"")),
        "",
    ),
    (28, "code changed", BROKEN, lambda e: changed(e, flipped(-1)), ""),
    (28, "code of zeros", BROKEN, lambda e: coded(e, lambda plain: b"\xd3\x14" + bytes(20)), ""),
    (28, "code in an unknown packet", BROKEN, lambda e: coded(e, lambda plain: b"\xd4\x14" + sha1_of(plain)), ""),
    (28, "code that tells another length", BROKEN, lambda e: coded(e, lambda plain: b"\xd3\x15" + sha1_of(plain)), ""),
    (28, "code missing within", BROKEN, lambda e: coded(e, lambda plain: b"", inside(FILLER)), ""),
    (28, "prefix changed", GARBLED, lambda e: changed(e, flipped(3)), ""),
    (28, "repeated bytes changed", GARBLED, lambda e: changed(e, flipped(17)), ""),
    (28, "header changed", GARBLED, lambda e: changed(e, flipped(19)), ""),
    (28, "content changed", GARBLED, lambda e: changed(e, flipped(-30)), ""),
    (28, "block put in twice", GARBLED, lambda e: changed(e, gadget, inside(FILLER)), ""),
    (28, "block left out", GARBLED, lambda e: changed(e, lambda body: body[:33] + body[49:], inside(FILLER)), ""),
    (
        28,
        "bytes before the code left out",
        GARBLED,
        lambda e: changed(e, lambda body: body[:-40] + body[-22:], inside(FILLER)),
        "",
    ),
    (28, "bytes behind the code", BROKEN, lambda e: changed(e, lambda body: body + b"\0"), ""),
    (28, "cut in the middle", "complete", lambda e: sealed(e)[:-20], ""),
    (28, "version 0", "protected-version", with_version(0), ""),
    (28, "version 2", "protected-version", with_version(2), ""),
    (28, "version 3", "protected-version", with_version(3), ""),
    (28, "AEAD packet", "packet-sequence", lambda e: authenticated(e, AEAD, 1), ""),
    (28, "AEAD in version 2", "protected-version", lambda e: authenticated(e, PROTECTED, 2), ""),
    (28, "3DES", "strong-cipher", lambda e: sealed(e, cipher=TRIPLE_DES), ""),
    (28, "CAST5", "strong-cipher", lambda e: sealed(e, cipher=CAST5), ""),
    (28, "Blowfish", "strong-cipher", lambda e: sealed(e, cipher=BLOWFISH), ""),
    (28, "Camellia", "strong-cipher", lambda e: sealed(e, cipher=CAMELLIA256), LOOSER),
    (27, "bare literal", "packet-sequence", lambda e: inside(), BARE),
    (
        27,
        "encrypted part only",
        "packet-sequence",
        lambda e: packet(PROTECTED, protected(AES256, e.begin()[1], inside())),
        "",
    ),
    (27, "no encrypted part", "packet-sequence", lambda e: e.begin()[0], ""),
    (27, "nothing at all", "not-empty", lambda e: b"", ""),
    (27, "two messages", "packet-sequence", lambda e: sealed(e) + sealed(e), ""),
    (27, "literal behind", "packet-sequence", lambda e: sealed(e) + inside(), ""),
    (27, "literal before", "packet-sequence", lambda e: inside() + sealed(e), ""),
    (27, "marker before", "no-marker", lambda e: packet(MARKER, b"PGP") + sealed(e), LOOSER),
    (27, "unknown packet behind", "packet-sequence", lambda e: sealed(e) + packet(UNKNOWN, b"x"), LOOSER),
    (27, "unknown critical packet behind", "packet-sequence", lambda e: sealed(e) + packet(UNKNOWN_CRITICAL, b"x"), ""),
    (27, "one byte behind", "packet-header", lambda e: sealed(e) + b"\0", ""),
    (27, "within a compressed packet", "not-compressed", lambda e: compressed(sealed(e)), INNER),
    (27, "nothing within", "no-failure|one-plaintext|content-inside", lambda e: sealed(e, b""), ""),
    (27, "two contents within", "one-plaintext|no-failure", lambda e: sealed(e, inside() + inside()), ""),
    (27, "content and junk within", BROKEN, lambda e: sealed(e, inside() + b"\0\0"), ""),
    (27, "content and marker within", None, lambda e: sealed(e, inside() + packet(MARKER, b"PGP")), ""),
    (27, "marker and content within", None, lambda e: sealed(e, packet(MARKER, b"PGP") + inside()), ""),
    (27, "content and unknown packet within", None, lambda e: sealed(e, inside() + packet(UNKNOWN, b"x")), ""),
    (27, "content without length within", None, lambda e: sealed(e, endless_packet(LITERAL, literal(CONTENT))), ""),
    (27, "compressed within", None, lambda e: sealed(e, compressed(inside())), ""),
    (27, "64 deep within", BROKEN, lambda e: sealed(e, nested(inside(), 64)), ""),
    (
        27,
        "compressed bomb within",
        "content-size",
        lambda e: sealed(e, compressed(inside(bytes(8 * 1024 * 1024)))),
        INNER,
    ),
    (
        27,
        "compressed and cut within",
        None,
        lambda e: sealed(e, packet(COMPRESSED, b"\x02" + zlib.compress(inside())[:-6])),
        CUT,
    ),
    (
        27,
        "named _CONSOLE",
        "saved-plaintext",
        lambda e: sealed(e, packet(LITERAL, literal(CONTENT, name=b"_CONSOLE"))),
        LOOSER,
    ),
    (27, "text within", None, lambda e: sealed(e, packet(LITERAL, literal(CONTENT, form=b"t"))), ""),
)


def in_pieces(envelope: Envelope) -> bytes:
    start, key = envelope.begin()
    return start + partial_packet(PROTECTED, protected(AES256, key, inside(FILLER)))


def with_old_header(envelope: Envelope) -> bytes:
    """Of the first packet; there is none for the encrypted part."""
    start, key = envelope.begin()
    return old_packet(start[0] & 0x3F, start[2:]) + packet(PROTECTED, protected(AES256, key, inside()))


def of(door: str, pick: Callable[[Mail], Envelope]) -> tuple[EnvelopeCase, ...]:
    def bound(make: Make) -> Callable[[Mail], bytes]:
        return lambda mail: make(pick(mail))

    return tuple(EnvelopeCase(trial, name, rule, bound(make), door, why) for trial, name, rule, make, why in COMMON)


def recipients(count: int, mail: Mail) -> bytes:
    """So many strangers, each of whom has a key ID of his own."""
    found = [bytearray(mail.stranger.begin()[0]) for _ in range(count)]
    for place, packet_ in enumerate(found):
        packet_[10] ^= place  # the last byte of the key ID: two of header, one of version, eight of key ID
    return b"".join(found)


def to_key(
    mail: Mail, *, key_id: bytes | None = None, version: int = 3, said: Callable[[bytes], bytes] | None = None
) -> bytes:
    """A sealed message whose recipient packet says something else."""
    key = os.urandom(32)
    plain = b"\x09" + key + (sum(key) % 65536).to_bytes(2)
    body = mail.key.body(said(plain) if said else plain, key_id=key_id, version=version)
    return packet(PKESK, body) + packet(PROTECTED, protected(AES256, key, inside()))


SEALED = (
    *of("sealed", lambda mail: mail.key),
    *(
        EnvelopeCase(trial, name, rule, make, "sealed", why)
        for trial, name, rule, make, why in (
            (27, "honest to two", None, lambda m: recipients(1, m) + sealed(m.key), ""),
            (27, "honest to sixteen", None, lambda m: recipients(15, m) + sealed(m.key), ""),
            (27, "to seventeen", "recipients", lambda m: recipients(16, m) + sealed(m.key), LOOSER),
            (27, "to seventy", "packet-count", lambda m: recipients(70, m) + sealed(m.key), LOOSER),
            (27, "to another", "opened-by-key", lambda m: sealed(m.stranger), ""),
            (27, "the bank's key twice", "recipient-once", lambda m: m.key.begin()[0] + sealed(m.key), ""),
            (27, "hidden recipient", "named-recipient", lambda m: to_key(m, key_id=bytes(8)), LOOSER),
            (
                27,
                "recipient that nobody is",
                "opened-by-key",
                lambda m: to_key(m, key_id=b"\x12" * 8),
                "Sequoia tries its key on every recipient",
            ),
            (27, "recipient of version 2", "recipient-version", lambda m: to_key(m, version=2), ""),
            (27, "recipient of version 6", "recipient-version", lambda m: to_key(m, version=6), ""),
            (27, "recipient without body", "recipient-version", lambda m: packet(PKESK, b"\x03") + sealed(m.key), ""),
            (
                28,
                "session key with a wrong sum",
                "opened-by-key|decrypted",
                lambda m: to_key(m, said=lambda p: p[:-1] + bytes([p[-1] ^ 1])),
                "",
            ),
            (
                28,
                "session key of no cipher",
                "opened-by-key|decrypted|no-failure",
                lambda m: to_key(m, said=lambda p: b"\0" + p[1:]),
                "",
            ),
            (
                28,
                "session key of another cipher",
                "opened-by-key|decrypted|no-failure",
                lambda m: to_key(m, said=lambda p: b"\x07" + p[1:]),
                "",
            ),
            (
                28,
                "session key cut",
                "opened-by-key|decrypted|no-failure",
                lambda m: to_key(m, said=lambda p: p[:9]),
                "",
            ),
            (27, "under a password", "packet-sequence", lambda m: sealed(m.password), ""),
            (27, "key and password", "packet-sequence", lambda m: m.key.begin()[0] + sealed(m.password), ""),
            (27, "password and key", "packet-sequence", lambda m: m.password.begin()[0] + sealed(m.key), LOOSER),
            (27, "encrypted again within", "opened-by-key", lambda m: sealed(m.key, sealed(m.key)), ""),
            (27, "signed within", "not-signed", lambda m: sealed(m.key, m.signed), BOTH),
            (27, "signed without", "packet-sequence", lambda m: m.signed, BARE),
        )
    ),
)


def stretched(mail: Mail, body: bytes, key: bytes) -> bytes:
    return packet(SKESK, body) + packet(PROTECTED, protected(AES256, key, inside()))


def with_session_key(mail: Mail) -> bytes:
    """The password opens a session key, which opens the rest (section 5.3)."""
    salt, key = os.urandom(8), os.urandom(32)
    wrapped = encrypted(AES256, mail.password.key(salt), b"\x09" + key)
    return stretched(mail, bytes([4, AES256, 3, 8]) + salt + bytes([COUNT]) + wrapped, key)


def many_rounds(mail: Mail, octet: int, count: int) -> bytes:
    salt = os.urandom(8)
    return stretched(mail, bytes([4, AES256, 3, 8]) + salt + bytes([octet]), mail.password.key(salt, count=count))


def simply(mail: Mail) -> bytes:
    return stretched(mail, bytes([4, AES256, 0, 8]), mail.password.key(b"", count=0))


def salted(mail: Mail) -> bytes:
    salt = os.urandom(8)
    return stretched(mail, bytes([4, AES256, 1, 8]) + salt, mail.password.key(salt, count=0))


def with_digest(mail: Mail, number: int, name: str) -> bytes:
    salt = os.urandom(8)
    return stretched(mail, bytes([4, AES256, 3, number]) + salt + bytes([COUNT]), mail.password.key(salt, digest=name))


PASSWORD = (
    *of("password", lambda mail: mail.password),
    *(
        EnvelopeCase(27, name, rule, make, "password", why)
        for name, rule, make, why in (
            ("honest with a mebibyte of rounds", None, lambda m: many_rounds(m, 160, 1 << 20), ""),
            ("more rounds", "s2k-count", lambda m: many_rounds(m, 161, 17 << 16), LOOSER),
            ("to the receiver's key", "packet-sequence", lambda m: sealed(m.key), ""),
            ("another password", GARBLED, lambda m: sealed(UnderPassword(b"another")), ""),
            (
                "another password and a key",
                "packet-sequence",
                lambda m: m.key.begin()[0] + sealed(UnderPassword(b"x")),
                "",
            ),
            ("password and key", "packet-sequence", lambda m: m.key.begin()[0] + sealed(m.password), LOOSER),
            ("key and password", "packet-sequence", lambda m: m.password.begin()[0] + sealed(m.key), ""),
            ("two passwords", "packet-sequence", lambda m: UnderPassword(b"x").begin()[0] + sealed(m.password), LOOSER),
            ("simple stretching", "s2k-type", simply, LOOSER),
            ("salted stretching", "s2k-type", salted, LOOSER),
            ("reserved stretching", "s2k-type", lambda m: stretched(m, bytes([4, 9, 2, 8]) + bytes(9), bytes(32)), ""),
            ("GNU stretching", "s2k-type", lambda m: stretched(m, bytes([4, 9, 101, 8]) + b"GNU\x01", bytes(32)), ""),
            ("session key of its own", "s2k-type", with_session_key, LOOSER),
            (
                "password packet of version 5",
                "password-version",
                lambda m: stretched(m, bytes([5, 9, 3, 8]) + bytes(8) + b"\x60", bytes(32)),
                "",
            ),
            (
                "password packet of version 23",
                "password-version",
                lambda m: stretched(m, bytes([23, 9, 3, 8]) + bytes(8) + b"\x60", bytes(32)),
                "",
            ),
            ("password packet cut", "s2k-type", lambda m: stretched(m, bytes([4, 9, 3, 8]) + bytes(7), bytes(32)), ""),
            ("honest stretched by MD5", None, lambda m: with_digest(m, 1, "md5"), ""),
            ("honest stretched by SHA-1", None, lambda m: with_digest(m, 2, "sha1"), ""),
            ("honest stretched by SHA-512", None, lambda m: with_digest(m, 10, "sha512"), ""),
            ("encrypted again within", "opened-by-password", lambda m: sealed(m.password, sealed(m.password)), INNER),
            ("signed within", "not-signed", lambda m: sealed(m.password, m.signed), BOTH),
            ("signed without", "packet-sequence", lambda m: m.signed, BARE),
        )
    ),
)
ENVELOPES = (*SEALED, *PASSWORD)
