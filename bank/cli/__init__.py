"""The operator's commands; a file for each group of them."""

import click

from bank.errors import BankError
from ca.errors import CaError
from keyring.console import HELP, Group, keep_to_oneself


class _BankGroup(Group):
    errors = (*Group.errors, BankError, CaError)


@click.group(
    cls=_BankGroup,
    context_settings=HELP,
    epilog="Begin with: bank init --name 'First Bank' --currency EUR --authority-fingerprint …",
)
@click.version_option(package_name="countersign", prog_name="bank")
def commands() -> None:
    """Run a bank: accounts, deposits, the server, the audit."""


def main() -> None:
    """Entry point of the command `bank`."""
    from bank.cli import accounts, certificate, doctor, moving, records, safekeeping, serve, servers, setup

    keep_to_oneself()
    for module in (setup, certificate, accounts, serve, records, safekeeping, moving, servers, doctor):
        module.add_to(commands)
    commands(prog_name="bank")
