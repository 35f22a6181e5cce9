"""Faults strike a serving bank one after another, in an order and for times that a seed decides, and each is healed."""

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from bank.serving import runtime_folder
from tests.conftest import gnupg_processes_below
from tests.system.proxy import TO_BANK, TO_CUSTOMER, Cut, Proxy, honest
from tests.system.town import Stand

PROOF: Final = 1
"""The number of the bank's first record among its frames; the answers follow it."""

Fault = Callable[["Struck"], None]
"""Does its harm, and returns when it is healed."""


@dataclass
class Struck:
    """A bank under faults, the proxy before it, and the seed's draw."""

    stand: Stand
    proxy: Proxy
    draw: random.Random

    def a_while(self, least: float = 0.2, most: float = 0.8) -> None:
        """How long a fault lasts."""
        time.sleep(self.draw.uniform(least, most))

    @property
    def pid(self) -> int:
        assert self.stand.server is not None
        return self.stand.server.process.pid


def workers(stand: Stand) -> list[psutil.Process]:
    """The long-lived gpg processes of the server."""
    assert stand.server is not None
    with suppress(psutil.Error):
        children = psutil.Process(stand.server.process.pid).children()
        return [each for each in children if "--multifile" in _words(each)]
    return []


def agents(home: Path) -> list[psutil.Process]:
    """The gpg-agent of the bank (there is one at most, save for a moment)."""
    return [each for each in gnupg_processes_below(home) if "gpg-agent" in _words(each)[0]]


def killed_and_restarted(struck: Struck) -> None:
    """SIGKILL, then a new server in the same folder."""
    struck.stand.kill()
    struck.a_while(0.0, 0.3)
    struck.stand.start()


def stalled(struck: Struck) -> None:
    """The whole server stands still, as on a machine that swaps; its connections stay open."""
    os.kill(struck.pid, signal.SIGSTOP)
    try:
        struck.a_while()
    finally:
        os.kill(struck.pid, signal.SIGCONT)


def reset(struck: Struck) -> None:
    """All connections break, several times."""
    for _ in range(3):
        struck.proxy.reset()
        struck.a_while(0.02, 0.2)


def delayed(struck: Struck) -> None:
    """Each frame takes its time."""
    struck.proxy.delay_seconds = struck.draw.uniform(0.02, 0.15)
    struck.a_while()
    struck.proxy.delay_seconds = 0.0


def trickled(struck: Struck) -> None:
    """Everything comes in single bytes."""
    struck.proxy.piece_bytes = 1
    struck.a_while()
    struck.proxy.piece_bytes = 0


def answers_lost(struck: Struck) -> None:
    """Half of the answers inside sessions do not arrive, nor does anything after them."""

    def rule(direction: str, number: int, frame: bytes) -> bytes:
        if direction == TO_CUSTOMER and number > PROOF and struck.draw.random() < 0.5:
            raise Cut
        return frame

    struck.proxy.rule = rule
    struck.a_while(0.5, 1.5)
    struck.proxy.rule = honest


def half_closed(struck: Struck) -> None:
    """The bank is told on all connections that nothing more comes, several times."""
    for _ in range(3):
        struck.proxy.half_close()
        struck.a_while(0.02, 0.2)


def parted(struck: Struck) -> None:
    """Nothing gets through, in one direction or both; sometimes what waited is lost with its connection."""
    struck.proxy.part(*struck.draw.choice([(TO_BANK,), (TO_CUSTOMER,), (TO_BANK, TO_CUSTOMER)]))
    struck.a_while()
    if struck.draw.random() < 0.5:
        struck.proxy.reset()
    struck.proxy.heal()


def agent_killed(struck: Struck) -> None:
    """The gpg-agent with the bank's secret keys is killed; whoever needs it next starts another."""
    for each in agents(struck.stand.home):
        each.kill()
    struck.a_while()


def agent_stalled(struck: Struck) -> None:
    """The agent stands still, and then goes on."""
    found = agents(struck.stand.home)
    _send(found, signal.SIGSTOP)
    try:
        struck.a_while()
    finally:
        _send(found, signal.SIGCONT)


def workers_killed(struck: Struck) -> None:
    """Every gpg of the server is killed, several times."""
    for _ in range(3):
        _send(workers(struck.stand), signal.SIGKILL)
        struck.a_while(0.02, 0.2)


def workers_hung(struck: Struck) -> None:
    """Every gpg of the server stands still for good; the server must replace those that it needs."""
    _send(workers(struck.stand), signal.SIGSTOP)
    struck.a_while()


ON_THE_WAY: Final[tuple[Fault, ...]] = (reset, delayed, trickled, answers_lost, half_closed, parted)
"""What only the network does."""

FAULTS: Final[tuple[Fault, ...]] = (
    *ON_THE_WAY,
    killed_and_restarted,
    stalled,
    agent_killed,
    agent_stalled,
    workers_killed,
    workers_hung,
)


def strike_all(struck: Struck, faults: tuple[Fault, ...] = FAULTS) -> list[str]:
    """Each fault once, in an order that the seed decides, with breaks in between; their names in that order."""
    for fault in (order := struck.draw.sample(faults, len(faults))):
        struck.a_while(0.1, 0.6)
        fault(struck)
    return [fault.__name__ for fault in order]


def clear(stand: Stand) -> None:
    """Kill what was stopped and what a killed server left: nothing that hangs may outlive the test."""
    for each in gnupg_processes_below(stand.home, runtime_folder(stand.home)):
        with suppress(psutil.Error):
            if each.status() == psutil.STATUS_STOPPED:
                each.kill()


def _send(processes: list[psutil.Process], number: int) -> None:
    for each in processes:
        with suppress(psutil.Error):
            each.send_signal(number)


def _words(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline() or [""]
    return [""]
