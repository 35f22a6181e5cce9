"""Letters: whoever holds one can begin, the bank keeps none of its secrets in clear, and none is lost unprinted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bank import accounts, letters
from bank.errors import RecordError
from bank.home import BankHome
from ca.applicant import Desk
from ca.errors import DeskError
from keyring import readout
from keyring.errors import UserIdError
from keyring.opened import Opened
from keyring.verdict import Sealed
from keyring.worker import open_once
from protocol.letter import agreed_password, parse
from protocol.stages import Stage
from protocol.transport import Address
from tests.bank.town import Town, copied_bank


@pytest.fixture
def home(town: Town, short_tmp: Path) -> Iterator[BankHome]:
    home = copied_bank(town, short_tmp)
    yield home
    home.release()


def test_the_letter_carries_what_the_customer_needs_and_the_ledger_none_of_its_secrets(home: BankHome) -> None:
    with home.open_ledger() as ledger:
        made = letters.open_account(home, ledger, number="0042", name="Bob")
        kept = home.customers(ledger).get("0042")
    letter = parse(made.letter)
    assert (letter.customer, letter.name, letter.currency) == ("0042", "Bob", "EUR")
    assert (letter.bank_fingerprint, letter.authority_fingerprint) == (
        home.config.fingerprint,
        home.config.authority_fingerprint,
    )
    assert (len(letter.password.split()), len(letter.caller_code.split())) == (16, 6)
    assert all(line in made.letter for line in readout.lines(home.config.fingerprint))
    assert kept is not None
    assert kept.floor is Stage.PASSWORD
    opened = open_once(home.gnupg, kept.password_sealed, Sealed())
    assert isinstance(opened, Opened)
    assert opened.content == agreed_password(letter.password).reveal()
    in_folder = b"".join(path.read_bytes() for path in home.path.glob("ledger.sqlite*")) + made.notice
    for secret in (letter.password, letter.caller_code, *letter.password.split("\n")):
        assert secret.encode() not in in_folder
    assert letter.password not in repr(made)


def test_no_two_letters_are_alike(home: BankHome) -> None:
    with home.open_ledger() as ledger:
        first, second = (
            parse(letters.open_account(home, ledger, number=number, name="Bob").letter) for number in ("2001", "2002")
        )
    assert first.password != second.password
    assert first.caller_code != second.caller_code


def test_a_letter_that_could_not_be_printed_opens_no_account(home: BankHome) -> None:
    def jam(_: letters.NewAccount) -> None:
        raise OSError("the printer is out of paper")

    with home.open_ledger() as ledger:
        with pytest.raises(OSError, match="paper"):
            letters.open_account(home, ledger, number="2001", name="Bob", deliver=jam)
        assert home.customers(ledger).get("2001") is None
        with pytest.raises(RecordError):
            accounts.get(ledger, "2001")
        printed: list[letters.NewAccount] = []
        made = letters.open_account(home, ledger, number="2001", name="Bob", deliver=printed.append)
        assert printed == [made]
        assert home.customers(ledger).get("2001") is not None


@pytest.mark.parametrize(
    ("number", "name", "error"),
    [
        ("1001", "Alice", RecordError),
        ("0000", "Alice", RecordError),
        ("12345678901234567", "Alice", RecordError),
        ("12a", "Alice", RecordError),
        ("../1", "Alice", RecordError),
        ("2001", "Al\nice", UserIdError),
        ("2001", "", UserIdError),
        ("2001", "Alice\u202e", UserIdError),
        ("2001", "[GNUPG:] Alice", UserIdError),
    ],
)
def test_a_number_or_name_that_will_not_do_prints_no_letter(
    home: BankHome, number: str, name: str, error: type[Exception]
) -> None:
    printed: list[letters.NewAccount] = []
    with home.open_ledger() as ledger, pytest.raises(error) as caught:
        letters.open_account(home, ledger, number=number, name=name, deliver=printed.append)
    assert not printed
    assert str(caught.value).endswith((".", ".,'-&()"))


def test_notices_wait_for_the_desk_and_leave_once_taken(home: BankHome) -> None:
    class Taking(Desk):
        taken: list[bytes]

        def submit_notice(self, message: bytes) -> None:
            if message == b"second" and len(self.taken) == 1:
                raise DeskError("The desk is closed.")
            self.taken.append(message)

    desk = Taking(Address("127.0.0.1", 1))
    desk.taken = []
    assert letters.try_to_deliver(home, desk) is None
    letters.keep_notice(home, "2001", b"first")
    path = letters.keep_notice(home, "2002", b"second")
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert letters.try_to_deliver(home, desk) == "The desk is closed."
    assert [each.name for each in path.parent.iterdir()] == ["2002.pgp"]
    desk.taken.append(b"")
    assert letters.deliver_notices(home, desk) == 1
    assert desk.taken == [b"first", b"", b"second"]
    assert not list(path.parent.iterdir())


def test_a_desk_that_cannot_be_reached_is_a_sentence(home: BankHome) -> None:
    letters.keep_notice(home, "2001", b"notice")
    problem = letters.try_to_deliver(home, Desk(Address("127.0.0.1", 1), timeout_seconds=1.0))
    assert problem is not None
    assert problem.endswith(("?", "."))


def test_a_desk_that_is_busy_is_left_alone_until_later(home: BankHome) -> None:
    """Each notice of many would only be refused; one that is refused for itself does not hold up the others."""

    class Refusing(Desk):
        asked = 0

        def submit_notice(self, message: bytes) -> None:
            self.asked += 1
            raise DeskError("Not now.", again=message == b"second")

    for number, message in (("2001", b"first"), ("2002", b"second"), ("2003", b"third")):
        letters.keep_notice(home, number, message)
    desk = Refusing(Address("127.0.0.1", 1))
    assert letters.try_to_deliver(home, desk) == "Not now."
    assert desk.asked == 2
    assert len(list((home.path / letters.NOTICES).iterdir())) == 3


def test_a_bank_without_a_certificate_keeps_its_notices_for_the_day_of_it(home: BankHome) -> None:
    """The desk takes notices of the certified bank alone, so before that there is nothing to be told."""
    path = letters.keep_notice(home, "2001", b"notice")
    nobody = Desk(Address("127.0.0.1", 1), timeout_seconds=1.0)
    assert letters.try_to_deliver(home, nobody) is not None
    home.certificate_path.unlink()
    assert letters.try_to_deliver(home, nobody) is None
    assert path.exists()
