"""A fresh bank for each test of the ledger."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bank.ledgers import Bank


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Bank]:
    """A bank in a file-backed ledger, its posting at work."""
    bank = Bank(tmp_path)
    yield bank
    bank.close()
