"""The same town as in the bank's own tests; each test has a bank of its own, so that it may press it hard."""

import pytest

from tests.bank.town import Town


@pytest.fixture(scope="session")
def town(bank_town: Town) -> Town:
    """Keys and a bank's folder; no test changes them."""
    return bank_town
