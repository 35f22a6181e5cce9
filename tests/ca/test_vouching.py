"""A key vouches for one new key of its owner, once, while it counts; everything else takes a call."""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography import x509

from ca import inventory, issuing, lists, revoking, vouching
from ca.authority import Authority
from ca.ceremony import waiting_request
from ca.decisions import Certificate
from ca.errors import CeremonyError, DeskError, IssuingError, RequestError, UnprovenKey, VouchingError
from ca.messages import RequestState, State
from ca.requests import CertificateRequest, VouchedRequest, claimed_request, make_request, open_request
from ca.standing import standing as standing_of
from keyring import certification, keys, messages
from keyring.errors import NotCertified
from keyring.home import Home
from protocol import canonical
from protocol.orders import format_time
from tests.ca.cast import (
    PASSPHRASE,
    Applicant,
    Cast,
    certify,
    confirm,
    file,
    issued_to,
    openssl_verifies,
    prove,
    serving,
)
from tests.changes import with_last_byte_changed

DAY = 86_400


@dataclass(frozen=True)
class Heirs:
    """Alice with two keys more in her home, the second and the third."""

    first: Applicant
    second: Applicant
    third: Applicant

    def request(self, by: Applicant | None = None, of: Applicant | None = None, ahead: float = 0) -> bytes:
        """The second key's request, for which the first vouches."""
        of = of or self.second
        return make_request(
            self.first.home,
            of.fingerprint,
            role="customer",
            number=of.number,
            name=of.name,
            passphrase=None,
            clock=lambda: time.time() + ahead,
            succeeds=(by or self.first).fingerprint,
        )


@pytest.fixture(scope="session")
def heirs(cast: Cast, make_short_tmp: Callable[[], Path]) -> Iterator[Heirs]:
    folder = make_short_tmp() / "alice"
    shutil.copytree(cast.alice.home.path, folder, ignore=shutil.ignore_patterns("S.*"))
    home = Home.open(folder)
    first = replace(cast.alice, home=home)
    made = [replace(first, fingerprint=keys.new_customer_key(home, "Alice (1001)", None)) for _ in range(2)]
    yield Heirs(first, *made)
    home.stop()


def issue(authority: Authority, identifier: str, **options: float) -> Certificate:
    ahead = options.pop("ahead", 0)
    return issuing.issue(
        authority,
        identifier,
        days=90,
        passphrase=PASSPHRASE,
        clock=lambda: time.time() + ahead,
        operator="operator",
        **options,  # type: ignore[arg-type]
    )


def keys_certified(authority: Authority) -> set[str]:
    return {each.fingerprint for each in authority.decisions.certificates() if each.role == "customer"}


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
    ends = vouching.overlap_end(before, vouching.OVERLAP_DAYS, now)
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
    from ca.applicant import verify_own

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
    revoking.revoke(settled, bob, reason="cessation", passphrase=PASSPHRASE, clock=time.time)
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


# Attacks: each refused, with its honest twin issued in the same authority afterwards


def signed(by: Applicant, request: bytes, created: str | None = None) -> bytes:
    """What this key would sign around a request."""
    content = VouchedRequest(created=created or format_time(time.time()), request=request)
    return messages.sign(by.home, by.fingerprint, canonical.encode(content))


def inner(message: bytes) -> bytes:
    found = claimed_request(message).vouching
    assert found is not None
    return found.request


def with_fields(by: Applicant, message: bytes, **changes: object) -> bytes:
    """The request with other content, signed anew by its own key."""
    content = claimed_request(message).content
    values = {field: getattr(content, field) for field in content.__struct_fields__}
    return messages.sign(by.home, by.fingerprint, canonical.encode(CertificateRequest(**{**values, **changes})))


Attack = Callable[[Cast, Heirs], bytes]
ATTACKS: dict[str, Attack] = {
    "by somebody else's key, who is certified": lambda cast, heirs: signed(cast.bob, inner(heirs.request())),
    "by somebody else's key, which it names": lambda cast, heirs: signed(
        cast.bob, with_fields(heirs.second, heirs.request(), succeeds=cast.bob.fingerprint)
    ),
    "by a key in her name that nobody certified": lambda cast, heirs: signed(
        cast.impostor, with_fields(heirs.second, heirs.request(), succeeds=cast.impostor.fingerprint)
    ),
    "by the new key itself": lambda cast, heirs: signed(heirs.second, inner(heirs.request())),
    "for another number": lambda cast, heirs: signed(
        heirs.first, with_fields(cast.bob, cast.bob.request(), succeeds=heirs.first.fingerprint)
    ),
    "for another role": lambda cast, heirs: signed(
        heirs.first, with_fields(cast.bank, cast.bank.request(), succeeds=heirs.first.fingerprint)
    ),
    "by the bank's key": lambda cast, heirs: signed(
        cast.bank, with_fields(heirs.second, heirs.request(), succeeds=cast.bank.fingerprint)
    ),
    "for a request that names no key before": lambda cast, heirs: signed(heirs.first, heirs.second.request()),
    "without what the key before signs": lambda cast, heirs: inner(heirs.request()),
    "content changed by another signer": lambda cast, heirs: signed(
        heirs.first, with_fields(cast.impostor, heirs.request(), created="2026-01-01T00:00:00Z")
    ),
    "one byte of the outer signature": lambda cast, heirs: with_last_byte_changed(heirs.request()),
    "one byte of the inner signature": lambda cast, heirs: signed(
        heirs.first, with_last_byte_changed(inner(heirs.request()))
    ),
    "a vouching around a vouching": lambda cast, heirs: signed(heirs.first, heirs.request()),
    "signed long ago": lambda cast, heirs: signed(heirs.first, inner(heirs.request()), "2020-01-01T00:00:00Z"),
    "signed in the future": lambda cast, heirs: heirs.request(ahead=DAY),
    "for itself": lambda cast, heirs: signed(
        heirs.first, with_fields(heirs.first, cast.alice.request(), succeeds=heirs.first.fingerprint)
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_trial_48_nobody_else_vouches(settled: Authority, cast: Cast, heirs: Heirs, attack: str) -> None:
    message = ATTACKS[attack](cast, heirs)
    certify(settled, cast.bob)
    refused_everywhere(settled, message)
    honest = issue(settled, file(settled, heirs.request()))
    assert honest.succeeds == heirs.first.fingerprint


def refused_everywhere(authority: Authority, message: bytes) -> None:
    """By the desk or, where somebody has taken that over, by the authority."""
    before = keys_certified(authority)
    identifiers = set()
    try:
        identifiers.add(file(authority, message))
    except RequestError:
        forced = forced_in(authority, message)
        if forced is not None:
            identifiers.add(forced)
    for identifier in identifiers:
        with pytest.raises((IssuingError, RequestError)):
            issue(authority, identifier)
    assert keys_certified(authority) == before
    authority.desk.write("DELETE FROM requests")


def forced_in(authority: Authority, message: bytes) -> str | None:
    """Laid at the desk by whoever has it, as a request that is vouched for; None if it does not read as a request."""
    from ca.store import Filed

    try:
        claimed = claimed_request(message)
    except RequestError:
        return None
    content = claimed.content
    authority.desk.file_request(
        Filed(
            *(claimed.digest, content.fingerprint, content.number, content.role, content.name, message),
            *(int(time.time()), State.VOUCHED),
        ),
        "host",
    )
    return claimed.identifier


def test_trial_26_a_revoked_key_vouches_no_more(settled: Authority, heirs: Heirs) -> None:
    identifier = file(settled, heirs.request())
    revoking.revoke(
        settled, issued_to(settled, heirs.first), reason="key-compromise", passphrase=PASSPHRASE, clock=time.time
    )
    with pytest.raises(VouchingError, match="was revoked"):
        issue(settled, identifier)
    (waiting,) = inventory.open_requests(settled, int(time.time()))
    assert waiting.state == "waiting for the call"
    settled.desk.write("DELETE FROM requests")
    with pytest.raises(RequestError, match="no certificate that counts"):
        file(settled, heirs.request())
    assert keys_certified(settled) == {heirs.first.fingerprint}


def test_trial_26_a_key_whose_certificate_ended_vouches_no_more(settled: Authority, heirs: Heirs) -> None:
    before = issued_to(settled, heirs.first)
    identifier = file(settled, heirs.request(ahead=before.expires - time.time()))
    with pytest.raises(VouchingError, match="ended on"):
        issue(settled, identifier, ahead=before.expires - time.time() + 1)
    assert keys_certified(settled) == {heirs.first.fingerprint}
    settled.desk.write("DELETE FROM requests")
    assert issue(settled, file(settled, heirs.request())).succeeds


def test_trial_48_a_key_vouches_once_and_for_a_fresh_key(settled: Authority, cast: Cast, heirs: Heirs) -> None:
    late = heirs.request(of=heirs.third)
    made = issue(settled, file(settled, heirs.request()))
    # Replayed, it brings the same certificate back and nothing else.
    assert issue(settled, made.digest) == made
    refused_everywhere(settled, late)
    # The second cannot vouch for a third while three would count, nor for the first.
    with pytest.raises(IssuingError, match="another key until"):
        issue(settled, file(settled, heirs.request(by=heirs.second, of=heirs.third)))
    settled.desk.write("DELETE FROM requests")
    refused_everywhere(settled, heirs.request(by=heirs.second, of=heirs.first))
    # Revoked by number, both are: whoever stole a home has both keys.
    issued = revoking.revoke(
        settled, made, reason="key-compromise", passphrase=PASSPHRASE, clock=time.time, every_key=True
    )
    revoked = {each.fingerprint for each in settled.decisions.certificates() if each.is_revoked(issued.at)}
    assert revoked == {heirs.first.fingerprint, heirs.second.fingerprint}
    with pytest.raises(IssuingError, match="revoked"):
        issue(settled, made.digest)


def test_a_vouching_that_came_too_late_is_confirmed_on_the_telephone(settled: Authority, heirs: Heirs) -> None:
    identifier = file(settled, heirs.request())
    revoking.revoke(
        settled, issued_to(settled, heirs.first), reason="superseded", passphrase=PASSPHRASE, clock=time.time
    )
    confirm(settled, identifier, heirs.second.words)
    made = issue(settled, identifier)
    assert made.succeeds == ""
    assert prove(settled, heirs.second, made.certified).certification.reached_by == "called back"


def test_the_desk_says_at_once_that_nobody_vouched(settled: Authority, cast: Cast, heirs: Heirs) -> None:
    with serving(settled.desk) as desk:
        with pytest.raises(DeskError, match="signature does not count"):
            desk.submit_request(signed(cast.bob, inner(heirs.request())))
        assert isinstance(desk.submit_request(heirs.request()), RequestState)
    assert open_request(heirs.request()).content.succeeds == heirs.first.fingerprint


def test_lists_signed_ahead_are_one_a_day(settled: Authority, heirs: Heirs) -> None:
    now = 20 * DAY + 5
    certificate = replace(issued_to(settled, heirs.first), expires=100 * DAY)
    assert vouching.overlap_end(certificate, 3, now) == vouching.overlap_end(certificate, 3, now + 4000) == 24 * DAY
    assert vouching.overlap_end(replace(certificate, expires=21 * DAY), 3, now) == 21 * DAY
    assert lists.DEFAULT_DAYS >= vouching.OVERLAP_DAYS
