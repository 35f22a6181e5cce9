"""One loop waits for many, loses nobody who waits, is never held up by what blocks, and ends when it is told to."""

import asyncio
import os
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import pytest

from bank.errors import CutShort
from bank.loop import APART, STOP_SECONDS, Loop
from tests.bank.counter import eventually

LONG = 60.0
BURST = 100


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop("tried")
    yield loop
    loop.stop()
    eventually(lambda: not threads_of_loops())


def threads_of_loops() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("tried")]


def no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


async def nothing() -> str:
    return "done"


# --- settled --------------------------------------------------------------------------------------------------------


def test_all_that_settle_together_are_told_at_once(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    futures: list[Future[int]] = [Future() for _ in range(BURST)]
    woken: list[object] = []
    honest = loop.asyncio.call_soon_threadsafe

    def count(callback: Any, *given: Any, **named: Any) -> Any:
        if callback == loop._deliver:
            woken.append(callback)
        return honest(callback, *given, **named)

    async def burst() -> None:
        waiting = [asyncio.create_task(loop.settled(future)) for future in futures]
        await asyncio.sleep(0)
        for place, future in enumerate(futures):
            future.set_result(place)
        await asyncio.gather(*waiting)

    monkeypatch.setattr(loop.asyncio, "call_soon_threadsafe", count)
    for _ in range(3):
        loop.wait(burst())
        assert len(woken) == 1
        woken.clear()
        futures[:] = [Future() for _ in range(BURST)]


def test_what_has_settled_is_not_waited_for_and_who_gave_up_is_left_alone(loop: Loop) -> None:
    done: Future[int] = Future()
    done.set_result(1)
    late: Future[int] = Future()

    async def wait() -> None:
        await loop.settled(done)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await loop.settled(late)
        late.set_result(1)
        await loop.settled(late)

    loop.wait(wait())


def test_what_settles_just_when_the_others_were_told_is_told_as_well(loop: Loop) -> None:
    first: Future[int] = Future()
    late: Future[int] = Future()

    class Told(deque[Any]):
        """Once it is found to be empty, one more settles, as if another thread had been that quick."""

        def __bool__(self) -> bool:
            is_empty = len(self) == 0
            if is_empty and not late.done():
                late.set_result(1)
            return not is_empty

    async def wait() -> None:
        told = [asyncio.create_task(loop.settled(future)) for future in (first, late)]
        await asyncio.sleep(0)
        first.set_result(1)
        async with asyncio.timeout(LONG / 10):
            await asyncio.gather(*told)

    loop._settled = Told()
    loop.wait(wait())


def test_none_is_lost_however_the_threads_that_settle_them_take_turns(loop: Loop) -> None:
    """Each round begins when all of the one before were told, so that the loop is asleep again and again."""
    rounds, threads, each = 60, 4, 10
    switching = sys.getswitchinterval()
    queues: list[list[Future[int]]] = [[] for _ in range(threads)]
    start, end = threading.Barrier(threads + 1), threading.Event()

    def settle(queue: list[Future[int]]) -> None:
        while True:
            start.wait(LONG)
            if end.is_set():
                return
            random.shuffle(queue)
            for future in queue:
                time.sleep(random.random() / 2000)  # now with the others, now after the loop has told them
                future.set_result(1)

    async def wait(futures: list[Future[int]], waiting: threading.Event) -> None:
        async with asyncio.timeout(LONG):
            told = [asyncio.create_task(loop.settled(future)) for future in futures]
            await asyncio.sleep(0)
            waiting.set()
            await asyncio.gather(*told)

    settling = [threading.Thread(target=settle, args=(queue,)) for queue in queues]
    for thread in settling:
        thread.start()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(rounds):
            for queue in queues:
                queue[:] = [Future() for _ in range(each)]
            futures, waiting = [future for queue in queues for future in queue], threading.Event()
            told = asyncio.run_coroutine_threadsafe(wait(futures, waiting), loop.asyncio)
            assert waiting.wait(LONG)
            start.wait(LONG)
            told.result(LONG)
    finally:
        sys.setswitchinterval(switching)
        end.set()
        start.wait(LONG)
        for thread in settling:
            thread.join(LONG)


# --- apart ----------------------------------------------------------------------------------------------------------


def test_what_is_done_apart_gives_what_came_of_it_and_the_loop_goes_on(loop: Loop) -> None:
    go_on = threading.Event()

    def work(number: int, *, more: int) -> tuple[int, str]:
        assert go_on.wait(LONG)
        return number + more, threading.current_thread().name

    async def ask() -> tuple[int, str]:
        working = asyncio.create_task(loop.apart(work, 1, more=2))
        await asyncio.sleep(0)
        assert not working.done()
        go_on.set()
        return await working

    number, thread = loop.wait(ask())
    assert number == 3
    assert thread.startswith("tried-apart")


def test_what_fails_apart_fails_for_who_asked_and_for_nobody_else(loop: Loop) -> None:
    async def ask() -> int:
        for _ in range(2 * APART):
            with pytest.raises(ZeroDivisionError):
                await loop.apart(lambda: 1 // 0)
        return await loop.apart(lambda: 1)

    assert loop.wait(ask()) == 1


def test_a_slow_ledger_does_not_keep_other_work_waiting_and_no_thread_is_begun_in_the_loop(loop: Loop) -> None:
    """As many as there are threads, and one more, which comes when one of them is free."""
    go_on, inside = threading.Event(), threading.Semaphore(0)
    further = loop.further("more")
    threads = threading.active_count()

    def slowly() -> bool:
        inside.release()
        return go_on.wait(LONG)

    async def ask() -> tuple[list[bool], int]:
        slow = [asyncio.create_task(loop.apart(slowly)) for _ in range(APART + 1)]
        other = await further(lambda: 7)
        assert all(inside.acquire(timeout=LONG) for _ in range(APART))
        assert not inside.acquire(blocking=False)
        assert threading.active_count() == threads
        go_on.set()
        return await asyncio.gather(*slow), other

    assert loop.wait(ask()) == ([True] * (APART + 1), 7)


# --- readable -------------------------------------------------------------------------------------------------------


def test_a_descriptor_is_watched_only_while_somebody_waits_for_it(loop: Loop) -> None:
    reading, writing = os.pipe()

    async def wait() -> bytes:
        for _ in range(2):  # given up, and begun again: nothing is left of the first
            assert not await loop.readable(reading, loop.asyncio.time() + 0.01)
            assert not loop.asyncio.remove_reader(reading)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await loop.readable(reading, loop.asyncio.time() + LONG)
            assert not loop.asyncio.remove_reader(reading)
        os.write(writing, b"!")
        assert await loop.readable(reading, loop.asyncio.time() + LONG)
        assert not loop.asyncio.remove_reader(reading)
        return os.read(reading, 10)

    try:
        assert loop.wait(wait()) == b"!"
    finally:
        os.close(reading)
        os.close(writing)


def test_the_end_of_what_is_read_is_told_as_well(loop: Loop) -> None:
    reading, writing = os.pipe()
    os.close(writing)

    assert loop.wait(loop.readable(reading, loop.asyncio.time() + LONG))
    os.close(reading)


# --- the end --------------------------------------------------------------------------------------------------------


def test_a_stop_cuts_short_what_is_being_done_and_tells_who_waits() -> None:
    loop = Loop("tried")
    never: Future[int] = Future()
    ended: list[str] = []
    inside = threading.Event()

    async def work() -> None:
        try:
            inside.set()
            await loop.settled(never)
        finally:
            ended.append("tidied up")

    def wait() -> None:
        try:
            loop.wait(work())
        except CutShort as error:
            ended.append(str(error))

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert inside.wait(LONG)
    inside.clear()
    loop.begin(work(), lambda: ended.append("ended"))
    assert inside.wait(LONG)
    loop.stop()
    waiting.join(LONG)
    eventually(lambda: not threads_of_loops())
    assert sorted(ended) == sorted(["tidied up", "tidied up", "ended", str(CutShort())])
    loop.stop()
    never.set_result(1)  # and who settles something later is not harmed


def test_a_stop_does_not_wait_for_one_that_was_telling_of_an_error(loop: Loop) -> None:
    """It goes on waiting after the first time that it was cut short."""
    never: Future[int] = Future()
    inside = threading.Event()

    async def stubborn() -> None:
        inside.set()
        with suppress(asyncio.CancelledError):
            await loop.settled(never)
        await loop.settled(never)

    ended = threading.Event()
    loop.begin(stubborn(), ended.set)
    assert inside.wait(LONG)
    stopping = threading.Thread(target=loop.stop)
    stopping.start()
    assert ended.wait(STOP_SECONDS - 1)
    stopping.join(LONG)


def test_what_comes_after_the_stop_is_ended_at_once() -> None:
    loop = Loop("tried")
    assert loop.wait(nothing()) == "done"
    loop.stop()
    ended: list[bool] = []
    loop.begin(nothing(), lambda: ended.append(True))  # type: ignore[arg-type]
    assert ended == [True]
    with pytest.raises(CutShort):
        loop.wait(nothing())


def test_what_is_begun_while_the_loop_is_stopped_is_ended_once_whether_it_had_begun_or_not() -> None:
    for _ in range(20):
        loop = Loop("tried")
        never: Future[int] = Future()
        begun, ended, answered = [0] * 2, [0] * 2, [0]

        def begin(place: int, loop: Loop = loop, never: Any = never, begun: Any = begun, ended: Any = ended) -> None:
            def count() -> None:
                ended[place] += 1

            for _ in range(20):
                begun[place] += 1
                loop.begin(loop.settled(never), count)

        def ask(loop: Loop = loop, answered: Any = answered) -> None:
            with suppress(CutShort):
                while loop.wait(nothing()):
                    answered[0] += 1

        threads = [
            threading.Thread(target=begin, args=(0,)),
            threading.Thread(target=begin, args=(1,)),
            threading.Thread(target=ask),
            threading.Thread(target=loop.stop),
        ]
        random.shuffle(threads)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG)
            assert not thread.is_alive()
        assert ended == begun == [20, 20]
    eventually(lambda: not threads_of_loops())


def test_what_is_done_aside_holds_nobody_up_and_is_done_even_without_a_thread(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, done = threading.Event(), threading.Event()

    def work() -> None:
        assert go_on.wait(LONG)
        done.set()

    async def begin() -> None:
        loop.aside(work)

    loop.wait(begin())
    assert loop.wait(nothing()) == "done"
    assert not done.is_set()
    loop.stop()
    go_on.set()
    assert done.wait(LONG)
    done.clear()
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    loop.aside(work)
    assert done.is_set()
