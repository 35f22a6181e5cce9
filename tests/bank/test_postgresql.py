"""What only a ledger in PostgreSQL can meet: other servers, lost connections, other hosts, settings, passwords."""

import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import psycopg
import pytest

from bank import accounts, config
from bank.audit import audit
from bank.beginning import OldHead, begin
from bank.errors import ConfigurationError, HistoryLost, LedgerError, RecordError
from bank.heads import head_file
from bank.places import Database, has_password, without_password
from bank.storage import Ledger
from protocol.codes import Status
from tests.bank.ledgers import BANK, DEADLINE_SECONDS, Bank, entry_of, receipt_of
from tests.bank.tampering import tamper
from tests.bank.test_audit import message_fits
from tests.bank.test_concurrency import in_threads
from tests.bank.test_config import GOOD
from tests.postgres import QUICK, Databases, cluster


def beside(bank: Bank, folder: Path) -> Bank:
    """Another server of the same bank on the same database, with a folder of its own."""
    folder.mkdir()
    if head_file(bank.ledger).exists():
        (folder / "newest-head.pgp").write_bytes(head_file(bank.ledger).read_bytes())
    return Bank(folder, bank.signer, bank.clock, url=bank.url)


# Several servers


def test_trial_09_the_same_orders_at_two_servers_at_once_are_posted_once(database_bank: Bank, tmp_path: Path) -> None:
    """Debtors and creditors cross, so that both wait for each other's accounts; nobody is in a deadlock."""
    one = database_bank
    one.open_accounts(n1001="50.00", n1002="50.00", n1003="50.00")
    two = beside(one, tmp_path / "two")
    numbers = ("1001", "1002", "1003")
    orders = [
        one.order(numbers[each % 3], numbers[(each + 1 + each % 2) % 3], "0.10", f"same-{each}") for each in range(40)
    ]
    entries: dict[tuple[int, int], tuple[bytes, bool]] = {}

    def send(server: int) -> None:
        futures = [(place, (one, two)[server % 2].submit(order)) for place, order in enumerate(orders)]
        for place, future in futures:
            receipt = receipt_of(future.result(DEADLINE_SECONDS))
            entries[place, server] = receipt.entry, receipt.duplicate

    in_threads(send, 4)
    for place in range(len(orders)):
        found = [entries[place, server] for server in range(4)]
        assert len({entry for entry, _ in found}) == 1
        assert [duplicate for _, duplicate in found].count(False) == 1
    assert one.count("entry") == 3 + len(orders)
    assert sum(one.balances().values()) == 0
    two.close()
    one.posting.stop()
    assert audit(one.ledger, verify_order=message_fits, verify_head=one.signer.verify) == ()


def test_servers_that_share_no_account_still_append_to_one_log(database_bank: Bank, tmp_path: Path) -> None:
    """Only the lock of the log keeps them apart."""
    one = database_bank
    one.open_accounts(n1001="50.00", n1002="0", n1003="50.00", n1004="0")
    two = beside(one, tmp_path / "two")

    def send(server: int) -> None:
        bank, debtor, creditor = ((one, "1001", "1002"), (two, "1003", "1004"))[server]
        for _ in range(60):
            bank.send(debtor, creditor, "0.10", f"{server}-{next(bank.identifiers)}")

    in_threads(send, 2)
    assert one.balances() == {"0000": -10000, "1001": 4400, "1002": 600, "1003": 4400, "1004": 600}
    two.close()
    one.posting.stop()
    assert one.count("entry") == 2 + 120
    assert audit(one.ledger, verify_order=message_fits, verify_head=one.signer.verify) == ()


def test_an_account_is_not_closed_while_money_is_on_its_way(database_bank: Bank) -> None:
    bank = database_bank
    bank.open_accounts(n1001="50.00", n1002="0")
    refused: list[str] = []

    def close() -> None:
        try:
            accounts.set_status(bank.ledger, "1002", "closed")
        except RecordError as error:
            refused.append(str(error))

    bank.posting.stop()
    bank.start()  # its newest head is stored: what it waits for next is the order's
    with bank.ledger.writing():  # the posting has locked the accounts, and waits for the log
        sent = bank.submit(bank.order("1001", "1002", "1"))
        await_waiting(bank, 1)
        closing = threading.Thread(target=close)
        closing.start()
        await_waiting(bank, 2)
    assert entry_of(sent.result(DEADLINE_SECONDS)).status == Status.SETTLED
    closing.join(DEADLINE_SECONDS)
    assert "still holds 1.00 EUR" in refused[0]


def await_waiting(bank: Bank, sessions: int) -> None:
    """Until so many sessions wait for a lock."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    while time.monotonic() < deadline:
        with bank.ledger.reading() as connection:
            if connection.exec_driver_sql(query).scalar_one() >= sessions:
                return
        time.sleep(0.01)
    raise AssertionError("Nobody waits.")


def test_a_log_that_another_server_has_begun_is_noticed(database_bank: Bank, tmp_path: Path) -> None:
    one = database_bank
    one.open_accounts(n1001="50.00", n1002="0")
    old = OldHead(one.head(), one.posting.head(None)[0])
    with Ledger.open(Database(one.url, tmp_path)) as other:
        begin(other, old, clock=one.clock, random=lambda count: b"n" * count)
    with pytest.raises(LedgerError, match="Another log was begun"):
        one.post(one.order("1001", "1002", "1"))


# Lost connections


def test_a_server_goes_on_by_itself_when_its_database_has_been_away(tmp_path: Path) -> None:
    with cluster(QUICK, tcp=True) as server:
        url = Databases(server.url()).new()
        place = Database(url, tmp_path)
        Ledger.create(place, bank_fingerprint=BANK, currency="EUR").close()
        bank = Bank(tmp_path, url=url.replace("127.0.0.1", "127.0.0.1:1,127.0.0.1", 1))  # nobody is at the first host
        bank.open_accounts(n1001="50.00", n1002="0")
        server.kill()
        sent = bank.submit(bank.order("1001", "1002", "1"))
        server.start()
        assert entry_of(sent.result(DEADLINE_SECONDS)).status == Status.SETTLED
        server.stop()
        server.start()
        assert accounts.get(bank.ledger, "1002").balance_minor == 100
        assert bank.prove(receipt_of(bank.post(bank.order("1001", "1002", "1")))).status == Status.SETTLED
        server.stop()
        with pytest.raises(LedgerError, match="cannot be reached"):
            Ledger.open(place)
        server.start()
        bank.close()


def lose(bank: Bank) -> None:
    """What a server finds after a failover to a standby that was behind."""
    tamper(
        bank,
        "DELETE FROM head WHERE size > 2",
        "DELETE FROM booking WHERE leaf > 1",
        "DELETE FROM entry WHERE leaf > 1",
        "UPDATE account SET balance_minor = CASE number WHEN '1001' THEN 4900 ELSE 100 END WHERE kind = 'customer'",
    )


@pytest.mark.parametrize("others", [0, 6])
def test_a_database_that_has_lost_receipted_entries_is_not_continued(
    database_bank: Bank, tmp_path: Path, others: int
) -> None:
    """Also if another server, which did not know them, has appended as many since."""
    bank = database_bank
    bank.open_accounts(n1001="50.00", n1002="0")
    bank.send("1001", "1002", "1")
    early = beside(bank, tmp_path / "two")
    for _ in range(3):
        bank.send("1001", "1002", "1")
    early.posting.stop()
    lose(bank)
    if others:
        early.start()
        for number in range(others):
            early.send("1001", "1002", "0.01", f"other-{number}")
    bank.ledger._engine.losses += 1  # as it is counted when a connection is lost, which a failover always does
    with pytest.raises(HistoryLost):
        bank.post(bank.order("1001", "1002", "1"))
    early.close()


def test_a_lost_connection_alone_is_no_reason_to_stop(database_bank: Bank) -> None:
    """The honest twin: the history is looked at again, and it is the same."""
    bank = database_bank
    bank.open_accounts(n1001="50.00", n1002="0")
    for _ in range(3):
        bank.ledger._engine.losses += 1
        assert bank.send("1001", "1002", "1").status == Status.SETTLED


def test_a_commit_whose_wait_for_the_standby_was_broken_off_is_not_taken_for_done(tmp_path: Path) -> None:
    with cluster(QUICK) as server:
        url = Databases(server.url()).new()
        Ledger.create(Database(url, tmp_path), bank_fingerprint=BANK, currency="EUR").close()
        bank = Bank(tmp_path, url=url)
        bank.open_accounts(n1001="50.00", n1002="0")
        server.psql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
        sent = bank.submit(bank.order("1001", "1002", "1"))
        cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        for _ in range(2):  # the first time it is the commit; then the bank looks, and waits again
            await_told(server.psql, cancel, "t")
        assert not sent.done()
        server.psql("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
        receipt = receipt_of(sent.result(DEADLINE_SECONDS))
        assert not receipt.duplicate
        assert bank.balances()["1002"] == 100
        bank.close()


def await_told(psql: object, statement: str, answer: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    assert callable(psql)
    while psql(statement) != answer:
        assert time.monotonic() < deadline
        time.sleep(0.02)


# Settings


def test_commits_are_waited_for_whatever_the_database_is_set_to(database_bank: Bank) -> None:
    name = urlsplit(database_bank.url).path[1:]
    with psycopg.connect(database_bank.url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off".encode())
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'".encode())
    with Ledger.open(database_bank.place) as ledger:
        for context, level in ((ledger.reading, "repeatable read"), (ledger.writing, "read committed")):
            with context() as connection:
                assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
                assert connection.exec_driver_sql("SHOW transaction_isolation").scalar() == level
        warned = any("fsync = off" in each for each in ledger.warnings())
        with ledger.reading() as connection:
            assert warned == (connection.exec_driver_sql("SHOW fsync").scalar() == "off")


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "UTF8"])
def test_names_are_kept_whatever_the_environment_says_of_encodings(
    ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", encoding)
    with Ledger.open(Database(ledger_url, tmp_path)) as ledger:
        accounts.open_account(ledger, "1001", "Zoë Łucja 李", 0)
        assert accounts.get(ledger, "1001").name == "Zoë Łucja 李"


def test_tables_of_others_are_never_written_over(database_url: str, tmp_path: Path) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE account (precious text)")
    with pytest.raises(LedgerError, match=r"already \(account\)"):
        Ledger.create(Database(database_url, tmp_path), bank_fingerprint=BANK, currency="EUR")
    with pytest.raises(LedgerError, match="not a ledger of ours"):
        Ledger.open(Database(database_url, tmp_path))


def test_a_database_that_would_not_keep_every_name_is_refused(databases: Databases, tmp_path: Path) -> None:
    url = databases.new(options="ENCODING 'SQL_ASCII' LOCALE 'C'")
    with pytest.raises(LedgerError, match="the encoding SQL_ASCII; make it with"):
        Ledger.create(Database(url, tmp_path), bank_fingerprint=BANK, currency="EUR")
    databases.drop(url)
    url = databases.new(options="ENCODING 'UTF8' LOCALE 'C'")
    Ledger.create(Database(url, tmp_path), bank_fingerprint=BANK, currency="EUR").close()
    databases.drop(url)


def test_a_copy_is_a_file_with_all_that_was_committed(database_bank: Bank, tmp_path: Path) -> None:
    bank = database_bank
    bank.open_accounts(n1001="50.00", n1002="0")
    for _ in range(5):
        bank.send("1001", "1002", "1")
    told: list[tuple[int, int]] = []
    bank.ledger.copy_to(tmp_path / "copy.sqlite", lambda done, total: told.append((done, total)))
    bank.send("1001", "1002", "1")
    bank.posting.stop()
    assert told[-1][0] == told[-1][1] > 15
    assert (tmp_path / "copy.sqlite").stat().st_mode & 0o777 == 0o600
    with Ledger.open(tmp_path / "copy.sqlite") as copy:
        assert (copy.bank, copy.currency, copy.log) == (bank.ledger.bank, bank.ledger.currency, bank.ledger.log)
        assert {each.number: each.balance_minor for each in accounts.every(copy)}["1002"] == 500
        found = audit(copy, verify_order=message_fits, verify_head=bank.signer.verify)
        # The bank has gone on since; all else is in order.
        assert [each.row for each in found] == ["file newest-head.pgp"]


# Passwords

SECRET = "correct-horse"
WITH_PASSWORD = (
    f"postgresql://bank:{SECRET}@db1.example:5432,db2.example/bank?sslmode=require",
    f"postgresql://db1.example/bank?password={SECRET}&sslmode=require",
    f"postgres://bank@/bank?host=%2Frun&sslpassword={SECRET}",
    f"postgresql://db1.example/bank?sslmode=require&pass%77ord={SECRET}",
    f"postgresql://db1.example/bank?oauth_client_secret={SECRET}&sslmode=require",
    f"postgresql://db1.example/bank?scram_client_key={SECRET}&scram_server_key={SECRET}&sslmode=require",
)


@pytest.mark.parametrize("url", WITH_PASSWORD)
def test_a_password_is_not_shown(url: str, tmp_path: Path) -> None:
    assert has_password(url)
    shown = without_password(url)
    assert SECRET not in shown + repr(Database(url, tmp_path)) + str(Database(url, tmp_path).shown)
    assert not has_password(shown)
    assert shown.endswith(("bank?sslmode=require", "bank?host=%2Frun"))


@pytest.mark.parametrize(
    "url", ["postgresql://bank@h/bank", "postgresql:///bank?host=/run", "postgresql://h1,[::1]:7/b"]
)
def test_a_url_without_a_password_is_shown_as_it_is(url: str) -> None:
    assert not has_password(url)
    assert without_password(url) == url


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql//bank:{SECRET}@h/b",
        f"postgresql://bank:{SECRET}/x@h/b",
        f"postgresql://bank:{SECRET}@h@i/b",
        f"postgresql://bank:{SECRET} @h/b",
        f"postgresql://bank:{SECRET}@h:port/b",
        f"mysql://bank:{SECRET}@h/b",
        f"postgresql://bank:{SECRET}@h/b?nonsense=1",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_and_not_repeated(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Ledger.open(Database(url, tmp_path))
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_errors_do_not_show_the_password(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot be reached") as caught:
        Ledger.open(Database(f"postgresql://bank:{SECRET}@127.0.0.1:1/bank", tmp_path))
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in f"{error!s}{error!r}"
        error = error.__cause__


def test_bank_toml_with_a_password_is_closed_to_others(tmp_path: Path) -> None:
    made = msgspec.structs.replace(GOOD, ledger=WITH_PASSWORD[0])
    config.save(tmp_path, made)
    assert config.load(tmp_path) == made
    (tmp_path / "bank.toml").chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        config.load(tmp_path)
    config.save(tmp_path, msgspec.structs.replace(GOOD, ledger=without_password(WITH_PASSWORD[0])))
    (tmp_path / "bank.toml").chmod(0o640)
    assert not has_password(config.load(tmp_path).ledger)
    (tmp_path / "bank.toml").write_text((tmp_path / "bank.toml").read_text().replace("postgresql://", "postgresql:/"))
    with pytest.raises(ConfigurationError, match="postgresql://user@host/database"):
        config.load(tmp_path)
