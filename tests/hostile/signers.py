"""Good signatures of the wrong party, and names that say they are another's: trials 29, 30 and 31."""

from tests.hostile.case import BANK, Case
from tests.hostile.cast import LINE, ORDER, Cast
from tests.hostile.forge import (
    SHA512,
    created,
    issuer,
    issuer_fingerprint,
    literal,
    notation,
    one_pass,
    signed,
    sub,
)
from tests.hostile.signatures import AMBIGUOUS, by_person, own

OTHER_PARTY = "Sequoia is asked whose signature it is, not whether this signer was expected"


def forged_lines(cast: Cast, end: bytes = b"") -> bytes:
    """What gpg would say about a good signature of Alice's."""
    fingerprint = cast.alice.fingerprint.encode()
    lines = (
        b"NEWSIG",
        b"GOODSIG " + fingerprint[-16:] + b" Alice (1001)",
        b"VALIDSIG " + fingerprint + b" 2026-01-01 1767225600 0 4 0 1 8 00 " + fingerprint,
        b"TRUST_FULLY 0 pgp",
    )
    return b"x" + b"".join(LINE + line for line in lines) + end


def named_literal(cast: Cast, who: str, name: bytes) -> bytes:
    made = cast.said_by(who)
    return made._replace(literal=literal(ORDER, name=name)).join()


def with_value(cast: Cast, numbers: bytes) -> bytes:
    return cast.from_alice(value=lambda _: numbers).join()


ISSUERS = (
    Case(
        30, "Bob's in place of Alice's", "signer", lambda c: c.said_by("bob").join(), home="crowd", sequoia=OTHER_PARTY
    ),
    Case(30, "Bob's at Alice's door", "checkable", lambda c: c.said_by("bob").join()),
    Case(30, "the authority's at Alice's door", "checkable", lambda c: signed(c.authority, ORDER, at=c.now).join()),
    Case(
        30,
        "the bank's in place of Alice's",
        "signer",
        lambda c: c.said_by("bank").join(),
        home="crowd",
        sequoia=OTHER_PARTY,
    ),
    Case(
        30,
        "the bank's head in place of Alice's order",
        "signer",
        lambda c: signed(c.heads, ORDER, at=c.now).join(),
        home="crowd",
        sequoia=OTHER_PARTY,
    ),
    Case(30, "Alice's in place of the bank's", "signer", lambda c: c.from_alice().join(), BANK, "crowd", OTHER_PARTY),
    Case(30, "Alice's at the bank's door", "checkable", lambda c: c.from_alice().join(), by=BANK, home="bank"),
    Case(
        30,
        "Alice's subkey in place of the bank's",
        "signer",
        lambda c: signed(c.late, ORDER, at=c.now).join(),
        BANK,
        "crowd",
        OTHER_PARTY,
    ),
    Case(
        30,
        "Bob's that says throughout it is Alice's",
        "undamaged",
        lambda c: (
            c.said_by("bob", fields=own(c) + created(c.now), issuers=issuer(c.alice.fingerprint))
            ._replace(one_pass=one_pass(c.alice))
            .join()
        ),
        home="crowd",
    ),
    Case(
        30,
        "Bob's with Alice's fingerprint signed",
        "one-issuer",
        lambda c: c.said_by("bob", fields=own(c) + created(c.now)).join(),
        home="crowd",
        sequoia=AMBIGUOUS,
    ),
    Case(
        30,
        "Bob's with Alice's short issuer",
        "one-issuer",
        lambda c: c.said_by("bob", issuers=issuer(c.alice.fingerprint)).join(),
        home="crowd",
        sequoia=AMBIGUOUS,
    ),
    Case(
        30,
        "Alice's with Bob's short issuer",
        "one-issuer",
        lambda c: c.from_alice(issuers=issuer(c.bob.fingerprint)).join(),
        home="crowd",
        sequoia=AMBIGUOUS,
    ),
    Case(
        30,
        "without any issuer",
        "checkable",
        lambda c: c.from_alice(fields=created(c.now), issuers=b"").join(),
    ),
    Case(
        30,
        "issuer of version 6 beside",
        "one-issuer",
        lambda c: c.from_alice(hashed=issuer_fingerprint("AB" * 32, 6)).join(),
        sequoia=AMBIGUOUS,
    ),
    Case(
        30,
        "issuer of version 6",
        "one-issuer",
        lambda c: c.from_alice(fields=created(c.now) + issuer_fingerprint("AB" * 32, 6)).join(),
        sequoia=AMBIGUOUS,
    ),
    Case(
        30,
        "without the short issuer",
        "same-key",
        lambda c: c.from_alice(issuers=b"").join(),
        sequoia="gpg says GOODSIG of the key 0000000000000000 here, and we believe it in nothing then",
    ),
    Case(
        30,
        "one-pass of Bob's before Alice's",
        "one-issuer",
        lambda c: c.from_alice()._replace(one_pass=one_pass(c.bob)).join(),
        home="crowd",
        sequoia=AMBIGUOUS,
    ),
    Case(
        30,
        "one-pass with another digest",
        "one-pass-signature",
        lambda c: c.from_alice()._replace(one_pass=one_pass(c.alice, digest=SHA512)).join(),
    ),
    Case(
        30,
        "one-pass of another algorithm",
        "one-pass-signature",
        lambda c: (
            c.from_alice()._replace(one_pass=one_pass(c.heads, key_id=bytes.fromhex(c.alice.fingerprint)[-8:])).join()
        ),
        sequoia=AMBIGUOUS,
    ),
)


STATUS_LINES = (
    Case(29, "honest with a name for the file", None, lambda c: named_literal(c, "alice", b"order.json")),
    *(
        Case(
            29,
            f"{what} with status lines in it",
            "signer",
            make,
            home="crowd",
            sequoia=OTHER_PARTY,
        )
        for what, make in (
            ("file name", lambda c: named_literal(c, "bob", forged_lines(c))),
            ("file name in Latin-1", lambda c: named_literal(c, "bob", forged_lines(c).replace(b"\n", b"\x85"))),
            ("file name, escaped", lambda c: named_literal(c, "bob", forged_lines(c).replace(b"\n", b"%0A"))),
            ("notation", lambda c: c.said_by("bob", hashed=notation(b"a@b.example", forged_lines(c))).join()),
            (
                "notation of bytes",
                lambda c: c.said_by("bob", hashed=notation(b"a@b.example", forged_lines(c), text=False)).join(),
            ),
            (
                "long notation",
                lambda c: c.said_by("bob", hashed=notation(b"a@b.example", b"%" * 300 + forged_lines(c))).join(),
            ),
            (
                "notation name",
                lambda c: c.said_by("bob", hashed=notation(forged_lines(c) + b"@b.example", b"c")).join(),
            ),
            ("policy", lambda c: c.said_by("bob", hashed=sub(26, b"http://b.example/" + forged_lines(c))).join()),
            ("signer's name", lambda c: c.said_by("bob", hashed=sub(28, b"Bob" + forged_lines(c))).join()),
        )
    ),
    *(
        Case(29, f"user ID with status lines, {who}", "signer", by_person(who), home="crowd", sequoia=OTHER_PARTY)
        for who in ("newline", "nel", "raw", "cr")
    ),
    Case(
        29, "file name with status lines, signed by Alice", None, lambda c: named_literal(c, "alice", forged_lines(c))
    ),
    Case(
        29,
        "notation with status lines, signed by Alice",
        None,
        lambda c: c.from_alice(hashed=notation(b"a@b.example", forged_lines(c))).join(),
    ),
    Case(
        29,
        "signer's name that is Bob's, signed by Alice",
        None,
        lambda c: c.from_alice(hashed=sub(28, b"Bob (1002)")).join(),
    ),
)

USER_IDS = (
    Case(
        31, "honest by a key with a foreign user ID", None, lambda c: c.said_by("many").join(), by="many", home="crowd"
    ),
    Case(
        31,
        "foreign user ID of its own making",
        "signer",
        lambda c: c.said_by("many").join(),
        "bob",
        "crowd",
        OTHER_PARTY,
    ),
    Case(
        31,
        "signer's name that is Alice's",
        "signer",
        lambda c: c.said_by("bob", hashed=sub(28, b"Alice (1001)")).join(),
        home="crowd",
        sequoia=OTHER_PARTY,
    ),
    Case(31, "signer's name that is not in the key", None, lambda c: c.from_alice(hashed=sub(28, b"Nobody")).join()),
)


SIGNERS = (*ISSUERS, *STATUS_LINES, *USER_IDS)
