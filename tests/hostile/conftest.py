"""Keys, homes and workers are made once for all hostile messages."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hostile.judges import Judges, sitting


@pytest.fixture(scope="session")
def judges(make_short_tmp: Callable[[], Path]) -> Iterator[Judges]:
    with sitting(make_short_tmp()) as judges:
        yield judges
