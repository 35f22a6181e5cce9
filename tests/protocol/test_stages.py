"""The stages are ordered, and each is the composition that its table says."""

from itertools import pairwise
from typing import get_args

import pytest

from protocol.receipts import LogEntry
from protocol.stages import OPERATOR, Stage


def test_stages_are_ordered() -> None:
    assert [stage.rank for stage in Stage] == [1, 2, 3, 4]
    assert tuple(Stage) == (Stage.PASSWORD, Stage.SESSION, Stage.SIGNED, Stage.CERTIFIED)


@pytest.mark.parametrize(
    ("stage", "has_session", "orders_are_signed", "is_certified"),
    [
        (Stage.PASSWORD, False, False, False),
        (Stage.SESSION, True, False, False),
        (Stage.SIGNED, True, True, False),
        (Stage.CERTIFIED, True, True, True),
    ],
)
def test_each_stage_is_a_composition(
    stage: Stage, has_session: bool, orders_are_signed: bool, is_certified: bool
) -> None:
    assert stage.has_session is has_session
    assert stage.orders_are_signed is orders_are_signed
    assert stage.is_certified is is_certified


def test_a_later_stage_has_what_the_earlier_had() -> None:
    for earlier, later in pairwise(Stage):
        for part in ("has_session", "orders_are_signed", "is_certified"):
            assert getattr(later, part) >= getattr(earlier, part)


def test_an_entry_names_a_stage_or_the_operator() -> None:
    assert get_args(LogEntry.__annotations__["stage"]) == (*(stage.value for stage in Stage), OPERATOR)
