"""A fresh bank for each test of the ledger; and a town with a serving bank, made once, for tests of the server."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bank.places import Database
from bank.storage import Ledger
from tests.bank.counter import Counter, at_counter
from tests.bank.evidence_run import Verify, verifier
from tests.bank.evidence_world import World, world_in
from tests.bank.ledgers import BANK, Bank
from tests.bank.town import Town
from tests.postgres import Databases


@pytest.fixture(scope="session")
def ledger_template(databases: Databases, make_short_tmp: Callable[[], Path]) -> str:
    """The URL of a database with a new ledger in it; copies of it are made sooner than ledgers."""
    url = databases.new()
    Ledger.create(Database(url, make_short_tmp()), bank_fingerprint=BANK, currency="EUR").close()
    return url


@pytest.fixture
def ledger_url(databases: Databases, ledger_template: str) -> Iterator[str]:
    """The URL of a database with a new ledger for one test."""
    url = databases.new(ledger_template)
    yield url
    databases.drop(url)


@pytest.fixture
def file_bank(tmp_path: Path) -> Iterator[Bank]:
    """A bank with a ledger in a file, its posting at work."""
    bank = Bank(tmp_path)
    yield bank
    bank.close()


@pytest.fixture
def database_bank(tmp_path: Path, ledger_url: str) -> Iterator[Bank]:
    """A bank with a ledger in PostgreSQL, its posting at work."""
    bank = Bank(tmp_path, url=ledger_url)
    yield bank
    bank.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def bank(request: pytest.FixtureRequest) -> Bank:
    """Either in turn: what holds of one holds of the other."""
    found: Bank = request.getfixturevalue("file_bank" if request.param == "sqlite" else "database_bank")
    return found


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
