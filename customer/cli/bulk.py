"""A file of payments is summed up and asked about before anything is signed; what is wrong with it is told whole."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from customer.errors import CustomerError
from customer.wire import Event, Watch, unwatched
from keyring.console import is_terminal, json_text
from keyring.printable import printable

if TYPE_CHECKING:
    from customer.home import CustomerHome
    from customer.payments import BadPayments, Payments
    from customer.sending import Outcome
    from protocol.orders import Execution
    from protocol.stages import Stage

MILESTONES: Final = (
    "The order",
    "The opening, encrypted",
    "Keys derived",
    "Record sent",
    "The receipt's entry",
    "Proven",
)
"""How the titles of the steps begin that the progress is told by; a stage without one of them passes it over."""


@dataclass(frozen=True)
class Wanted:
    """What the command line says about a file of payments."""

    file: Path
    currency: str
    best_effort: bool
    stage: "Stage | None"
    identifier: str | None


def send(home: "CustomerHome", wanted: Wanted, *, assured: bool, as_json: bool) -> "Outcome":
    """Check the file as a whole, ask, and send its payments as one order; errors as for customer.sending.send."""
    from customer.sending import send as deliver
    from customer.wishes import BulkWish

    found = read(wanted.file, currency=wanted.currency, own_number=home.number, as_json=as_json)
    confirm(found, wanted.currency, best_effort=wanted.best_effort, assured=assured)
    execution: Execution = "best-effort" if wanted.best_effort else "atomic"
    wish = BulkWish(found.payments, found.sum, wanted.currency, execution, wanted.stage, wanted.identifier)
    if as_json or home.world.watch is not unwatched:
        return deliver(home, wish)
    with progress(len(found.payments)) as watch:
        return deliver(replace(home, world=replace(home.world, watch=watch)), wish)


def read(file: Path, *, currency: str, own_number: str, as_json: bool) -> "Payments":
    """The payments of a file; what must be corrected is shown line by line before the error ends the command."""
    from customer import payments

    try:
        return payments.read(file, currency=currency, own_number=own_number)
    except payments.BadPayments as error:
        _show(error, as_json=as_json)
        raise


def _show(error: "BadPayments", *, as_json: bool) -> None:
    if as_json:
        lines = [{"line": each.line, "field": each.field or None, "sentence": each.sentence} for each in error.lines]
        click.echo(json_text({"status": "invalid", "sentences": list(error.sentences), "lines": lines}))
    for each in (*error.sentences, *error.lines):
        click.echo(printable(str(each)), err=True)


def confirm(found: "Payments", currency: str, *, best_effort: bool, assured: bool) -> None:
    """Say what will be sent, and ask unless it is ``assured``. CustomerError if the answer is no or cannot be asked."""
    how = "Each that can be made is made" if best_effort else "All of them are made, or none"
    click.echo(f"{len(found.payments)} payments, {found.sum} {currency} in all. {how}.", err=True)
    for lines in found.repeated:
        named = f"{', '.join(map(str, lines[:-1]))} and {lines[-1]}"
        click.echo(f"Look: lines {named} are the same payment; each of them will be made.", err=True)
    if assured:
        return
    if not is_terminal():
        raise CustomerError("There is no terminal to ask on whether to send this; give --yes. Nothing was sent.")
    if not click.confirm("Send them?", err=True):
        raise CustomerError("Nothing was sent.")


@contextmanager
def progress(payments: int) -> Iterator[Watch]:
    """A watcher that moves a bar on the terminal as the steps of sending are done."""
    label, hidden = f"Sending {payments} payments", not sys.stderr.isatty()
    with click.progressbar(length=len(MILESTONES), label=label, hidden=hidden, file=sys.stderr) as bar:
        yield _mover(bar.update)


def _mover(update: Callable[[int], None]) -> Watch:
    passed = 0

    def watch(event: Event) -> None:
        nonlocal passed
        for place, title in enumerate(MILESTONES[passed:], passed + 1):
            if event.title.startswith(title):
                update(place - passed)
                passed = place
                return

    return watch
