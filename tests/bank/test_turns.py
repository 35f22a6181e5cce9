"""Turns are few, waited for a while only, and given address by address."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from bank.identities import OpeningRefused
from bank.turns import Turns
from protocol.codes import Reason
from tests.bank.counter import eventually


def test_trial_37_turns_are_few_and_waited_for_a_while_only() -> None:
    turns = Turns(1, 0.05)
    with turns.turn("a"):
        for network in ("a", "b"):
            with pytest.raises(OpeningRefused) as caught, turns.turn(network):
                pass
            assert caught.value.reason is Reason.BUSY
        assert not turns._waiting, "who has gone is not waited for"
    with turns.turn("a"):
        pass
    with turns.patiently("a"):
        pass


def test_trial_37_a_crowd_from_one_network_delays_another_by_one_turn() -> None:
    turns, held, served = Turns(1, 60.0), threading.Event(), []

    def hold() -> None:
        with turns.turn("crowd"):
            assert held.wait(60)

    def come(network: str) -> None:
        with turns.turn(network):
            served.append(network)

    with ThreadPoolExecutor(32) as pool:
        first = pool.submit(hold)
        try:
            eventually(lambda: turns._free == 0)
            come_all = [pool.submit(come, "crowd") for _ in range(25)]
            eventually(lambda: len(turns._waiting["crowd"]) == 25)
            come_all += [pool.submit(come, network) for network in ("honest", "other")]
            eventually(lambda: len(turns._waiting) == 3)
        finally:
            held.set()
        for each in (first, *come_all):
            each.result(60)
    assert served[0] == "crowd"
    assert set(served[1:3]) == {"honest", "other"}
    assert served.count("crowd") == 25
    assert (turns._free, len(turns._waiting)) == (1, 0)
