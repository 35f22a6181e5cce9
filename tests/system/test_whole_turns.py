"""A server and all that it starts are let work on, whoever has just been woken; unless the operator chose otherwise."""

import os
import subprocess
import sys

import psutil
import pytest

from protocol.stages import Stage
from tests.system.town import Stand

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the policies are those of Linux")

TAKE = "import os; from bank.serving import take_whole_turns as take; {}; take(); print(os.sched_getscheduler(0))"


def policy_after(before: str) -> int:
    done = subprocess.run([sys.executable, "-c", TAKE.format(before)], capture_output=True, check=True, timeout=30)
    return int(done.stdout)


def test_what_the_operator_chose_is_left_as_it_is() -> None:
    assert policy_after("os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))") == os.SCHED_BATCH
    assert policy_after("os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))") == os.SCHED_IDLE


def test_a_bank_serves_where_a_sandbox_forbids_it() -> None:
    forbidden = "os.sched_setscheduler = lambda *_: os.stat('')"  # an OSError
    assert policy_after(f"os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0)); {forbidden}") == os.SCHED_OTHER


def test_a_server_its_processes_and_their_gpg_have_whole_turns(stand: Stand) -> None:
    assert stand.server
    stand.ready("alice", Stage.SIGNED).send_here()
    server = stand.server.process.pid
    started = [each.pid for each in psutil.Process(server).children(recursive=True)]
    assert started
    assert {os.sched_getscheduler(pid) for pid in (server, *started)} == {os.SCHED_BATCH}
