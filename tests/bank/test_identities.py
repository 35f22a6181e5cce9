"""Small homes: who is known stays who he is while homes come, go and are replaced by many threads."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bank.customers import Customer
from bank.errors import ConfigurationError
from bank.identities import Authority, Identities, Identity, OpeningRefused, Read
from keyring import keys
from keyring.opened import Opened
from keyring.verdict import Rejected
from keyring.worker import Worker
from protocol.codes import Reason
from protocol.stages import Stage
from tests.bank.faces import customer, known, signed
from tests.bank.town import Town


@pytest.fixture
def identities(town: Town, short_tmp: Path) -> Iterator[Identities]:
    """Room for one customer, so that every second one drives the first out."""
    key = keys.export(town.authority, town.authority_fingerprint)
    authority = Authority(town.authority_fingerprint, key, town.root)
    identities = Identities(short_tmp / "homes", authority, 1)
    yield identities
    identities.close()
    assert not (short_tmp / "homes").exists()


def homes(identities: Identities) -> int:
    return sum(path.name.isdigit() for path in identities._folder.iterdir())


def test_the_same_key_keeps_its_home(town: Town, identities: Identities) -> None:
    first = known(identities, town.alice)
    assert known(identities, town.alice) is first
    certified = known(identities, town.alice, Stage.CERTIFIED)
    assert certified.certification is not None
    assert certified.slot != first.slot


def test_an_evicted_customer_is_still_known_and_homes_stay_few(town: Town, identities: Identities) -> None:
    alice = known(identities, town.alice)
    bob = known(identities, town.bob)
    for content in (b'{"n":1}', b'{"n":2}'):
        for identity, person in ((alice, town.alice), (bob, town.bob)):
            opened = identities.open(identity, signed(person, content))
            assert isinstance(opened, Opened)
            assert opened.content == content
            assert homes(identities) == 1


def test_after_an_eviction_nobody_passes_for_another(town: Town, identities: Identities) -> None:
    alice = known(identities, town.alice)
    bob = known(identities, town.bob)
    for identity, other in ((alice, town.bob), (bob, town.alice), (alice, town.impostor)):
        opened = identities.open(identity, signed(other))
        assert isinstance(opened, Rejected)
        assert opened.rule != "engine"


def test_a_verdict_from_a_home_that_was_leaving_is_asked_for_again(
    town: Town, identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = known(identities, town.alice)
    order, asked = signed(town.alice), []
    honest = Worker.open_all

    def overtaken(self: Worker, *arguments: object) -> list[Opened | Rejected]:
        asked.append(self.home)
        if len(asked) == 1:
            known(identities, town.bob)  # its home takes the place of Alice's, between our choice of worker and gpg
        return honest(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Worker, "open_all", overtaken)
    assert isinstance(identities.open(alice, order), Opened)
    assert len(asked) == 2
    asked.append(alice.home)
    assert isinstance(identities.open(alice, signed(town.bob)), Rejected)
    assert len(asked) == 4  # a bad signature is judged once


def test_threads_that_drive_each_other_out_all_get_their_verdicts(town: Town, identities: Identities) -> None:
    people = (town.alice, town.bob)
    faces = [known(identities, person) for person in people]
    orders = [signed(person) for person in people]
    verdicts: list[Opened | Rejected] = []

    def ask(place: int) -> None:
        for _ in range(6):
            verdicts.append(identities.open(faces[place], orders[place]))

    threads = [threading.Thread(target=ask, args=(each % 2,)) for each in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(verdicts) == 24
    # Each is a yes, or "ask again": never a no to a good signature.
    assert all(isinstance(each, Opened) or each.rule == "engine" for each in verdicts)
    assert any(isinstance(each, Opened) for each in verdicts)
    assert homes(identities) == 1


def test_an_opening_under_way_does_not_hold_up_the_customers_orders(town: Town, identities: Identities) -> None:
    alice = known(identities, town.alice)
    inside, leave = threading.Event(), threading.Event()
    opened: list[Identity] = []

    def accept(identity: Identity, read: Read) -> None:
        inside.set()
        assert leave.wait(20)

    def open_slowly() -> None:
        slow = Customer("1001", "Alice", Stage.PASSWORD, b"", town.bob.fingerprint, town.bob.key)  # another key
        opened.append(identities.present(Stage.SIGNED, slow, None, accept))

    thread = threading.Thread(target=open_slowly)
    thread.start()
    try:
        assert inside.wait(10)
        done: list[Opened | Rejected] = []
        order = threading.Thread(target=lambda: done.append(identities.open(alice, signed(town.alice))))
        order.start()
        order.join(5)
        assert isinstance(done[0], Opened)
    finally:
        leave.set()
        thread.join(10)
    assert opened


def test_a_refused_opening_changes_nothing(town: Town, identities: Identities) -> None:
    alice = known(identities, town.alice, Stage.CERTIFIED)

    def refuse(identity: Identity, read: Read) -> None:
        raise OpeningRefused(Reason.CLOCK)

    offered = town.certified_for(town.alice, "1001", "customer", days=29)
    with pytest.raises(OpeningRefused):
        identities.present(Stage.CERTIFIED, customer(town.alice), offered, refuse)
    assert homes(identities) == 1
    assert known(identities, town.alice, Stage.CERTIFIED) is alice


def test_without_an_authority_nobody_is_certified(town: Town, short_tmp: Path) -> None:
    identities = Identities(short_tmp / "homes", None, 1)
    try:
        with pytest.raises(OpeningRefused) as caught:
            known(identities, town.alice, Stage.CERTIFIED)
        assert caught.value.reason is Reason.CA_UNKNOWN
        assert known(identities, town.alice).certification is None
    finally:
        identities.close()


def test_dates_are_those_that_the_authority_certified(town: Town, identities: Identities) -> None:
    identity = known(identities, town.alice, Stage.CERTIFIED)
    assert identity.certification is not None
    begin, end = identity.certification.created, identity.certification.expires
    identity.require_current(begin)
    identity.require_current(end - 1)
    for now in (begin - 1, end):
        with pytest.raises(OpeningRefused) as caught:
            identity.require_current(now)
        assert caught.value.reason is Reason.CERTIFICATE_INVALID
    known(identities, town.alice).require_current(end)


def test_a_folder_that_another_has_put_there_is_not_used(short_tmp: Path) -> None:
    (short_tmp / "theirs").mkdir()
    (short_tmp / "homes").symlink_to(short_tmp / "theirs")
    with pytest.raises(ConfigurationError, match="cannot be made"):
        Identities(short_tmp / "homes", None, 1)
