"""The same town as in the bank's own tests; each test has a bank of its own, so that it may press it hard."""

import sys

import pytest

from tests.bank.town import Town
from tests.trials.load.bank_process import Tell


@pytest.fixture(scope="session")
def town(bank_town: Town) -> Town:
    """Keys and a bank's folder; no test changes them."""
    return bank_town


@pytest.fixture
def tell() -> Tell:
    """Says what was measured: `make trials` shows it under the test, pytest with -s."""

    def said(line: str) -> None:
        sys.stdout.write(f"{line}\n")

    return said
