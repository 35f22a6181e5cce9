"""A retry that comes while the original is still being posted waits or is told "busy", and money moves once."""

import fcntl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from customer import conversing, sending, wishes
from customer.sending import Outcome, Wish
from customer.store import State
from protocol.codes import Reason
from protocol.messages import Answer, NumberedReceipt, Refusal
from protocol.stages import Stage
from tests.bank.counter import eventually
from tests.system.proxy import TO_BANK
from tests.system.town import Person, Stand, submit
from tests.trials.eight import Eight, eight_standing

WISH = Wish("2002", "1.00", "", "EUR", identifier="rent")
SESSIONS = 4
AT_ONCE = 250


@pytest.fixture
def narrow(eight: Eight, short_tmp: Path) -> Iterator[Stand]:
    """A bank with room for one order beside those that are being posted."""
    with eight_standing(eight, short_tmp, queue=1) as stand:
        yield stand


@contextmanager
def posting_held_up(stand: Stand) -> Iterator[None]:
    """As long as somebody else writes to the ledger, nothing is posted."""
    with (stand.home / "ledger.sqlite.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def settled(person: Person) -> Person:
    """A customer who has had a session before, so that opening one writes nothing."""
    person.set()  # it waits twenty seconds for an answer
    person.here("send", "--to", "2003", "--amount", "0.01", "--description", "")
    return person


def sent(person: Person) -> Outcome:
    with person.opened() as home:
        return sending.send(home, WISH)


def sent_again(person: Person) -> Outcome:
    with person.opened() as home:
        order = home.store.find("rent")
        assert order is not None
        assert order.state is State.SENDING
        return sending.send_again(home, order)


def test_trial_12_a_retry_beside_the_original_waits_and_gets_the_same_entry(stand: Stand) -> None:
    alice = settled(stand.person("2001"))
    with stand.between(alice) as proxy, ThreadPoolExecutor(2) as pool:

        def submitted(line: int, frames: int) -> Callable[[], bool]:
            return lambda: len(proxy.tapes) > line and len(proxy.tapes[line].frames[TO_BANK]) >= frames

        with posting_held_up(stand):
            original: Future[Outcome] = pool.submit(sent, alice)
            eventually(submitted(0, 2))  # the opening and the order
            retry = pool.submit(sent_again, alice)
            eventually(submitted(1, 3))  # the opening, the question that nobody can answer yet, and the order
            assert stand.postings("2001", "rent") == 0
            assert not original.done()
            assert not retry.done()
        outcomes = [each.result(60) for each in (original, retry)]
    assert sorted(outcome.earlier for outcome in outcomes) == [False, True]
    assert len({outcome.receipt.entry for outcome in outcomes if outcome.receipt}) == 1
    assert all(outcome.posted for outcome in outcomes)
    assert stand.postings("2001", "rent") == 1
    assert stand.balance("2001") == 12_50 - 1 - 1_00
    assert alice.outbox()["rent"] == "posted"


def test_trial_12_retries_for_which_there_is_no_room_are_told_busy_and_use_up_nothing(narrow: Stand) -> None:
    alice = settled(narrow.person("2001"))

    def retried() -> Answer:
        with alice.opened() as home, conversing.conversation(home, Stage.SIGNED) as talk:
            order = home.store.find("rent")
            assert order is not None
            (answer,) = talk.ask(submit(order.message))  # the very same bytes
            return answer

    with narrow.between(alice) as proxy, ThreadPoolExecutor(4) as pool:
        with posting_held_up(narrow):
            original = pool.submit(sent, alice)
            eventually(lambda: bool(proxy.tapes) and len(proxy.tapes[0].frames[TO_BANK]) >= 2)
            retries = [pool.submit(retried) for _ in range(3)]
            # One of them may wait in the one place that there is.
            eventually(lambda: sum(each.done() for each in retries) >= 2)
            at_once = [each.result() for each in retries if each.done()]
            assert {answer.reason for answer in at_once if isinstance(answer, Refusal)} == {Reason.BUSY}
            assert not any(isinstance(answer, NumberedReceipt) for answer in at_once)
        assert original.result(60).posted
        for each in retries:
            answer = each.result(60)
            assert isinstance(answer, Refusal) or answer.receipt.duplicate  # type: ignore[union-attr]
    answer = retried()
    assert isinstance(answer, NumberedReceipt)
    assert answer.receipt.duplicate
    assert narrow.postings("2001", "rent") == 1
    narrow.require_order()


def test_trial_09_a_thousand_times_at_once_over_tcp_is_one_posting_and_one_receipt(stand: Stand) -> None:
    alice = settled(stand.person("2001"))
    with alice.opened() as home:
        order = wishes.made(home, WISH, Stage.SIGNED)
    start = threading.Barrier(SESSIONS)

    def many(_: int) -> list[NumberedReceipt]:
        with alice.opened() as home, conversing.conversation(home, Stage.SIGNED) as talk:
            start.wait(60)
            answers = talk.ask(*[submit(order.message)] * AT_ONCE)
        return [answer for answer in answers if isinstance(answer, NumberedReceipt)]

    with ThreadPoolExecutor(SESSIONS) as pool:
        receipts = [each.receipt for found in pool.map(many, range(SESSIONS)) for each in found]
    assert len(receipts) == SESSIONS * AT_ONCE
    assert len({(receipt.entry, receipt.index) for receipt in receipts}) == 1
    assert sum(not receipt.duplicate for receipt in receipts) == 1
    assert stand.postings("2001", "rent") == 1
    assert stand.balance("2001") == 12_50 - 1 - 1_00
    stand.require_order()
