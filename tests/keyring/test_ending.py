"""A signal is heard whenever it comes."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue

import pytest

from keyring.ending import SIGNALS, Ending

WAITING = """
import sys
from keyring.ending import Ending
ending = Ending()
ending.listen()
print(flush=True)
while not ending.wait(0.0):
    pass
print("ended", flush=True)
"""


@pytest.fixture
def ending() -> Iterator[Ending]:
    before = [(number, signal.getsignal(number)) for number in SIGNALS]
    made = Ending()
    made.listen()
    yield made
    for number, handler in before:
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_waiting_and_stays_heard(ending: Ending, number: signal.Signals) -> None:
    assert not ending.wait(0.0)
    threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
    assert ending.wait(60.0)
    assert ending.wait(0.0)
    assert ending.is_set()


def test_without_a_signal_the_time_passes(ending: Ending) -> None:
    begun = time.monotonic()
    assert not ending.wait(0.05)
    assert time.monotonic() - begun >= 0.05
    assert not ending.is_set()


def test_all_who_wait_are_told() -> None:
    ending, told = Ending(), SimpleQueue[bool]()
    threads = [threading.Thread(target=lambda: told.put(ending.wait(60.0))) for _ in range(3)]
    for thread in threads:
        thread.start()
    ending.set()
    assert [told.get(timeout=60) for _ in threads] == [True] * 3
    for thread in threads:
        thread.join()


def test_a_signal_in_the_middle_of_looking_is_heard() -> None:
    """Thirty programs that do nothing but look; an Event would hang in some of them."""
    for _ in range(30):
        with subprocess.Popen([sys.executable, "-c", WAITING], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.terminate()
            try:
                assert process.communicate(timeout=30)[0] == "ended\n"
            finally:
                process.kill()
