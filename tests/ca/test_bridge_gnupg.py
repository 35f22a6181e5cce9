"""With keys in real GnuPG homes: openssl and gpgsm, which know nothing of us, agree with what we make and judge."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ca.bridge import (
    CertificateRefused,
    JudgedCertificate,
    KeyUseError,
    Revocation,
    agent_key,
    fingerprint_of,
    judge,
    make_crl,
    make_leaf,
    make_request,
    make_root,
    open_request,
    open_root,
)
from keyring import certification, keys, messages
from keyring.errors import KeyringError, PassphraseError, UnsuitableKey
from keyring.home import Home
from keyring.opened import Opened
from keyring.verdict import SignedByCustomer
from keyring.worker import open_once
from protocol.secret import Secret
from tests.ca.bridge_cast import CRL_URL, DAY
from tests.ca.cast import PASSPHRASE, Applicant, Cast, certify, opened


@dataclass(frozen=True)
class Issued:
    """What one authority made for Alice and the bank, as files too, NAME.der and NAME.pem."""

    folder: Path
    home: Home
    ca_fingerprint: str
    at: int

    def der(self, name: str) -> bytes:
        return (self.folder / f"{name}.der").read_bytes()

    def openssl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["openssl", *arguments], cwd=self.folder, capture_output=True, text=True, check=False, timeout=30
        )

    def judge(self, name: str, applicant: Applicant, crl: str = "crl", highest: int = 0) -> JudgedCertificate:
        return judge(
            self.der(name),
            root_der=self.der("root"),
            crl_der=self.der(crl),
            ca_fingerprint=self.ca_fingerprint,
            role=applicant.role,
            number=applicant.number,
            fingerprint=applicant.fingerprint,
            at=self.at,
            highest_crl_number=highest,
        )


@pytest.fixture(scope="module")
def issued(cast: Cast, make_short_tmp: Callable[[], Path]) -> Iterator[Issued]:
    folder = make_short_tmp()
    with opened(cast.with_bank, folder / "ca") as authority:
        certify(authority, cast.alice)
        ca_fingerprint, home = authority.configuration.fingerprint, authority.home()
        with agent_key(home, ca_fingerprint, PASSPHRASE) as key:
            certified = {
                each.name: certification.read_certification(home, each.fingerprint, ca_fingerprint)
                for each in (cast.alice, cast.bank)
            }
            at = max(each.created for each in certified.values())
            begin = min(each.created for each in certified.values())
            ders = {"root": make_root(key, name="Authority", not_before=begin, not_after=begin + 3650 * DAY)}
            root = open_root(ders["root"], ca_fingerprint)
            for name, each in (("alice", cast.alice), ("bank", cast.bank)):
                ders[f"{name}-request"] = request = requested(each)
                ders[name] = make_leaf(
                    key,
                    root,
                    open_request(
                        request, fingerprint=each.fingerprint, role=each.role, number=each.number, name=each.name
                    ),
                    certified[each.name],
                    crl_url=CRL_URL,
                )
            serial = x509.load_der_x509_certificate(ders["alice"]).serial_number
            reason = x509.ReasonFlags.key_compromise
            for name, number, revoked in (("crl", 1, ()), ("revoked", 2, (Revocation(serial, at, reason),))):
                ders[name] = make_crl(key, root, number=number, at=at, next_update=at + 30 * DAY, revoked=revoked)
        for name, der in ders.items():
            (folder / f"{name}.der").write_bytes(der)
            if name in ("root", "alice", "bank"):
                (folder / f"{name}.pem").write_bytes(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))
            elif not name.endswith("-request"):
                (folder / f"{name}.pem").write_bytes(x509.load_der_x509_crl(der).public_bytes(Encoding.PEM))
        yield Issued(folder, home, ca_fingerprint, at)
        home.stop()


def requested(applicant: Applicant) -> bytes:
    with agent_key(applicant.home, applicant.fingerprint, None) as key:
        return make_request(key, role=applicant.role, number=applicant.number, name=applicant.name)


def test_judge_accepts_what_the_agent_signed(issued: Issued, cast: Cast) -> None:
    assert issued.judge("alice", cast.alice).holder.number == "1001"
    assert issued.judge("bank", cast.bank).holder.role == "bank"


def test_judge_refuses_what_was_revoked_and_the_older_list_does_not_bring_it_back(issued: Issued, cast: Cast) -> None:
    with pytest.raises(CertificateRefused) as caught:
        issued.judge("alice", cast.alice, "revoked")
    assert caught.value.rule == "not-revoked"
    highest = issued.judge("bank", cast.bank, "revoked").crl_number or 0
    with pytest.raises(CertificateRefused) as caught:
        issued.judge("alice", cast.alice, "crl", highest)
    assert caught.value.rule == "crl-newest"


@pytest.mark.parametrize("name", ["alice", "bank"])
@pytest.mark.parametrize("revocation", [(), ("-CRLfile", "crl.pem", "-crl_check")], ids=["without list", "with list"])
def test_openssl_verifies_strictly(issued: Issued, name: str, revocation: tuple[str, ...]) -> None:
    purpose = "sslclient" if name == "alice" else "sslserver"
    fixed = ("-x509_strict", "-CAfile", "root.pem", "-attime", str(issued.at), "-purpose", purpose)
    outcome = issued.openssl("verify", *fixed, *revocation, f"{name}.pem")
    assert (outcome.returncode, outcome.stdout) == (0, f"{name}.pem: OK\n"), outcome.stderr


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("-CRLfile", "revoked.pem", "-crl_check", "alice.pem"), "certificate revoked"),
        (("-purpose", "sslserver", "alice.pem"), "unsuitable certificate purpose"),
        (("-purpose", "sslclient", "bank.pem"), "unsuitable certificate purpose"),
        (("-partial_chain", "-trusted", "alice.pem", "bank.pem"), "unable to get local issuer"),
    ],
)
def test_openssl_refuses_what_we_refuse(issued: Issued, arguments: tuple[str, ...], error: str) -> None:
    trust = () if "-trusted" in arguments else ("-CAfile", "root.pem")
    outcome = issued.openssl("verify", "-x509_strict", "-attime", str(issued.at), *trust, *arguments)
    assert outcome.returncode != 0
    assert error in outcome.stderr


def test_openssl_refuses_a_list_that_ran_out(issued: Issued) -> None:
    late = str(issued.at + 31 * DAY)
    fixed = ("-x509_strict", "-CAfile", "root.pem", "-attime", late, "-CRLfile", "crl.pem", "-crl_check")
    outcome = issued.openssl("verify", *fixed, "alice.pem")
    assert "CRL has expired" in outcome.stderr


@pytest.mark.parametrize(
    ("name", "subject"), [("alice", "customer, CN = Alice, serialNumber = 1001"), ("bank", "bank,")]
)
def test_openssl_verifies_the_request_and_shows_for_whom_it_is(issued: Issued, name: str, subject: str) -> None:
    outcome = issued.openssl("req", "-inform", "DER", "-in", f"{name}-request.der", "-verify", "-noout", "-subject")
    assert outcome.returncode == 0
    assert "self-signature verify OK" in outcome.stdout + outcome.stderr
    assert f"OU = {subject}" in outcome.stdout


def test_openssl_verifies_and_shows_the_list(issued: Issued) -> None:
    arguments = ("-in", "revoked.pem", "-noout", "-text", "-crlnumber", "-CAfile", "root.pem")
    outcome = issued.openssl("crl", *arguments)
    assert outcome.returncode == 0
    assert "verify OK" in outcome.stderr
    assert re.search("^crlNumber=0x0?2$", outcome.stdout, re.M)
    assert "Key Compromise" in outcome.stdout


def test_openssl_shows_number_role_and_fingerprint(issued: Issued, cast: Cast) -> None:
    text = issued.openssl("x509", "-in", "alice.pem", "-noout", "-text").stdout
    for expected in (
        "Subject: OU = customer, CN = Alice, serialNumber = 1001",
        f"URI:openpgp4fpr:{cast.alice.fingerprint}",
        "URI:tag:countersign.example,2026:customer:1001",
        f"URI:{CRL_URL}",
        "CA:FALSE",
        "Digital Signature, Non Repudiation",
        "1.3.6.1.4.1.3401.8.1.1",
    ):
        assert expected in text


@pytest.mark.skipif(shutil.which("gpgsm") is None, reason="gpgsm is not installed; it only gives a second opinion")
def test_gpgsm_imports_root_and_leaf_and_finds_the_chain_and_the_key_good(
    issued: Issued, cast: Cast, short_tmp: Path
) -> None:
    home = short_tmp / "gpgsm"
    home.mkdir(mode=0o700)
    root = issued.openssl("x509", "-in", "root.pem", "-noout", "-fingerprint", "-sha1").stdout.partition("=")[2]
    (home / "trustlist.txt").write_text(f"{root.strip()} S\n")

    def gpgsm(*arguments: str) -> str:
        fixed = ("--homedir", str(home), "--batch", "--disable-dirmngr", "--disable-crl-checks")
        return subprocess.run(
            ["gpgsm", *fixed, *arguments], cwd=issued.folder, capture_output=True, text=True, check=True, timeout=30
        ).stdout

    gpgsm("--import", "root.pem", "alice.pem")
    chain = gpgsm("--with-validation", "--list-chain", "Alice")
    assert chain.count("[certificate is good]") == 2
    assert "Certified by" in chain
    records = [line.split(":") for line in gpgsm("--with-validation", "--with-colons", "--list-keys").splitlines()]
    assert [fields[1] for fields in records if fields[0] == "crt"] == ["u", "f"]
    # GnuPG names a key by its keygrip in both forms: it is one key.
    grips = [fields[9] for fields in records if fields[0] == "grp"]
    alice = keys.secret_key(cast.alice.home, cast.alice.fingerprint).primary.keygrip
    assert grips == [keys.secret_key(issued.home, issued.ca_fingerprint).primary.keygrip, alice]


def test_fingerprint_is_that_of_gnupg(issued: Issued, cast: Cast) -> None:
    for applicant in (cast.alice, cast.bank):
        with agent_key(applicant.home, applicant.fingerprint, None) as key:
            assert key.fingerprint == fingerprint_of(key.public_key(), key.created) == applicant.fingerprint
            assert fingerprint_of(key.public_key(), key.created + 1) != applicant.fingerprint


def test_wrong_or_missing_passphrase_signs_nothing(issued: Issued) -> None:
    for passphrase in (Secret(b"another"), None):
        issued.home.stop()  # the agent would remember the right one
        with agent_key(issued.home, issued.ca_fingerprint, passphrase) as key, pytest.raises(PassphraseError):
            make_root(key, name="Authority", not_before=issued.at, not_after=issued.at + DAY)


def test_key_that_is_not_in_the_home_is_refused(issued: Issued, cast: Cast) -> None:
    with pytest.raises(UnsuitableKey):
        agent_key(cast.alice.home, issued.ca_fingerprint, None)


# --- one key, two forms: a signature made for the one never serves in the other -----------------------------------


def test_authority_makes_no_data_signatures(issued: Issued) -> None:
    tbs = x509.load_der_x509_certificate(issued.der("alice")).tbs_certificate_bytes
    for content in (b'{"type":"transfer-order"}', tbs):
        with pytest.raises(KeyringError):
            messages.sign(issued.home, issued.ca_fingerprint, content, PASSPHRASE)


def test_document_cannot_be_signed_as_a_structure(cast: Cast) -> None:
    with agent_key(cast.alice.home, cast.alice.fingerprint, None) as key:
        builder_arguments = x509.load_der_x509_csr(requested(cast.alice))
        algorithm = builder_arguments.signature_hash_algorithm
        with pytest.raises(KeyUseError):
            key.sign(b'{"type":"transfer-order"}', builder_arguments.signature_algorithm_parameters, algorithm)


def test_signature_of_one_form_is_bad_in_the_other(issued: Issued, cast: Cast, short_tmp: Path) -> None:
    """Alice signs the very same bytes in both forms; exchanged, neither signature verifies."""
    alice = cast.alice
    request = requested(alice)
    tbs = x509.load_der_x509_csr(request).tbs_certrequest_bytes
    message = messages.sign(alice.home, alice.fingerprint, tbs)
    home = certification.registered_home(
        short_tmp / "alice",
        key=keys.export_minimal(alice.home, alice.fingerprint),
        expected_fingerprint=alice.fingerprint,
    )
    expected = SignedByCustomer(alice.fingerprint, certified=False)
    length = 3072 // 8  # both end with the number that RSA gives
    assert x509.load_der_x509_csr(request).is_signature_valid
    assert isinstance(open_once(home, message, expected), Opened)
    assert not x509.load_der_x509_csr(request[:-length] + message[-length:]).is_signature_valid
    assert not isinstance(open_once(home, message[:-length] + request[-length:], expected), Opened)
    home.stop()
