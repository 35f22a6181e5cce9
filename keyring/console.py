"""The command lines look alike: one way each to name a home, ask for JSON, read a passphrase, report an error."""

import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import click

from keyring.errors import KeyringError, PassphraseError
from keyring.printable import printable
from protocol.errors import ProtocolError
from protocol.secret import Secret

LINE_LIMIT_BYTES: Final = 4096
STANDARD_INPUT: Final = Path("/dev/stdin")
WAITS: Final = 4
"""Exit code: nothing is wrong and nothing came yet; somebody else acts first, then the command is repeated."""
_JSON: Final = f"{__name__}.json"

Command = TypeVar("Command", bound=Callable[..., None])


HELP: Final[dict[str, Any]] = {"help_option_names": ["-h", "--help"]}
"""What every command line is asked for help by."""


class Listing(click.Group):
    """Its help has the whole first sentence of each command, where click would cut it off."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.get_short_help_str(1000)) for name, each in found if each])


class Group(Listing):
    """Turns an error of ours into a sentence on standard error and exit code 1; anything else is a fault and shows."""

    errors: ClassVar[tuple[type[Exception], ...]] = (KeyringError, ProtocolError)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except self.errors as error:
            raise click.ClickException(printable(str(error))) from None
        except (click.Abort, KeyboardInterrupt):
            raise click.ClickException("It was interrupted, or nothing was typed.") from None
        except OSError as error:
            if not isinstance(error.filename, str | os.PathLike):
                raise  # not about a file that somebody named
            reason = f"{os.fspath(error.filename)} cannot be used: {error.strerror}. Name another, or see to its mode."
            raise click.ClickException(printable(reason)) from None


def keep_to_oneself() -> None:
    """What this program writes, its owner alone may read, and no core dump of it or its gpg ever holds a key."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def with_home(variable: str) -> Callable[[Command], Command]:
    """The option --home of a party, whose default is an environment variable, then the platform's data folder."""

    def decorate(command: Command) -> Command:
        return click.option(
            "--home",
            type=click.Path(path_type=Path, file_okay=False),
            envvar=variable,
            callback=lambda _ctx, _param, value: value or _data_folder(variable.removesuffix("_HOME").lower()),
            help=f"The folder with everything of this party. Default: {variable}, else the platform's data folder.",
        )(command)

    return decorate


def with_json(command: Command) -> Command:
    """The flag --json."""

    def remember(context: click.Context, _: click.Parameter, value: bool) -> bool:
        context.meta[_JSON] = value
        return value

    return click.option("--json", "as_json", is_flag=True, callback=remember, help="Print JSON for scripts.")(command)


def asked_for_json(context: click.Context) -> bool:
    """Whether the command that ran in this context or below it was given --json: errors may have facts as well."""
    return bool(context.meta.get(_JSON))


def with_mail(*, written_by: str) -> Callable[[Command], Command]:
    """The option --in of whoever takes certificates; ``written_by`` is the authority's command for the file."""
    return click.option(
        "--in",
        "file",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help=f"Take everything from a file that the authority has mailed (`{written_by}`), in place of from its desk.",
    )


def with_request_file(command: Command) -> Command:
    """The option --out of whoever asks for a certificate."""
    return click.option(
        "--out",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Write the request to a file to be mailed, in place of sending it to the desk.",
    )(command)


def with_readout(command: Command) -> Command:
    """The options --digits, --qr and --qr-file of whoever shows a fingerprint."""
    digits = click.option(
        "--digits", is_flag=True, help="Ten groups of five decimal digits, to be read digit by digit."
    )
    to_file = click.option(
        "--qr-file",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Write the QR code to a picture, .png or .svg.",
    )
    on_terminal = click.option("--qr", is_flag=True, help="Show it as a QR code (OPENPGP4FPR:…) on the terminal.")
    return digits(on_terminal(to_file(command)))


def json_text(value: object) -> str:
    """JSON as all commands print it."""
    return json.dumps(value, indent=2, ensure_ascii=True)


def read_passphrase(path: Path) -> Secret:
    """The first line of a passphrase file, which others must not be able to read. Raises PassphraseError."""
    return _first_line(path, "passphrase")


def read_caller_code(path: Path) -> Secret:
    """The first line of a file with the code from a letter, "-" for standard input. Raises PassphraseError."""
    return _first_line(STANDARD_INPUT if str(path) == "-" else path, "caller's code")


def _first_line(path: Path, what: str) -> Secret:
    try:
        if _others_may_read(path):
            raise PassphraseError(f"Others may read {path}; close it with: chmod 600 '{path}'")
        if path == STANDARD_INPUT:
            line = sys.stdin.buffer.readline(LINE_LIMIT_BYTES)  # what follows is for whoever reads on
        else:
            with path.open("rb") as file:
                line = file.readline(LINE_LIMIT_BYTES)
        line = line.rstrip(b"\r\n")
    except OSError as error:
        raise PassphraseError(f"The {what} file {path} cannot be read: {error.strerror}.") from None
    if not line:
        raise PassphraseError(f"The {what} file {path} has an empty first line; put the {what} there.")
    return Secret(line)


def _others_may_read(path: Path) -> bool:
    """Whether the file and every folder above it let somebody else in; a pipe has no mode that counts."""
    if not path.is_file():
        return False
    found = path.resolve()
    for reader, passer in ((0o040, 0o010), (0o004, 0o001)):
        if found.stat().st_mode & reader and all(each.stat().st_mode & passer for each in found.parents):
            return True
    return False


def _data_folder(party: str) -> Path:
    import platformdirs

    return Path(platformdirs.user_data_dir(f"countersign-{party}", appauthor=False))


def is_terminal() -> bool:
    """Whether a person sits at standard input."""
    return os.isatty(0)
