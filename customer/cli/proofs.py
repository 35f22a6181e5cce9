"""Proofs for oneself and for others: evidence, verify."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from customer.cli.common import open_home, stage_of, table, with_letter, with_passphrase, with_stage
from keyring.console import json_text, with_home, with_json
from keyring.printable import counted

if TYPE_CHECKING:
    from customer import verifying

_HOME = with_home("CUSTOMER_HOME")


@click.command(epilog="Example: customer evidence 4f1c… --out evidence")
@_HOME
@click.argument("identifier")
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="A new or empty folder.",
)
@with_stage
@with_letter
@with_passphrase
@with_json
def evidence(
    home: Path,
    identifier: str,
    out: Path,
    stage: str | None,
    letter: Path | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Get a folder that proves a transfer to anyone with stock gpg; VERIFY.md in it has the commands."""
    from customer import evidence as folders

    with open_home(home, letter=letter, passphrase_file=passphrase_file) as customer:
        names = folders.fetch(customer, identifier, out, stage_of(customer, stage))
    if as_json:
        click.echo(json_text({"transfer_identifier": identifier, "folder": str(out), "files": list(names)}))
    else:
        click.echo(f"The evidence of {identifier} is in {out}: {', '.join(names)}.\nNext: follow {out / 'VERIFY.md'}")


@click.command(epilog="Example: customer verify --head head-of-bob.pgp")
@_HOME
@click.argument("identifier", required=False)
@click.option(
    "--head",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Compare a head that another customer has, or that the bank published, with your own.",
)
@click.option(
    "--save-head",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write your newest head to a file, for another customer to compare.",
)
@click.option(
    "--follow-log",
    metavar="LOG",
    help="Follow the new log with this identifier, once the bank has told you why it began one.",
)
@with_stage
@with_letter
@with_passphrase
@with_json
def verify(
    home: Path,
    identifier: str | None,
    head: Path | None,
    save_head: Path | None,
    follow_log: str | None,
    stage: str | None,
    letter: Path | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Verify kept receipts again, or that the bank shows everybody the same log."""
    from customer import verifying

    if sum(each is not None for each in (identifier, head, save_head, follow_log)) > 1:
        raise click.UsageError("Give one of IDENTIFIER, --head, --save-head and --follow-log.")
    with open_home(home, letter=letter, passphrase_file=passphrase_file) as customer:
        if save_head:
            kept = verifying.save_head(customer, save_head)
            _say(as_json, {"log": kept.head.log, "size": kept.head.size, "file": str(save_head)})
        elif follow_log:
            kept, lost = verifying.follow_log(customer, follow_log, stage_of(customer, stage))
            facts: dict[str, object] = {"log": kept.head.log, "size": kept.head.size}
            _say(as_json, {**facts, "lost": sorted(lost) if as_json else len(lost)})
            if lost and not as_json:
                click.echo(f"The bank has lost these of your transfers: {', '.join(sorted(lost))}.\n{_LOST}")
        elif head:
            given, newest = verifying.compare_head(customer, head, stage_of(customer, stage))
            _say(as_json, {"log": newest.head.log, "given size": given.head.size, "newest size": newest.head.size})
            if not as_json:
                click.echo("The given head and yours lie in one log; the bank showed both the same history.")
        else:
            _receipts(verifying.receipts(customer, identifier), as_json)


_LOST = (
    "Their receipts are kept here and prove that the bank had decided them (`customer verify`). Those that you want "
    "still are sent again, unchanged, by `customer resume --lost`."
)


def _receipts(found: "tuple[verifying.Verified, ...]", as_json: bool) -> None:
    rows = [
        {
            "transfer_identifier": each.order.identifier,
            "status": each.entry.status.value,
            "reason": each.entry.reason.value if each.entry.reason else None,
            "entry": each.index,
            "size": each.size,
            "booked": each.entry.booked,
            "lost": each.lost,
        }
        for each in found
    ]
    if as_json:
        click.echo(json_text(rows))
    elif not rows:
        click.echo("No receipt is kept here yet.")
    else:
        columns = [name for name in rows[0] if name != "lost"]
        shown = [["-" if row[name] is None else row[name] for name in columns] for row in rows]
        click.echo(table(shown, [name.replace("transfer_", "") for name in columns], right=("entry", "size")))
        receipts = counted(len(rows), "receipt")
        click.echo(f"\n{receipts} verified: each is about its order, in the log, and signed by the bank.")
        lost = [each.order.identifier for each in found if each.lost]
        if lost:
            click.echo(f"\nThe bank has lost these entries since: {', '.join(lost)}.\n{_LOST}")


def _say(as_json: bool, facts: dict[str, object]) -> None:
    from customer.cli.common import pairs

    if as_json:
        click.echo(json_text({name.replace(" ", "_"): value for name, value in facts.items()}))
    else:
        click.echo(pairs(list(facts.items())))
