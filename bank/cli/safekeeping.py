"""Against loss: `bank backup`, `bank restore`, and `bank begin-new-log` where something signed is lost for good."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from bank.home import BankHome
from keyring.console import json_text, read_passphrase, with_home, with_json

if TYPE_CHECKING:
    from bank.backup import Progress
    from protocol.beginnings import LogBeginning

_KEYS = "--keys-passphrase-file"


@click.command(epilog="Example: bank backup --out /mnt/backups/2026-01-31")
@with_home("BANK_HOME")
@with_json
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="A new folder.")
@click.option(
    _KEYS,
    "keys_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also back up the bank's private keys, sealed under the passphrase in this file.",
)
def backup(home: Path, as_json: bool, out: Path, keys_file: Path | None) -> None:
    """Write a checked backup to a new folder; a running server goes on.

    It holds the ledger, bank.toml, certificates and what waits for the authority, and a signed list of these files.
    The bank's private keys are in it only if a passphrase is given to seal them under.
    """
    from bank.backup import make_backup
    from bank.backups import NewestBackup, remember

    bank = BankHome.open(home)
    passphrase = read_passphrase(keys_file) if keys_file else None
    try:
        with shown_progress(as_json) as progress:
            made = make_backup(bank, out, keys_passphrase=passphrase, clock=time.time, progress=progress)
        whole = bank.has_primary()
    finally:
        bank.release()
    remember(home, NewestBackup(created=made.created, entries=made.entries, folder=str(out.resolve())))
    if as_json:
        click.echo(json_text({"folder": str(out), "keys": passphrase is not None, **msgspec.to_builtins(made)}))
        return
    click.echo(
        f"The backup is in {out}: {made.entries} log entries, {made.bookings} bookings, {made.accounts} accounts. "
        "All of it was checked."
    )
    if passphrase:
        click.echo("The bank's private keys are in it, sealed under the passphrase; keep that elsewhere.")
        if not whole:
            click.echo("Only the subkeys, for the primary key is not on this server: back that up where it is.")
    else:
        click.echo(f"The bank's private keys are not in it; keep {home / 'gnupg'} safe, or seal them with {_KEYS}.")


@click.command(epilog="Example: bank restore /mnt/backups/2026-01-31 --home ~/bank")
@with_home("BANK_HOME")
@with_json
@click.argument("backup", metavar="FOLDER", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--head",
    "heads",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A head that the bank signed, to be found in the backup; newest-head.pgp of the old machine is best.",
)
@click.option(
    "--begin-new-log",
    is_flag=True,
    help="Your word that what was signed after the backup is lost: a new log begins, and customers are told.",
)
@click.option(
    _KEYS,
    "keys_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The passphrase of the private keys in the backup, where the bank's folder has none.",
)
@click.option(
    "--ledger",
    metavar="URL",
    help="Put the ledger into this empty PostgreSQL database; `file` for a file. Default: as bank.toml says.",
)
def restore(
    home: Path,
    as_json: bool,
    backup: Path,
    heads: tuple[Path, ...],
    begin_new_log: bool,
    keys_file: Path | None,
    ledger: str | None,
) -> None:
    """Put a backup in place, after every check; nothing that is there is written over.

    The bank goes on if the backup holds all entries of the newest head that is known: the one in the bank's folder, and
    those named with --head. Otherwise nothing is restored without --begin-new-log.
    """
    from bank.places import require_no_password
    from bank.restoring import restore as put_back

    require_no_password(ledger or "")
    passphrase = read_passphrase(keys_file) if keys_file else None
    with shown_progress(as_json) as progress:
        found = put_back(
            backup,
            home,
            heads=heads,
            begin_new_log=begin_new_log,
            keys_passphrase=passphrase,
            ledger={None: None, "file": ""}.get(ledger, ledger),
            clock=time.time,
            random=os.urandom,
            progress=progress,
        )
    made, beginning = found.manifest, found.beginning
    if as_json:
        new = msgspec.to_builtins(beginning) if beginning else None
        facts = {
            "home": str(home),
            "created": made.created,
            "entries": made.entries,
            "keys": found.keys,
            "new_log": new,
        }
        click.echo(json_text(facts))
        return
    click.echo(
        f"The backup of {made.created} is in place: {made.entries} log entries, {made.bookings} bookings, "
        f"{made.accounts} accounts. All of it was checked."
    )
    if beginning:
        _say_new_log(beginning)
    else:
        click.echo("It holds all that the bank is known to have signed, so the log goes on.")
    click.echo("Next: bank fetch, for the newest revocation list; then bank serve")


@click.command("begin-new-log", epilog="Example: bank begin-new-log")
@with_home("BANK_HOME")
@with_json
def begin_new_log(home: Path, as_json: bool) -> None:
    """Go on with a ledger that has lost entries which the bank signed.

    Your word that they are lost and no backup holds them: a new log begins, its first entry the old head, and customers
    are told. Where nothing is missing it is refused.
    """
    from bank.restoring import begin_in_place

    bank = BankHome.open(home)
    try:
        made = begin_in_place(bank, clock=time.time, random=os.urandom)
    finally:
        bank.release()
    if as_json:
        click.echo(json_text(msgspec.to_builtins(made)))
        return
    _say_new_log(made)
    click.echo("Next: bank audit, then bank serve")


def _say_new_log(made: "LogBeginning") -> None:
    old = made.old_head
    click.echo(f"A new log has begun: {made.log}. It takes over {made.continued_size} entries of the old one.")
    if old.log == made.continued_log and old.size > made.continued_size:
        click.echo(f"Lost are the last {old.size - made.continued_size} of the {old.size} that the bank had signed.")
    click.echo("Tell customers its name; those who know more than it holds ask you for it before they go on.")


@contextmanager
def shown_progress(hidden: bool) -> Iterator["Progress"]:
    """A bar for each kind of work, on standard error, where a person looks on."""
    hidden = hidden or not sys.stderr.isatty()
    bars: list[Any] = []  # click does not export the type

    def told(task: str, done: int, total: int) -> None:
        if hidden:
            return
        if not bars or bars[-1].label != task:
            finish()
            bars.append(click.progressbar(length=max(total, 1), label=task, file=sys.stderr))
            bars[-1].__enter__()
        bars[-1].length = max(total, 1)
        bars[-1].update(done - bars[-1].pos)

    def finish() -> None:
        if bars:
            bars.pop().__exit__(None, None, None)

    try:
        yield told
    finally:
        finish()


def add_to(group: click.Group) -> None:
    """Make the commands known."""
    for command in (backup, restore, begin_new_log):
        group.add_command(command)
