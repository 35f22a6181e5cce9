"""A fresh bank for each test of the ledger; and a town with a serving bank, made once, for tests of the server."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bank.counter import Counter, at_counter
from tests.bank.evidence_run import Verify, verifier
from tests.bank.evidence_world import World, world_in
from tests.bank.ledgers import Bank
from tests.bank.town import Town


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Bank]:
    """A bank in a file-backed ledger, its posting at work."""
    bank = Bank(tmp_path)
    yield bank
    bank.close()


@pytest.fixture(scope="session")
def town(bank_town: Town) -> Town:
    """Keys and a bank's folder; no test changes them."""
    return bank_town


@pytest.fixture(scope="session")
def world(make_short_tmp: Callable[[], Path]) -> Iterator[World]:
    """A bank, an authority and customers of a year ago; no test changes them."""
    with world_in(make_short_tmp()) as world:
        yield world


@pytest.fixture
def verify(short_tmp: Path, world: World) -> Verify:
    """Runs the commands of an evidence folder's VERIFY.md."""
    return verifier(short_tmp, world)


@pytest.fixture(scope="module")
def counter(town: Town, make_short_tmp: Callable[[], Path]) -> Iterator[Counter]:
    """A serving bank for the tests of one module, none of which may rely on how another left it."""
    with at_counter(town, make_short_tmp()) as counter:
        yield counter
