"""Keys whose certification does not count are refused by the rule named here, where a session is opened."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from keyring.certification import CaTemplate, judged_home
from keyring.errors import KeyringError, NotCertified
from tests.hostile.cast import Cast
from tests.hostile.certs import bare, bound, certification, named, notations, revoked_certification, revoked_key
from tests.hostile.forge import (
    CERTIFY,
    DAY,
    KEY,
    MD5,
    SHA1,
    RsaKey,
    created,
    issuer,
    issuer_fingerprint,
    key_lasting,
    packet,
)
from tests.hostile.judges import Judges

NAME = b"Alice (1001)"
Offer = Callable[[Cast], bytes]


def certified(**changed: object) -> Offer:
    """Alice's key with a certification that is wrong in one way."""

    def make(cast: Cast) -> bytes:
        return bare(cast.alice, NAME) + vouched(cast, **changed)  # type: ignore[arg-type]

    return make


def vouched(cast: Cast, *, by: RsaKey | None = None, ago: int = 50 * DAY, **changed: object) -> bytes:
    return certification(by or cast.authority, cast.alice, NAME, at=cast.now - ago, **changed)  # type: ignore[arg-type]


def behind_the_key(cast: Cast, first: bytes) -> bytes:
    """A certified key with something between the key and its user ID."""
    whole, size = certified()(cast), len(packet(KEY, cast.alice.public))
    return whole[:size] + first + whole[size:]


def claiming(cast: Cast, *, short: bool) -> bytes:
    """Another's certification that says it is the authority's."""
    fields = issuer_fingerprint(cast.authority.fingerprint) + created(cast.now - DAY)
    named_as = cast.authority if short else cast.rival
    return bare(cast.alice, NAME) + vouched(cast, by=cast.rival, fields=fields, issuers=issuer(named_as.fingerprint))


def moved(cast: Cast) -> bytes:
    """The authority's certification of Bob's name and key, put behind Alice's."""
    made = certification(cast.authority, cast.bob, b"Bob (1002)", at=cast.now - DAY, said=notations(b"1002"))
    return bare(cast.alice, NAME) + made


# (trial, name, rule of NotCertified, or "unsuitable" for a key that cannot be used at all; None: accepted; offer)
OFFERS: tuple[tuple[int, str, str | None, Offer], ...] = (
    (26, "honest", None, certified()),
    (26, "honest by a positive certification", None, certified(kind=0x13)),
    (26, "not certified", "certified", lambda c: bare(c.alice, NAME)),
    (26, "by another authority", "certified", lambda c: bare(c.alice, NAME) + vouched(c, by=c.rival)),
    (26, "by another that claims the fingerprint", "certified", lambda c: claiming(c, short=False)),
    (26, "by another that claims all", "certified", lambda c: claiming(c, short=True)),
    (26, "moved from Bob's key", "certified", moved),
    (26, "expired", "not-expired", certified(days=20)),
    (26, "from the future", "not-yet-valid", certified(ago=-DAY)),
    (26, "without an end", "limited", certified(days=None)),
    (
        26,
        "revoked",
        "not-revoked",
        lambda c: certified()(c) + revoked_certification(c.authority, c.alice, NAME, at=c.now - DAY),
    ),
    (26, "with SHA-1", "certified|strong-digest", certified(digest=SHA1)),
    (26, "with MD5", "certified|strong-digest", certified(digest=MD5)),
    (
        26,
        "revocation of the same second",
        "not-revoked",
        lambda c: certified()(c) + revoked_certification(c.authority, c.alice, NAME, at=c.now - 50 * DAY),
    ),
    (26, "without notations", "notations", certified(said=b"")),
    (26, "two numbers", "single-notations", certified(said=notations() + notations(b"1002"))),
    (26, "number that is not signed", "signed-notations", certified(unhashed=notations(b"1002"))),
    (26, "another role that does not exist", "readable-notations", certified(said=notations(role=b"king"))),
    (26, "two meanings", "one-meaning", lambda c: certified()(c) + vouched(c, ago=DAY, said=notations(b"1002"))),
    (
        26,
        "key revoked by its owner",
        "unsuitable",
        lambda c: behind_the_key(c, revoked_key(c.alice, c.alice, at=c.now - DAY)),
    ),
    (26, "key expired", "unsuitable", lambda c: bare(c.alice, NAME, hashed=key_lasting(30 * DAY)) + vouched(c)),
    (26, "self-signature with SHA-1", "unsuitable", lambda c: bare(c.alice, NAME, digest=SHA1) + vouched(c)),
    (26, "secret key", "unsuitable", lambda c: c.alice.transferable + named(c.alice, NAME)),
    (26, "two keys", "unsuitable", lambda c: certified()(c) + bare(c.bob, b"Bob (1002)")),
    (26, "honest with a subkey that was added", None, lambda c: certified()(c) + bound(c.alice, c.late)),
    (
        31,
        "honest with a foreign name of its own making",
        None,
        lambda c: certified()(c) + named(c.alice, b"Bob (1002)", at=c.now - DAY),
    ),
    (
        31,
        "foreign name certified as well",
        "one-user-id",
        lambda c: (
            certified()(c)
            + named(c.alice, b"Bob (1002)")
            + certification(c.authority, c.alice, b"Bob (1002)", at=c.now - DAY)
        ),
    ),
    (29, "honest with a plain name", None, certified()),
    (
        29,
        "name with status lines in it",
        "unsuitable",
        lambda c: certified()(c) + named(c.alice, c.people["newline"].user_id, at=c.now - DAY),
    ),
)


@pytest.fixture(scope="module")
def template(judges: Judges, make_short_tmp: Callable[[], Path]) -> CaTemplate:
    authority = judges.cast.authority
    key = bare(authority, b"Authority", usage=CERTIFY)
    return CaTemplate.create(make_short_tmp() / "template", key, authority.fingerprint)


def found(cast: Cast, template: CaTemplate, path: Path, offered: bytes) -> str | None:
    """The rule that refuses an offered key; None if it is accepted, as Alice's, whatever else is in it."""
    try:
        _, read, fingerprint = judged_home(
            path,
            ca_key=b"",
            ca_fingerprint=cast.authority.fingerprint,
            offered=offered,
            expected_fingerprint=None,
            template=template,
        )
    except NotCertified as error:
        return error.rule
    except KeyringError:
        return "unsuitable"
    assert (fingerprint, read.number, read.role, read.user_id) == (
        cast.alice.fingerprint,
        "1001",
        "customer",
        NAME.decode(),
    )
    return None


def judged(judges: Judges, template: CaTemplate, folder: Path, trial: int) -> None:
    numbers = count(1)
    chosen = [each for each in OFFERS if each[0] == trial]
    assert any(rule is None for _, _, rule, _ in chosen), "no honest twin"
    for _, name, rule, offer in chosen:
        said = found(judges.cast, template, folder / str(next(numbers)), offer(judges.cast))
        assert said in (rule.split("|") if rule else (None,)), (name, said)


def test_trial_26_a_key_that_is_not_certified_as_it_must_be_is_refused(
    judges: Judges, template: CaTemplate, short_tmp: Path
) -> None:
    judged(judges, template, short_tmp, 26)


def test_trial_29_a_name_with_status_lines_in_it_is_refused(
    judges: Judges, template: CaTemplate, short_tmp: Path
) -> None:
    judged(judges, template, short_tmp, 29)


def test_trial_31_a_foreign_name_changes_nobodys_identity(
    judges: Judges, template: CaTemplate, short_tmp: Path
) -> None:
    judged(judges, template, short_tmp, 31)
