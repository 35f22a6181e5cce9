"""The operator's commands: each says in a sentence what it did or what to do, and destroys nothing of others."""

import json
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from bank import journal
from bank.cli import accounts, certificate, commands, records, serve, setup
from bank.errors import LedgerError
from bank.heads import Heads
from bank.home import BankHome
from ca.requests import open_request
from keyring import keys, readout, unfinished
from keyring.errors import EngineError
from protocol.letter import parse
from protocol.stages import Stage
from tests.bank.town import Town, copied_bank
from tests.conftest import gnupg_processes_below

Run = Callable[..., Result]

for module in (setup, certificate, accounts, serve, records):
    module.add_to(commands)


def call(home: Path, *arguments: str) -> Result:
    """Run a command; whatever goes wrong, nobody is shown a traceback."""
    result = CliRunner().invoke(commands, [*arguments, "--home", str(home)], prog_name="bank")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def refused(home: Path, *arguments: str) -> str:
    """What a command that fails says: one sentence or two on standard error."""
    result = call(home, *arguments)
    assert result.exit_code in (1, 2), result.output
    said = result.stderr.strip()
    assert said.endswith((".", "?", "blocked")), said
    return said


def done(home: Path, *arguments: str) -> str:
    result = call(home, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def bank(town: Town, short_tmp: Path) -> Iterator[BankHome]:
    home = copied_bank(town, short_tmp)
    yield home
    home.gnupg.stop()


@pytest.fixture
def home(bank: BankHome) -> Path:
    return bank.path


# Setting up

INIT = ("init", "--name", "Example Bank", "--currency", "EUR")


def test_init_makes_a_closed_folder_and_names_the_next_step(town: Town, short_tmp: Path) -> None:
    words = " ".join(readout.words(town.authority_fingerprint))
    said = done(short_tmp / "new", *INIT, "--authority-fingerprint", words)
    bank = BankHome.open(short_tmp / "new")
    assert bank.config.authority_fingerprint == town.authority_fingerprint
    assert bank.config.minimum_stage is Stage.CERTIFIED
    assert bank.path.stat().st_mode & 0o777 == 0o700
    assert readout.hex_groups(bank.config.fingerprint) in said
    assert said.endswith("Next: bank request\n")
    assert not (bank.path / unfinished.MARK).exists()
    assert "already" in refused(bank.path, *INIT, "--authority-fingerprint", words)
    assert BankHome.open(bank.path).config == bank.config
    status = json.loads(done(bank.path, "status", "--json"))
    assert (status["certificate"], status["next"], status["serving"]) == ("none", "bank request", False)
    assert "no certificate yet" in refused(bank.path, "serve")


def test_init_never_begins_in_the_home_of_another(town: Town, short_tmp: Path) -> None:
    """Else it would clear away their gnupg folder, and with it their private key."""
    theirs = short_tmp / "customer"
    (theirs / "gnupg").mkdir(parents=True, mode=0o700)
    (theirs / "gnupg" / "private").write_text("key")
    assert "not empty" in refused(theirs, *INIT, "--authority-fingerprint", town.authority_fingerprint)
    assert (theirs / "gnupg" / "private").read_text() == "key"


def test_an_init_that_was_interrupted_is_begun_anew(
    town: Town, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = short_tmp / "new"
    arguments = (*INIT, "--authority-fingerprint", town.authority_fingerprint)
    with monkeypatch.context() as patch:
        patch.setattr(keys, "new_bank_key", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert CliRunner().invoke(commands, [*arguments, "--home", str(home)]).exit_code != 0
    assert not (home / "bank.toml").exists()
    done(home, *arguments)
    assert BankHome.open(home).config.name == "Example Bank"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--name", "B\nank"), "cannot stand in a name"),
        (("--currency", "euro"), "currency"),
        (("--currency", "QQQ"), "currency"),
        (("--listen", "nowhere"), "listen"),
        (("--authority", "nowhere"), "authority_address"),
        (("--authority-fingerprint", "aardvark"), "20 are needed"),
    ],
)
def test_init_with_a_bad_value_says_which(town: Town, short_tmp: Path, arguments: tuple[str, ...], said: str) -> None:
    home = short_tmp / "new"
    result = call(home, *INIT, "--authority-fingerprint", town.authority_fingerprint, *arguments)
    assert result.exit_code in (1, 2)
    assert said in result.stderr
    assert not (home / "bank.toml").exists()
    done(home, *INIT, "--authority-fingerprint", town.authority_fingerprint)  # the right ones, in the same folder


def test_fingerprint_and_status_speak_json(town: Town, home: Path) -> None:
    assert json.loads(done(home, "fingerprint", "--json"))["fingerprint"] == town.bank_fingerprint
    shown = json.loads(done(home, "fingerprint", "--authority", "--json"))
    assert shown == {
        "fingerprint": town.authority_fingerprint,
        "words": list(readout.words(town.authority_fingerprint)),
        "digits": readout.digits(town.authority_fingerprint),
    }
    assert readout.lines(town.bank_fingerprint)[0] in done(home, "fingerprint")
    status = json.loads(done(home, "status", "--json"))
    assert status["accounts"] == 3
    assert status["certificate"].startswith("valid until")
    assert status["next"] == "bank serve"
    assert "minimum stage" in done(home, "status")


def test_the_fingerprint_is_shown_in_digits_and_as_a_qr_code(town: Town, home: Path, short_tmp: Path) -> None:
    assert readout.parse(done(home, "fingerprint", "--digits")) == town.bank_fingerprint
    picture = short_tmp / "bank.svg"
    shown = done(home, "fingerprint", "--authority", "--qr", "--qr-file", str(picture))
    assert readout.qr_text(town.authority_fingerprint) in shown
    assert readout.qr_text(town.bank_fingerprint) not in shown
    assert b"<svg" in picture.read_bytes()


def test_a_repeated_request_asks_for_the_same(home: Path, short_tmp: Path) -> None:
    """It is made anew each time, since one that was locked on the telephone must not come back; the key is the same."""
    done(home, "request", "--out", str(short_tmp / "one"))
    done(home, "request", "--out", str(short_tmp / "two"))
    one, two = (open_request((short_tmp / name).read_bytes()).content for name in ("one", "two"))
    assert (one.fingerprint, one.role, one.number, one.name) == (two.fingerprint, two.role, two.number, two.name)
    assert "No such file or directory" in refused(home, "request", "--out", str(short_tmp / "no" / "file"))
    assert "desk" in refused(home, "request")  # which nobody serves here
    assert "desk" in refused(home, "fetch")


@pytest.mark.parametrize(
    "arguments",
    [("status",), ("serve",), ("accounts",), ("audit",), ("deposit", "--to", "1001", "--amount", "1"), ("request",)],
)
def test_without_a_bank_each_command_says_how_to_make_one(short_tmp: Path, arguments: tuple[str, ...]) -> None:
    assert "bank init" in refused(short_tmp / "none", *arguments)


# Accounts and money


def test_a_letter_is_written_for_its_owner_only_and_never_over_a_file(home: Path, short_tmp: Path) -> None:
    letter, notice = short_tmp / "letter", short_tmp / "notice"
    opened = ("open-account", "--number", "2001", "--name", "Bob", "--notice-file", str(notice))
    said = done(home, *opened, "--letter", str(letter))
    assert letter.stat().st_mode & 0o777 == 0o600
    assert parse(letter.read_text()).customer == "2001"
    assert parse(letter.read_text()).password not in said
    before = letter.read_text()
    assert "already" in refused(home, *opened, "--letter", str(letter))
    assert letter.read_text() == before


def test_an_account_whose_letter_cannot_be_written_is_not_opened(home: Path, short_tmp: Path) -> None:
    opened = ("open-account", "--number", "2001", "--name", "Bob")
    said = refused(home, *opened, "--letter", str(short_tmp / "no" / "letter"))
    assert "No such file or directory" in said
    assert "2001" not in {each["number"] for each in json.loads(done(home, "accounts", "--json"))}
    result = call(home, *opened)  # to the screen; the desk has no notice, which is said and is no failure
    assert result.exit_code == 0
    assert parse(result.stdout).customer == "2001"
    assert "`bank fetch` hands it in later." in result.stderr
    assert (home / "notices" / "2001.pgp").exists()


def test_a_letter_that_cannot_be_printed_opens_no_account_and_leaves_no_notice(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = click.echo

    def full(message: object = None, **options: Any) -> None:
        if "Agreed password" in str(message):
            raise OSError(28, "No space left on device")
        honest(message, **options)

    monkeypatch.setattr(click, "echo", full)
    said = refused(home, "open-account", "--number", "2001", "--name", "Bob")
    assert "no account was opened" in said
    assert "2001" not in done(home, "accounts")
    assert not list(home.glob("notices/*"))


def test_money_comes_and_goes_through_the_log_and_a_repeated_order_is_posted_once(home: Path) -> None:
    deposit = ("deposit", "--to", "1002", "--amount", "5.00", "--id", "cash-2")
    assert "Posted: 5.00 EUR from 0000 to 1002." in done(home, *deposit)
    assert "it had been posted before" in done(home, *deposit)
    assert "DU04" in refused(home, *deposit[:4], "6.00", *deposit[5:])
    done(home, "withdraw", "--from", "1002", "--amount", "2.00")
    entry = json.loads(done(home, "deposit", "--to", "1002", "--amount", "1.00", "--json"))
    assert (entry["status"], entry["duplicate"]) == ("ACSC", False)
    statement = json.loads(done(home, "statement", "1002", "--json"))
    assert (statement["balance"], len(statement["lines"])) == ("4.00", 3)
    assert "4.00 EUR" in done(home, "statement", "1002")
    assert "There may be more" in done(home, "statement", "1002", "--lines", "1")
    assert "There may be more" in done(home, "transfers", "--lines", "1")
    assert "There are no bookings." in done(home, "statement", "1003")
    assert "All is in order." in done(home, "audit")


@pytest.mark.parametrize("command", [("deposit", "--to"), ("withdraw", "--from")])
def test_money_of_which_nobody_can_tell_is_booked_once_by_the_command_that_the_error_names(
    home: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, str]
) -> None:
    def fail(*_: object) -> None:
        raise EngineError("The agent is gone.")

    done(home, "deposit", "--to", "1002", "--amount", "5.00")
    paid = (*command, "1002", "--amount", "3.00")
    with monkeypatch.context() as patch:
        patch.setattr(Heads, "sign", fail)
        found = re.search("Repeat it with --id ([0-9a-f]{32}): ", refused(home, *paid))
    assert found
    assert "it had been posted before" in done(home, *paid, "--id", found[1])
    balance = "8.00" if command[0] == "deposit" else "2.00"
    assert json.loads(done(home, "statement", "1002", "--json"))["balance"] == balance


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("withdraw", "--from", "1002", "--amount", "1.00"), "AM04"),
        (("deposit", "--to", "4444", "--amount", "1.00"), "AC03"),
        (("deposit", "--to", "1002", "--amount", "1e3"), "AM12"),
        (("deposit", "--to", "1002", "--amount", "-1"), "AM12"),
        (("deposit", "--to", "1002", "--amount", "0.00"), "AM01"),
        (("deposit", "--to", "1002", "--amount", "1.00", "--id", "a b"), "(--id)"),
        (("deposit", "--to", "1002", "--amount", "1.00", "--description", "x\x1b[2J"), "unprintable"),
        (("deposit", "--to", "1002", "--amount", "1.00", "--description", "x" * 141), "description"),
        (("statement", "4444"), "There is no account"),
        (("accounts", "4444"), "There is no account"),
        (("accounts", "4444", "--floor", "session"), "There is no customer"),
        (("accounts", "1002", "--floor", "certified"), "is not below it"),
        (("accounts", "1001", "--status", "closed"), "pay it out"),
        (("accounts", "0000", "--status", "blocked"), "stays open"),
        (("accounts", "--status", "blocked"), "Name the account"),
        (("evidence", "none", "--debtor", "1001", "--out", "nowhere"), "has no transfer none"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(home: Path, arguments: tuple[str, ...], said: str) -> None:
    result = call(home, *arguments)
    assert result.exit_code in (1, 2)
    assert said in result.stderr
    assert "\x1b" not in result.stderr
    assert "Traceback" not in result.output


def test_an_account_is_blocked_and_a_floor_lowered(bank: BankHome) -> None:
    with bank.open_ledger() as ledger:
        bank.customers(ledger).raise_floor("1001", Stage.CERTIFIED)
    shown = json.loads(done(bank.path, "accounts", "1001", "--floor", "signed", "--status", "blocked", "--json"))
    assert [(each["floor"], each["status"]) for each in shown] == [("signed", "blocked")]
    assert "AC06" in call(bank.path, "withdraw", "--from", "1001", "--amount", "1.00").stderr
    assert "blocked" in done(bank.path, "accounts")


def test_a_name_in_the_ledger_cannot_steer_the_terminal(bank: BankHome) -> None:
    with bank.open_ledger() as ledger, ledger.writing() as connection:
        connection.exec_driver_sql("UPDATE account SET name = 'A\x1b[2Jlice' WHERE number = '1002'")
    for command in (("accounts",), ("statement", "1002"), ("accounts", "--json")):
        assert "\x1b" not in done(bank.path, *command)


def test_an_audit_with_findings_names_the_row_and_fails(home: Path) -> None:
    assert json.loads(done(home, "audit", "--json"))["findings"] == []
    (home / "newest-head.pgp").write_bytes(b"not signed")
    result = call(home, "audit")
    assert result.exit_code == 1
    assert "newest-head.pgp" in result.stderr


def test_a_log_that_cannot_be_written_is_said(home: Path, short_tmp: Path) -> None:
    handlers = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        assert "No such file or directory" in refused(home, "serve", "--log-file", str(short_tmp / "no" / "log"))
        assert "is not an address" in refused(home, "serve", "--listen", "nowhere")
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)
        journal.LOGGER.handlers.clear()
        journal.LOGGER.propagate = True


def test_commands_leave_no_agent_behind(home: Path) -> None:
    done(home, "deposit", "--to", "1002", "--amount", "1.00")
    assert not gnupg_processes_below(home)


def test_an_interrupted_deposit_names_what_it_is_repeated_with() -> None:
    future: Future[Any] = Future()
    future.set_exception(KeyboardInterrupt())
    with pytest.raises(LedgerError, match=r"not known\. Repeat it with --id d-1: then it is booked once"):
        accounts._outcome(future, "d-1")
