"""Each test has a bank of its own that serves; the keys in it are made once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.customer.scene import Stand, Template, make_template, standing


@pytest.fixture(scope="session")
def bank_template(make_short_tmp: Callable[[], Path]) -> Template:
    return make_template(make_short_tmp())


@pytest.fixture
def stand(bank_template: Template, short_tmp: Path) -> Iterator[Stand]:
    with standing(bank_template, short_tmp) as stand:
        yield stand
