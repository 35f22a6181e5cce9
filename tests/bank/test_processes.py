"""Several processes serve one bank as one: `bank serve --processes`."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from bank import accounts
from bank.figures import SEEN, Figures
from bank.processes import BEGIN_SECONDS, Processes, _sample
from bank.serving import runtime_folder
from keyring.ending import Ending
from protocol.codes import Status
from protocol.errors import ConnectionLost
from protocol.stages import Stage
from protocol.transport import Address, listen
from tests.bank.counter import Counter, Talk, entry_of, eventually
from tests.bank.town import Town, copied_bank
from tests.system.programs import Serving, run
from tests.trials.load.bank_process import bank_process

PROCESSES = 2
SERVED = ("--processes", str(PROCESSES))


def servers(parent: psutil.Process) -> list[psutil.Process]:
    """The processes that serve; gpg's are their children."""
    return [child for child in parent.children() if not child.name().startswith("gpg")]


@pytest.fixture
def bank(town: Town, short_tmp: Path) -> Iterator[tuple[Counter, psutil.Process]]:
    with bank_process(town, short_tmp, *SERVED) as served:
        yield served


def connected(parent: psutil.Process) -> list[int]:
    """How many connections each process has."""
    return [
        sum(1 for each in server.net_connections() if each.status == psutil.CONN_ESTABLISHED)
        for server in servers(parent)
    ]


def balance(counter: Counter, number: str) -> int:
    """By the ledger itself."""
    with counter.home.open_ledger() as ledger:
        return accounts.get(ledger, number).balance_minor


def test_every_process_serves_and_together_they_keep_one_log(bank: tuple[Counter, psutil.Process], town: Town) -> None:
    counter, parent = bank
    assert len(servers(parent)) == PROCESSES
    before = balance(counter, "1001"), balance(counter, "1002")
    with ExitStack() as stack:
        talks: list[Talk] = []
        while not talks or 0 in connected(parent):
            assert len(talks) < 60, f"one process takes all connections: {connected(parent)}"
            talks.append(stack.enter_context(counter.session(town.alice, Stage.CERTIFIED)))
        orders = [
            counter.submission(town.alice, f"pay-{place}", Stage.CERTIFIED, amount="0.01")
            for place, _ in enumerate(talks)
        ]
        entries = [entry_of(talk.ask(order)) for talk, order in zip(talks, orders, strict=True)]
        assert {entry.status for entry in entries} == {Status.SETTLED}
        assert len({entry.reference for entry in entries}) == len(talks)
        # What one process has booked the other one knows.
        assert entry_of(talks[-1].ask(orders[0])) == entries[0]
        assert entry_of(talks[0].ask(orders[-1])) == entries[-1]
    assert (balance(counter, "1001"), balance(counter, "1002")) == (before[0] - len(talks), before[1] + len(talks))


def test_trial_15_a_process_that_is_killed_costs_its_own_connections_and_is_begun_again(
    bank: tuple[Counter, psutil.Process], town: Town
) -> None:
    counter, parent = bank
    killed, spared = servers(parent)
    before = balance(counter, "1002")
    with ExitStack() as stack:
        talks = [stack.enter_context(counter.session(town.alice, Stage.SIGNED)) for _ in range(8)]
        killed.kill()
        psutil.wait_procs([killed], timeout=20)
        paid = 0
        for place, talk in enumerate(talks):
            try:
                assert talk.pay(f"pay-{place}", amount="0.01").status is Status.SETTLED
                paid += 1
            except (ConnectionLost, AssertionError):
                continue
        eventually(lambda: len(servers(parent)) == PROCESSES and killed not in servers(parent))
        assert spared in servers(parent)
    eventually(lambda: _serves(counter, town))
    assert balance(counter, "1002") >= before + paid


def _serves(counter: Counter, town: Town) -> bool:
    with counter.session(town.alice, Stage.SIGNED) as talk:
        return talk.pay("after", amount="0.01").status is Status.SETTLED


def test_told_to_stop_it_ends_with_all_its_processes_and_leaves_nothing(town: Town, short_tmp: Path) -> None:
    with bank_process(town, short_tmp, *SERVED) as (counter, parent):
        family = parent.children(recursive=True)
        with counter.session(town.alice, Stage.SIGNED) as talk:
            talk.pay("one")
    assert not psutil.wait_procs(family, timeout=20)[1]
    folder = runtime_folder(counter.home.path)
    assert not list(folder.parent.glob(f"{folder.name}*"))


def test_a_stop_does_not_wait_for_a_process_that_does_not_begin(
    town: Town, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = Ending()
    monkeypatch.setattr(Processes, "_serve", lambda *_: time.sleep(BEGIN_SECONDS))
    with listen(Address("127.0.0.1", 0)) as sock:
        processes = Processes(copied_bank(town, short_tmp), sock, None, stopping, 1)
        stopping.set()
        begun = time.monotonic()
        processes.begin_all()
        processes.stop()
        assert time.monotonic() - begun < BEGIN_SECONDS / 2


def test_a_process_whose_loop_stands_still_is_not_seen_at_work(counter: Counter) -> None:
    """Its other threads go on; but it serves no session."""
    tally, held = Figures(1).tallies[0], threading.Event()
    _sample(counter.server, tally)
    eventually(lambda: tally.get(SEEN)[0] > 0)
    seen = tally.get(SEEN)
    counter.server.loop.soon(held.wait)
    try:
        _sample(counter.server, tally)
        assert tally.get(SEEN) == seen
    finally:
        held.set()
    eventually(lambda: tally.get(SEEN) > seen)


def test_processes_whose_parent_was_killed_end_by_themselves_and_the_next_server_begins(
    town: Town, short_tmp: Path
) -> None:
    home = copied_bank(town, short_tmp)
    arguments = ("--home", home.path, "--listen", "127.0.0.1:0", *SERVED)
    first = Serving("bank", *arguments, log=short_tmp / "bank.log")
    try:
        orphans = servers(psutil.Process(first.process.pid))
        first.process.kill()
        assert not psutil.wait_procs(orphans, timeout=30)[1]
        again = Serving("bank", *arguments, log=short_tmp / "bank.log")
        try:
            assert "in 2 processes" in again.first_line
            assert again.terminate() == 0
        finally:
            again.kill()
    finally:
        first.kill()
        home.gnupg.stop()


def test_a_server_that_cannot_begin_says_why_once_and_leaves_no_process(town: Town, short_tmp: Path) -> None:
    home = copied_bank(town, short_tmp)
    (home.path / "newest-head.pgp").write_bytes(b"not a head")
    done = run("bank", "serve", "--home", home.path, "--listen", "127.0.0.1:0", *SERVED, code=1)
    assert done.err.count("does not bear this bank's signature") == 1
    assert not home.is_serving()
