"""Two servers never serve one ledger by mistake, and whoever else may write to it does so without harm."""

import os
import random
import shutil
import time
from pathlib import Path

from bank import accounts
from bank.home import BankHome
from protocol.codes import Status
from protocol.orders import format_time
from protocol.receipts import decode_entry
from protocol.stages import Stage
from tests.system.programs import run
from tests.system.town import Stand
from tests.trials.eight import NUMBERS
from tests.trials.history import Ended
from tests.trials.workload import Workload

DEPOSITS = 40


def test_trial_24_a_second_server_on_the_same_ledger_is_refused(stand: Stand, short_tmp: Path) -> None:
    """Under its own name or another one; the first goes on, and where it was killed the second may serve at once."""
    alias = short_tmp / "alias"
    alias.symlink_to(stand.home)
    for home in (stand.home, alias):
        done = run("bank", "serve", "--home", home, "--listen", "127.0.0.1:0", code=1)
        assert "stop that one first" in done.err
    alice = stand.person("2001")
    alice.here("send", "--to", "2002", "--amount", "1.00", "--description", "")
    stand.kill()
    stand.start()
    alice.here("send", "--to", "2002", "--amount", "1.00", "--description", "")
    assert stand.balance("2002") == 14_50


def test_trial_24_a_second_name_of_the_ledger_is_refused(stand: Stand, short_tmp: Path) -> None:
    """SQLite keeps what is not in the file yet beside it, under the file's name: two names would be two histories."""
    other = short_tmp / "other"
    shutil.copytree(stand.home, other, ignore=shutil.ignore_patterns("S.*", "ledger.sqlite*"))
    os.link(stand.home / "ledger.sqlite", other / "ledger.sqlite")
    for home in (other, stand.home):
        done = run("bank", "accounts", "--home", home, code=1)
        assert "another name" in done.err
    (other / "ledger.sqlite").unlink()
    (other / "ledger.sqlite").symlink_to(stand.home / "ledger.sqlite")
    done = run("bank", "serve", "--home", other, "--listen", "127.0.0.1:0", code=1)
    assert "symbolic link" in done.err
    alice = stand.person("2001")
    alice.here("send", "--to", "2002", "--amount", "1.00", "--description", "")
    stand.require_order()


def test_trial_24_the_operators_commands_beside_the_server_are_safe(stand: Stand) -> None:
    """What `bank deposit` does, in a process of its own, while customers are served."""
    seed = random.SystemRandom().randrange(2**32)
    work = Workload(stand, [stand.person(number) for number in NUMBERS], Stage.SIGNED, seed, 0.3)
    work.readers = 0
    home = BankHome.open(stand.home)
    signer = home.signer()
    found = []

    def deposit_and_take() -> None:
        with home.open_ledger() as ledger, home.open_posting(ledger, signer, time.time) as posting:
            for number in range(DEPOSITS):
                now, name = format_time(time.time()), f"op-{number}"
                make = accounts.withdrawal if number % 2 else accounts.deposit
                order = make(ledger, NUMBERS[number // 2 % 8], "0.01", "", identifier=name, created=now)
                outcome = posting.submit(order).result(60)
                found.append(decode_entry(outcome.entry))  # type: ignore[union-attr]

    try:
        history = work.run(deposit_and_take)
    finally:
        signer.close()
    assert len({entry.transfer_identifier for entry in found}) == DEPOSITS
    assert {entry.status for entry in found} <= {Status.SETTLED, Status.REJECTED}
    stand.require_order()
    assert all(each.end is Ended.OK for each in history.tries), f"seed {seed}"
    names = [(each.debtor, each.transfer_identifier) for each in stand.entries()]
    assert len(names) == len(set(names))
