"""A bank that serves as a process of its own, so that the load does not share an interpreter with what it measures."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any, cast

import psutil

from bank.server import Server
from protocol.transport import Address
from tests.bank.counter import Clock, Counter
from tests.bank.town import Town, copied_bank
from tests.system.programs import Serving

Tell = Callable[[str], None]
"""Puts a line with figures where whoever runs the tests sees it."""


@contextmanager
def bank_process(town: Town, folder: Path, *options: str, **changes: Any) -> Iterator[tuple[Counter, psutil.Process]]:
    """Where its customers come, and the process; nothing of the server itself can be asked here.

    ``options`` are those of `bank serve`.
    """
    home = copied_bank(town, folder, **changes)
    serving = Serving("bank", "--home", home.path, "--listen", "127.0.0.1:0", *options, log=folder / "bank.log")
    try:
        address = Address.parse(serving.first_line.partition(" serves at ")[2].partition(",")[0])
        nobody = cast(Server, None)
        yield Counter(town, home, nobody, address, Clock(), StringIO()), psutil.Process(serving.process.pid)
        assert serving.terminate() == 0
    finally:
        serving.kill()
        home.gnupg.stop()


def make_room_for_descriptors(needed: int) -> None:
    """Raise this process's soft limit of open files, as the server raises its own; it stays raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = needed + 512
    assert hard == resource.RLIM_INFINITY or hard >= wanted, f"the system allows {hard} files only"
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def percentile(values: list[float], percent: float) -> float:
    """The value that so many percent of them do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]
