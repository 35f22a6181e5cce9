"""The hostile messages of tests/hostile knock at the bank's own service, where none of them gets further than gpg."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keyring.home import Home
from keyring.process import run
from protocol import canonical
from protocol.codes import Reason
from protocol.frames import Frame, FrameType
from protocol.messages import Open, PasswordFrame, SubmitOrder
from protocol.secret import Secret
from protocol.stages import Stage
from tests.bank.counter import Counter
from tests.bank.town import Person
from tests.hostile.cast import Cast, make_cast
from tests.hostile.certs import named
from tests.hostile.envelopes import PASSWORD, SEALED, EnvelopeCase, Mail
from tests.hostile.sealing import ToKey, UnderPassword
from tests.hostile.signatures import SIGNATURES
from tests.hostile.signers import SIGNERS
from tests.hostile.structures import STRUCTURES
from tests.keyring.parties import succeeded

ORDERS = tuple(case for case in (*SIGNATURES, *SIGNERS, *STRUCTURES) if (case.home, case.by) == ("alice", "alice"))
NUMBER = "1003"


@pytest.fixture(scope="module")
def cast(make_short_tmp: Callable[[], Path]) -> Cast:
    return make_cast(make_short_tmp())


@pytest.fixture(scope="module")
def customer(counter: Counter, cast: Cast, make_short_tmp: Callable[[], Path]) -> Iterator[Person]:
    """The cast's Alice as a customer of the bank: her key is registered, and in a GnuPG home of her own."""
    home = Home.create(make_short_tmp() / "alice", own_keys=True)
    succeeded(run(home, "--import", stdin=cast.alice.transferable + named(cast.alice, b"Alice (1001)")))
    counter.server.customers.register_key(NUMBER, cast.alice.fingerprint, cast.people["alice"].certificate)
    yield Person(NUMBER, home, cast.alice.fingerprint, b"", b"", Secret(b"none"))
    home.stop()


@pytest.fixture(scope="module")
def mail(counter: Counter, cast: Cast) -> Mail:
    """To the bank's key, and under Alice's password."""
    bank = succeeded(run(counter.town.view, "--export", counter.town.bank_fingerprint)).output
    other = succeeded(run(counter.town.bob.home, "--export", counter.town.bob.fingerprint)).output
    password = UnderPassword(counter.town.alice.password.reveal())
    return Mail(ToKey.of(bank), password, ToKey.of(other), cast.from_alice().join())


def hostile(cases: tuple[EnvelopeCase, ...], trial: int) -> list[EnvelopeCase]:
    return [case for case in cases if case.trial == trial]


def sealed_refusal(counter: Counter, mail: Mail, case: EnvelopeCase) -> tuple[Reason, str | None]:
    return counter.refusal(Frame(FrameType.OPEN, canonical.encode(Open(sealed=case.make(mail), stage=Stage.SESSION))))


def password_refusal(counter: Counter, mail: Mail, case: EnvelopeCase) -> tuple[Reason, str | None]:
    envelope = PasswordFrame(customer="1001", sealed=case.make(mail))
    return counter.refusal(Frame(FrameType.PASSWORD, canonical.encode(envelope)))


def opening_is_refused(counter: Counter, mail: Mail, trial: int) -> None:
    for case in hostile(SEALED, trial):
        reason, field = sealed_refusal(counter, mail, case)
        assert reason is Reason.MALFORMED, case
        # What opens is refused as well, since it is no opening; but for what it says and not for its seal.
        assert (field == "sealed") == (case.rule is not None), case


def password_is_refused(counter: Counter, mail: Mail, trial: int) -> None:
    for case in hostile(PASSWORD, trial):
        reason, _ = password_refusal(counter, mail, case)
        assert reason is (Reason.MALFORMED if case.rule is None else Reason.PASSWORD), case


def test_trial_27_an_opening_that_is_not_sealed_as_it_must_be_is_refused(counter: Counter, mail: Mail) -> None:
    opening_is_refused(counter, mail, 27)


def test_trial_28_an_opening_whose_seal_was_tampered_with_is_refused(counter: Counter, mail: Mail) -> None:
    opening_is_refused(counter, mail, 28)


def test_trial_27_a_password_message_that_is_another_is_refused(counter: Counter, mail: Mail) -> None:
    password_is_refused(counter, mail, 27)


def test_trial_28_a_password_message_that_was_tampered_with_is_refused(counter: Counter, mail: Mail) -> None:
    password_is_refused(counter, mail, 28)


def orders_are_refused(counter: Counter, cast: Cast, customer: Person, trial: int) -> None:
    entries = counter.count("entry")
    chosen = [case for case in ORDERS if case.trial == trial]
    assert chosen
    with counter.session(customer, Stage.SIGNED) as talk:
        for case in chosen:
            reason, field = talk.refusal(SubmitOrder(number=1, order=case.make(cast), since=None))
            # A twin is opened, and refused for its content, which is no order of this bank's.
            assert reason is (Reason.MALFORMED if case.rule is None else Reason.SIGNATURE), (str(case), reason, field)
    assert counter.count("entry") == entries


def test_trial_26_an_order_whose_signature_does_not_count(counter: Counter, cast: Cast, customer: Person) -> None:
    orders_are_refused(counter, cast, customer, 26)


def test_trial_27_an_order_that_is_built_otherwise(counter: Counter, cast: Cast, customer: Person) -> None:
    orders_are_refused(counter, cast, customer, 27)


def test_trial_29_an_order_with_status_lines_in_it(counter: Counter, cast: Cast, customer: Person) -> None:
    orders_are_refused(counter, cast, customer, 29)


def test_trial_30_an_order_signed_by_another(counter: Counter, cast: Cast, customer: Person) -> None:
    orders_are_refused(counter, cast, customer, 30)


def test_trial_31_an_order_that_names_another_signer(counter: Counter, cast: Cast, customer: Person) -> None:
    orders_are_refused(counter, cast, customer, 31)


def test_an_honest_order_of_the_same_customer_is_decided(counter: Counter, customer: Person) -> None:
    with counter.session(customer, Stage.SIGNED) as talk:
        entry = talk.pay("honest", creditor="1002")
    assert entry.debtor == NUMBER
