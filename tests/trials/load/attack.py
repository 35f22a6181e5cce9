"""First messages are sent by many strangers for as long as a test lasts, each on a connection of its own."""

import socket
import threading
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

from protocol.errors import ConnectionLost
from protocol.frames import Frame
from protocol.transport import Connection
from tests.bank.counter import Counter, refusal_in

STRANGER_SECONDS = 60.0


@dataclass
class Attack:
    """What the strangers were told, and how long each had to wait for it."""

    told: Tally[str] = field(default_factory=Tally)
    waits: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def run(self, counter: Counter, frame: Frame, source: str, stop: threading.Event) -> None:
        """One stranger, who comes again as soon as there is an answer."""
        while not stop.is_set():
            started = time.monotonic()
            address = (counter.address.host, counter.address.port)
            sock = socket.create_connection(address, STRANGER_SECONDS, source_address=(source, 0))
            connection = Connection(sock, peer="the bank")
            try:
                connection.send(frame, timeout_seconds=STRANGER_SECONDS)
                answer = connection.receive(idle_seconds=STRANGER_SECONDS, frame_seconds=STRANGER_SECONDS)
                self.told[refusal_in(answer).reason.value] += 1
            except ConnectionLost:
                self.told["hung up on"] += 1
            finally:
                connection.close()
            self.waits.append(time.monotonic() - started)


@contextmanager
def attacked(counter: Counter, frames: list[Frame], source: Callable[[int], str]) -> Iterator[Attack]:
    """One stranger for each frame, at the address that ``source`` gives its place; they go when the block is left."""
    attack, stop = Attack(), threading.Event()
    strangers = [
        threading.Thread(target=attack.run, args=(counter, frame, source(place), stop))
        for place, frame in enumerate(frames)
    ]
    started = time.monotonic()
    for each in strangers:
        each.start()
    try:
        yield attack
    finally:
        stop.set()
        for each in strangers:
            each.join()
        attack.seconds = time.monotonic() - started


def processor_seconds(process: psutil.Process) -> float:
    """Processor time of a process and of its children that have ended."""
    times = process.cpu_times()
    return times.user + times.system + times.children_user + times.children_system
