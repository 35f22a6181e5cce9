"""What the bank signed last lies outside the database, and a ledger that lacks it is not continued."""

import shutil
from pathlib import Path

import pytest
from sqlalchemy import text

from bank.errors import HistoryLost
from bank.heads import head_file
from bank.log import Log
from bank.storage import Ledger
from protocol import canonical, merkle
from protocol.receipts import TreeHead
from tests.bank.ledgers import Bank, receipt_of
from tests.bank.tampering import tamper


@pytest.fixture
def busy_bank(bank: Bank) -> Bank:
    bank.open_accounts(n1001="50.00", n1002="0")
    for _ in range(5):
        bank.send("1001", "1002", "1")
    bank.posting.stop()
    return bank


def test_the_newest_head_lies_beside_the_database_as_it_was_signed(busy_bank: Bank) -> None:
    content = busy_bank.signer.verify(head_file(busy_bank.ledger).read_bytes())
    assert content is not None
    assert canonical.decode_signed(TreeHead, content) == busy_bank.head()


def test_an_empty_log_has_a_head(bank: Bank) -> None:
    head = bank.head()
    assert (head.size, head.root) == (0, merkle.EMPTY_ROOT.hex())
    bank.restart()
    assert bank.head() == head


def test_trial_21_rows_lost_from_the_end_are_found_by_the_head_outside(busy_bank: Bank) -> None:
    tamper(
        busy_bank,
        "DELETE FROM head WHERE size > 4",
        "DELETE FROM booking WHERE leaf = 5",
        "DELETE FROM entry WHERE leaf = 5",
        "UPDATE account SET balance_minor = balance_minor + 100 WHERE number = '1001'",
        "UPDATE account SET balance_minor = balance_minor - 100 WHERE number = '1002'",
    )
    with pytest.raises(HistoryLost, match=r"signed a log of 6 entries, but .* has 5"):
        busy_bank.start()


def test_trial_21_a_write_ahead_log_that_was_lost_is_found(file_bank: Bank, tmp_path: Path) -> None:
    file_bank.open_accounts(n1001="50.00", n1002="0")
    file_bank.posting.stop()
    file_bank.ledger.close()
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(file_bank.path, copy)  # closed and checkpointed: the state before what follows
    file_bank.ledger = Ledger.open(file_bank.place)
    file_bank.start()
    file_bank.send("1001", "1002", "1")
    file_bank.posting.stop()
    shutil.copy(head_file(file_bank.ledger), copy)
    file_bank.ledger.close()
    file_bank.ledger = Ledger.open(copy / "ledger.db")
    with pytest.raises(HistoryLost, match="are lost"):
        file_bank.start()


def test_trial_46_a_changed_history_is_not_continued(busy_bank: Bank) -> None:
    hashes = merkle.leaf_hash(b"another").hex() * 2
    tamper(busy_bank, f"UPDATE entry SET hashes = X'{hashes}' WHERE leaf = 5")
    with pytest.raises(HistoryLost, match="history was changed"):
        busy_bank.start()


def test_trial_46_a_consistency_proof_from_a_rewritten_log_fails(busy_bank: Bank) -> None:
    kept = busy_bank.head()
    tamper(busy_bank, f"UPDATE entry SET hashes = X'{merkle.leaf_hash(b'another').hex()}' WHERE leaf = 4")
    log = Log(busy_bank.ledger)
    path = tuple(bytes.fromhex(item) for item in log.consistency(5, 6))
    honest = bytes.fromhex(kept.root)
    assert not merkle.verify_consistency(5, 6, log.root(5), honest, path)


def test_a_head_that_another_signed_or_that_is_cut_is_not_believed(busy_bank: Bank) -> None:
    path = head_file(busy_bank.ledger)
    genuine = path.read_bytes()
    for wrong in (genuine[:-1], b"", b"x" * 100):
        path.write_bytes(wrong)
        with pytest.raises(HistoryLost, match="signature"):
            busy_bank.start()
    path.write_bytes(genuine)
    busy_bank.start()


def test_a_head_of_another_log_is_not_believed(busy_bank: Bank) -> None:
    head = busy_bank.head()
    other = TreeHead(bank=head.bank, log="f" * 32, root=head.root, size=head.size, time=head.time)
    head_file(busy_bank.ledger).write_bytes(busy_bank.signer.sign(canonical.encode(other), 0))
    with pytest.raises(HistoryLost, match="another log"):
        busy_bank.start()


def test_a_missing_head_file_is_refused_where_the_database_has_heads(busy_bank: Bank) -> None:
    path = head_file(busy_bank.ledger)
    genuine = path.read_bytes()
    path.unlink()
    with pytest.raises(HistoryLost, match="Put the file back"):
        busy_bank.start()
    path.write_bytes(genuine)
    busy_bank.start()


def test_heads_of_a_busy_posting_are_stored_with_the_next_batch(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")
    for _ in range(10):
        bank.send("1001", "1002", "1")
    bank.posting.stop()
    assert bank.count("head") >= 2
    with bank.ledger.reading() as connection:
        assert connection.execute(text("SELECT max(size) FROM head")).scalar() == 11


def test_proofs_come_from_the_database_where_the_cache_does_not_reach(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")
    receipts = [receipt_of(bank.post(bank.order("1001", "1002", "0.01"))) for _ in range(40)]
    small, large = Log(bank.ledger, cached_nodes=2), Log(bank.ledger)
    for receipt in receipts:
        size = bank.head().size
        assert small.inclusion(receipt.index, size) == large.inclusion(receipt.index, size)
        assert small.consistency(receipt.index, size) == large.consistency(receipt.index, size)
    assert len(small._cache) <= 2


def test_the_log_says_which_entry_is_missing(busy_bank: Bank) -> None:
    with pytest.raises(HistoryLost, match="Entry 7 of the log is missing"):
        Log(busy_bank.ledger).node(3, 0)
