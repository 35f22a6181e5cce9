"""Whatever breaks meanwhile, everybody sees what a bank would show that does one thing after the other."""

import random
import time

import pytest

from protocol.stages import Stage
from tests.system.town import Person, Stand
from tests.trials import faults
from tests.trials.eight import NUMBERS, TOTAL_MINOR
from tests.trials.faults import Struck
from tests.trials.history import Ended, History, problems
from tests.trials.workload import Workload

PAUSE_SECONDS = 1.2
SOAK_ROUNDS = 20
SOAK_SECONDS = 3600


@pytest.fixture
def seed() -> int:
    drawn = random.SystemRandom().randrange(2**32)
    print(f"seed {drawn}")  # noqa: T201 - a random test says its seed
    return drawn


def people_of(stand: Stand) -> list[Person]:
    return [stand.person(number) for number in NUMBERS]


def require_sound(work: Workload, history: History) -> None:
    said = work.tell()
    print(said)  # noqa: T201 - shown when it fails, and by `make soak`
    assert not problems(history), f"{said}\n" + "\n".join(problems(history))
    assert sum(history.closing.values()) == TOTAL_MINOR
    work.stand.require_order()


def test_trial_01_trial_02_transfers_and_readings_of_all_balances_fit_one_order(stand: Stand, seed: int) -> None:
    """The honest twin of what follows: without any fault everything is answered."""
    work = Workload(stand, people_of(stand), Stage.SIGNED, seed, pause_seconds=0.3)
    history = work.run(lambda: time.sleep(4))
    require_sound(work, history)
    assert all(each.end is Ended.OK for each in history.tries)
    assert len({entry.reason for entry in history.log}) == 2, "some are posted, some refused for lack of funds"
    assert work.looks_failed == 0


def test_trial_01_trial_02_trial_41_whatever_breaks_the_history_fits_one_order(stand: Stand, seed: int) -> None:
    people = people_of(stand)
    work = Workload(stand, people, Stage.SIGNED, seed, PAUSE_SECONDS)
    with stand.between(*people) as proxy:
        struck = Struck(stand, proxy, random.Random(seed))
        try:
            history = work.run(lambda: print(faults.strike_all(struck)))  # noqa: T201 - the order is part of the seed
        finally:
            faults.clear(stand)
    require_sound(work, history)
    assert sum(each.end is Ended.OK for each in history.tries) > len(people)


@pytest.mark.soak
@pytest.mark.timeout(SOAK_SECONDS)
def test_trial_01_trial_02_trial_41_for_many_rounds_the_history_fits_one_order(stand: Stand, seed: int) -> None:
    people = people_of(stand)
    work = Workload(stand, people, Stage.SIGNED, seed, pause_seconds=0.4)
    with stand.between(*people) as proxy:
        struck = Struck(stand, proxy, random.Random(seed))
        try:
            history = work.run(lambda: [faults.strike_all(struck) for _ in range(SOAK_ROUNDS)])
        finally:
            faults.clear(stand)
    require_sound(work, history)
    assert {each.end for each in history.tries} == set(Ended)
