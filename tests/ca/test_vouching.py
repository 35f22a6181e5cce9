"""A key vouches for one new key of its owner, and both count until the end that the authority has signed."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from ca import inventory, issuing, lists, revoking, vouching
from ca.applicant import verify_own
from ca.authority import Authority
from ca.ceremony import waiting_request
from ca.decisions import Certificate
from ca.errors import CeremonyError, IssuingError, UnprovenKey
from ca.messages import State
from ca.standing import standing as standing_of
from keyring import certification
from keyring.errors import NotCertified
from protocol.orders import format_time
from tests.ca.cast import (
    PASSPHRASE,
    Applicant,
    Cast,
    certify,
    file,
    issued_to,
    openssl_verifies,
    prove,
    serving,
)
from tests.ca.heirs import Heirs, issue, keys_certified

DAY = 86_400


def test_a_vouched_key_is_certified_without_a_call_and_both_count_for_the_overlap(
    settled: Authority, heirs: Heirs, short_tmp: Path
) -> None:
    before, now = issued_to(settled, heirs.first), int(time.time())
    with serving(settled.desk) as desk:
        state = desk.submit_request(heirs.request())
        assert state.state is State.VOUCHED
        assert desk.submit_request(heirs.request()) == state  # another for the same key changes nothing
        assert desk.fetch(heirs.second.fingerprint) == state
        (waiting,) = inventory.open_requests(settled, now)
        assert waiting.state == "vouched for, to be issued"
        assert standing_of(settled, now).next_step == f"ca issue {state.identifier}"
        with pytest.raises(CeremonyError, match="needs no call"):
            waiting_request(settled, state.identifier, now)
        made = issue(settled, state.identifier)
        assert desk.fetch(heirs.second.fingerprint) == made.certified
        assert inventory.open_requests(settled, now) == ()
    said = prove(settled, heirs.second, made.certified).certification
    assert (said.succeeds, said.confirmed_by) == (heirs.first.fingerprint, "operator")
    assert said.reached_by == f"vouched for by {heirs.first.fingerprint}"
    # Both count, for stock tools too.
    public, crl = settled.desk.authority(), settled.desk.revocations()
    for certificate in (before, made):
        assert openssl_verifies(short_tmp / "openssl", certificate.certified, public, crl, "customer") == "OK"
    last = inventory.last_of(settled, heirs.first.fingerprint)
    assert last is not None
    prove(settled, heirs.first, last.certified)
    assert last.renews == before.serial
    ends = vouching.overlap_end([before], vouching.OVERLAP_DAYS, now)
    assert 14 * DAY <= ends - now <= 15 * DAY
    assert abs(last.expires - ends) <= 2
    states = {each.serial: each.state for each in inventory.certificates(settled, now)}
    assert states[before.serial] == states[last.serial] == "valid, succeeded"
    assert states[made.serial] == "valid"
    described = inventory.described(settled, of_serial(settled, before.serial), now)
    assert (described["succeeded_by"], described["expires"]) == (heirs.second.fingerprint, format_time(ends))
    assert inventory.find(settled, "1001", now) == made
    renewed = issuing.renew(settled, made, days=99, passphrase=PASSPHRASE, clock=lambda: time.time() + 2)
    assert prove(settled, heirs.second, renewed.certified, renewed.issued).certification.succeeds == said.succeeds
    with pytest.raises(IssuingError, match="succeeded by"):
        issuing.renew(settled, before, days=9, passphrase=PASSPHRASE, clock=time.time)


def test_when_the_overlap_ends_nobody_has_to_come_back(settled: Authority, heirs: Heirs, short_tmp: Path) -> None:
    before = issued_to(settled, heirs.first)
    made = issue(settled, file(settled, heirs.request()), overlap_days=1)
    last = inventory.last_of(settled, heirs.first.fingerprint)
    ends = of_serial(settled, before.serial).ends
    now, public = settled.desk.revocations(), settled.desk.authority()
    assert settled.desk.revocations(ends - 1) == now
    then = settled.desk.revocations(ends)
    assert then != now
    crl = x509.load_der_x509_crl(then)
    (entry,) = crl
    assert f"{entry.serial_number:040x}" == before.serial
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.superseded
    assert int(crl.last_update_utc.timestamp()) == ends
    first = x509.load_der_x509_crl(now)
    assert crl.next_update_utc == first.next_update_utc  # whoever has it early gains no time
    # What was handed out with longer dates is stopped by the list, for openssl too, which goes by its clock.
    with pytest.raises(UnprovenKey) as refused:
        verify_at(settled, heirs.first, before, then, ends)
    assert refused.value.rule == "not-revoked"
    verify_at(settled, heirs.first, before, now, ends - 1)
    assert "certificate revoked" in openssl_verifies(short_tmp / "o", before.certified, public, then, "customer", ends)
    assert openssl_verifies(short_tmp / "o", made.certified, public, then, "customer", ends) == "OK"
    # What gpg gets from now on ends by itself.
    assert last is not None
    for at, counts in ((ends - 2, True), (ends + 2, False)):
        judged = gpg_judges(settled, last, at, short_tmp / f"home-{at}")
        assert judged is counts, at
    # The next list of the authority says the same, whenever it is made.
    later = revoking.issue_list(settled, days=30, passphrase=PASSPHRASE, clock=lambda: ends + DAY)
    assert [f"{each.serial_number:040x}" for each in x509.load_der_x509_crl(later.crl)] == [before.serial]
    assert later.number == 4


def of_serial(authority: Authority, serial: str) -> Certificate:
    return next(each for each in authority.decisions.certificates() if each.serial == serial)


def verify_at(authority: Authority, applicant: Applicant, certificate: Certificate, crl: bytes, at: int) -> None:
    verify_own(
        certificate.certified,
        authority=authority.desk.authority(),
        crl=crl,
        ca_fingerprint=authority.configuration.fingerprint,
        fingerprint=applicant.fingerprint,
        number="1001",
        role="customer",
        at=at,
    )


def gpg_judges(authority: Authority, certificate: Certificate, at: int, folder: Path) -> bool:
    """Whether gpg itself trusts the key as it is handed out, at this time."""
    public, fingerprint = authority.public(), authority.configuration.fingerprint
    try:
        certification.judged_home(
            folder,
            ca_key=public.key,
            ca_fingerprint=fingerprint,
            offered=certificate.key,
            expected_fingerprint=certificate.fingerprint,
            at=at,
        )
    except NotCertified:
        return False
    return True


def test_a_list_signed_ahead_gives_way_to_every_later_one(settled: Authority, cast: Cast, heirs: Heirs) -> None:
    """A revocation in the overlap stands in the list of its end, too, and what the desk laid out before is gone."""
    before, bob = issued_to(settled, heirs.first), certify(settled, cast.bob)
    issue(settled, file(settled, heirs.request()))
    early = settled.desk.revocations(before.expires)
    revoking.revoke(settled, bob, reason="cessation", operator="operator", passphrase=PASSPHRASE, clock=time.time)
    then = settled.desk.revocations(before.expires)
    assert then != early
    assert {f"{each.serial_number:040x}" for each in x509.load_der_x509_crl(then)} == {before.serial, bob.serial}
    numbers = [
        x509.load_der_x509_crl(each).extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        for each in (early, settled.desk.revocations(), then)
    ]
    assert numbers == sorted(numbers)


def test_the_overlap_is_bounded(settled: Authority, heirs: Heirs) -> None:
    identifier = file(settled, heirs.request())
    for days in (0, 31):
        with pytest.raises(IssuingError, match="1 to 30 days"):
            issue(settled, identifier, overlap_days=days)
    assert keys_certified(settled) == {heirs.first.fingerprint}
    assert issue(settled, identifier, overlap_days=30).succeeds


def test_a_key_renewed_for_a_shorter_time_ends_in_every_form(settled: Authority, heirs: Heirs) -> None:
    """Of two certificates of the key before, the older one may be good for longer."""
    before, now = issued_to(settled, heirs.first), int(time.time())
    shorter = issuing.renew(settled, before, days=5, passphrase=PASSPHRASE, clock=time.time)
    issue(settled, file(settled, heirs.request()))
    ends = of_serial(settled, before.serial).ends
    assert 14 * DAY <= ends - now <= 15 * DAY
    assert of_serial(settled, shorter.serial) == inventory.last_of(settled, heirs.first.fingerprint)
    (entry,) = x509.load_der_x509_crl(settled.desk.revocations(ends))
    assert f"{entry.serial_number:040x}" == before.serial


def test_lists_signed_ahead_are_one_a_day(settled: Authority, heirs: Heirs) -> None:
    now = 20 * DAY + 5
    long = replace(issued_to(settled, heirs.first), expires=100 * DAY)
    short = replace(long, expires=21 * DAY)
    assert vouching.overlap_end([long], 3, now) == vouching.overlap_end([long], 3, now + 4000) == 24 * DAY
    assert vouching.overlap_end([short], 3, now) == 21 * DAY
    assert (
        vouching.overlap_end([short, long], 3, now) == 24 * DAY
    )  # renewed for a shorter time, it counts to the later end
    assert lists.DEFAULT_DAYS >= vouching.OVERLAP_DAYS
