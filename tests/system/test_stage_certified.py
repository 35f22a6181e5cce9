"""In the stage certified both parties' keys are the authority's word, for this customer number and this role only."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from customer.store import Fact
from keyring import certification, keys
from keyring.home import Home
from protocol.secret import Secret
from protocol.stages import Stage
from tests.system import crafted
from tests.system.courses import EveryStage
from tests.system.town import PASSPHRASE, Person, Stand

DAYS = 30


class TestCertified(EveryStage):
    stage = Stage.CERTIFIED

    def test_it_is_accepted_where_nothing_less_is(self, stand: Stand) -> None:
        alice = stand.ready("alice", self.stage)
        stand.restart(minimum=Stage.CERTIFIED)
        alice.send(stage=self.stage)
        assert stand.balance("1001") == 1000_00 - 25_00


@contextmanager
def authority_of_ones_own(stand: Stand) -> Iterator[tuple[Home, str]]:
    """Another certificate authority, with the name of the real one."""
    home = Home.create(stand.folder / "other-ca", own_keys=True)
    try:
        yield home, keys.new_ca_key(home, "Example Authority", Secret(PASSPHRASE.encode()))
    finally:
        home.stop()


@contextmanager
def the_real_authority(stand: Stand) -> Iterator[tuple[Home, str]]:
    """A copy of the town's authority, whose operator has been talked into something."""
    copy = stand.folder / "real-ca"
    shutil.copytree(stand.town.ca / "gnupg", copy, ignore=shutil.ignore_patterns("S.*"))
    home = Home.open(copy)
    try:
        yield home, stand.town.authority
    finally:
        home.stop()
        shutil.rmtree(copy)


def certify(home: Home, authority: str, person: Person, number: str, role: str = "customer") -> bytes:
    """This person's key, certified by this authority."""
    (key,) = keys.secret_keys(crafted.keys_of(person))
    keys.import_key(home, keys.export_minimal(crafted.keys_of(person), key.fingerprint), expected_fingerprint=None)
    certification.certify(
        home,
        key.fingerprint,
        key.user_ids[0].text,
        number=number,
        role=role,
        request_digest="0" * 64,
        days=DAYS,
        passphrase=Secret(PASSPHRASE.encode()),
        notations={},
        certifier=authority,
    )
    return keys.export(home, key.fingerprint)


def refused(stand: Stand, person: Person, code: str) -> None:
    """This customer's opening is refused with this code, and nothing is recorded."""
    entries = stand.entries()
    done = person.send("--id", "theft", stage=Stage.CERTIFIED, code=2)
    assert f"code {code}" in done.err, done.err
    assert stand.entries() == entries
    assert person.outbox()["theft"] == "unsent"


def test_trial_26_an_uncertified_key_is_refused(stand: Stand) -> None:
    alice = stand.person("alice")
    with alice.opened() as home:
        bare = keys.export_minimal(home.keys, home.key)
        certified = home.store.fact(Fact.CERTIFIED_KEY)
    crafted.offer(alice, bare)
    refused(stand, alice, "DS0F")
    assert certified
    crafted.offer(alice, certified)
    alice.send_here(stage=Stage.CERTIFIED)


def test_without_a_certificate_the_next_step_is_named(stand: Stand) -> None:
    done = stand.person("carol").send("--id", "rent", code=2)
    assert "customer status" in done.err
    stand.person("alice").send_here()


def test_trial_30_a_key_certified_for_another_number_is_refused(stand: Stand) -> None:
    thief = crafted.with_keys_of(stand, "alice", "bob")
    refused(stand, thief, "DS0D")
    stand.person("bob").send_here(to="1001")
    assert stand.balance("1001") == 1000_00 + 25_00


def test_trial_26_a_key_certified_by_another_authority_is_refused(stand: Stand) -> None:
    alice = stand.person("alice")
    alice.send_here("--id", "before")
    with authority_of_ones_own(stand) as (home, authority):
        crafted.offer(alice, certify(home, authority, alice, "1001"))
    refused(stand, alice, "DS0F")


def test_trial_30_a_key_certified_for_another_role_is_refused(stand: Stand) -> None:
    alice = stand.person("alice")
    with alice.opened() as own:
        certified = own.store.fact(Fact.CERTIFIED_KEY)
    assert certified
    with the_real_authority(stand) as (home, authority):
        crafted.offer(alice, certify(home, authority, alice, "1001", role="bank"))
        refused(stand, alice, "DS0D")
    crafted.offer(alice, certified)
    alice.send_here()


@pytest.mark.parametrize("minimum", [Stage.PASSWORD, Stage.CERTIFIED])
def test_a_certificate_counts_whatever_the_bank_would_also_accept(stand: Stand, minimum: Stage) -> None:
    stand.restart(minimum=minimum)
    stand.person("bob").send_here(to="1001")
    assert stand.balance("1002") == 1000_00 - 25_00
