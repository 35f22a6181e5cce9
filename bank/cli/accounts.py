"""Accounts and money as the operator sees them."""

import time
import uuid
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click
import msgspec

from bank.home import BankHome
from keyring.console import json_text, with_home, with_json
from keyring.printable import printable
from protocol.stages import Stage

if TYPE_CHECKING:
    from bank.accounts import Transfer
    from bank.batch import Submission
    from bank.posting import Outcome
    from bank.storage import Ledger

LINES = 100
_NUMBERS = frozenset({"place", "amount", "payments", "refused"})
"""Columns of `bank transfers` that are aligned on the right."""


@click.command("open-account", epilog="Example: bank open-account --number 1001 --name Alice --letter alice.txt")
@with_home("BANK_HOME")
@click.option(
    "--number", required=True, metavar="DIGITS", help="The customer number, 1 to 16 digits; leading zeros count."
)
@click.option("--name", required=True, help="The customer's name, as it will stand in the customer's key.")
@click.option(
    "--letter",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the letter here, not to the screen.",
)
@click.option(
    "--notice-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the authority's notice to a file to be mailed, in place of sending it to the desk.",
)
def open_account(home: Path, number: str, name: str, letter: Path | None, notice_file: Path | None) -> None:
    """Open an account and print its letter, once, to be handed over.

    The letter carries the agreed password, the fingerprints of bank and authority, and the code by which the authority
    knows the caller; the authority gets a notice of that code. The bank keeps the password under its own key only.
    """
    from bank import letters
    from ca.applicant import Desk
    from protocol.transport import Address

    bank = BankHome.open(home)
    for path in (letter, notice_file):
        if path and path.exists():
            raise click.UsageError(f"There is a file {path} already; name another, so that nothing is overwritten.")

    def deliver(made: letters.NewAccount) -> None:
        kept = notice_file or letters.keep_notice(bank, number, made.notice)
        if notice_file:
            _write_new(notice_file, made.notice)
        try:
            if letter:
                _write_new(letter, made.letter.encode())
            else:
                _print(made.letter)
        except BaseException:
            kept.unlink()  # no account is opened, so the authority must hear of none
            raise

    try:
        with bank.open_ledger() as ledger:
            letters.open_account(bank, ledger, number=number, name=name, deliver=deliver)
    finally:
        bank.release()
    if letter:
        click.echo(f"Account {number} is open. Its letter is in {letter}; hand it over and delete the file.")
    if notice_file:
        click.echo(f"The authority's notice is in {notice_file}; send it to the authority.")
        return
    problem = letters.try_to_deliver(bank, Desk(Address.parse(bank.config.authority_address)))
    if problem:
        click.echo(f"The authority has no notice yet: {printable(problem)} `bank fetch` hands it in later.", err=True)


def _print(letter: str) -> None:
    try:
        click.echo(letter)
    except OSError as error:
        raise click.ClickException(
            f"The letter could not be printed ({error.strerror}), so no account was opened; name a file with --letter."
        ) from None


def _write_new(path: Path, data: bytes) -> None:
    """Write a file that was not there, readable by its owner only; half of one does not stay."""
    path.touch(mode=0o600, exist_ok=False)
    try:
        path.write_bytes(data)
    except BaseException:
        path.unlink()
        raise


@click.command(epilog='Example: bank deposit --to 1001 --amount 100.00 --description "cash"')
@with_home("BANK_HOME")
@with_json
@click.option("--to", "number", required=True, metavar="NUMBER", help="The customer number.")
@click.option("--amount", required=True, metavar="DECIMAL", help="Such as 100.00.")
@click.option("--description", default="Deposit", show_default=True, help="What the statement says.")
@click.option(
    "--id",
    "identifier",
    metavar="IDENTIFIER",
    help="Identifier of this deposit, so that repeating it is safe. Default: a new one.",
)
def deposit(home: Path, as_json: bool, number: str, amount: str, description: str, identifier: str | None) -> None:
    """Pay cash in: from the bank's own account 0000 to a customer's. A running server may go on."""
    from bank import accounts

    _post(home, as_json, accounts.deposit, number, amount, description, identifier)


@click.command(epilog="Example: bank withdraw --from 1001 --amount 20.00")
@with_home("BANK_HOME")
@with_json
@click.option("--from", "number", required=True, metavar="NUMBER", help="The customer number.")
@click.option("--amount", required=True, metavar="DECIMAL", help="Such as 100.00.")
@click.option("--description", default="Withdrawal", show_default=True, help="What the statement says.")
@click.option(
    "--id",
    "identifier",
    metavar="IDENTIFIER",
    help="Identifier of this withdrawal, so that repeating it is safe. Default: a new one.",
)
def withdraw(home: Path, as_json: bool, number: str, amount: str, description: str, identifier: str | None) -> None:
    """Pay cash out: from a customer's account to the bank's own account 0000."""
    from bank import accounts

    _post(home, as_json, accounts.withdrawal, number, amount, description, identifier)


def _outcome(future: Future["Outcome"], identifier: str) -> "Outcome":
    """What was decided. Where nobody can tell, the error says how to repeat it without booking it twice."""
    from bank.errors import LedgerError, Unwritable

    again = f"Repeat it with --id {identifier}: then it is booked once."
    try:
        return future.result()
    except Unwritable:
        raise  # nothing was recorded
    except LedgerError as error:
        raise LedgerError(f"{error} {again}") from error
    except KeyboardInterrupt:
        raise LedgerError(f"It was interrupted; whether it was booked is not known. {again}") from None


class _Make(Protocol):
    def __call__(
        self, ledger: "Ledger", number: str, amount: str, description: str, *, identifier: str, created: str
    ) -> "Submission": ...


def _post(
    home: Path, as_json: bool, make: _Make, number: str, amount: str, description: str, identifier: str | None
) -> None:
    """Post an operator's order through the same path as everyone's, and say what became of it."""
    from bank import accounts
    from bank.posting import Refused
    from protocol.codes import EXPLANATIONS, Status
    from protocol.orders import description_flaw, format_time, identifier_flaw
    from protocol.receipts import decode_entry

    if flaw := (identifier is not None and identifier_flaw(identifier)) or description_flaw(description):
        raise click.UsageError(flaw)
    bank = BankHome.open(home)
    try:
        with bank.open_ledger() as ledger:
            submission = make(
                ledger,
                number,
                amount,
                description,
                identifier=identifier or uuid.uuid4().hex,
                created=format_time(time.time()),
            )
            if identifier:
                submission = accounts.repeated(ledger, submission)
            accounts.require_postable(ledger, submission, int(time.time()))
            signer = bank.signer()
            try:
                with bank.open_posting(ledger, signer, time.time) as posting:
                    outcome = _outcome(posting.submit(submission), submission.order.transfer_identifier)
            finally:
                signer.close()
    finally:
        bank.release()
    if isinstance(outcome, Refused):
        raise click.ClickException(f"{outcome.reason.value}: {outcome.sentence}")
    entry = decode_entry(outcome.entry)
    if as_json:
        click.echo(json_text(msgspec.to_builtins(entry) | {"duplicate": outcome.duplicate, "place": outcome.index}))
    elif entry.status is Status.SETTLED:
        again = " (it had been posted before)" if outcome.duplicate else ""
        click.echo(f"Posted{again}: {entry.amount} {entry.currency} from {entry.debtor} to {entry.creditor}.")
        click.echo(
            f"Identifier {entry.transfer_identifier}, reference {entry.reference}, place {outcome.index} in the log."
        )
    if entry.status is Status.REJECTED and entry.reason:
        if not as_json:
            explanation = EXPLANATIONS[entry.reason]
            click.echo(f"Refused, {entry.reason.value}: {explanation.sentence} (field {entry.field})", err=True)
        raise SystemExit(1)


@click.command(epilog="Example: bank accounts 1001 --status blocked")
@with_home("BANK_HOME")
@with_json
@click.argument("number", required=False)
@click.option("--status", type=click.Choice(["open", "blocked", "closed"]), help="Open, block or close the account.")
@click.option(
    "--floor",
    type=click.Choice([stage.value for stage in Stage]),
    help="Lower the lowest stage that the customer may use; it rises by itself.",
)
def accounts(home: Path, as_json: bool, number: str | None, status: str | None, floor: str | None) -> None:
    """List the accounts, or show one and change it."""
    from tabulate import tabulate

    from bank import accounts as records
    from protocol.money import format_amount

    bank = BankHome.open(home)
    with bank.open_ledger() as ledger:
        customers = bank.customers(ledger)
        if (status or floor) and not number:
            raise click.UsageError("Name the account to change, as in: bank accounts 1001 --status blocked")
        if number and status:
            records.set_status(ledger, number, status)  # type: ignore[arg-type]
        if number and floor:
            customers.lower_floor(number, Stage(floor))
        found = [records.get(ledger, number)] if number else list(records.every(ledger))
        floors = {each.number: each.floor.value for each in customers.every()}
        rows = [
            {
                "number": each.number,
                "name": each.name,
                "balance": format_amount(each.balance_minor, ledger.currency),
                "currency": ledger.currency,
                "status": each.status,
                "floor": floors.get(each.number, ""),
                "opened": time.strftime("%Y-%m-%d", time.gmtime(each.opened_at)),
            }
            for each in found
        ]
    if as_json:
        click.echo(json_text(rows))
        return
    shown = [{name: printable(value) for name, value in row.items()} for row in rows]
    click.echo(tabulate(shown, headers="keys", disable_numparse=True, colalign=("left", "left", "right")))


@click.command(epilog="Example: bank transfers --account 1001")
@with_home("BANK_HOME")
@with_json
@click.option("--account", metavar="NUMBER", help="Only what was booked on this account.")
@click.option("--after", type=click.IntRange(min=-1), default=-1, help="Only entries after this place in the log.")
@click.option("--lines", type=click.IntRange(1, 10_000), default=LINES, show_default=True, help="At most so many.")
def transfers(home: Path, as_json: bool, account: str | None, after: int, lines: int) -> None:
    """List decided orders, refused ones included, in the order of the log."""
    from tabulate import tabulate

    from bank import accounts as records

    with BankHome.open(home).open_ledger() as ledger:
        if account:
            records.get(ledger, account)
        found = records.transfers(ledger, account=account, after=after, lines=lines)
    rows = [_row(each) for each in found]
    if as_json:
        click.echo(json_text(rows))
    elif not rows:
        click.echo("There are no transfers.")
    else:
        shown = [{name: printable(str(value)) for name, value in row.items()} for row in rows]
        aligned = ["right" if name in _NUMBERS else "left" for name in shown[0]]
        click.echo(tabulate(shown, headers="keys", disable_numparse=True, colalign=aligned))
        if len(rows) == lines:
            click.echo(f"There may be more: bank transfers --after {rows[-1]['place']}")


def _row(transfer: "Transfer") -> dict[str, object]:
    """A decision for a script; of a bulk order ``amount`` is its sum, and ``payments`` and ``refused`` are numbers."""
    from protocol.receipts import BulkEntry

    entry = transfer.entry
    return {
        "place": transfer.leaf,
        "booked": entry.booked,
        "debtor": entry.debtor,
        "creditor": "" if isinstance(entry, BulkEntry) else entry.creditor,
        "amount": entry.sum if isinstance(entry, BulkEntry) else entry.amount,
        "status": entry.status.value,
        "reason": entry.reason.value if entry.reason else "",
        "stage": entry.stage,
        "identifier": entry.transfer_identifier,
        "description": transfer.description,
        "payments": entry.count if isinstance(entry, BulkEntry) else "",
        "refused": len(entry.refused) if isinstance(entry, BulkEntry) else "",
    }


@click.command(epilog="Example: bank statement 1001")
@with_home("BANK_HOME")
@with_json
@click.argument("number")
@click.option("--after", type=click.IntRange(min=0), default=0, help="Only bookings after this number.")
@click.option("--lines", type=click.IntRange(1, 10_000), default=LINES, show_default=True, help="At most so many.")
def statement(home: Path, as_json: bool, number: str, after: int, lines: int) -> None:
    """Show the bookings of one account."""
    from tabulate import tabulate

    from bank import accounts as records
    from protocol.messages import description_of
    from protocol.money import format_amount

    with BankHome.open(home).open_ledger() as ledger:
        account = records.get(ledger, number)
        found = records.statement(ledger, number, after, lines)
        balance = format_amount(account.balance_minor, ledger.currency)
        currency = ledger.currency
    if as_json:
        rows = [msgspec.to_builtins(line) for line in found]
        click.echo(json_text({"account": number, "balance": balance, "currency": currency, "lines": rows}))
        return
    click.echo(f"Account {number}, {printable(account.name)}: {balance} {currency}\n")
    if not found:
        click.echo("There are no bookings.")
        return
    table = [
        (
            line.booking,
            line.booked,
            line.counterparty or "-",
            line.amount,
            line.balance,
            printable(description_of(line)),
        )
        for line in found
    ]
    headers = ("booking", "booked", "counterparty", "amount", "balance", "description")
    click.echo(tabulate(table, headers, disable_numparse=True, colalign=("right", "left", "left", "right", "right")))
    if len(found) == lines:
        click.echo(f"There may be more: bank statement {number} --after {found[-1].booking}")


def add_to(group: click.Group) -> None:
    """Make the commands known."""
    for command in (open_account, deposit, withdraw, accounts, transfers, statement):
        group.add_command(command)
