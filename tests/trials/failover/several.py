"""Two servers of one bank, each with a home of its own, on one PostgreSQL; their customers go to one or the other."""

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bank import config as bank_configuration
from bank.serving import runtime_folder
from customer.home import CustomerHome
from protocol.stages import Stage
from tests.system.programs import free_port, run_here
from tests.system.town import Person, Stand, Town, standing_still
from tests.trials.eight import QUICK, set_limits
from tests.trials.failover.moving import move_ledger
from tests.trials.history import Ended, History, problems
from tests.trials.workload import Workload

PROGRESS_SECONDS = 100.0
"""Longest wait until customers get answers again: the customers' own limits are some seconds each."""
ANSWERS = 8


@dataclass
class Several:
    """The first server has the bank's primary key, the second was added to it."""

    first: Stand
    second: Stand

    @property
    def stands(self) -> tuple[Stand, Stand]:
        return self.first, self.second

    def people(self) -> list[Person]:
        """Everybody in the town, every other one at the second server."""
        names = sorted(self.first.town.names)
        return [self.stands[place % 2].person(name) for place, name in enumerate(names)]

    def workload(self, seed: int) -> Workload:
        return Workload(self.first, self.people(), Stage.SIGNED, seed, pause_seconds=0.1, ledger_may_be_away=True)

    def answered_at(self, work: Workload, stand: Stand, count: int = ANSWERS) -> None:
        """Wait until so many more orders, begun from now on, were answered by this server with a receipt."""
        theirs = {person.number for person in self.people() if person.home.parent == stand.folder}
        begun, deadline = time.monotonic(), time.monotonic() + PROGRESS_SECONDS
        while (
            sum(each.debtor in theirs and each.begun > begun and each.end is Ended.OK for each in work.tries[:]) < count
        ):
            assert time.monotonic() < deadline, (
                f"{stand.folder.name} gives no receipts: {work.tell()}\n{stand.log.read_text()[-3000:]}"
            )
            time.sleep(0.05)

    def both_answer(self, work: Workload) -> None:
        for stand in self.stands:
            self.answered_at(work, stand)

    def require_sound(self, work: Workload, history: History) -> None:
        """What everybody saw fits one log, the audit is clean, and every receipt and head verifies."""
        said = work.tell()
        print(said)  # noqa: T201 - shown when it fails, and by `make soak`
        assert not problems(history), f"{said}\n" + "\n".join(problems(history))
        assert sum(history.closing.values()) == sum(history.opening.values())
        self.first.require_order()
        for person in self.people():
            received = {each.identifier for each in history.tries if each.debtor == person.number and each.leaf}
            kept = person.here("verify", "--json").json()
            assert received <= {row["transfer_identifier"] for row in kept if not row["lost"]}
        one, other = self.people()[:2]
        for giver, taker in ((one, other), (other, one)):
            head = giver.home / "head.pgp"
            giver.here("verify", "--save-head", head)
            taker.here("verify", "--head", head)


@contextmanager
def several(
    town: Town, folder: Path, url: str, environment: dict[str, str], *, minimum: Stage = Stage.PASSWORD, **limits: Any
) -> Iterator[Several]:
    """A copy of the town's bank, its ledger moved to an empty database; the second server joins as an operator does."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in environment.items():
            patch.setenv(name, value)
        for name in ("first", "second"):
            (folder / name).mkdir(mode=0o700)
        first = standing_still(town, folder / "first", minimum=minimum, refusals_per_minute=100_000, **limits)
        second = Stand(town, folder / "second", free_port())
        for stand in (first, second):
            stand.environment.update(environment)
            stack.callback(_clear, stand)
        move_ledger(first.home, url)
        assert bank_configuration.load(first.home).ledger == url
        join(first, second, folder)
        first.start()
        second.start()
        bank = Several(first, second)
        for person in bank.people():
            set_limits(person, QUICK)
        yield bank
        for stand in bank.stands:
            assert stand.stop() == 0


def join(first: Stand, second: Stand, folder: Path) -> None:
    """What the operators of both machines type."""
    request, grant = folder / "request.pgp", folder / "grant.pgp"
    new = run_here("bank", "join", "--home", second.home, "--out", request, "--json").json()
    words = " ".join(new["words"])
    old = run_here(
        "bank", "add-server", "--home", first.home, request, "--out", grant, "--fingerprint", words, "--json"
    ).json()
    read_out = ("--bank-fingerprint", " ".join(old["words"]))
    url = bank_configuration.load(first.home).ledger.replace("//bank@", "//bank2@")  # where there are such roles
    run_here("bank", "join", "--home", second.home, "--take", grant, *read_out, "--ledger", url)


def _clear(stand: Stand) -> None:
    stand.kill()
    for name in stand.town.names:
        if (stand.folder / name).exists():
            with CustomerHome.open(stand.folder / name) as home:
                home.keys.stop()
    runtime = runtime_folder(stand.home)
    for left in runtime.parent.glob(f"{runtime.name}*"):
        shutil.rmtree(left, ignore_errors=True)
