"""gpg's listings are read exactly, foreign text in them stays text, and a damaged record is refused."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyring import colons, process
from keyring.errors import EngineError
from keyring.home import Home
from tests.keyring.crafted import CraftedKey, notation

CA = "2E968A9C4CF29A745A4AA07244D827ED1B8D7F5B"
ALICE = "C194FB9106AE0DBF464D8342E0275E0E52AFA7B0"
ENCRYPTION = "46B5B6DE8F569F4D859AA254565BFB154FB8CC55"

# Written by GnuPG 2.2.40 (--check-sigs with keygrips and subpackets); revocation, attribute and the end were added.
LISTING = rb"""tru::1:1795345522:1826881390:3:1:5
pub:f:3072:1:E0275E0E52AFA7B0:1795345390:1826881390::-:::scESC::::::23::0:
fpr:::::::::C194FB9106AE0DBF464D8342E0275E0E52AFA7B0:
grp:::::::::57194FDE114A447F1D3227F5B78CDDFBA366F197:
rev:!::1:E0275E0E52AFA7B0:1795345400::::Alice\x3a \x5c (1001):20x,02::C194FB9106AE0DBF464D8342E0275E0E52AFA7B0:::10:
uid:f::::1795345390::66A367BC8EABFE6FBC60EE1CE158A01F2216786F::Alice\x3a \x5c (1001)::::::::::0:
sig:!::1:E0275E0E52AFA7B0:1795345390::::Alice\x3a \x5c (1001):13x::C194FB9106AE0DBF464D8342E0275E0E52AFA7B0:::10:
sig:!::1:44D827ED1B8D7F5B:1795345522:1826881522:::The CA (ca):10x::2E968A9C4CF29A745A4AA07244D827ED1B8D7F5B:::10:
spk:20:1:40:%80%00%00%00%00%18%00%08role@countersign.examplecustomer
spk:20:3:43:%80%00%00%00%00%1A%00%09number@countersign.example10 01%3Ax%25y
spk:20:0:40:%80%00%00%00%00%18%00%08role@countersign.examplecustomer
sig:-::1:44D827ED1B8D7F5B:1795345522::::The CA (ca):10l::2E968A9C4CF29A745A4AA07244D827ED1B8D7F5B:::10:
uat:f::::1795345390::66A367BC8EABFE6FBC60EE1CE158A01F2216786F::1 2345::::::::::0:
sub:f:255:18:565BFB154FB8CC55:1795345390:1826881390:::::e:::#::cv25519::
fpr:::::::::46B5B6DE8F569F4D859AA254565BFB154FB8CC55:
grp:::::::::5C17A76013163D7E6F7277002199EE68DF55879F:
sig:!::1:E0275E0E52AFA7B0:1795345390::::Alice (1001):18x::C194FB9106AE0DBF464D8342E0275E0E52AFA7B0:::10:
new:a record of another time::
pub:u:3072:1:44D827ED1B8D7F5B:1795345521:::u:::cCD:::+:::23::0:
fpr:::::::::2E968A9C4CF29A745A4AA07244D827ED1B8D7F5B:
"""


def notations(listing: bytes) -> list[colons.Notation]:
    """Reads everything in the listing, to the last notation."""
    names = [name for key in colons.parse(listing) for name in key.user_ids]
    return [found for name in names for signature in name.signatures for found in signature.notations]


def test_a_listing_is_read_record_by_record() -> None:
    alice, ca = colons.parse(LISTING)
    primary, subkey = alice.parts
    assert (alice.fingerprint, subkey.fingerprint, ca.fingerprint) == (ALICE, ENCRYPTION, CA)
    assert (primary.algorithm, primary.bits, subkey.algorithm, subkey.curve) == (1, 3072, 18, "cv25519")
    assert (primary.created, primary.expires, ca.primary.expires) == (1795345390, 1826881390, None)
    assert (primary.keygrip[:4], subkey.keygrip[:4], ca.primary.keygrip) == ("5719", "5C17", "")
    assert (primary.capabilities, primary.usable, subkey.capabilities) == ("sc", "esc", "e")
    assert (primary.secret, subkey.secret, ca.primary.secret) == (None, False, True)
    assert (primary.disabled, ca.primary.disabled, ca.primary.usable) == (False, True, "c")
    assert [name.attribute for name in alice.user_ids] == [False, True]
    assert len(subkey.signatures) == 1


def test_signatures_hang_on_what_they_are_about() -> None:
    alice, _ = colons.parse(LISTING)
    (revocation,) = alice.primary.signatures
    assert (revocation.kind, revocation.signature_class, revocation.reason) == ("rev", 0x20, 2)
    own, good, bad = alice.user_ids[0].signatures
    assert (own.certifies, good.certifies, revocation.certifies) == (True, True, False)
    assert (good.made_by(CA), good.made_by(ALICE), bad.made_by(CA)) == (True, False, False)
    assert (good.created, good.expires, good.digest, good.exportable, bad.exportable) == (
        1795345522,
        1826881522,
        10,
        True,
        False,
    )


def test_notations_are_those_that_the_signature_covers() -> None:
    signature = colons.parse(LISTING)[0].user_ids[0].signatures[1]
    assert [subpacket.hashed for subpacket in signature.subpackets] == [True, True, False]
    assert [(found.name, found.text, found.critical) for found in signature.notations] == [
        ("role@countersign.example", "customer", False),
        ("number@countersign.example", "10 01:x%y", True),
    ]


def test_escapes_are_undone_once() -> None:
    assert colons.parse(LISTING)[0].user_ids[0].text == "Alice: \\ (1001)"


@pytest.mark.parametrize(
    ("honest", "spoilt"),
    [
        (b"Alice\\x3a", b"Alice\\q"),
        (b"Alice\\x3a", b"Alice\\x3"),
        (b"%25y", b"%2"),
        (b"spk:20:1:40:", b"spk:20:1:41:"),
        (b"spk:20:1:40:%80%00%00%00%00%18", b"spk:20:1:40:%80%00%00%00%00%17"),
        (b":10x::2E96", b":::2E96"),
        (b":10x::2E96", b":10x::XE96"),
        (b":1795345522:1826881522:", b":20261122T110522:1826881522:"),
        (b":3072:1:E027", b":-1:1:E027"),
        (b"fpr:::::::::C194", b"fpr:::::::::c194"),
        (b"grp:::::::::5719", b"fpr:::::::::5719"),
        (b"pub:f:", b"nub:f:"),
        (b"sig:!::1:44D8", b"pub:!::1:44D8"),
        (b"sig:!::1:44D8", b"sig:!-::1:44D8"),
    ],
)
def test_a_damaged_record_is_refused(honest: bytes, spoilt: bytes) -> None:
    assert honest in LISTING
    with pytest.raises(EngineError):
        notations(LISTING.replace(honest, spoilt, 1))


@given(st.data())
def test_a_listing_with_bytes_changed_is_read_or_refused_but_never_more(data: st.DataObject) -> None:
    changed = bytearray(LISTING)
    for place in data.draw(st.lists(st.integers(0, len(LISTING) - 1), max_size=6)):
        changed[place] = data.draw(st.integers(0, 255))
    with suppress(EngineError):
        notations(bytes(changed))


def listed(home: Home, *fingerprints: str) -> tuple[colons.Key, ...]:
    options = ["--with-colons", "--list-options", "show-sig-subpackets=20", "--with-fingerprint"]
    return colons.parse(process.run(home, *options, "--check-sigs", *fingerprints).output)


def test_a_signature_that_claims_to_be_the_authoritys_is_not_made_by_it(short_tmp: Path) -> None:
    """gpg checks a self-signature with the key itself, says that it is good, and lists what it claims to be."""
    home = Home.create(short_tmp / "home", own_keys=False)
    mallory, ca = CraftedKey.new(), CraftedKey.new()
    number = notation(b"number@countersign.example", b"1001")
    role = notation(b"role@countersign.example", b"bank")
    forged = mallory.certificate(b"Mallory", claimed_issuer=ca.fingerprint, hashed=number, unhashed=role)
    process.run(home, "--import", stdin=ca.certificate(b"The CA"))
    process.run(home, "--import", stdin=forged)

    (key,) = listed(home, mallory.fingerprint)
    (signature,) = key.user_ids[0].signatures
    assert signature.good
    assert signature.fingerprint == ca.fingerprint  # what gpg 2.2.40 lists
    assert not signature.made_by(ca.fingerprint)
    assert not signature.made_by(mallory.fingerprint)
    assert [found.name for found in signature.notations] == ["number@countersign.example"]

    (honest,) = listed(home, ca.fingerprint)
    assert honest.user_ids[0].signatures[0].made_by(ca.fingerprint)


def test_foreign_bytes_in_a_user_id_come_back_as_they_are(short_tmp: Path) -> None:
    home = Home.create(short_tmp / "home", own_keys=False)
    name = b"Al:ice \\ \x1b[2J\n[GNUPG:] \xc3\x85 \x85 %41"
    process.run(home, "--import", stdin=CraftedKey.new().certificate(name))
    (key,) = listed(home)
    assert key.user_ids[0].text.encode("utf-8", "surrogateescape") == name
