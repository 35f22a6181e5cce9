"""A transfer is posted once, and called posted only when that is proven, whatever happens on the way."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from customer import sending
from customer.errors import CustomerError, NotSent, OutcomeUnknown
from customer.home import CustomerHome, World
from customer.sending import Wish
from customer.store import State, Store
from customer.wire import Event
from keyring import process
from protocol.codes import Reason
from protocol.messages import LookUpOrder, SubmitOrder
from protocol.stages import Stage
from tests.customer.scene import Stand

RENT = Wish(creditor="1002", amount="25", description="rent", currency="EUR")


@pytest.mark.parametrize("stage", list(Stage))
def test_a_transfer_is_posted_in_every_stage(stand: Stand, stage: Stage) -> None:
    from customer import ceremony

    with stand.customer() as home:
        if stage in (Stage.SESSION, Stage.SIGNED):
            ceremony.register(home)
        outcome = sending.send(home, Wish("1002", "25.00", "rent", "EUR", stage))
        assert outcome.posted
        assert not outcome.earlier
        (kept,) = home.store.orders()
        assert kept.state is State.POSTED
        assert kept.receipt == outcome.receipt
        head = home.store.newest_head()
        assert head is not None
        assert head.head.size == 2
    assert stand.balance("bob") == "25.00"
