"""Setting the bank up: its key, its certificate, and where the set-up stands."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bank.config import BankConfig
from bank.config import load as load_config
from bank.config import save as save_config
from bank.errors import ConfigurationError
from bank.home import BankHome
from keyring.console import json_text, with_home, with_json, with_readout
from protocol.orders import format_time
from protocol.stages import Stage

if TYPE_CHECKING:
    from ca.applicant import Proven


@click.command(epilog='Example: bank init --name "First Bank" --currency EUR --authority-fingerprint "aardvark …"')
@with_home("BANK_HOME")
@click.option("--name", required=True, help="The bank's name, in its key and its letters.")
@click.option(
    "--currency", required=True, metavar="CODE", help="ISO 4217 code; the bank keeps accounts in this one only."
)
@click.option("--authority", default="127.0.0.1:7402", show_default=True, metavar="HOST:PORT", help="The CA's desk.")
@click.option(
    "--authority-fingerprint",
    required=True,
    metavar="WORDS|HEX",
    help="The CA's fingerprint as its operator read it out, as 20 words or 40 hex digits.",
)
@click.option("--listen", default="127.0.0.1:7401", show_default=True, metavar="HOST:PORT")
@click.option("--public-address", metavar="HOST:PORT", help="Where customers reach the bank, if not at --listen.")
@click.option(
    "--domain",
    default="",
    metavar="DOMAIN",
    help="Put addresses NUMBER@DOMAIN into the keys' user IDs, for a Web Key Directory. Default: none.",
)
@click.option(
    "--minimum-stage",
    type=click.Choice([stage.value for stage in Stage]),
    default=Stage.CERTIFIED.value,
    show_default=True,
    help="The lowest stage that the bank accepts.",
)
def init(
    home: Path,
    name: str,
    currency: str,
    authority: str,
    authority_fingerprint: str,
    listen: str,
    public_address: str | None,
    domain: str,
    minimum_stage: str,
) -> None:
    """Make a bank: its key pair, its configuration and an empty ledger.

    The key has no passphrase, since the server signs unattended; the folder is closed to other users instead.
    """
    from bank.storage import Ledger
    from ca.documents import BANK_NUMBER
    from keyring import keys, readout, unfinished
    from keyring.home import Home, require_gnupg
    from protocol.letter import is_domain

    if (home / "bank.toml").exists():
        raise ConfigurationError(f"There is a bank in {home} already; it is never made anew over the old one.")
    if not unfinished.is_free(home):
        raise ConfigurationError(f"The folder {home} is not empty; name a new one, so that nothing in it is lost.")
    require_gnupg()
    authority_hex = readout.parse(authority_fingerprint)
    if not is_domain(domain):
        raise ConfigurationError(f"{domain[:80]!a} is not a domain; give one in lower case such as bank.example.")
    user_id = keys.user_id(name, BANK_NUMBER, domain)
    settings = BankConfig(
        name=name,
        currency=currency,
        fingerprint="0" * 40,
        listen=listen,
        public_address=public_address,
        domain=domain,
        minimum_stage=Stage(minimum_stage),
        authority_address=authority,
        authority_fingerprint=authority_hex,
    )
    unfinished.begin(home, ("gnupg", "ledger.sqlite"))
    # A wrong setting is found before a key is made; an interrupted init is begun anew, since bank.toml comes last.
    save_config(home, settings)
    (home / "bank.toml").unlink()
    gnupg = Home.create(home / "gnupg", own_keys=True)
    try:
        key = keys.new_bank_key(gnupg, user_id)
        Ledger.create(
            home / "ledger.sqlite", bank_fingerprint=key.primary, currency=currency, opened_at=int(time.time())
        ).close()
        import msgspec

        save_config(home, msgspec.structs.replace(settings, fingerprint=key.primary))
        unfinished.finish(home)
    finally:
        gnupg.stop()
    click.echo(f"The bank {name} is made in {home}. Its fingerprint:\n")
    _print_fingerprint(key.primary)
    click.echo("\nNext: bank request")


@click.command(epilog="Example: bank request")
@with_home("BANK_HOME")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the request to a file for mail.")
def request(home: Path, out: Path | None) -> None:
    """Ask the certificate authority for the bank's certificate.

    Repeating it with the same key is harmless.
    """
    from bank.ceremony import replace_file
    from ca.applicant import Desk, explain
    from ca.documents import BANK_NUMBER
    from ca.messages import State
    from ca.requests import make_request, open_request
    from protocol.transport import Address

    bank = BankHome.open(home)
    try:
        message = make_request(
            bank.gnupg,
            bank.config.fingerprint,
            role="bank",
            number=BANK_NUMBER,
            name=bank.config.name,
            domain=bank.config.domain,
            passphrase=None,
            clock=time.time,
        )
    finally:
        bank.release()
    if out:
        out.write_bytes(message)
        click.echo(f"Request {open_request(message).identifier} is in {out}; send it to the authority.")
    else:
        found = Desk(Address.parse(bank.config.authority_address)).submit_request(message)
        click.echo(f"Request {found.identifier} is at the authority's desk, {bank.config.authority_address}.")
        if found.state is not State.WAITING:
            click.echo(explain(found.state, "bank"))
            return
    replace_file(bank.request_path, message)
    click.echo("Next: telephone the authority and read out what `bank fingerprint` shows; then `bank fetch`.")


@click.command(epilog="Example: bank fetch")
@with_home("BANK_HOME")
def fetch(home: Path) -> None:
    """Take the bank's certificate from the authority's desk, and hand in what waits for it.

    Also the newest revocation list. A running server takes over both at once. All of it is verified against the
    authority's fingerprint that was given at `bank init`.
    """
    from bank.ceremony import day

    bank = BankHome.open(home)
    _, found = _taken(bank)
    click.echo(f"The bank's certificate is here, valid until {day(found.certificate.not_after)}.")
    _tell_what_came_with_it(bank, found)
    click.echo("Next: nothing; the server that runs has it" if bank.is_serving() else "Next: bank serve")


@click.command(epilog="Example: bank renew")
@with_home("BANK_HOME")
@with_json
def renew(home: Path, as_json: bool) -> None:
    """Take the bank's renewed certificate: the same key with new dates, without a new call.

    The authority's operator renews it with `ca renew 0000` before it ends. A running server takes it over at once;
    nothing changes until then.
    """
    from bank.ceremony import day
    from ca.documents import BANK_NUMBER

    bank = BankHome.open(home)
    if bank.certified() is None:
        raise click.ClickException("There is no certificate to renew yet; see `bank status`.")
    before, found = _taken(bank)
    until, renewed = found.certificate.not_after, before is not None and found.certificate.digest != before
    if as_json:
        facts = {"renewed": renewed, "certified_until": format_time(until)}
        click.echo(json_text({**facts, "revocation_list": found.certificate.crl_number}))
        return
    click.echo(f"{'Renewed' if renewed else 'Not renewed yet'}. The bank's certificate is valid until {day(until)}.")
    _tell_what_came_with_it(bank, found)
    if not renewed:
        click.echo(
            f"Next: ask the authority's operator to run `ca renew {BANK_NUMBER}`, then repeat: bank renew\n"
            "(What a `bank fetch` has brought already is not brought again.)"
        )


def _taken(bank: BankHome) -> "tuple[str | None, Proven]":
    """The digest of the certificate before, and the one that the desk hands out."""
    from bank.ceremony import take_certificate
    from ca.applicant import Desk, explain
    from ca.messages import RequestState
    from protocol import canonical
    from protocol.transport import Address

    before = bank.certified()
    with bank.open_ledger() as ledger:
        found = take_certificate(bank, ledger, Desk(Address.parse(bank.config.authority_address)))
    if isinstance(found, RequestState):
        raise click.ClickException(explain(found.state, "bank"))
    return canonical.digest(before.certificate) if before else None, found


def _tell_what_came_with_it(bank: BankHome, found: "Proven") -> None:
    from bank.letters import deliver_notices
    from ca.applicant import Desk
    from protocol.transport import Address

    delivered = deliver_notices(bank, Desk(Address.parse(bank.config.authority_address)))
    click.echo(f"The newest revocation list is number {found.certificate.crl_number}.")
    if delivered:
        click.echo(f"{delivered} account notice(s) were handed in at the desk.")


@click.command(epilog="Example: bank fingerprint --json")
@with_home("BANK_HOME")
@with_json
@with_readout
@click.option("--authority", is_flag=True, help="Show the authority's fingerprint as it was given at `bank init`.")
def fingerprint(home: Path, as_json: bool, digits: bool, qr: bool, qr_file: Path | None, authority: bool) -> None:
    """Show the bank's fingerprint, to be read out on the telephone."""
    from keyring import readout

    config = load_config(home)
    shown = config.authority_fingerprint if authority else config.fingerprint
    if qr_file:
        readout.write_qr(shown, qr_file)
    if as_json:
        facts = {"fingerprint": shown, "words": readout.words(shown), "digits": readout.digits(shown)}
        click.echo(json_text(facts))
        return
    if qr:
        click.echo(f"{readout.qr_text(shown)}\n")
    if digits:
        click.echo(readout.digits(shown))
    else:
        _print_fingerprint(shown)


def _print_fingerprint(fingerprint: str) -> None:
    from keyring import readout

    for line in readout.lines(fingerprint):
        click.echo(f"  {line}")
    click.echo(f"\n  {readout.hex_groups(fingerprint)}")


@click.command(epilog="Example: bank status")
@with_home("BANK_HOME")
@with_json
def status(home: Path, as_json: bool) -> None:
    """Say how the bank is set up, where its certificate stands, and what to do next."""
    from bank import accounts
    from bank.ceremony import standing
    from bank.heads import newest_head
    from keyring.advisories import told
    from keyring.home import gnupg_version
    from protocol import canonical
    from protocol.receipts import TreeHead

    bank = BankHome.open(home)
    with bank.open_ledger() as ledger:
        count = len(accounts.every(ledger)) - 1  # the bank's own account is not a customer's
        with ledger.reading() as connection:
            newest = newest_head(connection)
        found = standing(bank, ledger, time.time())
    head = canonical.decode_signed(TreeHead, newest.content) if newest else None
    report = {
        "bank": bank.config.name,
        "home": str(home),
        "fingerprint": bank.config.fingerprint,
        "currency": bank.config.currency,
        "minimum_stage": bank.config.minimum_stage.value,
        "listen": bank.config.listen,
        "certificate": found.certificate,
        "revocation_list": found.revocation_list,
        "serving": bank.is_serving(),
        "accounts": count,
        "log": ledger.log,
        "log_entries": head.size if head else 0,
        "newest_head": head.time if head else None,
        "gnupg": told(gnupg_version()),
        "next": found.next_step,
    }
    if as_json:
        click.echo(json_text({**report, "warnings": found.warnings}))
        return
    for name, value in report.items():
        shown = ("yes" if value else "no") if isinstance(value, bool) else value or "none"
        click.echo(f"{name.replace('_', ' '):<17}{shown}")
    for warning in found.warnings:
        click.echo(f"\nWarning: {warning}")


def add_to(group: click.Group) -> None:
    """Make the commands known."""
    for command in (init, request, fetch, renew, fingerprint, status):
        group.add_command(command)
