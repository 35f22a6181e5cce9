"""Each test has a bank of its own that serves; the keys in it are made once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from protocol.frames import Frame, FrameType
from protocol.transport import Address, Listener, ListenerLimits
from tests.customer.desk import DeskStandIn
from tests.customer.scene import Stand, Template, make_template, standing


@pytest.fixture(scope="session")
def bank_template(make_short_tmp: Callable[[], Path]) -> Template:
    return make_template(make_short_tmp())


@pytest.fixture
def stand(bank_template: Template, short_tmp: Path) -> Iterator[Stand]:
    with standing(bank_template, short_tmp) as stand:
        yield stand


@pytest.fixture
def desk(bank_template: Template) -> Iterator[tuple[DeskStandIn, Address]]:
    made = bank_template.certified
    stand_in = DeskStandIn(made["alice"], bank_template.authority.public, made["bank"], bank_template.crl, [])
    listener = Listener(
        Address("127.0.0.1", 0), stand_in.handle, lambda: Frame(FrameType.DESK_ANSWER, b""), ListenerLimits(8, 8)
    )
    listener.start()
    yield stand_in, listener.address
    listener.stop(2.0)
