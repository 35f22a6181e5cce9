"""A trial is passed when at least one test of its number passed and none did anything else."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+?) \|$", re.MULTILINE)
_NOT_YET = re.compile(r"^Not yet: (.*)$", re.MULTILINE)
_NUMBER = re.compile(r"trial_0*(\d+)(?!\d)")


@dataclass(frozen=True)
class Trial:
    """A row of docs/trials.md: its number, what is tried, and whether it is said to come later."""

    number: int
    tried: str
    later: bool


@dataclass(frozen=True)
class Ran:
    """One test as pytest ran it: its node identifier, its outcome (`passed`, `failed`, `skipped`) and its duration.

    ``figures`` is what it printed, if it is one that measures.
    """

    test: str
    outcome: str
    seconds: float
    figures: str = ""


@dataclass(frozen=True)
class Result:
    """What became of a trial: `passed`, `failed` or `later`, and the tests that say so."""

    trial: Trial
    outcome: str
    ran: tuple[Ran, ...]


def read_trials(document: str) -> tuple[Trial, ...]:
    """The rows of docs/trials.md in their order; later are those that its line "Not yet:" names."""
    named = _NOT_YET.search(document)
    later = {int(number) for number in re.findall(r"\d+", named[1])} if named else set()
    return tuple(Trial(int(number), tried, int(number) in later) for number, tried, _ in _ROW.findall(document))


def numbers_of(test: str) -> frozenset[int]:
    """The trials that a test's node identifier names, as in `tests/a.py::test_trial_18_killed[write]`."""
    function = test.rpartition("::")[2].partition("[")[0]
    return frozenset(int(number) for number in _NUMBER.findall(function))


def results(trials: Iterable[Trial], ran: Iterable[Ran]) -> tuple[Result, ...]:
    """One result for each trial. A trial without a passed test has failed, unless it is said to come later."""
    by_number: dict[int, list[Ran]] = {}
    for one in ran:
        for number in numbers_of(one.test):
            by_number.setdefault(number, []).append(one)
    return tuple(_result(trial, by_number) for trial in trials)


def _result(trial: Trial, by_number: Mapping[int, list[Ran]]) -> Result:
    ran = tuple(sorted(by_number.get(trial.number, ()), key=lambda one: one.test))
    if not ran and trial.later:
        return Result(trial, "later", ())
    good = bool(ran) and all(one.outcome == "passed" for one in ran)
    return Result(trial, "passed" if good else "failed", ran)


def lines(found: Iterable[Result]) -> tuple[str, ...]:
    """The report: for each trial its result and its tests, with the number of cases; then the line with the sums."""
    found = tuple(found)
    said: list[str] = []
    for one in found:
        seconds = sum(ran.seconds for ran in one.ran)
        said.append(f"{one.trial.number:>3}  {one.outcome:<7} {seconds:>6.1f} s  {one.trial.tried}")
        said.extend(f"     {line}" for line in _tests(one))
    sums = {outcome: sum(one.outcome == outcome for one in found) for outcome in ("passed", "failed", "later")}
    said.append(f"{len(found)} trials: {sums['passed']} passed, {sums['failed']} failed, {sums['later']} later")
    return tuple(said)


def _tests(result: Result) -> tuple[str, ...]:
    if not result.ran:
        return ("no test yet" if result.outcome == "later" else "no test has this number in its name",)
    cases: dict[str, list[Ran]] = {}
    for one in result.ran:
        cases.setdefault(one.test.partition("[")[0], []).append(one)
    said: list[str] = []
    for test, ran in cases.items():
        said.append(f"{test}: {_counted([one.outcome for one in ran])}")
        said.extend(f"  {figure}" for one in ran for figure in one.figures.splitlines())
    return tuple(said)


def _counted(outcomes: list[str]) -> str:
    if len(outcomes) == 1:
        return outcomes[0]
    return ", ".join(f"{outcomes.count(each)} {each}" for each in ("passed", "failed", "skipped") if each in outcomes)
