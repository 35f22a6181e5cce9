"""Each worker has a town of its own, made once; each test a bank of its own, which serves as a process of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.town import Stand, Town, make_town, standing


@pytest.fixture(scope="session")
def town(make_short_tmp: Callable[[], Path]) -> Iterator[Town]:
    town = make_town(make_short_tmp())
    yield town
    town.close()


@pytest.fixture
def stand(town: Town, short_tmp: Path) -> Iterator[Stand]:
    """A bank that accepts every stage, with Alice, Bob and Carol."""
    with standing(town, short_tmp) as stand:
        yield stand
