"""What was issued: listing, showing, renewing, revoking, the revocation list, publishing."""

import time
from pathlib import Path
from typing import IO, Any

import click

from ca import given_up, inventory, issuing, lists, publishing, revoking
from ca.authority import Authority
from ca.cli.options import (
    DAYS,
    facts,
    home_option,
    in_full,
    operator_option,
    passphrase_from,
    passphrase_option,
    table,
    user,
)
from ca.decisions import IssuedList
from keyring.console import json_text, with_json
from protocol.orders import format_time


@click.command(name="list")
@with_json
@home_option
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
        click.echo(table([row.as_row() for row in rows]))


@click.command()
@click.argument("certificate", metavar="NUMBER|REQUEST|SERIAL")
@click.option("--pem", is_flag=True, help="Print the X.509 certificate in PEM, for openssl.")
@with_json
@home_option
def show(certificate: str, pem: bool, as_json: bool, home: Path) -> None:
    """Show one certificate in full, and how it came about.

    \b
    Example:  ca show 1001
              ca show 1001 --pem | openssl x509 -text
    """
    with Authority.open(home) as authority:
        now = int(time.time())
        found = inventory.find(authority, certificate, now)
        described = in_full(authority, found, now)
    if pem:
        click.echo(described["pem"], nl=False)
    elif as_json:
        click.echo(json_text(described))
    else:
        click.echo(facts({name: value for name, value in described.items() if value and name != "pem"}))


@click.command()
@click.argument("certificate", metavar="NUMBER")
@click.option(
    "--days", type=click.IntRange(1, issuing.DAYS_LIMIT), default=issuing.DEFAULT_DAYS, show_default=True, help=DAYS
)
@click.option("--out", type=click.File("wb", lazy=True), help="Also write it to a file, to be mailed.")
@passphrase_option
@with_json
@home_option
def renew(
    certificate: str, days: int, out: IO[bytes] | None, passphrase_file: Path | None, as_json: bool, home: Path
) -> None:
    """Certify the key of a customer NUMBER (or fingerprint) anew, without a call, while its certificate counts.

    The certificate before stays good until its own end.

    \b
    Example:  ca renew 1001 --days 90
    """
    with Authority.open(home) as authority:
        found = inventory.find(authority, certificate, int(time.time()))
        issuing.require_renewable(authority, found, int(time.time()))
        passphrase = passphrase_from(passphrase_file)
        made = issuing.renew(authority, found, days=days, passphrase=passphrase, clock=time.time)
        if out:
            out.write(issuing.for_mail(authority, made, int(time.time())))
        described = in_full(authority, made, int(time.time()))
    if as_json:
        click.echo(json_text(described))
        return
    click.echo(
        f"Renewed until {format_time(made.expires)}: the {made.role} {made.number}, {made.name}.\n"
        f"The certificate lies at the desk; its owner takes it with: {made.role} fetch"
    )


@click.command()
@click.argument("certificate")
@click.option("--reason", required=True, type=click.Choice(tuple(lists.REASONS)), help="Why; it stands in the list.")
@operator_option
@passphrase_option
@with_json
@home_option
def revoke(
    certificate: str, reason: str, operator: str | None, passphrase_file: Path | None, as_json: bool, home: Path
) -> None:
    """Revoke a CERTIFICATE, by customer number or fingerprint, for ever, and put a new revocation list out.

    Both forms are revoked, with all renewals; by a customer number every key that counts for it, by a fingerprint that
    key alone. A key cannot be certified again: its owner makes a new one.

    \b
    Example:  ca revoke 1001 --reason key-compromise
    """
    with Authority.open(home) as authority:
        found = inventory.find(authority, certificate, int(time.time()))
        every_key = certificate.strip() == found.number
        live = revoking.require_revocable(authority, found, int(time.time()), every_key=every_key)
        lost = {each.fingerprint: given_up.found(authority, each.fingerprint) for each in live}
        for fingerprint, given in lost.items():
            if as_json:
                continue
            click.echo(f"The certificate of the {found.role} {found.number}, {found.name}, key {fingerprint}.")
            if given is not None:
                click.echo(f"Its owner declared the key invalid on {format_time(given.received)}.")
        passphrase = passphrase_from(passphrase_file)
        issued = revoking.revoke(
            authority,
            found,
            reason=reason,
            operator=operator or user(),
            passphrase=passphrase,
            clock=time.time,
            every_key=every_key,
        )
        serials = {each.serial for each in live}
        revoked = [
            inventory.described(authority, each, int(time.time()))
            for each in authority.decisions.certificates()
            if each.serial in serials
        ]
    if as_json:
        click.echo(json_text({"revoked": revoked, **_list_facts(issued)}))
        return
    click.echo(
        f"Revoked. The revocation list {issued.number} lies at the desk; the bank takes it by itself, or at once with:"
        " bank fetch"
    )


@click.command()
@click.option(
    "--days",
    type=click.IntRange(1, lists.DAYS_LIMIT),
    default=lists.DEFAULT_DAYS,
    show_default=True,
    help="How long the list counts.",
)
@passphrase_option
@with_json
@home_option
def crl(days: int, passphrase_file: Path | None, as_json: bool, home: Path) -> None:
    """Put a fresh revocation list out, with no new revocation; past its next update certified orders are refused.

    \b
    Example:  ca crl
    """
    with Authority.open(home) as authority:
        passphrase = passphrase_from(passphrase_file)
        issued = revoking.issue_list(authority, days=days, passphrase=passphrase, clock=time.time)
    if as_json:
        click.echo(json_text(_list_facts(issued)))
        return
    click.echo(f"The revocation list {issued.number} lies at the desk, good until {format_time(issued.next_update)}.")


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@with_json
@home_option
def publish(folder: Path, as_json: bool, home: Path) -> None:
    """Write root, revocation list, keys and certificates into DIR, for any web server; its README.txt says how to use.

    Keys with a mail address in their user ID are written as a Web Key Directory, too, for `gpg --locate-keys`.

    Run it again after each `ca issue`, `ca renew`, `ca revoke` and `ca crl`.

    \b
    Example:  ca publish public
    """
    with Authority.open(home) as authority:
        published = publishing.publish(authority, folder, int(time.time()))
        url = authority.configuration.publish_url
    if as_json:
        made = {"folder": str(folder), "files": sorted(published.names), "domains": published.domains}
        click.echo(json_text({**made, "published_at": url}))
        return
    click.echo(f"{len(published.names)} files are in {folder}." + (f" They belong at {url}" if url else ""))
    for domain in published.domains:
        click.echo(f"Web Key Directory for {domain}: serve the folder at https://openpgpkey.{domain}/ as well.")
    if not published.domains:
        click.echo("No Web Key Directory: no key has a mail address in its user ID (`bank init --domain`).")


def _list_facts(issued: IssuedList) -> dict[str, Any]:
    return {
        "crl_number": issued.number,
        "crl_issued": format_time(issued.at),
        "crl_next_update": format_time(issued.next_update),
    }
