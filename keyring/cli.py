"""Keys and messages are shown as they are; these commands change nothing in any home."""

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import click

from keyring import inspect, numbers, readout
from keyring.console import HELP, Command, Group, json_text, keep_to_oneself, with_json, with_readout
from keyring.errors import KeyringError
from keyring.explain import Explanation, explain
from keyring.printable import printable

MAX_FILE_BYTES = 16 << 20


def _with_home(command: Command) -> Command:
    return click.option(
        "--home",
        type=click.Path(path_type=Path),
        help="A GnuPG home, or a party's home with gnupg/ in it. Default: GNUPGHOME, else ~/.gnupg.",
    )(command)


@click.group(cls=Group, context_settings=HELP, epilog="Example: keyring list --home ~/alice")
@click.version_option(package_name="countersign", prog_name="keyring")
def commands() -> None:
    """Look at OpenPGP keys, certifications and messages. Nothing is changed, and no agent is started."""


@commands.command("list", epilog="Example: keyring list --home ~/bank --json")
@_with_home
@with_json
def list_keys(home: Path | None, as_json: bool) -> None:
    """List the keys of a home.

    The short form is the end of the fingerprint; compare keys by the whole of it. Validity is that of the last trust
    check of the home.
    """
    path = inspect.find_home(home, os.environ)
    keys = inspect.read_keys(path)
    reports = [inspect.report(path, key, keys, now=int(time.time())) for key in keys]
    if as_json:
        click.echo(json_text([_summary(found) for found in reports]))
        return
    from tabulate import tabulate

    rows = [
        (
            readout.hex_groups(found.fingerprint)[-19:],
            printable(", ".join(name.user_id for name in found.names)),
            ", ".join(part.algorithm for part in (found.primary, *found.subkeys)),
            ", ".join(found.usable) or "nothing",
            _day(found.primary.created),
            _day(found.primary.expires),
            found.primary.validity.partition(":")[0],
            "yes" if found.primary.secret else "no",
        )
        for found in reports
    ]
    headers = ("fingerprint ends", "user ID", "algorithms", "may", "created", "expires", "validity", "secret")
    click.echo(tabulate(rows, headers, disable_numparse=True))


@commands.command(epilog="Example: keyring show --home ~/ca 'Alice (1001)'")
@click.argument("key")
@_with_home
@with_json
def show(key: str, home: Path | None, as_json: bool) -> None:
    """Show one key in full, and who vouches for it.

    KEY is a fingerprint (hex, words or digits), a key ID or a part of a user ID.
    """
    path = inspect.find_home(home, os.environ)
    keys = inspect.read_keys(path)
    (checked,) = inspect.read_keys(path, inspect.choose(keys, key).fingerprint, check=True)
    found = inspect.report(path, checked, keys, now=int(time.time()))
    if as_json:
        click.echo(json_text(asdict(found) | _readout(found.fingerprint)))
        return
    _print_part("Primary key", found.primary)
    click.echo(f"  the whole key may  {', '.join(found.usable) or 'nothing (any more)'}")
    if found.revoked:
        click.echo("  REVOKED by its owner: nothing that it signs counts any more")
    click.echo("  in words")
    for line in readout.lines(found.fingerprint):
        click.echo(f"    {line}")
    for subkey in found.subkeys:
        _print_part("Subkey", subkey)
    for name in found.names:
        click.echo(f"\nUser ID  {printable(name.user_id)}\n  validity  {name.validity}")
        for voucher in name.vouchers:
            _print_voucher(voucher)


@commands.command(epilog="Example: keyring fingerprint --home ~/alice Alice")
@click.argument("key")
@with_readout
@_with_home
@with_json
def fingerprint(key: str, digits: bool, qr: bool, qr_file: Path | None, home: Path | None, as_json: bool) -> None:
    """Show a fingerprint to be read out: 5 lines of 4 words, and in hex."""
    path = inspect.find_home(home, os.environ)
    chosen = inspect.choose(inspect.read_keys(path), key)
    if qr_file:
        readout.write_qr(chosen.fingerprint, qr_file)
    if as_json:
        click.echo(json_text(_readout(chosen.fingerprint)))
        return
    if qr:
        click.echo(f"{readout.qr_text(chosen.fingerprint)}\n")
    if digits:
        click.echo(readout.digits(chosen.fingerprint))
        return
    for line in readout.lines(chosen.fingerprint):
        click.echo(line)
    click.echo(f"\n{readout.hex_groups(chosen.fingerprint)}")


@commands.command(epilog="Example: gpg --export Alice | keyring packets -")
@click.argument("file", type=click.File("rb"))
@with_json
def packets(file: IO[bytes], as_json: bool) -> None:
    """Explain a message, key or signature packet by packet.

    FILE may be binary or in ASCII armour; - is standard input. Nothing is decrypted and nothing is verified. Offsets
    count the bytes of the binary form.
    """
    data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise KeyringError(f"The file has more than {MAX_FILE_BYTES} bytes; only smaller ones are explained.")
    explanations = explain(inspect.dearmored(data))
    if as_json:
        click.echo(json_text([asdict(explanation) for explanation in explanations]))
        return
    for explanation in explanations:
        _print_explanation(explanation, "")


def _summary(found: inspect.KeyReport) -> dict[str, Any]:
    return asdict(found.primary) | {
        "user_ids": [name.user_id for name in found.names],
        "usable": found.usable,
        "subkeys": [asdict(subkey) for subkey in found.subkeys],
    }


def _readout(wanted: str) -> dict[str, Any]:
    return {
        "fingerprint": wanted,
        "words": readout.words(wanted),
        "hex": readout.hex_groups(wanted),
        "digits": readout.digits(wanted),
    }


def _print_part(title: str, part: inspect.Part) -> None:
    click.echo(f"{'' if title == 'Primary key' else chr(10)}{title}  {readout.hex_groups(part.fingerprint)}")
    for name, value in (
        ("algorithm", part.algorithm),
        ("may", ", ".join(part.capabilities) or "nothing"),
        ("created", numbers.date(part.created)),
        ("expires", numbers.date(part.expires) if part.expires else "never"),
        ("validity", part.validity),
        ("keygrip", part.keygrip),
        ("secret key here", "yes" if part.secret else "no"),
    ):
        click.echo(f"  {name:<17}  {printable(value)}")


def _print_voucher(voucher: inspect.Voucher) -> None:
    verb = "certification revoked" if voucher.revocation else "certified"
    who = "the key itself" if voucher.own else f"{voucher.certifier} {voucher.user_id or '(not in this home)'}"
    until = (
        f", {'EXPIRED on' if voucher.expired else 'until'} {numbers.date(voucher.expires)}" if voucher.expires else ""
    )
    click.echo(f"  {verb} by {printable(who)}")
    click.echo(f"    {voucher.check}; on {numbers.date(voucher.created)}{until}")
    for name, value in voucher.notations:
        click.echo(f"    {printable(name)} = {printable(value)}")


def _print_explanation(explanation: Explanation, indent: str) -> None:
    click.echo(
        f"{indent}{explanation.offset:>6}  {explanation.name} (tag {explanation.tag},"
        f" {explanation.header_length} + {explanation.body_length} bytes)"
    )
    click.echo(f"{indent}        {printable(explanation.sentence)}")
    for name, value in explanation.fields.items():
        for line in value if isinstance(value, tuple) else (value,):
            click.echo(f"{indent}        {name}: {printable(_in_words(line))}")
    click.echo()
    for packet in explanation.inside:
        _print_explanation(packet, indent + "        ")


def _in_words(value: str | int | bool) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _day(seconds: int | None) -> str:
    return numbers.date(seconds)[:10] if seconds else "never"


def main() -> None:
    """The command ``keyring``."""
    keep_to_oneself()
    commands(prog_name="keyring")
