"""Crowds at the door: 500 sessions at one moment, and 2,000 that are open and say nothing while others transfer."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import psutil

from tests.bench.crowd import Crowd, Gathered
from tests.bench.run import Run
from tests.bench.stand import Stand, standing

BURST, IDLE = 500, 2000
AT_ONCE = 8
LOOK_SECONDS = 0.02


@contextmanager
def crowd(stand: Stand, sessions: int, at_once: int) -> Iterator[Gathered]:
    """So many open sessions, held by another process until the block is left."""
    file = stand.folder.parent / "crowd.json"
    plan = Crowd(stand.address, str(stand.town.cast_file), sessions, at_once)
    file.write_bytes(msgspec.json.encode(plan))
    holder = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.crowd", str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        yield msgspec.json.decode(holder.stdout.readline(), type=Gathered)
    finally:
        holder.stdin.close()
        holder.wait(60)
        holder.stdout.close()


def burst(run: Run) -> dict[str, Any]:
    """500 sessions opened at once: all of them open, and few gpg processes at any time."""
    run.say(f"{BURST} sessions opened at once")
    with standing(run.town, *run.serving) as stand, _watching(stand) as most, crowd(stand, BURST, BURST) as gathered:
        pass
    workers = len(run.town.cast.parties) * run.processes
    run.say(f"  {gathered.opened} open after {gathered.seconds} s, {gathered.busy} told busy once; {gathered.failures}")
    run.say(f"  at most {max(most)} gpg processes at once, at most {workers} of them the customers' workers")
    return {
        **msgspec.to_builtins(gathered),
        "failed": BURST - gathered.opened + sum(gathered.failures.values()),
        "most_gpg_processes": max(most),
        "workers": workers,
    }


def idle(run: Run) -> dict[str, Any]:
    """The others' rate before, beside and after 2,000 idle sessions, and what one of these holds of memory."""
    count = BURST if run.quick else IDLE
    run.say(f"{count} idle sessions beside the others")
    each, took = run.orders_each // 3, 4.0
    with standing(run.town, *run.serving) as stand:
        before = run.closed_at(stand, 1, took, orders_each=each)
        memory = _memory(stand)
        with crowd(stand, count, AT_ONCE) as gathered:
            held = _memory(stand) - memory
            run.say(f"  {gathered.opened} sessions are open after {gathered.seconds} s {gathered.failures or ''}")
            beside = run.closed_at(stand, 1, took, orders_each=each, skip=each)
        after = run.closed_at(stand, 1, took, orders_each=each, skip=2 * each)
    alone = (before.per_second + after.per_second) / 2
    kilobytes = held / max(gathered.opened, 1) / 1000
    run.say(f"  {kilobytes:.0f} KB each; the others at {beside.per_second / alone:.0%} of their rate")
    return {
        "sessions": gathered.opened,
        "failures": gathered.failures,
        "kilobytes_each": round(kilobytes, 1),
        "rate_to_alone": round(beside.per_second / alone, 3),
        "per_second": [before.per_second, beside.per_second, after.per_second],
    }


def _memory(stand: Stand) -> int:
    """Bytes that the server's processes hold for themselves, gpg workers included."""
    root, total = psutil.Process(stand.pid), 0
    for process in (root, *root.children(recursive=True)):
        try:
            total += process.memory_full_info().uss
        except psutil.Error:
            continue
    return total


@contextmanager
def _watching(stand: Stand) -> Iterator[list[int]]:
    """How many gpg processes of the server ran, looked at again and again."""
    found, stop = [0], threading.Event()

    def look() -> None:
        root = psutil.Process(stand.pid)
        while not stop.is_set():
            found.append(sum(_is_gpg(child) for child in root.children(recursive=True)))
            time.sleep(LOOK_SECONDS)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def _is_gpg(process: psutil.Process) -> bool:
    try:
        return process.name().startswith("gpg")
    except psutil.Error:
        return False
