"""A program that serves ends when a signal says so, and hears it in whatever it is doing."""

import signal
from queue import Empty, SimpleQueue
from typing import Final

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Ending:
    """What :data:`SIGNALS` set, and who serves waits for; processes that are forked have one each, set alike.

    No threading.Event: a signal that comes while one is being waited for finds its lock taken, by the very thread that
    runs the handler, and both wait for ever. The queue's put may be called by a handler, says Python's documentation.
    """

    def __init__(self) -> None:
        self._over = False
        self._calls: SimpleQueue[None] = SimpleQueue()

    def listen(self) -> None:
        """From now on the signals set it, and do nothing else; for the main thread."""
        for number in SIGNALS:
            signal.signal(number, lambda *_: self.set())

    def set(self) -> None:
        """The program is to end."""
        self._over = True
        self._calls.put(None)

    def is_set(self) -> bool:
        """Whether the program is to end."""
        return self._over

    def wait(self, seconds: float | None = None) -> bool:
        """Whether the program is to end; waits so long for that, None for ever."""
        if not self._over:
            try:
                self._calls.get(timeout=seconds)
            except Empty:
                return self._over
            self._calls.put(None)  # for others who wait
        return self._over
