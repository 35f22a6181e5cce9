"""`bank migrate-ledger`: the ledger moves from its file into PostgreSQL."""

from pathlib import Path

import click

from bank.cli.safekeeping import shown_progress
from bank.home import BankHome
from keyring.console import json_text, with_home, with_json


@click.command("migrate-ledger", epilog="Example: bank migrate-ledger --to postgresql://bank@db1.example/bank")
@with_home("BANK_HOME")
@with_json
@click.option("--to", "url", required=True, metavar="URL", help="An empty PostgreSQL database, without a password.")
def migrate_ledger(home: Path, as_json: bool, url: str) -> None:
    """Move the ledger from its file into a PostgreSQL database, with all receipts.

    The server must be stopped. What has arrived is checked as a backup is, and then bank.toml names the database. If it
    is interrupted, the bank goes on with its file, and the same command goes on where it stopped.
    """
    from bank.moving import move
    from bank.places import Database, require_no_password

    require_no_password(url)
    bank = BankHome.open(home)
    place = Database(url, home)
    try:
        with shown_progress(as_json) as progress:
            moved = move(bank, place, progress)
    finally:
        bank.release()
    if as_json:
        facts = {"entries": moved.entries, "bookings": moved.bookings, "accounts": moved.accounts}
        click.echo(json_text({"ledger": place.shown, **facts}))
        return
    click.echo(
        f"The ledger lies in {place.shown} now: {moved.entries} log entries, {moved.bookings} bookings, "
        f"{moved.accounts} accounts. All of it was checked."
    )
    click.echo("The file ledger.sqlite takes nothing more; keep it as long as you would keep a backup.")
    click.echo("Next: bank serve")


def add_to(group: click.Group) -> None:
    """Make the command known."""
    group.add_command(migrate_ledger)
