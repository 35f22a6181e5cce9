"""Sending money and finding out what became of it: send, outbox, resume."""

from pathlib import Path

import click

from customer.cli import REFUSED, UNKNOWN
from customer.cli.common import open_home, table, with_letter, with_passphrase, with_stage
from customer.errors import CustomerError, OutcomeUnknown, RefusedByBank
from keyring.console import json_text, with_home, with_json
from keyring.printable import printable
from protocol.stages import Stage

_HOME = with_home("CUSTOMER_HOME")


@click.command(epilog='Example: customer send --to 1002 --amount 25.00 --description "rent"')
@_HOME
@click.option("--to", "creditor", metavar="NUMBER", help="Customer number of the recipient.")
@click.option("--amount", metavar="DECIMAL", help="Such as 25.00.")
@click.option("--description", help="What it is for, for the recipient; at most 140 characters.")
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="CSV",
    help="Many payments in one order: a file (UTF-8) with the columns to,amount,description, named in its first line. "
    "All of them are made, or none.",
)
@click.option("--best-effort", is_flag=True, help="With --file: make each payment that can be made.")
@click.option("--yes", is_flag=True, help="With --file: send without asking (--json never asks).")
@click.option("--currency", metavar="CODE", help="Default: the currency of your account.")
@with_stage
@click.option(
    "--id",
    "identifier",
    metavar="IDENTIFIER",
    help="Transfer identifier; a transfer is posted once under it, however often it is sent. Default: a new one.",
)
@with_letter
@with_passphrase
@click.option("--show-wire", is_flag=True, help="Show, for study, everything that is made, sent and received.")
@with_json
@click.pass_context
def send(
    context: click.Context,
    home: Path,
    creditor: str | None,
    amount: str | None,
    description: str | None,
    file: Path | None,
    best_effort: bool,
    yes: bool,
    currency: str | None,
    stage: str | None,
    identifier: str | None,
    letter: Path | None,
    passphrase_file: Path | None,
    show_wire: bool,
    as_json: bool,
) -> None:
    """Send money, and wait for the bank's signed receipt; many payments at once with --file payments.csv.

    Exit codes: 0 posted, 1 refused by the bank (with --file: all of the payments, or some), 2 nothing was sent, 3
    outcome unknown (`customer resume` finds out).
    """
    _require_whole(creditor, amount, description, file, best_effort=best_effort, yes=yes)
    from customer.cli.show import outcome_facts, outcome_text
    from customer.home import World
    from customer.sending import send as deliver
    from customer.wishes import Wish

    world = None
    if show_wire:
        from customer.cli.watching import printer

        world = World(watch=printer(to_stderr=as_json))
    with open_home(home, letter=letter, passphrase_file=passphrase_file, world=world) as customer:
        currency = currency or customer.config.customer.currency
        chosen = Stage(stage) if stage else None
        try:
            if file:
                from customer.cli import bulk

                wanted = bulk.Wanted(file, currency, best_effort, chosen, identifier)
                outcome = bulk.send(customer, wanted, assured=yes or as_json, as_json=as_json)
            else:
                wish = Wish(str(creditor), str(amount), description or "", currency, chosen, identifier)
                outcome = deliver(customer, wish)
        except OutcomeUnknown as error:
            if as_json:
                click.echo(json_text({"status": "unknown", "transfer_identifier": error.identifier}))
            raise
    click.echo(json_text(outcome_facts(outcome)) if as_json else outcome_text(outcome))
    context.exit(0 if outcome.posted else REFUSED)


def _require_whole(
    creditor: str | None,
    amount: str | None,
    description: str | None,
    file: Path | None,
    *,
    best_effort: bool,
    yes: bool,
) -> None:
    """One payment by its options, or many by a file."""
    if file is not None:
        if (creditor, amount, description) != (None, None, None):
            raise click.UsageError("The payments stand in the file; leave out --to, --amount and --description.")
        return
    for option, value in (("--to", creditor), ("--amount", amount)):
        if value is None:
            raise click.UsageError(f"Missing option '{option}'.")
    if best_effort or yes:
        raise click.UsageError("--best-effort and --yes go with --file.")


@click.command(epilog="Example: customer outbox")
@_HOME
@with_json
def outbox(home: Path, as_json: bool) -> None:
    """List the transfers that were made here, with what is known of each.

    States: sending (under way, or interrupted), unknown (no proven answer yet), unsent (never left), posted, refused.
    """
    from customer.cli.show import order_facts

    with open_home(home) as customer:
        rows = [order_facts(order) for order in customer.store.orders()]
    if as_json:
        click.echo(json_text(rows))
    elif not rows:
        click.echo("The outbox is empty: no transfer was made here yet.")
    else:
        columns = (
            "state",
            "created",
            "to",
            "amount",
            "currency",
            "stage",
            "reason",
            "reference",
            "transfer_identifier",
        )
        for row in rows:
            row["to"] = row["to"] or f"{row['payments']} payments"
        shown = [["-" if row[name] is None else row[name] for name in columns] for row in rows]
        click.echo(table(shown, [name.replace("transfer_", "") for name in columns], right=("amount",)))


@click.command(epilog="Example: customer resume")
@_HOME
@click.option("--lost", is_flag=True, help="Also send again what the bank had decided, and says that it has lost.")
@with_letter
@with_passphrase
@with_json
@click.pass_context
def resume(
    context: click.Context, home: Path, lost: bool, letter: Path | None, passphrase_file: Path | None, as_json: bool
) -> None:
    """Find out what became of transfers whose outcome is unknown; what the bank never got is sent again, unchanged.

    Exit codes: 0 all are known now, 3 some are still unknown.
    """
    from customer.cli.show import outcome_facts, outcome_text, refusal_facts
    from customer.sending import send_again

    results: list[dict[str, object]] = []
    unknown = 0
    with open_home(home, letter=letter, passphrase_file=passphrase_file) as customer:
        gone = customer.store.lost() if lost else frozenset()
        orders = (*customer.store.in_doubt(), *(each for each in customer.store.orders() if each.identifier in gone))
        for order in orders:
            try:
                outcome = send_again(customer, order, lost=lost)
            except CustomerError as error:
                state = "unknown" if isinstance(error, OutcomeUnknown) else "unsent"
                unknown += state == "unknown"
                told = refusal_facts(error) if isinstance(error, RefusedByBank) else {"sentence": str(error)}
                results.append({**told, "transfer_identifier": order.identifier, "status": state})
                if not as_json:
                    click.echo(f"{order.identifier}: {state}. {printable(str(error))}", err=True)
            else:
                results.append(outcome_facts(outcome))
                if not as_json:
                    click.echo(outcome_text(outcome))
    if as_json:
        click.echo(json_text(results))
    elif not orders:
        click.echo("There is nothing to resume: the outcome of every transfer is known.")
    context.exit(UNKNOWN if unknown else 0)
