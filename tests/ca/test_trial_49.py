"""Trial 49: a desk taken over can deny service, but cannot issue, and cannot make a client accept anything.

The desk here is the real server over a database in which somebody has written what they like.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ca.applicant import Desk, Proven, judged_party, verify_bank
from ca.authority import Authority
from ca.decisions import Certificate
from ca.errors import CaError, UnprovenKey
from ca.messages import AuthorityKey, Certified, State
from keyring import keys
from protocol.codes import Reason
from tests.ca.cast import Applicant, Cast, certify, file, issue, misissued, opened, prove, serving


@dataclass(frozen=True)
class Forgeries:
    """Certificates that the desk could hand out in place of Alice's, all well made, and an authority of its own."""

    honest: Certificate
    bob: Certified
    other_authority: AuthorityKey
    by_other_authority: Certified
    other_number: Certified
    other_role: Certified


@pytest.fixture(scope="module")
def forgeries(cast: Cast, make_short_tmp: Callable[[], Path]) -> Iterator[Forgeries]:
    root = make_short_tmp()
    with opened(cast.with_bank, root / "ca") as authority, opened(cast.other_folder, root / "other") as other:
        yield Forgeries(
            honest=certify(authority, cast.alice),
            bob=certify(authority, cast.bob).certified,
            other_authority=other.desk.authority(),
            by_other_authority=certify(other, cast.alice).certified,
            other_number=misissued(cast.folder, root / "number", cast.alice, number="1002", role="customer"),
            other_role=misissued(cast.folder, root / "role", cast.alice, number="1001", role="bank"),
        )


def take(authority: Authority, desk: Desk, applicant: Applicant) -> str:
    """What a client does: fetch, and believe only what verifies; returns the number it was certified for."""
    offered = desk.fetch(applicant.fingerprint)
    assert isinstance(offered, Certified)
    proven = prove(authority, applicant, offered)
    assert proven.certification.number == proven.certificate.holder.number
    return proven.certification.number


def hand_out(authority: Authority, honest: Certificate, certified: Certified) -> None:
    authority.desk.put_certificate(replace(honest, key=certified.key, der=certified.certificate))


def test_trial_49_honest_desk_is_believed(authority: Authority, cast: Cast, forgeries: Forgeries) -> None:
    hand_out(authority, forgeries.honest, forgeries.honest.certified)
    with serving(authority.desk) as desk:
        assert take(authority, desk, cast.alice) == "1001"


@pytest.mark.parametrize(
    ("forgery", "by_key", "by_certificate"),
    [
        ("bob", "was expected", "is for the key"),
        ("other_number", "for the customer 1002", "for the number 1002"),
        ("other_role", "for the bank 1001", "not for a customer"),
        ("by_other_authority", "has not certified", "not issued by the authority"),
        ("uncertified", "has not certified", "missing"),
        ("authority", "was expected", "issued by its own holder|an authority's"),
        ("garbage", "not proven", "not one X.509 certificate"),
    ],
)
@pytest.mark.parametrize("form", ["key", "certificate", "both"])
def test_trial_49_other_certificate_is_not_accepted_in_either_form(
    authority: Authority, cast: Cast, forgeries: Forgeries, forgery: str, by_key: str, by_certificate: str, form: str
) -> None:
    public = authority.desk.authority()
    made = {
        "uncertified": Certified(certificate=b"", key=keys.export_minimal(cast.alice.home, cast.alice.fingerprint)),
        "authority": Certified(certificate=public.root, key=public.key),
        "garbage": Certified(certificate=b"not a certificate", key=b"not a key"),
    }
    forged, honest = made.get(forgery) or getattr(forgeries, forgery), forgeries.honest.certified
    offered = {
        "key": Certified(certificate=honest.certificate, key=forged.key),
        "certificate": Certified(certificate=forged.certificate, key=honest.key),
        "both": forged,
    }[form]
    hand_out(authority, forgeries.honest, offered)
    why = by_key if form == "key" else by_certificate
    with serving(authority.desk) as desk, pytest.raises(UnprovenKey, match=why):
        take(authority, desk, cast.alice)


def replace_key(certified: Certified, other: Certified) -> Certified:
    return Certified(certificate=certified.certificate, key=other.key)


def honest_certified(authority: Authority) -> Certified:
    found = authority.desk.bank()
    assert found
    return found[0]


@pytest.mark.parametrize("also_its_certificate", [True, False])
def test_trial_49_other_authority_is_not_accepted(
    authority: Authority, cast: Cast, forgeries: Forgeries, also_its_certificate: bool
) -> None:
    authority.desk.put_authority(forgeries.other_authority)
    offered = forgeries.by_other_authority if also_its_certificate else forgeries.honest.certified
    hand_out(authority, forgeries.honest, offered)
    with serving(authority.desk) as desk, pytest.raises(UnprovenKey, match="pinned here is") as refused:
        take(authority, desk, cast.alice)
    assert (refused.value.rule, refused.value.reason) == ("root-pinned", Reason.CA_UNKNOWN)


def test_trial_49_key_and_root_must_both_be_the_pinned_ones(
    authority: Authority, cast: Cast, forgeries: Forgeries
) -> None:
    honest = authority.desk.authority()
    authority.desk.put_authority(AuthorityKey(key=forgeries.other_authority.key, root=honest.root))
    hand_out(authority, forgeries.honest, forgeries.honest.certified)
    with serving(authority.desk) as desk, pytest.raises(UnprovenKey, match="was expected"):
        take(authority, desk, cast.alice)


def test_trial_49_only_the_pinned_bank_with_the_role_bank_is_accepted(
    authority: Authority, cast: Cast, forgeries: Forgeries
) -> None:
    def judge(offered: Certified, bank: Applicant) -> Proven:
        return verify_bank(
            offered,
            authority=authority.desk.authority(),
            crl=authority.desk.revocations(),
            ca_fingerprint=authority.configuration.fingerprint,
            bank_fingerprint=bank.fingerprint,
            at=int(time.time()),
        )

    with serving(authority.desk) as desk:
        honest = judge(desk.bank_key(), cast.bank)
    assert (honest.certification.number, honest.certification.role) == ("0000", "bank")
    for offered, bank in (
        (forgeries.bob, cast.bank),
        (forgeries.bob, cast.bob),
        (forgeries.other_role, cast.alice),
        (replace_key(honest_certified(authority), forgeries.bob), cast.bank),
    ):
        with pytest.raises(UnprovenKey):
            judge(offered, bank)


def test_trial_49_refused_party_leaves_no_home(
    authority: Authority, cast: Cast, forgeries: Forgeries, short_tmp: Path
) -> None:
    def judge(offered: Certified) -> None:
        judged_party(
            short_tmp / "party",
            offered,
            authority=authority.desk.authority(),
            crl=authority.desk.revocations(),
            ca_fingerprint=authority.configuration.fingerprint,
            fingerprint=cast.alice.fingerprint,
            number="1001",
            role="customer",
            at=int(time.time()),
        )

    honest = forgeries.honest.certified
    for offered in (forgeries.other_number, forgeries.bob, replace_key(honest, forgeries.other_number)):
        with pytest.raises(UnprovenKey):
            judge(offered)
        assert not (short_tmp / "party").exists()
    judge(honest)
    assert (short_tmp / "party").is_dir()


def test_trial_49_desk_cannot_have_a_certificate_issued(authority: Authority, cast: Cast) -> None:
    """Whoever has the desk's database says that a request is confirmed or issued; the authority knows better."""
    identifier = file(authority, cast.impostor.request())
    digest = authority.request(identifier).digest
    for state in (State.CONFIRMED, State.ISSUED):
        authority.desk.mark(digest, state)
        with pytest.raises(CaError, match="not confirmed"):
            issue(authority, identifier)
    assert [each.role for each in authority.decisions.certificates()] == ["bank"]
