"""The town of the tests whose servers are processes."""

import pytest

from tests.system.town import Town


@pytest.fixture(scope="session")
def town(system_town: Town) -> Town:
    """An authority, a bank, Alice and Bob; no test changes them."""
    return system_town
