"""Messages that are not built as a signed message must be, though every signature in them is good: trial 27."""

import base64
import bz2
import zlib
from collections.abc import Callable

from tests.hostile.case import Case
from tests.hostile.cast import ORDER, Cast
from tests.hostile.forge import (
    LITERAL,
    ONE_PASS,
    SIGNATURE,
    Message,
    endless_packet,
    literal,
    long_packet,
    old_packet,
    one_pass,
    packet,
    partial_packet,
    signed,
)

BEFORE, END = "before", "at the end"
COMPRESSED, MARKER, TRUST, ATTRIBUTE, MDC, PADDING = 8, 10, 12, 17, 19, 21
PRIVATE, UNKNOWN, UNKNOWN_CRITICAL = 60, 41, 30
BOMB_BYTES = 4 * 1024 * 1024
LONG = ORDER + b" " * 700

LOOSER = "Sequoia takes what the standard lets pass; a message of ours has its three packets and no more"
INNER = "Sequoia unpacks what it finds"

Pieces = Callable[[bytes, bytes, bytes], bytes]


def pieces(put: Pieces) -> Callable[[Cast], bytes]:
    """The three packets of an honest order, put together in another way."""
    return lambda cast: put(*cast.from_alice().packets)


def bodies(**changes: Callable[[bytes], bytes]) -> Callable[[Cast], bytes]:
    """An honest order with the bodies of some packets changed."""

    def make(cast: Cast) -> bytes:
        made = cast.from_alice()
        return made._replace(**{name: change(getattr(made, name)) for name, change in changes.items()}).join()

    return make


def compressed(content: bytes, method: int = 2) -> bytes:
    """A compressed packet: stored, raw deflate, zlib or bzip2."""
    made = (content, zlib.compress(content)[2:-4], zlib.compress(content), bz2.compress(content))[method]
    return packet(COMPRESSED, bytes([method]) + made)


def whole_compressed(method: int) -> Callable[[Cast], bytes]:
    return lambda cast: compressed(cast.from_alice().join(), method)


def nested(content: bytes, depth: int) -> bytes:
    for _ in range(depth):
        content = packet(COMPRESSED, b"\x00" + content)
    return content


def two_signers(cast: Cast) -> bytes:
    """One-pass packets stand like brackets around the content: the first announced is the last to sign."""
    alice, bob = cast.from_alice(), cast.said_by("bob")
    inner = packet(ONE_PASS, one_pass(cast.alice)) + alice.packets[1] + alice.packets[2]
    return packet(ONE_PASS, one_pass(cast.bob, last=0)) + inner + bob.packets[2]


def twice_by_alice(cast: Cast) -> bytes:
    made, again = cast.from_alice(), cast.from_alice()
    return packet(ONE_PASS, one_pass(cast.alice, last=0)) + made.join() + again.packets[2]


def signed_within_signed(cast: Cast) -> bytes:
    return signed(cast.alice, cast.said_by("bob").join(), at=cast.now).join()


def around_a_message(cast: Cast) -> bytes:
    """Alice's signature over Bob's message as packets, without a literal of its own."""
    inner = cast.said_by("bob").join()
    made = signed(cast.alice, inner, at=cast.now)
    return made.packets[0] + inner + made.packets[2]


def armoured(cast: Cast, kind: str = "MESSAGE") -> bytes:
    text = base64.b64encode(cast.from_alice().join())
    return f"-----BEGIN PGP {kind}-----\n\n".encode() + text + f"\n-----END PGP {kind}-----\n".encode()


def cleartext(cast: Cast) -> bytes:
    """RFC 4880, section 7; the line end before the signature is not signed."""
    made = cast.from_alice(ORDER, kind=1).packets[2]
    signature = b"-----BEGIN PGP SIGNATURE-----\n\n" + base64.b64encode(made) + b"\n-----END PGP SIGNATURE-----\n"
    return b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n" + ORDER + b"\n" + signature


def other_format(form: bytes) -> Callable[[Cast], bytes]:
    return bodies(literal=lambda body: form + body[1:])


def long_order(cast: Cast) -> Message:
    return cast.from_alice(LONG)


def other_algorithm(number: int) -> Callable[[Cast], bytes]:
    """One-pass packet and signature both speak of another algorithm than the one that made the number."""
    return bodies(one_pass=lambda body: _replaced(body, 3, number), signature=lambda body: _replaced(body, 2, number))


def of_version(name: str, number: int) -> Callable[[Cast], bytes]:
    return bodies(**{name: lambda body: _replaced(body, 0, number)})


def with_literal(form: Callable[[int, bytes], bytes]) -> Callable[[Cast], bytes]:
    """The content's packet with another header."""

    def make(cast: Cast) -> bytes:
        made = cast.from_alice()
        return made.packets[0] + form(LITERAL, made.literal) + made.packets[2]

    return make


def _replaced(body: bytes, place: int, octet: int) -> bytes:
    return body[:place] + bytes([octet]) + body[place + 1 :]


FORMS = (
    Case(27, "honest with old headers", None, lambda c: c.from_alice().join(old_packet)),
    Case(27, "honest with long lengths", None, lambda c: c.from_alice().join(long_packet)),
    Case(
        27,
        "honest with the content in two pieces",
        None,
        lambda c: long_order(c).packets[0] + partial_packet(LITERAL, long_order(c).literal) + long_order(c).packets[2],
    ),
)

SEQUENCES = tuple(
    Case(27, name, rule, make, home=home, sequoia=why)
    for name, rule, make, home, why in (
        ("two signers", "one-signature", two_signers, "crowd", LOOSER),
        ("signed twice", "one-signature", twice_by_alice, "alice", LOOSER),
        ("two messages", "one-signature", pieces(lambda o, li, s: (o + li + s) * 2), "alice", ""),
        ("order of the brackets wrong", "one-signature", lambda c: _crossed(c), "crowd", LOOSER),
        ("a second content", "packet-sequence", pieces(lambda o, li, s: o + li + li + s), "alice", ""),
        ("a second content behind", "packet-sequence", pieces(lambda o, li, s: o + li + s + li), "alice", ""),
        ("a second content before", "packet-sequence", pieces(lambda o, li, s: li + o + li + s), "alice", ""),
        ("a message within a message", None, signed_within_signed, "alice", ""),
        ("a message in place of the content", "one-signature", around_a_message, "crowd", INNER),
        ("no content", "packet-sequence", pieces(lambda o, li, s: o + s), "alice", ""),
        ("content only", "packet-sequence", pieces(lambda o, li, s: li), "alice", ""),
        ("signature only", "packet-sequence", pieces(lambda o, li, s: s), "alice", ""),
        ("one-pass only", "packet-sequence", pieces(lambda o, li, s: o), "alice", ""),
        ("signature missing", "packet-sequence", pieces(lambda o, li, s: o + li), "alice", ""),
        ("signature before the content", "packet-sequence", pieces(lambda o, li, s: s + li), "alice", ""),
        ("one-pass missing", "packet-sequence", pieces(lambda o, li, s: li + s), "alice", ""),
        ("nothing at all", "not-empty", lambda c: b"", "alice", ""),
        ("one byte behind", "packet-header", pieces(lambda o, li, s: o + li + s + b"\0"), "alice", ""),
        ("text behind", "packet-header", pieces(lambda o, li, s: o + li + s + b"\n"), "alice", ""),
        ("one byte before", "packet-header", pieces(lambda o, li, s: b"\0" + o + li + s), "alice", ""),
        ("cut by one byte", "complete", pieces(lambda o, li, s: (o + li + s)[:-1]), "alice", ""),
        ("armoured", "binary", armoured, "alice", "Sequoia reads armour; ours is binary, so that it has one spelling"),
        ("armoured as a signature", "binary", lambda c: armoured(c, "SIGNATURE"), "alice", LOOSER),
        ("cleartext", "no-cleartext", cleartext, "alice", "Sequoia reads cleartext, whose line ends are not signed"),
    )
)


def _crossed(cast: Cast) -> bytes:
    """As two signers, but each signature stands where the other one's belongs."""
    alice, bob = cast.from_alice(), cast.said_by("bob")
    start = packet(ONE_PASS, one_pass(cast.bob, last=0)) + alice.packets[0]
    return start + alice.packets[1] + bob.packets[2] + alice.packets[2]


ALIENS = tuple(
    Case(27, f"{what} {where}", rule, pieces(put), sequoia=LOOSER if where in passed_over else "")
    for what, alien, rule, passed_over in (
        ("marker", packet(MARKER, b"PGP"), "no-marker", (BEFORE, END)),
        ("trust packet", packet(TRUST, b"\x00"), "packet-sequence", ()),
        ("user ID", packet(13, b"Bob (1002)"), "packet-sequence", ()),
        ("attribute", packet(ATTRIBUTE, b"\x01"), "packet-sequence", ()),
        ("modification code", packet(MDC, bytes(20)), "packet-sequence", ()),
        ("padding", packet(PADDING, b"\x00" * 9), "packet-sequence", (BEFORE, END)),
        ("private packet", packet(PRIVATE, b"x"), "packet-sequence", (END,)),
        ("unknown packet", packet(UNKNOWN, b"x"), "packet-sequence", (END,)),
        ("unknown critical packet", packet(UNKNOWN_CRITICAL, b"x"), "packet-sequence", ()),
    )
    for where, put in (
        (BEFORE, lambda o, li, s, alien=alien: alien + o + li + s),
        ("behind the one-pass", lambda o, li, s, alien=alien: o + alien + li + s),
        ("behind the content", lambda o, li, s, alien=alien: o + li + alien + s),
        (END, lambda o, li, s, alien=alien: o + li + s + alien),
    )
)

COMPRESSIONS = (
    *(
        Case(27, f"compressed by method {method}", "not-compressed", whole_compressed(method), sequoia=why)
        for method, why in ((0, INNER), (1, INNER), (2, INNER), (3, ""))
    ),
    Case(27, "content compressed only", "not-compressed", pieces(lambda o, li, s: o + compressed(li) + s)),
    Case(
        27,
        "compressed bomb",
        "not-compressed",
        lambda c: compressed(c.from_alice(bytes(BOMB_BYTES)).join()),
        sequoia=INNER,
    ),
    Case(27, "64 deep", "not-compressed", lambda c: nested(c.from_alice().join(), 64)),
    Case(
        27,
        "compressed and cut",
        "not-compressed",
        lambda c: packet(COMPRESSED, b"\x02" + zlib.compress(c.from_alice().join())[:-8]),
    ),
    Case(
        27,
        "compressed without length",
        "definite-length",
        lambda c: endless_packet(COMPRESSED, b"\x02" + zlib.compress(c.from_alice().join())),
        sequoia=INNER,
    ),
)

HEADERS = tuple(
    Case(27, name, rule, make, sequoia=why)
    for name, rule, make, why in (
        (
            "named _CONSOLE",
            "literal-name",
            bodies(literal=lambda _: literal(ORDER, name=b"_CONSOLE")),
            "for Sequoia a name like any other; gpg saves nothing then",
        ),
        ("content of format t", "literal-binary", other_format(b"t"), LOOSER),
        ("content of format u", "literal-binary", other_format(b"u"), LOOSER),
        ("content of format l", "literal-binary", other_format(b"l"), LOOSER),
        ("content of format m", "literal-binary", other_format(b"m"), LOOSER),
        ("content of format 1", "literal-binary", other_format(b"1"), LOOSER),
        ("name longer than the content", "literal-header", bodies(literal=lambda _: b"b\xff" + b"x" * 20), ""),
        ("content without header", "literal-header", bodies(literal=lambda _: b"b"), ""),
        ("name that takes of the content", "undamaged", bodies(literal=lambda body: body[:1] + b"\x05" + body[2:]), ""),
        ("one-pass of version 6", "one-pass-version", of_version("one_pass", 6), ""),
        ("one-pass of version 23", "one-pass-version", of_version("one_pass", 23), ""),
        ("one-pass with a byte more", "one-pass-version", bodies(one_pass=lambda body: body + b"\0"), ""),
        (
            "one-pass that announces another",
            "one-pass-class",
            bodies(one_pass=lambda body: _replaced(body, 12, 0)),
            LOOSER,
        ),
        ("one-pass of a text", "one-pass-class", bodies(one_pass=lambda body: _replaced(body, 1, 1)), ""),
        ("signature of version 3", "signature-version", of_version("signature", 3), ""),
        ("signature of version 5", "signature-version", of_version("signature", 5), ""),
        ("signature of version 6", "signature-version", of_version("signature", 6), ""),
        ("signature of version 23", "signature-version", of_version("signature", 23), ""),
        (
            "signature of an unknown algorithm",
            "one-pass-signature",
            bodies(signature=lambda body: _replaced(body, 2, 99)),
            "",
        ),
        ("signature of DSA", "signature-algorithm", other_algorithm(17), ""),
        ("signature of Elgamal", "signature-algorithm", other_algorithm(20), ""),
        ("signature of RSA for signing only", "signature-algorithm", other_algorithm(3), ""),
        ("signature cut in its fields", "signature-body", bodies(signature=lambda body: body[:12]), ""),
        (
            "field that ends behind the signature",
            "signature-body",
            bodies(signature=lambda body: _replaced(body, 6, 0xFE)),
            "",
        ),
        (
            "signature in pieces",
            "partial-length",
            pieces(lambda o, li, s: o + li + partial_packet(SIGNATURE, s[3:], 8)),
            "",
        ),
        (
            "content without length",
            "definite-length",
            lambda c: with_literal(endless_packet)(c)[: -len(c.from_alice().packets[2])],
            "",
        ),
        (
            "content in a first piece of one byte",
            "partial-length",
            with_literal(lambda tag, body: partial_packet(tag, body, 0)),
            "",
        ),
        ("tag 0", "packet-header", pieces(lambda o, li, s: o + li + s + b"\xc0\x00"), ""),
    )
)

STRUCTURES = (*FORMS, *SEQUENCES, *ALIENS, *COMPRESSIONS, *HEADERS)
