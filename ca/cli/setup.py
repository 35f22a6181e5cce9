"""Making the authority, opening its desk, and how it stands."""

import json
import sys
import time
from contextlib import closing
from dataclasses import asdict
from functools import partial
from logging import Handler, StreamHandler, makeLogRecord
from logging.handlers import WatchedFileHandler
from pathlib import Path

import click

from ca.authority import DESK_FILE, Authority
from ca.cli.options import facts, home_option, passphrase_from, passphrase_option, read_out
from ca.config import DEFAULT_ADDRESS, read_configuration
from ca.desk import DeskServer
from ca.errors import CaError
from ca.standing import standing
from ca.store import DeskStore
from keyring import readout
from keyring.advisories import told
from keyring.console import json_text, with_json
from keyring.ending import Ending
from keyring.home import gnupg_version, require_gnupg, require_private
from protocol.orders import format_time
from protocol.transport import Address


@click.command()
@click.option("--name", required=True, help="Name of the authority; it stands in its key.")
@click.option(
    "--listen", default=DEFAULT_ADDRESS, show_default=True, metavar="HOST:PORT", help="Where its desk will listen."
)
@click.option(
    "--publish-url", default="", metavar="URL", help="Where `ca publish` will be served; certificates name it."
)
@passphrase_option
@with_json
@home_option
def init(name: str, listen: str, publish_url: str, passphrase_file: Path | None, as_json: bool, home: Path) -> None:
    """Make the authority: its key, its root certificate for ten years, and its first revocation list.

    The passphrase protects the private key; without it nothing can be certified.

    \b
    Example:  ca init --name "Example Authority" --listen 127.0.0.1:7402
    """
    require_gnupg()
    Authority.require_new(home, name=name, address=listen, publish_url=publish_url)  # before a passphrase is thought up
    passphrase = passphrase_from(passphrase_file, "Passphrase for the authority's new key", twice=True)
    with Authority.create(
        home, name=name, address=listen, passphrase=passphrase, clock=time.time, publish_url=publish_url
    ) as authority:
        configuration = authority.configuration
    fingerprint = configuration.fingerprint
    if as_json:
        made = {"authority": name, "home": str(home), "fingerprint": fingerprint, "words": readout.words(fingerprint)}
        click.echo(json_text({**made, "desk": configuration.address, "published_at": configuration.publish_url}))
        return
    click.echo(f"The authority {name} is ready in {home}. The fingerprint of its key:\n")
    click.echo(read_out(fingerprint))
    click.echo("\nThe bank needs it for its own folder and for its letters. Next: ca serve")


@click.command()
@click.option("--listen", metavar="HOST:PORT", help="Address in place of the one in ca.toml; port 0 takes a free one.")
@click.option("--log-file", type=click.Path(dir_okay=False, path_type=Path), help="Add the log there, not to stderr.")
@home_option
def serve(listen: str | None, log_file: Path | None, home: Path) -> None:
    """Open the desk: take requests and notices, hand out certificates. Needs no private key.

    Ends on Ctrl-C or SIGTERM, when what was asked is answered. The log has one JSON object a line.

    \b
    Example:  ca serve --log-file desk.log
    """
    require_gnupg()
    configuration = read_configuration(home)
    address = Address.parse(listen) if listen else configuration.desk
    require_private(home.resolve(), holds="requests")
    store = DeskStore.open(home / DESK_FILE)
    # Set before the line is printed: whoever reads it may send the signal at once.
    ended = Ending()
    ended.listen()
    try:
        # Where the file was moved away the next line makes it anew, so that logs are rotated without a signal.
        with closing(WatchedFileHandler(log_file) if log_file else StreamHandler(sys.stderr)) as lines:
            desk = DeskServer(store, address, configuration.limits, clock=time.time, log=partial(_log, lines))
            desk.start()
            click.echo(f"The desk listens at {desk.address}")
            sys.stdout.flush()
            ended.wait()
            desk.stop()
    except OSError as error:
        raise CaError(f"The log {log_file} cannot be written: {error.strerror}.") from None
    finally:
        store.close()


@click.command()
@with_json
@home_option
def fingerprint(as_json: bool, home: Path) -> None:
    """Show the fingerprint of the authority's key, to be read out to those who ask.

    \b
    Example:  ca fingerprint
    """
    found = read_configuration(home).fingerprint
    if as_json:
        click.echo(json_text({"fingerprint": found, "words": readout.words(found)}))
    else:
        click.echo(read_out(found))


@click.command()
@with_json
@home_option
def status(as_json: bool, home: Path) -> None:
    """Show what was issued, how long the revocation list is good, what expires next, and what to do next.

    \b
    Example:  ca status
    """
    with Authority.open(home) as authority:
        found = standing(authority, int(time.time()))
        configuration = authority.configuration
    report = {
        "authority": configuration.name,
        "fingerprint": configuration.fingerprint,
        "desk": configuration.address,
        "published_at": configuration.publish_url,
        "gnupg": told(gnupg_version()),
        **asdict(found),
    }
    if as_json:
        click.echo(json_text(report))
        return
    report.pop("warnings")
    for key in ("certificates", "requests"):
        report[key] = ", ".join(f"{count} {state}" for state, count in report[key].items()) or "none"
    click.echo(facts({**report, "published_at": configuration.publish_url or "nowhere"}))
    for warning in found.warnings:
        click.echo(f"\nWarning: {warning}")


def _log(lines: Handler, event: str, details: dict[str, str]) -> None:
    # ASCII, with all else escaped: what strangers sent cannot write to the operator's terminal.
    line = json.dumps({"time": format_time(time.time()), "event": event, **details})
    lines.handle(makeLogRecord({"msg": line}))
