"""Each worker has the town of the tests of the whole system; each test has a bank, to which the worst happens."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.town import Stand, Town, standing


@pytest.fixture
def stand(system_town: Town, short_tmp: Path) -> Iterator[Stand]:
    """A bank that accepts every stage, with Alice, Bob and Carol, where refusals need not be rare."""
    with standing(system_town, short_tmp, refusals_per_minute=100_000) as stand:
        yield stand
