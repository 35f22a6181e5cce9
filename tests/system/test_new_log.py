"""Trial 23 from the customers' side: a bank that restored a backup says so, and who holds more than it has decides."""

import shutil
from pathlib import Path

from bank.home import BankHome
from protocol.stages import Stage
from tests.system.courses import RECEIPT
from tests.system.programs import run_here
from tests.system.proxy import TO_CUSTOMER, cut_before
from tests.system.town import Person, Stand


def back_up(stand: Stand) -> Path:
    out = stand.folder / "backup"
    stand.bank("backup", "--out", out)
    return out


def restore(stand: Stand, backup: Path, *options: str) -> None:
    """The disk with the ledger is gone; the operator puts the backup in its place."""
    stand.kill()
    lost = stand.folder / "lost"
    lost.mkdir(exist_ok=True)
    for path in stand.home.glob("ledger.sqlite*"):
        shutil.move(path, lost)
    stand.bank("restore", backup, *options)
    stand.start()


def log_of(stand: Stand) -> str:
    with BankHome.open(stand.home).open_ledger() as ledger:
        return ledger.log


def verified(person: Person) -> dict[str, bool]:
    """Which of the receipts that are kept here are lost at the bank."""
    return {row["transfer_identifier"]: row["lost"] for row in person.here("verify", "--json").json()}


def test_trial_23_customers_of_a_bank_that_restored_an_older_backup(stand: Stand) -> None:
    """Bob knows nothing that is lost, so he goes on and is told; Alice holds a lost receipt, so she decides."""
    alice, bob = stand.person("alice"), stand.person("bob")
    alice.send_here("--id", "held")
    bob.send_here("--id", "bobs", to="1001", amount="1.00")
    backup = back_up(stand)
    alice.send_here("--id", "lost", amount="3.00")
    old = log_of(stand)
    stand.kill()
    refused = alice.send_here("--id", "under-way", amount="4.00", code=2)  # nothing was sent
    assert "Nothing was sent" in refused.err
    without = stand.folder / "without"
    shutil.copytree(stand.home, without, ignore=shutil.ignore_patterns("S.*", "ledger.sqlite*"))
    done = run_here("bank", "restore", "--home", without, backup, code=1)
    assert "the last 1 are lost" in done.err
    assert "--begin-new-log" in done.err
    restore(stand, backup, "--begin-new-log")
    new = log_of(stand)
    assert new != old

    told = bob.send_here("--id", "after", to="1001", amount="1.00")
    assert "began a new log" in told.err
    assert f"{new}" in told.err
    assert "All that this customer has seen is in it" in told.err
    assert "began a new log" not in bob.send_here(to="1001", amount="1.00").err
    assert verified(bob) == dict.fromkeys(verified(bob), False)

    # What she sends is posted, but she does not believe the receipt before she has followed the new log.
    doubtful = alice.send_here("--id", "after", amount="5.00", code=3)
    assert f"customer verify --follow-log {new}" in " ".join(doubtful.err.split())
    assert "the last 1 are lost" in doubtful.err
    alice.here("verify", "--follow-log", old, code=2)
    followed = alice.here("verify", "--follow-log", new)
    assert "lost these of your transfers: lost" in followed.out
    assert verified(alice) == {"held": False, "lost": True}
    assert "lost 1 transfer with a receipt kept here: lost" in alice.here("status").out
    (settled,) = alice.resume()
    assert (settled["transfer_identifier"], settled["status"]) == ("after", "posted")
    assert stand.postings("1001", "after") == 1

    # The receipt that the bank holds is the same as ever; the lost one is not sent again unasked, and once if asked.
    assert alice.send_here("--id", "held", "--json").json()["duplicate"]
    assert "has lost the transfer lost" in alice.send_here("--id", "lost", amount="3.00", code=2).err
    assert stand.postings("1001", "lost") == 0
    again = alice.here("resume", "--lost", "--json").json()
    assert [(row["transfer_identifier"], row["status"]) for row in again] == [("lost", "posted")]
    assert alice.here("resume", "--lost", "--json").json() == []
    assert stand.postings("1001", "lost") == 1
    assert not any(verified(alice).values())
    with alice.opened() as home:
        assert len(home.store.doubts("lost")) == 1  # the receipt of the old log

    # Alice and Bob lie in one log again, as heads from before the loss show.
    bob.here("verify", "--save-head", stand.folder / "head")
    alice.here("verify", "--head", stand.folder / "head")
    stand.require_order()


def test_trial_23_customers_notice_nothing_of_a_backup_that_holds_everything(stand: Stand) -> None:
    """The honest twin: the newest head is in the backup."""
    alice = stand.person("alice")
    alice.send_here("--id", "held")
    stand.stop()
    backup, old = back_up(stand), log_of(stand)
    restore(stand, backup)
    assert log_of(stand) == old
    done = alice.send_here("--id", "held", "--json")
    assert done.json()["duplicate"]
    assert "new log" not in alice.send_here().err
    stand.require_order()


def test_trial_23_a_transfer_under_way_is_resumed_after_a_restore(stand: Stand) -> None:
    """It was posted, its receipt never came, and the bank lost it: the same bytes are sent again, and posted once."""
    alice = stand.person("alice")
    alice.send_here("--id", "held")
    backup = back_up(stand)
    with stand.between(alice) as proxy:
        proxy.rule = cut_before(TO_CUSTOMER, RECEIPT[Stage.CERTIFIED])
        alice.send_here("--id", "under-way", amount="4.00", code=3)
    assert stand.postings("1001", "under-way") == 1
    restore(stand, backup, "--begin-new-log")
    assert stand.postings("1001", "under-way") == 0
    told = alice.here("resume", "--letter", alice.letter, "--json")
    assert "All that this customer has seen is in it" in told.err
    assert [(row["status"], row["duplicate"]) for row in told.json()] == [("posted", False)]
    assert stand.postings("1001", "under-way") == 1
    stand.require_order()


def test_trial_21_a_server_does_not_start_on_a_ledger_that_lost_its_end(stand: Stand) -> None:
    """The command line says what happened and what can be done; afterwards it serves, in a new log."""
    alice = stand.person("alice")
    alice.send_here("--id", "held")
    stand.stop()
    kept = stand.folder / "ledger.sqlite"
    shutil.copy(stand.home / "ledger.sqlite", kept)
    assert "its log goes on" in stand.bank("begin-new-log", code=1).err
    stand.start()
    alice.send_here("--id", "lost")
    stand.kill()
    for path in stand.home.glob("ledger.sqlite*"):
        path.unlink()
    shutil.copy(kept, stand.home)
    server = stand.start()
    assert "the last 1 are lost" in server.first_line
    assert "bank begin-new-log" in server.first_line
    assert server.wait() == 1
    stand.server = None
    done = stand.bank("begin-new-log")
    assert "Lost are the last 1 of the" in done.out
    stand.start()
    assert f"--follow-log {log_of(stand)}" in " ".join(alice.send_here(code=3).err.split())
    stand.require_order()


def test_trial_13_a_retry_after_restart_restore_and_renewal_gets_the_same_entry(stand: Stand) -> None:
    """Each time proved against the head of that time; retries after a change of the key: tests of the rotation."""
    alice = stand.person("alice")
    alice.send_here("--id", "rent")

    def entry() -> bytes:
        with alice.opened() as home:
            kept = home.store.find("rent")
            assert kept is not None
            assert kept.receipt is not None
            return kept.receipt.entry

    def size() -> int:
        with alice.opened() as home:
            head = home.store.newest_head()
            assert head is not None
            return head.head.size

    first, before = entry(), size()
    backup = back_up(stand)

    def retry() -> None:
        """Another transfer moves the log on; the receipt is forgotten, so that it must come from the bank again."""
        nonlocal before
        alice.send_here(amount="1.00")
        alice.forget_receipt("rent")
        done = alice.send_here("--id", "rent", "--json").json()
        assert (done["status"], done["duplicate"]) == ("posted", True)
        assert entry() == first
        assert size() > before
        before = size()
        assert stand.postings("1001", "rent") == 1

    stand.restart()
    retry()
    run_here("ca", "renew", alice.number, "--home", stand.town.ca, "--passphrase-file", stand.town.passphrase)
    alice.here("renew")
    stand.bank("fetch")
    retry()
    restore(stand, backup, "--begin-new-log")
    new = log_of(stand)
    before = 0
    alice.here("verify", "--follow-log", new)
    retry()
    stand.require_order()
