"""A backup made while the bank posts is whole; it is put in place after every check, and only where nothing is lost."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from bank import accounts
from bank.audit import audit
from bank.backup import LEDGER, MANIFEST, Manifest, make_backup
from bank.errors import BackupError, ConfigurationError, HistoryLost
from bank.heads import FILE_NAME as NEWEST_HEAD
from bank.home import BankHome
from bank.posting import Posting
from bank.restoring import Restored, begin_in_place, restore
from bank.storage import Ledger
from keyring import process
from keyring.errors import KeyringError
from protocol import canonical, receipts
from protocol.orders import format_time
from protocol.receipts import Receipt, TreeHead
from protocol.secret import Secret
from tests.bank.ledgers import receipt_of
from tests.bank.town import SECONDS, Town, copied_bank

PASSPHRASE = Secret(b"kept apart from the backup")


class Teller:
    """The operator at a bank: pays in, backs up, restores."""

    def __init__(self, home: BankHome) -> None:
        self.home = home
        self.paid = 0

    def pay_in(self, times: int = 1, *, identifier: str = "") -> list[Receipt]:
        """So many deposits of one euro to Alice, and their receipts."""
        signer = self.home.signer()
        try:
            with self.home.open_ledger() as ledger, self.home.open_posting(ledger, signer, time.time) as posting:
                return [self._post(ledger, posting, identifier) for _ in range(times)]
        finally:
            signer.close()

    def _post(self, ledger: Ledger, posting: Posting, identifier: str) -> Receipt:
        self.paid += 1
        name = identifier or f"paid-{self.paid}"
        order = accounts.deposit(ledger, "1001", "1.00", "cash", identifier=name, created=format_time(time.time()))
        return receipt_of(posting.submit(accounts.repeated(ledger, order)).result(SECONDS))

    def back_up(self, out: Path, **changes: Any) -> Manifest:
        options: dict[str, Any] = {"keys_passphrase": None, "clock": time.time, "progress": lambda *_: None, **changes}
        return make_backup(self.home, out, **options)

    def lose_ledger(self) -> None:
        for path in self.home.path.glob(f"{LEDGER}*"):
            path.unlink()

    def restore(self, source: Path, to: Path | None = None, **changes: Any) -> Restored:
        options: dict[str, Any] = {
            "heads": (),
            "begin_new_log": False,
            "keys_passphrase": None,
            "clock": time.time,
            "random": lambda count: b"\x07" * count,
            "progress": lambda *_: None,
            **changes,
        }
        return restore(source, to or self.home.path, **options)

    def head(self) -> TreeHead:
        content = self.home.verify((self.home.path / NEWEST_HEAD).read_bytes())
        assert content is not None
        return canonical.decode_signed(TreeHead, content)

    def require_sound(self) -> None:
        """Every entry, balance and head, as the audit computes them anew."""
        with self.home.open_ledger() as ledger:
            assert audit(ledger, verify_order=lambda _: None, verify_head=self.home.verify) == ()
            assert sum(each.balance_minor for each in accounts.every(ledger)) == 0

    def prove(self, receipt: Receipt) -> TreeHead:
        """The head of a receipt, which is proved as a customer does it."""
        content = self.home.verify(receipt.head)
        assert content is not None
        head = canonical.decode_signed(TreeHead, content)
        receipts.check_inclusion(receipt, head)
        return head


@pytest.fixture
def teller(town: Town, short_tmp: Path) -> Iterator[Teller]:
    teller = Teller(copied_bank(town, short_tmp))
    yield teller
    teller.home.gnupg.stop()


def moved(teller: Teller, folder: Path) -> Teller:
    """The same bank in the folder of another machine, once it is there."""
    return Teller(BankHome.open(folder))


def test_trial_23_a_backup_under_load_goes_on_elsewhere_with_all_that_it_holds(teller: Teller, short_tmp: Path) -> None:
    """Posted to all along; then the newest head of the old machine proves that nothing is missing, or that it is."""
    before = teller.pay_in(5)
    stop, posted = threading.Event(), []

    def pay() -> None:
        signer = teller.home.signer()
        try:
            with (
                teller.home.open_ledger() as ledger,
                teller.home.open_posting(ledger, signer, time.time) as posting,
            ):
                while not stop.is_set():
                    posted.append(teller._post(ledger, posting, ""))
        finally:
            signer.close()

    def posted_beyond(number: int) -> int:
        while len(posted) <= number:
            assert load.is_alive()
            load.join(0.01)
        return len(posted)

    load = threading.Thread(target=pay)
    load.start()
    try:
        at_first = posted_beyond(4)
        manifest = teller.back_up(short_tmp / "backup", keys_passphrase=PASSPHRASE)
        during = len(posted) - at_first
        posted_beyond(len(posted))  # so that the backup lacks something for certain
    finally:
        stop.set()
        load.join()
    assert during > 0  # the posting went on
    assert manifest.entries >= len(before) + at_first

    elsewhere = short_tmp / "elsewhere"
    newest = teller.home.path / NEWEST_HEAD
    options = {"heads": (newest,), "keys_passphrase": PASSPHRASE}
    with pytest.raises(HistoryLost, match=r"signed a log of \d+ entries.*lost.*--begin-new-log"):
        teller.restore(short_tmp / "backup", elsewhere, **options)
    assert not elsewhere.exists()
    found = teller.restore(short_tmp / "backup", elsewhere, begin_new_log=True, **options)
    assert found.beginning is not None
    assert found.beginning.old_head == teller.head()
    assert found.beginning.continued_size == manifest.entries
    there = moved(teller, elsewhere)
    there.require_sound()
    assert there.head().log == found.beginning.log != manifest.log

    # What it holds gets its receipt, the same entry; what it lost is decided anew.
    (again,) = there.pay_in(identifier="paid-1")
    assert (again.entry, again.index, again.duplicate) == (before[0].entry, before[0].index, True)
    assert there.prove(again).log == found.beginning.log
    (anew,) = there.pay_in(identifier=f"paid-{teller.paid}")
    assert not anew.duplicate
    there.require_sound()
    there.home.gnupg.stop()


def test_trial_23_a_backup_that_holds_the_newest_head_goes_on_in_its_log(teller: Teller, short_tmp: Path) -> None:
    """The honest twin: nothing is lost, so no word is asked for and the log stays the same."""
    (receipt, *_) = teller.pay_in(3)
    teller.back_up(short_tmp / "backup")
    log = teller.head().log
    teller.lose_ledger()
    assert teller.restore(short_tmp / "backup").beginning is None
    (again,) = teller.pay_in(identifier="paid-1")
    assert (again.entry, again.duplicate) == (receipt.entry, True)
    assert teller.prove(again).log == log
    teller.require_sound()


def test_trial_23_an_older_backup_is_not_continued_without_the_operators_word(teller: Teller, short_tmp: Path) -> None:
    teller.pay_in(2)
    teller.back_up(short_tmp / "backup")
    (lost,) = teller.pay_in()
    newest = (teller.home.path / NEWEST_HEAD).read_bytes()
    teller.lose_ledger()
    with pytest.raises(HistoryLost, match="the last 1 are lost"):
        teller.restore(short_tmp / "backup")
    assert (teller.home.path / NEWEST_HEAD).read_bytes() == newest
    assert not (teller.home.path / LEDGER).exists()
    # Nor where the operator puts the file there by hand: the server compares the head itself.
    shutil.copy(short_tmp / "backup" / LEDGER, teller.home.path / LEDGER)
    with pytest.raises(HistoryLost, match="the last 1 are lost"):
        teller.pay_in()
    teller.lose_ledger()
    found = teller.restore(short_tmp / "backup", begin_new_log=True)
    assert found.beginning is not None
    assert found.beginning.old_head.size == lost.index + 1
    teller.require_sound()


def test_trial_23_where_no_head_is_known_it_takes_the_operators_word(teller: Teller, short_tmp: Path) -> None:
    teller.pay_in(2)
    teller.back_up(short_tmp / "backup", keys_passphrase=PASSPHRASE)
    there = short_tmp / "elsewhere"
    with pytest.raises(HistoryLost, match="No head from outside the backup"):
        teller.restore(short_tmp / "backup", there, keys_passphrase=PASSPHRASE)
    with pytest.raises(BackupError, match="is not a head that this bank signed"):
        teller.restore(short_tmp / "backup", there, keys_passphrase=PASSPHRASE, heads=(short_tmp / "backup" / LEDGER,))
    newest = teller.home.path / NEWEST_HEAD
    found = teller.restore(short_tmp / "backup", there, keys_passphrase=PASSPHRASE, heads=(newest,))
    assert (found.beginning, found.keys) == (None, True)
    other = moved(teller, there)
    other.pay_in()
    other.require_sound()
    other.home.gnupg.stop()


def test_trial_23_a_second_loss_begins_a_third_log(teller: Teller, short_tmp: Path) -> None:
    """Logs in one tree: heads of each are told apart by what the tree was called at their size."""
    teller.pay_in(2)
    teller.back_up(short_tmp / "first")
    teller.pay_in(2)
    teller.lose_ledger()
    second = teller.restore(short_tmp / "first", begin_new_log=True).beginning
    assert second is not None
    teller.pay_in(2)
    teller.back_up(short_tmp / "second")
    teller.pay_in(1)
    teller.lose_ledger()
    third = teller.restore(short_tmp / "second", begin_new_log=True, random=lambda count: b"\x08" * count).beginning
    assert third is not None
    assert third.continued_log == second.log
    teller.pay_in(1)
    teller.require_sound()
    teller.back_up(short_tmp / "third")


def test_trial_23_a_crash_before_the_new_log_is_signed_is_healed(
    teller: Teller, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teller.pay_in(2)
    with teller.home.open_ledger() as ledger:
        ledger.copy_to(short_tmp / "copy")
    teller.pay_in(1)
    teller.lose_ledger()
    (short_tmp / "copy").rename(teller.home.path / LEDGER)
    with monkeypatch.context() as patch:
        patch.setattr("bank.heads.Heads.start", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            begin_in_place(teller.home, clock=time.time, random=lambda count: b"\x07" * count)
    teller.pay_in(1)
    assert teller.head().log == "07" * 16
    teller.require_sound()


def test_trial_21_a_ledger_that_lost_its_end_goes_on_only_by_the_operators_word(
    teller: Teller, short_tmp: Path
) -> None:
    teller.pay_in(2)
    with pytest.raises(BackupError, match="its log goes on"):
        begin_in_place(teller.home, clock=time.time, random=lambda count: b"\x07" * count)
    with teller.home.open_ledger() as ledger:
        ledger.copy_to(short_tmp / "copy")
    teller.pay_in(3)
    teller.lose_ledger()
    (short_tmp / "copy").rename(teller.home.path / LEDGER)
    with pytest.raises(HistoryLost, match=r"the last 3 are lost.*bank begin-new-log"):
        teller.pay_in()
    with pytest.raises(HistoryLost):
        teller.back_up(short_tmp / "backup")
    assert not (short_tmp / "backup").exists()
    with teller.home.alone(), pytest.raises(ConfigurationError, match="running"):
        begin_in_place(teller.home, clock=time.time, random=lambda count: b"\x07" * count)
    made = begin_in_place(teller.home, clock=time.time, random=lambda count: b"\x07" * count)
    assert made.old_head.size - made.continued_size == 3
    teller.pay_in()
    teller.require_sound()


@pytest.mark.parametrize("name", [LEDGER, NEWEST_HEAD, MANIFEST, "bank.toml", "authority.crt"])
def test_trial_23_a_backup_with_a_flipped_bit_is_not_restored(teller: Teller, short_tmp: Path, name: str) -> None:
    teller.pay_in(1)
    backup = short_tmp / "backup"
    teller.back_up(backup)
    teller.lose_ledger()
    path = backup / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises((BackupError, ConfigurationError)):
        teller.restore(backup)
    assert not (teller.home.path / LEDGER).exists()
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    teller.restore(backup)
    teller.require_sound()


def test_a_ledger_whose_balances_do_not_add_up_makes_no_backup(teller: Teller, short_tmp: Path) -> None:
    teller.pay_in(1)
    with teller.home.open_ledger() as ledger, ledger.writing() as connection:
        connection.execute(text("UPDATE account SET balance_minor = balance_minor + 1 WHERE number = '1002'"))
    with pytest.raises(BackupError, match="account 1002"):
        teller.back_up(short_tmp / "backup")
    assert [each.name for each in short_tmp.iterdir()] == ["bank"]


def test_nothing_is_written_over(teller: Teller, short_tmp: Path) -> None:
    teller.pay_in(1)
    teller.back_up(short_tmp / "backup")
    with pytest.raises(BackupError, match="no backup is written over"):
        teller.back_up(short_tmp / "backup")
    with pytest.raises(BackupError, match="There is a ledger in"):
        teller.restore(short_tmp / "backup")
    teller.require_sound()


def test_private_keys_are_in_a_backup_only_on_request_and_sealed(teller: Teller, short_tmp: Path) -> None:
    teller.back_up(short_tmp / "without")
    teller.back_up(short_tmp / "with", keys_passphrase=PASSPHRASE)
    everything = {part for path in teller.home.path.glob("gnupg/private-keys-v1.d/*") for part in _values(path)}
    secret = {part for part in everything if part not in teller.home.public_key()}
    exported = process.run(teller.home.gnupg, "--export-secret-keys", passphrase=Secret(b"")).output
    assert any(part in exported for part in secret)  # so it would be seen
    for folder in ("without", "with"):
        assert (short_tmp / folder).stat().st_mode & 0o77 == 0
        for path in (short_tmp / folder).rglob("*"):
            assert path.stat().st_mode & 0o77 == 0
            assert not any(value in path.read_bytes() for value in secret), path
    there = short_tmp / "elsewhere"
    head = (teller.home.path / NEWEST_HEAD,)
    with pytest.raises(BackupError, match="neither in"):
        teller.restore(short_tmp / "without", there, heads=head)
    with pytest.raises(BackupError, match="sealed in this backup"):
        teller.restore(short_tmp / "with", there, heads=head)
    with pytest.raises(KeyringError, match="does not open"):
        teller.restore(short_tmp / "with", there, heads=head, keys_passphrase=Secret(b"another"))
    assert not there.exists()
    teller.restore(short_tmp / "with", there, heads=head, keys_passphrase=PASSPHRASE)
    other = moved(teller, there)
    other.pay_in()
    other.home.gnupg.stop()


def _values(path: Path) -> Iterator[bytes]:
    """The long values in a private key's file, as they are on the disk."""
    for line in path.read_bytes().split(b"#"):
        if len(line) >= 64 and line.isalnum():
            yield bytes.fromhex(line.decode())
