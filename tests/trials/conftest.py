"""Each worker makes the keys of eight customers once; each test has its own bank, which serves as a process."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.town import Stand
from tests.trials.eight import Eight, eight_standing, make_eight


@pytest.fixture(scope="session")
def eight(make_short_tmp: Callable[[], Path]) -> Eight:
    """Eight customers and their bank; no test changes them."""
    return make_eight(make_short_tmp())


@pytest.fixture
def stand(eight: Eight, short_tmp: Path) -> Iterator[Stand]:
    """A bank that serves the eight in the stage signed, each with 12.50."""
    with eight_standing(eight, short_tmp) as stand:
        yield stand
