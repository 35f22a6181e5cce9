"""A new key is made once, asked for once, and taken into use only with the authority's certificate for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ca.errors import UnprovenKey
from ca.messages import Certified
from ca.messages import State as DeskState
from ca.requests import claimed_request, open_request
from customer import ceremony, conversing, progress, rotation, sending
from customer.cli import renewing
from customer.errors import NotReady
from customer.home import CustomerHome, World
from customer.sending import Wish
from customer.store import Fact, State
from keyring import keys
from protocol import canonical
from protocol.stages import Stage
from protocol.transport import Address
from tests.customer.authority import Authority, copied
from tests.customer.desk import DeskStandIn, newcomer
from tests.customer.scene import Stand, Template, mail, serial_of
from tests.customer.test_ceremony import Killed

RENT = Wish(creditor="1002", amount="25.00", description="rent", currency="EUR")
AtDesk = tuple[DeskStandIn, Address]


@contextmanager
def certified(template: Template, folder: Path, desk: Address, world: World | None = None) -> Iterator[CustomerHome]:
    """Alice after `customer fetch`, who asks this desk."""
    with newcomer(template, folder, desk, world) as home:
        ceremony.fetch(home, None)
        try:
            yield home
        finally:
            home.keys.stop()


def test_a_new_key_is_made_once_and_announced_once(
    bank_template: Template, short_tmp: Path, desk: AtDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in, address = desk
    with certified(bank_template, short_tmp / "alice", address) as home:
        first = home.key
        honest = keys.new_customer_key

        def killed(*arguments: object, **options: object) -> str:
            honest(*arguments, **options)  # type: ignore[arg-type]
            raise Killed

        monkeypatch.setattr(keys, "new_customer_key", killed)
        with pytest.raises(Killed):
            rotation.announce(home, None, ask=False)
        made = rotation.announce(home, None, ask=False)  # goes on with the key that is there
        assert rotation.announce(home, short_tmp / "request", ask=False).fingerprint == made.fingerprint
        (sent, *others) = stand_in.submitted
        assert [*others, (short_tmp / "request").read_bytes()] == [sent] * (len(others) + 1)
        assert {each.fingerprint for each in keys.secret_keys(home.keys)} == {first, made.fingerprint}
        opened = open_request(sent)
        assert (opened.content.fingerprint, opened.content.succeeds) == (made.fingerprint, first)
        assert (home.key, home.store.fact(Fact.CERTIFIED_KEY)) == (first, bank_template.certified["alice"].key)
        found = progress.progress(home)
        assert (found.next.who, found.next.command) == ("the authority, then you", "customer fetch")
        assert found.steps[-1].name == "new key"


def test_a_key_that_does_not_count_vouches_for_nothing(bank_template: Template, short_tmp: Path, desk: AtDesk) -> None:
    stand_in, address = desk
    with certified(bank_template, short_tmp / "alice", address) as home:
        until = ceremony.certified_until(home)
        assert until is not None
        late = CustomerHome(home.folder, home.config, home.store, World(clock=lambda: float(until)))
        with pytest.raises(NotReady, match="no certificate that counts"):
            rotation.announce(late, None, ask=False)
        stand_in.crl = bank_template.authority.crl(2, serial_of(bank_template.certified["alice"]))
        with pytest.raises(UnprovenKey):
            ceremony.fetch(home, None)
        with pytest.raises(NotReady, match="no certificate that counts"):
            rotation.announce(home, None, ask=False)
        assert stand_in.submitted == []


def successor_of(home: CustomerHome, authority: Authority, file: Path, template: Template) -> Certified:
    """What the authority issues for the new key, mailed, and taken into use."""
    made = rotation.announce(home, file.with_suffix(".request"), ask=False)
    before = home.key
    issued = authority.certify(home.keys, "1001", "customer", fingerprint=made.fingerprint, succeeds=before)
    mail(template, file, issued)
    return issued


def test_trial_13_an_order_of_before_is_asked_about_under_the_new_key_once_the_old_one_ended(
    stand: Stand, short_tmp: Path
) -> None:
    template = stand.template
    authority = copied(template.authority, short_tmp / "ca")
    with stand.customer() as home:
        first, old = home.key, template.certified["alice"]
        stand.faults.hang_up = "after posting"
        with pytest.raises(Exception, match="not known from here"):
            sending.send(home, replace(RENT, identifier="decided"))
        stand.faults.hang_up = "before posting"
        with pytest.raises(Exception, match="not known from here"):
            sending.send(home, replace(RENT, identifier="undecided"))
        stand.faults.hang_up = ""
        new = successor_of(home, authority, short_tmp / "mail", template)
        fetched = ceremony.fetch(home, short_tmp / "mail")
        assert fetched.taken_over == home.key != first
        assert rotation.pending(home) is None
        assert home.own_keys == {first, home.key}
        # While both count, what was made under the key before is sent under it.
        named = canonical.digest(old.certificate)
        assert conversing.offered(home, named).fingerprint == first
        assert conversing.offered(home).fingerprint == home.key
        crl = authority.crl(2, serial_of(old))
        mail(template, short_tmp / "mail", new, crl)
        ceremony.fetch(home, short_tmp / "mail")
        assert conversing.offered(home, named).fingerprint == home.key
        decided, undecided = (home.store.find(name) for name in ("decided", "undecided"))
        assert decided is not None
        assert undecided is not None
        assert sending.send_again(home, decided).posted
        with pytest.raises(Exception, match="under a certificate that has ended"):
            sending.send_again(home, undecided)
        after = home.store.find("undecided")
        assert after is not None
        assert after.state is State.UNSENT
        assert stand.postings("decided") == 1
        assert stand.postings("undecided") == 0
        home.keys.stop()


def test_a_certificate_of_another_key_is_not_taken_for_the_new_one(stand: Stand, short_tmp: Path) -> None:
    template = stand.template
    with stand.customer() as home:
        first = home.key
        rotation.announce(home, short_tmp / "request", ask=False)
        mail(template, short_tmp / "mail", template.certified["bob"])
        with pytest.raises(UnprovenKey):
            ceremony.fetch(home, short_tmp / "mail")
        assert home.key == first
        assert claimed_request((short_tmp / "request").read_bytes()).content.succeeds == first
        mail(template, short_tmp / "mail", template.certified["alice"])
        assert ceremony.fetch(home, short_tmp / "mail").taken_over == ""
        home.keys.stop()


def test_in_the_lower_stages_the_registered_key_speaks_until_the_new_one_has(stand: Stand, short_tmp: Path) -> None:
    template = stand.template
    authority = copied(template.authority, short_tmp / "ca")
    with stand.customer() as home:
        ceremony.register(home)
        first = home.key
        successor_of(home, authority, short_tmp / "mail", template)
        ceremony.fetch(home, short_tmp / "mail")
        assert home.registered_key == first
        signed = replace(RENT, stage=Stage.SIGNED)
        assert sending.send(home, signed).posted
        assert sending.send(home, RENT).posted
        assert home.registered_key == home.key != first
        server = stand.server.customers.get("1001")
        assert server is not None
        assert server.registered_fingerprint == home.key
        home.keys.stop()


def test_whoever_did_not_ask_for_a_new_key_is_warned_that_one_took_over() -> None:
    """A thief's key can take over from a stolen one; then the authority has shortened what the owner has."""
    fetched = ceremony.Fetched(1_800_000_000, DeskState.ISSUED, 1_900_000_000, 1, 1_800_000_000)
    assert "WARNING: your certificate ends earlier" in renewing._fetched_text(fetched)
    assert "WARNING" not in renewing._fetched_text(replace(fetched, before=1_700_000_000))
