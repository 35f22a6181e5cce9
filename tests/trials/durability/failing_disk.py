"""A disk fails from outside: a file says which calls fail, and when it is gone the disk is well again."""

import errno
import threading
from collections.abc import Callable
from pathlib import Path


class FailingDisk:
    """Lets calls fail as the file says: ``KIND ERROR FROM COUNT``, such as ``write ENOSPC 3 -``.

    KIND is a kind of call or ``any``; from the FROM-th such call since the file is there (1 is the first), COUNT of
    them fail, or all where it is "-".
    """

    def __init__(self, orders: Path) -> None:
        self._orders = orders
        self._lock = threading.Lock()
        self._said = ""
        self._met = 0

    def write(self, path: str, offset: int, data: bytes) -> None:
        self._meet("write")

    def truncate(self, path: str, size: int) -> None:
        self._meet("write")

    def delete(self, path: str) -> None:
        self._meet("write")

    def replace(self, source: str, target: str) -> None:
        self._meet("write")

    def sync(self, path: str, content: bytes | None) -> Callable[[], None]:
        self._meet("sync")
        return lambda: None

    def _meet(self, kind: str) -> None:
        with self._lock:
            try:
                said = self._orders.read_text()
            except FileNotFoundError:
                self._said, self._met = "", 0
                return
            if said != self._said:
                self._said, self._met = said, 0
            which, error, first, count = said.split()
            if which not in (kind, "any"):
                return
            self._met += 1
            last = int(first) + int(count) - 1 if count != "-" else self._met
            if int(first) <= self._met <= last:
                number = getattr(errno, error)
                raise OSError(number, f"{error} was ordered")
