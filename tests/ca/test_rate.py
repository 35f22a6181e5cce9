"""A network that asks too often is told when to come again, and nobody else waits for it."""

import time
from threading import Barrier, Thread

import pytest

from ca.authority import Authority
from ca.config import Limits
from ca.counter import Counter
from ca.errors import DeskError, RequestError
from ca.messages import (
    AskAuthority,
    DeskAnswer,
    DeskRefusal,
    NoticeTaken,
    RequestState,
    State,
    SubmitNotice,
    SubmitRequest,
)
from ca.rate import Rate
from tests.ca.cast import Cast, serving
from tests.changes import with_last_byte_changed


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def test_a_minutes_worth_may_come_at_once_and_the_next_when_it_is_told() -> None:
    clock = Clock()
    rate = Rate(6, clock)
    assert [rate.take("a") for _ in range(8)] == [0] * 6 + [10, 10]
    assert rate.take("b") == 0
    clock.now += 9.5
    assert rate.take("a") == 1
    clock.now += 0.5
    assert (rate.take("a"), rate.take("a")) == (0, 10)
    clock.now += 3600
    assert [rate.take("a") for _ in range(7)] == [0] * 6 + [10], "an hour of silence saves up a minute's worth"


def test_what_is_given_back_may_be_taken_again_and_never_more() -> None:
    rate = Rate(2, Clock())
    for _ in range(10):
        assert rate.take("a") == 0
        rate.give_back("a")
    assert [rate.take("a") for _ in range(3)] == [0, 0, 30]


def test_a_clock_that_jumps_back_neither_fills_nor_empties() -> None:
    clock = Clock()
    rate = Rate(2, clock)
    assert [rate.take("a") for _ in range(2)] == [0, 0]
    clock.now -= 86_400
    assert rate.take("a") == 30
    clock.now += 30
    assert (rate.take("a"), rate.take("a")) == (0, 30)


def test_networks_that_are_remembered_are_bounded() -> None:
    rate = Rate(1, Clock(), networks=3)
    for network in "abcd":
        assert rate.take(network) == 0
    assert len(rate._left) == 3
    assert [rate.take(network) for network in "bcd"] == [60] * 3
    assert rate.take("a") == 0, "forgotten, as the one that was not heard of for longest"


def test_no_more_is_given_to_many_threads_than_to_one() -> None:
    rate, barrier, given = Rate(50, Clock()), Barrier(4), list[int]()

    def ask() -> None:
        barrier.wait(30)
        for _ in range(25):
            given.append(rate.take("a"))

    threads = [Thread(target=ask) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert given.count(0) == 50


def test_desk_tells_who_asks_too_often_when_to_come_again(authority: Authority) -> None:
    log = list[str]()
    with serving(authority.desk, Limits(questions_per_minute=1), log) as desk:
        desk.authority_key()
        for _ in range(3):
            with pytest.raises(DeskError, match=r"of questions it takes 1 a minute .* in \d+ second") as refused:
                desk.authority_key()
            assert refused.value.again
    assert [line.split()[0] for line in log] == ["too-often"], "a flood does not fill the log"


class Stranger:
    """Somebody at the desk's counter, of this network (None: the operator's hand), with a clock of the test."""

    def __init__(self, authority: Authority, limits: Limits) -> None:
        self.clock = Clock()
        self._counter = Counter(authority.desk, limits, clock=self.clock, log=lambda _event, _details: None)

    def ask(self, question: SubmitRequest | SubmitNotice | AskAuthority, network: str | None) -> DeskAnswer:
        if network is not None and (refusal := self._counter.too_often(network)) is not None:
            return refusal
        return self._counter.answer(question, network)


def is_too_often(answer: DeskAnswer, what: str) -> bool:
    return isinstance(answer, DeskRefusal) and answer.again and f"of {what} it takes" in answer.sentence


def test_each_network_has_its_own_measure(authority: Authority) -> None:
    at = Stranger(authority, Limits(questions_per_minute=2))
    answers = [at.ask(AskAuthority(), "192.0.2.1") for _ in range(3)]
    assert [is_too_often(each, "questions") for each in answers] == [False, False, True]
    assert not is_too_often(at.ask(AskAuthority(), "2001:db8::/64"), "questions")
    at.clock.now += 30
    assert not is_too_often(at.ask(AskAuthority(), "192.0.2.1"), "questions")


def test_documents_that_gpg_looks_at_are_counted_apart(authority: Authority, cast: Cast) -> None:
    """Junk under a good form costs gpg a look; what is known, and what has not even the form, costs nothing."""
    at, message = Stranger(authority, Limits(documents_per_minute=2)), cast.alice.request()
    junk = SubmitRequest(with_last_byte_changed(message))
    for _ in range(2):
        with pytest.raises(RequestError, match="signature does not count"):
            at.ask(junk, "192.0.2.1")
    assert is_too_often(at.ask(junk, "192.0.2.1"), "documents")
    with pytest.raises(RequestError, match="not a signed message"):
        at.ask(SubmitRequest(b"junk"), "192.0.2.1")
    assert isinstance(at.ask(AskAuthority(), "192.0.2.1"), type(authority.desk.authority()))
    at.clock.now += 30
    with pytest.raises(RequestError, match="signature does not count"):
        at.ask(junk, "192.0.2.1")
    # Others are not held up, nor is the operator; and what they handed in is known then.
    with pytest.raises(RequestError, match="signature does not count"):
        at.ask(junk, None)
    honest = at.ask(SubmitRequest(message), "192.0.2.2")
    assert isinstance(honest, RequestState)
    assert honest.state is State.WAITING
    assert at.ask(SubmitRequest(message), "192.0.2.1") == honest


def test_bank_hands_in_as_many_notices_as_it_opens_accounts(authority: Authority, cast: Cast) -> None:
    at = Stranger(authority, Limits(documents_per_minute=1, questions_per_minute=1))
    first = SubmitNotice(cast.bank.notice(cast.alice))
    for message in (first, SubmitNotice(cast.bank.notice(cast.alice)), SubmitNotice(cast.bank.notice(cast.bob))):
        assert at.ask(message, "192.0.2.1") == NoticeTaken()
    assert at.ask(first, "192.0.2.1") == NoticeTaken()  # whoever has overheard one gains nothing by it
    assert is_too_often(at.ask(first, "192.0.2.1"), "questions")
