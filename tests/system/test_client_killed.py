"""A customer's program killed at any step of sending has sent one transfer at most; `resume` makes it exactly one."""

import os
import signal
import subprocess
import sys
import threading
from itertools import count
from pathlib import Path

import pytest

from protocol.stages import Stage
from tests.system.courses import ORDER, RECEIPT
from tests.system.programs import program
from tests.system.proxy import TO_BANK, TO_CUSTOMER, stalled
from tests.system.town import Person, Stand

DRIVER = Path(__file__).parent / "dying_customer.py"
ROOT = DRIVER.parents[2]
SECONDS = 60


def settled(stand: Stand, alice: Person, identifier: str) -> int:
    """Resume; how often the transfer was posted, which must be once if the order had been written down."""
    written = identifier in alice.outbox()
    for found in alice.resume():
        assert found["status"] == "posted"
    assert alice.resume() == []
    posted = stand.postings("1001", identifier)
    assert posted == int(written)
    return posted


@pytest.mark.parametrize("stage", [Stage.PASSWORD, Stage.SESSION, Stage.CERTIFIED])
def test_trial_15_killed_at_every_step(stand: Stand, stage: Stage) -> None:
    alice = stand.ready("alice", stage)
    # The first transfers make views and start agents; their steps are not those of all others.
    alice.send_here(stage=stage)
    outcomes: list[tuple[int, int]] = []
    for step in count():
        identifier = f"killed-{step}"
        words = [sys.executable, str(DRIVER), str(step), str(alice.home), str(alice.letter), stage.value, identifier]
        done = subprocess.run(
            words,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
        before = stand.postings("1001", identifier)
        outcomes.append((before, settled(stand, alice, identifier)))
        if done.returncode == 0:
            break
    # It was killed before the order was written down, after that, and after the bank had posted it.
    assert {(0, 0), (0, 1), (1, 1)} <= set(outcomes)
    assert len(outcomes) > 8
    assert outcomes[-1] == (1, 1)
    stand.require_order()


@pytest.mark.parametrize(
    ("direction", "frame", "posted"),
    [(TO_BANK, 0, 0), (TO_CUSTOMER, 0, 0), (TO_BANK, ORDER, 0), (TO_CUSTOMER, RECEIPT[Stage.CERTIFIED], 1)],
)
def test_trial_15_the_real_program_killed_while_it_waits(stand: Stand, direction: str, frame: int, posted: int) -> None:
    alice, reached, released = stand.person("alice"), threading.Event(), threading.Event()
    with stand.between(alice) as proxy:
        proxy.rule = stalled(direction, frame, reached, released)
        words = [program("customer"), "send", "--home", str(alice.home), *map(str, alice.transfer()), "--id", "rent"]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sending:
            assert reached.wait(SECONDS)
            sending.kill()
        released.set()
    assert stand.postings("1001", "rent") == posted
    assert alice.outbox() == {"rent": "sending"}
    assert settled(stand, alice, "rent") == 1
    assert stand.balance("1001") == 1000_00 - 25_00
