"""A ledger is made once, opened only by who understands it, and says in a sentence what is wrong with it."""

import fcntl
import os
import sqlite3
import threading
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from bank import migrations, schema
from bank.errors import LedgerError
from bank.storage import Ledger
from tests.bank.ledgers import BANK, Bank


def make(path: Path) -> Ledger:
    return Ledger.create(path, bank_fingerprint=BANK, currency="EUR")


def test_a_new_ledger_has_the_banks_account_and_is_private(tmp_path: Path) -> None:
    with make(tmp_path / "ledger.db") as ledger:
        identity = (ledger.bank, ledger.currency, ledger.log)
        with ledger.reading() as connection:
            assert connection.exec_driver_sql("SELECT number, kind, balance_minor FROM account").all() == [
                ("0000", "bank", 0)
            ]
    assert identity[:2] == (BANK, "EUR")
    assert len(identity[2]) == 32
    assert (tmp_path / "ledger.db").stat().st_mode & 0o777 == 0o600
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        assert (ledger.bank, ledger.currency, ledger.log) == identity


def test_the_migrations_make_the_schema_of_the_code(tmp_path: Path) -> None:
    with make(tmp_path / "ledger.db") as ledger, ledger.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
        made = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE sql LIKE '%CHECK%'").scalars().all()
    named = {
        f"{table.name}_{constraint.name}"
        for table in schema.metadata.tables.values()
        for constraint in table.constraints
        if constraint.__visit_name__ == "check_constraint"
    }
    assert all(any(f"CONSTRAINT {name.split('_', 1)[0]}" in sql for sql in made) for name in named)
    script = ScriptDirectory.from_config(configuration())
    assert script.get_current_head() == schema.REVISION


def configuration() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    return config


def test_a_ledger_from_before_x509_is_carried_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def only_the_first(connection: Connection) -> None:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        command.upgrade(config, "0001")

    with monkeypatch.context() as patch:
        patch.setattr(migrations, "upgrade", only_the_first)
        with make(tmp_path / "ledger.db") as ledger, ledger.writing() as connection:
            connection.exec_driver_sql(
                "INSERT INTO entry VALUES (0, X'00', 1, 0, '1001/x', 'd', 'signed', NULL, X'01', X'02', X'03')"
            )
    for _ in range(2):  # the second time there is nothing to do
        with Ledger.open(tmp_path / "ledger.db") as ledger, ledger.reading() as connection:
            assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == schema.REVISION
            kept = connection.exec_driver_sql("SELECT leaf, message, certificate_digest, revocation_number FROM entry")
            assert kept.all() == [(0, b"\3", None, None)]
            assert connection.exec_driver_sql("SELECT count(*) FROM revocation_list").scalar() == 0


def test_durability_is_set_on_every_connection(tmp_path: Path) -> None:
    with make(tmp_path / "ledger.db") as ledger:
        for context in (ledger.reading, ledger.writing):
            with context() as connection:
                for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
                    assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value


def test_a_file_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"precious")
    with pytest.raises(LedgerError, match="none is ever written over"):
        make(path)
    assert path.read_bytes() == b"precious"


def test_a_ledger_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot be made"):
        make(tmp_path / "missing" / "ledger.db")
    with pytest.raises(LedgerError):
        Ledger.create(tmp_path / "ledger.db", bank_fingerprint=BANK, currency=None)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def missing(path: Path) -> None:
    """No file."""


def foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()


def text_file(path: Path) -> None:
    path.write_text("This is a letter to the bank. " * 200)


def newer(path: Path) -> None:
    make(path).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()


def cut(path: Path) -> None:
    make(path).close()
    path.write_bytes(path.read_bytes()[:4096])


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (missing, "There is no ledger at"),
        (foreign, "not a ledger of ours"),
        (text_file, "is not a database, or is damaged"),
        (newer, "written by a newer version"),
        (cut, "is damaged"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_wrong_file_is_refused_with_a_sentence(tmp_path: Path, state: object, sentence: str) -> None:
    path = tmp_path / "ledger.db"
    assert callable(state)
    state(path)
    with pytest.raises(LedgerError, match=sentence) as caught:
        Ledger.open(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith(("home.", "path.", "backup.", "version."))


DAMAGE = [("version_num", value) for value in (b"0002", "0000", "00\x102", "first", 2.5, None)]
DAMAGE += [(column, value) for column in ("bank", "currency", "log") for value in (b"\xff", None)]


@pytest.mark.parametrize(("column", "value"), DAMAGE)
def test_a_damaged_row_is_refused_with_a_sentence(tmp_path: Path, column: str, value: object) -> None:
    """Damage may turn text into bytes, or the version into one that there never was."""
    path = tmp_path / "ledger.db"
    make(path).close()
    make(tmp_path / "honest.db").close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    table = "alembic_version" if column == "version_num" else "ledger"
    if value is None:
        connection.execute(f"DELETE FROM {table}")
    else:
        connection.execute(f"UPDATE {table} SET {column} = ?", (value,))
    connection.commit()
    connection.close()
    with pytest.raises(LedgerError):
        Ledger.open(path)
    Ledger.open(tmp_path / "honest.db").close()


def test_an_error_rolls_the_transaction_back_and_frees_the_lock(bank: Bank) -> None:
    def change_and_fail() -> None:
        with bank.ledger.writing() as connection:
            connection.exec_driver_sql("UPDATE account SET name = 'changed'")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change_and_fail()
    with bank.ledger.writing() as connection:
        assert connection.exec_driver_sql("SELECT name FROM account").scalar() == "The bank"


def test_a_reader_keeps_its_moment_while_others_write(bank: Bank) -> None:
    with bank.ledger.reading() as connection:
        before = connection.exec_driver_sql("SELECT count(*) FROM account").scalar()
        bank.open_accounts(n1001="50.00")
        assert connection.exec_driver_sql("SELECT count(*) FROM account").scalar() == before
    assert bank.count("account") == 2


def test_writers_come_one_at_a_time_also_from_two_ledgers_at_one_place(bank: Bank) -> None:
    second = Ledger.open(bank.place)
    entered = threading.Event()

    def write() -> None:
        with second.writing():
            entered.set()

    with bank.ledger.writing():
        thread = threading.Thread(target=write)
        thread.start()
        assert not entered.wait(0.05)
    assert entered.wait(5)
    thread.join()
    second.close()


def test_a_writer_in_another_process_waits_for_the_lock_file_and_not_for_sqlite(file_bank: Bank) -> None:
    lock = os.open(file_bank.path.with_name("ledger.db.lock"), os.O_RDWR)
    with file_bank.ledger.writing(), pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # free again
    os.close(lock)


def test_a_closed_ledger_says_so(tmp_path: Path) -> None:
    ledger = make(tmp_path / "ledger.db")
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match="closed"), ledger.writing():
        pass
