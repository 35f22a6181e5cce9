"""The town of the tests whose servers are processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.town import Stand, Town, standing


@pytest.fixture(scope="session")
def town(system_town: Town) -> Town:
    """An authority, a bank, Alice and Bob; no test changes them."""
    return system_town


@pytest.fixture
def stand(town: Town, short_tmp: Path) -> Iterator[Stand]:
    """A bank of its own."""
    with standing(town, short_tmp) as stand:
        yield stand
