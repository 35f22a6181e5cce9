"""Each worker has a town of its own, made once; each test a bank of its own, which serves as a process of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.town import Stand, Town, standing


@pytest.fixture(scope="session")
def town(system_town: Town) -> Town:
    return system_town


@pytest.fixture
def stand(town: Town, short_tmp: Path) -> Iterator[Stand]:
    """A bank that accepts every stage, with Alice, Bob and Carol."""
    with standing(town, short_tmp) as stand:
        yield stand
