"""`python -m tests.trials` runs every test of a trial and ends with what became of each; exit code 1 if one failed."""

import sys
from pathlib import Path

import pytest

from tests.trials.report import Ran, lines, numbers_of, read_trials, results

ROOT = Path(__file__).resolve().parents[2]


class Recorder:
    """Keeps what pytest reports of each test: of the phases, the first that did not pass, or the call."""

    def __init__(self) -> None:
        self.ran: dict[str, Ran] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called by pytest for each phase of each test, with pytest-xdist too."""
        if not numbers_of(report.nodeid):
            return
        before = self.ran.get(report.nodeid)
        seconds = report.duration + (before.seconds if before else 0.0)
        outcome = report.outcome if before is None or before.outcome == "passed" else before.outcome
        figures = report.capstdout if "measured" in report.keywords else ""  # all phases so far
        self.ran[report.nodeid] = Ran(report.nodeid, outcome, seconds, figures)


def main(arguments: list[str]) -> int:
    """Run them two at a time, then one by one what measures time; `arguments` go to pytest as they are."""
    recorder = Recorder()
    # The thousand kills and the like are not among them: they have `make soak`.
    two_at_a_time = ["-m", "not soak and not measured", "-n", "2", "--dist", "worksteal"]
    one_by_one = ["-m", "measured and not soak"]
    codes = {
        pytest.main([str(ROOT / "tests"), "-k", "trial_", "-q", *chosen, *arguments], plugins=[recorder])
        for chosen in (two_at_a_time, one_by_one)
    }
    found = results(read_trials((ROOT / "docs" / "trials.md").read_text()), recorder.ran.values())
    print("\n".join(lines(found)))
    return 1 if codes != {pytest.ExitCode.OK} or any(one.outcome == "failed" for one in found) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
