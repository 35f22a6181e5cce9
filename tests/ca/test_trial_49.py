"""Trial 49: a desk taken over can deny service, but cannot issue, and cannot make a client accept anything.

The desk here is the real server over a database in which somebody has written what they like.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ca.applicant import Desk, judged_party, verify_bank, verify_own
from ca.authority import Authority
from ca.errors import CaError, UnprovenKey
from ca.messages import State
from ca.store import Certificate
from keyring import keys
from tests.ca.cast import Applicant, Cast, certify, file, issue, misissued, opened, serving


@dataclass(frozen=True)
class Forgeries:
    """Keys that the desk could hand out in place of Alice's, all well made, and an authority of its own."""

    honest: Certificate
    bob: bytes
    other_authority: bytes
    by_other_authority: bytes
    other_number: bytes
    other_role: bytes


@pytest.fixture(scope="module")
def forgeries(cast: Cast, make_short_tmp: Callable[[], Path]) -> Iterator[Forgeries]:
    root = make_short_tmp()
    with opened(cast.with_bank, root / "ca") as authority, opened(cast.other_folder, root / "other") as other:
        yield Forgeries(
            honest=certify(authority, cast.alice),
            bob=certify(authority, cast.bob).key,
            other_authority=other.desk.authority(),
            by_other_authority=certify(other, cast.alice).key,
            other_number=misissued(cast.folder, root / "number", cast.alice, number="1002", role="customer"),
            other_role=misissued(cast.folder, root / "role", cast.alice, number="1001", role="bank"),
        )


def take(desk: Desk, pinned: str, applicant: Applicant) -> str:
    """What a client does: fetch, and believe only what verifies; returns the number it was certified for."""
    offered = desk.fetch(applicant.fingerprint)
    assert isinstance(offered, bytes)
    return verify_own(
        offered,
        ca_key=desk.authority_key(),
        ca_fingerprint=pinned,
        fingerprint=applicant.fingerprint,
        number=applicant.number,
        role=applicant.role,
    ).number


def hand_out(authority: Authority, honest: Certificate, key: bytes) -> None:
    authority.desk.put_certificate(replace(honest, key=key))


def test_trial_49_honest_desk_is_believed(authority: Authority, cast: Cast, forgeries: Forgeries) -> None:
    hand_out(authority, forgeries.honest, forgeries.honest.key)
    with serving(authority.desk) as desk:
        assert take(desk, authority.configuration.fingerprint, cast.alice) == "1001"


@pytest.mark.parametrize(
    ("forgery", "why"),
    [
        ("bob", "was expected"),
        ("other_number", "for the customer 1002"),
        ("other_role", "for the bank 1001"),
        ("by_other_authority", "has not certified"),
        ("uncertified", "has not certified"),
        ("authority", "was expected"),
        ("garbage", "not proven"),
    ],
)
def test_trial_49_other_key_is_not_accepted(
    authority: Authority, cast: Cast, forgeries: Forgeries, forgery: str, why: str
) -> None:
    offered = {
        "uncertified": keys.export_minimal(cast.alice.home, cast.alice.fingerprint),
        "authority": authority.desk.authority(),
        "garbage": b"not a key",
    }
    hand_out(authority, forgeries.honest, offered.get(forgery) or getattr(forgeries, forgery))
    with serving(authority.desk) as desk, pytest.raises(UnprovenKey, match=why):
        take(desk, authority.configuration.fingerprint, cast.alice)


@pytest.mark.parametrize("also_its_certificate", [True, False])
def test_trial_49_other_authority_is_not_accepted(
    authority: Authority, cast: Cast, forgeries: Forgeries, also_its_certificate: bool
) -> None:
    authority.desk.put_authority(forgeries.other_authority)
    key = forgeries.by_other_authority if also_its_certificate else forgeries.honest.key
    hand_out(authority, forgeries.honest, key)
    with serving(authority.desk) as desk, pytest.raises(UnprovenKey, match="was expected"):
        take(desk, authority.configuration.fingerprint, cast.alice)


def test_trial_49_only_the_pinned_bank_with_the_role_bank_is_accepted(
    authority: Authority, cast: Cast, forgeries: Forgeries
) -> None:
    pinned, ca_key = authority.configuration.fingerprint, authority.desk.authority()
    with serving(authority.desk) as desk:
        honest = verify_bank(
            desk.bank_key(), ca_key=ca_key, ca_fingerprint=pinned, bank_fingerprint=cast.bank.fingerprint
        )
    assert (honest.number, honest.role) == ("0000", "bank")
    with pytest.raises(UnprovenKey, match="was expected"):
        verify_bank(forgeries.bob, ca_key=ca_key, ca_fingerprint=pinned, bank_fingerprint=cast.bank.fingerprint)
    for offered, applicant in ((forgeries.bob, cast.bob), (forgeries.other_role, cast.alice)):
        with pytest.raises(UnprovenKey, match="not for the bank 0000"):
            verify_bank(offered, ca_key=ca_key, ca_fingerprint=pinned, bank_fingerprint=applicant.fingerprint)


def test_trial_49_refused_party_leaves_no_home(
    authority: Authority, cast: Cast, forgeries: Forgeries, short_tmp: Path
) -> None:
    def judge(offered: bytes) -> None:
        judged_party(
            short_tmp / "party",
            offered=offered,
            ca_key=authority.desk.authority(),
            ca_fingerprint=authority.configuration.fingerprint,
            fingerprint=cast.alice.fingerprint,
            number="1001",
            role="customer",
        )

    for offered in (forgeries.other_number, forgeries.bob):
        with pytest.raises(UnprovenKey):
            judge(offered)
        assert not (short_tmp / "party").exists()
    judge(forgeries.honest.key)
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
