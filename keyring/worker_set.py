"""So many long-lived workers of gpg and no more: one for each customer who is active, and for no other."""

import threading
from collections import OrderedDict
from collections.abc import Callable

from keyring.errors import EngineError
from keyring.home import Home
from keyring.worker import Worker


class WorkerSet:
    """At most ``limit`` workers, one a key; the one not used for the longest time makes room."""

    def __init__(self, limit: int, make: Callable[[Home], Worker] = Worker) -> None:
        if limit < 1:
            raise ValueError("A set of workers has room for at least one.")
        self._limit = limit
        self._make = make
        self._lock = threading.Lock()
        self._workers: OrderedDict[str, Worker] = OrderedDict()
        self._closed = False

    def get(self, key: str, home: Home) -> Worker:
        """The worker of ``key``, replaced if it serves another home. Raises EngineError once the set is closed."""
        leaving: list[Worker] = []
        with self._lock:
            if self._closed:
                raise EngineError("The workers of GnuPG were closed; the server is ending. Try again when it is back.")
            worker = self._workers.get(key)
            if worker is None or worker.home != home:
                if worker is not None:
                    leaving.append(self._workers.pop(key))
                worker = self._workers[key] = self._make(home)
            self._workers.move_to_end(key)
            while len(self._workers) > self._limit:
                leaving.append(self._workers.popitem(last=False)[1])
        for left in leaving:  # outside the lock: closing waits for a message in flight
            left.close()
        return worker

    def at_hand(self, key: str, home: Home) -> Worker | None:
        """The worker of ``key`` if there is one for this home; never waits."""
        with self._lock:
            worker = self._workers.get(key)
            if worker is None or worker.home != home:
                return None
            self._workers.move_to_end(key)
            return worker

    def evict(self, key: str) -> None:
        """End the worker of ``key`` if there is one: its home is being replaced or its session is over."""
        with self._lock:
            worker = self._workers.pop(key, None)
        if worker is not None:
            worker.close()

    def close(self) -> None:
        """End all workers; there are none afterwards."""
        with self._lock:
            self._closed = True
            workers = list(self._workers.values())
            self._workers.clear()
        for worker in workers:
            worker.close()

    def __len__(self) -> int:
        return len(self._workers)
