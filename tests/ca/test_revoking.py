"""What was revoked stays revoked, in both forms, and nothing older brings it back; trial 50, the authority's part."""

import time
from pathlib import Path

import pytest

from ca import bridge, ceremony, choosing, inventory, issuing, lists, revoking
from ca.authority import Authority
from ca.decisions import IssuedList
from ca.errors import CaError, CeremonyError, IssuingError, RevocationError, UnprovenKey
from ca.messages import Certified
from keyring.errors import PassphraseError
from protocol.codes import Reason
from protocol.secret import Secret
from tests.ca.cast import (
    CALL,
    PASSPHRASE,
    Applicant,
    Cast,
    certify,
    confirm,
    file,
    issue,
    issued_to,
    openssl_verifies,
    prove,
    serving,
)

DAY = 86_400


def revoke(authority: Authority, applicant: Applicant, reason: str = "key-compromise") -> IssuedList:
    found = issued_to(authority, applicant)
    return revoking.revoke(authority, found, reason=reason, operator="operator", passphrase=PASSPHRASE, clock=time.time)


def test_number_whose_certificate_was_revoked_is_not_called_issued(settled: Authority, cast: Cast) -> None:
    for what in (ceremony.waiting_request, choosing.filed):
        with pytest.raises(CaError, match="issued"):  # the honest twin
            what(settled, "1001", int(time.time()))
    revoke(settled, cast.alice)
    with pytest.raises(CeremonyError, match=r"was revoked on .* make a new key"):
        ceremony.waiting_request(settled, "1001", int(time.time()))


def refused(authority: Authority, applicant: Applicant, offered: Certified, highest: int = 0) -> tuple[str, Reason]:
    with pytest.raises(UnprovenKey) as caught:
        prove(authority, applicant, offered, highest=highest)
    return caught.value.rule, caught.value.reason


def test_trial_50_revocation_stops_both_forms_and_nobody_else(settled: Authority, cast: Cast, short_tmp: Path) -> None:
    offered, old = issued_to(settled, cast.alice).certified, settled.desk.revocations()
    prove(settled, cast.alice, offered, highest=1)
    assert revoke(settled, cast.alice).number == 2
    with serving(settled.desk) as desk:
        handed_out, crl, public = desk.fetch(cast.alice.fingerprint), desk.revocations(), desk.authority_key()
    assert isinstance(handed_out, Certified)
    assert handed_out.certificate == offered.certificate
    assert handed_out.key != offered.key
    # By the list, both the copy from before and the one from the desk.
    revoked = ("not-revoked", Reason.CERTIFICATE_REVOKED)
    for each in (offered, handed_out):
        assert refused(settled, cast.alice, each) == revoked
    prove(settled, cast.bank, issued_to(settled, cast.bank).certified)
    # gpg and openssl by themselves.
    say = openssl_verifies(short_tmp / "openssl", offered, public, crl, "customer")
    assert "certificate revoked" in say
    assert openssl_verifies(short_tmp / "openssl", offered, public, None, "customer") == "OK"
    settled.desk.put_revocations(old)
    assert refused(settled, cast.alice, handed_out) == revoked
    # The older list with the older key: only who remembers the number sees it.
    assert refused(settled, cast.alice, offered, highest=2) == ("crl-newest", Reason.CERTIFICATE_INVALID)
    prove(settled, cast.alice, offered, highest=1)


def test_revocation_says_when_and_why_in_records_and_list(settled: Authority, cast: Cast) -> None:
    certificate = issued_to(settled, cast.alice)
    before = int(time.time())
    made = revoke(settled, cast.alice, "cessation")
    root = bridge.open_root(settled.decisions.root(), settled.configuration.fingerprint)
    entry = bridge.open_crl(made.crl, root).revoked[int(certificate.serial, 16)]
    assert before <= entry.at <= time.time()
    assert entry.reason is lists.REASONS["cessation"]
    found = issued_to(settled, cast.alice)
    assert (found.revoked_at, found.reason) == (entry.at, "cessation")
    rows = {each.number: each.state for each in inventory.certificates(settled, int(time.time()))}
    assert rows == {"0000": "valid", "1001": "revoked"}


def test_revocation_takes_all_renewals(settled: Authority, cast: Cast) -> None:
    first = issued_to(settled, cast.alice)
    second = issuing.renew(settled, first, days=30, passphrase=PASSPHRASE, clock=time.time)
    made = revoke(settled, cast.alice)
    root = bridge.open_root(settled.decisions.root(), settled.configuration.fingerprint)
    assert set(bridge.open_crl(made.crl, root).revoked) == {int(each.serial, 16) for each in (first, second)}
    for each in (first, second):
        assert refused(settled, cast.alice, each.certified)[0] == "not-revoked"


def test_revoked_key_is_never_certified_again_but_another_for_the_number_is(settled: Authority, cast: Cast) -> None:
    revoke(settled, cast.alice)
    identifier = issued_to(settled, cast.alice).digest[:16]
    with pytest.raises(IssuingError, match="make a new key"):
        issue(settled, identifier)
    with pytest.raises(IssuingError, match="make a new key"):
        issuing.renew(settled, issued_to(settled, cast.alice), days=9, passphrase=PASSPHRASE, clock=time.time)
    again = cast.alice.request(lambda: time.time() + 5)
    # The desk takes it for issued already, so it would have to come by another way.
    settled.desk.write("DELETE FROM certificates WHERE role = 'customer'")
    other = file(settled, again)
    confirm(settled, other, cast.alice.words)
    with pytest.raises(IssuingError, match="make a new key"):
        issue(settled, other)
    # Her new key, which here is called the impostor's.
    made = certify(settled, cast.impostor)
    assert prove(settled, cast.impostor, made.certified).certificate.crl_number == 2


def test_wrong_passphrase_revokes_nothing_and_lists_nothing(settled: Authority, cast: Cast) -> None:
    found = issued_to(settled, cast.alice)
    wrong = Secret(b"wrong")
    with pytest.raises(PassphraseError):
        revoking.revoke(settled, found, reason="superseded", operator="operator", passphrase=wrong, clock=time.time)
    with pytest.raises(PassphraseError):
        revoking.issue_list(settled, days=30, passphrase=wrong, clock=time.time)
    newest = settled.decisions.newest_list()
    assert newest
    assert newest.number == 1
    assert issued_to(settled, cast.alice) == found
    prove(settled, cast.alice, found.certified)


def test_every_mistake_in_revoking_has_its_sentence(settled: Authority, cast: Cast) -> None:
    found = issued_to(settled, cast.alice)
    with pytest.raises(RevocationError, match=r"no reason to revoke.*key-compromise, .*cessation"):
        revoking.revoke(settled, found, reason="anger", operator="operator", passphrase=PASSPHRASE, clock=time.time)
    with pytest.raises(CeremonyError, match="operator's name is recorded"):
        revoking.revoke(settled, found, reason="superseded", operator=" ", passphrase=PASSPHRASE, clock=time.time)
    with pytest.raises(RevocationError, match="by itself; there is nothing to revoke"):
        revoking.revoke(
            settled, found, reason="superseded", operator="operator", passphrase=PASSPHRASE, clock=lambda: found.expires
        )
    with pytest.raises(RevocationError, match="1 to 100 days"):
        revoking.issue_list(settled, days=101, passphrase=PASSPHRASE, clock=time.time)
    with pytest.raises(RevocationError, match="clock right"):
        revoking.issue_list(settled, days=30, passphrase=PASSPHRASE, clock=lambda: found.issued - DAY)
    revoke(settled, cast.alice)
    with pytest.raises(RevocationError, match=r"revoked since .*ca crl"):
        revoke(settled, cast.alice)


def test_fresh_lists_keep_what_was_revoked_until_it_has_long_expired(settled: Authority, cast: Cast) -> None:
    certificate = issued_to(settled, cast.alice)
    revoke(settled, cast.alice)
    root = bridge.open_root(settled.decisions.root(), settled.configuration.fingerprint)

    def listed(at: float) -> tuple[int, set[int]]:
        made = revoking.issue_list(settled, days=30, passphrase=PASSPHRASE, clock=lambda: at)
        opened = bridge.open_crl(made.crl, root)
        assert settled.desk.revocations() == made.crl
        return opened.number, set(opened.revoked)

    serial = int(certificate.serial, 16)
    assert listed(time.time()) == (3, {serial})
    assert listed(certificate.expires + 29 * DAY) == (4, {serial})
    assert listed(certificate.expires + 31 * DAY) == (5, set())


def test_late_list_stops_certificates_that_are_good(settled: Authority, cast: Cast) -> None:
    offered = issued_to(settled, cast.alice).certified
    first = settled.decisions.newest_list()
    assert first
    prove(settled, cast.alice, offered, first.next_update)
    with pytest.raises(UnprovenKey, match="ca crl") as caught:
        prove(settled, cast.alice, offered, first.next_update + 1)
    assert (caught.value.rule, caught.value.reason) == ("crl-current", Reason.CERTIFICATE_INVALID)


def test_desk_that_lost_the_revocation_gets_it_again(settled: Authority, cast: Cast) -> None:
    """As after a crash between the two databases."""
    before, old = issued_to(settled, cast.alice), settled.desk.revocations()
    revoke(settled, cast.alice)
    settled.desk.put_certificate(before)
    settled.desk.put_revocations(old)
    revoking.issue_list(settled, days=30, passphrase=PASSPHRASE, clock=time.time)
    assert refused(settled, cast.alice, before.certified)[0] == "not-revoked"
    assert settled.desk.certificate(cast.alice.fingerprint) == (
        issued_to(settled, cast.alice).certified,
        before.expires,
    )


def test_revoked_banks_notices_no_longer_count(settled: Authority, cast: Cast) -> None:
    notice = cast.bank.notice(cast.bob)
    identifier = file(settled, cast.bob.request())
    revoke(settled, cast.bank)
    assert settled.bank_keys(int(time.time())) == ()
    with pytest.raises(CeremonyError, match="No bank is certified"):
        confirm(settled, identifier, cast.bob.words, CALL, notice)
