"""The audit finds nothing in an honest ledger and names the first bad row in any other."""

import random
import shutil
from pathlib import Path

import pytest

from bank.audit import Finding, OrderRow, audit
from bank.errors import LedgerError
from bank.heads import head_file
from bank.storage import Ledger
from tests.bank.ledgers import Bank
from tests.bank.tampering import tamper


@pytest.fixture
def audited(bank: Bank) -> Bank:
    at_work(bank)
    return bank


def at_work(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="10.00", n1003="0")
    for creditor in ("1002", "1003", "1009", "1002"):
        bank.send("1001", creditor, "5")
    bank.posting.stop()


def message_fits(row: OrderRow) -> str | None:
    """Stands for gpg: the message of these tests is the content behind a mark."""
    if row.stage != "signed":
        return None
    return None if row.message == b"signed: " + row.content else "Its message is not what its debtor signed."


def run(bank: Bank, since: int = 0) -> tuple[Finding, ...]:
    return audit(bank.ledger, verify_order=message_fits, verify_head=bank.signer.verify, since=since)


@pytest.mark.parametrize("since", range(7))
def test_an_honest_ledger_has_no_finding(audited: Bank, since: int) -> None:
    assert run(audited, since) == ()


def test_an_empty_ledger_has_no_finding(bank: Bank) -> None:
    assert run(bank) == ()


def test_a_ledger_at_work_has_no_finding(bank: Bank) -> None:
    bank.open_accounts(n1001="50.00", n1002="0")
    futures = []
    for _ in range(20):
        futures += [bank.submit(bank.order("1001", "1002", "0.01")) for _ in range(10)]
        assert run(bank) == ()
    for future in futures:
        future.result()


def test_the_progress_is_told(audited: Bank) -> None:
    told: list[tuple[int, int]] = []
    audit(
        audited.ledger,
        verify_order=message_fits,
        verify_head=audited.signer.verify,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (6, 6)


# What is done to the database, and the row that is named first.
TAMPERED = {
    "content rewritten": (
        "UPDATE entry SET content = CAST(replace(content, '\"5\"', '\"9\"') AS BLOB) WHERE leaf = 3",
        "entry 3",
    ),
    "entry rewritten": (
        "UPDATE entry SET entry = CAST(replace(entry, '5.00', '9.00') AS BLOB) WHERE leaf = 3",
        "entry 3",
    ),
    "entry unreadable": ("UPDATE entry SET entry = X'00' WHERE leaf = 3", "entry 3"),
    "hashes rewritten": ("UPDATE entry SET hashes = X'00' WHERE leaf = 3", "entry 3"),
    "message dropped": ("UPDATE entry SET message = NULL WHERE leaf = 3", "entry 3"),
    "stage rewritten": ("UPDATE entry SET stage = 'operator' WHERE leaf = 3", "entry 3"),
    "time rewritten": ("UPDATE entry SET booked_at = booked_at + 1 WHERE leaf = 3", "entry 3"),
    "digest rewritten": ("UPDATE entry SET order_digest = 'x' WHERE leaf = 3", "entry 3"),
    "identity rewritten": ("UPDATE entry SET identity = '1002/free' WHERE leaf = 3", "entry 3"),
    "booking count rewritten": ("UPDATE entry SET booking_count = 9 WHERE leaf = 4", "entry 4"),
    "type rewritten": ("UPDATE entry SET entry = 17 WHERE leaf = 3", "entry 3"),
    "entry dropped in the middle": ("DELETE FROM entry WHERE leaf = 3", "entry 3"),
    "booking rewritten": (
        "UPDATE booking SET amount_minor = 900 WHERE leaf = 3 AND amount_minor > 0",
        "booking 4 of 1003",
    ),
    "booking dropped": ("DELETE FROM booking WHERE leaf = 3 AND amount_minor > 0", "booking 4 of 1003"),
    "booking added": ("INSERT INTO booking VALUES ('1003', 9, 500, 1000, 4, NULL, NULL)", "booking 9 of 1003"),
    "booking of no entry": ("INSERT INTO booking VALUES ('1003', 9, 500, 1000, 99, NULL, NULL)", "booking 9 of 1003"),
    "booking balance rewritten": (
        "UPDATE booking SET balance_after_minor = 0 WHERE leaf = 3 AND amount_minor > 0",
        "booking 4 of 1003",
    ),
    "balance rewritten": ("UPDATE account SET balance_minor = 99999 WHERE number = '1003'", "account 1003"),
    "account dropped": ("DELETE FROM account WHERE number = '1003'", "account 1003"),
    "account added": ("INSERT INTO account VALUES ('6666', 'x', 'customer', 'open', 100, 0)", "account 6666"),
    "entry added": (
        """INSERT INTO entry SELECT 6, hashes, booked_at, booking_count, '1003/x', order_digest, stage, key_digest,
        entry, content, message, NULL, NULL FROM entry WHERE leaf = 5""",
        "entry 6",
    ),
    "head rewritten": ("UPDATE head SET content = X'7B7D'", "head 0"),
    "head message rewritten": ("UPDATE head SET message = X'00'", "head 0"),
    "head size rewritten": ("UPDATE head SET size = 77 WHERE size = 0", "head 77"),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_trial_46_a_row_rewritten_dropped_or_added_is_named(audited: Bank, case: str) -> None:
    statement, row = TAMPERED[case]
    if case == "type rewritten" and audited.url:
        with pytest.raises(LedgerError, match="type bytea"):  # a column's type is that of all its rows
            tamper(audited, statement)
        return
    tamper(audited, statement)
    found = run(audited)
    assert found, "nothing was found"
    assert found[0].row.replace("of account", "of") == row
    assert (
        found[0].sentence.endswith((".", "signs them. Else they were added by another hand."))
        or ":" in found[0].sentence
    )


def test_trial_46_the_last_entry_dropped_with_all_that_belongs_to_it_is_found(audited: Bank) -> None:
    tamper(
        audited,
        "DELETE FROM head WHERE size > 5",
        "DELETE FROM booking WHERE leaf = 5",
        "DELETE FROM entry WHERE leaf = 5",
        "UPDATE account SET balance_minor = balance_minor + 500 WHERE number = '1001'",
        "UPDATE account SET balance_minor = balance_minor - 500 WHERE number = '1002'",
    )
    (found,) = run(audited)
    assert found.row == "file newest-head.pgp"
    assert "6 entries, but there are 5" in found.sentence


def test_trial_46_a_history_rewritten_with_all_its_hashes_contradicts_the_signed_head(
    audited: Bank, tmp_path: Path
) -> None:
    other = Bank(make(tmp_path / "other"))
    other.open_accounts(n1001="50.00", n1002="10.00", n1003="0")
    for creditor in ("1003", "1002", "1009", "1002"):
        other.send("1001", creditor, "5")
    other.close()
    forged = tmp_path / "forged.db"
    shutil.copy(other.path, forged)
    with Ledger.open(forged) as ledger:
        identify = f"UPDATE ledger SET log = '{audited.ledger.log}'"
        with ledger.writing() as connection:
            connection.exec_driver_sql(identify)
            connection.exec_driver_sql("DROP TRIGGER head_no_delete")
            connection.exec_driver_sql("DELETE FROM head")
    with Ledger.open(forged) as ledger:
        head_file(ledger).write_bytes(head_file(audited.ledger).read_bytes())
        found = audit(ledger, verify_order=message_fits, verify_head=audited.signer.verify)
    assert found[0] == Finding("file newest-head.pgp", "The first 6 entries are not those that the bank signed.")


def make(path: Path) -> Path:
    path.mkdir()
    return path


def test_the_head_outside_missing_or_foreign_is_found(audited: Bank) -> None:
    path = head_file(audited.ledger)
    path.write_bytes(b"x" * 64)
    assert run(audited)[0].row == "file newest-head.pgp"
    path.unlink()
    assert run(audited)[0].row == "file newest-head.pgp"


def test_trial_21_bits_flipped_in_the_file_are_found_or_change_nothing(file_bank: Bank) -> None:
    bank = file_bank
    at_work(bank)
    seed = random.SystemRandom().randrange(2**32)
    draw = random.Random(seed)
    bank.ledger.close()
    honest = bank.path.read_bytes()
    used = [place for place, byte in enumerate(honest) if byte]  # most of so small a file is empty
    copy = make(bank.folder / "flipped") / "ledger.db"
    shutil.copy(head_file(bank.ledger), copy.parent)
    before = contents(bank.path)
    found = 0
    for _ in range(60):
        damaged = bytearray(honest)
        damaged[draw.choice(used)] ^= 1 << draw.randrange(8)
        copy.write_bytes(damaged)
        try:
            with Ledger.open(copy) as ledger:
                findings = audit(ledger, verify_order=message_fits, verify_head=bank.signer.verify)
        except LedgerError:
            found += 1
            continue
        found += bool(findings)
        assert findings or contents(copy) == before, f"seed {seed}"
    assert found > 20, f"seed {seed}"


def contents(path: Path) -> list[object]:
    with Ledger.open(path) as ledger, ledger.reading() as connection:
        return [
            connection.exec_driver_sql(statement).all()
            for statement in (
                "SELECT number, balance_minor FROM account",
                "SELECT * FROM entry ORDER BY leaf",
                "SELECT * FROM booking ORDER BY account, number",
            )
        ]
