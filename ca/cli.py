"""The authority's command line: it asks, prints and sets the exit code, and decides nothing itself."""

import getpass
import json
import os
import signal
import sys
import threading
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import IO, Any

import click
from tabulate import tabulate

from ca import ceremony, inventory, issuing
from ca.authority import DESK_FILE, Authority
from ca.ceremony import CalledBack, Caller, CallerCode, Mistake
from ca.config import DEFAULT_ADDRESS, read_configuration
from ca.desk import DeskServer
from ca.documents import CUSTOMER, DOCUMENT_LIMIT_BYTES
from ca.errors import CaError
from ca.store import DeskStore
from keyring import readout
from keyring.console import Group, json_text, read_passphrase, with_home, with_json
from keyring.home import require_gnupg
from protocol.orders import format_time
from protocol.secret import Secret
from protocol.transport import Address

_home = with_home("CA_HOME")
_passphrase_file = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the passphrase of the authority's key, for scripts; otherwise it is asked for.",
)


class _CaGroup(Group):
    errors = (*Group.errors, CaError)


@click.group(cls=_CaGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="countersign", prog_name="ca")
def cli() -> None:
    """The certificate authority: its desk, the confirmation on the telephone, and the certificates.

    \b
    Example, once:      ca init --name "Example Authority"
                        ca serve
    For each request:   ca requests
                        ca confirm REQUEST
                        ca issue REQUEST
    """


@cli.command()
@click.option("--name", required=True, help="Name of the authority; it stands in its key.")
@click.option("--listen", default=DEFAULT_ADDRESS, show_default=True, help="Where its desk will listen.")
@_passphrase_file
@_home
def init(name: str, listen: str, passphrase_file: Path | None, home: Path) -> None:
    """Make the authority: its key and its folder.

    The passphrase protects the private key; without it nothing can be certified.

    \b
    Example:  ca init --name "Example Authority" --listen 127.0.0.1:7402
    """
    require_gnupg()
    Address.parse(listen)
    passphrase = _passphrase(passphrase_file, "Passphrase for the authority's new key", twice=True)
    with Authority.create(home, name=name, address=listen, passphrase=passphrase) as authority:
        fingerprint = authority.configuration.fingerprint
    click.echo(f"The authority {name} is ready in {home}. The fingerprint of its key:\n")
    click.echo(_read_out(fingerprint))
    click.echo("\nThe bank needs it for its own folder and for its letters. Next: ca serve")


@cli.command()
@click.option("--listen", help="Address in place of the one in ca.toml; port 0 takes a free one.")
@click.option("--log-file", type=click.Path(dir_okay=False, path_type=Path), help="Add the log there, not to stderr.")
@_home
def serve(listen: str | None, log_file: Path | None, home: Path) -> None:
    """Open the desk: take requests and notices, hand out certified keys. Needs no private key.

    Ends on Ctrl-C or SIGTERM, when what was asked is answered. The log has one JSON object a line.

    \b
    Example:  ca serve --log-file desk.log
    """
    require_gnupg()
    configuration = read_configuration(home)
    address = Address.parse(listen) if listen else configuration.desk
    store = DeskStore.open(home / DESK_FILE)
    # Set before the line is printed: whoever reads it may send the signal at once.
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        with log_file.open("a", encoding="utf-8") if log_file else nullcontext(sys.stderr) as stream:
            desk = DeskServer(store, address, configuration.limits, clock=time.time, log=partial(_log, stream))
            desk.start()
            click.echo(f"The desk listens at {desk.address}")
            sys.stdout.flush()
            ended.wait()
            desk.stop()
    except OSError as error:
        raise CaError(f"The log {log_file} cannot be written: {error.strerror}.") from None
    finally:
        store.close()


@cli.command()
@click.option("--take", type=click.File("rb"), help="First take in a request that came by mail, as a file.")
@with_json
@_home
def requests(take: IO[bytes] | None, as_json: bool, home: Path) -> None:
    """List the requests that are not issued yet, and what each of them waits for.

    \b
    Example:  ca requests
              ca requests --take request-from-alice
    """
    with Authority.open(home) as authority:
        if take:
            authority.take(take.read(DOCUMENT_LIMIT_BYTES + 1), clock=time.time)
        rows = inventory.open_requests(authority, int(time.time()))
    if as_json:
        click.echo(json_text([row.as_dict() for row in rows]))
    elif not rows:
        click.echo("No request waits. Applicants make theirs with `customer request` or `bank request`.")
    else:
        _print_table([row.as_dict() for row in rows])
        click.echo(
            "\nNext: `ca confirm REQUEST` with the applicant on the telephone; what is confirmed: `ca issue REQUEST`."
        )


@cli.command()
@click.argument("request")
@click.option("--words", help="The fingerprint as heard: 20 words; asked for when left out.")
@click.option("--hex", "hexadecimal", help="The fingerprint as heard, in hexadecimal.")
@click.option("--caller-code", help="The code from the letter, as the caller said it.")
@click.option("--called-back", metavar="NUMBER", help="The number on file that you dialled.")
@click.option("--operator", help="Who confirms; it stands in the certificate. Default: your user name.")
@click.option("--notice", type=click.File("rb"), help="The bank's account notice, if it came as a file.")
@_home
def confirm(
    request: str,
    words: str | None,
    hexadecimal: str | None,
    caller_code: str | None,
    called_back: str | None,
    operator: str | None,
    notice: IO[bytes] | None,
    home: Path,
) -> None:
    """Confirm REQUEST (its customer number, or its identifier) with its applicant on the telephone.

    The caller is known by the code from the bank's letter, or because you called back at the number on file. Type the
    words as you hear them: what is right is shown nowhere. After three mistakes the request is locked.

    \b
    Example:  ca confirm 3f9a
              ca confirm 3f9a --called-back "+49 30 1234"
    """
    if words and hexadecimal:
        raise click.UsageError("Give the fingerprint once: --words or --hex.")
    if caller_code and called_back:
        raise click.UsageError("Give --caller-code or --called-back, not both.")
    mailed = notice.read(DOCUMENT_LIMIT_BYTES + 1) if notice else None
    with Authority.open(home) as authority:
        waiting = ceremony.waiting_request(authority, request)
        content = waiting.content
        click.echo(f"Request {waiting.identifier}: the {content.role} {content.number}, {content.name}.")
        result = ceremony.confirm(
            authority,
            waiting,
            caller=_caller(content.role, caller_code, called_back),
            heard=words or hexadecimal or click.prompt("The fingerprint's words as heard"),
            operator=operator or _user(),
            notice=mailed,
            clock=time.time,
        )
    if isinstance(result, Mistake):
        raise CaError(f"Not confirmed. {result.sentence}")
    click.echo(f"Confirmed. Next: ca issue {waiting.identifier}")


@cli.command()
@click.argument("request")
@click.option("--days", type=click.IntRange(1, issuing.DAYS_LIMIT), default=issuing.DEFAULT_DAYS, show_default=True)
@click.option("--out", type=click.File("wb", lazy=True), help="Also write it to a file, to be mailed.")
@_passphrase_file
@_home
def issue(request: str, days: int, out: IO[bytes] | None, passphrase_file: Path | None, home: Path) -> None:
    """Certify the key of a confirmed REQUEST and put it out at the desk.

    Issuing again what is issued puts the same certificate out again.

    \b
    Example:  ca issue 3f9a --days 90
    """
    with Authority.open(home) as authority:
        issuing.require_issuable(authority, request)
        passphrase = _passphrase(passphrase_file, "Passphrase of the authority's key")
        made = issuing.issue(authority, request, days=days, passphrase=passphrase, clock=time.time)
        if out:
            out.write(issuing.for_mail(authority, made, int(time.time())))
    click.echo(
        f"Certified until {format_time(made.expires)}: the {made.role} {made.number}, {made.name}.\n"
        f"The key lies at the desk; its owner takes it with: {made.role} fetch"
    )


@cli.command(name="list")
@with_json
@_home
def list_certificates(as_json: bool, home: Path) -> None:
    """List what was issued; what expires next comes first.

    \b
    Example:  ca list --json
    """
    with Authority.open(home) as authority:
        rows = inventory.certificates(authority, int(time.time()))
    if as_json:
        click.echo(json_text([row.as_dict() for row in rows]))
    elif not rows:
        click.echo("Nothing has been issued. Look for requests with: ca requests")
    else:
        _print_table([row.as_dict() for row in rows])


@cli.command()
@with_json
@_home
def fingerprint(as_json: bool, home: Path) -> None:
    """Show the fingerprint of the authority's key, to be read out to those who ask.

    \b
    Example:  ca fingerprint
    """
    found = read_configuration(home).fingerprint
    if as_json:
        click.echo(json_text({"fingerprint": found, "words": readout.words(found)}))
    else:
        click.echo(_read_out(found))


def _caller(role: str, caller_code: str | None, called_back: str | None) -> Caller:
    """How the caller is known, asked for where no option tells."""
    if caller_code:
        return CallerCode(caller_code)
    if not called_back and role == CUSTOMER:
        code = click.prompt("The code from the letter (leave empty if you called back)", default="", show_default=False)
        if code.strip():
            return CallerCode(code)
    return CalledBack(called_back or click.prompt("The number on file that you dialled"))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise CaError("The system does not tell who you are; give your name with --operator.") from None


def _passphrase(file: Path | None, prompt: str, *, twice: bool = False) -> Secret:
    if file is None:
        return Secret(click.prompt(prompt, hide_input=True, confirmation_prompt=twice).encode())
    return read_passphrase(file)


def _read_out(fingerprint: str) -> str:
    return "\n".join(
        (*(f"  {line}" for line in readout.lines(fingerprint)), "", f"  {readout.hex_groups(fingerprint)}")
    )


def _log(stream: IO[str], event: str, details: dict[str, str]) -> None:
    # ASCII, with all else escaped: what strangers sent cannot write to the operator's terminal.
    stream.write(json.dumps({"time": format_time(time.time()), "event": event, **details}) + "\n")
    stream.flush()


def _print_table(rows: list[dict[str, Any]]) -> None:
    titles = [key.replace("_", " ") for key in rows[0]]
    # Numbers keep their leading zeros.
    click.echo(tabulate([list(row.values()) for row in rows], headers=titles, disable_numparse=True))


def main() -> None:
    """The command `ca`: 0 done, 1 an error that is told in a sentence, 2 wrong usage."""
    os.umask(0o077)
    cli(prog_name="ca")
