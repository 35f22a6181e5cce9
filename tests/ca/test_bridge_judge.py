"""Each mistake in a certificate, root or list is refused by its own rule, and the honest twin is accepted."""

import hashlib
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography import x509

from ca.bridge import RULES, CertificateRefused, Revocation, judge_leaf, make_crl, open_crl
from protocol.codes import Reason
from tests.ca.bridge_cast import DAY, ENDS, NOW, REQUEST_DIGEST, Offer, World, world
from tests.ca.bridge_mistakes import MISTAKES, SUPERSEDED, raw_crl, serial


@pytest.mark.parametrize("role", ["customer", "bank"])
def test_honest_certificate_is_accepted(role: str) -> None:
    w = world()
    party = w.bank if role == "bank" else w.alice
    offer = w.offer(party)
    judged = offer.judge()
    assert judged.holder == party.holder
    assert judged.fingerprint == party.fingerprint
    assert (judged.not_before, judged.not_after) == (NOW, ENDS - 1)
    assert judged.digest == hashlib.sha256(offer.certificate).hexdigest()
    assert judged.request_digest == REQUEST_DIGEST
    assert judged.serial == serial(offer)
    assert judged.crl_number == 7


@pytest.mark.parametrize(("rule", "what", "mistaken"), MISTAKES, ids=[f"{rule}: {what}" for rule, what, _ in MISTAKES])
def test_mistake_is_refused_by_its_rule(rule: str, what: str, mistaken: Callable[[World], Offer]) -> None:
    offer = mistaken(world())
    with pytest.raises(CertificateRefused) as caught:
        offer.judge()
    assert caught.value.rule == rule, f"{what}: {caught.value}"
    assert caught.value.reason is RULES[rule]
    assert str(caught.value).endswith(".")


def test_every_rule_has_a_mistake_that_it_refuses() -> None:
    assert {rule for rule, _, _ in MISTAKES} == set(RULES)


def test_reasons_are_those_of_certificates() -> None:
    assert set(RULES.values()) == {
        *(Reason.CERTIFICATE_REVOKED, Reason.CERTIFICATE_INVALID, Reason.CERTIFICATE_MISSING, Reason.CA_UNKNOWN)
    }


@pytest.mark.parametrize("at", [NOW, NOW + 30 * DAY], ids=["first second", "last second of the list"])
def test_first_and_last_second_count(at: int) -> None:
    replace(world().offer(world().alice), at=at).judge()


def test_last_second_of_the_certificate_counts() -> None:
    w = world()
    crl = make_crl(w.authority.key, w.root, number=8, at=ENDS - DAY, next_update=ENDS + DAY, revoked=())
    offer = replace(w.offer(w.alice), crl=crl, at=ENDS - 1)
    offer.judge()
    with pytest.raises(CertificateRefused) as caught:
        replace(offer, at=ENDS).judge()
    assert caught.value.rule == "not-expired"


@pytest.mark.parametrize(("number", "highest"), [(7, 0), (7, 7), (8, 7)])
def test_list_as_new_as_the_newest_is_taken(number: int, highest: int) -> None:
    w = world()
    offer = replace(w.offer(w.alice), crl=w.crl(number=number), highest_crl_number=highest)
    assert offer.judge().crl_number == number


def test_without_a_list_where_none_was_seen_revocation_is_not_judged() -> None:
    assert replace(world().offer(world().alice), crl=None).judge().crl_number is None


def test_list_of_another_program_is_taken_if_it_says_the_same() -> None:
    """The honest twin of the mistaken lists."""
    w = world()
    replace(w.offer(w.alice), crl=raw_crl(w, w.authority, entry=SUPERSEDED)).judge()


def test_revocation_of_another_certificate_changes_nothing() -> None:
    w = world()
    offer = w.offer(w.alice)
    replace(offer, crl=w.crl(Revocation(serial(offer) + 1, NOW))).judge()


def test_judged_certificate_is_asked_anew_for_every_order() -> None:
    """In an open session: the newest list, kept open by the bank, stops the next order; so do the dates."""
    w = world()
    offer = w.offer(w.alice)
    judged = judge_leaf(
        offer.certificate, root=w.root, role="customer", number="1001", fingerprint=offer.fingerprint, at=NOW
    )
    good = open_crl(w.crl(), w.root)
    judged.require_good(NOW + DAY, good)
    revoked = open_crl(w.crl(Revocation(judged.serial, NOW, x509.ReasonFlags.superseded), number=8), w.root)
    assert revoked.revoked[judged.serial].reason is x509.ReasonFlags.superseded
    for at, crl, rule in (
        (NOW + DAY, revoked, "not-revoked"),
        (NOW + 31 * DAY, good, "crl-current"),
        (ENDS, good, "not-expired"),
        (NOW - 1, good, "already-valid"),
    ):
        with pytest.raises(CertificateRefused) as caught:
            judged.require_good(at, crl)
        assert caught.value.rule == rule
    # The older list is still signed, and does not bring the certificate back.
    with pytest.raises(CertificateRefused) as caught:
        open_crl(w.crl(), w.root, highest_seen=revoked.number)
    assert caught.value.rule == "crl-newest"


def test_sentence_of_a_revocation_names_date_and_reason() -> None:
    w = world()
    offer = w.offer(w.alice)
    entry = Revocation(serial(offer), NOW, x509.ReasonFlags.key_compromise)
    with pytest.raises(CertificateRefused, match=r"revoked on 2027-01-15T08:00:00Z \(keyCompromise\)"):
        replace(offer, crl=w.crl(entry)).judge()


def test_a_list_of_an_authority_whose_clock_is_ahead_by_minutes_counts() -> None:
    """It is fetched within seconds of its making; five minutes is what clocks may differ by everywhere else."""
    w = world()
    crl = make_crl(w.authority.key, w.root, number=8, at=NOW + 300, next_update=ENDS, revoked=())
    replace(w.offer(w.alice), crl=crl, at=NOW).judge()
