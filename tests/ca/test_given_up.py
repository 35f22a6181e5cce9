"""A key that its owner has revoked is taken at the desk without any private key, and its certificate then revoked."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ca import given_up, inventory, revoking
from ca.authority import DECISIONS_FILE, KEYS_FOLDER, Authority
from ca.errors import DeskError
from ca.standing import standing
from ca.store import DeskStore, GivenUp
from keyring import keys
from keyring.revocation import require_revoked, revoked_key
from tests.ca.cast import PASSPHRASE, Applicant, Cast, issued_to, serving


def revoked_by_owner(applicant: Applicant) -> bytes:
    """The applicant's public key with the revocation certificate that was made with it."""
    certificate = applicant.home.path / "openpgp-revocs.d" / f"{applicant.fingerprint}.rev"
    public = keys.export_minimal(applicant.home, applicant.fingerprint)
    return revoked_key(public, certificate.read_bytes(), applicant.fingerprint)


def test_key_that_its_owner_gave_up_is_shown_until_it_is_revoked(settled: Authority, cast: Cast) -> None:
    now, revoked = int(time.time()), revoked_by_owner(cast.alice)
    command = "ca revoke 1001 --reason key-compromise"
    assert standing(settled, now).next_step == "nothing; keep `ca serve` running"
    with serving(settled.desk) as desk:
        for _ in range(2):
            desk.submit_revoked_key(revoked)
    (row,) = inventory.open_requests(settled, now)
    assert (row.request, row.number, row.state) == ("revocation", "1001", f"given up by its owner: {command}")
    found = standing(settled, now)
    assert found.next_step == command
    assert command in found.warnings[0]
    revoking.revoke(
        settled,
        issued_to(settled, cast.alice),
        reason="key-compromise",
        operator="Bob the operator",
        passphrase=PASSPHRASE,
        clock=time.time,
    )
    assert inventory.open_requests(settled, now) == ()
    assert standing(settled, int(time.time())).warnings == ()
    # Who fetches or looks the key up learns both: the authority's revocation and the owner's own.
    certificate = issued_to(settled, cast.alice)
    assert require_revoked(certificate.key) == cast.alice.fingerprint
    assert certificate.revoked_by == "Bob the operator"
    assert inventory.described(settled, certificate, now)["revoked_by"] == "Bob the operator"


def test_desk_takes_it_without_the_authoritys_keys_and_decisions(settled: Authority, cast: Cast) -> None:
    settled.close()
    for name in (KEYS_FOLDER, DECISIONS_FILE):
        shutil.move(settled.path / name, settled.path.parent / name)
    store = DeskStore.open(settled.path / "desk.sqlite")
    with serving(store) as desk:
        desk.submit_revoked_key(revoked_by_owner(cast.alice))
    assert [each.fingerprint for each in store.given_up()] == [cast.alice.fingerprint]
    store.close()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda cast: keys.export_minimal(cast.alice.home, cast.alice.fingerprint), "is not revoked by its owner"),
        (lambda cast: revoked_by_owner(cast.bob), "No certificate was issued here for this key"),
        (lambda cast: revoked_by_owner(cast.alice) * 2, "not exactly one public key"),
        (lambda cast: b"junk", "cannot be taken"),
        (lambda cast: bytes(70_000), "at most"),
    ],
)
def test_what_is_no_revoked_key_of_a_certified_one_is_refused(
    settled: Authority, cast: Cast, make: Callable[[Cast], bytes], sentence: str
) -> None:
    with serving(settled.desk) as desk:
        with pytest.raises(DeskError, match=sentence):
            desk.submit_revoked_key(make(cast))
        assert settled.desk.given_up() == ()
        desk.submit_revoked_key(revoked_by_owner(cast.alice))


def test_trial_49_desk_that_invents_a_revocation_moves_nobody(settled: Authority, cast: Cast) -> None:
    now = int(time.time())
    for number, key in enumerate((keys.export_minimal(cast.alice.home, cast.alice.fingerprint), b"junk")):
        settled.desk.write("DELETE FROM given_up")
        settled.desk.give_up(GivenUp(cast.alice.fingerprint, key, now + number))
        assert inventory.open_requests(settled, now) == ()
        assert given_up.found(settled, cast.alice.fingerprint) is None
    # Under another key's name, too; and what its owner really handed in is believed.
    settled.desk.give_up(GivenUp(cast.bank.fingerprint, revoked_by_owner(cast.alice), now))
    assert given_up.waiting(settled, now) == ()
    settled.desk.write("DELETE FROM given_up")
    settled.desk.give_up(GivenUp(cast.alice.fingerprint, revoked_by_owner(cast.alice), now))
    assert [each.certificate.number for each in given_up.waiting(settled, now)] == ["1001"]


def test_store_keeps_the_first_copy(tmp_path: Path) -> None:
    store = DeskStore.create(tmp_path / "desk.sqlite")
    first = GivenUp("A" * 40, b"first", 1)
    store.give_up(first)
    store.give_up(GivenUp("A" * 40, b"second", 2))
    assert store.given_up() == (first,)
    store.close()
