"""While one key takes over from another, both count at the bank; a second key that nobody vouched for never does."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bank.batch import Refused
from bank.certificates import BOOKING_MARGIN_SECONDS, Certificates
from bank.identities import OpeningRefused
from bank.reverify import audit_bank
from ca.bridge import CertificateRefused, open_root
from protocol import canonical
from protocol.codes import Reason, Status
from protocol.messages import LookUpOrder, NumberedReceipt
from protocol.stages import Stage
from tests.bank.counter import Counter, Talk, at_counter, entry_of, refusal_in
from tests.bank.forgery import forged
from tests.bank.ledgers import NOW, Bank
from tests.bank.ledgers import entry_of as entry_of_outcome
from tests.bank.test_certificates import learn
from tests.bank.town import DAY, Person, Town, judged

CERTIFIED = Stage.CERTIFIED


@pytest.fixture
def own_counter(town: Town, short_tmp: Path) -> Iterator[Counter]:
    """A bank of the test's own, since what it learns of keys stays."""
    with at_counter(town, short_tmp) as counter:
        yield counter


def successor(town: Town, before: str) -> Person:
    """Alice with the key that succeeds ``before`` by the authority's record; "" for one that nobody vouched for."""
    key = town.certified_for(town.impostor, "1001", "customer", days=29, succeeds=before)
    return replace(town.impostor, certified=key, certificate=forged(town, town.impostor))


def registered(counter: Counter) -> str | None:
    found = counter.server.customers.get("1001")
    assert found is not None
    return found.registered_fingerprint


def test_both_keys_count_until_the_authority_ends_the_first(own_counter: Counter) -> None:
    town = own_counter.town
    new = successor(town, town.alice.fingerprint)
    with (
        own_counter.session(town.alice, CERTIFIED) as old_talk,
        own_counter.session(new, CERTIFIED) as new_talk,
    ):
        for place in range(2):
            assert old_talk.pay(f"old-{place}").status is Status.SETTLED
            assert new_talk.pay(f"new-{place}").status is Status.SETTLED
        made = own_counter.server.opener.identities._made
        assert new_talk.pay("new-3").status is Status.SETTLED
        assert old_talk.pay("old-3").status is Status.SETTLED
        with own_counter.session(town.alice, CERTIFIED) as again:
            assert again.pay("old-again").status is Status.SETTLED
        assert own_counter.server.opener.identities._made == made  # neither pushes the other's home out
        assert learn(own_counter, town.crl(2, town.alice.certificate))
        late = own_counter.submission(town.alice, "old-late", CERTIFIED)
        assert old_talk.refusal(late) == (Reason.CERTIFICATE_REVOKED, "certificate")
        assert new_talk.pay("new-late").status is Status.SETTLED
    assert audit_bank(own_counter.home, since=0, progress=lambda *_: None).findings == ()


@pytest.mark.parametrize("before", ["", "bob"])
def test_trial_26_a_second_key_that_does_not_succeed_the_first_is_refused(own_counter: Counter, before: str) -> None:
    town = own_counter.town
    with own_counter.session(town.alice, CERTIFIED) as talk:
        talk.pay("first-key")
    second = successor(town, town.bob.fingerprint if before else "")
    said = refusal_in(own_counter.say(own_counter.opening(second, CERTIFIED).frame))
    assert (said.reason, said.field) == (Reason.OTHER_KEY, "certificate")
    honest = successor(town, town.alice.fingerprint)
    with own_counter.session(honest, CERTIFIED) as talk:
        assert talk.pay("successor").status is Status.SETTLED


def test_the_registered_key_follows_a_recorded_succession_and_never_goes_back(own_counter: Counter) -> None:
    town, customers = own_counter.town, own_counter.server.customers
    new = successor(town, town.alice.fingerprint)
    assert registered(own_counter) == town.alice.fingerprint
    talk = own_counter.open(new, CERTIFIED)  # opened, and nothing said yet
    assert registered(own_counter) == town.alice.fingerprint
    assert talk.pay("new").status is Status.SETTLED
    talk.connection.close()
    assert registered(own_counter) == new.fingerprint
    with own_counter.session(town.alice, CERTIFIED) as old:
        assert old.pay("old").status is Status.SETTLED
    assert registered(own_counter) == new.fingerprint
    customers.lower_floor("1001", Stage.SIGNED)
    refused = refusal_in(own_counter.say(own_counter.opening(town.alice, Stage.SIGNED).frame))
    assert refused.reason is Reason.SIGNATURE
    with own_counter.session(new, Stage.SIGNED) as talk:
        assert talk.pay("signed-by-the-new").status is Status.SETTLED


def test_another_registered_key_stays(own_counter: Counter) -> None:
    """What follows is the key that vouched, and no other that the customer has registered once."""
    town = own_counter.town
    with own_counter.ledger.writing() as connection:
        connection.exec_driver_sql(
            "UPDATE customer SET registered_fingerprint = ? WHERE number = '1001'", (town.bob.fingerprint,)
        )
    with own_counter.session(successor(town, town.alice.fingerprint), CERTIFIED) as talk:
        assert talk.pay("new").status is Status.SETTLED
    assert registered(own_counter) == town.bob.fingerprint


def look_up(talk: Talk, counter: Counter, content: bytes, identifier: str) -> NumberedReceipt:
    asked = LookUpOrder(number=8, order=canonical.digest(content), since=None, transfer_identifier=identifier)
    answer = talk.ask(asked)
    assert isinstance(answer, NumberedReceipt), answer
    return answer


def test_trial_13_a_retry_after_the_change_of_the_key_gets_the_same_entry(own_counter: Counter) -> None:
    town = own_counter.town
    new = successor(town, town.alice.fingerprint)
    order = own_counter.submission(town.alice, "rent", CERTIFIED)
    with own_counter.session(town.alice, CERTIFIED) as talk:
        first = talk.ask(order)
        assert isinstance(first, NumberedReceipt)
        content = opened_content(own_counter, order)
    entry, entries = entry_of(first), own_counter.count("entry")
    with own_counter.session(new, CERTIFIED) as talk:
        talk.pay("between")
        found = look_up(talk, own_counter, content, "rent").receipt
        assert (found.entry, found.index, found.duplicate) == (first.receipt.entry, first.receipt.index, True)
        assert found.head != first.receipt.head  # proved against a current head
        # The bytes of that time belong to a session under the key of that time.
        assert talk.refusal(order) == (Reason.SIGNATURE, "order")
    with own_counter.session(town.alice, CERTIFIED) as talk:
        again = talk.ask(order)
        assert isinstance(again, NumberedReceipt)
        assert (again.receipt.entry, again.receipt.duplicate) == (first.receipt.entry, True)
    assert learn(own_counter, town.crl(2, town.alice.certificate))
    with own_counter.session(new, CERTIFIED) as talk:
        assert look_up(talk, own_counter, content, "rent").receipt.entry == first.receipt.entry
    assert own_counter.count("entry") == entries + 1
    assert entry.transfer_identifier == "rent"


def opened_content(counter: Counter, order: Any) -> bytes:
    with counter.ledger.reading() as connection:
        return bytes(
            connection.exec_driver_sql("SELECT content FROM entry WHERE message = ?", (order.order,)).scalar_one()
        )


def test_trial_49_a_list_signed_ahead_is_not_taken_before_its_time(own_counter: Counter) -> None:
    """Or whoever has the desk could keep the list of now out with the one for the end of an overlap."""
    town = own_counter.town
    ahead = town.crl(9, town.alice.certificate, ago=-DAY)
    with pytest.raises(CertificateRefused) as refused:
        learn(own_counter, ahead)
    assert refused.value.rule == "crl-already-valid"
    with own_counter.session(town.alice, CERTIFIED) as talk:
        assert talk.pay("meanwhile").status is Status.SETTLED
        assert learn(own_counter, town.crl(8))
        own_counter.clock.ahead = DAY + 1
        assert learn(own_counter, ahead)
        late = own_counter.submission(town.alice, "late", CERTIFIED)
        assert talk.refusal(late) == (Reason.CERTIFICATE_REVOKED, "certificate")


# The last second of a certificate


def test_an_order_is_not_judged_so_late_that_its_booking_would_come_after_its_certificate(
    own_counter: Counter,
) -> None:
    town = own_counter.town
    certificate = judged(town.alice.certificate, town.root, town.alice.fingerprint, "1001", "customer")
    certificates = Certificates(own_counter.ledger, open_root(town.root, town.authority_fingerprint))
    learn(own_counter, town.crl(2, days=60))
    for late in range(BOOKING_MARGIN_SECONDS):
        with pytest.raises(OpeningRefused) as refused:
            certificates.require_good(certificate, certificate.not_after - late)
        assert refused.value.reason is Reason.CERTIFICATE_INVALID
    at = certificate.not_after - BOOKING_MARGIN_SECONDS
    assert certificates.require_good(certificate, at) == (2, certificate.not_after)
    learn(own_counter, town.crl(3, days=1))
    number, until = certificates.require_good(certificate, int(own_counter.clock()))
    assert (number, until < certificate.not_after) == (3, True)


def test_an_order_that_waited_past_its_certificate_is_refused_and_uses_nothing_up(bank: Bank) -> None:
    """Whatever the queue and the clock do: what is booked was under a certificate that counted at that time."""
    bank.open_accounts(n1001="50.00", n1002="0")
    submission = bank.order("1001", "1002", "20", "late")
    outcome = bank.post(replace(submission, good_until=NOW - 1))
    assert isinstance(outcome, Refused)
    assert (outcome.reason, outcome.field) == (Reason.CERTIFICATE_INVALID, "certificate")
    assert bank.count("entry") == 1
    first = bank.post(replace(submission, good_until=NOW))
    assert entry_of_outcome(first).status is Status.SETTLED
    # Decided once, it is told again for ever.
    repeated = bank.post(replace(submission, good_until=NOW - 1))
    assert entry_of_outcome(repeated) == entry_of_outcome(first)
