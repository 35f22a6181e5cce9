"""Wherever the bank is killed, every receipted transfer is there, none is twice, and every order is answered."""

import os
import random
import sys
import time

import pytest

from bank.heads import FILE_NAME
from tests.system.town import Stand
from tests.trials.durability.crash_steps import STEPS, Phase, found
from tests.trials.durability.crashes import Crashes, Report

QUICK_KILLS = 24
BAR = 30


def drawn_seed() -> int:
    """Of all that is drawn; the environment variable SEED repeats a run."""
    return int(os.environ.get("SEED") or random.randrange(10**9))


def test_trial_18_each_step_is_a_function_that_there_is() -> None:
    for step in STEPS:
        assert callable(found(step.function)[2])
        assert not step.within or callable(found(step.within)[2])
        assert step.moment in ("before", "after")
    assert len({step.name for step in STEPS}) == len(STEPS)


def test_trial_18_a_step_that_was_renamed_is_noticed() -> None:
    with pytest.raises(LookupError, match="There is no bank"):
        found("bank.posting:Posting._transact_as_before")


@pytest.mark.timeout(600)
def test_trial_18_every_step_is_met_in_the_life_of_a_server(stand: Stand) -> None:
    assert Crashes(stand, drawn_seed()).steps_met() == {step.name for step in STEPS}


@pytest.mark.timeout(1800)
def test_trial_18_killed_at_steps_of_its_pipeline_the_bank_loses_nothing(stand: Stand) -> None:
    report = Crashes(stand, drawn_seed()).run(QUICK_KILLS)
    assert report.good, report


@pytest.mark.timeout(600)
def test_trial_18_a_bank_that_was_set_back_is_found_to_have_lost_what_it_receipted(stand: Stand) -> None:
    crashes = Crashes(stand, drawn_seed())
    crashes.run(1)
    earlier = [(path, path.read_bytes()) for path in stand.home.glob("*") if path.name in ("ledger.sqlite", FILE_NAME)]
    assert len(earlier) == 2, "a bank that was stopped has all its rows in one file"
    report = crashes.run(2)
    assert report.good, report
    for path, data in earlier:
        path.write_bytes(data)
    crashes.compare()
    assert report.lost
    assert not report.good


@pytest.mark.timeout(600)
def test_trial_22_killed_between_commit_and_signature_and_while_that_is_healed(stand: Stand) -> None:
    healing = [step for step in STEPS if step.phase is Phase.START]
    report = Crashes(stand, drawn_seed()).kill_at(healing)
    # Before each of them there was a kill after the commit, which left entries without a signed head.
    assert report.kills["after commit"] == len(healing) == 3
    assert report.good, report


@pytest.mark.soak
@pytest.mark.timeout(6 * 3600)
def test_trial_18_a_thousand_kills_lose_nothing(stand: Stand, capsys: pytest.CaptureFixture[str]) -> None:
    kills, begun = int(os.environ.get("KILLS") or 1000), time.monotonic()

    def show(report: Report) -> None:
        done = report.kills.total()
        if not (screen := sys.__stdout__ is not None and sys.__stdout__.isatty()) and done % 50:
            return
        bar = ("█" * (BAR * done // kills)).ljust(BAR, "░")
        minutes = (time.monotonic() - begun) / done * (kills - done) / 60
        say(
            f"{bar} {done} of {kills} kills, {minutes:.0f} minutes left, seed {report.seed}  ", "\r" if screen else "\n"
        )

    def say(line: str, end: str) -> None:
        with capsys.disabled():
            sys.stdout.write(line + end)
            sys.stdout.flush()

    report = Crashes(stand, drawn_seed()).run(kills, progress=show)
    say(f"\n{report}", "\n")
    assert report.good, report
    # So many that a step which is missing is no accident of the draw.
    assert kills < 10 * len(STEPS) or len(report.kills) == len(STEPS), report
