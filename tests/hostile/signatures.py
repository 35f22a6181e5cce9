"""Signatures that are wrong in one way each, inside messages that are built as they must be: trials 26, 29, 30, 31."""

from collections.abc import Callable

from tests.hostile.case import BANK, Case
from tests.hostile.cast import ORDER, Cast
from tests.hostile.forge import (
    DAY,
    DIGESTS,
    MD5,
    RIPEMD160,
    SHA1,
    SHA3_256,
    SHA224,
    SHA256,
    SHA384,
    SHA512,
    Message,
    created,
    issuer,
    issuer_fingerprint,
    lasting,
    literal,
    notation,
    one_pass,
    over_key,
    over_user_id,
    signature,
    signed,
    sub,
)

Make = Callable[[Cast], bytes]
UNKNOWN_SUBPACKET = 107  # in the range for private use
LATER = "Sequoia does not ask the authority, which certified the key before this subkey was there"
AMBIGUOUS = "Sequoia chooses one of two readings, gpg may choose the other; ours have one"
LINES = "a text signature leaves line ends open; ours are over bytes"
UNSIGNED = "Sequoia passes over what is not signed; in ours there is none, since anybody could have added it"
NO_AUTHORITY = "Sequoia was not told of an authority"


def with_value(numbers: bytes) -> Make:
    return lambda cast: cast.from_alice(value=lambda _: numbers).join()


def by_person(name: str, *, ago: int = 60) -> Make:
    return lambda cast: cast.said_by(name, ago=ago).join()


def with_digest(digest: int) -> Make:
    return lambda cast: cast.from_alice(digest=digest).join()


def of_class(kind: int, announced: int) -> Make:
    """A signature of another class that is honest in all else, behind a one-pass packet that announces this one."""
    return lambda cast: cast.from_alice(kind=kind)._replace(one_pass=one_pass(cast.alice, kind=announced)).join()


def changed_content(cast: Cast) -> bytes:
    return cast.from_alice()._replace(literal=literal(ORDER.replace(b"25.00", b"99.00"))).join()


def own_certification(cast: Cast, kind: int) -> bytes:
    """What Alice signed when she made her key, as if it were a document."""
    content = over_key(cast.alice) + over_user_id(b"Alice (1001)")
    made = signature(cast.alice, 0x13, content, at=cast.now)
    return Message(one_pass(cast.alice), literal(content), made[:1] + bytes([kind]) + made[2:]).join()


def own(cast: Cast) -> bytes:
    return issuer_fingerprint(cast.alice.fingerprint)


HONEST = (
    Case(26, "honest order", None, lambda c: c.from_alice().join()),
    Case(26, "honest order of another customer", None, lambda c: c.said_by("bob").join(), by="bob", home="crowd"),
    Case(26, "honest head of the bank", None, lambda c: signed(c.heads, ORDER, at=c.now).join(), by=BANK, home="bank"),
    Case(26, "honest with SHA-384", None, lambda c: c.from_alice(digest=SHA384).join()),
    Case(26, "honest with SHA-512", None, lambda c: c.from_alice(digest=SHA512).join()),
    Case(26, "honest and lasting a year", None, lambda c: c.from_alice(hashed=lasting(365 * DAY)).join()),
    Case(26, "honest by a clock two minutes ahead", None, lambda c: c.from_alice(ago=-120).join()),
    Case(
        26, "honest with an unknown subpacket", None, lambda c: c.from_alice(hashed=sub(UNKNOWN_SUBPACKET, b"x")).join()
    ),
    Case(
        26,
        "honest with an unknown notation",
        None,
        lambda c: c.from_alice(hashed=notation(b"a@b.example", b"c")).join(),
    ),
    Case(30, "honest with the issuer signed", None, lambda c: c.from_alice(hashed=issuer(c.alice.fingerprint)).join()),
)

TIMES = (
    Case(
        26,
        "signature expired",
        "signature-not-expired",
        lambda c: c.from_alice(ago=2 * DAY, hashed=lasting(DAY)).join(),
    ),
    Case(26, "signature older than its key", "checkable|undamaged", lambda c: c.from_alice(ago=200 * DAY).join()),
    Case(26, "signature from the future", "signature-not-early", lambda c: c.from_alice(ago=-DAY).join()),
    Case(26, "without a time", "single-times", lambda c: c.from_alice(fields=own(c)).join()),
    Case(
        26,
        "time that is not signed",
        "unsigned-fields",
        lambda c: c.from_alice(fields=own(c), unhashed=created(c.now - 60)).join(),
    ),
    Case(
        26,
        "two times, the later in the future",
        "single-times",
        lambda c: c.from_alice(hashed=created(c.now + DAY)).join(),
    ),
    Case(
        26,
        "two times, the first in the future",
        "single-times",
        lambda c: c.from_alice(fields=own(c) + created(c.now + DAY) + created(c.now - 60)).join(),
        sequoia=AMBIGUOUS,
    ),
    Case(26, "key expired", "key-not-expired", lambda c: c.said_by("expired").join(), by="expired", home="crowd"),
    Case(
        26,
        "key expired since",
        "key-not-expired",
        lambda c: c.said_by("expired", ago=50 * DAY).join(),
        by="expired",
        home="crowd",
        sequoia="Sequoia asks whether the key was good when the signature says it was made; our order is of today",
    ),
    Case(26, "key revoked", "key-not-revoked", lambda c: c.said_by("revoked").join(), by="revoked", home="crowd"),
    Case(
        26,
        "key revoked since",
        "key-not-revoked",
        lambda c: c.said_by("revoked", ago=50 * DAY).join(),
        by="revoked",
        home="crowd",
    ),
)

CERTIFICATIONS = tuple(
    Case(26, f"certification {what}", "trust", by_person(who), who, "crowd", NO_AUTHORITY)
    for what, who in (
        ("missing", "stranger"),
        ("expired", "lapsed"),
        ("revoked", "withdrawn"),
        ("with SHA-1", "weakly"),
        ("by another authority", "rivals"),
    )
)

SUBKEYS = (
    Case(26, "subkey added later", "signing-key", lambda c: signed(c.late, ORDER, at=c.now).join(), sequoia=LATER),
    Case(26, "subkey for encryption only", "checkable", lambda c: signed(c.vault, ORDER, at=c.now).join()),
    Case(
        26,
        "key for certifying only",
        "checkable",
        lambda c: c.said_by("certifier").join(),
        by="certifier",
        home="crowd",
    ),
    Case(
        26,
        "subkey that never agreed",
        "checkable|signing-key",
        lambda c: signed(c.unbacked, ORDER, at=c.now).join(),
        by=BANK,
        home="bank",
    ),
    Case(
        30,
        "bank's primary key in place of its subkey",
        "signing-key",
        lambda c: c.said_by("bank").join(),
        by=BANK,
        home="bank",
        sequoia="for Sequoia one signing key of the bank is as good as another",
    ),
)

DIGEST_CASES = tuple(
    Case(26, f"digest {DIGESTS[digest][0]}", rule, with_digest(digest), sequoia=why)
    for digest, rule, why in (
        (SHA1, "checkable|undamaged", ""),
        (MD5, "checkable|undamaged", ""),
        (RIPEMD160, "strong-digest", ""),
        (SHA224, "strong-digest", "Sequoia's policy takes SHA-224; ours begins at SHA-256"),
        (SHA3_256, "checkable|undamaged", ""),
    )
)

UNKNOWN = (
    Case(
        26,
        "critical unknown subpacket",
        "undamaged|checkable",
        lambda c: c.from_alice(hashed=sub(UNKNOWN_SUBPACKET, b"x", critical=True)).join(),
    ),
    Case(
        26,
        "critical unknown notation",
        "undamaged|checkable",
        lambda c: c.from_alice(hashed=notation(b"a@b.example", b"c", critical=True)).join(),
    ),
    Case(
        26,
        "unknown subpacket that is not signed",
        "unsigned-fields",
        lambda c: c.from_alice(unhashed=sub(UNKNOWN_SUBPACKET, b"x")).join(),
        sequoia=UNSIGNED,
    ),
    Case(
        26,
        "critical unknown subpacket that is not signed",
        "unsigned-fields",
        lambda c: c.from_alice(unhashed=sub(UNKNOWN_SUBPACKET, b"x", critical=True)).join(),
        sequoia=UNSIGNED,
    ),
    Case(
        26,
        "critical unknown notation that is not signed",
        "unsigned-fields",
        lambda c: c.from_alice(unhashed=notation(b"a@b.example", b"c", critical=True)).join(),
        sequoia=UNSIGNED,
    ),
    Case(
        26,
        "end that is not signed",
        "unsigned-fields",
        lambda c: c.from_alice(unhashed=lasting(DAY)).join(),
        sequoia=UNSIGNED,
    ),
    Case(
        26,
        "two ends",
        "single-times",
        lambda c: c.from_alice(ago=2 * DAY, hashed=lasting(DAY) + lasting(365 * DAY)).join(),
        sequoia=AMBIGUOUS,
    ),
)


VALUES = (
    Case(26, "content changed", "undamaged", changed_content),
    Case(26, "number zero", "undamaged|checkable|no-failure", with_value(b"\x00\x00")),
    Case(26, "number one", "undamaged|checkable", with_value(b"\x00\x01\x01")),
    Case(
        26,
        "number larger than the modulus",
        "undamaged|checkable",
        with_value(b"\x0c\x01" + b"\x01" + b"\xff" * 384),
    ),
    Case(
        26,
        "number cut",
        "signature-numbers",
        lambda c: c.from_alice()._replace(signature=c.from_alice().signature[:-9]).join(),
    ),
    Case(
        26,
        "bytes behind the padded digest",
        "undamaged",
        lambda c: c.from_alice(
            value=lambda d: _number(c.alice.raw(bytes.fromhex(DIGESTS[SHA256][1]) + d, after=b"\x00" * 16))
        ).join(),
    ),
    Case(
        26,
        "padded digest of another algorithm",
        "undamaged",
        lambda c: c.from_alice(value=lambda d: _number(c.alice.raw(bytes.fromhex(DIGESTS[SHA3_256][1]) + d))).join(),
    ),
    Case(
        26,
        "digest without its name",
        "undamaged",
        lambda c: c.from_alice(value=lambda d: _number(c.alice.raw(d))).join(),
    ),
    Case(26, "first bytes of the digest wrong", None, lambda c: c.from_alice(prefix=b"\x00\x00").join()),
    Case(
        26,
        "number behind a zero byte",
        "signature-numbers",
        lambda c: c.from_alice(value=lambda d: _padded(c, d)).join(),
    ),
    Case(
        26,
        "bytes behind the number",
        "signature-numbers",
        lambda c: c.from_alice(value=lambda d: c.alice.value(SHA256, d) + b"\x00\x08\xff").join(),
        sequoia=UNSIGNED,
    ),
    Case(30, "certification in place of a document", "signature-class", lambda c: own_certification(c, 0x13)),
    Case(30, "certification as a document", "undamaged", lambda c: own_certification(c, 0x00)),
    *(
        Case(
            30,
            f"signature class {kind:02X}",
            "one-pass-class",
            of_class(kind, kind),
            sequoia=LINES if kind == 1 else "",
        )
        for kind in (0x01, 0x02, 0x10, 0x18, 0x19, 0x1F, 0x40, 0x50)
    ),
    *(
        Case(30, f"signature class {kind:02X} announced as 00", "signature-class", of_class(kind, 0))
        for kind in (0x01, 0x02, 0x40)
    ),
)


def _number(number: int) -> bytes:
    return number.bit_length().to_bytes(2) + number.to_bytes((number.bit_length() + 7) // 8)


def _padded(cast: Cast, digested: bytes) -> bytes:
    """The number with a zero byte before it, counted in its length."""
    plain = cast.alice.value(SHA256, digested)[2:]
    return (8 * len(plain) + 8).to_bytes(2) + b"\x00" + plain


SIGNATURES = (
    *HONEST,
    *TIMES,
    *CERTIFICATIONS,
    *SUBKEYS,
    *DIGEST_CASES,
    *UNKNOWN,
    *VALUES,
)
