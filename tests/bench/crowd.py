"""Sessions by the hundred are opened by a process of its own, which holds them and says nothing more until it is told.

``python -m tests.bench.crowd FILE`` reads a :class:`Crowd`, prints what became of the openings as JSON, and closes
everything once its standard input ends.
"""

import os
import socket
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec

from protocol.codes import Reason
from protocol.errors import ProtocolError
from protocol.messages import AskBalance, Balance
from protocol.transport import Address
from tests.bench.cast import read_cast
from tests.bench.line import Line, Opening, RefusedOpening, prepare

BUSY_WAITS_SECONDS = (0.2, 0.8)
"""How the customer's program waits where the bank is busy; after that it gives up, and so does this."""

STACK_BYTES = 256 * 1024


class Crowd(msgspec.Struct, frozen=True):
    """So many ``sessions`` of the cast's customers in turn, ``at_once`` of them opening at any time."""

    address: str
    cast: str
    sessions: int
    at_once: int


class Gathered(msgspec.Struct, frozen=True):
    """What became of them; ``busy``: how often a try was put off, ``failures``: why sessions were not opened at all."""

    opened: int
    busy: int
    failures: dict[str, int]
    seconds: float
    slowest_seconds: float


def gather(crowd: Crowd) -> tuple[Gathered, list[Line]]:
    """Open the sessions; each asks for its balance once, which makes it count as open at the bank."""
    cast = read_cast(Path(crowd.cast))
    parties = [cast.parties[place % len(cast.parties)] for place in range(crowd.sessions)]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        openings = list(pool.map(partial(prepare, cast), parties))
    address, busy = Address.parse(crowd.address), Counter[str]()
    failures: Counter[str] = Counter()
    start = threading.Barrier(min(crowd.at_once, crowd.sessions))
    threading.stack_size(STACK_BYTES)

    def attempt(place: int) -> tuple[Line | None, float]:
        if place < start.parties:
            start.wait()
        begun = time.perf_counter()
        line = None
        try:
            line = _opened(address, openings[place], place, busy)
            if not isinstance(line.ask(AskBalance), Balance):
                failures["no balance"] += 1
        except (OSError, ProtocolError, RefusedOpening) as error:
            failures[f"{type(error).__name__}: {error}"] += 1
        return line, time.perf_counter() - begun

    begun = time.perf_counter()
    with ThreadPoolExecutor(crowd.at_once) as pool:
        done = list(pool.map(attempt, range(crowd.sessions)))
    seconds = time.perf_counter() - begun
    lines = [line for line, _ in done if line is not None]
    slowest = max(spent for _, spent in done)
    return Gathered(len(lines), busy.total(), dict(failures), round(seconds, 2), round(slowest, 2)), lines


def _opened(address: Address, opening: Opening, place: int, busy: Counter[str]) -> Line:
    """As patient as the customer's program; each hundred comes from an address of its own, as customers do."""
    source = (f"127.0.1.{place // 100 + 1}", 0)
    for wait_seconds in BUSY_WAITS_SECONDS:
        try:
            return Line.open(address, opening, source)
        except RefusedOpening as refused:
            if str(refused) != Reason.BUSY.value:
                raise
        busy["busy"] += 1
        time.sleep(wait_seconds)
    return Line.open(address, opening, source)


def main(file: str) -> None:
    """Gather the crowd in a file, and hold it until standard input ends."""
    gathered, lines = gather(msgspec.json.decode(Path(file).read_bytes(), type=Crowd))
    sys.stdout.buffer.write(msgspec.json.encode(gathered) + b"\n")
    sys.stdout.flush()
    sys.stdin.read()
    for line in lines:
        line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        line.close()


if __name__ == "__main__":
    main(sys.argv[1])
