"""What several commands of the authority ask for or show is asked and shown in one way."""

import getpass
import sys
import warnings
from pathlib import Path
from typing import Any

import click
from tabulate import tabulate

from ca import inventory, publishing
from ca.authority import Authority
from ca.decisions import Certificate
from ca.errors import CaError
from keyring import readout
from keyring.console import LINE_LIMIT_BYTES, read_passphrase, with_home
from protocol.secret import Secret

home_option = with_home("CA_HOME")
passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the passphrase of the authority's key, for scripts; otherwise it is asked for.",
)
operator_option = click.option("--operator", help="Who does this; it is recorded. Default: your user name.")
DAYS = "How long the certificate counts."
AUTHORITYS = "Passphrase of the authority's key"


def ask(prompt: str, *, optional: bool = False) -> str:
    """What a person types, in answer to a prompt on standard error: standard output is for what comes of it."""
    while True:
        line = read_line(prompt)
        if not line:
            raise CaError(f"Standard input ended where this was asked for: {prompt}. Type it, or give it by an option.")
        if line.strip() or optional:
            return line.strip()


def read_line(prompt: str) -> str:
    """The next line of standard input, with its end; "" where there is no more."""
    click.echo(f"{prompt}: ", nl=False, err=True)
    # As bytes, since `keyring.console` may have read a line before this one, and a line may be in any encoding.
    return sys.stdin.buffer.readline(LINE_LIMIT_BYTES).decode(errors="replace")


def user() -> str:
    """The operator's name, where no option tells."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise CaError("The system does not tell who you are; give your name with --operator.") from None


def passphrase_from(file: Path | None, prompt: str = AUTHORITYS, *, twice: bool = False) -> Secret:
    """The passphrase from a file, or asked for."""
    if file is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", getpass.GetPassWarning)  # it names lines of Python; a plain one is printed
            return Secret(click.prompt(prompt, hide_input=True, confirmation_prompt=twice, err=True).encode())
    return read_passphrase(file)


def read_out(fingerprint: str) -> str:
    """A fingerprint in words and in hexadecimal, to be read aloud."""
    return "\n".join(
        (*(f"  {line}" for line in readout.lines(fingerprint)), "", f"  {readout.hex_groups(fingerprint)}")
    )


def table(rows: list[dict[str, Any]]) -> str:
    """Rows with the same keys as a table; numbers keep their leading zeros."""
    titles = [key.replace("_", " ") for key in rows[0]]
    return tabulate([list(row.values()) for row in rows], headers=titles, disable_numparse=True)


def facts(values: dict[str, Any]) -> str:
    """One value a line, behind its name."""
    return "\n".join(f"{name.replace('_', ' '):<16}{value}" for name, value in values.items())


def in_full(authority: Authority, certificate: Certificate, now: int) -> dict[str, Any]:
    """A certificate with all that is known of it, and itself in PEM, for scripts."""
    described = inventory.described(authority, certificate, now)
    return {**described, "pem": publishing.pem("CERTIFICATE", certificate.der)}
