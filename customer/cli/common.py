"""Options and looks that several commands share."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click

from customer.errors import CustomerError
from keyring.console import is_terminal, read_passphrase
from keyring.printable import printable
from protocol.stages import Stage

if TYPE_CHECKING:
    from customer.home import CustomerHome, World
    from protocol.letter import Letter
    from protocol.secret import Secret

LETTER_LIMIT_BYTES: Final = 64 * 1024
Command = TypeVar("Command", bound=Callable[..., None])

with_letter = click.option(
    "--letter",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The bank's letter, for the agreed password; otherwise it is asked for.",
)
with_passphrase = click.option(
    "--passphrase-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="File whose first line opens your key; otherwise GnuPG asks where it has to.",
)

with_no_passphrase = click.option(
    "--no-passphrase", is_flag=True, help="Leave the private key unprotected (for tests and machines)."
)


def asks_for_passphrase(file: Path | None, *, no_passphrase: bool) -> bool:
    """Whether GnuPG asks for a new key's passphrase; UsageError where it could not."""
    if file and no_passphrase:
        raise click.UsageError("Give --passphrase-file or --no-passphrase, not both.")
    ask = not (file or no_passphrase)
    if ask and not is_terminal() and not {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        raise click.UsageError("GnuPG cannot ask for a passphrase here; give --passphrase-file or --no-passphrase.")
    return ask


def with_stage(command: Command) -> Command:
    """The option --stage."""
    return click.option(
        "--stage",
        type=click.Choice([stage.value for stage in Stage]),
        help="Stage to speak in; default: the one in customer.toml, which is certified at first. Before there is a "
        "certificate, commands that only look use the highest stage used so far.",
    )(command)


def open_home(
    folder: Path, *, letter: Path | None = None, passphrase_file: Path | None = None, world: "World | None" = None
) -> "CustomerHome":
    """The customer's home with what opens key and messages."""
    from dataclasses import replace

    from customer.home import CustomerHome, Secrets, World

    def tell(sentence: str) -> None:
        click.echo(printable(sentence), err=True)

    def password() -> "Secret":
        return _agreed_password(letter, home.number)

    passphrase = read_passphrase(passphrase_file) if passphrase_file else None
    home = CustomerHome.open(folder, replace(world or World(), tell=tell), Secrets(passphrase, password))
    return home


def stage_of(home: "CustomerHome", stage: str | None) -> Stage:
    """The stage asked for to look at something, else the configured one.

    Before there is a certificate it is the floor, the highest stage used with success: in certified nobody could look.
    """
    from customer.store import Fact

    configured, floor = home.config.customer.stage, home.store.floor()
    if stage:
        return Stage(stage)
    waits = configured.is_certified and home.store.fact(Fact.CERTIFIED_UNTIL) is None
    return floor if waits and floor.has_session else configured


def read_letter(path: Path) -> "Letter":
    """The bank's letter in a file. Raises CustomerError or MalformedContent, naming the line."""
    from keyring import readout
    from protocol.letter import parse, read_out

    try:
        with path.open("rb") as file:
            text = file.read(LETTER_LIMIT_BYTES).decode()
    except OSError as error:
        raise CustomerError(f"The letter {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise CustomerError(f"{path} is not a text; name the letter that `bank open-account` wrote.") from None
    letter = parse(text)
    for field, words in read_out(text).items():
        if words and words.casefold() != " ".join(readout.words(getattr(letter, field))).casefold():
            whose = field.partition("_")[0]
            raise CustomerError(
                f"{path}: the words of the {whose}'s fingerprint are not those of its digits, so one of them is wrong; "
                "ask the bank for another letter."
            )
    return letter


def table(rows: Sequence[Sequence[object]], headers: Sequence[str], right: Sequence[str] = ()) -> str:
    """A table for people; columns named in ``right`` are aligned there, and nothing is taken for a number."""
    from tabulate import tabulate

    shown = [[printable(str(cell)) for cell in row] for row in rows]
    aligned = ["right" if header in right else "left" for header in headers]
    return tabulate(shown, headers=headers, colalign=aligned, disable_numparse=True)


def pairs(rows: Sequence[tuple[str, object]]) -> str:
    """Lines of a name and a value."""
    width = max(len(name) for name, _ in rows) + 3
    return "\n".join(f"  {name:<{width}}{printable(str(value))}" for name, value in rows)


def _agreed_password(letter: Path | None, number: str) -> "Secret":
    from protocol.letter import agreed_password

    if letter is None:
        if not is_terminal():
            raise CustomerError("The stage password needs the agreed password; name the bank's letter with --letter.")
        return agreed_password(click.prompt("The agreed password from the bank's letter", hide_input=True, err=True))
    found = read_letter(letter)
    if found.customer != number:
        raise CustomerError(f"The letter {letter} is for customer {found.customer}, and this home for {number}.")
    return agreed_password(found.password)
