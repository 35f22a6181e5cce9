"""The report of the trials says what the tests said, and every trial has a test."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.trials.report import Ran, Trial, lines, numbers_of, read_trials, results

ROOT = Path(__file__).resolve().parents[2]
TRIALS = read_trials((ROOT / "docs" / "trials.md").read_text())
ONE = (Trial(7, "a fault", later=False),)


def test_the_document_has_fifty_trials_in_their_order() -> None:
    assert [trial.number for trial in TRIALS] == list(range(1, 51))
    assert {trial.number for trial in TRIALS if trial.later} == set()


def test_every_trial_has_a_test_and_every_number_is_a_trials() -> None:
    named = {
        int(number)
        for path in (ROOT / "tests").rglob("test_*.py")
        for number in re.findall(r"^ *def test_trial_(\d\d)_", path.read_text(), re.MULTILINE)
    }
    assert named == {trial.number for trial in TRIALS if not trial.later}


def test_every_defence_names_the_trials_that_show_it_and_every_trial_shows_one() -> None:
    rows = [
        line.strip("|").rsplit("|", 1)[1]
        for line in (ROOT / "docs" / "attacks.md").read_text().splitlines()
        if line.startswith("| ") and not line.endswith("| shown by |")
    ]
    named = [{int(number) for number in re.findall(r"trial (\d+)", row)} for row in rows]
    assert len(rows) > 30
    assert all(named), "each row of docs/attacks.md names a trial"
    assert set().union(*named) == {trial.number for trial in TRIALS if not trial.later}


@pytest.mark.parametrize(
    ("test", "numbers"),
    [
        ("tests/a.py::test_trial_18_killed[write]", {18}),
        ("tests/a.py::test_trial_05_storms", {5}),
        ("tests/a.py::Machine::test_trial_05_storms", {5}),
        ("tests/trial_20.py::test_all", set()),
        ("tests/a.py::test_all[trial_20]", set()),
        ("tests/a.py::test_trial_180_no_such", {180}),
    ],
)
def test_the_number_is_read_from_the_functions_name(test: str, numbers: set[int]) -> None:
    assert numbers_of(test) == numbers


@pytest.mark.parametrize(
    ("outcomes", "later", "result"),
    [
        (["passed"], False, "passed"),
        (["passed", "passed"], False, "passed"),
        (["passed", "failed"], False, "failed"),
        (["passed", "skipped"], False, "failed"),
        (["skipped"], False, "failed"),
        ([], False, "failed"),
        ([], True, "later"),
        (["passed"], True, "passed"),
        (["failed"], True, "failed"),
    ],
)
def test_a_trial_passes_only_when_all_of_its_tests_did(outcomes: list[str], later: bool, result: str) -> None:
    ran = [Ran(f"tests/a.py::test_trial_07_x[{place}]", outcome, 0.5) for place, outcome in enumerate(outcomes)]
    (found,) = results((Trial(7, "a fault", later),), [*ran, Ran("tests/a.py::test_trial_08_x", "failed", 1.0)])
    assert found.outcome == result
    assert len(found.ran) == len(outcomes)


def test_the_report_ends_with_the_sums() -> None:
    ran = [
        Ran("tests/a.py::test_trial_07_x[1]", "passed", 0.5, "5 a second\n6 ms\n"),
        Ran("tests/a.py::test_trial_07_x[2]", "failed", 0.5),
    ]
    trials = (*ONE, Trial(8, "another", later=True), Trial(9, "a third", later=False))
    assert lines(results(trials, ran)) == (
        "  7  failed     1.0 s  a fault",
        "     tests/a.py::test_trial_07_x: 1 passed, 1 failed",
        "       5 a second",
        "       6 ms",
        "  8  later      0.0 s  another",
        "     no test yet",
        "  9  failed     0.0 s  a third",
        "     no test has this number in its name",
        "3 trials: 0 passed, 2 failed, 1 later",
    )


@pytest.mark.timeout(300)  # it collects every test first
def test_the_program_counts_what_pytest_ran() -> None:
    """Run for one test: its trial passes, the others fail for want of a test, and the exit code says so."""
    chosen = ["-p", "no:cacheprovider", "-k", "test_trial_06_what_is_no_amount"]
    outcome = subprocess.run(
        [sys.executable, "-m", "tests.trials", *chosen],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=270,
        check=False,
    )
    said = outcome.stdout.splitlines()
    assert outcome.returncode == 1
    assert said[-1] == "50 trials: 1 passed, 49 failed, 0 later"
    assert any(line.startswith("  6  passed") for line in said)
