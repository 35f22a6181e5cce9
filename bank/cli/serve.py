"""`bank serve`: the server runs until it is told to stop, and says so in one line each."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

import click

from bank import journal
from bank.home import BankHome
from keyring.console import with_home
from keyring.ending import Ending


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
@click.option(
    "--log-format",
    type=click.Choice(get_args(journal.Style)),
    default="json",
    show_default=True,
    help="json: one object a line; systemd: with its priority before it, for journald.",
)
@click.option(
    "--verbose", is_flag=True, help="Also log every session, every batch of orders and every refused request."
)
def serve(
    home: Path,
    listen: str | None,
    processes: int,
    log_file: Path | None,
    log_format: journal.Style,
    verbose: bool,
) -> None:
    """Serve customers over TCP until SIGTERM or Ctrl-C.

    Stopping answers what was taken and refuses what is new. The log is one JSON object a line, without secrets; a log
    file that is moved away is made anew. Where bank.toml has `metrics`, figures and health are shown there.
    """
    import msgspec

    from bank.machine import Machine
    from bank.processes import serving_in_processes
    from bank.serving import look_at_clock, make_room_for_connections, serving, take_whole_turns

    bank = BankHome.open(home)
    if listen:
        bank = BankHome(bank.path, msgspec.structs.replace(bank.config, listen=listen))
    stop = Ending()
    stop.listen()
    with ExitStack() as stack:
        limits = bank.config.limits
        journal.configure(
            log_file or sys.stderr, verbose=verbose, style=log_format, lines_per_minute=limits.log_lines_per_minute
        )
        stack.callback(journal.close)
        make_room_for_connections(limits)
        take_whole_turns()
        if processes == 1 and not bank.config.metrics:
            several, page, (_, address) = None, None, stack.enter_context(serving(bank))
        else:
            several, address, page = stack.enter_context(serving_in_processes(bank, processes, stop))
        look_at_clock(Machine())
        told = f", in {processes} processes" if processes > 1 else ""
        said = [f"{bank.config.name} serves at {address}, minimum stage {bank.config.minimum_stage.value}{told}."]
        if page:
            said.append(f"Figures for Prometheus: http://{page}/metrics. Whether it can post: http://{page}/health")
        click.echo("\n".join(said))  # at once: whoever waits for the first line has the second, too
        sys.stdout.flush()
        while not stop.wait(1.0):
            if several:
                several.look()
            journal.settle()
        click.echo("Stopping: answering what was taken …")
    click.echo("Stopped.")


def add_to(group: click.Group) -> None:
    """Make the command known."""
    group.add_command(serve)
