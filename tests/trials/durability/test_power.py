"""When the power fails, whatever was not synchronised may be lost or torn, and every receipted transfer is there."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bank.errors import BankError
from bank.home import BankHome
from protocol.stages import Stage
from tests.system.programs import run_here
from tests.system.town import Stand, Town
from tests.trials.durability import power
from tests.trials.durability.crashes import ROOT, Books, Line
from tests.trials.durability.power import KEPT, Disk, Failure, Record

pytestmark = pytest.mark.timeout(600)

DRIVER = Path(__file__).with_name("watched_bank.py")
OFTEN = "wal_autocheckpoint=15"
"""So that many failures come while SQLite moves rows from its write-ahead log to the database."""

LIFE_SECONDS = 300


def drawn_seed() -> int:
    """Of all that is drawn; the environment variable SEED repeats a run."""
    return int(os.environ.get("SEED") or random.randrange(10**9))


@dataclass
class Life:
    """One life of a bank, with everything that it asked of its disk."""

    before: dict[str, bytes]
    trace: list[Record]


def lived(stand: Stand, receipts: int, pragmas: str, draw: random.Random) -> Life:
    """A life in which two customers get so many receipts."""
    people = (
        (stand.ready("alice", Stage.CERTIFIED), "1002", Stage.CERTIFIED),
        (stand.ready("bob", Stage.SESSION), "1001", Stage.SESSION),
    )
    stand.stop()
    before, trace = power.durable_files(stand.home), stand.folder / "trace"
    assert len(before) == len(power.KINDS), "a bank that was stopped has all its rows in one file"
    stand.played_by = (sys.executable, str(DRIVER), "record", str(trace), pragmas)
    stand.environment["PYTHONPATH"] = str(ROOT)
    server = stand.start().process
    deadline = time.monotonic() + LIFE_SECONDS

    def alive() -> bool:
        return sum(len(line.answered) for line in lines) < receipts and time.monotonic() < deadline

    lines: list[Line] = []
    lines += [Line(*each, random.Random(draw.random()), alive) for each in people]
    for line in lines:
        line.start()
    for line in lines:
        line.join(LIFE_SECONDS)
    assert server.poll() is None
    assert time.monotonic() < deadline, [line.ended for line in lines]
    stand.kill()
    return Life(before, power.read_trace(trace))


@dataclass
class Found:
    """What was found after failures of the power."""

    failures: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} with {kept} kept" for kept, count in sorted(self.failures.items()))
        return f"{self.failures.total()} failures of the power ({kinds}): {len(self.wrong)} with a loss"


def look(home: Path, failure: Failure) -> str | None:
    """Start the bank on what is left; what is wrong with it, if anything is."""
    bank = BankHome.open(home)
    try:
        with bank.open_ledger() as ledger:
            signer = bank.signer()
            try:
                bank.open_posting(ledger, signer, time.time).stop()
            finally:
                signer.close()
        books = Books(home)
        books.read()
    except BankError as error:
        return str(error)
    lost = [name for name, said in failure.told.items() if books.entries.get(name) != said]
    if lost or books.doubled or books.balance:
        return f"lost {lost}, doubled {books.doubled}, trial balance {books.balance}"
    return None


def fail(life: Life, source: Path, to: Path, moments: list[int], draw: random.Random) -> Found:
    """The power fails at these moments of a life in ``source``; each time the bank is started on what is left."""
    found = Found()
    volatile = (f"{kind}*" for kind in power.KINDS)
    shutil.copytree(source, to, ignore=shutil.ignore_patterns("S.*", ".#*", "*.lock", *volatile))
    for failure in power.failures(life.before, source, life.trace, moments, draw):
        power.lay_out(failure.files, source, to)
        wrong = look(to, failure)
        found.failures[failure.kept] += 1
        if wrong:
            found.wrong.append(f"after {failure.number} changes, {failure.kept} kept: {wrong}")
    return found


def fail_often(stand: Stand, receipts: int, count: int, pragmas: str, draw: random.Random) -> tuple[Life, Found]:
    """A life with so many receipts, and so many failures in it."""
    life = lived(stand, receipts, pragmas, draw)
    return life, fail(life, stand.home, stand.folder / "left", power.drawn_moments(life.trace, count, draw), draw)


def test_trial_19_after_a_failure_of_the_power_every_receipted_transfer_is_there(stand: Stand) -> None:
    seed = drawn_seed()
    life, found = fail_often(stand, 60, 40, OFTEN, random.Random(seed))
    kinds = Counter((record.kind, Path(record.path).suffix) for record in life.trace)
    assert kinds["sync", ".sqlite"] > 3, "rows must have been moved to the database"
    assert not found.wrong, (seed, found)
    assert len(found.failures) > 1


def test_trial_19_a_bank_that_does_not_synchronise_is_found_to_lose(stand: Stand) -> None:
    seed = drawn_seed()
    _, found = fail_often(stand, 30, 20, "synchronous=OFF", random.Random(seed))
    assert found.wrong, (seed, found)


def test_trial_19_the_first_head_of_a_new_bank_outlives_a_failure_of_the_power(
    system_town: Town, short_tmp: Path
) -> None:
    home, trace = short_tmp / "bank", short_tmp / "trace"
    authority = ("--authority", system_town.desk_address, "--authority-fingerprint", system_town.authority)
    run_here("bank", "init", "--home", home, "--name", "New Bank", "--currency", "EUR", *authority)
    letter = ("--letter", short_tmp / "letter")
    run_here("bank", "open-account", "--home", home, "--number", "1001", "--name", "Alice", *letter)
    before = power.durable_files(home)
    assert [Path(path).name for path in before] == ["ledger.sqlite"]
    deposit = ("deposit", "--home", str(home), "--to", "1001", "--amount", "100.00", "--id", "cash")
    words = [sys.executable, str(DRIVER), "record", str(trace), "-", *deposit]
    subprocess.run(words, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True, timeout=60)
    life, draw = Life(before, power.read_trace(trace)), random.Random(drawn_seed())
    every = list(range(len(life.trace) + 1))
    found = fail(life, home, short_tmp / "left", [*every, *[len(life.trace)] * 10], draw)
    assert not found.wrong, found
    # The last failures came after the operator had been told that the money is there.
    books = Books(short_tmp / "left")
    books.read()
    assert "0000/cash" in books.entries


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_trial_19_a_thousand_failures_of_the_power_lose_nothing(
    stand: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = drawn_seed()
    _, found = fail_often(stand, 600, 1000, OFTEN, random.Random(seed))
    with capsys.disabled():
        sys.stdout.write(f"\n{found}, seed {seed}\n")
    assert not found.wrong, (seed, found)


def test_trial_19_a_disk_keeps_what_was_synchronised_and_any_part_of_the_rest() -> None:
    disk = Disk("/bank", {"/bank/a": b"old"})
    for number, record in enumerate(
        (
            Record("write", "/bank/a", 0, b"new"),
            Record("sync", "/bank/a", 1),
            Record("write", "/bank/a", 3, b"x" * 2048),
            Record("sync", "/bank/b", 3, b"head"),
            Record("replace", "/bank/c", other="/bank/b"),
        )
    ):
        disk.apply(number, record)
    left = {kept: disk.after_failure(kept, random.Random(1)) for kept in KEPT}
    assert left["nothing"] == {"/bank/a": b"new"}
    assert left["everything"] == {"/bank/a": b"new" + b"x" * 2048, "/bank/c": b"head"}
    torn = left["torn"]["/bank/a"]
    assert torn.startswith(b"new")
    assert b"\0" in torn
    assert b"x" in torn
