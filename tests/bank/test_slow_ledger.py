"""Whatever waits for the ledger, orders of others go on, and a stop leaves nobody hanging."""

import json
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from bank import accounts
from bank.revocations import RevocationLists
from bank.service import Service
from protocol.codes import Status
from protocol.messages import Balance
from protocol.stages import Stage
from tests.bank.counter import BALANCE, Counter, at_counter, eventually, receive
from tests.bank.town import Town


def test_who_waits_for_a_slow_ledger_does_not_keep_the_orders_of_others_waiting(
    town: Town, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many requests as there are threads read slowly; an order comes whose gpg is at hand, and one whose is not."""
    monkeypatch.setattr("bank.loop.APART", 2)
    go_on, reading = threading.Event(), threading.Semaphore(0)
    honest = accounts.get

    def slowly(ledger: Any, customer: str) -> Any:
        reading.release()
        assert go_on.wait(60)
        return honest(ledger, customer)

    with (
        at_counter(town, short_tmp) as counter,
        counter.session(town.alice, Stage.SIGNED) as alice,
        counter.session(town.bob, Stage.SESSION) as bob,
        counter.session(town.bob, Stage.SESSION) as bob_again,
    ):
        for talk in (alice, bob, bob_again):
            assert isinstance(talk.ask(BALANCE), Balance)
        with monkeypatch.context() as patch:
            patch.setattr(accounts, "get", slowly)
            try:
                for talk in (bob, bob_again):
                    talk.send(BALANCE)
                assert all(reading.acquire(timeout=30) for _ in range(2))
                assert alice.pay("gpg-at-hand").status is Status.SETTLED
                counter.server.opener.identities._known.clear()
                assert alice.pay("gpg-not-at-hand").status is Status.SETTLED
            finally:
                go_on.set()
            for talk in (bob, bob_again):
                assert isinstance(talk.answer(), Balance)


def test_the_loop_does_not_ask_the_ledger_for_a_list_that_it_has_not_met() -> None:
    nothing: Any = None  # with a ledger to read, or a root to judge by, it would fail
    assert RevocationLists(nothing, nothing).known() is None


def test_whoever_sends_many_orders_and_goes_has_them_posted(town: Town, short_tmp: Path) -> None:
    with at_counter(town, short_tmp) as counter:
        before = counter.count("entry")
        talk = counter.open(town.alice, Stage.SESSION)
        talk.send(*[counter.submission(town.alice, f"gone-{place}", Stage.SESSION) for place in range(64)])
        talk.connection.close()
        eventually(lambda: counter.connections == 0)
        assert counter.count("entry") == before + 64


@pytest.mark.parametrize("stage", [Stage.PASSWORD, Stage.SESSION])
def test_a_stop_hangs_up_on_those_whose_orders_are_not_decided_in_time(
    town: Town, short_tmp: Path, monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> None:
    """What became of such an order only a look-up can tell, so nothing is said of it."""
    with at_counter(town, short_tmp, limits={"stop_grace_seconds": 0.3}) as counter:
        posting = counter.server.service.posting
        never: Future[Any] = Future()
        monkeypatch.setattr(posting, "submit", lambda _: never)
        waiting = threading.Event()
        honest = Service._decided

        async def decided(*given: Any) -> Any:
            waiting.set()
            return await honest(*given)

        monkeypatch.setattr(Service, "_decided", decided)
        connection = _sent(counter, stage)
        assert waiting.wait(30)
        assert not counter.server.stop()
        assert receive(connection) is None
        connection.close()
        eventually(lambda: counter.connections == 0)
        events = [json.loads(line)["event"] for line in counter.log.getvalue().splitlines()]
        assert "fault" not in events
        assert ("outcome-unknown" in events) is (stage is Stage.PASSWORD)


def _sent(counter: Counter, stage: Stage) -> Any:
    """A connection on which an order was sent."""
    order = counter.submission(counter.town.alice, "undecided", stage)
    if stage is not Stage.PASSWORD:
        talk = counter.open(counter.town.alice, stage)
        talk.send(order)
        return talk.connection
    connection = counter.connect()
    connection.send(counter.password_frame(counter.town.alice, order), timeout_seconds=30)
    return connection
