"""More servers of one bank: `bank join` on the new machine, `bank add-server` where the primary key is."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bank.home import BankHome
from keyring.console import json_text, with_home, with_json

if TYPE_CHECKING:
    from bank.joining import Request

_AS_HEARD = "fingerprint, in words or in hexadecimal digits"


@click.command(epilog="Example: bank join --home bank2 --out request.pgp")
@with_home("BANK_HOME")
@with_json
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="First: make a key for joining, and write the request to this file.",
)
@click.option(
    "--take",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="Then: take the grant that `bank add-server` has written.",
)
@click.option(
    "--bank-fingerprint",
    metavar="WORDS|HEX",
    help="With --take: the bank's fingerprint as it was read out there. Without it, it is asked for.",
)
@click.option("--listen", metavar="HOST:PORT", help="With --take: where this server listens, if elsewhere.")
@click.option("--public-address", metavar="HOST:PORT", help="With --take: where customers reach this server.")
@click.option("--ledger", metavar="URL", help="With --take: the same database, by a role of this server's own.")
@click.pass_context
def join(
    context: click.Context,
    home: Path,
    as_json: bool,
    out: Path | None,
    take: Path | None,
    bank_fingerprint: str | None,
    listen: str | None,
    public_address: str | None,
    ledger: str | None,
) -> None:
    """Make a further server of a bank whose ledger is in PostgreSQL, in a new folder.

    First with --out, on the new machine; then `bank add-server` where the bank's primary key is; then here with --take.
    The server gets the bank's signing and encryption subkeys, and never the primary key.
    """
    from bank import joining

    if (out is None) == (take is None):
        raise click.UsageError("Give either --out, to begin, or --take, with the grant that has come.")
    wished = {"listen": listen, "public_address": public_address, "ledger": ledger}
    changes = {name: value for name, value in wished.items() if value is not None}
    if take is None and (bank_fingerprint or changes):
        raise click.UsageError("--bank-fingerprint, --listen, --public-address and --ledger go with --take.")
    if out is not None:
        _require_folder(out)
        _write_request(out, joining.begin(home), as_json=as_json)
        return
    from bank.cli.setup import status
    from bank.places import require_no_password
    from keyring import readout

    require_no_password(ledger or "")

    assert take is not None  # noqa: S101 - one of the two is given
    typed = bank_fingerprint or click.prompt(f"The bank's {_AS_HEARD}", err=True)
    joining.take(home, take, readout.parse(typed), **changes)
    if not as_json:
        click.echo(f"This server has joined. Delete {take}; nobody can open it any more.\n")
    context.invoke(status, home=home, as_json=as_json)


def _require_folder(out: Path) -> None:
    """Said before anything is made or asked for."""
    if not out.absolute().parent.is_dir():
        raise click.UsageError(f"There is no folder for --out {out}; name a file in one that is there.")


def _write_request(out: Path, made: "Request", *, as_json: bool) -> None:
    from keyring import readout

    if out.exists() and out.read_bytes() != made.key:
        raise click.UsageError(f"There is a file {out} already; name another, so that nothing is overwritten.")
    out.write_bytes(made.key)
    if as_json:
        facts = {"fingerprint": made.fingerprint, "words": readout.words(made.fingerprint), "file": str(out)}
        click.echo(json_text({**facts, "next": "bank add-server"}))
        return
    click.echo(f"The request is in {out}. The fingerprint of the key in it:\n")
    for line in readout.lines(made.fingerprint):
        click.echo(f"  {line}")
    click.echo(f"\n  {readout.hex_groups(made.fingerprint)}")
    click.echo(
        f"\nNext: carry {out} to the machine with the bank's primary key, and read the fingerprint out to whoever "
        f"types there: bank add-server {out.name} --out grant.pgp"
    )


@click.command("add-server", epilog="Example: bank add-server request.pgp --out grant.pgp")
@with_home("BANK_HOME")
@with_json
@click.argument("request", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--fingerprint",
    metavar="WORDS|HEX",
    help="The new server's fingerprint as it was read out there. Without it, it is asked for.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where the grant is written.",
)
def add_server(home: Path, as_json: bool, request: Path, fingerprint: str | None, out: Path) -> None:
    """Give a new server what it needs to serve: the bank's signing and encryption subkeys, and its settings.

    All of it is in the file --out, which only that server can open. The primary key is not in it.
    """
    from bank.granting import make_grant
    from keyring import readout

    _require_folder(out)
    bank = BankHome.open(home)
    if out.exists():
        raise click.UsageError(f"There is a file {out} already; name another, so that nothing is overwritten.")
    typed = fingerprint or click.prompt(f"The new server's {_AS_HEARD}", err=True)
    try:
        with tempfile.TemporaryDirectory(prefix="cs-") as folder:
            grant = make_grant(bank, request, readout.parse(typed), Path(folder))
    finally:
        bank.release()
    out.write_bytes(grant)
    own = bank.config.fingerprint
    if as_json:
        facts = {"file": str(out), "server": readout.parse(typed), "fingerprint": own, "words": readout.words(own)}
        click.echo(json_text({**facts, "next": "bank join --take"}))
        return
    click.echo(f"The grant is in {out}; only the new server can open it. The bank's fingerprint:\n")
    for line in readout.lines(own):
        click.echo(f"  {line}")
    click.echo(
        f"\nNext: carry {out} to the new server, and read the bank's fingerprint out to whoever types there: "
        f"bank join --take {out.name}"
    )


def add_to(group: click.Group) -> None:
    """Make the commands known."""
    for command in (join, add_server):
        group.add_command(command)
