"""A ledger that moves to PostgreSQL arrives whole or stays in use where it is; a backup is put into either."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bank import accounts, config, copying, moving
from bank.backup import LEDGER
from bank.config import FILE_NAME as CONFIGURATION
from bank.errors import BankError, ConfigurationError, LedgerError, Unwritable
from bank.home import BankHome
from bank.moving import move
from bank.places import Database
from bank.storage import Ledger
from protocol.orders import format_time
from tests.bank.test_backup import Teller
from tests.bank.town import Town, copied_bank
from tests.postgres import Databases

PAID = 7


@pytest.fixture
def teller(town: Town, short_tmp: Path) -> Iterator[Teller]:
    teller = Teller(copied_bank(town, short_tmp))
    teller.pay_in(PAID)
    yield teller
    teller.home.gnupg.stop()


def moved(teller: Teller, url: str, progress: Any = lambda *_: None) -> Database:
    """The ledger moves; from then on the teller's bank is the one whose bank.toml names the database."""
    place = Database(url, teller.home.path)
    move(teller.home, place, progress)
    teller.home = BankHome.open(teller.home.path)
    return place


def paid_in(home: BankHome) -> int:
    with home.open_ledger() as ledger:
        return accounts.get(ledger, "1001").balance_minor


def test_a_moved_ledger_goes_on_with_all_receipts(teller: Teller, database_url: str) -> None:
    before = teller.pay_in(1, identifier="kept")[0]
    balance, head = paid_in(teller.home), teller.head()
    with (teller.home.path / CONFIGURATION).open("a") as file:
        file.write("\n# the operator's own words\n")
    told: list[tuple[str, int, int]] = []
    moved(teller, database_url, lambda *step: told.append(step))
    assert {task for task, *_ in told} == {"Copying", "Checking"}
    assert teller.home.config.ledger == database_url
    assert "# the operator's own words" in (teller.home.path / CONFIGURATION).read_text()
    assert paid_in(teller.home) == balance
    assert teller.head() == head
    again = teller.pay_in(1, identifier="kept")[0]
    assert again.duplicate
    assert again.entry == before.entry
    teller.prove(teller.pay_in()[0])
    teller.require_sound()
    with pytest.raises(LedgerError, match="already"):
        move(teller.home, Database(database_url, teller.home.path), lambda *_: None)


def test_what_had_the_file_open_cannot_write_to_it_any_more(teller: Teller, database_url: str) -> None:
    with Ledger.open(teller.home.path / LEDGER) as old:
        home = teller.home
        moved(teller, database_url)
        signer = home.signer()
        order = accounts.deposit(old, "1001", "1", "", identifier="late", created=format_time(time.time()))
        with home.open_posting(old, signer, time.time) as posting, pytest.raises(Unwritable, match="was moved"):
            posting.submit(order).result(20)
        signer.close()
        with pytest.raises(LedgerError, match="was moved"):
            accounts.set_status(old, "1001", "blocked")
        assert accounts.get(old, "1001").status == "open"


class Killed(Exception):
    """Stands for the end of the process: nothing after it is done."""


def test_a_move_that_is_interrupted_goes_on_where_it_stopped(
    teller: Teller, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try is ended a part later than the one before; in between the bank serves from its file."""
    monkeypatch.setattr(moving, "ENTRIES", 2)
    copied: list[int] = []
    before = paid_in(teller.home)
    for tried in range(4):
        steps = iter(range(tried))

        def stop(task: str, done: int, _total: int, steps: Iterator[int] = steps) -> None:
            copied.append(done)
            if next(steps, None) is None or task != "Copying":
                raise Killed

        with pytest.raises(Killed):
            moved(teller, database_url, stop)
        assert not BankHome.open(teller.home.path).config.ledger
        teller.pay_in()
    parts = list(copied)
    moved(teller, database_url, lambda task, done, _: copied.append(done) if task == "Copying" else None)
    assert copied[len(parts)] >= max(parts) > 0, "what was copied is not copied again"
    assert paid_in(teller.home) == before + 4 * 100
    teller.require_sound()


def test_what_is_killed_at_the_last_step_is_finished_by_the_next_try(
    teller: Teller, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(config, "set_ledger", killed)
        with pytest.raises(Killed):
            moved(teller, database_url)
    with pytest.raises(BankError, match="was moved"):
        teller.pay_in()
    moved(teller, database_url)
    teller.pay_in()
    teller.require_sound()


def test_a_copy_that_lacks_a_row_is_not_used(
    teller: Teller, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = copying.copy_rows

    def careless(target: Any, name: str, table: Any, rows: Any) -> None:
        plain(target, name, table, list(rows)[: -1 if name == "booking" else None])

    with monkeypatch.context() as patch:
        patch.setattr(moving, "copy_rows", careless)
        with pytest.raises(BankError, match="does not pass its checks"):
            moved(teller, database_url)
    assert not BankHome.open(teller.home.path).config.ledger
    teller.pay_in()
    teller.require_sound()


def test_another_banks_ledger_and_a_later_one_of_the_same_are_not_written_to(
    teller: Teller, databases: Databases, ledger_url: str, short_tmp: Path
) -> None:
    with pytest.raises(LedgerError, match="another ledger"):
        moved(teller, ledger_url)
    earlier = short_tmp / "earlier"
    shutil.copytree(teller.home.path, earlier, ignore=shutil.ignore_patterns("S.*"))
    teller.pay_in()
    url = databases.new()
    moved(teller, url)
    with pytest.raises(LedgerError, match="another ledger"):
        move(BankHome.open(earlier), Database(url, earlier), lambda *_: None)
    databases.drop(url)


def test_a_serving_bank_is_not_moved(teller: Teller, database_url: str) -> None:
    with teller.home.alone(), pytest.raises(ConfigurationError, match="stop that one first"):
        moved(teller, database_url)


# Backups


def test_trial_23_a_backup_of_a_database_is_restored_into_a_database_and_into_a_file(
    teller: Teller, databases: Databases, short_tmp: Path
) -> None:
    urls = [databases.new() for _ in range(2)]
    moved(teller, urls[0])
    teller.pay_in()
    made = teller.back_up(short_tmp / "backup")
    assert made.entries == PAID + 1 + (made.entries - PAID - 1)
    for url in (urls[1], ""):
        home = short_tmp / f"restored-{bool(url)}"
        home.mkdir(mode=0o700)
        shutil.copytree(teller.home.path / "gnupg", home / "gnupg", ignore=shutil.ignore_patterns("S.*"))
        head = teller.home.path / "newest-head.pgp"
        restored = teller.restore(short_tmp / "backup", home, heads=(head,), ledger=url)
        assert restored.beginning is None
        other = Teller(BankHome.open(home))
        assert other.home.config.ledger == url
        assert (home / LEDGER).exists() == (not url)
        assert paid_in(other.home) == paid_in(teller.home)
        other.prove(other.pay_in(identifier="after")[0])
        other.require_sound()
        other.home.gnupg.stop()
    with pytest.raises(LedgerError, match="already"):
        teller.restore(short_tmp / "backup", short_tmp / "third", ledger=urls[1])
    for url in urls:
        databases.drop(url)


def test_trial_23_an_old_backup_in_a_database_begins_a_new_log(
    teller: Teller, databases: Databases, short_tmp: Path
) -> None:
    url = databases.new()
    teller.back_up(short_tmp / "backup")
    teller.pay_in()
    kept = teller.home.path / CONFIGURATION
    config.set_ledger(teller.home.path, url)
    assert url in kept.read_text()
    teller.lose_ledger()
    with pytest.raises(BankError, match="are lost"):
        teller.restore(short_tmp / "backup")
    assert teller.restore(short_tmp / "backup", begin_new_log=True).beginning is not None
    teller.home = BankHome.open(teller.home.path)
    teller.prove(teller.pay_in()[0])
    teller.require_sound()
    databases.drop(url)


def test_a_backup_holds_no_password(teller: Teller, database_url: str, short_tmp: Path) -> None:
    moved(teller, database_url)
    with_password = database_url.replace("postgres@", "postgres:hidden-word@")
    teller.home = BankHome(teller.home.path, msgspec.structs.replace(teller.home.config, ledger=with_password))
    config.save(teller.home.path, teller.home.config)
    teller.back_up(short_tmp / "backup")
    for path in (short_tmp / "backup").rglob("*"):
        assert not path.is_file() or b"hidden-word" not in path.read_bytes()
    assert config.load(short_tmp / "backup").ledger == database_url
