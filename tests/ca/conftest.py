"""Keys that are costly to make are made once for all tests of the authority; each test has its own copy of a folder."""

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ca.authority import Authority
from keyring import keys
from keyring.home import Home
from tests.ca.cast import PASSPHRASE, Applicant, Cast, certify, opened
from tests.ca.heirs import Heirs


def make_authority(path: Path) -> None:
    Authority.create(path, name="Authority", address="127.0.0.1:0", passphrase=PASSPHRASE, clock=time.time).close()


@pytest.fixture(scope="session")
def cast(make_short_tmp: Callable[[], Path]) -> Iterator[Cast]:
    root = make_short_tmp()
    with ThreadPoolExecutor(2) as pool:  # two keys at a time
        for made in [pool.submit(make_authority, root / name) for name in ("ca", "other")]:
            made.result()
        people = pool.map(
            Applicant.make,
            (root / name for name in ("bank", "alice", "bob", "impostor")),
            ("bank", "customer", "customer", "customer"),
            ("0000", "1001", "1002", "1001"),
            ("Example Bank", "Alice", "Bob", "Alice"),
        )
        cast = Cast(root / "ca", root / "with-bank", root / "other", *people)
    with opened(cast.folder, cast.with_bank) as authority:
        certify(authority, cast.bank)
    yield cast
    for each in (cast.bank, cast.alice, cast.bob, cast.impostor):
        each.home.stop()


@pytest.fixture(scope="session")
def with_alice(cast: Cast, make_short_tmp: Callable[[], Path]) -> Path:
    """The folder of an authority that has certified the bank and Alice."""
    folder = make_short_tmp() / "ca"
    with opened(cast.with_bank, folder) as authority:
        made = certify(authority, cast.alice)
    while time.time() < made.issued + 1:  # nothing is renewed in the second in which it was issued
        time.sleep(0.05)
    return folder


@pytest.fixture
def settled(with_alice: Path, short_tmp: Path) -> Iterator[Authority]:
    """An authority that has certified the bank and Alice."""
    with opened(with_alice, short_tmp / "ca") as authority:
        yield authority


@pytest.fixture
def authority(cast: Cast, short_tmp: Path) -> Iterator[Authority]:
    """An authority that has certified the bank and nobody else."""
    with opened(cast.with_bank, short_tmp / "ca") as authority:
        yield authority


@pytest.fixture(scope="session")
def heirs(cast: Cast, make_short_tmp: Callable[[], Path]) -> Iterator[Heirs]:
    folder = make_short_tmp() / "alice"
    shutil.copytree(cast.alice.home.path, folder, ignore=shutil.ignore_patterns("S.*"))
    home = Home.open(folder)
    first = replace(cast.alice, home=home)
    made = [replace(first, fingerprint=keys.new_customer_key(home, "Alice (1001)", None)) for _ in range(2)]
    yield Heirs(first, *made)
    home.stop()
