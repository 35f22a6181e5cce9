"""A stop answers what was taken, refuses what is new, and posts nothing that is not answered (trial 40)."""

import json
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from protocol.codes import Reason, Status
from protocol.errors import ConnectionLost
from protocol.messages import AskStatement, Refusal, Statement
from protocol.stages import Stage
from tests.bank.counter import BALANCE, Counter, at_counter, entry_of, eventually, receive
from tests.bank.town import Town


def test_a_stop_under_load_answers_what_it_took_and_posts_nothing_unanswered(town: Town, short_tmp: Path) -> None:
    """Trial 40: clients that go on sending; the stop comes while they do."""
    paid: list[str] = []
    ended: list[object] = []

    def customer(counter: Counter, name: int) -> None:
        with counter.session(town.alice, Stage.SESSION) as talk:
            try:
                for place in range(10_000):
                    answer = talk.ask(counter.submission(town.alice, f"load-{name}-{place}", Stage.SESSION))
                    if isinstance(answer, Refusal):
                        ended.append(answer.reason)
                        return
                    paid.append(entry_of(answer).transfer_identifier)
            except (ConnectionLost, AssertionError) as error:
                ended.append(error)

    with at_counter(town, short_tmp) as counter:
        threads = [threading.Thread(target=customer, args=(counter, name)) for name in range(4)]
        for thread in threads:
            thread.start()
        eventually(lambda: len({each.split("-")[1] for each in paid}) == 4)
        started = time.monotonic()
        assert counter.server.stop()
        assert time.monotonic() - started < 5
        for thread in threads:
            thread.join(10)
        booked = {each for each in _identifiers(counter) if each.startswith("load-")}
        with pytest.raises(ConnectionLost):
            counter.connect()
        assert counter.connections == 0
    assert booked == set(paid)
    assert ended == [Reason.STOPPING] * 4


def test_a_stop_does_not_wait_for_a_client_that_sends_without_an_end(town: Town, short_tmp: Path) -> None:
    with at_counter(town, short_tmp, limits={"requests_in_flight": 2}) as counter:
        talk = counter.open(town.alice, Stage.SESSION)
        answered: list[object] = []

        def pour() -> None:
            try:
                while True:
                    talk.send(BALANCE)
            except (ConnectionLost, OSError):
                pass

        def drain() -> None:
            while (answer := talk.answer()) is not None:
                answered.append(answer)

        threads = [threading.Thread(target=each) for each in (pour, drain)]
        for thread in threads:
            thread.start()
        eventually(lambda: len(answered) > 10)
        started = time.monotonic()
        assert counter.server.stop()
        assert time.monotonic() - started < 5
        for thread in threads:
            thread.join(10)
        talk.connection.close()


def test_an_order_under_way_is_waited_for_and_an_opening_refused(
    town: Town, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with at_counter(town, short_tmp) as counter:
        posting = counter.server.service.posting
        taken, go_on, honest = threading.Event(), threading.Event(), posting.submit

        def slowly(submission: Any) -> "Future[Any]":
            taken.set()
            assert go_on.wait(10)
            return honest(submission)

        monkeypatch.setattr(posting, "submit", slowly)
        waiting = counter.connect()
        with counter.session(town.alice, Stage.SESSION) as talk:
            talk.send(counter.submission(town.alice, "under-way", Stage.SESSION))
            assert taken.wait(10)
            stopping = threading.Thread(target=counter.server.stop)
            stopping.start()
            eventually(counter.server._listener.is_stopping)
            go_on.set()
            assert entry_of(talk.answer()).status is Status.SETTLED
            last = talk.answer()
            assert isinstance(last, Refusal)
            assert (last.reason, last.number) == (Reason.STOPPING, 0)
        assert receive(waiting) is None
        waiting.close()
        stopping.join(10)
        assert not stopping.is_alive()


def test_threads_end_with_the_server(town: Town, short_tmp: Path) -> None:
    before = {thread.ident for thread in threading.enumerate()}
    with at_counter(town, short_tmp) as counter:
        with counter.session(town.alice, Stage.CERTIFIED) as talk:
            assert isinstance(talk.ask(AskStatement(after=0, lines=5, number=1)), Statement)
        assert {thread.name for thread in threading.enumerate()} >= {"accept", "posting"}
    eventually(lambda: {thread.ident for thread in threading.enumerate()} <= before)


def _identifiers(counter: Counter) -> list[str]:
    with counter.ledger.reading() as connection:
        rows = connection.exec_driver_sql("SELECT entry FROM entry").scalars().all()
    return [str(json.loads(row)["transfer_identifier"]) for row in rows]
