"""What the bank can prove: the evidence of one transfer, and the audit of all."""

import sys
from dataclasses import asdict
from pathlib import Path

import click

from bank.home import BankHome
from keyring.console import json_text, with_home, with_json
from keyring.printable import counted, printable


@click.command(epilog="Example: bank evidence --debtor 1001 3f0c… --out evidence")
@with_home("BANK_HOME")
@click.argument("identifier")
@click.option("--debtor", required=True, metavar="NUMBER", help="Whose transfer; identifiers are unique per debtor.")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="A new folder.")
def evidence(home: Path, identifier: str, debtor: str, out: Path) -> None:
    """Write the evidence of a transfer: a folder that stock gpg and sha256sum can check, by its VERIFY.md."""
    import time

    from bank.dossier import Dossier
    from protocol.evidence import require_empty, write_folder

    require_empty(out)
    bank = BankHome.open(home)
    try:
        with bank.open_ledger() as ledger:
            signer = bank.signer()
            try:
                with bank.open_posting(ledger, signer, time.time) as posting:
                    dossier = Dossier(bank, ledger, posting, bank.customers(ledger), signer, time.time)
                    files = dossier.files(debtor, identifier)
            finally:
                signer.close()
    finally:
        bank.release()
    if files is None:
        raise click.ClickException(f"Customer {debtor} has no transfer {identifier}; `bank transfers` lists them.")
    write_folder(out, files)
    click.echo(f"The evidence is in {out}; begin with {out / 'VERIFY.md'}.")


@click.command(epilog="Example: bank audit --since 100000")
@with_home("BANK_HOME")
@with_json
@click.option("--since", type=click.IntRange(min=0), default=0, help="Begin with this place in the log.")
def audit(home: Path, as_json: bool, since: int) -> None:
    """Check everything anew: each order's signature by gpg, balances, log and signed heads.

    Exit code 0 if all is in order, 1 if not; then the first bad row of each kind is named.
    """
    from bank.reverify import audit_bank

    bank = BankHome.open(home)
    with click.progressbar(
        length=1, label="Auditing", hidden=as_json or not sys.stderr.isatty(), file=sys.stderr
    ) as bar:

        def progress(done: int, total: int) -> None:
            bar.length = max(total, 1)
            bar.update(done - bar.pos)

        try:
            report = audit_bank(bank, since=since, progress=progress)
        finally:
            bank.release()
    if as_json:
        click.echo(json_text(asdict(report)))
    else:
        click.echo(
            f"{report.entries} log entries, {report.orders_verified} signed orders and {report.heads_verified} heads "
            "were looked at."
        )
        for finding in report.findings:
            click.echo(printable(f"{finding.row}: {finding.sentence}"), err=True)
        click.echo(f"{counted(len(report.findings), 'finding')}." if report.findings else "All is in order.")
    if report.findings:
        raise SystemExit(1)


def add_to(group: click.Group) -> None:
    """Make the commands known."""
    for command in (evidence, audit):
        group.add_command(command)
