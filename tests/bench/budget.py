"""Where the time of a transfer goes is told by stopwatches that only this process has, around the server's own methods.

``python -m tests.bench.budget FILE serve …`` is `bank serve` with each step of a transfer timed; FILE gets the sums
when it stops. Nothing of this is in the product. A watch costs two readings of two clocks, about a microsecond.
"""

import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import msgspec

from bank.cli import main

STEPS: dict[str, tuple[str, ...]] = {
    "record": ("protocol.records.Channel.open", "protocol.records.Channel.seal"),
    "parse": ("protocol.messages.decode_request", "protocol.messages.encode", "bank.service.decode_order"),
    "verify": ("bank.identities.Identities.ask", "bank.identities.Identities.heard"),
    "post": ("bank.posting.load", "bank.batch.Batch.decide", "bank.batch.Batch.write"),
    "transaction": ("bank.posting.Posting._transact",),
    "sign": ("bank.heads.Heads.sign",),
    "receipt": ("bank.posting.Posting._receipt",),
    "send": ("protocol.link.Link.send",),
}
"""What is timed, by step. ``transaction`` holds ``post``; the rest of it is the commit, and the lock before it."""


class Watch:
    """Seconds by the clock and of this thread's processor time, and how often; shared by all threads."""

    def __init__(self) -> None:
        self.wall = self.processor = 0.0
        self.calls = 0
        self._lock = threading.Lock()

    def add(self, wall: float, processor: float) -> None:
        with self._lock:
            self.wall += wall
            self.processor += processor
            self.calls += 1

    def around(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same, timed."""
        if iscoroutinefunction(work):
            return self._around_it(work)

        def timed(*given: Any, **named: Any) -> Any:
            wall, processor = time.perf_counter(), time.thread_time()
            try:
                return work(*given, **named)
            finally:
                self.add(time.perf_counter() - wall, time.thread_time() - processor)

        return timed

    def _around_it(self, work: Callable[..., Any]) -> Callable[..., Any]:
        async def timed(*given: Any, **named: Any) -> Any:
            wall, processor = time.perf_counter(), time.thread_time()
            try:
                return await work(*given, **named)
            finally:
                self.add(time.perf_counter() - wall, time.thread_time() - processor)

        return timed


def install() -> tuple[dict[str, Watch], list[str]]:
    """Put the watches around; those whose method is not there any more are named."""
    watches, missing = {name: Watch() for name in STEPS}, []
    for name, places in STEPS.items():
        for place in places:
            owner, attribute = _found(place)
            work = getattr(owner, attribute, None)
            if work is None:
                missing.append(place)
            else:
                setattr(owner, attribute, watches[name].around(work))
    _watch_queue(watches)
    _watch_verdicts(watches["verify"])
    return watches, missing


def _found(place: str) -> tuple[Any, str]:
    """A module or a class in one, and the name of what is in it."""
    path, _, attribute = place.rpartition(".")
    try:
        return import_module(path), attribute
    except ImportError:
        module, _, name = path.rpartition(".")
        return getattr(import_module(module), name, None), attribute


def _watch_queue(watches: dict[str, Watch]) -> None:
    """From an order's arrival in the queue to the batch that takes it."""
    from bank.posting import Posting

    watch = watches["queue"] = Watch()
    submit, post = Posting.submit, Posting._post
    arrived: dict[int, float] = {}

    def submitted(self: Posting, *given: Any) -> Any:
        begun = time.perf_counter()
        future = submit(self, *given)
        arrived[id(future)] = begun
        return future

    def posted(self: Posting, tickets: Any) -> None:
        now = time.perf_counter()
        for _, future in tickets:
            watch.add(now - arrived.pop(id(future), now), 0.0)
        post(self, tickets)

    Posting.submit, Posting._post = submitted, posted  # type: ignore[method-assign,assignment]


def _watch_verdicts(watch: Watch) -> None:
    """By the clock, while other orders are worked on in the same thread: its processor time is not this order's."""
    from bank.verifier import Verifier

    heard = Verifier._heard

    async def waited(self: Verifier, *given: Any) -> Any:
        begun = time.perf_counter()
        try:
            return await heard(self, *given)
        finally:
            watch.add(time.perf_counter() - begun, 0.0)

    Verifier._heard = waited  # type: ignore[method-assign,assignment]


def write(file: Path, watches: dict[str, Watch], missing: list[str]) -> None:
    """The sums, as JSON."""
    steps = {
        name: {"wall": each.wall, "processor": each.processor, "calls": each.calls} for name, each in watches.items()
    }
    file.write_bytes(msgspec.json.encode({"steps": steps, "missing": missing}))


if __name__ == "__main__":
    into = Path(sys.argv.pop(1))
    timed, absent = install()
    try:
        main()
    finally:
        write(into, timed, absent)
