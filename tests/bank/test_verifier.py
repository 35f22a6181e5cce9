"""Whether gpg is at hand, hangs, dies or says something else than it should: the verdicts are the same."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from bank.errors import CutShort
from bank.identities import Authority, Identities, Identity
from bank.loop import Loop
from bank.verifier import Verifier
from keyring import keys
from keyring.asked import Asked
from keyring.opened import Opened
from keyring.process import RunningGpg
from keyring.verdict import Rejected
from keyring.worker import GROUP, Worker
from tests.bank.counter import eventually
from tests.bank.faces import known, signed
from tests.bank.town import Town

LONG = 60.0


@pytest.fixture
def identities(town: Town, short_tmp: Path) -> Iterator[Identities]:
    """Room for one customer, so that a second one drives the first out."""
    key = keys.export(town.authority, town.authority_fingerprint)
    identities = Identities(short_tmp / "homes", Authority(town.authority_fingerprint, key, town.root), 1)
    yield identities
    identities.close()


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop("verifying")
    yield loop
    loop.stop()


@pytest.fixture
def apart(identities: Identities, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many messages each time were asked about in another thread."""
    asked: list[int] = []
    honest = identities.open_all

    def open_all(identity: Identity, messages: Sequence[bytes]) -> list[Opened | Rejected]:
        asked.append(len(messages))
        return honest(identity, messages)

    monkeypatch.setattr(identities, "open_all", open_all)
    return asked


@pytest.fixture
def alice(identities: Identities, town: Town) -> Identity:
    """A customer whose gpg runs."""
    identity = known(identities, town.alice)
    assert isinstance(identities.open(identity, signed(town.alice)), Opened)
    return identity


@pytest.fixture
def verify(identities: Identities, loop: Loop) -> Callable[[Identity, Sequence[bytes]], list[bytes | str]]:
    """What each message says, or the rule that it breaks."""
    verifier = Verifier(identities, loop)
    return lambda identity, messages: contents(loop.wait(verifier.open_all(identity, messages)))


Verify = Callable[[Identity, Sequence[bytes]], list[bytes | str]]


def contents(found: Sequence[Opened | Rejected]) -> list[bytes | str]:
    return [each.content if isinstance(each, Opened) else each.rule for each in found]


def worker_of(identities: Identities, identity: Identity) -> Worker:
    return identities._workers._workers[identity.slot]


def running(worker: Worker) -> RunningGpg:
    assert worker._gpg is not None
    return worker._gpg


def assert_free_and_empty(worker: Worker) -> None:
    """Others may use it, and nothing of a message is left."""
    assert worker._lock.acquire(timeout=LONG)
    worker._lock.release()
    assert list(worker._folder.iterdir()) == []


def good_and_bad(town: Town) -> tuple[list[bytes], list[bytes | str]]:
    order = signed(town.alice, b"an order of one euro")
    return [order, order.replace(b"one euro", b"ten euro"), signed(town.bob)], [
        b"an order of one euro",
        "undamaged",
        "checkable",
    ]


def test_a_gpg_at_hand_is_asked_in_the_loop(
    town: Town, identities: Identities, alice: Identity, verify: Verify, apart: list[int]
) -> None:
    worker = worker_of(identities, alice)
    first = running(worker).process.pid
    messages, expected = good_and_bad(town)
    for _ in range(3):
        assert verify(alice, messages) == expected
        assert_free_and_empty(worker)
    assert verify(alice, []) == []
    assert running(worker).process.pid == first
    assert apart == []


def test_more_than_a_group_of_messages_are_each_judged_by_themselves(
    town: Town, identities: Identities, alice: Identity, verify: Verify, apart: list[int]
) -> None:
    messages, expected = good_and_bad(town)
    times = GROUP // len(messages) + 1
    assert verify(alice, messages * times) == expected * times
    assert_free_and_empty(worker_of(identities, alice))
    assert apart == []


def test_a_message_that_is_not_built_as_it_must_be_costs_its_group_only_the_way_round(
    town: Town, identities: Identities, alice: Identity, verify: Verify, apart: list[int]
) -> None:
    messages, expected = good_and_bad(town)
    assert verify(alice, [*messages, b"no message", *messages]) == [*expected, "packet-header", *expected]
    assert apart == [2 * len(messages) + 1]
    assert verify(alice, messages) == expected
    assert len(apart) == 1


# --- a gpg that is not as it should be ------------------------------------------------------------------------------


def stopped(worker: Worker) -> None:
    os.kill(running(worker).process.pid, signal.SIGSTOP)


def dead(worker: Worker) -> None:
    psutil.Process(running(worker).process.pid).kill()
    eventually(lambda: not worker.alive)


def out_of_the_way(worker: Worker) -> None:
    (worker._folder / str(worker._made + 2)).mkdir()


def without_a_pipe(worker: Worker) -> None:
    running(worker).names.close()


@pytest.mark.parametrize("wrong", [stopped, dead, out_of_the_way, without_a_pipe])
def test_trial_32_a_gpg_that_is_not_as_it_should_be_is_replaced_and_the_verdicts_are_the_same(
    town: Town,
    identities: Identities,
    alice: Identity,
    verify: Verify,
    apart: list[int],
    wrong: Callable[[Worker], None],
) -> None:
    worker = worker_of(identities, alice)
    before = running(worker).process
    messages, expected = good_and_bad(town)
    worker._timeout_seconds = 1.0 if wrong is stopped else LONG
    wrong(worker)
    blocker = worker._folder / str(worker._made + 2)
    asked = _with_patience(worker) if wrong is stopped else None
    assert verify(alice, messages) == expected
    if asked is not None:
        asked()
    if blocker.is_dir():
        blocker.rmdir()
    assert apart == [len(messages)]
    assert running(worker).process.pid != before.pid
    assert before.returncode is not None  # it was waited for, and left no zombie
    assert_free_and_empty(worker)
    assert verify(alice, messages) == expected
    assert apart == [len(messages)]


def _with_patience(worker: Worker) -> Callable[[], None]:
    """Once the hung one is given up, the next has all the time that it needs."""
    honest = worker._stop

    def stop() -> None:
        honest()
        worker._timeout_seconds = LONG

    worker._stop = stop  # type: ignore[method-assign]
    return lambda: setattr(worker, "_stop", honest)


@pytest.mark.parametrize("says", ["nothing more", "other names", "one too many", "without end"])
def test_trial_32_a_gpg_that_says_something_else_than_it_should_decides_nothing(
    town: Town,
    identities: Identities,
    alice: Identity,
    verify: Verify,
    apart: list[int],
    monkeypatch: pytest.MonkeyPatch,
    says: str,
) -> None:
    worker = worker_of(identities, alice)
    gpg = running(worker)
    messages, expected = good_and_bad(town)
    honest, changed = os.read, [0]

    def read(descriptor: int, size: int) -> bytes:
        if changed[0] or descriptor != gpg.status or threading.current_thread().name != "verifying":
            return honest(descriptor, size)
        changed[0] = 1
        if says == "nothing more":
            return b""
        piece = b""
        while piece.count(b"FILE_DONE\n") < len(messages):
            piece += honest(descriptor, size)
        first, rest = piece.split(b"FILE_DONE\n", 1)
        return {
            "other names": rest + first + b"FILE_DONE\n",
            "one too many": piece + first + b"FILE_DONE\n",
            "without end": piece * 1000,
        }[says]

    monkeypatch.setattr("keyring.asked.os.read", read)
    assert verify(alice, messages) == expected
    assert changed == [1]
    assert apart == [len(messages)]
    assert running(worker) is not gpg
    assert_free_and_empty(worker)


def test_the_loop_does_not_wait_for_the_end_of_a_gpg(
    town: Town, identities: Identities, alice: Identity, loop: Loop, verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending, go_on = threading.Event(), threading.Event()
    honest = RunningGpg.stop

    def stop(gpg: RunningGpg) -> None:
        ending.set()
        assert go_on.wait(LONG)
        honest(gpg)

    async def answer() -> str:
        return "still here"

    monkeypatch.setattr(RunningGpg, "stop", stop)
    out_of_the_way(worker_of(identities, alice))
    messages, expected = good_and_bad(town)
    found: list[list[bytes | str]] = []
    asking = threading.Thread(target=lambda: found.append(verify(alice, messages)))
    asking.start()
    try:
        assert ending.wait(LONG)
        answering = asyncio.run_coroutine_threadsafe(answer(), loop.asyncio)
        assert answering.result(LONG / 2) == "still here"
        assert not found
    finally:
        go_on.set()
        asking.join(LONG)
    assert found == [expected]


# --- several at once ------------------------------------------------------------------------------------------------


def test_sessions_of_one_customer_take_turns_and_no_thread_waits(
    town: Town, identities: Identities, alice: Identity, loop: Loop, apart: list[int]
) -> None:
    verifier = Verifier(identities, loop)
    orders = [
        [signed(town.alice, b"session %d, order %d" % (session, place)) for place in range(3)] for session in (1, 2)
    ]

    async def at_once() -> list[list[Opened | Rejected]]:
        return await asyncio.gather(*(verifier.open_all(alice, orders[place % 2]) for place in range(8)))

    for place, found in enumerate(loop.wait(at_once())):
        assert contents(found) == [b"session %d, order %d" % (place % 2 + 1, number) for number in range(3)]
    assert apart == []
    assert not verifier._turns  # and no turn is kept for those who do not ask
    assert_free_and_empty(worker_of(identities, alice))


def test_without_a_gpg_at_hand_another_thread_begins_one(
    town: Town, identities: Identities, alice: Identity, verify: Verify, apart: list[int]
) -> None:
    messages, expected = good_and_bad(town)
    known(identities, town.bob)  # whose home takes the place of Alice's
    assert verify(alice, messages) == expected
    assert verify(alice, messages) == expected
    assert apart == [len(messages)]


def test_a_gpg_that_another_thread_uses_is_waited_for_in_a_third(
    town: Town, identities: Identities, alice: Identity, verify: Verify, apart: list[int]
) -> None:
    messages, expected = good_and_bad(town)
    worker = worker_of(identities, alice)
    found: list[list[bytes | str]] = []
    asking = threading.Thread(target=lambda: found.append(verify(alice, messages)))
    with worker._lock:
        asking.start()
        eventually(lambda: apart == [len(messages)])
        assert not found
    asking.join(LONG)
    assert found == [expected]


def test_a_customer_who_is_driven_out_while_gpg_is_asked_gets_his_verdicts(
    town: Town,
    identities: Identities,
    alice: Identity,
    verify: Verify,
    apart: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    messages, expected = good_and_bad(town)
    honest = identities.ask
    bob: list[threading.Thread] = []

    def ask(identity: Identity, group: Sequence[bytes]) -> Any:
        asked = honest(identity, group)
        if asked and not bob:
            bob.append(threading.Thread(target=lambda: known(identities, town.bob)))
            bob[0].start()
            eventually(lambda: alice.slot not in identities._known)
        return asked

    monkeypatch.setattr(identities, "ask", ask)
    assert verify(alice, messages) == expected
    bob[0].join(LONG)
    assert not bob[0].is_alive()
    assert apart == [len(messages)]  # a rejection from a home that is leaving does not count
    assert identities.workers == 1


def test_a_stop_leaves_a_hung_gpg_to_nobody(
    town: Town, identities: Identities, alice: Identity, loop: Loop, verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = worker_of(identities, alice)
    gpg = running(worker)
    stopped(worker)
    asked = threading.Event()
    honest = Asked.begin

    def begin(self: Asked, messages: Sequence[bytes]) -> None:
        honest(self, messages)
        asked.set()

    monkeypatch.setattr(Asked, "begin", begin)
    ended: list[str] = []

    def ask() -> None:
        with suppress(CutShort):
            verify(alice, good_and_bad(town)[0])
            ended.append("answered")

    asking = threading.Thread(target=ask)
    asking.start()
    assert asked.wait(LONG)
    loop.stop()
    asking.join(LONG)
    assert ended == []
    assert_free_and_empty(worker)
    assert gpg.process.returncode is not None
