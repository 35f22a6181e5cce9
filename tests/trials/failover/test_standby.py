"""A machine of the database is lost under load: what customers have receipts of is in the ledger, and only once."""

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.clusters import Pair, Three, pair, statements, three
from tests.system.programs import run
from tests.trials.eight import Eight
from tests.trials.failover.several import Several, several
from tests.trials.history import problems

Machines = Pair | Three


@pytest.fixture
def seed() -> int:
    drawn = random.SystemRandom().randrange(2**32)
    print(f"seed {drawn}")  # noqa: T201 - a random test says its seed
    return drawn


def lost_under_load(machines: Machines, bank: Several, seed: int, act: Callable[[], None]) -> None:
    """Load at both servers before and after something happens; neither server is begun anew, and all is sound."""
    processes = [stand.server and stand.server.process.pid for stand in bank.stands]
    work = bank.workload(seed)

    def before_and_after() -> None:
        bank.both_answer(work)
        act()
        bank.both_answer(work)

    history = work.run(before_and_after)
    bank.require_sound(work, history)
    assert [stand.server and stand.server.process.pid for stand in bank.stands] == processes
    assert all(stand.server and stand.server.process.poll() is None for stand in bank.stands)


@pytest.mark.timeout(300)
def test_trial_25_the_primary_is_killed_under_load_and_the_standby_promoted(
    eight: Eight, short_tmp: Path, seed: int
) -> None:
    """Both servers find the new primary by themselves, and go on."""
    with pair() as machines, several(eight, short_tmp, machines.url, machines.environment) as bank:
        lost_under_load(machines, bank, seed, machines.lose_primary)
        assert machines.standby.psql("SELECT pg_is_in_recovery()") == "f"


@pytest.mark.timeout(300)
def test_trial_25_the_same_load_with_nothing_lost(eight: Eight, short_tmp: Path, seed: int) -> None:
    """The honest twin: what is found after a loss is not found without one. Then a server is taken for stolen."""
    with pair() as machines, several(eight, short_tmp, machines.url, machines.environment) as bank:
        lost_under_load(machines, bank, seed, lambda: None)
        machines.primary.psql(*statements("a server is shut out"))
        honest, deceived = bank.people()[:2]
        done = deceived.here("send", "--to", "2008", "--amount", "0.01", "--description", "", code=None)
        assert done.code in (2, 3), done.said  # not sent, or not answered; no receipt in any case
        deposit = ("deposit", "--to", honest.number, "--amount", "0.01")
        assert bank.first.bank(*deposit).code == 0
        assert "recorded" in bank.second.bank(*deposit, code=None).err
        honest.here("send", "--to", "2008", "--amount", "0.01", "--description", "")


@pytest.mark.timeout(300)
def test_trial_25_with_a_standby_that_nobody_waits_for_the_loss_is_found(
    eight: Eight, short_tmp: Path, seed: int
) -> None:
    """A test of the test, by the set-up that docs/high-availability.md warns of; and the bank does not go on."""
    with (
        pair(synchronous=False) as machines,
        several(eight, short_tmp, machines.url, machines.environment) as bank,
    ):
        machines.cut_off()
        work = bank.workload(seed)
        history = work.run(lambda: bank.both_answer(work))
        assert not problems(history)
        machines.lose_primary()
        lost = [each for each in problems(work.seen()) if each.startswith("what_is_receipted_is_logged")]
        assert len(lost) > len(bank.people())
        for person in bank.people()[:2]:  # one at each server, which runs still and remembers what it has signed
            done = person.here("send", "--to", "2008", "--amount", "0.01", "--description", "", code=None)
            assert done.code in (2, 3), done.said  # not sent, or not answered; no receipt in any case
        for stand in bank.stands:
            stand.kill()
            done = run("bank", "serve", "--home", stand.home, "--listen", "127.0.0.1:0", code=1)
            assert "are lost" in done.err


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("machines", [pair, three], ids=["a standby and an operator", "Patroni and etcd"])
@pytest.mark.parametrize("time", range(10))
def test_trial_25_ten_times_in_a_row(
    eight: Eight,
    short_tmp: Path,
    seed: int,
    time: int,
    machines: Callable[[], AbstractContextManager[Machines]],
) -> None:
    with machines() as found, several(eight, short_tmp, found.url, found.environment) as bank:
        lost_under_load(found, bank, seed, found.lose_primary)
