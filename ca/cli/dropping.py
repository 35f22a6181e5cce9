"""Taking from the desk what should not wait there."""

import time
from pathlib import Path

import click

from ca import choosing, dropping
from ca.authority import Authority
from ca.cli.options import home_option, operator_option, user
from ca.requests import IDENTIFIER_DIGITS
from keyring.console import json_text, with_json


@click.command()
@click.argument("requests", metavar="[REQUEST]...", nargs=-1)
@click.option("--notices", metavar="NUMBER", help="Drop the bank's notices for this customer number.")
@click.option("--reason", required=True, help="Why; it is recorded.")
@operator_option
@with_json
@home_option
def drop(
    requests: tuple[str, ...], notices: str | None, reason: str, operator: str | None, as_json: bool, home: Path
) -> None:
    """Take each REQUEST (its identifier, or its customer number), or notices, from the desk, for a recorded reason.

    Of a request that was confirmed the confirmation is taken back. Its applicant may hand it in again; a key that is
    locked stays locked. What is issued is not dropped but revoked.

    \b
    Example:  ca drop 3f9a --reason "somebody tried to pass for the customer"
              ca drop --notices 1001 --reason "the account was opened by mistake"
    """
    if not requests and notices is None:
        raise click.UsageError("Give what is to be dropped: a REQUEST, or --notices NUMBER.")
    said, dropped = [], []
    with Authority.open(home) as authority:
        now, who = int(time.time()), operator or user()
        # All are looked up first, so that a slip of the pen drops nothing.
        for filed in dict.fromkeys(choosing.filed(authority, each, now) for each in requests):
            was = dropping.drop_request(authority, filed, reason=reason, operator=who, clock=time.time)
            identifier = was.digest[:IDENTIFIER_DIGITS]
            dropped.append({"request": identifier, "number": was.number, "state": was.what})
            said.append(f"Dropped: request {identifier} for the number {was.number}, which was {was.what}.")
        count = 0
        if notices is not None:
            count = dropping.drop_notices(authority, notices, reason=reason, operator=who, clock=time.time)
            said.append(f"Dropped: {count} {'notice' if count == 1 else 'notices'} for the number {notices}.")
    if as_json:
        click.echo(json_text({"requests": dropped, "notices": count}))
    else:
        click.echo("\n".join(said))
