"""One thread waits for everything at once, so that no session needs one; what blocks is done apart, in a few others.

With a thread for each session, handing the interpreter from one to the next cost as much as all that they did.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, ParamSpec, TypeVar

from bank.errors import CutShort

APART: Final = 32
"""Threads for each kind of work that blocks."""

STOP_SECONDS: Final = 10.0
"""How long what was cut short may take to tidy up."""

_AGAIN_SECONDS: Final = 1.0
_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")


class Apart:
    """Threads for work that blocks. All are there from the beginning: to start one means to wait for it."""

    def __init__(self, name: str) -> None:
        self._work: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        for place in range(APART):
            threading.Thread(target=self._run, name=f"{name}-{place}", daemon=True).start()

    async def __call__(self, work: Callable[_Given, _Made], *given: _Given.args, **named: _Given.kwargs) -> _Made:
        """What comes of work, done in one of the threads."""
        future: Future[_Made] = Future()
        self._work.put((future, partial(work, *given, **named)))
        return await asyncio.wrap_future(future)

    def stop(self) -> None:
        """Have each thread end after what it does now; what waits was cut short."""
        for _ in range(APART):
            self._work.put(None)

    def _run(self) -> None:
        while job := self._work.get():
            future, work = job
            if future.set_running_or_notify_cancel():
                try:
                    made = work()
                except BaseException as error:  # noqa: BLE001 - whoever waits is told, and the thread goes on
                    future.set_exception(error)
                else:
                    future.set_result(made)
                    del made
            del job, future, work  # lest a thread keep them while it has nothing to do


class Loop:
    """An event loop in a thread of its own, until :meth:`stop`."""

    def __init__(self, name: str) -> None:
        self.asyncio: Final = asyncio.new_event_loop()
        self._name: Final = name
        self._aparts: list[Apart] = []
        self.apart: Final = self.further("apart")
        """For what reads the ledger."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._settled: deque[asyncio.Future[None]] = deque()
        self._told = False
        self._gate = threading.Lock()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def further(self, kind: str) -> Apart:
        """Further threads, for work that must not wait for the others'; they end with the loop."""
        self._aparts.append(Apart(f"{self._name}-{kind}"))
        return self._aparts[-1]

    # From other threads

    def begin(self, work: Coroutine[Any, Any, None], ended: Callable[[], object]) -> None:
        """Do this from now on, without waiting for it; it answers for its errors itself.

        ``ended`` is called when it has ended, also where it was cut short before it had begun.
        """
        with self._gate:
            if not self._ending:
                self.asyncio.call_soon_threadsafe(self._begin, work, ended)
                return
        work.close()
        ended()

    def soon(self, work: Callable[[], object]) -> None:
        """Have the loop do this when it comes to it; nothing once it is being stopped."""
        with self._gate:
            if not self._ending:
                self.asyncio.call_soon_threadsafe(work)

    def wait(self, work: Coroutine[Any, Any, _Made]) -> _Made:
        """Do this in the loop, and wait for what comes of it; CutShort if the loop is stopped before."""
        with self._gate:
            if self._ending:
                work.close()
                raise CutShort
            future = asyncio.run_coroutine_threadsafe(work, self.asyncio)
        try:
            return future.result()
        except CancelledError:
            raise CutShort from None

    def stop(self) -> None:
        """Cut short what is being done, and end the threads; harmless when repeated."""
        with self._gate:
            first, self._ending = not self._ending, True
        if first:
            # What was begun is a task by then: nothing is begun any more.
            with suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(self._cut_short(), self.asyncio).result(STOP_SECONDS)
            self.asyncio.call_soon_threadsafe(self.asyncio.stop)
            for apart in self._aparts:
                apart.stop()
        self._thread.join()

    # Inside the loop

    def aside(self, work: Callable[[], object]) -> None:
        """Have work that blocks done by a thread of its own, for which nobody waits; also while the loop is stopped."""
        try:
            threading.Thread(target=work, name=f"{self._name}-aside", daemon=True).start()
        except RuntimeError:  # the system gives no further thread
            work()

    async def settled(self, future: "Future[Any]") -> None:
        """Until the future is done. The loop is woken once for all that settle together."""
        if future.done():
            return
        waiting: asyncio.Future[None] = self.asyncio.create_future()
        future.add_done_callback(lambda _: self._tell(waiting))
        await waiting

    async def readable(self, descriptor: int, deadline: float) -> bool:
        """Until there is something to read; False if there is nothing by the deadline (seconds of the loop's clock)."""
        waiting: asyncio.Future[bool] = self.asyncio.create_future()
        self.asyncio.add_reader(descriptor, _settle, waiting, True)
        alarm = self.asyncio.call_at(deadline, _settle, waiting, False)
        try:
            return await waiting
        finally:
            alarm.cancel()
            self.asyncio.remove_reader(descriptor)

    def _begin(self, work: Coroutine[Any, Any, None], ended: Callable[[], object]) -> None:
        task = self.asyncio.create_task(work)
        self._tasks.add(task)  # the loop itself keeps only weak references
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: ended())

    def _tell(self, waiting: "asyncio.Future[None]") -> None:
        """Called by any thread."""
        self._settled.append(waiting)
        if not self._told:
            self._told = True
            with suppress(RuntimeError):  # the loop has ended, and nobody waits any more
                self.asyncio.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._told = False  # first: who appends from now on calls again
        while self._settled:
            _settle(self._settled.popleft(), None)

    async def _cut_short(self) -> None:
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in tasks:
                task.cancel()
            # Once more for one that was telling of an error just then, and goes on waiting.
            await asyncio.wait(tasks, timeout=_AGAIN_SECONDS)
        await self.asyncio.shutdown_asyncgens()

    def _run(self) -> None:
        try:
            self.asyncio.run_forever()
        finally:
            self.asyncio.close()


def _settle(waiting: "asyncio.Future[_Made]", result: _Made) -> None:
    if not waiting.done():
        waiting.set_result(result)
