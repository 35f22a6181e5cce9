"""`bank serve`: the server runs until it is told to stop, and says so in one line each."""

import os
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import click

from bank import journal
from bank.home import BankHome
from keyring.console import with_home


@click.command(epilog="Example: bank serve --home ~/bank --listen 127.0.0.1:7401")
@with_home("BANK_HOME")
@click.option("--listen", metavar="HOST:PORT", help="Listen here instead of where bank.toml says; port 0 takes any.")
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Serve in so many processes; more than one use more than one processor.",
)
@click.option("--log-file", type=click.Path(path_type=Path, dir_okay=False), help="Append the log here, not to stderr.")
@click.option("--verbose", is_flag=True, help="Also log every session that is opened.")
def serve(home: Path, listen: str | None, processes: int, log_file: Path | None, verbose: bool) -> None:
    """Serve customers over TCP until SIGTERM or Ctrl-C.

    Stopping answers what was taken and refuses what is new. The log is one JSON object a line, without secrets.
    """
    import msgspec

    from bank.processes import serving_in_processes
    from bank.serving import make_room_for_connections, serving

    bank = BankHome.open(home)
    if listen:
        bank = BankHome(bank.path, msgspec.structs.replace(bank.config, listen=listen))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as stack:
        stream = stack.enter_context(open(log_file, "a", buffering=1, opener=_private)) if log_file else sys.stderr
        journal.configure(stream, verbose=verbose)
        make_room_for_connections(bank.config.limits)
        if processes == 1:
            several, (_, address) = None, stack.enter_context(serving(bank))
        else:
            several, address = stack.enter_context(serving_in_processes(bank, processes, stop))
        told = f", in {processes} processes" if processes > 1 else ""
        click.echo(f"{bank.config.name} serves at {address}, minimum stage {bank.config.minimum_stage.value}{told}.")
        sys.stdout.flush()
        # A plain wait() without a time limit would keep the handlers from running on some platforms.
        while not stop.wait(1.0):
            if several:
                several.look()
        click.echo("Stopping: answering what was taken …")
    click.echo("Stopped.")


def _private(path: str, flags: int) -> int:
    """The log holds no secret, but it tells who banks here and when."""
    return os.open(path, flags, 0o600)


def add_to(group: click.Group) -> None:
    """Make the command known."""
    group.add_command(serve)
