"""One thread waits for everything at once, so that no session needs one; what blocks is done apart, in a few others.

With a thread for each session, handing the interpreter from one to the next cost as much as all that they did.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, ParamSpec, TypeVar

APART: Final = 32
"""Threads for what blocks: requests that read the ledger, processes of gpg that are begun."""

STOP_SECONDS: Final = 10.0
"""How long what was cut short may take to tidy up."""

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")


class Loop:
    """An event loop in a thread of its own, until :meth:`stop`."""

    def __init__(self, name: str) -> None:
        self.asyncio: Final = asyncio.new_event_loop()
        self._apart = ThreadPoolExecutor(APART, thread_name_prefix=f"{name}-apart")
        self._tasks: set[asyncio.Task[None]] = set()
        self._settled: deque[asyncio.Future[None]] = deque()
        self._told = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    # From other threads

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this from now on, without waiting for it; it answers for its errors itself."""
        self.asyncio.call_soon_threadsafe(self._begin, work)

    def wait(self, work: Coroutine[Any, Any, _Made]) -> _Made:
        """Do this in the loop, and wait for what comes of it."""
        return asyncio.run_coroutine_threadsafe(work, self.asyncio).result()

    def stop(self) -> None:
        """Cut short what is being done, and end the threads; harmless when repeated."""
        if self._thread.is_alive():
            with suppress(RuntimeError, TimeoutError):
                asyncio.run_coroutine_threadsafe(self._cut_short(), self.asyncio).result(STOP_SECONDS)
            with suppress(RuntimeError):
                self.asyncio.call_soon_threadsafe(self.asyncio.stop)
            self._thread.join()
        self._apart.shutdown(wait=False, cancel_futures=True)

    # Inside the loop

    async def apart(self, work: Callable[_Given, _Made], *given: _Given.args, **named: _Given.kwargs) -> _Made:
        """What comes of work that may block, done in another thread."""
        return await asyncio.wrap_future(self._apart.submit(work, *given, **named))

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

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.asyncio.create_task(work)
        self._tasks.add(task)  # the loop itself keeps only weak references
        task.add_done_callback(self._tasks.discard)

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
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _run(self) -> None:
        try:
            self.asyncio.run_forever()
        finally:
            self.asyncio.close()


def _settle(waiting: "asyncio.Future[_Made]", result: _Made) -> None:
    if not waiting.done():
        waiting.set_result(result)
