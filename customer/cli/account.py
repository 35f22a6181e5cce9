"""Looking at the account: balance, statement."""

from pathlib import Path

import click

from customer.cli.common import open_home, stage_of, table, with_letter, with_passphrase, with_stage
from keyring.console import json_text, with_home, with_json
from keyring.printable import printable

_HOME = with_home("CUSTOMER_HOME")


@click.command(epilog="Example: customer balance")
@_HOME
@with_stage
@with_letter
@with_passphrase
@with_json
def balance(home: Path, stage: str | None, letter: Path | None, passphrase_file: Path | None, as_json: bool) -> None:
    """Show the booked balance of your account."""
    from customer import looking

    with open_home(home, letter=letter, passphrase_file=passphrase_file) as customer:
        found = looking.balance(customer, stage_of(customer, stage))
    if as_json:
        facts = {"customer": found.customer, "balance": found.balance, "currency": found.currency, "time": found.time}
        click.echo(json_text(facts))
    else:
        click.echo(f"{printable(found.balance)} {printable(found.currency)}  (customer {found.customer}, {found.time})")


@click.command(epilog="Example: customer statement --after 120")
@_HOME
@click.option(
    "--after", type=click.IntRange(min=0), default=0, show_default=True, help="Show only what follows this booking."
)
@with_stage
@with_letter
@with_passphrase
@with_json
def statement(
    home: Path, after: int, stage: str | None, letter: Path | None, passphrase_file: Path | None, as_json: bool
) -> None:
    """List the bookings of your account, oldest first; looking changes nothing."""
    from customer import looking
    from protocol.messages import description_of

    with open_home(home, letter=letter, passphrase_file=passphrase_file) as customer:
        found = looking.statement(customer, stage_of(customer, stage), after)
    columns = (
        "booking",
        "booked",
        "counterparty",
        "amount",
        "balance",
        "description",
        "reference",
        "transfer_identifier",
    )
    rows = [{name: getattr(line, name) for name in (*columns, "payment", "payments")} for line in found.lines]
    if as_json:
        facts = {
            "customer": found.customer,
            "currency": found.currency,
            "balance": found.balance,
            "time": found.time,
            "lines": rows,
            "more": found.more,
        }
        click.echo(json_text(facts))
        return
    if rows:
        for row, line in zip(rows, found.lines, strict=True):
            row["description"] = description_of(line)
        shown = [["" if row[name] is None else row[name] for name in columns] for row in rows]
        headers = [name.replace("transfer_", "") for name in columns]
        click.echo(table(shown, headers, right=("booking", "amount", "balance")))
    else:
        click.echo(f"There are no bookings after number {after}." if after else "There are no bookings yet.")
    click.echo(f"\nBalance: {printable(found.balance)} {printable(found.currency)}, {found.time}")
    if found.more:
        click.echo(f"More follow: customer statement --after {found.lines[-1].booking}")
