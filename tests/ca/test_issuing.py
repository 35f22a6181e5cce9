"""What is issued says the same in both forms, for the same time, as openssl and gpg read it too."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from ca import inventory, issuing
from ca.applicant import read_mailed
from ca.authority import Authority
from ca.config import Configuration
from ca.decisions import Certificate
from ca.errors import CaError, DeskError, IssuingError, RequestError, UnprovenKey
from ca.messages import Certified
from ca.requests import CertificateRequest, claimed_request, open_request
from keyring import keys, messages
from keyring.errors import PassphraseError
from protocol import canonical
from protocol.codes import Reason
from protocol.limits import CLOCK_TOLERANCE_SECONDS
from protocol.secret import Secret
from tests.ca.cast import (
    PASSPHRASE,
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
from tests.changes import with_last_byte_changed

DAY = 86_400


def renew(authority: Authority, cast: Cast, days: int = 90) -> Certified:
    found = issued_to(authority, cast.alice)
    return issuing.renew(authority, found, days=days, passphrase=PASSPHRASE, clock=time.time).certified


def test_desk_hands_out_both_forms_that_agree(settled: Authority, cast: Cast, short_tmp: Path) -> None:
    with serving(settled.desk) as desk:
        offered, bank = desk.fetch(cast.alice.fingerprint), desk.bank_key()
        public, crl = desk.authority_key(), desk.revocations()
    assert isinstance(offered, Certified)
    proven = prove(settled, cast.alice, offered)
    said, found = proven.certification, proven.certificate
    assert (said.number, said.role) == (found.holder.number, found.holder.role) == ("1001", "customer")
    assert said.request_digest == found.request_digest
    assert (said.created, said.expires - 1) == (found.not_before, found.not_after)
    assert found.crl_number == 1
    for certified, role in ((offered, "customer"), (bank, "bank")):
        for revocations in (None, crl):
            assert openssl_verifies(short_tmp / "openssl", certified, public, revocations, role) == "OK"
    assert "unsuitable certificate purpose" in openssl_verifies(short_tmp / "openssl", offered, public, crl, "bank")


def test_root_lasts_ten_years_and_the_first_list_thirty_days(settled: Authority) -> None:
    root = x509.load_der_x509_certificate(settled.desk.authority().root)
    lasts = root.not_valid_after_utc - root.not_valid_before_utc
    assert lasts.days == 3652
    first = settled.decisions.newest_list()
    assert first
    assert (first.number, first.next_update - first.at) == (1, 30 * DAY)


def test_published_address_stands_in_what_is_issued(authority: Authority, cast: Cast) -> None:
    configuration = authority.configuration
    named = replace(
        authority,
        configuration=Configuration(configuration.name, configuration.fingerprint, publish_url="https://ca.example"),
    )
    leaf = x509.load_der_x509_certificate(certify(named, cast.alice).der)
    points = leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    names = points[0].full_name
    assert names
    assert [name.value for name in names] == ["https://ca.example/revocations.crl"]
    prove(authority, cast.alice, issued_to(authority, cast.alice).certified)


def test_wrong_passphrase_leaves_no_half_of_a_certificate(authority: Authority, cast: Cast) -> None:
    identifier = file(authority, cast.alice.request())
    confirm(authority, identifier, cast.alice.words)
    with pytest.raises(PassphraseError):
        issuing.issue(authority, identifier, days=90, passphrase=Secret(b"wrong"), clock=time.time)
    assert [each.role for each in authority.decisions.certificates()] == ["bank"]
    assert authority.desk.certificate(cast.alice.fingerprint) is None
    assert issue(authority, identifier).der


def test_nothing_outlives_the_root(authority: Authority, cast: Cast) -> None:
    identifier = file(authority, cast.alice.request())
    confirm(authority, identifier, cast.alice.words)

    def nine_years_on() -> float:
        return time.time() + 3600 * DAY

    with pytest.raises(IssuingError, match=r"root certificate ends .* fewer --days"):
        issuing.issue(authority, identifier, days=90, passphrase=PASSPHRASE, clock=nine_years_on)


def altered(change: Callable[[Cast, CertificateRequest], CertificateRequest], cast: Cast) -> bytes:
    """Alice's request with something changed in it, signed by Alice's key again."""
    content = claimed_request(cast.alice.request()).content
    return messages.sign(cast.alice.home, cast.alice.fingerprint, canonical.encode(change(cast, content)))


def struct_with(content: CertificateRequest, pkcs10: bytes) -> CertificateRequest:
    values = {field: getattr(content, field) for field in content.__struct_fields__}
    return CertificateRequest(**{**values, "pkcs10": pkcs10})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda _cast, content: content, None),
        (lambda _cast, content: struct_with(content, b""), "not a signing request"),
        (lambda _cast, content: struct_with(content, with_last_byte_changed(content.pkcs10)), "signature is not good"),
        (
            lambda cast, content: struct_with(content, claimed_request(cast.bob.request()).content.pkcs10),
            "are not those of",
        ),
        (lambda _cast, content: struct_with(content, content.pkcs10 + b"\0"), "not a signing request"),
    ],
)
def test_request_needs_both_forms_for_the_same_key(
    cast: Cast, change: Callable[[Cast, CertificateRequest], CertificateRequest], why: str | None
) -> None:
    message = altered(change, cast)
    if why is None:
        assert open_request(message).signing_request().fingerprint == cast.alice.fingerprint
        return
    with pytest.raises(RequestError, match=why):
        open_request(message)


def test_renewal_is_the_same_key_on_the_same_request_without_a_call(
    settled: Authority, cast: Cast, short_tmp: Path
) -> None:
    before = issued_to(settled, cast.alice)
    renewed = renew(settled, cast, days=200)
    assert settled.desk.certificate(cast.alice.fingerprint) == (renewed, issued_to(settled, cast.alice).expires)
    first, second = prove(settled, cast.alice, before.certified), prove(settled, cast.alice, renewed)
    assert first.certificate.request_digest == second.certificate.request_digest
    assert first.certificate.serial != second.certificate.serial
    assert second.certificate.not_after > first.certificate.not_after
    assert second.certification.confirmed_at == first.certification.confirmed_at
    assert issued_to(settled, cast.alice).renews == before.serial
    public, crl = settled.desk.authority(), settled.desk.revocations()
    assert openssl_verifies(short_tmp / "openssl", renewed, public, crl, "customer") == "OK"
    states = {each.serial: each.state for each in inventory.certificates(settled, int(time.time()))}
    assert states[before.serial] == "valid, renewed"
    # The two forms go together as they were issued, and not across.
    with pytest.raises(UnprovenKey, match="not good for the same time"):
        prove(settled, cast.alice, Certified(certificate=before.der, key=renewed.key))


def test_what_ended_or_is_unknown_is_not_renewed(settled: Authority, cast: Cast) -> None:
    before = issued_to(settled, cast.alice)
    with pytest.raises(IssuingError, match=r"ended on .*`customer request`"):
        issuing.renew(settled, before, days=9, passphrase=PASSPHRASE, clock=lambda: before.expires)
    with pytest.raises(IssuingError, match="very second"):
        issuing.renew(settled, before, days=9, passphrase=PASSPHRASE, clock=lambda: before.issued)
    with pytest.raises(IssuingError, match="1 to 825 days"):
        issuing.renew(settled, before, days=826, passphrase=PASSPHRASE, clock=time.time)
    for unknown in ("1002", "ABCDEF", "xy", "F" * 40):
        with pytest.raises(RequestError, match="ca list"):
            inventory.find(settled, unknown, 0)
    assert issued_to(settled, cast.alice) == before


def test_certificate_is_found_by_number_fingerprint_serial_and_request(settled: Authority, cast: Cast) -> None:
    found = issued_to(settled, cast.alice)
    for text in ("1001", found.fingerprint.lower(), found.serial, found.serial[:8], found.digest[:16]):
        assert inventory.find(settled, text, 0) == found
    said = inventory.described(settled, found, int(time.time()))
    assert (said["state"], said["reached_by"], said["sha256"]) == (
        "valid",
        "called back +49 30 1234",
        canonical.digest(found.der),
    )


def test_certificate_counts_between_its_dates_only(settled: Authority, cast: Cast) -> None:
    offered = issued_to(settled, cast.alice)
    begins = int(x509.load_der_x509_certificate(offered.der).not_valid_before_utc.timestamp())
    prove(settled, cast.alice, offered.certified, begins)
    for at, rule in ((begins - 1, "already-valid"), (offered.expires, "not-expired")):
        with pytest.raises(UnprovenKey) as refused:
            prove(settled, cast.alice, offered.certified, at)
        assert (refused.value.rule, refused.value.reason) == (rule, Reason.CERTIFICATE_INVALID)


def test_certificate_begins_early_for_late_clocks_but_never_before_its_keys(authority: Authority, cast: Cast) -> None:
    """Both forms, and for stock gpg and openssl, too; a renewal begins after what it renews."""

    def begins(made: Certificate) -> int:
        return int(x509.load_der_x509_certificate(made.der).not_valid_before_utc.timestamp())

    made = max(
        keys.public_key(cast.alice.home, cast.alice.fingerprint).primary.created,
        keys.public_key(authority.home(), authority.configuration.fingerprint).primary.created,
    )
    first = certify(authority, cast.alice)
    assert begins(first) == max(made, first.issued - CLOCK_TOLERANCE_SECONDS)
    while time.time() < first.issued + 1:
        time.sleep(0.05)
    second = issuing.renew(authority, first, days=90, passphrase=PASSPHRASE, clock=time.time)
    assert begins(first) < begins(second) <= second.issued
    assert first.expires < second.expires
    assert second.issued + 90 * DAY <= second.expires
    for each in (first, second):
        prove(authority, cast.alice, Certified(certificate=each.der, key=each.key), each.issued - 1 + (each is first))


def test_mailed_file_holds_all_that_the_desk_hands_out(settled: Authority, cast: Cast, tmp_path: Path) -> None:
    path, now = tmp_path / "certificates", int(time.time())
    path.write_bytes(issuing.for_mail(settled, issued_to(settled, cast.alice), now))
    with serving(settled.desk) as desk:
        mailed = read_mailed(path)
        assert mailed.certified == desk.fetch(cast.alice.fingerprint)
        assert mailed.bank == desk.bank_key()
        assert mailed.authority == desk.authority_key()
        assert mailed.crl == desk.revocations()
    path.write_bytes(issuing.for_mail(settled, issued_to(settled, cast.bank), now))
    assert read_mailed(path).bank is None


def test_file_that_is_none_is_refused_with_the_next_step(tmp_path: Path) -> None:
    path = tmp_path / "certificates"
    with pytest.raises(DeskError, match="cannot be read"):
        read_mailed(path)
    for data in (b"", b"{}", b'{"type":"mailed-certificates"}', bytes(5 * 1024 * 1024)):
        path.write_bytes(data)
        with pytest.raises(CaError, match="ca issue --out"):
            read_mailed(path)
