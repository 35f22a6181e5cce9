"""`bank doctor`: what is not well with the set-up, and the command that mends it."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bank.cli.safekeeping import shown_progress
from bank.config import load as load_config
from bank.home import BankHome
from keyring.console import json_text, with_home, with_json
from keyring.errors import KeyringError
from keyring.printable import printable

if TYPE_CHECKING:
    from bank.doctor import Finding


@click.command(epilog="Example: bank doctor --json")
@with_home("BANK_HOME")
@with_json
def doctor(home: Path, as_json: bool) -> None:
    """Look at machine, folder, keys, ledger and certificates, and say what to mend and how.

    It changes nothing, and may be run while the bank serves. Exit code 0 if nothing must be mended, else 1.
    """
    from dataclasses import asdict

    from bank.doctor import EXAMINATIONS, examine
    from bank.machine import Machine

    # Not BankHome.open, which refuses a folder that others may enter: that is a finding here.
    bank = BankHome(home, load_config(home))
    try:
        # The engine's own check of a large ledger takes minutes.
        with shown_progress(as_json) as progress:
            found = examine(bank, Machine(), progress=lambda done, total: progress("Looking", done, total))
    finally:
        with suppress(KeyringError):
            bank.release()
    healthy = not any(finding.must for finding in found)
    if as_json:
        names = [examination.__name__ for examination in EXAMINATIONS]
        click.echo(json_text({"healthy": healthy, "findings": [asdict(each) for each in found], "examined": names}))
    else:
        _say("To mend", [each for each in found if each.must])
        _say("Worth knowing", [each for each in found if not each.must])
        click.echo("The bank is well." if healthy else "The bank is not well.")
    if not healthy:
        raise SystemExit(1)


def _say(title: str, found: "list[Finding]") -> None:
    if found:
        click.echo(f"{title}:")
    for each in found:
        click.echo(f"  {each.check}: {printable(each.sentence)}\n    {printable(each.mend)}")


def add_to(group: click.Group) -> None:
    """Make the command known."""
    group.add_command(doctor)
