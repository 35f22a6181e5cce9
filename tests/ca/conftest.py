"""Keys that are costly to make are made once for all tests of the authority; each test has its own copy of a folder."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ca.authority import Authority
from tests.ca.cast import PASSPHRASE, Applicant, Cast, certify, opened


@pytest.fixture(scope="session")
def cast(make_short_tmp: Callable[[], Path]) -> Iterator[Cast]:
    root = make_short_tmp()
    for name in ("ca", "other"):
        address = "127.0.0.1:0"
        Authority.create(root / name, name="Authority", address=address, passphrase=PASSPHRASE).close()
    cast = Cast(
        folder=root / "ca",
        with_bank=root / "with-bank",
        other_folder=root / "other",
        bank=Applicant.make(root / "bank", "bank", "0000", "Example Bank"),
        alice=Applicant.make(root / "alice", "customer", "1001", "Alice"),
        bob=Applicant.make(root / "bob", "customer", "1002", "Bob"),
        impostor=Applicant.make(root / "impostor", "customer", "1001", "Alice"),
    )
    with opened(cast.folder, cast.with_bank) as authority:
        certify(authority, cast.bank)
    yield cast
    for each in (cast.bank, cast.alice, cast.bob, cast.impostor):
        each.home.stop()


@pytest.fixture
def authority(cast: Cast, short_tmp: Path) -> Iterator[Authority]:
    """An authority that has certified the bank and nobody else."""
    with opened(cast.with_bank, short_tmp / "ca") as authority:
        yield authority
