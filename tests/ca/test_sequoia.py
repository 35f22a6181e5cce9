"""Sequoia, an OpenPGP that shares no code with GnuPG, reads our certifications as we do, and takes no revoked key.

The Python binding shows certifications and judges a key's own revocation, but has nothing that verifies what one key
says of another. Sequoia's web of trust does, as the program `sq-wot` of Debian's package of that name: where that is
installed, it is asked, too.
"""

import shutil
import subprocess
import time
from pathlib import Path

import pysequoia
import pytest
from pysequoia.packet import HashAlgorithm, Packet, PacketPile, SignatureType

from ca import revoking
from ca.authority import Authority
from keyring import keys, messages
from keyring.certification import NOTATION_DOMAIN
from keyring.revocation import revoked_key
from tests.ca.cast import PASSPHRASE, Cast, issued_to

SECONDS = 60
CERTIFICATIONS = (SignatureType.GenericCertification, SignatureType.PositiveCertification)


def signatures(key: bytes, by: str) -> list[Packet]:
    """The signatures on a key that say they are by this one, as Sequoia reads them."""
    return [each for each in PacketPile.from_bytes(key) if (each.issuer_fingerprint or "").upper() == by]


def revoke(authority: Authority, cast: Cast) -> None:
    revoking.revoke(
        authority,
        issued_to(authority, cast.alice),
        reason="superseded",
        operator="operator",
        passphrase=PASSPHRASE,
        clock=time.time,
    )


def test_sequoia_reads_in_the_certification_what_we_wrote(settled: Authority, cast: Cast) -> None:
    certificate, ours = issued_to(settled, cast.alice), settled.configuration.fingerprint
    (certification,) = signatures(certificate.key, ours)
    assert certification.signature_type in CERTIFICATIONS
    assert certification.hash_algorithm == HashAlgorithm.SHA256
    said = {each.key: each.value for each in certification.notations or ()}
    assert said[f"number@{NOTATION_DOMAIN}"] == "1001"
    assert said[f"role@{NOTATION_DOMAIN}"] == "customer"
    assert said[f"request@{NOTATION_DOMAIN}"] == certificate.digest
    made, lasts = certification.signature_created, certification.signature_validity_period
    assert made is not None
    assert lasts is not None
    assert int((made + lasts).timestamp()) == certificate.expires
    assert not pysequoia.Cert.from_bytes(certificate.key).is_revoked


def test_sequoia_sees_the_authoritys_revocation_of_its_certification(settled: Authority, cast: Cast) -> None:
    ours = settled.configuration.fingerprint
    revoke(settled, cast)
    made = signatures(issued_to(settled, cast.alice).key, ours)
    certification, revocation = sorted(made, key=lambda each: str(each.signature_created))
    assert certification.signature_type in CERTIFICATIONS
    assert revocation.signature_type == SignatureType.CertificationRevocation


def test_sequoia_takes_nothing_signed_by_a_key_that_its_owner_revoked(settled: Authority, cast: Cast) -> None:
    alice, certificate = cast.alice, issued_to(settled, cast.alice)
    message = messages.sign(alice.home, alice.fingerprint, b"{}")
    good = pysequoia.Cert.from_bytes(certificate.key)
    assert pysequoia.verify(message, store=lambda _: [good]).bytes == b"{}"
    own = (alice.home.path / "openpgp-revocs.d" / f"{alice.fingerprint}.rev").read_bytes()
    public = keys.export_minimal(alice.home, alice.fingerprint)
    revoked = good.merge(pysequoia.Cert.from_bytes(revoked_key(public, own, alice.fingerprint)))
    assert revoked.is_revoked
    with pytest.raises(Exception, match=r"(?i)revoked|valid"):
        pysequoia.verify(message, store=lambda _: [revoked])


@pytest.mark.skipif(shutil.which("sq-wot") is None, reason="sq-wot is not installed; it only gives a second opinion")
def test_sequoias_web_of_trust_authenticates_what_is_certified_and_not_what_is_revoked(
    settled: Authority, cast: Cast, short_tmp: Path
) -> None:
    public = settled.public().key

    def authenticates(*ring: bytes) -> bool:
        (short_tmp / "ring.pgp").write_bytes(b"".join(ring))
        fixed = ("sq-wot", "--keyring", str(short_tmp / "ring.pgp"), "-r", settled.configuration.fingerprint)
        outcome = subprocess.run(
            (*fixed, "identify", cast.alice.fingerprint), capture_output=True, text=True, check=False, timeout=SECONDS
        )
        return outcome.returncode == 0 and "Alice (1001)" in outcome.stdout and "fully authenticated" in outcome.stdout

    assert authenticates(public, issued_to(settled, cast.alice).key)
    assert not authenticates(public, keys.export_minimal(cast.alice.home, cast.alice.fingerprint))
    assert not authenticates(public, issued_to(settled, cast.bank).key)
    revoke(settled, cast)
    assert not authenticates(public, issued_to(settled, cast.alice).key)
